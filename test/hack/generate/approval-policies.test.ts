import { evaluate } from '@marcbachmann/cel-js'
import { test } from 'tap'
import type { Guard } from '../../../hack/generate/admission-policies.ts'
import { APPROVAL_INPUTS, APPROVAL_STATUS } from '../../../hack/generate/approval-policies.ts'

const userInfo = (username: string, ...groups: string[]): object => ({ username, groups: [...groups, 'system:authenticated'] })

/** What the policy answers: not asked, passed, or the place of the validation that refuses. */
const answerOf = (guard: Guard, review: { request: { operation: string; userInfo: object }; object: object; oldObject: object | null }): string => {
  if (guard.matchCondition !== undefined && evaluate(guard.matchCondition.expression, review) === false) return 'not asked'
  const variables: Record<string, unknown> = {}
  for (const { name, expression } of guard.variables ?? []) variables[name] = evaluate(expression, { ...review, variables })
  const refusing = guard.validations.findIndex(({ expression }) => evaluate(expression, { ...review, variables }) !== true)
  return refusing === -1 ? 'passed' : (guard.validations[refusing]?.message.split(':')[0] ?? '')
}

const CONTROLLER = 'system:serviceaccount:tekton-pipelines:manual-approval-gate-controller'
const users: Record<string, string> = {
  [CONTROLLER]: 'passed',
  'system:serviceaccount:tekton-pipelines:manual-approval-gate-webhook': 'status',
  'system:serviceaccount:openshift-pipelines:manual-approval-gate-controller': 'status',
  [` ${CONTROLLER}`]: 'status',
  'system:admin': 'status',
  '': 'status',
}
for (const [username, answer] of Object.entries(users))
  await test(`the status of an ApprovalTask, written by "${username}": ${answer}`, async (t) => {
    t.equal(answerOf(APPROVAL_STATUS, { request: { operation: 'UPDATE', userInfo: userInfo(username) }, object: {}, oldObject: {} }), answer)
  })

const said = (writers: string[]): unknown => evaluate(APPROVAL_STATUS.validations[0].messageExpression ?? '', { request: { userInfo: userInfo('mallory') }, variables: { writers } })
const sentence = (who: string): string =>
  `status: is written by the approval controller alone, and "mallory" is not it; it is ${who} by the variable "writers" of this policy. Approve by your own input in spec.approvers instead`

await test('a refusal names who tried, who may, and what to do', async (t) => {
  t.equal(said(['a', 'b']), sentence('a, b'))
  t.equal(said([]), sentence('nobody'))
})

const alice = (input: string): object => ({ name: 'alice', type: 'User', input })
const spec = (...approvers: object[]): { spec: object } => ({ spec: { approvers } })
const asked = spec(alice('pending'))
const labelled = (labels: object, state: string): object => ({ metadata: { labels }, ...asked, status: { state } })
const two = (input: string, more: object = { numberOfApprovalsRequired: 2 }): object => ({ spec: { approvers: [alice(input), { name: 'bob', type: 'User', input: 'pending' }], ...more } })
const ops = (input: string, ...members: object[]): { spec: object } => spec({ name: 'ops', type: 'Group', input, users: members })
const says = (name: string, input: string): object => ({ name, input })
const overruledBefore = { name: 'ops', type: 'Group', input: 'approve', users: [says('dora', 'reject')] }
const member = userInfo('emma', 'ops')
const many = (count: number, more: object = {}): { spec: object } => spec(...Array.from({ length: count }, (_, i) => ({ name: `user-${i}`, input: 'pending', ...more })))
const cases: Record<string, { by?: object; operation?: string; object: object; oldObject?: object | null; answer: string }> = {
  'a new task whose inputs are pending': { operation: 'CREATE', oldObject: null, object: asked, answer: 'passed' },
  'a new task without approvers': { operation: 'CREATE', oldObject: null, object: { spec: { description: 'x' } }, answer: 'passed' },
  'a new task with a list that is null': { operation: 'CREATE', oldObject: null, object: { spec: { approvers: null } }, answer: 'passed' },
  'a new task that was approved by somebody else': { operation: 'CREATE', oldObject: null, object: spec(alice('approve')), by: userInfo('bob'), answer: 'spec.approvers' },
  'a new task with a status': { operation: 'CREATE', oldObject: null, object: { ...asked, status: { state: 'approved' } }, answer: 'status' },
  'a status that changes with the object': { object: { ...asked, status: { state: 'approved' } }, oldObject: asked, answer: 'status' },
  'a status that goes with the object': { object: asked, oldObject: { ...asked, status: { state: 'rejected' } }, answer: 'status' },
  'metadata alone': { object: { metadata: { finalizers: ['a'] }, ...asked }, oldObject: asked, answer: 'not asked' },
  'labels of a task without a state': { object: { metadata: { labels: { a: 'b' } }, ...asked }, oldObject: asked, answer: 'passed' },
  'labels of a task whose state is empty': { object: labelled({ a: 'b' }, ''), oldObject: labelled({}, ''), answer: 'passed' },
  'labels of a task with a state': { object: labelled({ a: 'c' }, 'pending'), oldObject: labelled({ a: 'b' }, 'pending'), answer: 'metadata.labels' },
  'labels of a task with a state, all of them gone': { object: { ...labelled({}, 'approved'), metadata: {} }, oldObject: labelled({ a: 'b' }, 'approved'), answer: 'metadata.labels' },
  'labels, along with her own input': { object: { ...labelled({ a: 'c' }, 'pending'), ...spec(alice('approve')) }, oldObject: labelled({ a: 'b' }, 'pending'), answer: 'metadata.labels' },
  'her own input': { object: spec(alice('approve')), oldObject: asked, answer: 'passed' },
  'an input without a type is that of a user': { object: spec({ name: 'alice', input: 'approve' }), oldObject: spec({ name: 'alice', input: 'pending' }), answer: 'passed' },
  'the input of somebody else': { by: userInfo('bob'), object: spec(alice('approve')), oldObject: asked, answer: 'spec.approvers' },
  'a user of the name of a group is no group': { by: userInfo('ops'), object: spec({ name: 'ops', type: 'Group', input: 'approve' }), oldObject: spec({ name: 'ops', type: 'Group', input: 'pending' }), answer: 'spec.approvers' },
  'a group of the name of a user is no user': { by: userInfo('bob', 'alice'), object: spec(alice('approve')), oldObject: asked, answer: 'spec.approvers' },
  'her own input, and one approval is to be enough': { object: two('approve', { numberOfApprovalsRequired: 1 }), oldObject: two('pending'), answer: 'spec.numberOfApprovalsRequired' },
  'her own input, and the number is gone': { object: two('approve', {}), oldObject: two('pending'), answer: 'spec.numberOfApprovalsRequired' },
  'her own input, and the number is null': { object: two('approve', { numberOfApprovalsRequired: null }), oldObject: two('pending'), answer: 'spec.numberOfApprovalsRequired' },
  'her own input, and the number is a text': { object: two('approve', { numberOfApprovalsRequired: '2' }), oldObject: two('pending'), answer: 'spec.numberOfApprovalsRequired' },
  'her own input where two are asked': { object: two('approve'), oldObject: two('pending'), answer: 'passed' },
  'another one who is to be asked': { object: two('approve'), oldObject: { spec: { approvers: [alice('pending')], numberOfApprovalsRequired: 2 } }, answer: 'spec.approvers' },
  'one who is pending is no longer asked': { object: { spec: { approvers: [alice('approve')], numberOfApprovalsRequired: 2 } }, oldObject: two('pending'), answer: 'spec.approvers' },
  'one who is pending has another name': { object: spec(alice('approve'), { name: 'alice-2', input: 'pending' }), oldObject: spec(alice('pending'), { name: 'bob', input: 'pending' }), answer: 'spec.approvers' },
  'one who is pending becomes a group': { object: spec(alice('approve'), { name: 'bob', type: 'Group', input: 'pending' }), oldObject: spec(alice('pending'), { name: 'bob', type: 'User', input: 'pending' }), answer: 'spec.approvers' },
  'the list is gone': { object: { spec: {} }, oldObject: asked, answer: 'spec.approvers' },
  'the spec is gone': { object: {}, oldObject: asked, answer: 'spec.approvers' },
  'the type user is written out': { object: spec(alice('approve')), oldObject: spec({ name: 'alice', type: '', input: 'pending' }), answer: 'passed' },
  'a member overrules the rejection of another': { by: member, object: ops('approve', says('dora', 'reject'), says('emma', 'approve')), oldObject: ops('reject', says('dora', 'reject')), answer: 'spec.approvers' },
  'a member sets a group back that another rejects': { by: member, object: ops('pending', says('dora', 'reject')), oldObject: ops('reject', says('dora', 'reject')), answer: 'spec.approvers' },
  'a member approves for a group in which another has rejected': { by: member, object: ops('approve', says('dora', 'reject'), says('emma', 'approve')), oldObject: ops('pending', says('dora', 'reject')), answer: 'spec.approvers' },
  'a member speaks beside the rejection of another': { by: member, object: ops('reject', says('dora', 'reject'), says('emma', 'approve')), oldObject: ops('reject', says('dora', 'reject')), answer: 'passed' },
  'a member takes the own rejection back': { by: member, object: ops('approve', says('emma', 'approve')), oldObject: ops('reject', says('emma', 'reject')), answer: 'passed' },
  'a rejection that was overruled before is in nobody else\'s way': { object: { spec: { approvers: [alice('approve'), overruledBefore] } }, oldObject: { spec: { approvers: [alice('pending'), overruledBefore] } }, answer: 'passed' },
  'approvers that are a text': { object: { spec: { approvers: 'alice' } }, oldObject: asked, answer: 'spec.approvers' },
  'an approver without a name': { object: spec({ input: 'approve' }), oldObject: asked, answer: 'spec.approvers' },
  'an approver that is null': { operation: 'CREATE', oldObject: null, object: { spec: { approvers: [null] } }, answer: 'spec.approvers' },
  'an input that is null': { object: spec({ name: 'alice', input: null }), oldObject: asked, answer: 'spec.approvers' },
  'users that are a number': { object: spec({ name: 'alice', input: 'approve', users: 3 }), oldObject: asked, answer: 'spec.approvers' },
  'users that are null': { operation: 'CREATE', oldObject: null, object: spec({ name: 'alice', input: 'pending', users: null }), answer: 'passed' },
  'a user of a group without a name': { operation: 'CREATE', oldObject: null, object: ops('pending', { input: 'pending' }), answer: 'spec.approvers' },
  'a stored list that is not understood': { object: spec(alice('approve')), oldObject: { spec: { approvers: 'alice' } }, answer: 'spec.approvers' },
  'a hundred approvers': { operation: 'CREATE', oldObject: null, object: many(100), answer: 'passed' },
  'more than a hundred': { operation: 'CREATE', oldObject: null, object: many(101), answer: 'spec.approvers' },
  'a group with more than a hundred users': { operation: 'CREATE', oldObject: null, object: many(1, { type: 'Group', users: Array.from({ length: 101 }, (_, i) => says(`user-${i}`, 'pending')) }), answer: 'spec.approvers' },
  'an entry that becomes a group keeps no input': { by: userInfo('bob'), object: spec({ name: 'alice', type: 'Group', input: 'approve' }), oldObject: spec(alice('approve')), answer: 'spec.approvers' },
}
for (const [title, { by = userInfo('alice'), operation = 'UPDATE', object, oldObject = {}, answer }] of Object.entries(cases))
  await test(`inputs: ${title}: ${answer}`, async (t) => {
    t.equal(answerOf(APPROVAL_INPUTS, { request: { operation, userInfo: by }, object, oldObject }), answer)
  })
