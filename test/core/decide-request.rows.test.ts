/** The rows of facts -> conditions and actions, one by one. */
import { test } from 'tap'
import type { AccessRequestStatus } from '../../src/api/access-request.ts'
import { decideAccessRequest } from '../../src/core/decide-request.ts'
import type { Decision } from '../../src/core/effects.ts'
import type { RequestFacts } from '../../src/core/request-pass.ts'
import {
  after,
  checksOf,
  configMapOf,
  CONNECTOR_TEXT,
  connectorOf,
  factsOf,
  grantOf,
  IN_POD_RULE,
  inlineCheck,
  innerCondition,
  matchedOf,
  NOW,
  observedOf,
  podOf,
  policyOf,
  policySpecOf,
  POD_TEXT,
  requestOf,
  resolvedCheck,
  snapshotOf,
  statusOf,
  taskOf,
  templatesOf,
  UNSEEN,
} from '../support/request-facts.ts'

interface Row {
  given: Partial<RequestFacts>
  does: Decision
}

const ROLE = grantOf().role.metadata.name
const WAITING = 'there is no ApprovalTask in namespace cicd with run=run-1 yet'
const WRITTEN_SYNC = `Role and RoleBinding ${ROLE} are in place`

const write = (status: AccessRequestStatus) => ({ type: 'write-status', status }) as const
const notice = (type: 'Normal' | 'Warning', reason: string, action: string, note: string) => ({ type: 'notice', notice: { type, reason, action, note } }) as const
const withStatus = (status: AccessRequestStatus) => requestOf({ status })

const pending = taskOf('deploy', 'pending')
const approved = taskOf('deploy', 'approved')
const rejected = taskOf('deploy', 'rejected')
const unconfirmed = { confirmed: false }

const PASSED = 'True/Passed ApprovalTask cicd/deploy was approved'
const matchedPass = matchedOf(approved, PASSED)
const SYNCED = `True/Synced ${WRITTEN_SYNC}` as const

const waitingStatus = statusOf({ check: `Unknown/Pending ${WAITING}`, sync: 'Unknown/Pending waiting for the checks', ready: `Unknown/Pending ${WAITING}` }, [snapshotOf()])
const passedStatus = statusOf({ check: PASSED, sync: 'Unknown/Pending waiting for the checks', ready: 'Unknown/Pending waiting for the checks' }, [
  snapshotOf({ matchedChecks: [matchedPass] }),
])
const grantedSnapshot = snapshotOf({ matchedChecks: [matchedPass], permissionSync: innerCondition('AccessPermissionSync', SYNCED) })
const grantedStatus = statusOf({ check: PASSED, sync: SYNCED, ready: SYNCED }, [grantedSnapshot])

const granted: Partial<RequestFacts> = { request: withStatus(grantedStatus), checks: checksOf([approved]), grants: observedOf(grantOf()), ...unconfirmed }

/** The end of a granted request. */
const ended = (why: string, lines: Parameters<typeof statusOf>[0]): Decision => {
  const sync = `True/PermissionCleanUp the temporary permission was removed: ${why}` as const
  return {
    effects: [
      { type: 'delete-grants', names: [ROLE] },
      notice('Normal', 'AccessRevoked', 'Revoke', `Access of ${POD_TEXT} to ${CONNECTOR_TEXT} was revoked: ${why}`),
      write(
        statusOf({ check: PASSED, sync, ...lines }, [
          { ...grantedSnapshot, permissionSync: innerCondition('AccessPermissionSync', sync) },
        ]),
      ),
    ],
  }
}

const mismatch = 'ApprovalTask cicd/deploy was approved by mallory; 1 approval(s) of alice are required'
const byMallory = taskOf('deploy', 'approved', { status: { approversResponse: [{ name: 'mallory', type: 'User', response: 'approved' }] } })
const refusedFor = (why: string): string => `${POD_TEXT} does not get ${CONNECTOR_TEXT}: ${why}`

const ROWS: Record<string, Row> = {
  'row 1: a request that is newer than its Pod waits, and knows nothing else': {
    given: { pod: { state: 'missing' }, ...unconfirmed },
    does: {
      effects: [
        write(
          statusOf(
            {
              pod: `Unknown/Pending ${POD_TEXT} with uid pod-1 is not there yet`,
              connector: UNSEEN,
              policy: UNSEEN,
              ready: `Unknown/Pending ${POD_TEXT} with uid pod-1 is not there yet`,
            },
            [],
            { contextUID: null },
          ),
        ),
      ],
      requeueAfter: 4_000,
    },
  },
  'row 2: without its Connector a request waits for it': {
    given: { connector: undefined, ...unconfirmed },
    does: {
      effects: [write(statusOf({ connector: `False/NotFound ${CONNECTOR_TEXT} does not exist`, policy: UNSEEN, ready: `False/NotFound ${CONNECTOR_TEXT} does not exist` }))],
    },
  },
  'row 2: a Connector that goes before anything was granted leaves what was matched for it on record': {
    given: { request: withStatus(waitingStatus), connector: undefined, ...unconfirmed },
    does: {
      effects: [
        write(
          statusOf(
            {
              connector: `False/NotFound ${CONNECTOR_TEXT} does not exist`,
              check: `Unknown/Pending ${WAITING}`,
              sync: 'Unknown/Pending waiting for the checks',
              ready: `False/NotFound ${CONNECTOR_TEXT} does not exist`,
            },
            [snapshotOf()],
          ),
        ),
      ],
    },
  },
  'row 3: without a policy that asks for checks nothing is ever granted': {
    given: { policies: [policyOf('open', {}), policyOf('other', { connector: { names: ['staging'] }, ...policySpecOf() })], ...unconfirmed },
    does: {
      effects: [
        write(
          statusOf({
            policy: `False/NoMatched no AccessPolicy in namespace connectors-shared grants ${CONNECTOR_TEXT} after checks`,
            check: 'Unknown/Pending no policy says what to check',
            sync: 'Unknown/Pending no policy says what to grant',
            ready: `False/NoMatched no AccessPolicy in namespace connectors-shared grants ${CONNECTOR_TEXT} after checks`,
          }),
        ),
      ],
    },
  },
  'row 3: a policy that comes later is matched': {
    given: {
      request: withStatus(
        statusOf({
          policy: `False/NoMatched no AccessPolicy in namespace connectors-shared grants ${CONNECTOR_TEXT} after checks`,
          check: 'Unknown/Pending no policy says what to check',
          sync: 'Unknown/Pending no policy says what to grant',
          ready: `False/NoMatched no AccessPolicy in namespace connectors-shared grants ${CONNECTOR_TEXT} after checks`,
        }),
      ),
    },
    does: { effects: [write(waitingStatus)] },
  },
  'row 4: a match waits for its check objects, with the policy, its checks and its rules on record': {
    given: {},
    does: { effects: [write(waitingStatus)] },
  },
  'row 4: policies are matched from confirmed facts only': {
    given: unconfirmed,
    does: { effects: [{ type: 'confirm' }] },
  },
  'row 4: a wait that is on record is not written again': {
    given: { request: withStatus(waitingStatus), ...unconfirmed },
    does: { effects: [] },
  },
  'row 5: a check object that is not decided is named': {
    given: { request: withStatus(waitingStatus), checks: checksOf([pending]), ...unconfirmed },
    does: {
      effects: [
        write(
          statusOf({ check: 'Unknown/Pending waiting for ApprovalTask cicd/deploy', sync: 'Unknown/Pending waiting for the checks', ready: 'Unknown/Pending waiting for ApprovalTask cicd/deploy' }, [
            snapshotOf({ matchedChecks: [matchedOf(pending, 'Unknown/Pending waiting for ApprovalTask cicd/deploy')] }),
          ]),
        ),
      ],
    },
  },
  'row 6: that all checks passed is confirmed before it is written': {
    given: { request: withStatus(waitingStatus), checks: checksOf([approved]), ...unconfirmed },
    does: { effects: [{ type: 'confirm' }] },
  },
  'row 6: the status says "passed" before there is a Role': {
    given: { request: withStatus(waitingStatus), checks: checksOf([approved]) },
    does: { effects: [write(passedStatus)] },
  },
  'row 6: a request without finalizer gets it before the status says "passed"': {
    given: { request: requestOf({ metadata: { finalizers: ['example.org/other'] }, status: waitingStatus }), checks: checksOf([approved]) },
    does: { effects: [{ type: 'add-finalizer' }] },
  },
  'row 6: a grant is confirmed before it is made': {
    given: { request: withStatus(passedStatus), checks: checksOf([approved]), ...unconfirmed },
    does: { effects: [{ type: 'confirm' }] },
  },
  'row 6: what is on record as passed is granted': {
    given: { request: withStatus(passedStatus), checks: checksOf([approved]) },
    does: { effects: [{ type: 'apply-grant', grant: grantOf() }] },
  },
  'row 6: a grant that is in place is told': {
    given: { request: withStatus(passedStatus), checks: checksOf([approved]), grants: observedOf(grantOf()) },
    does: {
      effects: [notice('Normal', 'AccessGranted', 'Grant', `${POD_TEXT} may use ${CONNECTOR_TEXT} (AccessPolicy ask)`), write(grantedStatus)],
    },
  },
  'row 6: a granted request rests': { given: granted, does: { effects: [] } },
  'row 7: a grant that cannot be written is said and tried again': {
    given: { request: withStatus(passedStatus), checks: checksOf([approved]), grantErrors: new Map([['ask', 'roles.rbac.authorization.k8s.io is forbidden']]) },
    does: {
      effects: [
        write(
          statusOf(
            {
              check: PASSED,
              sync: 'False/SyncFailed AccessPolicy ask: roles.rbac.authorization.k8s.io is forbidden',
              ready: 'False/SyncFailed AccessPolicy ask: roles.rbac.authorization.k8s.io is forbidden',
            },
            [
              snapshotOf({
                matchedChecks: [matchedPass],
                permissionSync: innerCondition('AccessPermissionSync', 'False/SyncFailed AccessPolicy ask: roles.rbac.authorization.k8s.io is forbidden'),
              }),
            ],
          ),
        ),
      ],
      retry: 'AccessPolicy ask: roles.rbac.authorization.k8s.io is forbidden',
    },
  },
  'row 8: a rejection is the end, with nothing granted': {
    given: { request: withStatus(waitingStatus), checks: checksOf([rejected]), ...unconfirmed },
    does: {
      effects: [
        notice('Warning', 'AccessRejected', 'Refuse', refusedFor('ApprovalTask cicd/deploy was rejected')),
        write(
          statusOf(
            {
              check: 'False/Rejected ApprovalTask cicd/deploy was rejected',
              sync: 'True/PermissionCleanUp nothing was granted: ApprovalTask cicd/deploy was rejected',
              ready: 'False/Rejected ApprovalTask cicd/deploy was rejected',
            },
            [
              snapshotOf({
                matchedChecks: [matchedOf(rejected, 'False/Rejected ApprovalTask cicd/deploy was rejected')],
                permissionSync: innerCondition('AccessPermissionSync', 'True/PermissionCleanUp nothing was granted: ApprovalTask cicd/deploy was rejected'),
              }),
            ],
          ),
        ),
      ],
    },
  },
  'row 9: a missing check template fails the checks, is named, and is tried again': {
    given: { policies: [policyOf('ask', policySpecOf([{ name: 'approval', ref: { configMap: { name: 'gone' } } }]))] },
    does: {
      effects: [
        write(
          statusOf(
            {
              check: 'False/Failed check "approval" of AccessPolicy ask cannot be evaluated: ConfigMap connectors-system/gone is missing',
              sync: 'Unknown/Pending waiting for the checks',
              ready: 'False/Failed check "approval" of AccessPolicy ask cannot be evaluated: ConfigMap connectors-system/gone is missing',
            },
            [snapshotOf({ policySpec: policySpecOf([{ name: 'approval', ref: { configMap: { name: 'gone' } } }]), checks: [] })],
          ),
        ),
      ],
      requeueAfter: 60_000,
    },
  },
  'row 9: a label that the Pod lacks fails the checks and is named': {
    given: { pod: { state: 'live', pod: podOf({ metadata: { labels: {} } }) } },
    does: {
      effects: [
        write(
          statusOf(
            {
              check: `False/Failed check "approval" of AccessPolicy ask cannot be evaluated: the Pod has no value at .object.metadata.labels['tekton.dev/pipelineRun']`,
              sync: 'Unknown/Pending waiting for the checks',
              ready: `False/Failed check "approval" of AccessPolicy ask cannot be evaluated: the Pod has no value at .object.metadata.labels['tekton.dev/pipelineRun']`,
            },
            [snapshotOf({ checks: [] })],
          ),
        ),
      ],
      requeueAfter: 60_000,
    },
  },
  'row 9: an expression that fails is no pass and no end': {
    given: {
      request: withStatus(statusOf({}, [snapshotOf({ checks: [resolvedCheck('approval', { cel: 'object.data.state' })] })])),
      checks: checksOf([approved]),
      ...unconfirmed,
    },
    does: {
      effects: [
        write(
          statusOf(
            {
              check: 'False/Failed ApprovalTask cicd/deploy cannot be evaluated: the expression failed: No such key: data; ask has() before reading a field that may be missing',
              sync: 'Unknown/Pending waiting for the checks',
              ready: 'False/Failed ApprovalTask cicd/deploy cannot be evaluated: the expression failed: No such key: data; ask has() before reading a field that may be missing',
            },
            [
              snapshotOf({
                checks: [resolvedCheck('approval', { cel: 'object.data.state' })],
                matchedChecks: [
                  matchedOf(
                    approved,
                    'False/Failed ApprovalTask cicd/deploy cannot be evaluated: the expression failed: No such key: data; ask has() before reading a field that may be missing',
                  ),
                ],
              }),
            ],
          ),
        ),
      ],
      requeueAfter: 60_000,
    },
  },
  'row 9: a check kind that may not be read fails the checks and says what is missing': {
    given: {
      request: withStatus(waitingStatus),
      checks: () => ({ unreadable: 'the controller may not list ApprovalTask', failed: true }),
      ...unconfirmed,
    },
    does: {
      effects: [
        write(
          statusOf(
            {
              check: 'False/Failed the controller may not list ApprovalTask',
              sync: 'Unknown/Pending waiting for the checks',
              ready: 'False/Failed the controller may not list ApprovalTask',
            },
            [snapshotOf()],
          ),
        ),
      ],
      requeueAfter: 60_000,
    },
  },
  'row 10: approved by somebody who may not approve is the end': {
    given: {
      request: withStatus(statusOf({}, [snapshotOf({ checks: [resolvedCheck('approval', { approvers: ['alice'] })] })])),
      checks: checksOf([byMallory]),
      ...unconfirmed,
    },
    does: {
      effects: [
        notice('Warning', 'AccessRejected', 'Refuse', refusedFor(mismatch)),
        write(
          statusOf({ check: `False/Rejected ${mismatch}`, sync: `True/PermissionCleanUp nothing was granted: ${mismatch}`, ready: `False/Rejected ${mismatch}` }, [
            snapshotOf({
              checks: [resolvedCheck('approval', { approvers: ['alice'] })],
              matchedChecks: [matchedOf(byMallory, `False/ApproverMismatch ${mismatch}`, { approvedBy: ['mallory'] })],
              permissionSync: innerCondition('AccessPermissionSync', `True/PermissionCleanUp nothing was granted: ${mismatch}`),
            }),
          ]),
        ),
      ],
    },
  },
  'row 11: a Pod that finishes ends its grant': {
    given: { ...granted, pod: { state: 'finished', pod: podOf({ phase: 'Succeeded' }) } },
    does: ended(`${POD_TEXT} has finished (Succeeded)`, {
      pod: `False/Completed ${POD_TEXT} has finished (Succeeded)`,
      ready: `False/Completed ${POD_TEXT} has finished (Succeeded)`,
    }),
  },
  'row 11: a Pod that fails ends its grant': {
    given: { ...granted, pod: { state: 'finished', pod: podOf({ phase: 'Failed' }) } },
    does: ended(`${POD_TEXT} has finished (Failed)`, { pod: `False/Completed ${POD_TEXT} has finished (Failed)`, ready: `False/Completed ${POD_TEXT} has finished (Failed)` }),
  },
  'row 12: a Pod that is gone ends its grant': {
    given: { ...granted, pod: { state: 'missing' } },
    does: ended(`${POD_TEXT} is gone`, { pod: `False/NotFound ${POD_TEXT} is gone`, ready: `False/NotFound ${POD_TEXT} is gone` }),
  },
  'row 13: a Pod that was replaced ends the grant of its predecessor': {
    given: { ...granted, pod: { state: 'replaced', uid: 'pod-2' } },
    does: ended(`${POD_TEXT} was replaced by another of the same name (uid pod-2)`, {
      pod: `False/Replaced ${POD_TEXT} was replaced by another of the same name (uid pod-2)`,
      ready: `False/Replaced ${POD_TEXT} was replaced by another of the same name (uid pod-2)`,
    }),
  },
  'row 14: a Connector that is gone ends the grant': {
    given: { ...granted, connector: undefined },
    does: ended(`${CONNECTOR_TEXT} is gone`, { connector: `False/NotFound ${CONNECTOR_TEXT} is gone`, ready: `False/NotFound ${CONNECTOR_TEXT} is gone` }),
  },
  'row 14: a Connector of another uid is looked at again first': {
    given: { ...granted, connector: connectorOf({ uid: 'connector-2' }) },
    does: { effects: [{ type: 'confirm' }] },
  },
  'row 14: a Connector that was replaced ends the grant': {
    given: { ...granted, connector: connectorOf({ uid: 'connector-2' }), confirmed: true },
    does: ended(`${CONNECTOR_TEXT} was replaced by another of the same name`, {
      connector: `False/NotFound ${CONNECTOR_TEXT} was replaced by another of the same name`,
      ready: `False/NotFound ${CONNECTOR_TEXT} was replaced by another of the same name`,
    }),
  },
  'row 15: a passed check object that is deleted changes nothing': { given: { ...granted, checks: checksOf([]) }, does: { effects: [] } },
  'row 15: a kind that can no longer be read changes nothing': {
    given: { ...granted, checks: () => ({ unreadable: 'the cluster does not serve ApprovalTask', failed: true }) },
    does: { effects: [] },
  },
  'row 16: a passed check object that turns to rejected ends the grant': {
    given: { ...granted, checks: checksOf([rejected]) },
    does: {
      effects: [
        notice('Warning', 'AccessRejected', 'Refuse', refusedFor('ApprovalTask cicd/deploy was rejected')),
        { type: 'delete-grants', names: [ROLE] },
        notice('Normal', 'AccessRevoked', 'Revoke', `Access of ${POD_TEXT} to ${CONNECTOR_TEXT} was revoked: ApprovalTask cicd/deploy was rejected`),
        write(
          statusOf(
            {
              check: 'False/Rejected ApprovalTask cicd/deploy was rejected',
              sync: 'True/PermissionCleanUp the temporary permission was removed: ApprovalTask cicd/deploy was rejected',
              ready: 'False/Rejected ApprovalTask cicd/deploy was rejected',
            },
            [
              {
                ...grantedSnapshot,
                matchedChecks: [matchedOf(rejected, 'False/Rejected ApprovalTask cicd/deploy was rejected')],
                permissionSync: innerCondition('AccessPermissionSync', 'True/PermissionCleanUp the temporary permission was removed: ApprovalTask cicd/deploy was rejected'),
              },
            ],
          ),
        ),
      ],
    },
  },
  'row 16: one that goes back to pending changes nothing': { given: { ...granted, checks: checksOf([pending]) }, does: { effects: [] } },
  'row 17: a deleted request takes its grant with it before it lets go': {
    given: { ...granted, request: requestOf({ metadata: { deletionTimestamp: after(0) }, status: grantedStatus }) },
    does: {
      effects: [
        { type: 'delete-grants', names: [ROLE] },
        notice('Normal', 'AccessRevoked', 'Revoke', `Access of ${POD_TEXT} to ${CONNECTOR_TEXT} was revoked: the request was deleted`),
        { type: 'remove-finalizer' },
      ],
    },
  },
  'row 17: a deleted request without a grant lets go at once': {
    given: { request: requestOf({ metadata: { deletionTimestamp: after(0) }, status: waitingStatus }) },
    does: { effects: [{ type: 'remove-finalizer' }] },
  },
  'row 17: a deleted request that somebody took our finalizer from still takes its grant with it': {
    given: { ...granted, request: requestOf({ metadata: { deletionTimestamp: after(0), finalizers: ['foregroundDeletion'] }, status: grantedStatus }) },
    does: { effects: [{ type: 'delete-grants', names: [ROLE] }] },
  },
  'row 17: a deleted request without finalizer and grant is left to whoever holds it': {
    given: { request: requestOf({ metadata: { deletionTimestamp: after(0), finalizers: ['foregroundDeletion'] }, status: grantedStatus }) },
    does: { effects: [] },
  },
  'row 18: a Pod that ends before the approval ends the request': {
    given: { request: withStatus(waitingStatus), pod: { state: 'finished', pod: podOf({ phase: 'Failed' }) }, ...unconfirmed },
    does: {
      effects: [
        write(
          statusOf(
            {
              pod: `False/Completed ${POD_TEXT} has finished (Failed)`,
              check: `Unknown/Pending ${WAITING}`,
              sync: `True/PermissionCleanUp nothing was granted: ${POD_TEXT} has finished (Failed)`,
              ready: `False/Completed ${POD_TEXT} has finished (Failed)`,
            },
            [snapshotOf({ permissionSync: innerCondition('AccessPermissionSync', `True/PermissionCleanUp nothing was granted: ${POD_TEXT} has finished (Failed)`) })],
          ),
        ),
      ],
    },
  },
  'row 18: a late approval grants nothing': {
    given: {
      request: withStatus(
        statusOf(
          {
            pod: `False/Completed ${POD_TEXT} has finished (Failed)`,
            check: `Unknown/Pending ${WAITING}`,
            sync: `True/PermissionCleanUp nothing was granted: ${POD_TEXT} has finished (Failed)`,
            ready: `False/Completed ${POD_TEXT} has finished (Failed)`,
          },
          [snapshotOf()],
        ),
      ),
      checks: checksOf([approved]),
    },
    does: { effects: [], requeueAfter: 24 * 60 * 60 * 1000 },
  },
  'row 19: a Role that somebody deleted is put back': {
    given: { ...granted, grants: { roles: [], bindings: observedOf(grantOf()).bindings }, confirmed: true },
    does: {
      effects: [
        { type: 'apply-grant', grant: grantOf() },
        notice('Warning', 'AccessRepaired', 'Repair', `Role and RoleBinding ${ROLE} of AccessPolicy ask were removed by someone else and are put back`),
      ],
    },
  },
  'row 19: a Role that somebody widened is put right': {
    given: { ...granted, grants: observedOf(grantOf('ask', [{ ...IN_POD_RULE, resources: ['connectors/proxy'] }])), confirmed: true },
    does: {
      effects: [
        { type: 'apply-grant', grant: grantOf() },
        notice('Warning', 'AccessRepaired', 'Repair', `Role and RoleBinding ${ROLE} of AccessPolicy ask were changed by someone else and are put back`),
      ],
    },
  },
  'row 19: a repair is confirmed first': {
    given: { ...granted, grants: { roles: [], bindings: [] } },
    does: { effects: [{ type: 'confirm' }] },
  },
  'row 19: a Role besides, that says it belongs to the request, goes': {
    given: { ...granted, grants: observedOf(grantOf(), grantOf('made-up')) },
    does: { effects: [{ type: 'delete-grants', names: [grantOf('made-up').role.metadata.name] }] },
  },
  'row 20: an edited policy changes nothing in flight': {
    given: { ...granted, policies: [policyOf('ask', policySpecOf([inlineCheck(), inlineCheck('more')], 'whole-account')), policyOf('new')] },
    does: { effects: [] },
  },
  'row 20: a deleted policy and deleted templates change nothing in flight': {
    given: { ...granted, policies: [], templates: templatesOf([]) },
    does: { effects: [] },
  },
  'row 20: an edited template changes nothing in flight': {
    given: { request: withStatus(waitingStatus), templates: templatesOf([configMapOf('in-pod', { rules: 'nonsense' })]), ...unconfirmed },
    does: { effects: [] },
  },
}

for (const [name, { given, does }] of Object.entries(ROWS)) {
  await test(name, async (t) => {
    t.strictSame(decideAccessRequest(factsOf(given), NOW), does)
  })
}
