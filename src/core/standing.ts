import type { AccessRequest } from '../api/access-request.ts'
import { connectorText, isAllowed, isPredecessor, mayHoldGrant, mayStillHoldGrant, permissionQuestions, podIdentity, REVOKED_ROLE_MS } from './gate.ts'
import { shown } from './json-shape.ts'
import type { ConnectorGateFacts, GateCode, GateFacts, GateFailure } from './mount-gate.ts'
import { ownRequest, type OwnRequest } from './own-request.ts'
import { buildRequest, type ConnectorKey, type RequestIdentity } from './request-identity.ts'

/** Of a mount, or of one that is only asked about. */
export type StandingFacts = Pick<GateFacts, 'flags' | 'connectors' | 'now' | 'requestedBy'> & { mount: Pick<GateFacts['mount'], 'pod' | 'serviceAccount'> }

/** How one Pod stands with one Connector that its volume names. `request` is namespace and name of its own request, undefined without one. */
export type Standing =
  /** byHand: a yes on the Pod's path that no grant of ours explains. */
  | { state: 'allowed'; byHand: boolean }
  /** No Pod of this ServiceAccount gets it as things are. */
  | { state: 'barred'; failure: GateFailure }
  | { state: 'rejected'; request: string; message: string }
  /** Its request is over without a decision. */
  | { state: 'over'; request: string; failure: GateFailure }
  | Waiting

export interface Waiting {
  state: 'waiting'
  request: string | undefined
  /** The request to make; undefined when there is one. */
  create: AccessRequest | undefined
  message: string
  /** What is missing, in the words of RBAC. */
  lacking: string
  /** Nobody is going to approve it as things are. */
  isHopeless: boolean
  /** Granted, and the API server does not know it yet. */
  soon: boolean
  /** No clear no: the API server's may be the lag of its cache, or its yes that of another Pod. */
  isOpen: boolean
}

const nameOf = ({ metadata }: AccessRequest): string => `${metadata.namespace ?? ''}/${metadata.name}`

/** Lists and watches tell them in any order; a verdict does not depend on it. */
const inOrder = (requests: readonly AccessRequest[]): AccessRequest[] => requests.toSorted((left, right) => (nameOf(left) < nameOf(right) ? -1 : 1))

/** What an administrator would have to grant, or a policy to bring. */
const lackingText = ({ mount }: StandingFacts, connector: ConnectorKey): string => {
  const { proxy, podPath } = permissionQuestions(connector, mount.pod)
  const { user } = podIdentity(mount.pod.namespace, mount.serviceAccount)
  const of = ({ resource, subresource = '' }: typeof proxy): string => `${resource}/${subresource}`
  return `${user} may use neither ${of(proxy)} nor ${of(podPath)} (verb "*") of ${connectorText(connector)}`
}

/**
 * The request of a predecessor that may be behind a yes on the Pod path. Just after its clean-up the API server may still
 * honour its Role; but then a grant of this Pod's own explains the yes as well.
 */
const predecessorOf = (requests: readonly AccessRequest[], connector: ConnectorKey, { mount, now }: StandingFacts, own: OwnRequest): AccessRequest | undefined =>
  requests.find((request) => isPredecessor(request, connector, mount.pod) && (own.state === 'synced' ? mayHoldGrant(request) : mayStillHoldGrant(request, now)))

/** A request that is over takes its Role with it: a yes on the Pod path may be what the API server's cache has left of it. */
const isOver = ({ state }: OwnRequest): boolean => state === 'rejected' || state === 'ended' || state === 'deleted'

/** With approval on and no permission that counts: what this Pod's own request says. */
const standingOfRequest = (facts: StandingFacts, { connector, mayPodPath }: ConnectorGateFacts, own: OwnRequest, predecessor: AccessRequest | undefined): Standing => {
  const text = connectorText(connector)
  const lacking = lackingText(facts, connector)
  const another = mayPodPath && predecessor !== undefined ? `the permission of an earlier Pod of the same name (AccessRequest ${nameOf(predecessor)})` : undefined
  const waiting: Omit<Waiting, 'message' | 'request'> = { state: 'waiting', create: undefined, lacking, isHopeless: false, soon: false, isOpen: another !== undefined }
  if (own.state === 'none') {
    const identity: RequestIdentity = { connector, pod: facts.mount.pod, serviceAccount: facts.mount.serviceAccount }
    const create = buildRequest(identity, facts.requestedBy)
    const why = another === undefined ? lacking : `${text}: ${another} does not count`
    return { ...waiting, create, request: undefined, message: `${why}; AccessRequest ${nameOf(create)} is being made` }
  }
  const request = own.name
  const named = `${text}, AccessRequest ${request}`
  switch (own.state) {
    case 'rejected':
      return { state: 'rejected', request, message: own.message }
    case 'ended':
      return { state: 'over', request, failure: { code: 'FAILED_PRECONDITION', message: `${named} has ended (${own.message}); a new Pod gets a new one` } }
    case 'deleted':
      return { state: 'over', request, failure: { code: 'PERMISSION_DENIED', message: `${text}: the AccessRequest ${request} was deleted; a new Pod gets a new one` } }
    case 'synced': {
      if (another !== undefined) return { ...waiting, request, message: `${named}: granted; waiting for the removal of ${another}` }
      const isNew = facts.now - (own.since ?? facts.now) < REVOKED_ROLE_MS
      return { ...waiting, request, message: `${named}: granted; waiting for the API server to know it`, soon: true, isOpen: isNew }
    }
    case 'pending':
      return { ...waiting, request, message: `${named}: ${own.message}${own.isHopeless ? `; ${lacking}` : ''}`, isHopeless: own.isHopeless }
    default:
      return own satisfies never
  }
}

const barred = (code: GateCode, message: string): Standing => ({ state: 'barred', failure: { code, message } })

const unseen = (connector: ConnectorKey): Waiting => {
  const message = `${connectorText(connector)} was not looked at yet`
  return { state: 'waiting', request: undefined, create: undefined, message, lacking: message, isHopeless: false, soon: false, isOpen: true }
}

/** How the Pod of the mount stands with one of its Connectors; with unknown flags, or without facts, it is waiting. */
export const standing = (facts: StandingFacts, connector: ConnectorKey): Standing => {
  const { mount, flags } = facts
  const fact = facts.connectors.find((one) => one.connector.namespace === connector.namespace && one.connector.name === connector.name)
  if (fact === undefined || flags.state === 'unknown') return unseen(connector)
  // One that is being deleted is as good as gone.
  if (fact.found === undefined || fact.found.metadata.deletionTimestamp !== undefined) return barred('NOT_FOUND', `connector "${connector.namespace}/${connector.name}" not found`)
  const { user } = podIdentity(mount.pod.namespace, mount.serviceAccount)
  if (!fact.mayGet)
    return barred('PERMISSION_DENIED', `${user} may not get ${connectorText(connector)}; give it a Role with the verb get on connectors ${shown(connector.name)} in namespace ${connector.namespace}`)
  if (flags.state === 'off' && !flags.proxyPermissions) return { state: 'allowed', byHand: false }
  const requests = inOrder(fact.requests)
  const own = ownRequest(requests, { connector, pod: mount.pod, serviceAccount: mount.serviceAccount }, fact.wasAsked)
  const predecessor = predecessorOf(requests, connector, facts, own)
  const mayPodPath = fact.mayPodPath && !isOver(own)
  if (isAllowed({ mayProxy: fact.mayProxy, mayPodPath, predecessorMayHold: predecessor !== undefined })) return { state: 'allowed', byHand: !fact.mayProxy && own.state !== 'synced' }
  if (flags.state === 'on') return standingOfRequest(facts, fact, own, predecessor)
  flags.state satisfies 'off'
  // No request is made or waited for. A yes that may be a predecessor's is clear as soon as that one is cleaned up.
  if (mayPodPath) return { ...unseen(connector), message: `${connectorText(connector)}: waiting for the removal of the permission of an earlier Pod of the same name` }
  return barred('PERMISSION_DENIED', `${lackingText(facts, connector)}; ${flags.message}, so nothing but a permission that is there already counts`)
}
