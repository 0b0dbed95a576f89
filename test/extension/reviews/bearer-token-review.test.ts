import { test } from 'tap'
import type { TokenClaims } from '../../../src/jwt/tokens.ts'
import { createUsedTokens } from '../../../src/extension/reviews/used-tokens.ts'
import { ALICE, reviewBench, START, type Bench } from './harness.ts'

const BTR = 'BearerTokenReview'
const CLAIMS: TokenClaims = {
  user: 'alice',
  uid: 'u-1',
  groups: ['team'],
  extra: { 'example.com/role': ['a'] },
  path: '/workspaces/team/app',
  domain: 'ex.test',
  namespace: 'team',
  type: 'bootstrap',
  skipRefresh: true,
}
const { namespace: _namespace, ...UNBOUND } = CLAIMS
const TTL = { ttlMs: 300_000 }

const GOOD = {
  ok: true,
  status: { authenticated: true, path: '/workspaces/team/app', domain: 'ex.test', user: { username: 'alice', uid: 'u-1', groups: ['team'], extra: { 'example.com/role': ['a'] } } },
  verdict: 'authenticated',
  subject: 'alice',
  object: '/workspaces/team/app',
}
const refused = (error: string, verdict: string): object => ({ ok: true, status: { authenticated: false, user: { username: '' }, error }, verdict })
const INVALID = refused('invalid or expired token', 'invalid token')
const USED = refused('the token was used already', 'token used before')

await test('a good token says whose it is, once', async (t) => {
  const bench = reviewBench()
  const token = await bench.tokens.sign(CLAIMS, TTL)
  t.strictSame(await bench.review(BTR, { token }), GOOD)
  t.strictSame(await bench.review(BTR, { token }), USED)
  t.strictSame(bench.asked(), [], 'the API server is not asked')
})

await test('of two at the same moment one has it', async (t) => {
  const bench = reviewBench()
  const token = await bench.tokens.sign(CLAIMS, TTL)
  const outcomes = await Promise.all([bench.review(BTR, { token }), bench.review(BTR, { token })])
  t.strictSame(outcomes.toSorted((a, b) => (a.verdict < b.verdict ? -1 : 1)), [GOOD, USED])
})

await test('a dry run does not use a token up, and tells one that was', async (t) => {
  const bench = reviewBench()
  const token = await bench.tokens.sign(CLAIMS, TTL)
  t.strictSame(await bench.review(BTR, { token }, { dryRun: true }), GOOD)
  t.strictSame(await bench.review(BTR, { token }, { dryRun: true }), GOOD)
  t.strictSame(await bench.review(BTR, { token }), GOOD)
  t.strictSame(await bench.review(BTR, { token }, { dryRun: true }), USED)
})

await test('a token that is refused for where it was shown is not used up', async (t) => {
  const bench = reviewBench()
  const token = await bench.tokens.sign(CLAIMS, TTL)
  t.strictSame(await bench.review(BTR, { token }, { namespace: 'other' }), refused('the token is for another namespace', 'wrong namespace'))
  t.strictSame(await bench.review(BTR, { token }), GOOD)
})

await test('the end of a token is its end, and one that was used stays so until then', async (t) => {
  const bench = reviewBench()
  const [used, unused] = [await bench.tokens.sign(CLAIMS, TTL), await bench.tokens.sign(CLAIMS, TTL)]
  t.strictSame(await bench.review(BTR, { token: used }), GOOD)
  bench.keys.moveTo(START + 304_000)
  bench.time.freeze(304_000)
  t.strictSame(await bench.review(BTR, { token: used }), USED)
  t.strictSame(await bench.review(BTR, { token: unused }, { dryRun: true }), GOOD, 'clocks may differ by some seconds')
  bench.keys.moveTo(START + 306_000)
  t.strictSame(await bench.review(BTR, { token: unused }), INVALID)
})

const tampered = (token: string): string => `${token.slice(0, -2)}${token.endsWith('A') ? 'B' : 'A'}${token.slice(-1)}`

const BAD: Record<string, { token: (bench: Bench) => Promise<string | undefined>; outcome: object }> = {
  'no token': { token: async () => undefined, outcome: refused('token is required', 'no token') },
  'an empty one': { token: async () => '', outcome: refused('token is required', 'no token') },
  'no token at all': { token: async () => 'abc', outcome: INVALID },
  'one that was changed': { token: async ({ tokens }) => tampered(await tokens.sign(CLAIMS, TTL)), outcome: INVALID },
  'one of another issuer': { token: async ({ keys }) => keys.other('workspaces-auth', 'workspaces-controller').sign(CLAIMS, TTL), outcome: INVALID },
  'one for others': { token: async ({ keys }) => keys.other('workspaces-controller', 'workspace-users').sign(CLAIMS, TTL), outcome: INVALID },
  'one whose key is gone': {
    token: async ({ tokens, keys }) => {
      const token = await tokens.sign(CLAIMS, TTL)
      keys.ring.remove('200')
      return token
    },
    outcome: INVALID,
  },
  'a session': { token: async ({ tokens }) => tokens.sign({ ...CLAIMS, type: 'session' }, TTL), outcome: refused('invalid token type', 'wrong token type') },
  'one for another namespace': { token: async ({ tokens }) => tokens.sign({ ...CLAIMS, namespace: 'other' }, TTL), outcome: refused('the token is for another namespace', 'wrong namespace') },
  'one for another namespace, by its path': {
    token: async ({ tokens }) => tokens.sign({ ...UNBOUND, path: '/workspaces/other/app' }, TTL),
    outcome: refused('the token is for another namespace', 'wrong namespace'),
  },
  'one for no namespace': { token: async ({ tokens }) => tokens.sign({ ...UNBOUND, path: '/' }, TTL), outcome: refused('the token is for another namespace', 'wrong namespace') },
  'a huge one': { token: async () => 'a'.repeat(1_000_000), outcome: INVALID },
}
for (const [name, { token, outcome }] of Object.entries(BAD)) {
  await test(`a token that is not good: ${name}`, async (t) => {
    const bench = reviewBench()
    const given = await token(bench)
    t.strictSame(await bench.review(BTR, given === undefined ? {} : { token: given }), outcome)
    if (given !== undefined && given !== '') t.notOk(JSON.stringify(bench.log.lines).includes(given), 'it is not logged')
  })
}

await test('without signing keys no token is good', async (t) => {
  const token = await reviewBench().tokens.sign(CLAIMS, TTL)
  t.strictSame(await reviewBench({ withoutTokens: true }).review(BTR, { token }, { caller: ALICE }), INVALID)
})

await test('the token is never answered, and a bad one is no error of the request', async (t) => {
  t.strictSame(reviewBench().echo(BTR, { token: 'a.b.c' }), {})
  t.strictSame(reviewBench().problems(BTR, {}), [])
})

await test('used tokens are remembered until they are no good, as many as there is room for', async (t) => {
  let now = START
  const used = createUsedTokens({ now: () => now }, 2)
  t.equal(used.use('a', START + 300_000), 'now used')
  t.equal(used.use('b', START + 1_000), 'now used')
  t.equal(used.use('a', START + 300_000), 'used before')
  t.equal(used.use('c', START + 300_000), 'full', 'and c is not used by that')
  t.equal(used.isUsed('c'), false)
  now = START + 61_001
  t.equal(used.use('c', START + 300_000), 'now used', 'b made room, though a stands before it')
  t.strictSame(['a', 'b', 'c'].map((jti) => used.isUsed(jti)), [true, false, true])
  now = START + 360_001
  t.equal(used.use('d', START + 600_000), 'now used')
  t.strictSame(['a', 'c', 'd'].map((jti) => used.isUsed(jti)), [false, false, true])
})
