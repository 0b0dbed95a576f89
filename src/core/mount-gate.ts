import type { AccessRequest } from '../api/access-request.ts'
import type { Connector } from '../api/connector.ts'
import { FLAG, FLAGS_CONFIG_MAP, SYSTEM_NAMESPACE } from '../api/names.ts'
import { plainMessage } from './conditions.ts'
import type { Flags } from './feature-flags.ts'
import { connectorText } from './gate.ts'
import { shown } from './json-shape.ts'
import type { Mount } from './mount-call.ts'
import { ownRequest } from './own-request.ts'
import type { Refusal } from './refusal-status.ts'
import type { ConnectorKey } from './request-identity.ts'
import { standing, type Standing } from './standing.ts'

/** Names of gRPC codes. */
export type GateCode = 'INVALID_ARGUMENT' | 'NOT_FOUND' | 'PERMISSION_DENIED' | 'FAILED_PRECONDITION' | 'UNAVAILABLE' | 'ABORTED'

export interface GateFailure {
  code: GateCode
  /** One sentence for the Pod's Event and for kubelet's log. */
  message: string
}

/** What the API server says about one Connector and this Pod, all of it answered. Whatever could not be read is no fact: gathering fails instead. */
export interface ConnectorGateFacts {
  connector: ConnectorKey
  /** undefined only when the API server answered that there is none. */
  found: Connector | undefined
  mayGet: boolean
  mayProxy: boolean
  mayPodPath: boolean
  /** All requests that speak of this Connector and this Pod name, whatever uid; more do no harm. */
  requests: readonly AccessRequest[]
  /** A request of this very Pod was seen or made before. */
  wasAsked: boolean
}

export interface GateFacts {
  mount: Mount
  flags: Flags
  /** Several Connectors in one volume are allowed. */
  multiConnector: boolean
  /** Of every Connector that the mount names. */
  connectors: readonly ConnectorGateFacts[]
  /** Milliseconds since the epoch. */
  now: number
  /** The user that requests are made for. */
  requestedBy: string
}

export type GateVerdict =
  /** byHand: it rests on a Role by hand on the Pod's path, to be asked for again after 2 s, since RBAC caches lag. */
  | { verdict: 'mount'; byHand: boolean }
  /** Mounts `.error.json` alone. */
  | { verdict: 'refuse'; refusals: Refusal[] }
  | {
      verdict: 'wait'
      create: AccessRequest[]
      /** For the Event and the error: Connector, request and what it waits for. The same facts give the same text. */
      message: string
      code: 'UNAVAILABLE' | 'FAILED_PRECONDITION'
      /** Every request that is waited for is granted, and the API server does not know it yet. */
      soon: boolean
    }
  /** There is nothing to wait for. */
  | { verdict: 'fail'; failure: GateFailure }

const together = (messages: readonly string[]): string => plainMessage(messages.join('; '))

const fail = (code: GateCode, message: string): GateVerdict => ({ verdict: 'fail', failure: { code, message } })

/** All of them in one; the code is that of the first. */
const failAll = (failures: readonly GateFailure[]): GateVerdict | undefined => failures[0] && fail(failures[0].code, together(failures.map(({ message }) => message)))

/** Connector by Connector, in the order of the volume. */
const standingsOf = (facts: GateFacts): { connector: ConnectorKey; standing: Standing }[] =>
  facts.mount.attributes.connectors.map((connector) => ({ connector, standing: standing(facts, connector) }))

/**
 * Whether a volume is mounted. Only with a yes of the API server for every Connector, whatever the requests say. Else, in
 * this order: a Connector that is not there or may not be got fails the call; a rejection refuses it; a request that is over
 * fails it; and all the rest waits. Requests are made only when nothing but waiting is left.
 */
export const decideMount = (facts: GateFacts): GateVerdict => {
  const { mount, flags, multiConnector } = facts
  const { connectors } = mount.attributes
  if (connectors.length === 0) return fail('INVALID_ARGUMENT', `volume ${shown(mount.volumeName)} names no Connector`)
  if (flags.state === 'unknown') return { verdict: 'wait', create: [], message: flags.message, code: 'UNAVAILABLE', soon: false }
  if (connectors.length > 1 && !multiConnector)
    return fail(
      'INVALID_ARGUMENT',
      `volume ${shown(mount.volumeName)} names ${connectors.length} Connectors; name one, or set ${FLAG.multiConnector}: "true" in ConfigMap ${SYSTEM_NAMESPACE}/${FLAGS_CONFIG_MAP}`,
    )
  const named = standingsOf(facts)
  const standings = named.map((one) => one.standing)
  const allowed = standings.filter((one) => one.state === 'allowed')
  if (allowed.length === connectors.length) return { verdict: 'mount', byHand: allowed.some(({ byHand }) => byHand) }
  const barred = failAll(standings.flatMap((one) => (one.state === 'barred' ? [one.failure] : [])))
  if (barred !== undefined) return barred
  const refusals = named.flatMap(({ connector, standing: one }): Refusal[] =>
    one.state === 'rejected' ? [{ connector, request: one.request, reason: 'AccessRejected', message: `access to ${connectorText(connector)} was rejected: ${one.message}` }] : [],
  )
  if (refusals.length > 0) return { verdict: 'refuse', refusals }
  const over = failAll(standings.flatMap((one) => (one.state === 'over' ? [one.failure] : [])))
  if (over !== undefined) return over
  const waits = standings.filter((one) => one.state === 'waiting')
  return {
    verdict: 'wait',
    create: waits.flatMap(({ create }) => create ?? []),
    message: together(waits.map(({ message }) => message)),
    code: waits.some(({ isHopeless }) => isHopeless) ? 'FAILED_PRECONDITION' : 'UNAVAILABLE',
    soon: waits.every(({ soon }) => soon),
  }
}

/** A clear no of the API server, which is not the lag of its cache. */
const revocation = (connector: ConnectorKey, one: Standing): Refusal[] => {
  const revoked = (request: string | undefined, why: string): Refusal[] => [
    { connector, request, reason: 'AccessRevoked', message: `access to ${connectorText(connector)} was revoked: ${why}` },
  ]
  switch (one.state) {
    case 'allowed':
      return []
    case 'rejected':
      return revoked(one.request, one.message)
    case 'barred':
      return revoked(undefined, one.failure.message)
    case 'over':
      return revoked(one.request, one.failure.message)
    case 'waiting':
      return one.isOpen ? [] : revoked(one.request, one.lacking)
    default:
      return one satisfies never
  }
}

/** The Connector is there, and the Pod's own request says that it is granted: a no then contradicts the controller. */
const isStillGranted = ({ mount, connectors }: GateFacts, connector: ConnectorKey): boolean => {
  const fact = connectors.find((one) => one.connector.namespace === connector.namespace && one.connector.name === connector.name)
  if (fact?.found === undefined || fact.found.metadata.deletionTimestamp !== undefined) return false
  return ownRequest(fact.requests, { connector, pod: mount.pod, serviceAccount: mount.serviceAccount }, fact.wasAsked).state === 'synced'
}

export type RemountVerdict =
  | { files: true }
  /** What it holds now. */
  | { keep: true }
  /** isDoubtful: the requests of the Pod say that all of this is granted. An API server that just started knows no Role yet, so it takes more than one such no. */
  | { keep: false; refusals: Refusal[]; isDoubtful: boolean }

/**
 * What a volume of a running Pod holds from now on. No request is made.
 * @param holds what it holds now: one that was refused stays as it is until everything is allowed
 */
export const decideRemount = (facts: GateFacts, holds: 'files' | 'refused' = 'files'): RemountVerdict => {
  const named = standingsOf(facts)
  if (named.length > 0 && named.every(({ standing: { state } }) => state === 'allowed')) return { files: true }
  const refusals = named.flatMap(({ connector, standing: one }) => revocation(connector, one))
  if (holds === 'refused' || refusals.length === 0) return { keep: true }
  // Of several, those that nothing speaks against are reason enough.
  const certain = refusals.filter(({ connector }) => !isStillGranted(facts, connector))
  return { keep: false, refusals: certain.length > 0 ? certain : refusals, isDoubtful: certain.length === 0 }
}
