/** The rows of facts -> conditions and actions, one by one: from the grant to its end, and what changes nothing. */
import { test } from 'tap'
import type { Decision } from '../../src/core/effects.ts'
import type { RequestFacts } from '../../src/core/request-pass.ts'
import {
  after,
  checksOf,
  configMapOf,
  CONNECTOR_TEXT,
  connectorOf,
  grantOf,
  IN_POD_RULE,
  inlineCheck,
  innerCondition,
  matchedOf,
  observedOf,
  POD_TEXT,
  podOf,
  policyOf,
  policySpecOf,
  requestOf,
  snapshotOf,
  statusOf,
  templatesOf,
} from '../support/request-facts.ts'
import {
  approved,
  decide,
  granted,
  grantedSnapshot,
  grantedStatus,
  notice,
  PASSED,
  pending,
  refusedFor,
  rejected,
  ROLE,
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

/** The end of a granted request. */
const ended = (why: string, lines: Parameters<typeof statusOf>[0]): Decision => {
  const sync = `True/PermissionCleanUp the temporary permission was removed: ${why}` as const
  return {
    effects: [
      { type: 'delete-grants', names: [ROLE] },
      notice('Normal', 'AccessRevoked', 'Revoke', `Access of ${POD_TEXT} to ${CONNECTOR_TEXT} was revoked: ${why}`),
      write(statusOf({ check: PASSED, sync, ...lines }, [{ ...grantedSnapshot, permissionSync: innerCondition('AccessPermissionSync', sync) }])),
    ],
  }
}

const ROWS: Record<string, Row> = {
  'row 11: a Pod that finishes ends its grant': {
    given: { ...granted, pod: { state: 'finished', pod: podOf({ phase: 'Succeeded' }) } },
    does: ended(`${POD_TEXT} has finished (Succeeded)`, {
      pod: `False/Completed ${POD_TEXT} has finished (Succeeded)`,
      ready: `False/Completed ${POD_TEXT} has finished (Succeeded)`,
    }),
  },
  'row 11: a Pod that fails ends its grant': {
    given: { ...granted, pod: { state: 'finished', pod: podOf({ phase: 'Failed' }) } },
    does: ended(`${POD_TEXT} has finished (Failed)`, {
      pod: `False/Completed ${POD_TEXT} has finished (Failed)`,
      ready: `False/Completed ${POD_TEXT} has finished (Failed)`,
    }),
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
  'row 14: a Connector that was replaced ends the grant': {
    given: { ...granted, connector: connectorOf({ uid: 'connector-2' }) },
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
                permissionSync: innerCondition(
                  'AccessPermissionSync',
                  'True/PermissionCleanUp the temporary permission was removed: ApprovalTask cicd/deploy was rejected',
                ),
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
    does: {
      effects: [
        notice('Normal', 'AccessRevoked', 'Revoke', `Access of ${POD_TEXT} to ${CONNECTOR_TEXT} was revoked: the request was deleted`),
        { type: 'delete-grants', names: [ROLE] },
      ],
    },
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
            [
              snapshotOf({
                permissionSync: innerCondition('AccessPermissionSync', `True/PermissionCleanUp nothing was granted: ${POD_TEXT} has finished (Failed)`),
              }),
            ],
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
        notice('Warning', 'AccessRepaired', 'Repair', `Role and RoleBinding ${ROLE} of AccessPolicy ask were removed by someone else and are put back`),
        { type: 'apply-grant', grant: grantOf() },
      ],
    },
  },
  'row 19: a Role that somebody widened is put right': {
    given: { ...granted, grants: observedOf(grantOf('ask', [{ ...IN_POD_RULE, resources: ['connectors/proxy'] }])), confirmed: true },
    does: {
      effects: [
        notice('Warning', 'AccessRepaired', 'Repair', `Role and RoleBinding ${ROLE} of AccessPolicy ask were changed by someone else and are put back`),
        { type: 'apply-grant', grant: grantOf() },
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
    t.strictSame(decide(given), does)
  })
}
