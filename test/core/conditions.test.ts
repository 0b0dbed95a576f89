import { test } from 'tap'
import type { AccessRequestStatus } from '../../src/api/access-request.ts'
import {
  everyCheckRecordedAsPassed,
  checksRecordedAsPassed,
  finding,
  findingsOf,
  isFinal,
  readyFinding,
  toCondition,
  toConditions,
  type Findings,
} from '../../src/core/conditions.ts'
import {
  after,
  conditionOf,
  innerCondition,
  inlineCheck,
  matchedOf,
  NOW,
  policySpecOf,
  snapshotOf,
  statusOf,
  T0,
  taskOf,
  type Lines,
} from '../support/request-facts.ts'

const LATER = { now: NOW + 60_000, generation: 1 }
const good: Findings = {
  ContextObjectValid: finding('True', 'Active', 'pod'),
  ConnectorResolved: finding('True', 'Resolved', 'connector'),
  AccessPolicyMatched: finding('True', 'Matched', 'policy'),
  AccessCheckReady: finding('True', 'Passed', 'checks'),
  AccessPermissionSync: finding('True', 'Synced', 'sync'),
}

const READY: Record<string, { findings: Partial<Findings>; is: ReturnType<typeof finding> }> = {
  'all True and synced': { findings: {}, is: finding('True', 'Synced', 'sync') },
  'the first that is not True gives its word': {
    findings: { AccessPolicyMatched: finding('Unknown', 'Pending', 'first'), AccessCheckReady: finding('False', 'Rejected', 'second') },
    is: finding('Unknown', 'Pending', 'first'),
  },
  'a Pod that is over comes before everything': {
    findings: { ContextObjectValid: finding('False', 'Completed', 'over'), AccessPermissionSync: finding('True', 'PermissionCleanUp', 'removed') },
    is: finding('False', 'Completed', 'over'),
  },
  'a permission that is not there comes last': {
    findings: { AccessPermissionSync: finding('False', 'SyncFailed', 'no') },
    is: finding('False', 'SyncFailed', 'no'),
  },
  'cleaned up is not ready, whatever the others say': {
    findings: { AccessPermissionSync: finding('True', 'PermissionCleanUp', 'removed') },
    is: finding('False', 'PermissionCleanUp', 'removed'),
  },
  'no permission is not ready': {
    findings: { AccessPermissionSync: finding('True', 'NoPermissionRequired', 'none') },
    is: finding('False', 'NoPermissionRequired', 'none'),
  },
}
for (const [name, { findings, is }] of Object.entries(READY)) {
  await test(`Ready: ${name}`, async (t) => {
    t.strictSame(readyFinding({ ...good, ...findings }), is)
  })
}

const TIMES: Record<string, { before: Lines['sync'] | undefined; next: Lines['sync']; time: string }> = {
  'a new condition has the time of now': { before: undefined, next: 'Unknown/Pending x', time: after(60) },
  'the same status keeps its time, though reason and message change': { before: 'Unknown/Pending x', next: 'Unknown/Other y', time: T0 },
  'another status has the time of now': { before: 'Unknown/Pending x', next: 'False/SyncFailed x', time: after(60) },
  'clean-up has the time of now, though the status was True before': { before: 'True/Synced x', next: 'True/PermissionCleanUp x', time: after(60) },
  'clean-up that is on record keeps its time': { before: 'True/PermissionCleanUp x', next: 'True/PermissionCleanUp y', time: T0 },
}
for (const [name, { before, next, time }] of Object.entries(TIMES)) {
  await test(`times: ${name}`, async (t) => {
    const { status, reason, message } = conditionOf('X', next)
    t.strictSame(
      toCondition('X', { status, reason, message }, before === undefined ? undefined : conditionOf('X', before), LATER),
      conditionOf('X', next, time),
    )
  })
}

await test('a condition without a generation has none', async (t) => {
  t.strictSame(toCondition('X', finding('True', 'R', 'm'), undefined, { now: NOW, generation: undefined }), innerCondition('X', 'True/R m'))
})

await test('conditions come in their order, Ready last', async (t) => {
  t.strictSame(
    toConditions(good, undefined, { now: NOW, generation: 1 }).map(({ type, status, reason }) => `${type} ${status} ${reason}`),
    [
      'ContextObjectValid True Active',
      'ConnectorResolved True Resolved',
      'AccessPolicyMatched True Matched',
      'AccessCheckReady True Passed',
      'AccessPermissionSync True Synced',
      'Ready True Synced',
    ],
  )
})

await test('what a status says is read back, and what it does not say is unknown', async (t) => {
  const conditions = toConditions(good, undefined, { now: NOW, generation: 1 })
  t.strictSame(findingsOf({ conditions }), good)
  const unknown = finding('Unknown', 'Pending', 'not looked at yet')
  t.strictSame(findingsOf({ conditions: conditions.slice(0, 1) }), {
    ContextObjectValid: good.ContextObjectValid,
    ConnectorResolved: unknown,
    AccessPolicyMatched: unknown,
    AccessCheckReady: unknown,
    AccessPermissionSync: unknown,
  })
  t.strictSame(findingsOf(undefined).ContextObjectValid, unknown)
})

const MESSAGES: Record<string, { text: string; is: string }> = {
  'a short message stays': { text: 'a, "b" – ü', is: 'a, "b" – ü' },
  'a message of 1024 characters stays': { text: 'x'.repeat(1024), is: 'x'.repeat(1024) },
  'a longer one is cut': { text: 'x'.repeat(1025), is: `${'x'.repeat(1023)}…` },
  'no half of a character is left at the cut': { text: `${'x'.repeat(1022)}😀x`, is: `${'x'.repeat(1022)}\ufffd…` },
  'control characters become spaces': { text: 'a\u0000\u001b[31mb\r\nc\u009bd', is: 'a [31mb c d' },
}
for (const [name, { text, is }] of Object.entries(MESSAGES)) {
  await test(`messages: ${name}`, async (t) => {
    const { message } = finding('True', 'R', text)
    t.equal(message, is)
    t.ok(message.isWellFormed())
    t.equal(finding('True', 'R', message).message, message, 'and it is not changed again')
  })
}

const FINAL: Record<string, { status: AccessRequestStatus | undefined; is: boolean }> = {
  'nothing on record': { status: undefined, is: false },
  waiting: { status: statusOf({}), is: false },
  granted: { status: statusOf({ check: 'True/Passed x', sync: 'True/Synced x' }), is: false },
  'a check that failed': { status: statusOf({ check: 'False/Failed x' }), is: false },
  rejected: { status: statusOf({ check: 'False/Rejected x' }), is: true },
  'cleaned up': { status: statusOf({ check: 'True/Passed x', sync: 'True/PermissionCleanUp x' }), is: true },
}
for (const [name, { status, is }] of Object.entries(FINAL)) {
  await test(`${name} is ${is ? '' : 'not '}final`, async (t) => {
    t.equal(isFinal(status), is)
  })
}

const approved = matchedOf(taskOf('deploy', 'approved'), 'True/Passed x')
const passed = snapshotOf({ matchedChecks: [approved] })
const PASSED: Lines['check'] = 'True/Passed x'
const RECORDED: Record<string, { status: AccessRequestStatus | undefined; said: boolean; borneOut: boolean }> = {
  nothing: { status: undefined, said: false, borneOut: false },
  'a wait with passed objects': { status: statusOf({}, [passed]), said: false, borneOut: false },
  'a pass with all its objects': { status: statusOf({ check: PASSED }, [passed]), said: true, borneOut: true },
  'a pass without policies': { status: statusOf({ check: PASSED }), said: true, borneOut: false },
  'a pass without objects': { status: statusOf({ check: PASSED }, [snapshotOf()]), said: true, borneOut: false },
  'a pass of a policy without checks': {
    status: statusOf({ check: PASSED }, [snapshotOf({ policySpec: policySpecOf([]), matchedChecks: [approved] })]),
    said: true,
    borneOut: false,
  },
  'a pass of one check of two': {
    status: statusOf({ check: PASSED }, [snapshotOf({ policySpec: policySpecOf([inlineCheck(), inlineCheck('scan')]), matchedChecks: [approved] })]),
    said: true,
    borneOut: false,
  },
  'a pass of one object of two': {
    status: statusOf({ check: PASSED }, [snapshotOf({ matchedChecks: [approved, matchedOf(taskOf('b', ''), 'Unknown/Pending x')] })]),
    said: true,
    borneOut: false,
  },
  'a pass of one policy of two': { status: statusOf({ check: PASSED }, [passed, snapshotOf({ name: 'scan' })]), said: true, borneOut: false },
}
for (const [name, { status, said, borneOut }] of Object.entries(RECORDED)) {
  await test(`${name} on record is ${borneOut ? 'enough' : 'not enough'} for a grant`, async (t) => {
    t.equal(checksRecordedAsPassed(status), said)
    t.equal(everyCheckRecordedAsPassed(status), borneOut)
  })
}
