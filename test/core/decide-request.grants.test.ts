/** From passed checks to Roles: when they are made, and what says that it may not be. */
import { test } from 'tap'
import type { PolicySnapshot } from '../../src/api/access-request.ts'
import { RETRY_MS } from '../../src/core/decide-request.ts'
import {
  after,
  checksOf,
  configMapOf,
  CONNECTOR_TEXT,
  grantOf,
  IN_POD_RULE,
  linesOf,
  matchedOf,
  NO_GRANTS,
  observedOf,
  POD_TEXT,
  requestOf,
  snapshotOf,
  statusOf,
  taskOf,
  templatesOf,
  UNBOUND_RULES,
} from '../support/request-facts.ts'
import {
  approved,
  decide,
  granted,
  grantedStatus,
  lines,
  PASSED,
  passedSnapshot,
  passedStatus,
  ROLE,
  second,
  SYNCED,
  terminating,
  told,
  types,
  waitingFor,
  withStatus,
  written,
} from '../support/request-stages.ts'

await test('D16: a grant beyond the Pod is announced', async (t) => {
  const rules = [{ ...IN_POD_RULE, resources: ['connectors/proxy'] }]
  const grants = observedOf(grantOf('ask', rules))
  const decision = decide({ request: withStatus(statusOf({ check: PASSED }, [{ ...passedSnapshot, rules, unbound: true }])), grants })
  t.strictSame(
    decision.effects.flatMap((effect) => (effect.type === 'notice' ? [[effect.notice.reason, effect.notice.note]] : [])),
    [
      ['AccessGranted', `${POD_TEXT} may use ${CONNECTOR_TEXT} (AccessPolicy ask)`],
      ['UnboundGrant', `the role template of AccessPolicy ask reaches beyond ${POD_TEXT}: every Pod of its ServiceAccount may use ${CONNECTOR_TEXT} meanwhile`],
    ],
  )
})

await test('D16: who approved is in the event', async (t) => {
  const snapshot = snapshotOf({ matchedChecks: [matchedOf(approved, PASSED, { approvedBy: ['bob', 'alice'] })] })
  const decision = decide({ request: withStatus(statusOf({ check: PASSED }, [snapshot])), grants: observedOf(grantOf()) })
  t.match(decision.effects[0], { notice: { note: `${POD_TEXT} may use ${CONNECTOR_TEXT} (AccessPolicy ask; approved by alice, bob)` } })
})

await test('D16: a refused role template is told before the checks have passed, and nothing is granted after', async (t) => {
  const templates = templatesOf([configMapOf('in-pod', { rules: UNBOUND_RULES })])
  const why =
    'AccessPolicy ask: the role template connectors-system/in-pod is refused: it grants connectors/proxy to the whole ServiceAccount without the annotation connectors.alauda.io/unbound: "true"'
  const before = decide({ templates })
  t.equal(linesOf(written(before)).sync, `False/SyncFailed ${why}`)
  t.equal(before.requeueAfter, RETRY_MS)
  const { rules: _, ...open } = passedSnapshot
  const passed = decide({ templates, request: withStatus(statusOf({ check: PASSED }, [open])), checks: checksOf([approved]) })
  t.strictSame(told(passed), [lines({ check: PASSED, sync: `False/SyncFailed ${why}`, ready: `False/SyncFailed ${why}` })])
  t.equal(passed.retry, why)
})

await test('D16: nothing is granted for one policy before every policy can be', async (t) => {
  const { rules: _, ...open } = second({ matchedChecks: [matchedOf(taskOf('scan', 'approved'), 'True/Passed yes', { name: 'scan' })] })
  const decision = decide({
    request: withStatus(statusOf({ check: PASSED }, [passedSnapshot, open])),
    templates: templatesOf([]),
    checks: checksOf([approved]),
  })
  t.strictSame(types(decision), ['write-status'])
  t.strictSame(
    written(decision)?.policies?.map(({ permissionSync }) => [permissionSync?.status, permissionSync?.reason]),
    [
      ['Unknown', 'Pending'],
      ['False', 'SyncFailed'],
    ],
  )
})

await test('D16: a finalizer that somebody took off a passed request is put back before anything else', async (t) => {
  t.strictSame(decide({ ...granted, request: requestOf({ metadata: { finalizers: [] }, status: grantedStatus }) }).effects, [{ type: 'add-finalizer' }])
  t.strictSame(decide({ request: requestOf({ metadata: { finalizers: [] }, status: passedStatus }), checks: checksOf([approved]) }).effects, [
    { type: 'add-finalizer' },
  ])
})

await test('D17: rules that a template yields after the checks have passed are on record before a Role is made of them', async (t) => {
  const { rules: _, ...open } = passedSnapshot
  const decision = decide({ request: withStatus(statusOf({ check: PASSED }, [open])), checks: checksOf([approved]) })
  t.strictSame(types(decision), ['write-status'])
  t.strictSame(written(decision)?.policies?.[0]?.rules, [IN_POD_RULE])
})

await test('D18: a terminating Pod keeps its grant', async (t) => {
  t.strictSame(told(decide({ ...granted, pod: terminating })), [
    lines({ pod: `True/Active ${POD_TEXT} is terminating`, check: PASSED, sync: SYNCED, ready: SYNCED }),
  ])
})

await test('D18: no grant is started for a terminating Pod, neither before the checks are recorded nor after', async (t) => {
  const before = decide({ request: waitingFor(snapshotOf()), checks: checksOf([approved]), pod: terminating })
  t.strictSame(types(before), ['write-status'])
  t.equal(linesOf(written(before)).check, 'Unknown/Pending the checks have passed, but no grant is started for a terminating Pod')
  const later = decide({ request: withStatus(passedStatus), checks: checksOf([approved]), pod: terminating })
  t.strictSame(types(later), ['write-status'])
  t.equal(linesOf(written(later)).sync, 'Unknown/Pending no grant is started for a terminating Pod')
  const removed = decide({ ...granted, grants: observedOf(), pod: terminating, confirmed: true })
  t.strictSame(types(removed), ['write-status'])
})

await test('templates that grant nothing are no permission', async (t) => {
  const why = 'True/NoPermissionRequired the role templates grant nothing'
  t.strictSame(told(decide({ request: withStatus(statusOf({ check: PASSED }, [{ ...passedSnapshot, rules: [] }])), checks: checksOf([approved]) })), [
    lines({ check: PASSED, sync: why, ready: 'False/NoPermissionRequired the role templates grant nothing' }),
  ])
})

const UNPROVEN: Record<string, PolicySnapshot[]> = {
  'there are no policies': [],
  'a check has no object on record': [snapshotOf()],
  'an object on record is pending': [snapshotOf({ matchedChecks: [matchedOf(approved, 'Unknown/Pending waiting')] })],
  'another policy has no object on record': [passedSnapshot, second()],
}

for (const [name, policies] of Object.entries(UNPROVEN)) {
  await test(`I1: a status that says "passed" grants nothing when ${name}`, async (t) => {
    const decision = decide({
      request: withStatus(statusOf({ check: PASSED, sync: SYNCED, ready: SYNCED }, policies, { connectorUID: 'connector-1' })),
      grants: observedOf(grantOf()),
    })
    t.strictSame(types(decision), ['delete-grants', 'write-status'])
    t.match(linesOf(written(decision)), { check: /^Unknown\/Pending / })
  })
}

await test('I1: a Role that says it belongs to a request that has not passed goes', async (t) => {
  t.strictSame(types(decide({ request: waitingFor(snapshotOf()), grants: observedOf(grantOf()), confirmed: false })), ['delete-grants', 'write-status'])
})

await test('a grant that no cache shows yet is revoked by its name', async (t) => {
  const unseen = { ...granted, grants: NO_GRANTS }
  t.strictSame(decide({ ...unseen, pod: { state: 'missing' } }).effects[0], { type: 'delete-grants', names: [ROLE] })
  t.strictSame(decide({ ...unseen, request: requestOf({ metadata: { deletionTimestamp: after(0) }, status: grantedStatus }) }).effects[0], {
    type: 'delete-grants',
    names: [ROLE],
  })
})
