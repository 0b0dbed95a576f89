/** Would this ServiceAccount, with this Pod, get that Connector now, and if not, what would be asked? By the decisions of the gate. */
import type { AccessPolicy, CheckRule } from '../api/access-policy.ts'
import type { AccessRequest, ResolvedCheck } from '../api/access-request.ts'
import type { AccessQuestion, Identity } from '../api/access-review.ts'
import type { Connector } from '../api/connector.ts'
import type { AskedCheck, AskedPolicy, ConnectorAccessReviewStatus } from '../api/connector-access-review.ts'
import type { Pod } from '../api/pod.ts'
import { isCoded, messageOf } from '../errors.ts'
import { checkSpecOf, type Templates } from './check.ts'
import { readCheckParams } from './check-params.ts'
import { plainMessage } from './conditions.ts'
import type { Flags } from './feature-flags.ts'
import { connectorText, podIdentity } from './gate.ts'
import { isFinished } from './pod-context.ts'
import { matchingPolicies } from './policy-match.ts'
import { readProxyAddress } from './proxy-address.ts'
import type { ConnectorKey } from './request-identity.ts'
import { standing, type Standing } from './standing.ts'
import { AUTHENTICATED } from './system-names.ts'

export interface ConnectorAccessFacts {
  connector: ConnectorKey
  /** undefined only when the API server answered that there is none. */
  found: Connector | undefined
  serviceAccount: { namespace: string; name: string }
  /** undefined: no Pod in particular. Its uid is undefined while there is no such Pod that could use a Connector. */
  pod: { name: string; uid: string | undefined } | undefined
  flags: Flags
  mayGet: boolean
  mayProxy: boolean
  /** false without a Pod. */
  mayPodPath: boolean
  /** All that speak of this Connector and the name of the Pod; more do no harm. */
  requests: readonly AccessRequest[]
  /** Of the namespace of the Connector. */
  policies: readonly AccessPolicy[]
  templates: Templates
  /** The person who would create the Pod; undefined: it is not asked. */
  creator: { user: string; mayCreatePods: boolean; groupsAreKnown: boolean } | undefined
  /** Milliseconds since the epoch. */
  now: number
}

/**
 * The uid of the Pod that is meant, when it is there. A finished one uses nothing any more, and one of another ServiceAccount is
 * not the one that is asked about: in its place there would be a new Pod, and grants of others do not count for that.
 */
export const liveUid = (pod: Pod | undefined, serviceAccount: string): string | undefined =>
  pod === undefined || isFinished(pod) || (pod.spec?.serviceAccountName ?? 'default') !== serviceAccount ? undefined : pod.metadata.uid

const SERVICE_ACCOUNT_USER = /^system:serviceaccount:([^:]+):([^:]+)$/

/** Who would create the Pod, as well as is known: groups are known of the caller and of ServiceAccounts alone. */
export const creatorIdentity = (user: string, caller: Identity): { identity: Identity; groupsAreKnown: boolean } => {
  if (user === caller.user) return { identity: caller, groupsAreKnown: true }
  const [, namespace, name] = SERVICE_ACCOUNT_USER.exec(user) ?? []
  if (namespace !== undefined && name !== undefined) return { identity: podIdentity(namespace, name), groupsAreKnown: true }
  return { identity: { user, groups: [AUTHENTICATED] }, groupsAreKnown: false }
}

export const createPodsQuestion = (namespace: string): AccessQuestion => ({ group: '', resource: 'pods', verb: 'create', namespace })

/** Whether anything but the permissions is to be read: the requests of the Pod, and what a new one would be asked. */
export const isOpenQuestion = ({ flags, found, mayGet, mayProxy }: Pick<ConnectorAccessFacts, 'flags' | 'found' | 'mayGet' | 'mayProxy'>): boolean =>
  found !== undefined && mayGet && !mayProxy && (flags.state === 'on' || (flags.state === 'off' && flags.proxyPermissions))

/** More than these (policies) are not shown: whoever may write policies could make the answer as long as he likes. */
const MAX_POLICIES = 50

/** Those that would be asked, as far as they are shown. */
export const askedFirst = (policies: readonly AccessPolicy[], found: Connector): AccessPolicy[] => matchingPolicies(policies, found).slice(0, MAX_POLICIES)

const rulesOf = ({ spec }: AccessPolicy): readonly CheckRule[] => spec.checkGrantedPermission?.spec.checks ?? []

/** The ConfigMaps with checks that these policies name, each once. */
export const templateNames = (policies: readonly AccessPolicy[]): string[] => [
  ...new Set(policies.flatMap(rulesOf).flatMap(({ spec, ref }) => (spec === undefined && ref !== undefined ? [ref.configMap.name] : []))),
]

/** As the template says it: what is in braces is of the Pod, and the Pod is none of the caller's business. */
const askedCheck = (rule: CheckRule, templates: Templates): AskedCheck => {
  try {
    const { objectRef, matchLabels, matchExpressions } = checkSpecOf(rule, templates).selector
    return {
      name: rule.name,
      apiVersion: objectRef.apiVersion,
      kind: objectRef.kind,
      ...(objectRef.name === undefined || objectRef.name === '' ? {} : { objectName: objectRef.name }),
      ...(matchLabels === undefined ? {} : { matchLabels }),
      ...(matchExpressions === undefined ? {} : { matchExpressions }),
      ...readCheckParams(rule.params),
    }
  } catch (error) {
    if (!isCoded(error)) throw error
    return { name: rule.name, problem: plainMessage(messageOf(error)) }
  }
}

/** What is on record at a request never changes. */
const recordedCheck = ({ cel: _expression, ...check }: ResolvedCheck): AskedCheck => check

const nameOf = ({ metadata }: AccessRequest): string => `${metadata.namespace ?? ''}/${metadata.name}`

/** What a request that is there is asked, once the controller has looked at it; else what a new one would be. */
const askedPolicies = ({ requests, policies, found, templates }: ConnectorAccessFacts, request: string | undefined): AskedPolicy[] => {
  const recorded = requests.find((one) => nameOf(one) === request)?.status?.policies ?? []
  if (recorded.length > 0) return recorded.slice(0, MAX_POLICIES).map(({ name, checks }) => ({ name, checks: (checks ?? []).map(recordedCheck) }))
  if (found === undefined) return []
  return askedFirst(policies, found).map((policy) => ({ name: policy.metadata.name, checks: rulesOf(policy).map((rule) => askedCheck(rule, templates)) }))
}

/** Policies that a sentence names. */
const MAX_NAMED = 5

const deciders = ({ policies, found, connector }: ConnectorAccessFacts): string => {
  const matching = found === undefined ? [] : matchingPolicies(policies, found)
  if (matching.length === 0) return `which nobody can approve: no AccessPolicy in namespace ${connector.namespace} asks for checks for this Connector`
  const names = matching.slice(0, MAX_NAMED).map(({ metadata }) => metadata.name)
  return `decided by AccessPolicy ${names.join(', ')}${matching.length > names.length ? ` and ${matching.length - names.length} more` : ''}`
}

type Answer = Omit<ConnectorAccessReviewStatus, 'notFound'>

const no = (reason: string, more: Partial<Answer> = {}): Answer => ({ allowed: false, wouldRequest: false, policies: [], reason, ...more })

const podText = ({ pod, serviceAccount }: ConnectorAccessFacts): string => (pod === undefined ? 'a new Pod' : `Pod ${serviceAccount.namespace}/${pod.name}`)

const allowedText = (facts: ConnectorAccessFacts): string => {
  const { connector, serviceAccount, flags, mayProxy } = facts
  const { user } = podIdentity(serviceAccount.namespace, serviceAccount.name)
  const who = `${user} may use ${connectorText(connector)}`
  if (flags.state === 'off' && !flags.proxyPermissions) return `${who}: it may get it, and no more is needed while ${flags.message}`
  return mayProxy ? `${who} from any of its Pods` : `${who} from ${podText(facts)}`
}

const waitingText = (facts: ConnectorAccessFacts): string => {
  const { connector, serviceAccount, mayPodPath } = facts
  const { user } = podIdentity(serviceAccount.namespace, serviceAccount.name)
  // The only way to a yes that does not count.
  const why = mayPodPath ? ': the permission that is there may be that of an earlier Pod of the same name' : ''
  return `${user} may not use ${connectorText(connector)} yet${why}; ${podText(facts)} that mounts it gets an AccessRequest, ${deciders(facts)}`
}

/** Without a Pod the gate's own sentence would name the path of one. */
const barredText = ({ connector, serviceAccount, pod, mayGet, flags }: ConnectorAccessFacts, message: string): string => {
  if (pod !== undefined || !mayGet || flags.state !== 'off') return message
  const { user } = podIdentity(serviceAccount.namespace, serviceAccount.name)
  return `${user} may not use connectors/proxy (verb "*") of ${connectorText(connector)}; ${flags.message}, so nothing but a permission that is there already counts`
}

const judge = (facts: ConnectorAccessFacts, stands: Standing): Answer => {
  const { connector, flags } = facts
  switch (stands.state) {
    case 'allowed':
      return { ...no(allowedText(facts)), allowed: true }
    case 'barred':
      return no(barredText(facts, stands.failure.message))
    case 'rejected':
      return no(`${podText(facts)} may not use ${connectorText(connector)}, it was rejected: ${stands.message}`)
    case 'over':
      return no(stands.failure.message)
    case 'waiting': {
      if (flags.state !== 'on') return no(stands.message)
      const policies = askedPolicies(facts, stands.request)
      return stands.create === undefined ? no(stands.message, { policies }) : no(waitingText(facts), { wouldRequest: true, policies })
    }
    default:
      return stands satisfies never
  }
}

const standingOf = ({ connector, found, serviceAccount, pod, flags, mayGet, mayProxy, mayPodPath, requests, now }: ConnectorAccessFacts): Standing => {
  // No Pod has an empty uid: without one, every grant that there is belongs to another Pod.
  const mount = { pod: { namespace: serviceAccount.namespace, name: pod?.name ?? '', uid: pod?.uid ?? '' }, serviceAccount: serviceAccount.name }
  const fact = { connector, found, mayGet, mayProxy, mayPodPath: pod !== undefined && mayPodPath, requests: pod === undefined ? [] : requests, wasAsked: false }
  return standing({ mount, flags, connectors: [fact], now, requestedBy: '' }, connector)
}

const isGone = ({ found }: ConnectorAccessFacts): boolean => found === undefined || found.metadata.deletionTimestamp !== undefined

/** A Connector without a proxy is granted and cannot be mounted. */
const readiness = (facts: ConnectorAccessFacts): string[] => {
  const { found, mayGet } = facts
  if (found === undefined || isGone(facts) || !mayGet) return []
  const reading = readProxyAddress(found)
  return reading.ok ? [] : [`it cannot be mounted as it is: ${reading.problem}`]
}

const withCreator = (facts: ConnectorAccessFacts, answer: Answer): Answer => {
  const { creator, serviceAccount } = facts
  if (creator === undefined || creator.mayCreatePods) return answer
  const known = creator.groupsAreKnown ? '' : ', as far as is known without the groups of that user'
  return no(`${creator.user} may not create Pods in namespace ${serviceAccount.namespace}${known}; ${answer.reason}`)
}

/** The answer. What the gate would not let through now is not allowed, and flags that are not known allow nothing. */
export const decideConnectorAccess = (facts: ConnectorAccessFacts): ConnectorAccessReviewStatus => {
  const { connector, flags } = facts
  const notFound = isGone(facts)
  const judged = notFound ? no(`${connectorText(connector)} does not exist`) : flags.state === 'unknown' ? no(flags.message) : judge(facts, standingOf(facts))
  const { allowed, wouldRequest, policies, reason } = withCreator(facts, { ...judged, reason: [judged.reason, ...readiness(facts)].join('; ') })
  return { allowed, notFound, wouldRequest, policies, reason: plainMessage(reason) }
}
