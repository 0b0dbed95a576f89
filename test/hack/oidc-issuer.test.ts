import { createHash } from 'node:crypto'
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose'
import { test } from 'tap'
import { createCodes } from '../../hack/oidc-issuer/codes.ts'
import { startOidcIssuer, type OidcIssuerOptions } from '../../hack/oidc-issuer/issuer.ts'

const REDIRECT = 'https://jupyter.test/callback'
const VERIFIER = 'a-verifier-of-at-least-forty-three-characters'
const CHALLENGE = createHash('sha256').update(VERIFIER).digest('base64url')
const USERS = [
  { name: 'alice', sub: 'sub-alice', groups: ['team-a'] },
  { name: 'bob', sub: 'sub-bob', groups: [] },
]

type T = { teardown(end: () => Promise<void>): void }

const start = async (t: T, more: Partial<OidcIssuerOptions> = {}) => {
  const issuer = await startOidcIssuer({ users: USERS, clientId: 'gate', redirectUris: [REDIRECT], ...more })
  t.teardown(() => issuer.stop())
  return issuer
}

const ASKED = { client_id: 'gate', redirect_uri: REDIRECT, response_type: 'code', scope: 'openid profile', state: 'the-state', nonce: 'the-nonce', code_challenge: CHALLENGE, code_challenge_method: 'S256' }

const post = (url: string, form: Record<string, string>, headers: Record<string, string> = {}) =>
  fetch(url, { method: 'POST', body: new URLSearchParams(form), headers, redirect: 'manual' })

const locationOf = (answer: Response): URL => new URL(answer.headers.get('location') ?? 'https://no.location.invalid')

const pick = async (url: string, user: string, more: Record<string, string> = {}): Promise<URL> => locationOf(await post(`${url}/authorize`, { ...ASKED, user, ...more }))

const codeFor = async (url: string, user: string): Promise<string> => (await pick(url, user)).searchParams.get('code') ?? ''

const redeem = (url: string, code: string, more: Record<string, string> = {}, headers: Record<string, string> = {}) =>
  post(`${url}/token`, { grant_type: 'authorization_code', code, redirect_uri: REDIRECT, code_verifier: VERIFIER, client_id: 'gate', ...more }, headers)

const json = async (answer: Response): Promise<Record<string, unknown>> => (await answer.json()) as Record<string, unknown>

await test('discovery names the issuer itself and endpoints at it alone', async (t) => {
  const { url } = await start(t)
  const found = await json(await fetch(`${url}/.well-known/openid-configuration`))
  t.equal(found['issuer'], url)
  for (const name of ['authorization_endpoint', 'token_endpoint', 'jwks_uri']) t.ok(String(found[name]).startsWith(`${url}/`), name)
  t.match(url, /^http:\/\/127\.0\.0\.1:\d+$/)
})

await test('the page offers each user, and says nothing that was sent to it as HTML', async (t) => {
  const { url } = await start(t)
  const answer = await fetch(`${url}/authorize?${new URLSearchParams({ ...ASKED, state: '"><script>alert(1)</script>' }).toString()}`)
  const page = await answer.text()
  t.equal(answer.status, 200)
  for (const { name } of USERS) t.ok(page.includes(`value="${name}"`), name)
  t.notOk(page.includes('<script>'))
})

for (const algorithm of ['RS256', 'ES256'] as const) {
  await test(`a code becomes an ID token that the published keys prove (${algorithm})`, async (t) => {
    const { url } = await start(t, { algorithm })
    const back = await pick(url, 'alice')
    t.strictSame([back.origin + back.pathname, back.searchParams.get('state'), back.searchParams.get('iss')], [REDIRECT, 'the-state', url])
    const answer = await redeem(url, back.searchParams.get('code') ?? '')
    t.equal(answer.status, 200)
    t.equal(answer.headers.get('cache-control'), 'no-store')
    const { id_token: token } = await json(answer)
    const { payload, protectedHeader } = await jwtVerify(String(token), createRemoteJWKSet(new URL(`${url}/jwks`)), { issuer: url, audience: 'gate' })
    t.equal(protectedHeader.alg, algorithm)
    t.match(payload, { sub: 'sub-alice', preferred_username: 'alice', groups: ['team-a'], nonce: 'the-nonce' })
  })
}

await test('a user without groups has no such claim', async (t) => {
  const issuer = await start(t)
  t.notOk('groups' in decodeJwt(await issuer.idToken('bob')))
  await t.rejects(issuer.idToken('nobody'), /knows no user/)
})

await test('what is asked of /authorize', async (t) => {
  const { url } = await start(t)
  const table: Record<string, { more: Record<string, string>; page?: RegExp; error?: string }> = {
    'of another client is answered by a page': { more: { client_id: 'other' }, page: /no such client/ },
    'for a redirect URI that is not registered is answered by a page': { more: { redirect_uri: 'https://evil.test/callback' }, page: /redirect URI/ },
    'for a redirect URI with something after it is answered by a page': { more: { redirect_uri: `${REDIRECT}/more` }, page: /redirect URI/ },
    'for an unknown user is answered by a page': { more: { user: 'mallory' }, page: /no such user/ },
    'with plain PKCE is refused': { more: { code_challenge_method: 'plain' }, error: 'invalid_request' },
    'without PKCE is refused': { more: { code_challenge: '' }, error: 'invalid_request' },
    'for a token is refused': { more: { response_type: 'token' }, error: 'unsupported_response_type' },
    'without openid is refused': { more: { scope: 'profile' }, error: 'invalid_scope' },
    'and turned back is told so': { more: { deny: '1' }, error: 'access_denied' },
  }
  for (const [name, { more, page, error }] of Object.entries(table)) {
    const answer = await post(`${url}/authorize`, { ...ASKED, user: 'alice', ...more })
    if (page !== undefined) {
      t.equal(answer.status, 400, name)
      t.match(await answer.text(), page, name)
      t.equal(answer.headers.get('location'), null, name)
    } else {
      const back = locationOf(answer)
      t.strictSame([back.origin, back.searchParams.get('error'), back.searchParams.get('state'), back.searchParams.has('code')], ['https://jupyter.test', error, 'the-state', false], name)
    }
  }
  const twice = await fetch(`${url}/authorize?${new URLSearchParams(ASKED).toString()}&state=other`)
  t.match([twice.status, await twice.text()], [400, /twice/])
})

await test('a code is good once, for the one redirect URI and verifier that it was made for', async (t) => {
  const { url } = await start(t)
  const code = await codeFor(url, 'alice')
  t.equal((await redeem(url, code)).status, 200)
  const again = await redeem(url, code)
  t.strictSame([again.status, await json(again)], [400, { error: 'invalid_grant' }])
  const table: Record<string, Record<string, string>> = {
    'another verifier': { code_verifier: `${VERIFIER}x` },
    'no verifier': { code_verifier: '' },
    'the challenge in place of the verifier': { code_verifier: CHALLENGE },
    'another redirect URI': { redirect_uri: 'https://jupyter.test/other' },
  }
  for (const [name, more] of Object.entries(table)) {
    const fresh = await codeFor(url, 'alice')
    t.equal((await redeem(url, fresh, more)).status, 400, name)
    t.equal((await redeem(url, fresh)).status, 400, `${name}: the code is used up by it`)
  }
})

await test('a code ends after a minute', async (t) => {
  let now = 0
  const codes = createCodes(() => now)
  const grant = { user: 'alice', redirectUri: REDIRECT, challenge: CHALLENGE, nonce: undefined }
  const [early, late] = [codes.make(grant), codes.make(grant)]
  now = 59_999
  t.match(codes.redeem(early, REDIRECT, VERIFIER), { user: 'alice' })
  now = 60_000
  t.equal(codes.redeem(late, REDIRECT, VERIFIER), undefined)
})

const encode = (text: string): string => new URLSearchParams({ v: text }).toString().slice(2)
const basic = (id: string, secret: string): Record<string, string> => ({ authorization: `Basic ${Buffer.from(`${encode(id)}:${encode(secret)}`).toString('base64')}` })

await test('a client with a secret has to show it, in the header or in the form', async (t) => {
  const { url } = await start(t, { clientSecret: 's%cret: with +' })
  const table: Record<string, { status: number; form?: Record<string, string>; headers?: Record<string, string> }> = {
    'in the header': { status: 200, headers: basic('gate', 's%cret: with +') },
    'in the form': { status: 200, form: { client_secret: 's%cret: with +' } },
    'in both': { status: 401, form: { client_secret: 's%cret: with +' }, headers: basic('gate', 's%cret: with +') },
    'no secret': { status: 401 },
    'a wrong one in the header': { status: 401, headers: basic('gate', 'other') },
    'a wrong one in the form': { status: 401, form: { client_secret: 'other' } },
    'of another client': { status: 401, headers: basic('other', 's%cret: with +') },
    'a header that is none': { status: 401, headers: { authorization: 'Basic !!' } },
  }
  for (const [name, { status, form, headers }] of Object.entries(table)) t.equal((await redeem(url, await codeFor(url, 'alice'), form, headers)).status, status, name)
})

await test('a public client shows no secret', async (t) => {
  const { url } = await start(t)
  t.equal((await redeem(url, await codeFor(url, 'alice'), { client_secret: 'made up' })).status, 401)
  t.equal((await redeem(url, await codeFor(url, 'alice'), { client_id: 'other' })).status, 401)
  t.equal((await redeem(url, await codeFor(url, 'alice'), { grant_type: 'password' })).status, 400)
})

await test('keys rotate: the new one signs, the one before it stays published unless it is taken away', async (t) => {
  const issuer = await start(t)
  const kids = async (): Promise<string[]> => ((await json(await fetch(`${issuer.url}/jwks`)))['keys'] as { kid: string }[]).map(({ kid }) => kid)
  const kidOf = async (): Promise<string> => decodeProtectedHeader(await issuer.idToken('alice')).kid ?? ''
  const first = await kidOf()
  await issuer.rotateKeys()
  const second = await kidOf()
  t.not(first, second)
  t.strictSame(await kids(), [second, first])
  await issuer.rotateKeys({ keepPrevious: false })
  t.strictSame(await kids(), [await kidOf()])
})
