import { test } from 'tap'
import { permission } from '../../src/kube/permission.ts'
import { answer, scriptedServer } from '../support/scripted-server.ts'

const identity = { user: 'system:serviceaccount:ns:sa', groups: ['system:serviceaccounts', 'system:authenticated'], extra: { pod: ['p'] } }
const question = { group: 'connectors.alauda.io', resource: 'connectors', subresource: 'proxy/v1/pod/ns/p', verb: '*', namespace: 'shared', name: 'git' }

await test('the question is put as a SubjectAccessReview', async (t) => {
  const server = await scriptedServer(t, (_seen, response) => answer(response, 201, { status: { allowed: true } }))
  t.equal(await permission(server.client()).allows(identity, question), true)
  t.match(server.seen, [{ method: 'POST', url: '/apis/authorization.k8s.io/v1/subjectaccessreviews' }])
  t.strictSame(JSON.parse(server.seen[0]?.body ?? ''), {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SubjectAccessReview',
    spec: {
      user: identity.user,
      groups: identity.groups,
      extra: identity.extra,
      resourceAttributes: { group: 'connectors.alauda.io', resource: 'connectors', subresource: 'proxy/v1/pod/ns/p', verb: '*', namespace: 'shared', name: 'git' },
    },
  })
})

const ANSWERS: Record<string, { answer: unknown; expected: boolean }> = {
  'allowed': { answer: { status: { allowed: true, reason: 'RBAC' } }, expected: true },
  'allowed, though one of several authorizers had a fault': { answer: { status: { allowed: true, evaluationError: 'webhook is away' } }, expected: true },
  'not allowed': { answer: { status: { allowed: false } }, expected: false },
  'denied': { answer: { status: { allowed: true, denied: true } }, expected: false },
  'an evaluation error alone': { answer: { status: { evaluationError: 'role not found' } }, expected: false },
  'no plain true': { answer: { status: { allowed: 'true' } }, expected: false },
  'no status': { answer: { kind: 'SubjectAccessReview' }, expected: false },
  'nothing': { answer: null, expected: false },
}
await test('only a plain yes is one', async (t) => {
  let current: unknown
  const server = await scriptedServer(t, (_seen, response) => answer(response, 201, current))
  const permissions = permission(server.client())
  for (const [sentence, one] of Object.entries(ANSWERS)) {
    current = one.answer
    t.equal(await permissions.allows(identity, question), one.expected, sentence)
  }
})

await test('no answer is an error', async (t) => {
  const server = await scriptedServer(t, (_seen, response) => answer(response, 500, 'no'))
  await t.rejects(permission(server.client()).allows(identity, question), { code: 'KUBE_UNAVAILABLE' })
})
