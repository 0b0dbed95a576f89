/** Several policies, several checks, several objects: what counts as passed before and after. */
import { test } from 'tap'
import {
  checksOf,
  configMapOf,
  grantOf,
  inlineCheck,
  linesOf,
  matchedOf,
  observedOf,
  policyOf,
  policySpecOf,
  resolvedCheck,
  snapshotOf,
  statusOf,
  taskOf,
  TEMPLATES,
  templatesOf,
} from '../support/request-facts.ts'
import { approved, decide, found, granted, PASSED, passedSnapshot, second, types, waitingFor, withStatus, written } from '../support/request-stages.ts'

await test('D1: every policy that selects the Connector is taken, by name', async (t) => {
  const status = written(decide({ policies: [policyOf('b'), policyOf('c', {}), policyOf('a')] }))
  t.strictSame(
    status?.policies?.map(({ name }) => name),
    ['a', 'b'],
  )
  t.equal(linesOf(status).policy, 'True/Matched matched by AccessPolicy a, b')
})

await test('D1: one policy that passed is not enough while another waits', async (t) => {
  const decision = decide({
    request: waitingFor(snapshotOf(), second()),
    checks: checksOf({ 'ask/approval': found(approved), 'scan/scan': found(taskOf('scan', 'pending')) }),
  })
  t.equal(linesOf(written(decision)).check, 'Unknown/Pending waiting for ApprovalTask cicd/scan')
  t.strictSame(types(decision), ['write-status'])
})

await test('D1: one check of several that has no object is enough to wait', async (t) => {
  const policySpec = policySpecOf([inlineCheck(), inlineCheck('scan')])
  const request = waitingFor(snapshotOf({ policySpec, checks: [resolvedCheck(), resolvedCheck('scan', { objectName: 'scan-1' })] }))
  const status = written(decide({ request, checks: checksOf({ 'ask/approval': found(approved) }) }))
  t.equal(linesOf(status).check, 'Unknown/Pending there is no ApprovalTask cicd/scan-1 with run=run-1 yet')
})

await test('D1: one rejection rejects, whatever the others say', async (t) => {
  const request = waitingFor(snapshotOf(), second())
  const decision = decide({
    request,
    checks: checksOf({ 'ask/approval': { unreadable: 'may not be read', failed: true }, 'scan/scan': found(taskOf('scan', 'rejected')) }),
  })
  t.strictSame(types(decision), ['notice', 'write-status'])
  t.equal(linesOf(written(decision)).check, 'False/Rejected ApprovalTask cicd/scan was rejected')
})

await test('D1: each policy has a Role of its own, and says how far it is', async (t) => {
  const policies = [
    passedSnapshot,
    second({ matchedChecks: [matchedOf(taskOf('scan', 'approved'), 'True/Passed ApprovalTask cicd/scan was approved', { name: 'scan' })] }),
  ]
  const request = withStatus(statusOf({ check: 'True/Passed both' }, policies))
  t.strictSame(decide({ request }).effects, [
    { type: 'apply-grant', grant: grantOf('ask') },
    { type: 'apply-grant', grant: grantOf('scan') },
  ])
  const half = written(decide({ request, grants: observedOf(grantOf('scan')), grantErrors: new Map([['ask', 'refused']]) }))
  t.strictSame(
    half?.policies?.map(({ permissionSync }) => permissionSync?.reason),
    ['SyncFailed', 'Synced'],
  )
  t.equal(linesOf(half).ready, 'False/SyncFailed AccessPolicy ask: refused')
})

await test('D2: all objects of a check must pass', async (t) => {
  const status = written(decide({ request: waitingFor(snapshotOf()), checks: checksOf([approved, taskOf('other', 'pending')]) }))
  t.equal(linesOf(status).check, 'Unknown/Pending waiting for ApprovalTask cicd/other')
  t.strictSame(
    status?.policies?.[0]?.matchedChecks?.map(({ ref, condition }) => [ref.name, condition.status]),
    [
      ['deploy', 'True'],
      ['other', 'Unknown'],
    ],
  )
})

await test('D2: a rejected object wins over a passed one', async (t) => {
  t.equal(
    linesOf(written(decide({ request: waitingFor(snapshotOf()), checks: checksOf([approved, taskOf('other', 'denied')]) }))).check,
    'False/Rejected ApprovalTask cicd/other was rejected',
  )
})

await test('D10: a template that comes later is taken, and the check goes on', async (t) => {
  const policySpec = policySpecOf([{ name: 'approval', ref: { configMap: { name: 'run-approval' } } }])
  const status = written(decide({ request: waitingFor(snapshotOf({ policySpec, checks: [] })), checks: checksOf([]), confirmed: false }))
  t.strictSame(status?.policies, [snapshotOf({ policySpec })])
  t.equal(linesOf(status).check, 'Unknown/Pending there is no ApprovalTask in namespace cicd with run=run-1 yet')
})

await test('D17: what was taken once is not taken again, what is missing is', async (t) => {
  const policySpec = policySpecOf([inlineCheck(), { name: 'late', ref: { configMap: { name: 'late' } } }])
  const cel = "object.status.state == 'x' ? 'passed' : 'pending'"
  const request = waitingFor(snapshotOf({ policySpec, checks: [resolvedCheck('approval', { cel })] }))
  const late = configMapOf('late', { spec: 'selector: { objectRef: { apiVersion: v1, kind: ConfigMap, name: gate } }' })
  const status = written(decide({ request, templates: templatesOf([late]), checks: checksOf([]) }))
  t.strictSame(status?.policies?.[0]?.checks, [resolvedCheck('approval', { cel }), { name: 'late', apiVersion: 'v1', kind: 'ConfigMap', objectName: 'gate' }])
})

await test('D23: objects that come after everything has passed do not count', async (t) => {
  t.strictSame(decide({ ...granted, checks: checksOf([approved, taskOf('late', 'rejected'), taskOf('later', 'pending')]) }).effects, [])
})

await test('D23: another object under the name of a passed one does not count', async (t) => {
  t.strictSame(decide({ ...granted, checks: checksOf([taskOf('deploy', 'rejected', { uid: 'another' })]) }).effects, [])
})

await test('D23: a passed object that no longer carries the labels still revokes', async (t) => {
  const checks = checksOf({ 'ask/approval': { objects: [], recorded: [taskOf('deploy', 'rejected', { labels: {} })] } })
  t.strictSame(types(decide({ ...granted, checks })), ['notice', 'delete-grants', 'notice', 'write-status'])
})

const half = snapshotOf({
  policySpec: policySpecOf([inlineCheck(), inlineCheck('scan')]),
  checks: [resolvedCheck(), resolvedCheck('scan')],
  matchedChecks: [matchedOf(approved, PASSED), matchedOf(taskOf('scan', 'pending'), 'Unknown/Pending waiting for ApprovalTask cicd/scan', { name: 'scan' })],
})

await test('D23: before passing, a recorded pass survives the deletion of its object, and a recorded wait does not', async (t) => {
  const status = written(decide({ request: waitingFor(half) }))
  t.strictSame(
    status?.policies?.[0]?.matchedChecks?.map(({ ref }) => ref.name),
    ['deploy'],
  )
  t.equal(linesOf(status).check, 'Unknown/Pending there is no ApprovalTask in namespace cicd with run=run-1 yet')
})

await test('D23: before passing, a recorded pass that turns back is a wait again', async (t) => {
  const checks = checksOf({ 'ask/approval': found(taskOf('deploy', 'pending')), 'ask/scan': found(taskOf('scan', 'approved')) })
  t.equal(linesOf(written(decide({ request: waitingFor(half), checks }))).check, 'Unknown/Pending waiting for ApprovalTask cicd/deploy')
})

await test('D23: before passing, a recorded pass that lost its labels and is rejected rejects', async (t) => {
  const checks = checksOf({
    'ask/approval': { objects: [], recorded: [taskOf('deploy', 'rejected', { labels: {} })] },
    'ask/scan': found(taskOf('scan', 'approved')),
  })
  t.equal(linesOf(written(decide({ request: waitingFor(half), checks }))).check, 'False/Rejected ApprovalTask cicd/deploy was rejected')
})

await test('D23: an unreadable kind keeps recorded passes and is no pass itself', async (t) => {
  const status = written(decide({ request: waitingFor(half), checks: () => ({ unreadable: 'ApprovalTask is being read', failed: false }) }))
  t.strictSame(
    status?.policies?.[0]?.matchedChecks?.map(({ ref }) => ref.name),
    ['deploy'],
  )
  t.equal(linesOf(status).check, 'Unknown/Pending ApprovalTask is being read; ApprovalTask is being read')
})

await test('I1: a policy without checks never passes, nor does it for others', async (t) => {
  const status = written(
    decide({ request: waitingFor(snapshotOf(), snapshotOf({ name: 'empty', policySpec: policySpecOf([]), checks: [] })), checks: checksOf([approved]) }),
  )
  t.equal(linesOf(status).check, 'Unknown/Pending AccessPolicy empty has no checks, so nothing can pass')
})

await test('I1: two checks of one name are none', async (t) => {
  const policySpec = policySpecOf([
    inlineCheck(),
    { ...inlineCheck(), spec: { selector: { objectRef: { apiVersion: 'v1', kind: 'ConfigMap', name: 'gate' } } } },
  ])
  const decision = decide({ policies: [policyOf('ask', policySpec)], checks: checksOf([approved]) })
  t.equal(linesOf(written(decision)).check, 'False/Failed check "approval" of AccessPolicy ask cannot be evaluated: its name is not unique')
  t.strictSame(written(decision)?.policies?.[0]?.checks, [])
})

await test('a template that is there from the start leaves nothing to be tried again', async (t) => {
  t.equal(decide({ templates: templatesOf(TEMPLATES) }).requeueAfter, undefined)
})
