import { test } from 'tap'
import { acceptedToken, refusedToken, tokenProblem, type ReviewedToken, type TokenProblem } from '../../src/core/token-review.ts'

const token: ReviewedToken = { type: 'bootstrap', jti: 'id-1', user: 'alice', groups: ['team-alice'], path: '/workspaces/team-alice/app', domain: 'ex.test', namespace: 'team-alice' }
const { namespace: _namespace, ...unbound } = token

const CASES: Record<string, { token: ReviewedToken; problem: TokenProblem | undefined }> = {
  'a good one': { token, problem: undefined },
  'a session': { token: { ...token, type: 'session' }, problem: 'type' },
  'a session of another namespace': { token: { ...token, type: 'session', namespace: 'other' }, problem: 'type' },
  'without an id': { token: { ...token, jti: undefined }, problem: 'invalid' },
  'with an empty id': { token: { ...token, jti: '' }, problem: 'invalid' },
  'without a user': { token: { ...token, user: '' }, problem: 'invalid' },
  'for another namespace': { token: { ...token, namespace: 'other' }, problem: 'namespace' },
  'for another namespace than its path says': { token: { ...token, path: '/workspaces/other/app' }, problem: undefined },
  'of another issuer, by its path': { token: unbound, problem: undefined },
  'by its path, for another namespace': { token: { ...unbound, path: '/workspaces/other/app' }, problem: 'namespace' },
  'by a longer path': { token: { ...unbound, path: '/workspaces/team-alice/app/lab' }, problem: undefined },
  'by a path that begins in another way': { token: { ...unbound, path: '/x/workspaces/team-alice/app' }, problem: 'namespace' },
  'with neither': { token: { ...unbound, path: '/' }, problem: 'namespace' },
  'with an empty namespace and no path': { token: { ...unbound, namespace: '', path: '' }, problem: 'namespace' },
}
for (const [name, { token: given, problem }] of Object.entries(CASES)) {
  await test(`a token: ${name}`, async (t) => t.equal(tokenProblem(given, 'team-alice'), problem))
}

await test('what is answered for a good token', async (t) => {
  t.strictSame(acceptedToken({ ...token, uid: 'u-1', extra: { 'a/b': ['c', 'd'] } }), {
    authenticated: true,
    path: '/workspaces/team-alice/app',
    domain: 'ex.test',
    user: { username: 'alice', uid: 'u-1', groups: ['team-alice'], extra: { 'a/b': ['c', 'd'] } },
  })
  t.strictSame(acceptedToken({ ...token, uid: '', groups: [], extra: {}, path: '', domain: '' }), { authenticated: true, user: { username: 'alice' } })
})

const ERRORS: Record<TokenProblem, string> = {
  missing: 'token is required',
  invalid: 'invalid or expired token',
  type: 'invalid token type',
  namespace: 'the token is for another namespace',
  used: 'the token was used already',
}
for (const [problem, error] of Object.entries(ERRORS)) {
  await test(`of a token that is not good nothing is answered but why: ${error}`, async (t) => {
    t.strictSame(refusedToken(problem as TokenProblem), { authenticated: false, user: { username: '' }, error })
  })
}
