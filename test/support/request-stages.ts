/** How far a request can be, as statuses and facts, and how decisions about it are read. */
import type { AccessRequest, AccessRequestStatus, PolicySnapshot } from '../../src/api/access-request.ts'
import type { CheckObject } from '../../src/core/check.ts'
import { decideAccessRequest } from '../../src/core/decide-request.ts'
import type { Decision, Effect } from '../../src/core/effects.ts'
import type { RequestFacts } from '../../src/core/request-pass.ts'
import {
  after,
  checksOf,
  CONNECTOR_TEXT,
  factsOf,
  grantOf,
  IN_ORDER,
  inlineCheck,
  innerCondition,
  linesOf,
  matchedOf,
  NOW,
  observedOf,
  podOf,
  policySpecOf,
  POD_TEXT,
  requestOf,
  resolvedCheck,
  snapshotOf,
  statusOf,
  taskOf,
  type Lines,
} from './request-facts.ts'

/** Name of the one Role and RoleBinding of policy `ask`. */
export const ROLE = grantOf().role.metadata.name
/** What the checks say while no object is there. */
export const WAITING = 'there is no ApprovalTask in namespace cicd with run=run-1 yet'
export const PASSED: Lines['check'] = 'True/Passed ApprovalTask cicd/deploy was approved'
export const SYNCED: Lines['sync'] = `True/Synced Role and RoleBinding ${ROLE} are in place`

export const pending = taskOf('deploy', 'pending')
export const approved = taskOf('deploy', 'approved')
export const rejected = taskOf('deploy', 'rejected')

export const withStatus = (status: AccessRequestStatus): AccessRequest => requestOf({ status })
/** A request that was matched by these policies. */
export const waitingFor = (...policies: PolicySnapshot[]): AccessRequest => withStatus(statusOf({}, policies))

export const waitingStatus = statusOf(
  { check: `Unknown/Pending ${WAITING}`, sync: 'Unknown/Pending waiting for the checks', ready: `Unknown/Pending ${WAITING}` },
  [snapshotOf()],
)
export const matchedPass = matchedOf(approved, PASSED)
export const passedSnapshot = snapshotOf({ matchedChecks: [matchedPass] })
export const passedStatus = statusOf({ check: PASSED, sync: 'Unknown/Pending waiting for the checks', ready: 'Unknown/Pending waiting for the checks' }, [
  passedSnapshot,
])
export const grantedSnapshot: PolicySnapshot = { ...passedSnapshot, permissionSync: innerCondition('AccessPermissionSync', SYNCED) }
export const grantedStatus = statusOf({ check: PASSED, sync: SYNCED, ready: SYNCED }, [grantedSnapshot])

/** A second policy, with a check of its own. */
export const second = (more: Partial<PolicySnapshot> = {}): PolicySnapshot =>
  snapshotOf({ name: 'scan', policySpec: policySpecOf([inlineCheck('scan')]), checks: [resolvedCheck('scan')], ...more })

export const unconfirmed = { confirmed: false }
/** Granted and at rest. */
export const granted: Partial<RequestFacts> = {
  request: withStatus(grantedStatus),
  checks: checksOf([approved]),
  grants: observedOf(grantOf()),
  ...unconfirmed,
}
export const terminating = { state: 'live', pod: podOf({ metadata: { deletionTimestamp: after(0) } }) } as const
/** One object is selected. */
export const found = (object: CheckObject) => ({ objects: [object], recorded: [] })

export const decide = (given: Partial<RequestFacts>, now = NOW): Decision => decideAccessRequest(factsOf(given), now)

export const write = (status: AccessRequestStatus) => ({ type: 'write-status', status }) as const
export const notice = (type: 'Normal' | 'Warning', reason: string, action: string, note: string) =>
  ({ type: 'notice', notice: { type, reason, action, note } }) as const
export const refusedFor = (why: string): string => `${POD_TEXT} does not get ${CONNECTOR_TEXT}: ${why}`

/** The conditions of a request whose Pod, Connector and policy are in order. */
export const lines = (over: Partial<Lines>): Lines => ({ ...IN_ORDER, ...over })
/** The effects, with statuses as lines. */
export const told = ({ effects }: Decision): unknown[] => effects.map((effect) => (effect.type === 'write-status' ? linesOf(effect.status) : effect))
export const types = ({ effects }: Decision): Effect['type'][] => effects.map(({ type }) => type)
/** The last status that is written. */
export const written = ({ effects }: Decision): AccessRequestStatus | undefined =>
  effects.flatMap((effect) => (effect.type === 'write-status' ? [effect.status] : [])).at(-1)
