/** The binding decisions that the rows do not show: several policies and objects, binding to a Pod, flags, ends, and what never grants. */
import { test } from 'tap'
import type { AccessRequestStatus, PolicySnapshot } from '../../src/api/access-request.ts'
import { decideAccessRequest, FINISHED_RETENTION_MS, RETRY_MS } from '../../src/core/decide-request.ts'
import type { Decision, Effect } from '../../src/core/effects.ts'
import type { RequestFacts } from '../../src/core/request-pass.ts'
import {
  after,
  checksOf,
  configMapOf,
  CONNECTOR_TEXT,
  connectorOf,
  factsOf,
  grantOf,
  IN_ORDER,
  IN_POD_RULE,
  inlineCheck,
  innerCondition,
  linesOf,
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
  TEMPLATES,
  templatesOf,
  UNBOUND_RULES,
  UNSEEN,
  type Lines,
} from '../support/request-facts.ts'

const decide = (given: Partial<RequestFacts>, now = NOW): Decision => decideAccessRequest(factsOf(given), now)

/** Effects with statuses as lines. */
const told = ({ effects }: Decision): unknown[] => effects.map((effect) => (effect.type === 'write-status' ? linesOf(effect.status) : effect))
const lines = (over: Partial<Lines>): Lines => ({ ...IN_ORDER, ...over })
const types = ({ effects }: Decision): Effect['type'][] => effects.map(({ type }) => type)
const written = ({ effects }: Decision): AccessRequestStatus | undefined => effects.flatMap((effect) => (effect.type === 'write-status' ? [effect.status] : [])).at(-1)
const withStatus = (status: AccessRequestStatus) => requestOf({ status })

const approved = taskOf('deploy', 'approved')
const rejected = taskOf('deploy', 'rejected')
const PASSED = 'True/Passed ApprovalTask cicd/deploy was approved'
const SYNCED = `True/Synced Role and RoleBinding ${grantOf().role.metadata.name} are in place` as const
const passedSnapshot = snapshotOf({ matchedChecks: [matchedOf(approved, PASSED)] })
const passedStatus = statusOf({ check: PASSED, sync: 'Unknown/Pending waiting for the checks', ready: 'Unknown/Pending waiting for the checks' }, [passedSnapshot])
const grantedSnapshot = { ...passedSnapshot, permissionSync: innerCondition('AccessPermissionSync', SYNCED) }
const grantedStatus = statusOf({ check: PASSED, sync: SYNCED, ready: SYNCED }, [grantedSnapshot])
const granted: Partial<RequestFacts> = { request: withStatus(grantedStatus), checks: checksOf([approved]), grants: observedOf(grantOf()), confirmed: false }
const waitingFor = (...policies: PolicySnapshot[]) => withStatus(statusOf({}, policies))
const terminating = { state: 'live', pod: podOf({ metadata: { deletionTimestamp: T(0) } }) } as const

function T(seconds: number): string {
  return after(seconds)
}

const second = (more: Partial<PolicySnapshot> = {}): PolicySnapshot =>
  snapshotOf({ name: 'scan', policySpec: policySpecOf([inlineCheck('scan')]), checks: [resolvedCheck('scan')], ...more })
const found = (object: ReturnType<typeof taskOf>) => ({ objects: [object], recorded: [] })

await test('D1: every policy that selects the Connector is taken, by name', async (t) => {
  const status = written(decide({ policies: [policyOf('b'), policyOf('c', {}), policyOf('a')] }))
  t.strictSame(
    status?.policies?.map(({ name }) => name),
    ['a', 'b'],
  )
  t.equal(linesOf(status).policy, 'True/Matched matched by AccessPolicy a, b')
})

await test('D1: one policy that passed is not enough while another waits', async (t) => {
  const decision = decide({ request: waitingFor(snapshotOf(), second()), checks: checksOf({ 'ask/approval': found(approved), 'scan/scan': found(taskOf('scan', 'pending')) }) })
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
  const decision = decide({ request, checks: checksOf({ 'ask/approval': { unreadable: 'may not be read', failed: true }, 'scan/scan': found(taskOf('scan', 'rejected')) }) })
  t.strictSame(types(decision), ['notice', 'write-status'])
  t.equal(linesOf(written(decision)).check, 'False/Rejected ApprovalTask cicd/scan was rejected')
})

await test('D1: each policy has a Role of its own, and says how far it is', async (t) => {
  const policies = [passedSnapshot, second({ matchedChecks: [matchedOf(taskOf('scan', 'approved'), 'True/Passed ApprovalTask cicd/scan was approved', { name: 'scan' })] })]
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
  t.equal(linesOf(written(decide({ request: waitingFor(snapshotOf()), checks: checksOf([approved, taskOf('other', 'denied')]) }))).check, 'False/Rejected ApprovalTask cicd/other was rejected')
})

const REVIVALS: Record<string, Partial<RequestFacts>> = {
  'an approval': { checks: checksOf([approved]) },
  'its Pod, live': { pod: { state: 'live', pod: podOf() } },
  'its Pod, gone': { pod: { state: 'missing' } },
  'flags off': { flags: { state: 'off', message: 'off' } },
  'no Connector': { connector: undefined },
  'another Connector': { connector: connectorOf({ uid: 'connector-2' }) },
  'other policies': { policies: [policyOf('new')] },
  'unconfirmed facts': { confirmed: false },
}
const FINALS: Record<string, AccessRequestStatus> = {
  'cleaned up': statusOf({ pod: 'False/NotFound gone', check: PASSED, sync: 'True/PermissionCleanUp removed', ready: 'False/NotFound gone' }, [passedSnapshot]),
  'rejected': statusOf({ check: 'False/Rejected no', sync: 'True/PermissionCleanUp nothing was granted', ready: 'False/Rejected no' }, [snapshotOf()]),
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
  t.strictSame(decide({ request: withStatus(statusOf({ check: PASSED, sync: 'True/PermissionCleanUp removed' }, [passedSnapshot])), grants: observedOf(grantOf()) }).effects, [
    { type: 'delete-grants', names: [grantOf().role.metadata.name] },
  ])
})

await test('D10: a template that comes later is taken, and the check goes on', async (t) => {
  const policySpec = policySpecOf([{ name: 'approval', ref: { configMap: { name: 'run-approval' } } }])
  const status = written(decide({ request: waitingFor(snapshotOf({ policySpec, checks: [] })), checks: checksOf([]), confirmed: false }))
  t.strictSame(status?.policies, [snapshotOf({ policySpec })])
  t.equal(linesOf(status).check, 'Unknown/Pending there is no ApprovalTask in namespace cicd with run=run-1 yet')
})

await test('D13: a request without uid waits for the first live Pod of its name', async (t) => {
  const decision = decide({ request: requestOf({ podUid: null }), pod: { state: 'missing' }, podWatched: true })
  t.strictSame(told(decision), [
    lines({ pod: `False/NotFound there is no live ${POD_TEXT} yet`, connector: UNSEEN, policy: UNSEEN, ready: `False/NotFound there is no live ${POD_TEXT} yet` }),
  ])
  t.equal(decision.requeueAfter, 30_000)
})

await test('D13: the first live Pod is recorded, and no successor takes its place', async (t) => {
  const status = written(decide({ request: requestOf({ podUid: null }) }))
  t.equal(status?.contextUID, 'pod-1')
  const request = requestOf({ podUid: null, ...(status === undefined ? {} : { status }) })
  t.strictSame(types(decide({ request, pod: { state: 'replaced', uid: 'pod-2' } })), ['write-status'])
  t.match(linesOf(written(decide({ request, pod: { state: 'replaced', uid: 'pod-2' } }))), { pod: /^False\/Replaced /, sync: /^True\/PermissionCleanUp / })
})

const MISMATCHES: Record<string, { facts: Partial<RequestFacts>; why: string }> = {
  'another ServiceAccount': {
    facts: { pod: { state: 'live', pod: podOf({ serviceAccountName: 'other' }) } },
    why: `${POD_TEXT} runs as ServiceAccount "other"; the request is for ServiceAccount "cicd/builder"`,
  },
  'a user as subject': {
    facts: { request: requestOf({ spec: { subject: { kind: 'User', name: 'builder', namespace: 'cicd' } } }) },
    why: `${POD_TEXT} runs as ServiceAccount "builder"; the request is for User "cicd/builder"`,
  },
  'a ServiceAccount of another namespace': {
    facts: { request: requestOf({ spec: { subject: { kind: 'ServiceAccount', name: 'builder', namespace: 'other' } } }) },
    why: `${POD_TEXT} runs as ServiceAccount "builder"; the request is for ServiceAccount "other/builder"`,
  },
  'no volume that names the Connector': {
    facts: { pod: { state: 'live', pod: podOf({ connectors: 'connectors-shared/other' }) } },
    why: `${POD_TEXT} has no connectors-csi volume that names ${CONNECTOR_TEXT}`,
  },
}
for (const [name, { facts, why }] of Object.entries(MISMATCHES)) {
  await test(`D14, D21: ${name} is never granted anything`, async (t) => {
    t.strictSame(told(decide({ checks: checksOf([approved]), ...facts })), [lines({ pod: `False/NotFound ${why}`, connector: UNSEEN, policy: UNSEEN, ready: `False/NotFound ${why}` })])
  })
  await test(`D14, D21: ${name} ends a grant that should not be`, async (t) => {
    const request = { ...(facts.request ?? requestOf()), status: grantedStatus }
    t.strictSame(types(decide({ ...granted, ...facts, request })), ['delete-grants', 'notice', 'write-status'])
  })
}

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
  const why = 'AccessPolicy ask: the role template connectors-system/in-pod is refused: it grants connectors/proxy to the whole ServiceAccount without the annotation connectors.alauda.io/unbound: "true"'
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
  const decision = decide({ request: withStatus(statusOf({ check: PASSED }, [passedSnapshot, open])), templates: templatesOf([]), checks: checksOf([approved]) })
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
  t.strictSame(decide({ request: requestOf({ metadata: { finalizers: [] }, status: passedStatus }), checks: checksOf([approved]) }).effects, [{ type: 'add-finalizer' }])
})

await test('D17: rules that a template yields after the checks have passed are on record before a Role is made of them', async (t) => {
  const { rules: _, ...open } = passedSnapshot
  const decision = decide({ request: withStatus(statusOf({ check: PASSED }, [open])), checks: checksOf([approved]) })
  t.strictSame(types(decision), ['write-status'])
  t.strictSame(written(decision)?.policies?.[0]?.rules, [IN_POD_RULE])
})

await test('D17: what was taken once is not taken again, what is missing is', async (t) => {
  const policySpec = policySpecOf([inlineCheck(), { name: 'late', ref: { configMap: { name: 'late' } } }])
  const cel = "object.status.state == 'x' ? 'passed' : 'pending'"
  const request = waitingFor(snapshotOf({ policySpec, checks: [resolvedCheck('approval', { cel })] }))
  const late = configMapOf('late', { spec: 'selector: { objectRef: { apiVersion: v1, kind: ConfigMap, name: gate } }' })
  const status = written(decide({ request, templates: templatesOf([late]), checks: checksOf([]) }))
  t.strictSame(status?.policies?.[0]?.checks, [resolvedCheck('approval', { cel }), { name: 'late', apiVersion: 'v1', kind: 'ConfigMap', objectName: 'gate' }])
})

await test('D18: a terminating Pod keeps its grant', async (t) => {
  t.strictSame(told(decide({ ...granted, pod: terminating })), [lines({ pod: `True/Active ${POD_TEXT} is terminating`, check: PASSED, sync: SYNCED, ready: SYNCED })])
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

const NOT_ON: Record<string, RequestFacts['flags']> = {
  'D19: with a flag off': { state: 'off', message: 'approval is off' },
  'D22: with the flags unknown': { state: 'unknown', message: 'nobody knows whether approval is on' },
}
for (const [when, flags] of Object.entries(NOT_ON)) {
  const message = flags.state === 'on' ? '' : flags.message
  await test(`${when} nothing is matched or evaluated`, async (t) => {
    t.strictSame(told(decide({ flags, checks: checksOf([approved]) })), [
      lines({ policy: UNSEEN, check: `Unknown/Pending ${message}`, sync: `Unknown/Pending ${message}`, ready: UNSEEN }),
    ])
    t.strictSame(told(decide({ flags, request: waitingFor(snapshotOf()), checks: checksOf([approved]) })), [
      lines({ check: `Unknown/Pending ${message}`, sync: `Unknown/Pending ${message}`, ready: `Unknown/Pending ${message}` }),
    ])
  })
  await test(`${when} nothing is granted that has passed, and nothing is repaired`, async (t) => {
    const sync = `Unknown/Pending ${message}` as const
    t.strictSame(told(decide({ flags, request: withStatus(passedStatus), checks: checksOf([approved]) })), [lines({ check: PASSED, sync, ready: sync })])
    t.strictSame(told(decide({ ...granted, flags, grants: observedOf(), confirmed: true })), [lines({ check: PASSED, sync, ready: sync })])
  })
  await test(`${when} a grant stays`, async (t) => {
    t.strictSame(decide({ ...granted, flags }).effects, [])
  })
  const ENDS: Record<string, Partial<RequestFacts>> = {
    'its Pod finishes': { pod: { state: 'finished', pod: podOf({ phase: 'Succeeded' }) } },
    'its Pod is gone': { pod: { state: 'missing' } },
    'its Pod is replaced': { pod: { state: 'replaced', uid: 'pod-2' } },
    'its Connector is gone': { connector: undefined },
  }
  for (const [end, facts] of Object.entries(ENDS)) {
    await test(`${when} a grant is revoked when ${end}`, async (t) => {
      t.strictSame(types(decide({ ...granted, flags, ...facts })), ['delete-grants', 'notice', 'write-status'])
    })
  }
  await test(`${when} a grant is revoked when its check is rejected`, async (t) => {
    t.strictSame(types(decide({ ...granted, flags, checks: checksOf([rejected]) })), ['notice', 'delete-grants', 'notice', 'write-status'])
  })
}

await test('D20: a request is deleted when its Pod was not seen for a minute', async (t) => {
  const unseen: Partial<RequestFacts> = { pod: { state: 'missing' }, confirmed: false }
  t.equal(decide(unseen, NOW + 59_000).requeueAfter, 1_000)
  t.strictSame(decide(unseen, NOW + 60_000), {
    effects: [
      { type: 'notice', notice: { type: 'Warning', reason: 'PodNeverSeen', action: 'Delete', note: `${POD_TEXT} with uid pod-1 never came; the request is deleted` } },
      { type: 'delete-request' },
    ],
  })
})

await test('D20: another Pod of the name does not stand for the one that was never seen', async (t) => {
  t.match(linesOf(written(decide({ pod: { state: 'replaced', uid: 'pod-0' } }))), { pod: /^Unknown\/Pending .* is not there yet$/ })
  t.strictSame(types(decide({ pod: { state: 'replaced', uid: 'pod-0' } }, NOW + 61_000)), ['notice', 'delete-request'])
})

await test('D20: a request without uid is not deleted', async (t) => {
  t.strictSame(types(decide({ request: requestOf({ podUid: null }), pod: { state: 'missing' } }, NOW + 3_600_000)), ['write-status'])
})

await test('D20: a Pod that finished before it was seen ends its request', async (t) => {
  const status = written(decide({ pod: { state: 'finished', pod: podOf({ phase: 'Succeeded' }) } }))
  t.equal(status?.contextUID, 'pod-1')
  t.equal(linesOf(status).sync, `True/PermissionCleanUp nothing was granted: ${POD_TEXT} has finished (Succeeded)`)
})

await test('a live Pod that no watch tells about is asked for every 4 s', async (t) => {
  t.strictSame(decide({ ...granted, podWatched: false }), { effects: [], requeueAfter: 4_000 })
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
  const checks = checksOf({ 'ask/approval': { objects: [], recorded: [taskOf('deploy', 'rejected', { labels: {} })] }, 'ask/scan': found(taskOf('scan', 'approved')) })
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

await test('D24: a finished request is deleted a day after its end', async (t) => {
  const status = statusOf({ check: PASSED, sync: 'True/PermissionCleanUp removed' }, [passedSnapshot], { times: { sync: T(3600) } })
  t.strictSame(decide({ request: withStatus(status) }, NOW), { effects: [], requeueAfter: FINISHED_RETENTION_MS + 3_600_000 })
  t.strictSame(decide({ request: withStatus(status) }, NOW + 3_600_000 + FINISHED_RETENTION_MS - 1), { effects: [], requeueAfter: 1 })
  t.strictSame(decide({ request: withStatus(status) }, NOW + 3_600_000 + FINISHED_RETENTION_MS), { effects: [{ type: 'delete-request' }] })
})

await test('D24: the end of a granted request starts its day, though its permission was in order before', async (t) => {
  const decision = decide({ ...granted, pod: { state: 'missing' } }, NOW + 7_200_000)
  t.equal(written(decision)?.conditions?.find(({ type }) => type === 'AccessPermissionSync')?.lastTransitionTime, T(7200))
})

await test('a Connector that was replaced before anything was granted is matched anew, from confirmed facts', async (t) => {
  const facts: Partial<RequestFacts> = { request: waitingFor(passedSnapshot), connector: connectorOf({ uid: 'connector-2' }), policies: [policyOf('new')], checks: checksOf([approved]) }
  t.strictSame(decide({ ...facts, confirmed: false }).effects, [{ type: 'confirm' }])
  const status = written(decide({ ...facts, checks: checksOf([]) }))
  t.equal(status?.connectorUID, 'connector-2')
  t.strictSame(status?.policies, [snapshotOf({ name: 'new' })])
  const unmatched = written(decide({ ...facts, policies: [] }))
  t.equal(unmatched?.connectorUID, undefined)
  t.equal(unmatched?.policies, undefined)
})

await test('templates that grant nothing are no permission', async (t) => {
  const why = 'True/NoPermissionRequired the role templates grant nothing'
  t.strictSame(told(decide({ request: withStatus(statusOf({ check: PASSED }, [{ ...passedSnapshot, rules: [] }])), checks: checksOf([approved]) })), [
    lines({ check: PASSED, sync: why, ready: 'False/NoPermissionRequired the role templates grant nothing' }),
  ])
})

await test('I1: a policy without checks never passes, nor does it for others', async (t) => {
  const status = written(decide({ request: waitingFor(snapshotOf(), snapshotOf({ name: 'empty', policySpec: policySpecOf([]), checks: [] })), checks: checksOf([approved]) }))
  t.equal(linesOf(status).check, 'Unknown/Pending AccessPolicy empty has no checks, so nothing can pass')
})

await test('I1: two checks of one name are none', async (t) => {
  const policySpec = policySpecOf([inlineCheck(), { ...inlineCheck(), spec: { selector: { objectRef: { apiVersion: 'v1', kind: 'ConfigMap', name: 'gate' } } } }])
  const decision = decide({ policies: [policyOf('ask', policySpec)], checks: checksOf([approved]) })
  t.equal(linesOf(written(decision)).check, 'False/Failed check "approval" of AccessPolicy ask cannot be evaluated: its name is not unique')
  t.strictSame(written(decision)?.policies?.[0]?.checks, [])
})

const UNPROVEN: Record<string, PolicySnapshot[]> = {
  'there are no policies': [],
  'a check has no object on record': [snapshotOf()],
  'an object on record is pending': [snapshotOf({ matchedChecks: [matchedOf(approved, 'Unknown/Pending waiting')] })],
  'another policy has no object on record': [passedSnapshot, second()],
}
for (const [name, policies] of Object.entries(UNPROVEN)) {
  await test(`I1: a status that says "passed" grants nothing when ${name}`, async (t) => {
    const decision = decide({ request: withStatus(statusOf({ check: PASSED, sync: SYNCED, ready: SYNCED }, policies, { connectorUID: 'connector-1' })), grants: observedOf(grantOf()) })
    t.strictSame(types(decision), ['delete-grants', 'write-status'])
    t.match(linesOf(written(decision)), { check: /^Unknown\/Pending / })
  })
}

await test('I1: a Role that says it belongs to a request that has not passed goes', async (t) => {
  t.strictSame(types(decide({ request: waitingFor(snapshotOf()), grants: observedOf(grantOf()), confirmed: false })), ['delete-grants', 'write-status'])
})

await test('a template that is there from the start leaves nothing to be tried again', async (t) => {
  t.equal(decide({ templates: templatesOf(TEMPLATES) }).requeueAfter, undefined)
})
