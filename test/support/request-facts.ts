/**
 * Facts for decisions about requests, built small: a Pod `cicd/build-pod` of ServiceAccount builder that wants Connector
 * `connectors-shared/prod-harbor`, one policy `ask` with one check, and everything there and in order unless told otherwise.
 */
import type { AccessPolicy, AccessPolicySpec, CheckRule } from '../../src/api/access-policy.ts'
import type {
  AccessRequest,
  AccessRequestSpec,
  AccessRequestStatus,
  MatchedCheck,
  PolicySnapshot,
  RenderedRule,
  ResolvedCheck,
} from '../../src/api/access-request.ts'
import type { ConfigMap } from '../../src/api/config-map.ts'
import type { Connector } from '../../src/api/connector.ts'
import type { Condition, ConditionStatus } from '../../src/api/meta.ts'
import { ANNOTATION, API_VERSION, CLEANUP_FINALIZER, CSI_DRIVER, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import type { Pod } from '../../src/api/pod.ts'
import type { CheckFact, CheckObject } from '../../src/core/check.ts'
import { buildGrant, type Grant, type ObservedGrants } from '../../src/core/grant.ts'
import type { RequestFacts } from '../../src/core/request-pass.ts'

/** The time of every test that does not say otherwise. */
export const T0 = '2026-01-01T00:00:00Z'
export const NOW = Date.parse(T0)
/** So many seconds after T0, as the API server writes it. */
export const after = (seconds: number): string => `${new Date(NOW + seconds * 1000).toISOString().slice(0, 19)}Z`

export const POD_UID = 'pod-1'
export const POD_TEXT = 'Pod cicd/build-pod'
export const CONNECTOR_TEXT = 'Connector connectors-shared/prod-harbor'
export const POD_PATH = 'connectors/proxy/v1/pod/cicd/build-pod'

export interface RequestOptions {
  spec?: Partial<AccessRequestSpec>
  /** null: the request names no uid. */
  podUid?: string | null
  metadata?: Partial<AccessRequest['metadata']>
  status?: AccessRequestStatus
}

export const requestOf = ({ spec = {}, podUid = POD_UID, metadata = {}, status }: RequestOptions = {}): AccessRequest => ({
  apiVersion: API_VERSION,
  kind: 'AccessRequest',
  metadata: {
    name: 'prod-harbor-build-pod',
    namespace: 'connectors-shared',
    uid: 'request-1',
    generation: 1,
    creationTimestamp: T0,
    finalizers: [CLEANUP_FINALIZER],
    ...metadata,
  },
  spec: {
    subject: { kind: 'ServiceAccount', name: 'builder', namespace: 'cicd' },
    connectorRef: { name: 'prod-harbor' },
    context: { objectRef: { apiVersion: 'v1', kind: 'Pod', name: 'build-pod', namespace: 'cicd', ...(podUid === null ? {} : { uid: podUid }) } },
    ...spec,
  },
  ...(status === undefined ? {} : { status }),
})

export interface PodOptions {
  metadata?: Partial<Pod['metadata']>
  phase?: string
  serviceAccountName?: string
  /** The Connectors attribute of its volume. */
  connectors?: string
}

export const podOf = ({ metadata = {}, phase, serviceAccountName = 'builder', connectors = 'connectors-shared/prod-harbor' }: PodOptions = {}): Pod => ({
  metadata: { name: 'build-pod', namespace: 'cicd', uid: POD_UID, labels: { 'tekton.dev/pipelineRun': 'run-1' }, ...metadata },
  spec: { serviceAccountName, volumes: [{ name: 'harbor', csi: { driver: CSI_DRIVER, readOnly: true, volumeAttributes: { connectors } } }] },
  ...(phase === undefined ? {} : { status: { phase } }),
})

export const connectorOf = (metadata: Partial<Connector['metadata']> = {}): Connector => ({
  metadata: { name: 'prod-harbor', namespace: 'connectors-shared', uid: 'connector-1', ...metadata },
})

export const APPROVAL_TASKS = { apiVersion: 'openshift-pipelines.org/v1alpha1', kind: 'ApprovalTask' } as const

/** A check written in place: ApprovalTasks with the Pod's run label. */
export const inlineCheck = (name = 'approval', more: Partial<CheckRule> = {}): CheckRule => ({
  name,
  spec: { selector: { objectRef: { ...APPROVAL_TASKS }, matchLabels: { run: "{.object.metadata.labels['tekton.dev/pipelineRun']}" } } },
  ...more,
})

/** What inlineCheck becomes for the Pod. */
export const resolvedCheck = (name = 'approval', more: Partial<ResolvedCheck> = {}): ResolvedCheck => ({
  name,
  ...APPROVAL_TASKS,
  matchLabels: { run: 'run-1' },
  ...more,
})

export const policySpecOf = (checks: readonly CheckRule[] = [inlineCheck()], roleTemplate = 'in-pod'): AccessPolicySpec => ({
  checkGrantedPermission: { spec: { checks: [...checks], roleTemplate: { ref: { configMap: { name: roleTemplate } } } } },
})

export const policyOf = (name = 'ask', spec: AccessPolicySpec = policySpecOf(), metadata: Partial<AccessPolicy['metadata']> = {}): AccessPolicy => ({
  metadata: { name, namespace: 'connectors-shared', ...metadata },
  spec,
})

export const configMapOf = (name: string, data: Record<string, string>, annotations?: Record<string, string>): ConfigMap => ({
  metadata: { name, namespace: SYSTEM_NAMESPACE, ...(annotations === undefined ? {} : { annotations }) },
  data,
})

export const IN_POD_RULES = `
- apiGroups: [connectors.alauda.io]
  resources: ["connectors/proxy/v1/pod/{.object.metadata.namespace}/{.object.metadata.name}"]
  verbs: ["*"]
`
export const UNBOUND_RULES = `
- apiGroups: [connectors.alauda.io]
  resources: [connectors/proxy]
  verbs: ["*"]
`
export const CHECK_SPEC = `
selector:
  objectRef: { apiVersion: openshift-pipelines.org/v1alpha1, kind: ApprovalTask }
  matchLabels: { run: "{.object.metadata.labels['tekton.dev/pipelineRun']}" }
`

/** The templates that are there unless told otherwise: in-pod, whole-account (annotated unbound) and run-approval. */
export const TEMPLATES: readonly ConfigMap[] = [
  configMapOf('in-pod', { rules: IN_POD_RULES }),
  configMapOf('whole-account', { rules: UNBOUND_RULES }, { [ANNOTATION.unbound]: 'true' }),
  configMapOf('run-approval', { spec: CHECK_SPEC }),
]
export const templatesOf =
  (configMaps: readonly ConfigMap[] = TEMPLATES): RequestFacts['templates'] =>
  (name) =>
    configMaps.find(({ metadata }) => metadata.name === name)

/** The rule of the template in-pod, for the Pod. */
export const IN_POD_RULE: RenderedRule = { apiGroups: ['connectors.alauda.io'], resources: [POD_PATH], verbs: ['*'] }

export const taskOf = (name: string, state: string, more: { uid?: string; labels?: Record<string, string>; status?: object } = {}): CheckObject => ({
  ...APPROVAL_TASKS,
  metadata: { name, namespace: 'cicd', uid: more.uid ?? `uid-of-${name}`, labels: more.labels ?? { run: 'run-1' } },
  status: { state, ...more.status },
})

/** Objects for every check, or for each by name. */
export const checksOf =
  (found: readonly CheckObject[] | Record<string, CheckFact>): RequestFacts['checks'] =>
  (policy, check) => {
    if (!Array.isArray(found)) return (found as Record<string, CheckFact>)[`${policy}/${check}`] ?? { objects: [], recorded: [] }
    return { objects: found, recorded: [] }
  }

/** Roles and RoleBindings as the API server has them after these grants were applied. */
export const observedOf = (...grants: readonly Grant[]): ObservedGrants => ({
  roles: grants.map(({ role }) => structuredClone(role)),
  bindings: grants.map(({ binding }) => structuredClone(binding)),
})
export const NO_GRANTS: ObservedGrants = { roles: [], bindings: [] }

export const grantOf = (policy = 'ask', rules: readonly RenderedRule[] = [IN_POD_RULE], request: AccessRequest = requestOf()): Grant =>
  buildGrant(request, policy, rules, POD_UID)

/** Everything in order and confirmed; nothing was looked at yet and no check object is there. */
export const factsOf = (over: Partial<RequestFacts> = {}): RequestFacts => ({
  request: requestOf(),
  flags: { state: 'on' },
  pod: { state: 'live', pod: podOf() },
  connector: connectorOf(),
  policies: [policyOf()],
  templates: templatesOf(),
  checks: checksOf([]),
  grants: NO_GRANTS,
  grantErrors: new Map(),
  confirmed: true,
  podWatched: true,
  ...over,
})

/** `True/Passed the message`: a condition as one line of text. */
export type Line = `${ConditionStatus}/${string}`

export const conditionOf = (type: string, line: Line, time = T0, generation: number | null = 1): Condition => {
  const [, status, reason, message] = /^(True|False|Unknown)\/(\S+) ([^]*)$/.exec(line) ?? []
  if (status === undefined || reason === undefined || message === undefined) throw new Error(`not a condition: ${line}`)
  return {
    type,
    status: status as ConditionStatus,
    reason,
    message,
    lastTransitionTime: time,
    ...(generation === null ? {} : { observedGeneration: generation }),
  }
}

/** A condition of a policy or check within a status: without a generation. */
export const innerCondition = (type: string, line: Line, time = T0): Condition => conditionOf(type, line, time, null)

export const matchedOf = (task: CheckObject, line: Line, more: { name?: string; approvedBy?: string[]; time?: string } = {}): MatchedCheck => ({
  name: more.name ?? 'approval',
  ref: { ...APPROVAL_TASKS, namespace: task.metadata.namespace ?? '', name: task.metadata.name, uid: task.metadata.uid ?? '' },
  condition: innerCondition('Passed', line, more.time ?? T0),
  ...(more.approvedBy === undefined ? {} : { approvedBy: more.approvedBy }),
})

/** The policy `ask` as it is recorded once its templates were read. */
export const snapshotOf = (more: Partial<PolicySnapshot> = {}): PolicySnapshot => ({
  name: 'ask',
  policySpec: policySpecOf(),
  checks: [resolvedCheck()],
  rules: [IN_POD_RULE],
  matchedChecks: [],
  ...more,
})

/** The six conditions, in their order. */
export interface Lines {
  pod: Line
  connector: Line
  policy: Line
  check: Line
  sync: Line
  ready: Line
}

export const IN_ORDER: Lines = {
  pod: `True/Active ${POD_TEXT} is active`,
  connector: `True/Resolved ${CONNECTOR_TEXT} is there`,
  policy: 'True/Matched matched by AccessPolicy ask',
  check: 'Unknown/Pending not looked at yet',
  sync: 'Unknown/Pending not looked at yet',
  ready: 'Unknown/Pending not looked at yet',
}
/** A condition that was not looked at yet. */
export const UNSEEN: Line = 'Unknown/Pending not looked at yet'

const TYPES = {
  pod: 'ContextObjectValid',
  connector: 'ConnectorResolved',
  policy: 'AccessPolicyMatched',
  check: 'AccessCheckReady',
  sync: 'AccessPermissionSync',
  ready: 'Ready',
} as const

export interface StatusOptions {
  /** Times of conditions that did not change at T0. */
  times?: Partial<Record<keyof Lines, string>>
  contextUID?: string | null
  connectorUID?: string | null
}

/** A whole status, of a request that is bound to the Pod and was matched for the Connector. */
export const statusOf = (
  lines: Partial<Lines>,
  policies: readonly PolicySnapshot[] = [],
  { times = {}, contextUID = POD_UID, connectorUID }: StatusOptions = {},
): AccessRequestStatus => {
  const of = policies.length > 0 && connectorUID === undefined ? 'connector-1' : connectorUID
  const all: Lines = { ...IN_ORDER, ...lines }
  return {
    observedGeneration: 1,
    ...(contextUID === null ? {} : { contextUID }),
    ...(of === undefined || of === null ? {} : { connectorUID: of }),
    conditions: (Object.keys(TYPES) as (keyof Lines)[]).map((key) => conditionOf(TYPES[key], all[key], times[key])),
    ...(policies.length === 0 ? {} : { policies: [...policies] }),
  }
}

/** The conditions of a status as lines, without times. */
export const linesOf = (status: AccessRequestStatus | undefined): Lines => {
  const line = (key: keyof Lines): Line => {
    const condition = status?.conditions?.find(({ type }) => type === TYPES[key])
    return condition === undefined ? UNSEEN : `${condition.status}/${condition.reason} ${condition.message}`
  }
  return { pod: line('pod'), connector: line('connector'), policy: line('policy'), check: line('check'), sync: line('sync'), ready: line('ready') }
}
