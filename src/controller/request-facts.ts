import type { AccessRequest, PolicySnapshot, ResolvedCheck } from '../api/access-request.ts'
import type { AccessPolicy } from '../api/access-policy.ts'
import type { ConfigMap } from '../api/config-map.ts'
import type { Connector } from '../api/connector.ts'
import type { KubeObject } from '../api/meta.ts'
import { FLAGS_CONFIG_MAP, SYSTEM_NAMESPACE } from '../api/names.ts'
import type { Pod } from '../api/pod.ts'
import type { CheckFact, CheckObject } from '../core/check.ts'
import { checksRecordedAsPassed, everyCheckRecordedAsPassed, isFinal } from '../core/conditions.ts'
import { readFlags } from '../core/feature-flags.ts'
import { grantName, type ObservedGrants } from '../core/grant.ts'
import { selectorMatches } from '../core/label-selector.ts'
import { boundUid, podFact } from '../core/pod-context.ts'
import { matchingPolicies } from '../core/policy-match.ts'
import type { RequestFacts } from '../core/request-pass.ts'
import { isResolved, plannedPolicies } from '../core/run-checks.ts'
import { isCoded, messageOf } from '../errors.ts'
import type { Reader } from '../kube/ports.ts'
import { storeKey } from '../kube/store.ts'
import { ACCESS_POLICIES, ACCESS_REQUESTS, CONFIG_MAPS, CONNECTORS, PODS } from '../kube/resources.ts'
import { isOwnedBy, type Caches } from './caches.ts'
import { forbiddenKind, type CheckWatches } from './check-watches.ts'
import { checkKeys } from './check-index.ts'
import { selectorOf, selectorQuery } from './check-selector.ts'

export interface FactSources {
  reader: Reader
  caches: Caches
  checks: Pick<CheckWatches, 'lookup'>
}

const isMatchedBy = (check: ResolvedCheck, object: CheckObject): boolean =>
  (check.objectName === undefined || object.metadata.name === check.objectName) && selectorMatches(selectorOf(check), object.metadata.labels)

const recordedFor = (policy: PolicySnapshot, check: ResolvedCheck): { name: string; uid: string }[] =>
  (policy.matchedChecks ?? []).filter(({ name }) => name === check.name).map(({ ref }) => ref)

const splitObjects = (check: ResolvedCheck, recorded: readonly { uid: string }[], all: Iterable<CheckObject>): CheckFact => {
  const uids = new Set(recorded.map(({ uid }) => uid))
  const fact: { objects: CheckObject[]; recorded: CheckObject[] } = { objects: [], recorded: [] }
  for (const object of all) {
    if (isMatchedBy(check, object)) fact.objects.push(object)
    if (uids.has(object.metadata.uid ?? '')) fact.recorded.push(object)
  }
  return fact
}

const cachedCheck = ({ checks }: FactSources, policy: PolicySnapshot, check: ResolvedCheck, namespace: string): CheckFact => {
  const known = checks.lookup(check.apiVersion, check.kind)
  if (known.state !== 'ready') return { unreadable: known.message, failed: known.state === 'failed' }
  const recorded = recordedFor(policy, check)
  return splitObjects(check, recorded, new Set(checkKeys(check, namespace, recorded).flatMap((key) => known.store.byIndex('check', key))))
}

/** The objects of a check from the API server itself: those that the selector finds, and by name recorded ones that it does not find. */
const liveCheck = async ({ reader, checks }: FactSources, request: AccessRequest, policy: PolicySnapshot, check: ResolvedCheck): Promise<CheckFact> => {
  const { namespace } = request.spec.context.objectRef
  const known = checks.lookup(check.apiVersion, check.kind)
  if (known.state !== 'ready') return { unreadable: known.message, failed: known.state === 'failed' }
  const recorded = recordedFor(policy, check)
  try {
    const { items } = await reader.list(known.resource, { namespace, ...selectorQuery(check) })
    const unlisted = recorded.filter(({ uid }) => !items.some(({ metadata }) => metadata.uid === uid))
    const named = await Promise.all(unlisted.map(({ name }) => reader.get(known.resource, namespace, name)))
    const objects = new Map([...items, ...named.filter((object) => object !== undefined)].map((object) => [object.metadata.uid, object]))
    return splitObjects(check, recorded, objects.values())
  } catch (error) {
    // A watch outlives the right to it by minutes; the status has to say at once what is missing.
    if (isCoded(error, 'KUBE_FORBIDDEN')) return { unreadable: forbiddenKind(check.apiVersion, check.kind), failed: true }
    // After the pass only a rejection changes anything: a kind that cannot be read must not hold up the end of a grant.
    if (isCoded(error) && checksRecordedAsPassed(request.status)) return { unreadable: messageOf(error), failed: true }
    throw error
  }
}

const checkKey = (policy: string, check: string): string => JSON.stringify([policy, check])
/** What was read for a check says nothing of another one of the same policy and name. */
const confirmedKey = (policy: PolicySnapshot, check: ResolvedCheck): string => JSON.stringify([policy.name, check])

interface NeededCheck {
  policy: PolicySnapshot
  check: ResolvedCheck
}

const checksIn = (policies: readonly PolicySnapshot[]): NeededCheck[] => policies.flatMap((policy) => (policy.checks ?? []).map((check) => ({ policy, check })))

const checksOf = (request: AccessRequest): NeededCheck[] => checksIn(request.status?.policies ?? [])

/** The kinds that are being read for the first time, of those that a decision looks at: since when (the earliest), and when it is known of all whether they can be read. */
export const firstReads = ({ checks }: Pick<FactSources, 'checks'>, facts: RequestFacts): { since: number; answered: Promise<unknown> } | undefined => {
  const reads = checksIn(plannedPolicies(facts)).flatMap(({ check }) => {
    const known = checks.lookup(check.apiVersion, check.kind)
    return known.state === 'waiting' && known.firstRead !== undefined ? [known.firstRead] : []
  })
  return reads.length === 0 ? undefined : { since: Math.min(...reads.map(({ since }) => since)), answered: Promise.all(reads.map(({ answered }) => answered)) }
}

/** ConfigMaps that a request's policies name, and the flags. */
const templateNames = (policies: readonly { spec: AccessPolicy['spec'] }[]): string[] =>
  policies.flatMap(({ spec }) => {
    const checked = spec.checkGrantedPermission?.spec
    if (checked === undefined) return []
    return [...checked.checks.flatMap(({ ref }) => (ref === undefined ? [] : [ref.configMap.name])), checked.roleTemplate.ref.configMap.name]
  })

/** What was read from the API server itself, in one reconcile. */
export interface ConfirmedFacts {
  pod: Pod | undefined
  connector: Connector | undefined
  policies: AccessPolicy[]
  configMaps: Map<string, ConfigMap | undefined>
  checks: Map<string, CheckFact>
}

const connectorOf = (connector: Connector | undefined): Connector | undefined => (connector?.metadata.deletionTimestamp === undefined ? connector : undefined)

/** What a cached request is worth: the facts around it, or the request that the API server has instead; undefined when it has none. */
export type Confirmation = { facts: ConfirmedFacts } | { stale: AccessRequest | undefined }

/** Reads everything that a grant depends on from the API server itself. @throws CodedError KUBE_* */
export const confirmFacts = async (sources: FactSources, cached: AccessRequest): Promise<Confirmation> => {
  const { reader } = sources
  const { metadata, spec } = cached
  const { namespace: podNamespace, name: podName } = spec.context.objectRef
  const [request, pod, connector, checks] = await Promise.all([
    reader.get(ACCESS_REQUESTS, metadata.namespace, metadata.name),
    reader.get(PODS, podNamespace, podName),
    reader.get(CONNECTORS, metadata.namespace, spec.connectorRef.name),
    Promise.all(
      checksOf(cached).map(async ({ policy, check }) => [confirmedKey(policy, check), await liveCheck(sources, cached, policy, check)] as const),
    ),
  ])
  if (request === undefined || request.metadata.resourceVersion !== metadata.resourceVersion) return { stale: request }
  const snapshots = cached.status?.policies ?? []
  // What was matched for another Connector of the name is forgotten, and matched anew.
  const isMatched = snapshots.length > 0 && connector?.metadata.uid === cached.status?.connectorUID
  const policies = isMatched ? [] : (await reader.list(ACCESS_POLICIES, metadata.namespace === undefined ? {} : { namespace: metadata.namespace })).items
  const open = snapshots.filter((snapshot) => !isResolved([snapshot])).map(({ policySpec }) => ({ spec: policySpec }))
  const matched = connector === undefined ? [] : matchingPolicies(policies, connector)
  const names = new Set([FLAGS_CONFIG_MAP, ...templateNames([...open, ...matched])])
  const configMaps = await Promise.all([...names].map(async (name) => [name, await reader.get(CONFIG_MAPS, SYSTEM_NAMESPACE, name)] as const))
  return { facts: { pod, connector, policies, configMaps: new Map(configMaps), checks: new Map(checks) } }
}

/** Templates and expressions may read any field of a Pod; the cache keeps only a few. */
export const needsWholePod = (request: AccessRequest): boolean =>
  !isResolved(request.status?.policies ?? []) || checksOf(request).some(({ check }) => check.cel !== undefined)

const readPod = async ({ reader, caches }: FactSources, request: AccessRequest): Promise<Pod | undefined> => {
  const { namespace, name } = request.spec.context.objectRef
  const cached = caches.pods.get(namespace, name)
  const bound = boundUid(request)
  // A Pod that left the watch may only have lost its label; a Pod of another uid may be older than the request. What a request
  // without uid is bound to, it is bound to for good: not to a Pod that only the cache still shows.
  const known = cached !== undefined && cached.metadata.uid === bound
  return known && !needsWholePod(request) ? cached : reader.get(PODS, namespace, name)
}

const readConnector = async ({ reader, caches }: FactSources, { metadata, spec, status }: AccessRequest): Promise<Connector | undefined> => {
  const cached = caches.connectors.get(metadata.namespace, spec.connectorRef.name)
  // One of another uid than the matched one may be older than it.
  const known = cached !== undefined && (status?.connectorUID === undefined || cached.metadata.uid === status.connectorUID)
  return known ? cached : reader.get(CONNECTORS, metadata.namespace, spec.connectorRef.name)
}

const observedGrants = ({ caches }: Pick<FactSources, 'caches'>, request: AccessRequest, deleted: ReadonlySet<string>): ObservedGrants => {
  const own = <T extends KubeObject>(objects: readonly T[]): T[] => objects.filter((object) => !deleted.has(object.metadata.name) && isOwnedBy(object, request.metadata.uid))
  const key = storeKey(request.metadata.namespace, request.metadata.name)
  return { roles: own(caches.roles.byIndex('owner', key)), bindings: own(caches.bindings.byIndex('owner', key)) }
}

/**
 * Whether there are grants that the status of the request does not account for. They are to go; but a status that a cache
 * shows may also be older than the grants, as after another replica has led.
 */
export const hasUnexplainedGrants = (sources: Pick<FactSources, 'caches'>, request: AccessRequest): boolean => {
  const { status } = request
  const policies = everyCheckRecordedAsPassed(status) ? (status?.policies ?? []) : []
  const explained = new Set(policies.flatMap(({ name, rules }) => (rules === undefined ? [] : [grantName(request, name)])))
  const { roles, bindings } = observedGrants(sources, request, explained)
  return roles.length + bindings.length > 0
}

export interface Progress {
  confirmed: ConfirmedFacts | undefined
  /** Grants that this reconcile has deleted; the cache may still show them. */
  deleted: ReadonlySet<string>
  grantErrors: ReadonlyMap<string, string>
}

/**
 * The facts for one decision: from the caches, and from the API server where a cache cannot tell.
 * @throws CodedError KUBE_* when something could not be read: unknown is no fact
 */
export const gatherFacts = async (sources: FactSources, request: AccessRequest, { confirmed, deleted, grantErrors }: Progress): Promise<RequestFacts> => {
  const { caches } = sources
  const { metadata, spec, status } = request
  const { namespace: podNamespace, name: podName } = spec.context.objectRef
  const inert = isFinal(status) || metadata.deletionTimestamp !== undefined
  const pod = inert ? undefined : confirmed === undefined ? await readPod(sources, request) : confirmed.pod
  const connector = inert ? undefined : confirmed === undefined ? await readConnector(sources, request) : confirmed.connector
  const podState = podFact(request, pod)
  // Each is read once: what is decided on must be what the checks below were looked up by, also when a watch tells news meanwhile.
  const configMaps = new Map<string, ConfigMap | undefined>(confirmed?.configMaps)
  const configMap = (name: string): ConfigMap | undefined => {
    if (!configMaps.has(name)) configMaps.set(name, caches.configMaps.get(SYSTEM_NAMESPACE, name))
    return configMaps.get(name)
  }
  const surroundings = {
    request,
    flags: readFlags(configMap(FLAGS_CONFIG_MAP)),
    pod: podState,
    connector: connectorOf(connector),
    policies: confirmed?.policies ?? [...caches.policies.byIndex('namespace', metadata.namespace ?? '')],
    templates: configMap,
  }
  const needed = inert ? [] : checksOf(request)
  const planned = inert ? [] : checksIn(plannedPolicies(surroundings))
  // Before policies are matched, which takes a confirmation, no check is judged.
  const isJudged = (status?.policies ?? []).length > 0 || confirmed !== undefined
  const checks = new Map(
    await Promise.all(
      planned.map(async ({ policy, check }) => {
        const known = confirmed?.checks.get(confirmedKey(policy, check))
        // An expression may read any field of an object; the cache keeps only a few.
        const isRead = check.cel !== undefined && podState.state === 'live' && isJudged
        const fact = known ?? (isRead ? await liveCheck(sources, request, policy, check) : cachedCheck(sources, policy, check, podNamespace))
        return [checkKey(policy.name, check.name), fact] as const
      }),
    ),
  )
  // What became known only after the confirmation is not confirmed: a grant asks for another one.
  const isConfirmed =
    confirmed !== undefined && (checksRecordedAsPassed(status) || needed.every(({ policy, check }) => confirmed.checks.has(confirmedKey(policy, check))))
  return {
    ...surroundings,
    checks: (policy, check) => checks.get(checkKey(policy, check)) ?? { unreadable: `check "${check}" of AccessPolicy ${policy} was not looked for yet`, failed: false },
    grants: observedGrants(sources, request, deleted),
    grantErrors,
    confirmed: isConfirmed,
    podWatched: caches.pods.get(podNamespace, podName)?.metadata.uid === pod?.metadata.uid,
  }
}
