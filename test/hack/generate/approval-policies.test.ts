import { evaluate } from '@marcbachmann/cel-js'
import { test } from 'tap'
import { admissionPolicy, type Guard } from '../../../hack/generate/admission-policies.ts'
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
const cases: Record<string, { by?: object; operation?: string; object: object; oldObject?: object | null; answer: string }> = {
  'a new task whose inputs are pending': { operation: 'CREATE', oldObject: null, object: asked, answer: 'passed' },
  'a new task without approvers': { operation: 'CREATE', oldObject: null, object: { spec: { description: 'x' } }, answer: 'passed' },
  'a new task with a list that is null': { operation: 'CREATE', oldObject: null, object: { spec: { approvers: null } }, answer: 'passed' },
  'a new task that was approved by somebody else': { operation: 'CREATE', oldObject: null, object: spec(alice('approve')), by: userInfo('bob'), answer: 'spec.approvers' },
  'a new task with a status': { operation: 'CREATE', oldObject: null, object: { ...asked, status: { state: 'approved' } }, answer: 'status' },
  'a status that changes with the object': { object: { ...asked, status: { state: 'approved' } }, oldObject: asked, answer: 'status' },
  'a status that goes with the object': { object: asked, oldObject: { ...asked, status: { state: 'rejected' } }, answer: 'status' },
  'metadata alone': { object: { metadata: { labels: { a: 'b' } }, ...asked }, oldObject: asked, answer: 'not asked' },
  'her own input': { object: spec(alice('approve')), oldObject: asked, answer: 'passed' },
  'an input without a type is that of a user': { object: spec({ name: 'alice', input: 'approve' }), oldObject: spec({ name: 'alice', input: 'pending' }), answer: 'passed' },
  'the input of somebody else': { by: userInfo('bob'), object: spec(alice('approve')), oldObject: asked, answer: 'spec.approvers' },
  'a user of the name of a group is no group': { by: userInfo('ops'), object: spec({ name: 'ops', type: 'Group', input: 'approve' }), oldObject: spec({ name: 'ops', type: 'Group', input: 'pending' }), answer: 'spec.approvers' },
  'a group of the name of a user is no user': { by: userInfo('bob', 'alice'), object: spec(alice('approve')), oldObject: asked, answer: 'spec.approvers' },
  'an entry that becomes a group keeps no input': { by: userInfo('bob'), object: spec({ name: 'alice', type: 'Group', input: 'approve' }), oldObject: spec(alice('approve')), answer: 'spec.approvers' },
}
for (const [title, { by = userInfo('alice'), operation = 'UPDATE', object, oldObject = {}, answer }] of Object.entries(cases))
  await test(`inputs: ${title}: ${answer}`, async (t) => {
    t.equal(answerOf(APPROVAL_INPUTS, { request: { operation, userInfo: by }, object, oldObject }), answer)
  })

await test('only the policy that holds a setting is left alone by an upgrade', async (t) => {
  t.match(admissionPolicy(APPROVAL_STATUS), [{ metadata: { labels: { 'connectors.alauda.io/install': 'once' } } }, { metadata: { labels: undefined } }])
  t.match(admissionPolicy(APPROVAL_INPUTS), [{ metadata: { labels: undefined } }, { metadata: { labels: undefined } }])
})
