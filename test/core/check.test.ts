/** What check objects say, and how it is recorded. */
import fc from 'fast-check'
import { test } from 'tap'
import type { CheckRule, CheckRuleSpec } from '../../src/api/access-policy.ts'
import type { ResolvedCheck } from '../../src/api/access-request.ts'
import type { CheckFact, CheckObject } from '../../src/core/check.ts'
import { approversOf, boundedResults, describeCheck, evaluateCheck, isRejection, matchCheck, recheck, resolveCheck } from '../../src/core/check.ts'
import { CodedError } from '../../src/errors.ts'
import {
  APPROVAL_TASKS,
  CHECK_SPEC,
  configMapOf,
  inlineCheck,
  matchedOf,
  NOW,
  podOf,
  resolvedCheck,
  snapshotOf,
  taskOf,
  templatesOf,
  after,
} from '../support/request-facts.ts'

const POD = podOf()
const check = resolvedCheck()
const objectWith = (status: unknown): CheckObject => ({ ...APPROVAL_TASKS, metadata: { name: 'deploy', namespace: 'cicd', uid: 'task-1' }, status })
/** Status and reason, as one word each. */
const said = (status: unknown, more: Partial<ResolvedCheck> = {}): string => {
  const result = evaluateCheck(resolvedCheck('approval', more), objectWith(status), POD)
  return `${result.status}/${result.reason}`
}
const ready = (type: string, status: unknown) => ({ type, status })

const STATES: Record<string, { status: unknown; is: string }> = {
  'approved passes': { status: { state: 'approved' }, is: 'True/Passed' },
  'passed passes': { status: { state: 'passed' }, is: 'True/Passed' },
  'rejected rejects': { status: { state: 'rejected' }, is: 'False/Rejected' },
  'failed rejects': { status: { state: 'failed' }, is: 'False/Rejected' },
  'denied rejects': { status: { state: 'denied' }, is: 'False/Rejected' },
  'pending waits': { status: { state: 'pending' }, is: 'Unknown/Pending' },
  'an unknown word waits, whatever the conditions say': { status: { state: 'Approved', conditions: [ready('Ready', 'True')] }, is: 'Unknown/Pending' },
  'a state that is no text waits, whatever the conditions say': {
    status: { state: { approved: true }, conditions: [ready('Ready', 'True')] },
    is: 'Unknown/Pending',
  },
  'a list that holds the word waits': { status: { state: ['approved'] }, is: 'Unknown/Pending' },
  'the state wins over the conditions': { status: { state: 'rejected', conditions: [ready('Ready', 'True')] }, is: 'False/Rejected' },
  'an empty state leaves it to the conditions': { status: { state: '', conditions: [ready('Ready', 'True')] }, is: 'True/Passed' },
  'a null state leaves it to the conditions': { status: { state: null, conditions: [ready('Succeeded', 'False')] }, is: 'False/Rejected' },
  'Ready True passes': { status: { conditions: [ready('Ready', 'True')] }, is: 'True/Passed' },
  'Ready False rejects': { status: { conditions: [ready('Ready', 'False')] }, is: 'False/Rejected' },
  'Ready Unknown waits': { status: { conditions: [ready('Ready', 'Unknown')] }, is: 'Unknown/Pending' },
  'Succeeded True passes': { status: { conditions: [ready('Succeeded', 'True')] }, is: 'True/Passed' },
  'Ready wins over Succeeded': { status: { conditions: [ready('Succeeded', 'True'), ready('Ready', 'Unknown')] }, is: 'Unknown/Pending' },
  'another condition says nothing': { status: { conditions: [ready('Available', 'True')] }, is: 'Unknown/Pending' },
  'a status that is true rather than "True" waits': { status: { conditions: [ready('Ready', true)] }, is: 'Unknown/Pending' },
  'no status waits': { status: undefined, is: 'Unknown/Pending' },
  'a status that is null waits': { status: null, is: 'Unknown/Pending' },
  'a status that is text waits': { status: 'approved', is: 'Unknown/Pending' },
  'a status that is a list waits': { status: [{ state: 'approved' }], is: 'Unknown/Pending' },
  'conditions that are no list wait': { status: { conditions: { type: 'Ready', status: 'True' } }, is: 'Unknown/Pending' },
  'conditions that are null or text are passed over': { status: { conditions: [null, 'Ready', 7, [], ready('Ready', 'True')] }, is: 'True/Passed' },
  'what a prototype has is no state': { status: Object.create({ state: 'approved' }), is: 'Unknown/Pending' },
}
for (const [name, { status, is }] of Object.entries(STATES)) {
  await test(`without an expression: ${name}`, async (t) => {
    t.equal(said(status), is)
  })
}

const cel = "object.status.state == 'go' ? 'passed' : object.status.state == 'stop' ? 'rejected' : 'pending'"
const EXPRESSIONS: Record<string, { cel: string; status: unknown; is: string; message?: string }> = {
  passed: { cel, status: { state: 'go' }, is: 'True/Passed' },
  rejected: { cel, status: { state: 'stop' }, is: 'False/Rejected' },
  pending: { cel, status: { state: 'approved' }, is: 'Unknown/Pending' },
  'a field that is missing': { cel, status: {}, is: 'False/Failed' },
  'a word that is no state': {
    cel: 'object.status.state',
    status: { state: 'approved' },
    is: 'False/Failed',
    message: 'ApprovalTask cicd/deploy cannot be evaluated: the expression must yield "passed", "rejected" or "pending"; got "approved"',
  },
  'an expression that does not parse': { cel: 'object.', status: {}, is: 'False/Failed' },
  'an expression that is never done': {
    cel: "[1,2,3,4,5,6,7,8,9].all(a, [1,2,3,4,5,6,7,8,9].all(b, [1,2,3,4,5,6,7,8,9].all(c, [1,2,3,4,5,6,7,8,9].all(d, [1,2,3,4,5,6,7,8,9].all(e, [1,2,3,4,5,6,7,8,9].all(f, [1,2,3,4,5,6,7,8,9].all(g, a+b+c+d+e+f+g > 0))))))) ? 'passed' : 'pending'",
    status: {},
    is: 'False/Failed',
  },
  'the Pod as context': {
    cel: "context.metadata.labels['tekton.dev/pipelineRun'] == object.status.run ? 'passed' : 'pending'",
    status: { run: 'run-1' },
    is: 'True/Passed',
  },
  'a state of its own does not count beside an expression': { cel: "'pending'", status: { state: 'approved' }, is: 'Unknown/Pending' },
}
for (const [name, { cel: source, status, is, message }] of Object.entries(EXPRESSIONS)) {
  await test(`with an expression: ${name}`, async (t) => {
    t.equal(said(status, { cel: source }), is)
    if (message !== undefined) t.equal(evaluateCheck(resolvedCheck('approval', { cel: source }), objectWith(status), POD).message, message)
  })
}

const user = (name: unknown, response: unknown = 'approved', type: unknown = 'User') => ({ name, type, response })
const group = (name: unknown, members: unknown, response: unknown = 'approved') => ({ name, type: 'Group', response, groupMembers: members })
const member = (name: unknown, response: unknown = 'approved') => ({ name, response })

interface Approval {
  responses: unknown
  approvers?: string[]
  approvalsRequired?: number
  is: 'True/Passed' | 'False/ApproverMismatch'
  by: string[]
}

const APPROVALS: Record<string, Approval> = {
  'one of the approvers is enough': { responses: [user('alice')], approvers: ['alice', 'bob'], is: 'True/Passed', by: ['alice'] },
  'somebody else is not': { responses: [user('mallory')], approvers: ['alice'], is: 'False/ApproverMismatch', by: ['mallory'] },
  'only those who count are recorded': { responses: [user('mallory'), user('alice')], approvers: ['alice'], is: 'True/Passed', by: ['alice'] },
  'nobody is not': { responses: [], approvers: ['alice'], is: 'False/ApproverMismatch', by: [] },
  'a rejection by an approver is no approval': { responses: [user('alice', 'rejected')], approvers: ['alice'], is: 'False/ApproverMismatch', by: [] },
  'a response still pending is no approval': { responses: [user('alice', 'pending')], approvers: ['alice'], is: 'False/ApproverMismatch', by: [] },
  'two are two': { responses: [user('bob'), user('alice')], approvers: ['alice', 'bob'], approvalsRequired: 2, is: 'True/Passed', by: ['alice', 'bob'] },
  'the same one twice is one': {
    responses: [user('alice'), user('alice')],
    approvers: ['alice', 'bob'],
    approvalsRequired: 2,
    is: 'False/ApproverMismatch',
    by: ['alice'],
  },
  'the same one as user and as member is one': {
    responses: [user('alice'), group('admins', [member('alice')])],
    approvers: ['alice', 'group:admins'],
    approvalsRequired: 2,
    is: 'False/ApproverMismatch',
    by: ['alice'],
  },
  'a number without names takes anybody': {
    responses: [user('mallory'), group('x', [member('bob')])],
    approvalsRequired: 2,
    is: 'True/Passed',
    by: ['bob', 'mallory'],
  },
  'a number without names needs that many': { responses: [user('mallory')], approvalsRequired: 2, is: 'False/ApproverMismatch', by: ['mallory'] },
  'members of a group count one by one': {
    responses: [group('admins', [member('alice'), member('bob')])],
    approvers: ['group:admins'],
    approvalsRequired: 2,
    is: 'True/Passed',
    by: ['alice', 'bob'],
  },
  'a member who did not approve does not count': {
    responses: [group('admins', [member('alice', 'pending')])],
    approvers: ['group:admins'],
    is: 'False/ApproverMismatch',
    by: [],
  },
  'members of a group that did not approve do not count': {
    responses: [group('admins', [member('alice')], 'rejected')],
    approvers: ['group:admins'],
    is: 'False/ApproverMismatch',
    by: [],
  },
  'members of another group do not count': {
    responses: [group('guests', [member('alice')])],
    approvers: ['group:admins'],
    is: 'False/ApproverMismatch',
    by: ['alice'],
  },
  'a group is not the user of that name': { responses: [user('admins')], approvers: ['group:admins'], is: 'False/ApproverMismatch', by: ['admins'] },
  'a user is not the group of that name': {
    responses: [group('alice', [member('mallory')])],
    approvers: ['alice'],
    is: 'False/ApproverMismatch',
    by: ['mallory'],
  },
  'a user who calls himself a group is not that group': {
    responses: [user('group:admins')],
    approvers: ['group:admins'],
    is: 'False/ApproverMismatch',
    by: ['group:admins'],
  },
  'no type is a user': {
    responses: [{ name: 'alice', response: 'approved' }, user('bob', 'approved', '')],
    approvers: ['alice', 'bob'],
    approvalsRequired: 2,
    is: 'True/Passed',
    by: ['alice', 'bob'],
  },
  'an unknown type is nobody': { responses: [user('alice', 'approved', 'Robot')], approvers: ['alice'], is: 'False/ApproverMismatch', by: [] },
  'a group without members is nobody': { responses: [group('admins', undefined)], approvers: ['group:admins'], is: 'False/ApproverMismatch', by: [] },
  'responses that are no list are nobody': { responses: { 0: user('alice') }, approvers: ['alice'], is: 'False/ApproverMismatch', by: [] },
  'responses that are null or text are passed over': {
    responses: [null, 'alice', 7, ['alice'], user('alice')],
    approvers: ['alice'],
    is: 'True/Passed',
    by: ['alice'],
  },
  'members that are null, text or no list are passed over': {
    responses: [group('admins', [null, 'alice', 7]), group('admins', 'alice'), group('admins', [member('bob')])],
    approvers: ['group:admins'],
    is: 'True/Passed',
    by: ['bob'],
  },
  'names that are no text, or empty, are nobody': {
    responses: [user(7), user(''), user(null), group('admins', [member(['alice'])])],
    approvalsRequired: 1,
    is: 'False/ApproverMismatch',
    by: [],
  },
}
for (const [name, { responses, is, by, ...constraint }] of Object.entries(APPROVALS)) {
  await test(`approvers: ${name}`, async (t) => {
    const result = evaluateCheck(resolvedCheck('approval', constraint), objectWith({ state: 'approved', approversResponse: responses }), POD)
    t.strictSame([`${result.status}/${result.reason}`, result.approvedBy], [is, by])
    t.equal(isRejection(result), is === 'False/ApproverMismatch')
  })
}

await test('approvers count only once the object itself has passed', async (t) => {
  const approversResponse = [user('alice')]
  t.equal(said({ state: 'pending', approversResponse }, { approvers: ['alice'] }), 'Unknown/Pending')
  t.equal(said({ state: 'rejected', approversResponse }, { approvers: ['alice'] }), 'False/Rejected')
})

const MESSAGES: Record<string, { status: object; constraint?: Partial<ResolvedCheck>; message: string }> = {
  'a wait names the object': { status: { state: 'pending' }, message: 'waiting for ApprovalTask cicd/deploy' },
  'a rejection names the object': { status: { state: 'rejected' }, message: 'ApprovalTask cicd/deploy was rejected' },
  'a pass names who approved': {
    status: { state: 'approved', approversResponse: [user('bob'), user('alice')] },
    message: 'ApprovalTask cicd/deploy was approved by alice, bob',
  },
  'a mismatch names who is required': {
    status: { state: 'approved', approversResponse: [user('mallory')] },
    constraint: { approvers: ['alice', 'group:admins'], approvalsRequired: 2 },
    message: 'ApprovalTask cicd/deploy was approved by mallory; 2 approval(s) of alice, group:admins are required',
  },
  'a mismatch without any name says so': {
    status: { state: 'approved' },
    constraint: { approvalsRequired: 1 },
    message: 'ApprovalTask cicd/deploy was approved by nobody it names; 1 approval(s) are required',
  },
  'control characters of a name do not reach a terminal': {
    status: { state: 'approved', approversResponse: [user('a\u001b[2Jb\nReady True')] },
    message: 'ApprovalTask cicd/deploy was approved by a [2Jb Ready True',
  },
}
for (const [name, { status, constraint = {}, message }] of Object.entries(MESSAGES)) {
  await test(`messages: ${name}`, async (t) => {
    t.equal(evaluateCheck(resolvedCheck('approval', constraint), objectWith(status), POD).message, message)
  })
}

await test('no object makes the evaluation throw', async (t) => {
  const entry = fc.record(
    {
      name: fc.jsonValue(),
      type: fc.oneof(fc.constantFrom('User', 'Group'), fc.jsonValue()),
      response: fc.oneof(fc.constant('approved'), fc.jsonValue()),
      groupMembers: fc.jsonValue(),
    },
    { requiredKeys: [] },
  )
  const status = fc.oneof(
    fc.jsonValue(),
    fc.record(
      {
        state: fc.oneof(fc.constant('approved'), fc.jsonValue()),
        conditions: fc.jsonValue(),
        approversResponse: fc.oneof(fc.array(fc.oneof(entry, fc.jsonValue())), fc.jsonValue()),
      },
      { requiredKeys: [] },
    ),
  )
  fc.assert(
    fc.property(status, fc.option(fc.array(fc.string(), { minLength: 1 })), (told, approvers) => {
      const result = evaluateCheck(resolvedCheck('approval', approvers === null ? {} : { approvers }), objectWith(told), POD)
      return ['True', 'False', 'Unknown'].includes(result.status)
    }),
    { numRuns: 2_000 },
  )
  t.pass()
})

// Resolving a rule.

const templates = templatesOf([configMapOf('run-approval', { spec: CHECK_SPEC }), configMapOf('empty', {})])
const resolve = (rule: CheckRule): ResolvedCheck => resolveCheck(rule, templates, POD)
const specOf = (selector: object, more: object = {}): CheckRuleSpec => ({ selector: { objectRef: { ...APPROVAL_TASKS }, ...selector }, ...more })

const RESOLVED: Record<string, { rule: CheckRule; is: ResolvedCheck }> = {
  'a template is read and filled in': { rule: { name: 'approval', ref: { configMap: { name: 'run-approval' } } }, is: check },
  'an inline check is filled in': { rule: inlineCheck(), is: check },
  'a name may be a template': {
    rule: { name: 'a', spec: { selector: { objectRef: { ...APPROVAL_TASKS, name: 'run-of-{.object.metadata.name}' } } } },
    is: { name: 'a', ...APPROVAL_TASKS, objectName: 'run-of-build-pod' },
  },
  'values of expressions are filled in': {
    rule: {
      name: 'a',
      spec: specOf({
        matchExpressions: [
          { key: 'run', operator: 'In', values: ['{.object.metadata.name}', 'x'] },
          { key: 'y', operator: 'Exists' },
        ],
      }),
    },
    is: {
      name: 'a',
      ...APPROVAL_TASKS,
      matchExpressions: [
        { key: 'run', operator: 'In', values: ['build-pod', 'x'] },
        { key: 'y', operator: 'Exists' },
      ],
    },
  },
  'an expression and params are kept': {
    rule: inlineCheck('a', {
      spec: specOf({ matchLabels: { a: 'b' } }, { state: { cel: "'passed'" } }),
      params: [
        { name: 'approvers', value: ['alice', 'alice'] },
        { name: 'numberOfApprovalsRequired', value: '2' },
      ],
    }),
    is: { name: 'a', ...APPROVAL_TASKS, matchLabels: { a: 'b' }, cel: "'passed'", approvers: ['alice'], approvalsRequired: 2 },
  },
  'the namespace of the Pod may be written out': {
    rule: { name: 'a', spec: { selector: { objectRef: { ...APPROVAL_TASKS, name: 'x', namespace: 'cicd' } } } },
    is: { name: 'a', ...APPROVAL_TASKS, objectName: 'x' },
  },
}
for (const [name, { rule, is }] of Object.entries(RESOLVED)) {
  await test(`resolving: ${name}`, async (t) => {
    t.strictSame(resolve(rule), is)
  })
}

const UNRESOLVED: Record<string, { rule: CheckRule; code: string; message: RegExp }> = {
  'a template that is not there': {
    rule: { name: 'a', ref: { configMap: { name: 'gone' } } },
    code: 'TEMPLATE_MISSING',
    message: /^ConfigMap connectors-system\/gone is missing$/,
  },
  'a template without its key': { rule: { name: 'a', ref: { configMap: { name: 'empty' } } }, code: 'TEMPLATE_MISSING', message: /has no key "spec"/ },
  'neither ref nor spec': { rule: { name: 'a' }, code: 'TEMPLATE_MISSING', message: /neither ref nor spec/ },
  'both ref and spec': { rule: inlineCheck('a', { ref: { configMap: { name: 'run-approval' } } }), code: 'TEMPLATE_SYNTAX', message: /both ref and spec/ },
  'a Secret': {
    rule: { name: 'a', spec: { selector: { objectRef: { apiVersion: 'v1', kind: 'secret', name: 'x' } } } },
    code: 'TEMPLATE_SYNTAX',
    message: /Secret/,
  },
  'another namespace': {
    rule: { name: 'a', spec: { selector: { objectRef: { ...APPROVAL_TASKS, name: 'x', namespace: 'other' } } } },
    code: 'TEMPLATE_SYNTAX',
    message: /namespace of the Pod/,
  },
  'everything of a kind': {
    rule: { name: 'a', spec: specOf({ matchLabels: {}, matchExpressions: [] }) },
    code: 'TEMPLATE_SYNTAX',
    message: /would match every object/,
  },
  'a label that the Pod lacks': {
    rule: { name: 'a', spec: specOf({ matchLabels: { a: "{.object.metadata.labels['none']}" } }) },
    code: 'TEMPLATE_VALUE',
    message: /no value at \.object\.metadata\.labels\.none/,
  },
  'a path of several values': {
    rule: { name: 'a', spec: specOf({ matchLabels: { a: '{.object.metadata.labels}' } }) },
    code: 'TEMPLATE_VALUE',
    message: /an object at/,
  },
  'an expression that does not parse': {
    rule: { name: 'a', spec: specOf({ matchLabels: { a: 'b' } }, { state: { cel: 'object.' } }) },
    code: 'EXPRESSION_SYNTAX',
    message: /./,
  },
  rego: { rule: { name: 'a', spec: specOf({ matchLabels: { a: 'b' } }, { state: { rego: 'package x' } }) }, code: 'EXPRESSION_SYNTAX', message: /state\.cel/ },
  'params that nobody knows': {
    rule: inlineCheck('a', { params: [{ name: 'aprovers', value: ['alice'] }] }),
    code: 'TEMPLATE_VALUE',
    message: /must be approvers or numberOfApprovalsRequired/,
  },
  'approvers that name nobody': { rule: inlineCheck('a', { params: [{ name: 'approvers', value: [] }] }), code: 'TEMPLATE_VALUE', message: /at least one/ },
}
for (const [name, { rule, code, message }] of Object.entries(UNRESOLVED)) {
  await test(`resolving refuses ${name}`, async (t) => {
    try {
      resolve(rule)
      t.fail('it was resolved')
    } catch (error) {
      t.ok(error instanceof CodedError)
      t.match(error, { code, message })
    }
  })
}

// Recording.

const approved = taskOf('deploy', 'approved')
const pending = taskOf('deploy', 'pending')
const rejected = taskOf('deploy', 'rejected')
const passedEntry = matchedOf(approved, 'True/Passed ApprovalTask cicd/deploy was approved')
const waitEntry = matchedOf(pending, 'Unknown/Pending waiting for ApprovalTask cicd/deploy')
const rejectedEntry = matchedOf(rejected, 'False/Rejected ApprovalTask cicd/deploy was rejected')
const facts = (objects: CheckObject[], recorded: CheckObject[] = []): CheckFact => ({ objects, recorded })
const unreadable: CheckFact = { unreadable: 'no', failed: true }

const RECORDS: Record<string, { fact: CheckFact; recorded?: (typeof passedEntry)[]; before: (typeof passedEntry)[]; after?: (typeof passedEntry)[] }> = {
  'nothing found is nothing recorded': { fact: facts([]), before: [] },
  'objects are recorded by name': {
    fact: facts([taskOf('b', 'pending'), taskOf('a', 'pending')]),
    before: [
      matchedOf(taskOf('a', ''), 'Unknown/Pending waiting for ApprovalTask cicd/a'),
      matchedOf(taskOf('b', ''), 'Unknown/Pending waiting for ApprovalTask cicd/b'),
    ],
  },
  'a pass survives the deletion of its object': { fact: facts([]), recorded: [passedEntry], before: [passedEntry], after: [passedEntry] },
  'a wait does not': { fact: facts([]), recorded: [waitEntry], before: [], after: [waitEntry] },
  'a pass whose object waits again is a wait before passing, and a pass after': {
    fact: facts([pending]),
    recorded: [passedEntry],
    before: [waitEntry],
    after: [passedEntry],
  },
  'a pass whose object is rejected is a rejection': { fact: facts([rejected]), recorded: [passedEntry], before: [rejectedEntry], after: [rejectedEntry] },
  'also when it is no longer selected': { fact: facts([], [rejected]), recorded: [passedEntry], before: [rejectedEntry], after: [rejectedEntry] },
  'a wait whose object is no longer selected is dropped before passing': { fact: facts([], [approved]), recorded: [waitEntry], before: [], after: [waitEntry] },
  'another object of the name is another check before passing, and none after': {
    fact: facts([taskOf('deploy', 'pending', { uid: 'new' })]),
    recorded: [passedEntry],
    before: [matchedOf(taskOf('deploy', '', { uid: 'new' }), 'Unknown/Pending waiting for ApprovalTask cicd/deploy'), passedEntry],
    after: [passedEntry],
  },
  'an unreadable kind keeps passes before passing, and everything after': {
    fact: unreadable,
    recorded: [passedEntry, { ...waitEntry, ref: { ...waitEntry.ref, uid: 'other' } }],
    before: [passedEntry],
    after: [passedEntry, { ...waitEntry, ref: { ...waitEntry.ref, uid: 'other' } }],
  },
}
for (const [name, { fact, recorded = [], before, after: later }] of Object.entries(RECORDS)) {
  await test(`recording: ${name}`, async (t) => {
    t.strictSame(matchCheck(check, fact, recorded, POD, NOW), before)
    if (later !== undefined) t.strictSame(recheck(check, fact, recorded, POD, NOW), later)
  })
}

await test('recording: an object that the check does not mean is none of its objects, whoever says so', async (t) => {
  const elsewhere = { ...approved, metadata: { ...approved.metadata, namespace: 'other' } }
  t.strictSame(matchCheck(check, facts([taskOf('a', 'approved', { labels: { run: 'run-2' } }), elsewhere]), [], POD, NOW), [])
  t.strictSame(matchCheck(resolvedCheck('approval', { objectName: 'security' }), facts([approved]), [], POD, NOW), [])
})

await test('recording: the time is that of the change', async (t) => {
  t.strictSame(matchCheck(check, facts([pending]), [waitEntry], POD, NOW + 9_000), [waitEntry])
  t.strictSame(matchCheck(check, facts([approved]), [waitEntry], POD, NOW + 9_000), [
    matchedOf(approved, 'True/Passed ApprovalTask cicd/deploy was approved', { time: after(9) }),
  ])
})

await test('recording: an evaluation that fails after passing changes nothing', async (t) => {
  t.strictSame(recheck(resolvedCheck('approval', { cel: 'object.none' }), facts([approved]), [passedEntry], POD, NOW), [passedEntry])
})

await test('recording: approvers who no longer suffice after passing reject', async (t) => {
  const [entry] = recheck(resolvedCheck('approval', { approvers: ['alice'] }), facts([approved]), [passedEntry], POD, NOW)
  t.equal(entry?.condition.reason, 'ApproverMismatch')
})

await test('recording: names without end do not swell the status', async (t) => {
  const many = Array.from({ length: 5_000 }, (_, index) => user(`${String(index).padStart(5, '0')}${'x'.repeat(1_000)}`))
  const [entry] = matchCheck(check, facts([taskOf('deploy', 'approved', { status: { approversResponse: many } })]), [], POD, NOW)
  t.equal(entry?.approvedBy?.length, 20)
  t.ok(entry?.approvedBy?.every((name) => name.length === 253))
  t.equal(entry?.condition.message.length, 1024)
})

await test('a check is described by its kind, name and labels', async (t) => {
  t.equal(describeCheck(check, 'cicd'), 'ApprovalTask in namespace cicd with run=run-1')
  t.equal(describeCheck({ name: 'a', ...APPROVAL_TASKS, objectName: 'x' }, 'cicd'), 'ApprovalTask cicd/x')
  t.equal(
    describeCheck(
      {
        name: 'a',
        ...APPROVAL_TASKS,
        matchExpressions: [
          { key: 'a', operator: 'In', values: ['1', '2'] },
          { key: 'b', operator: 'Exists' },
        ],
      },
      'cicd',
    ),
    'ApprovalTask in namespace cicd with a In 1|2, b Exists',
  )
})

const by = (...approvedBy: string[]) => snapshotOf({ matchedChecks: [matchedOf(approved, 'True/Passed yes', { approvedBy })] })

await test('who approved is told once, over all policies', async (t) => {
  t.strictSame(approversOf([by('bob', 'alice'), by('alice'), snapshotOf()]), ['alice', 'bob'])
})

await test('more objects than can be recorded fail the check, and the record stays small', (t) => {
  const crowded = resolvedCheck('approval')
  const matched = (count: number, state: string) => matchCheck(crowded, facts(Array.from({ length: count }, (_, index) => taskOf(`task-${index}`, state))), [], POD, NOW)
  t.equal(boundedResults(crowded, matched(100, 'approved'), []).kept.length, 100)
  t.equal(boundedResults(crowded, matched(100, 'approved'), []).problem, undefined)
  const problem = '101 objects match check "approval", at most 100 may; delete those that do not belong to it'
  t.strictSame(boundedResults(crowded, matched(101, 'approved'), []), { kept: [], problem })
  const recorded = matched(1, 'approved')
  t.strictSame(boundedResults(crowded, matched(101, 'pending'), recorded), { kept: recorded, problem }, 'what is on record stays')
  const { kept } = boundedResults(crowded, [...matched(101, 'pending'), ...matched(1, 'rejected')], recorded)
  t.match(kept, [{ condition: { status: 'False', reason: 'Rejected' } }], 'a rejection is never lost in the crowd')
  t.equal(kept.length, 1)
  t.end()
})
