import fc from 'fast-check'
import { test } from 'tap'
import type { TokenClaims } from '../../src/jwt/tokens.ts'
import { forged, GOOD_HEADER, GOOD_PAYLOAD, keyBytes, SESSION, START, tokenBench } from '../support/token-bench.ts'

const TTL = { ttlMs: 3_600_000 }
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'.split('')
const good = forged(GOOD_HEADER, GOOD_PAYLOAD)

await test('every change of one character of a good token is refused', async (t) => {
  const { tokens } = tokenBench()
  const taken: string[] = []
  for (let at = 0; at < good.length; at += 1) {
    const others = at > good.lastIndexOf('.') ? ALPHABET : [...ALPHABET.slice(at % 8, (at % 8) + 4), '.', '=', ' ']
    const changed = others.filter((character) => character !== good[at]).map((character) => good.slice(0, at) + character + good.slice(at + 1))
    const readings = await Promise.all(changed.map((token) => tokens.verify(token)))
    taken.push(...changed.filter((_token, index) => readings[index]?.ok !== false))
  }
  t.same(taken, [])
  t.match(await tokens.verify(good), { ok: true })
})

const isText = (value: unknown): boolean => typeof value === 'string'

const piece = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.constantFrom('.', '..', '=', 'A', '\0', '\n', 'é', 'eyJhbGciOiJub25lIn0'))
const mutated = fc.oneof(
  fc.tuple(fc.nat(good.length), fc.nat(good.length), piece).map(([a, b, text]) => good.slice(0, Math.min(a, b)) + text + good.slice(Math.max(a, b))),
  fc.tuple(fc.nat(good.length), fc.nat(good.length)).map(([a, b]) => good.slice(a) + good.slice(0, b)),
  fc.array(piece, { maxLength: 8 }).map((parts) => parts.join('.')),
  fc.shuffledSubarray(good.split('.')).map((parts) => parts.join('.')),
  fc.string({ unit: 'binary', maxLength: 2_000 }),
)

await test('10,000 mutated tokens: none is good, none throws', async (t) => {
  const { tokens } = tokenBench()
  await fc.assert(
    fc.asyncProperty(mutated.filter((token) => token !== good), async (token) => !(await tokens.verify(token)).ok),
    { numRuns: 10_000 },
  )
  t.pass('held')
})

await test('headers and payloads of any shape, signed with our own key, never throw; what is good has the right types', async (t) => {
  const { tokens } = tokenBench()
  const claim = fc.constantFrom(...Object.keys(GOOD_PAYLOAD), 'Groups', 'Uid', 'Extra', 'Namespace', 'SkipRefresh', '__proto__', 'constructor', 'x')
  const header = fc.oneof({ weight: 3, arbitrary: fc.constant(GOOD_HEADER) }, fc.json(), fc.dictionary(fc.constantFrom('alg', 'kid', 'typ', 'crit', 'b64', 'x'), fc.jsonValue()).map((change) => ({ ...GOOD_HEADER, ...change })))
  const payload = fc.oneof(fc.json(), fc.dictionary(claim, fc.jsonValue(), { maxKeys: 3 }).map((change) => ({ ...GOOD_PAYLOAD, ...change })))
  let wasGood = 0
  await fc.assert(
    fc.asyncProperty(header, payload, async (head, body) => {
      const reading = await tokens.verify(forged(head, body))
      if (!reading.ok) return true
      wasGood += 1
      const { user, groups, uid, extra, path, domain, namespace, type, jti, issuedAt, expiresAt, skipRefresh } = reading.token
      return (
        [user, path, domain].every(isText) && user !== '' && [uid, namespace, jti].every((value) => value === undefined || isText(value)) && Array.isArray(groups) && groups.every(isText) &&
        (extra === undefined || Object.values(extra).every((values) => Array.isArray(values) && values.every(isText))) && ['session', 'bootstrap'].includes(type) &&
        Number.isSafeInteger(issuedAt) && Number.isSafeInteger(expiresAt) && expiresAt > START - 5_000 && (skipRefresh === undefined || skipRefresh)
      )
    }),
    { numRuns: 5_000 },
  )
  t.ok(wasGood > 100, `${wasGood} were good`)
})

const text = fc.string({ unit: 'binary', maxLength: 30 })
const filled = fc.string({ unit: 'binary', minLength: 1, maxLength: 30 })
const claims: fc.Arbitrary<TokenClaims> = fc.record(
  {
    user: filled,
    groups: fc.array(text, { maxLength: 6 }),
    path: text,
    domain: text,
    type: fc.constantFrom('session' as const, 'bootstrap' as const),
    uid: filled,
    extra: fc.dictionary(text, fc.array(text, { maxLength: 3 }), { minKeys: 1, maxKeys: 4, noNullPrototype: true }),
    namespace: filled,
    skipRefresh: fc.constant(true),
  },
  { requiredKeys: ['user', 'groups', 'path', 'domain', 'type'] },
)

await test('whatever is signed is read again as it was, with the keys it was signed with alone', async (t) => {
  await fc.assert(
    fc.asyncProperty(claims, fc.integer({ min: 1_000, max: 86_400_000 }), async (signed, ttlMs) => {
      const { ring, tokens, other } = tokenBench()
      const token = await tokens.sign(signed, { ttlMs })
      const reading = await tokens.verify(token)
      t.strictSame(reading, { ok: true, token: { ...signed, jti: 'id-1', issuedAt: START, expiresAt: Math.floor((START + ttlMs) / 1000) * 1000 } })
      t.same(await other('workspaces-controller', 'workspace-users').verify(token), { ok: false, why: 'claims' })
      ring.remove('200')
      t.same(await tokens.verify(token), { ok: false, why: 'kid' })
      ring.add('200', keyBytes(7))
      t.same(await tokens.verify(token), { ok: false, why: 'signature' })
    }),
    { numRuns: 200 },
  )
})

await test('a session signed by one key is never read by another', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 0, maxLength: 64 }), async (secret) => {
      const { tokens } = tokenBench()
      const isOurs = Buffer.from(secret).equals(Buffer.from(keyBytes(2)))
      return (await tokens.verify(forged(GOOD_HEADER, { ...GOOD_PAYLOAD, User: SESSION.user }, secret))).ok === isOurs
    }),
  )
  t.match(await tokenBench().tokens.verify(await tokenBench().tokens.sign(SESSION, TTL)), { ok: true })
})
