import { test } from 'tap'
import { connectionReviews } from '../../src/kube/connection-reviews.ts'
import { fakeTime } from '../support/fake-time.ts'
import { answer, scriptedServer } from '../support/scripted-server.ts'
import { status } from '../support/status.ts'

const WORKSPACE = { namespace: 'team-a', name: 'nb' }
const IDENTITY = { user: 'alice', groups: ['team-a', 'system:authenticated'], uid: 'u-1', extra: { 'example.com/key': ['a', 'b'] } }
const GROUP = '/apis/connection.workspace.jupyter.org/v1alpha1/namespaces/team-a'

await test('the access is asked for by a ConnectionAccessReview', async (t) => {
  const server = await scriptedServer(t, (_seen, response) => answer(response, 201, { status: { allowed: true, notFound: false, reason: 'Valid RBAC' } }))
  t.strictSame(await connectionReviews(server.client()).mayConnect(WORKSPACE, IDENTITY), { allowed: true, notFound: false, reason: 'Valid RBAC' })
  t.match(server.seen, [{ method: 'POST', url: `${GROUP}/connectionaccessreviews` }])
  t.strictSame(JSON.parse(server.seen[0]?.body ?? ''), {
    apiVersion: 'connection.workspace.jupyter.org/v1alpha1',
    kind: 'ConnectionAccessReview',
    metadata: { namespace: 'team-a' },
    spec: { workspaceName: 'nb', user: 'alice', groups: IDENTITY.groups, uid: 'u-1', extra: IDENTITY.extra },
  })
  await connectionReviews(server.client()).mayConnect(WORKSPACE, { user: 'bob', groups: [], uid: '', extra: {} })
  t.strictSame((JSON.parse(server.seen[1]?.body ?? '') as { spec: unknown }).spec, { workspaceName: 'nb', user: 'bob', groups: [] }, 'what is empty is left out')
})

await test('only a plain yes about a workspace that exists is one', async (t) => {
  let current: unknown
  const server = await scriptedServer(t, (_seen, response) => answer(response, 200, current))
  const reviews = connectionReviews(server.client())
  const answers: Record<string, [status: object, expected: object]> = {
    'allowed, from a server that leaves notFound out': [{ allowed: true }, { allowed: true, notFound: false, reason: '' }],
    'not allowed': [{ allowed: false, notFound: false, reason: 'RBAC permission denied' }, { allowed: false, notFound: false, reason: 'RBAC permission denied' }],
    'not there': [{ allowed: false, notFound: true, reason: 'Workspace not found' }, { allowed: false, notFound: true, reason: 'Workspace not found' }],
    'allowed and not there': [{ allowed: true, notFound: true }, { allowed: false, notFound: true, reason: '' }],
  }
  for (const [sentence, [given, expected]] of Object.entries(answers)) {
    current = { status: given }
    t.strictSame(await reviews.mayConnect(WORKSPACE, IDENTITY), expected, sentence)
  }
  for (const one of [{}, { status: {} }, { status: { allowed: 'true' } }, { status: 'allowed' }, null, []]) {
    current = one
    await t.rejects(reviews.mayConnect(WORKSPACE, IDENTITY), { code: 'KUBE_UNAVAILABLE', message: /does not say whether it is allowed; look at the extension API/ }, JSON.stringify(one))
  }
})

await test('a token is asked about by a BearerTokenReview', async (t) => {
  const user = { username: 'alice', uid: 'u-1', groups: ['team-a'], extra: { 'example.com/key': ['a'] } }
  const server = await scriptedServer(t, (_seen, response) => answer(response, 201, { status: { authenticated: true, path: '/workspaces/team-a/nb', domain: 'ws.example.com', user } }))
  t.strictSame(await connectionReviews(server.client()).reviewToken('team-a', 'boot.strap.token'), {
    authenticated: true,
    user: { user: 'alice', groups: ['team-a'], uid: 'u-1', extra: { 'example.com/key': ['a'] } },
    path: '/workspaces/team-a/nb',
    domain: 'ws.example.com',
  })
  t.match(server.seen, [{ method: 'POST', url: `${GROUP}/bearertokenreviews` }])
  t.strictSame(JSON.parse(server.seen[0]?.body ?? ''), {
    apiVersion: 'connection.workspace.jupyter.org/v1alpha1',
    kind: 'BearerTokenReview',
    metadata: { namespace: 'team-a' },
    spec: { token: 'boot.strap.token' },
  })
})

await test('only a token whose user can be read whole is good', async (t) => {
  let current: object = {}
  const server = await scriptedServer(t, (_seen, response) => answer(response, 200, { status: current }))
  const reviews = connectionReviews(server.client())
  const answers: Record<string, [status: object, expected: object]> = {
    'a name alone': [{ authenticated: true, user: { username: 'alice' } }, { authenticated: true, user: { user: 'alice', groups: [] } }],
    'not authenticated, with the shape of a user': [{ authenticated: false, error: 'invalid or expired token', user: { username: '' } }, { authenticated: false, error: 'invalid or expired token' }],
    'not authenticated, whatever else': [{ authenticated: false, path: '/', domain: 'x', user: { username: 'alice' } }, { authenticated: false }],
    'no user': [{ authenticated: true }, { authenticated: false }],
    'no name': [{ authenticated: true, user: { username: '', groups: ['a'] } }, { authenticated: false }],
    'groups that are none': [{ authenticated: true, user: { username: 'alice', groups: 'a' } }, { authenticated: false }],
    'a group that is none': [{ authenticated: true, user: { username: 'alice', groups: ['a', 1] } }, { authenticated: false }],
    'attributes that are none': [{ authenticated: true, user: { username: 'alice', extra: { a: 'b' } } }, { authenticated: false }],
  }
  for (const [sentence, [given, expected]] of Object.entries(answers)) {
    current = given
    t.strictSame(await reviews.reviewToken('team-a', 't'), expected, sentence)
  }
})

await test('no answer is an error, and none of them holds the token', async (t) => {
  const server = await scriptedServer(t, (seen, response) => answer(response, 403, status(403, 'Forbidden', seen.url.includes('bearer') ? 'bearertokenreviews is forbidden' : 'connectionaccessreviews is forbidden')))
  const reviews = connectionReviews(server.client())
  await t.rejects(reviews.mayConnect(WORKSPACE, IDENTITY), { code: 'KUBE_FORBIDDEN', message: 'connectionaccessreviews is forbidden' })
  await t.rejects(reviews.reviewToken('team-a', 'boot.strap.token'), { code: 'KUBE_FORBIDDEN', message: 'bearertokenreviews is forbidden' })
  await t.rejects(reviews.mayConnect({ namespace: '../x', name: 'nb' }, IDENTITY), { code: 'KUBE_INVALID' }, 'a namespace that would lead elsewhere')
  t.equal(server.seen.length, 2)
})

await test('each question has 5 s', async (t) => {
  const time = fakeTime()
  const asked = Promise.withResolvers<void>()
  const server = await scriptedServer(t, () => asked.resolve())
  const waiting = connectionReviews(server.client({ timers: time.timers, requestTimeoutMs: 10_000 })).reviewToken('team-a', 'boot.strap.token')
  const failed = t.rejects(waiting, { code: 'KUBE_UNAVAILABLE', message: `the API server did not answer POST ${GROUP}/bearertokenreviews in time` })
  await asked.promise
  await time.advance(5_000)
  await failed
})
