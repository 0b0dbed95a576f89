/** The rows of facts -> conditions and actions, one by one: from the request to the grant or the refusal. */
import { test } from 'tap'
import type { Decision } from '../../src/core/effects.ts'
import type { RequestFacts } from '../../src/core/request-pass.ts'
import {
  checksOf,
  CONNECTOR_TEXT,
  grantOf,
  innerCondition,
  matchedOf,
  observedOf,
  POD_TEXT,
  podOf,
  policyOf,
  policySpecOf,
  NOW,
  requestOf,
  resolvedCheck,
  snapshotOf,
  statusOf,
  taskOf,
  UNSEEN,
} from '../support/request-facts.ts'
import {
  approved,
  decide,
  granted,
  grantedStatus,
  matchedPass,
  notice,
  PASSED,
  passedStatus,
  pending,
  refusedFor,
  rejected,
  unconfirmed,
  WAITING,
  waitingStatus,
  withStatus,
  write,
} from '../support/request-stages.ts'

interface Row {
  given: Partial<RequestFacts>
  does: Decision
}

const mismatch = 'ApprovalTask cicd/deploy was approved by mallory; 1 approval(s) of alice are required'
const byMallory = taskOf('deploy', 'approved', { status: { approversResponse: [{ name: 'mallory', type: 'User', response: 'approved' }] } })

const ROWS: Record<string, Row> = {
  'row 1: of a new request nothing is said before its Pod can be there': {
    given: { pod: { state: 'missing' }, ...unconfirmed },
    does: { effects: [], requeueAfter: 2_000 },
  },
  'row 1: a request that is newer than its Pod waits, and knows nothing else': {
    given: { pod: { state: 'missing' }, request: requestOf({ metadata: { creationTimestamp: new Date(NOW - 10_000).toISOString() } }), ...unconfirmed },
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
      effects: [
        write(
          statusOf({ connector: `False/NotFound ${CONNECTOR_TEXT} does not exist`, policy: UNSEEN, ready: `False/NotFound ${CONNECTOR_TEXT} does not exist` }),
        ),
      ],
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
          statusOf(
            {
              check: 'Unknown/Pending waiting for ApprovalTask cicd/deploy',
              sync: 'Unknown/Pending waiting for the checks',
              ready: 'Unknown/Pending waiting for ApprovalTask cicd/deploy',
            },
            [snapshotOf({ matchedChecks: [matchedOf(pending, 'Unknown/Pending waiting for ApprovalTask cicd/deploy')] })],
          ),
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
              check:
                'False/Failed ApprovalTask cicd/deploy cannot be evaluated: the expression failed: No such key: data; ask has() before reading a field that may be missing',
              sync: 'Unknown/Pending waiting for the checks',
              ready:
                'False/Failed ApprovalTask cicd/deploy cannot be evaluated: the expression failed: No such key: data; ask has() before reading a field that may be missing',
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
          statusOf(
            { check: `False/Rejected ${mismatch}`, sync: `True/PermissionCleanUp nothing was granted: ${mismatch}`, ready: `False/Rejected ${mismatch}` },
            [
              snapshotOf({
                checks: [resolvedCheck('approval', { approvers: ['alice'] })],
                matchedChecks: [matchedOf(byMallory, `False/ApproverMismatch ${mismatch}`, { approvedBy: ['mallory'] })],
                permissionSync: innerCondition('AccessPermissionSync', `True/PermissionCleanUp nothing was granted: ${mismatch}`),
              }),
            ],
          ),
        ),
      ],
    },
  },
}

for (const [name, { given, does }] of Object.entries(ROWS)) {
  await test(name, async (t) => {
    t.strictSame(decide(given), does)
  })
}
