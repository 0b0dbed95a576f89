/** The end of a request: nothing revives it, and a day later it is gone. */
import { test } from 'tap'
import type { AccessRequestStatus } from '../../src/api/access-request.ts'
import { FINISHED_RETENTION_MS } from '../../src/core/decide-request.ts'
import type { RequestFacts } from '../../src/core/request-pass.ts'
import { after, checksOf, connectorOf, grantOf, NOW, observedOf, podOf, policyOf, snapshotOf, statusOf } from '../support/request-facts.ts'
import { approved, decide, granted, PASSED, passedSnapshot, withStatus, written } from '../support/request-stages.ts'

const REVIVALS: Record<string, Partial<RequestFacts>> = {
  'an approval': { checks: checksOf([approved]) },
  'its Pod, live': { pod: { state: 'live', pod: podOf() } },
  'its Pod, gone': { pod: { state: 'missing' } },
  'flags off': { flags: { state: 'off', message: 'off', proxyPermissions: true } },
  'no Connector': { connector: undefined },
  'another Connector': { connector: connectorOf({ uid: 'connector-2' }) },
  'other policies': { policies: [policyOf('new')] },
  'unconfirmed facts': { confirmed: false },
}

const FINALS: Record<string, AccessRequestStatus> = {
  'cleaned up': statusOf({ pod: 'False/NotFound gone', check: PASSED, sync: 'True/PermissionCleanUp removed', ready: 'False/NotFound gone' }, [passedSnapshot]),
  rejected: statusOf({ check: 'False/Rejected no', sync: 'True/PermissionCleanUp nothing was granted', ready: 'False/Rejected no' }, [snapshotOf()]),
  'rejected, and nothing said of the permission': statusOf({ check: 'False/Rejected no', ready: 'False/Rejected no' }, [snapshotOf()]),
}

for (const [end, status] of Object.entries(FINALS)) {
  for (const [what, given] of Object.entries(REVIVALS)) {
    await test(`D9: ${what} does not revive a request that is ${end}`, async (t) => {
      t.strictSame(decide({ request: withStatus(status), ...given }), { effects: [], requeueAfter: FINISHED_RETENTION_MS })
    })
  }
}

await test('D9: a grant that turns up after the end goes', async (t) => {
  t.strictSame(
    decide({ request: withStatus(statusOf({ check: PASSED, sync: 'True/PermissionCleanUp removed' }, [passedSnapshot])), grants: observedOf(grantOf()) })
      .effects,
    [{ type: 'delete-grants', names: [grantOf().role.metadata.name] }],
  )
})

await test('D24: a finished request is deleted a day after its end', async (t) => {
  const status = statusOf({ check: PASSED, sync: 'True/PermissionCleanUp removed' }, [passedSnapshot], { times: { sync: after(3600) } })
  t.strictSame(decide({ request: withStatus(status) }, NOW), { effects: [], requeueAfter: FINISHED_RETENTION_MS + 3_600_000 })
  t.strictSame(decide({ request: withStatus(status) }, NOW + 3_600_000 + FINISHED_RETENTION_MS - 1), { effects: [], requeueAfter: 1 })
  t.strictSame(decide({ request: withStatus(status) }, NOW + 3_600_000 + FINISHED_RETENTION_MS), { effects: [{ type: 'delete-request' }] })
})

await test('D24: the end of a granted request starts its day, though its permission was in order before', async (t) => {
  const decision = decide({ ...granted, pod: { state: 'missing' } }, NOW + 7_200_000)
  t.equal(written(decision)?.conditions?.find(({ type }) => type === 'AccessPermissionSync')?.lastTransitionTime, after(7200))
})
