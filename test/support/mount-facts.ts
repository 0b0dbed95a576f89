/**
 * Facts for decisions at the mount: Pod `cicd/build-1` (uid `uid-1`) of ServiceAccount builder mounts Connector `shared/harbor`,
 * which is there and may be got, with approval on and nothing else, unless told otherwise. It is a minute after T0.
 */
import type { AccessRequest, AccessRequestStatus } from '../../src/api/access-request.ts'
import type { Mount } from '../../src/core/mount-call.ts'
import type { ConnectorGateFacts, GateFacts } from '../../src/core/mount-gate.ts'
import { buildRequest, type ConnectorKey, type PodKey } from '../../src/core/request-identity.ts'
import { NOW, statusOf } from './request-facts.ts'

export const MOUNT_TIME = NOW + 60_000
export const MOUNT_POD: PodKey = { namespace: 'cicd', name: 'build-1', uid: 'uid-1' }
export const HARBOR: ConnectorKey = { namespace: 'shared', name: 'harbor' }
export const GIT: ConnectorKey = { namespace: 'cicd', name: 'git' }
export const USER = 'system:serviceaccount:cicd:builder'
const PLUGIN = 'system:serviceaccount:connectors-system:access-gate-csi'

const PASSED = 'True/Passed ApprovalTask cicd/deploy-prod was approved by alice'
const NO_POLICY = 'no AccessPolicy in namespace shared grants Connector shared/harbor after checks'

/** What the controller has written so far about a request. */
export const STAGE = {
  'new': undefined,
  'waiting': statusOf({ check: 'Unknown/Pending waiting for ApprovalTask cicd/deploy-prod', sync: 'Unknown/Pending waiting for the checks', ready: 'Unknown/Pending waiting for ApprovalTask cicd/deploy-prod' }),
  'no policy': statusOf({ policy: `False/NoMatched ${NO_POLICY}`, ready: `False/NoMatched ${NO_POLICY}` }),
  'failed': statusOf({ check: 'False/Failed ApprovalTask cicd/x cannot be evaluated: no such key', ready: 'False/Failed ApprovalTask cicd/x cannot be evaluated: no such key' }),
  'passed': statusOf({ check: PASSED, sync: 'Unknown/Pending Role and RoleBinding g are being written', ready: 'Unknown/Pending Role and RoleBinding g are being written' }),
  'synced': statusOf({ check: PASSED, sync: 'True/Synced Role and RoleBinding g are in place', ready: 'True/Synced Role and RoleBinding g are in place' }),
  'sync failed': statusOf({ check: PASSED, sync: 'False/SyncFailed AccessPolicy ask: forbidden', ready: 'False/SyncFailed AccessPolicy ask: forbidden' }),
  'grants nothing': statusOf({ check: PASSED, sync: 'True/NoPermissionRequired the role templates grant nothing', ready: 'False/NoPermissionRequired the role templates grant nothing' }),
  'rejected': statusOf({
    check: 'False/Rejected ApprovalTask cicd/deploy-prod was rejected',
    sync: 'True/PermissionCleanUp nothing was granted: ApprovalTask cicd/deploy-prod was rejected',
    ready: 'False/Rejected ApprovalTask cicd/deploy-prod was rejected',
  }),
  'ended': statusOf({
    connector: 'False/NotFound Connector shared/harbor is gone',
    check: PASSED,
    sync: 'True/PermissionCleanUp the temporary permission was removed: Connector shared/harbor is gone',
    ready: 'False/NotFound Connector shared/harbor is gone',
  }),
} satisfies Record<string, AccessRequestStatus | undefined>
export type Stage = keyof typeof STAGE

/** A status whose AccessPermissionSync is as new as told. @param time as the API server writes it */
export const syncedAt = (status: AccessRequestStatus, time: string): AccessRequestStatus => ({
  ...status,
  conditions: (status.conditions ?? []).map((condition) => (condition.type === 'AccessPermissionSync' ? { ...condition, lastTransitionTime: time } : condition)),
})

/** A request of ServiceAccount builder as the plugin makes it. */
export const requestFor = (connector: ConnectorKey, status?: AccessRequestStatus, pod: PodKey = MOUNT_POD): AccessRequest => {
  const request = buildRequest({ connector, pod, serviceAccount: 'builder' }, PLUGIN)
  return status === undefined ? request : { ...request, status }
}

/** The one of an earlier Pod of the same name. */
export const earlierRequest = (connector: ConnectorKey, status?: AccessRequestStatus): AccessRequest => requestFor(connector, status, { ...MOUNT_POD, uid: 'uid-0' })

export const textOf = ({ metadata }: AccessRequest): string => `${metadata.namespace ?? ''}/${metadata.name}`

export const connectorFactsOf = (given: Partial<ConnectorGateFacts> = {}): ConnectorGateFacts => {
  const { connector = HARBOR } = given
  return { connector, found: { metadata: { ...connector, uid: 'connector-1' } }, mayGet: true, mayProxy: false, mayPodPath: false, requests: [], wasAsked: false, ...given }
}

export const mountOf = (connectors: readonly ConnectorKey[]): Mount => ({
  volumeId: 'csi-0a1b',
  target: '/var/lib/kubelet/pods/uid-1/volumes/kubernetes.io~csi/tools/mount',
  volumeName: 'tools',
  pod: MOUNT_POD,
  serviceAccount: 'builder',
  attributes: { connectors: [...connectors], configurationNames: { include: undefined, exclude: [] }, configurationParams: new Map(), tokenExpirationMs: undefined },
  group: undefined,
  tokens: new Map(),
})

/** The mount names the Connectors that there are facts of, in their order; several are allowed when there are several. */
export const gateFactsOf = (connectors: readonly Partial<ConnectorGateFacts>[] = [{}], more: Partial<GateFacts> = {}): GateFacts => {
  const facts = connectors.map(connectorFactsOf)
  return { mount: mountOf(facts.map(({ connector }) => connector)), flags: { state: 'on' }, multiConnector: facts.length > 1, connectors: facts, now: MOUNT_TIME, requestedBy: PLUGIN, ...more }
}
