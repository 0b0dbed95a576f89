import { CONDITION, REASON, type AccessRequest } from '../api/access-request.ts'
import type { AccessQuestion, Identity } from '../api/access-review.ts'
import { GROUP, serviceAccountUser } from '../api/names.ts'
import { checksRecordedAsPassed, conditionOf } from './conditions.ts'
import type { Flags } from './feature-flags.ts'
import { boundUid } from './pod-context.ts'
import { buildRequest, connectorName, type ConnectorKey, type PodKey } from './request-identity.ts'
import { AUTHENTICATED } from './system-names.ts'
import { parseTime } from './time.ts'

/** A Pod's ServiceAccount as the API server knows it; without the groups, a permission that is bound to a group would not be seen. */
export const podIdentity = (podNamespace: string, serviceAccount: string): Identity => ({
  user: serviceAccountUser(podNamespace, serviceAccount),
  groups: ['system:serviceaccounts', `system:serviceaccounts:${podNamespace}`, AUTHENTICATED],
})

/**
 * What is asked about a Connector. `get` always has to be allowed; then either of the other two suffices: they are
 * different resources to RBAC, and a yes on one says nothing about the other.
 */
export const permissionQuestions = (
  connector: ConnectorKey,
  pod: { namespace: string; name: string },
): { get: AccessQuestion; proxy: AccessQuestion; podPath: AccessQuestion } => {
  const resource = { group: GROUP, resource: 'connectors', namespace: connector.namespace, name: connector.name }
  return {
    get: { ...resource, verb: 'get' },
    proxy: { ...resource, verb: '*', subresource: 'proxy' },
    podPath: { ...resource, verb: '*', subresource: `proxy/v1/pod/${pod.namespace}/${pod.name}` },
  }
}

/**
 * How long the API server may go on to honour a Role that is gone, milliseconds: it answers from a cache of its own, which each of
 * several API servers fills at its own pace, and the time of the clean-up comes from another machine's clock.
 */
export const REVOKED_ROLE_MS = 30_000

/** It may hold a grant: something may have been granted, and the clean-up is not recorded. */
export const mayHoldGrant = ({ status }: AccessRequest): boolean => {
  const sync = conditionOf(status, CONDITION.accessPermissionSync)
  return sync?.reason !== REASON.permissionCleanUp && (checksRecordedAsPassed(status) || sync?.status === 'True')
}

/**
 * The API server may still honour its Role: it may hold a grant, or the clean-up is not long ago.
 * @param now milliseconds since the epoch
 */
export const mayStillHoldGrant = (request: AccessRequest, now: number): boolean => {
  const sync = conditionOf(request.status, CONDITION.accessPermissionSync)
  if (sync?.reason === REASON.permissionCleanUp) return now - (parseTime(sync.lastTransitionTime) ?? now) < REVOKED_ROLE_MS
  return mayHoldGrant(request)
}

/** Another Pod's request for the same Connector and Pod name: judged by its spec, because labels prove nothing. */
export const isPredecessor = (request: AccessRequest, connector: ConnectorKey, pod: PodKey): boolean => {
  const { connectorRef, context } = request.spec
  return (
    request.metadata.namespace === connector.namespace &&
    connectorRef.name === connector.name &&
    context.objectRef.namespace === pod.namespace &&
    context.objectRef.name === pod.name &&
    boundUid(request) !== pod.uid
  )
}

/** What the API server says about one Connector, and whether a yes on the Pod path may be somebody else's. */
export interface ProxyAnswers {
  mayProxy: boolean
  mayPodPath: boolean
  /** A request for the same Connector and Pod name with another uid may still hold a grant, which the Pod path question then sees. */
  predecessorMayHold: boolean
}

/** A yes on the Pod path may be the grant of a predecessor of the same name, which this Pod must not use. */
export const isAllowed = ({ mayProxy, mayPodPath, predecessorMayHold }: ProxyAnswers): boolean => mayProxy || (mayPodPath && !predecessorMayHold)

/** What is known about one Connector that a new Pod names. */
export type ConnectorFact = ProxyAnswers & {
  connector: ConnectorKey
  exists: boolean
  mayGet: boolean
}

/** The requests to create, and sentences for the user. Never a refusal: a Pod is not refused for reasons of ours. */
export type AdmissionAnswer = { create: AccessRequest[]; warnings: string[] }

/** Requests of one workload namespace whose Pod was never seen; beyond it, the mount makes the request when a Pod is really there. */
const MAX_UNSEEN_REQUESTS = 100
/** The API server cuts longer warnings. */
const MAX_WARNING_LENGTH = 256
/** All warnings of one answer together stay well below the 4096 characters that the API server passes on. */
const MAX_WARNINGS = 12

const inShort = (text: string): string => (text.length > MAX_WARNING_LENGTH ? `${text.slice(0, MAX_WARNING_LENGTH - 1)}…` : text)

const limited = (warnings: readonly string[]): string[] => {
  const shown = warnings.length > MAX_WARNINGS ? [...warnings.slice(0, MAX_WARNINGS - 1), `${warnings.length - MAX_WARNINGS + 1} more warnings are not shown`] : warnings
  return shown.map(inShort)
}

export const connectorText = (connector: ConnectorKey): string => `Connector ${connectorName(connector)}`

/** What the mount will refuse for; undefined when a request may be made. */
const refusal = ({ connector, exists, mayGet }: ConnectorFact, user: string): string | undefined => {
  if (!exists) return `the volume will not be mounted: ${connectorText(connector)} does not exist`
  return mayGet ? undefined : `the volume will not be mounted: ${user} may not get ${connectorText(connector)}`
}

/** A sentence for the Connectors that get no request now; none when there is room for all. */
const capWarnings = (surplus: readonly ConnectorKey[], podNamespace: string): string[] =>
  surplus.length === 0
    ? []
    : [`no request yet for ${surplus.map(connectorText).join(', ')}: ${MAX_UNSEEN_REQUESTS} requests of namespace ${podNamespace} still wait for their Pods; the mount will make it`]

/** What is known when a Pod is admitted. */
export interface AdmissionFacts {
  flags: Flags
  pod: PodKey
  serviceAccount: string
  /** The user who creates the Pod. */
  requestedBy: string
  connectors: ConnectorFact[]
  /** Of the Pod's volumes, as gatedVolumes tells them. */
  problems: string[]
  /** Requests of this workload namespace whose Pod was not seen yet. */
  unseenRequests: number
}

/** What the Pod hook does: one request for each Connector that exists, that the ServiceAccount may get and may not use yet. */
export const decideAtAdmission = (facts: AdmissionFacts): AdmissionAnswer => {
  const { flags, pod, serviceAccount, requestedBy, connectors, problems } = facts
  if (flags.state === 'unknown') return { create: [], warnings: limited([...problems, `the Pod will wait at the mount of its Connectors: ${flags.message}`]) }
  if (flags.state === 'off') return { create: [], warnings: limited(problems) }
  flags.state satisfies 'on'
  const { user } = podIdentity(pod.namespace, serviceAccount)
  const judged = connectors.map((fact) => ({ fact, refused: refusal(fact, user) }))
  const wanted = judged.filter(({ fact, refused }) => refused === undefined && !isAllowed(fact)).map(({ fact }) => fact.connector)
  const room = Math.max(0, MAX_UNSEEN_REQUESTS - facts.unseenRequests)
  return {
    create: wanted.slice(0, room).map((connector) => buildRequest({ connector, pod, serviceAccount }, requestedBy)),
    warnings: limited([...problems, ...judged.flatMap(({ refused }) => refused ?? []), ...capWarnings(wanted.slice(room), pod.namespace)]),
  }
}
