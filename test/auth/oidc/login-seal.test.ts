import fc from 'fast-check'
import { test } from 'tap'
import { createLoginSeal } from '../../../src/auth/oidc/login-seal.ts'
import { createTokens } from '../../../src/jwt/tokens.ts'
import { signingKey } from './browser.ts'

const NOW = Date.parse('2026-01-02T03:04:05Z')
const clock = { now: () => NOW }
const key = signingKey('1767323045', 1)
const ring = { signingKey: () => key, keyFor: (kid: string) => (kid === key.kid ? key : undefined) }
const LOGIN = { state: 's', nonce: 'n', verifier: 'v', origin: 'https://jupyter.test', location: '/lab', expiresAt: NOW + 600_000 }

await test('what is sealed is opened again, and holds nothing that can be read', async (t) => {
  const seal = createLoginSeal({ ring, clock })
  const sealed = (await seal.seal(LOGIN)) ?? ''
  t.strictSame(await seal.open(sealed), LOGIN)
  t.match(sealed, /^[\w.-]+$/, 'characters of a cookie')
  const readable = sealed.split('.').map((part) => Buffer.from(part, 'base64url').toString('latin1')).join()
  t.notMatch(readable, /jupyter|verifier|\/lab/)
  t.not(await seal.seal(LOGIN), sealed, 'never the same twice')
})

await test('without a key there is no sign-in', async (t) => {
  t.equal(await createLoginSeal({ ring: { signingKey: () => undefined, keyFor: () => undefined }, clock }).seal(LOGIN), undefined)
})

await test('a session token is no sealed sign-in, and the other way round', async (t) => {
  const tokens = createTokens({ ring, clock, issuer: 'workspaces-auth', audience: 'workspace-users', newId: () => 'id' })
  const seal = createLoginSeal({ ring, clock })
  const session = await tokens.sign({ user: 'alice', groups: [], path: '/lab', domain: 'jupyter.test', type: 'session' }, { ttlMs: 60_000 })
  t.equal(await seal.open(session), undefined)
  t.match(await tokens.verify((await seal.seal(LOGIN)) ?? ''), { ok: false })
})

await test('whatever else comes is none, and breaks nothing', async (t) => {
  const seal = createLoginSeal({ ring, clock })
  const sealed = (await seal.seal(LOGIN)) ?? ''
  const parts = sealed.split('.')
  const part = fc.oneof(fc.constantFrom(...parts), fc.base64String(), fc.string(), fc.json().map((json) => Buffer.from(json).toString('base64url')))
  const changed = fc.tuple(fc.nat(sealed.length - 1), fc.constantFrom('A', 'Z', 'a', 'z', '0', '9', '-', '_', '.', '=', '%', ' ')).map(([at, character]) => sealed.slice(0, at) + character + sealed.slice(at + 1))
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.string(), changed, fc.array(part, { minLength: 1, maxLength: 6 }).map((all) => all.join('.'))), async (text) => {
      // The last characters of a part may differ in bits that base64url does not use.
      const decoded = text.split('.').map((one) => Buffer.from(one, 'base64url').toString('hex')).join('.')
      const same = decoded === sealed.split('.').map((one) => Buffer.from(one, 'base64url').toString('hex')).join('.')
      return same || (await seal.open(text)) === undefined
    }),
    { numRuns: 2_000 },
  )
  t.pass()
})
