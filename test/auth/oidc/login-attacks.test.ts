/** What somebody does who wants to be signed in as another, to sign another in as himself, or to send a browser elsewhere. */
import fc from 'fast-check'
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose'
import { test } from 'tap'
import { createLoginSeal } from '../../../src/auth/oidc/login-seal.ts'
import { atIssuer, CALLBACK, createBrowser, HOST, LAB, loginUrl, signingKey, worldFor, type Answer, type Browser } from './browser.ts'
import { CLIENT_ID, freeServer, metadataAt, sendJson, type Teardown } from './issuers.ts'

const begin = async (browser: Browser): Promise<{ location: string; state: string; nonce: string; name: string; value: string }> => {
  const before = new Set(browser.cookies.keys())
  const { location } = await browser.get(loginUrl(LAB))
  const asked = new URL(location).searchParams
  const [name = '', value = ''] = [...browser.cookies].find(([one]) => !before.has(one)) ?? []
  return { location, state: asked.get('state') ?? '', nonce: asked.get('nonce') ?? '', name, value }
}

const NOT_UNDER_WAY = /^This sign-in has ended, or was begun in another browser: open the page that you wanted again$/
const isOver = (answer: Answer): boolean => answer.status === 400 && NOT_UNDER_WAY.test(answer.body)

await test("an attacker's code and state count for nothing in another browser (login CSRF)", async (t) => {
  const { app, signIns } = await worldFor(t)
  const [attacker, victim] = [createBrowser(app), createBrowser(app)]
  const back = await atIssuer((await begin(attacker)).location, { user: 'bob' })
  t.ok(isOver(await victim.get(back)))
  await begin(victim)
  t.ok(isOver(await victim.get(back)), 'also while the victim signs in')
  t.equal(victim.cookies.size, 1, "the victim's own sign-in goes on")
  t.strictSame(signIns, [])
})

await test("an attacker's code under the victim's state is of no use (code injection)", async (t) => {
  const { app, signIns } = await worldFor(t)
  const [attacker, victim] = [createBrowser(app), createBrowser(app)]
  const stolen = new URLSearchParams((await atIssuer((await begin(attacker)).location, { user: 'bob' })).split('?')[1])
  stolen.set('state', (await begin(victim)).state)
  t.match(await victim.get(`/callback?${stolen.toString()}`), { status: 401, body: /used already, or has expired/ })
  t.strictSame([signIns, victim.cookies.size], [[], 0])
})

await test('a cookie counts for its own state alone (cookie tossing)', async (t) => {
  const { app, signIns } = await worldFor(t)
  const [attacker, victim] = [createBrowser(app), createBrowser(app)]
  const [theirs, own] = [await begin(attacker), await begin(victim)]
  const back = await atIssuer(own.location, { user: 'alice' })
  const table: Record<string, string> = {
    "the attacker's value under the victim's name": `${own.name}=${theirs.value}`,
    'junk': `${own.name}=junk`,
    'nothing': `${own.name}=`,
    'the value under another name': `${theirs.name}=${own.value}`,
    'the name without its prefix, as a sister host may set it': `${own.name.replace('__Host-', '')}=${own.value}`,
    'the name in other letters': `${own.name.toUpperCase()}=${own.value}`,
  }
  for (const [name, cookie] of Object.entries(table)) t.ok(isOver(await victim.get(back, { cookie })), name)
  t.strictSame(signIns, [])
  const both = await victim.get(back, { cookie: `${own.name}=junk; ${own.name}=${theirs.value}; ${own.name}=${own.value}` })
  t.equal(both.status, 303, 'a tossed one does not hide the good one')
})

await test('a sealed sign-in is of its own key, host and ten minutes', async (t) => {
  const { app, keys, time, signIns } = await worldFor(t)
  const browser = createBrowser(app)
  const own = await begin(browser)
  const back = await atIssuer(own.location, { user: 'alice' })
  const login = { state: own.state, nonce: own.nonce, verifier: 'v'.repeat(43), origin: `https://${HOST}`, location: '/workspaces/evil', expiresAt: Date.now() + 60_000 }
  const foreign = createLoginSeal({ ring: { signingKey: () => signingKey(keys[0]?.kid ?? '', 9), keyFor: () => undefined }, clock: { now: () => Date.now() } })
  t.ok(isOver(await browser.get(back, { cookie: `${own.name}=${await foreign.seal(login)}` })), 'sealed with another key of the same name')
  const [head = '', ...rest] = own.value.split('.')
  for (const header of [{ alg: 'dir', enc: 'A256GCM' }, { alg: 'none' }, { alg: 'dir', enc: 'A256GCM', kid: 'other' }])
    t.ok(isOver(await browser.get(back, { cookie: `${own.name}=${[Buffer.from(JSON.stringify(header)).toString('base64url'), ...rest].join('.')}` })), JSON.stringify(header))
  t.ok(isOver(await browser.get(back, { cookie: `${own.name}=${[head, ...rest.slice(0, -1), 'AAAAAAAAAAAAAAAAAAAAAA'].join('.')}` })), 'another tag')
  t.ok(isOver(await browser.get(back, { cookie: `${own.name}=${new UnsecuredJWT(login).encode()}` })), 'not sealed at all')
  t.ok(isOver(await browser.get(back, { 'x-forwarded-host': 'other.test' })), 'at another host')
  time.ahead = 600_000
  t.ok(isOver(await browser.get(back)), 'after ten minutes')
  t.strictSame(signIns, [])
})

await test('a callback counts once', async (t) => {
  const { app, signIns } = await worldFor(t)
  const browser = createBrowser(app)
  const own = await begin(browser)
  const back = await atIssuer(own.location, { user: 'alice' })
  t.equal((await browser.get(back)).status, 303)
  t.ok(isOver(await browser.get(back)), 'the browser has no cookie for it any more')
  t.match(await browser.get(back, { cookie: `${own.name}=${own.value}` }), { status: 401, body: /used already, or has expired/ }, 'who kept the cookie gets nothing for the code')
  t.equal(signIns.length, 1)
})

await test('an answer that is none', async (t) => {
  const { app, issuer, signIns } = await worldFor(t)
  const table: Record<string, { query: (state: string) => string; status: number; says: RegExp }> = {
    'nothing': { query: () => '', status: 400, says: NOT_UNDER_WAY },
    'no state': { query: () => 'code=x', status: 400, says: NOT_UNDER_WAY },
    'two states': { query: (state) => `code=x&state=${state}&state=${state}`, status: 400, says: NOT_UNDER_WAY },
    'another state': { query: (state) => `code=x&state=${state.slice(0, -1)}${state.endsWith('A') ? 'B' : 'A'}`, status: 400, says: NOT_UNDER_WAY },
    'a state that is too long': { query: (state) => `code=x&state=${state}${'a'.repeat(9_000)}`, status: 400, says: NOT_UNDER_WAY },
    'another issuer (mix-up)': { query: (state) => `code=x&state=${state}&iss=https://evil.test`, status: 401, says: /cannot be accepted/ },
    'no issuer, of one that names itself': { query: (state) => `code=x&state=${state}`, status: 401, says: /cannot be accepted/ },
    'no code': { query: (state) => `state=${state}&iss=${issuer.url}`, status: 401, says: /cannot be accepted/ },
    'two codes': { query: (state) => `code=x&code=y&state=${state}&iss=${issuer.url}`, status: 401, says: /cannot be accepted/ },
    'a code that is made up': { query: (state) => `code=x&state=${state}&iss=${issuer.url}`, status: 401, says: /used already, or has expired/ },
    'a token in place of a code': { query: (state) => `id_token=x&state=${state}&iss=${issuer.url}`, status: 401, says: /cannot be accepted/ },
    'a refusal': { query: (state) => `error=access_denied&state=${state}&iss=${issuer.url}`, status: 403, says: /^The identity provider refused the sign-in$/ },
    'a refusal with more than that': { query: (state) => `error=%3Cscript%3Ealert(1)%3C/script%3E&error_description=evil&state=${state}&iss=${issuer.url}`, status: 403, says: /^The identity provider refused the sign-in$/ },
    'a refusal that will pass': { query: (state) => `error=temporarily_unavailable&state=${state}&iss=${issuer.url}`, status: 503, says: /^OIDC provider not available, try again$/ },
    'a refusal for no sign-in': { query: () => 'error=access_denied', status: 400, says: NOT_UNDER_WAY },
  }
  for (const [name, { query, status, says }] of Object.entries(table)) {
    const browser = createBrowser(app)
    const { state } = await begin(browser)
    const answer = await browser.get(`/callback?${query(state)}`)
    t.match([answer.status, answer.body, answer.headers['content-type']], [status, says, 'text/plain; charset=utf-8'], name)
    t.equal(browser.cookies.size, answer.status === 400 ? 1 : 0, `${name}: a sign-in that was answered is over, another goes on`)
    t.notMatch(answer.body, /evil|script/, name)
  }
  t.match(await createBrowser(app).get('/callback?code=x', { 'x-forwarded-proto': 'http' }), { status: 400, body: /must be https/ })
  t.strictSame(signIns, [])
})

await test('a user who turns back at the issuer is told so', async (t) => {
  const { browser } = await worldFor(t)
  const { location } = await begin(browser)
  t.match(await browser.get(await atIssuer(location, { deny: '1' })), { status: 403, body: 'The identity provider refused the sign-in' })
})

await test("names of Kubernetes' own do not get in, whoever the issuer says they are", async (t) => {
  const users = [
    { name: 'system:admin', sub: 'sub-1', groups: [] },
    { name: 'carol', sub: 'sub-2', groups: ['system:masters'] },
  ]
  const { browser, signIns, log } = await worldFor(t, { issuer: { users, redirectUris: [CALLBACK] } })
  for (const { name } of users) {
    const { location } = await begin(browser)
    t.match(await browser.get(await atIssuer(location, { user: name })), { status: 401, body: 'Invalid or expired OIDC token' }, name)
  }
  t.strictSame(signIns, [])
  const reasons = log.lines.flatMap(({ reason }) => (reason === undefined ? [] : [reason]))
  t.strictSame(reasons, ['preferred_username begins with "system:"', 'groups holds a name that begins with "system:"'])
})

const wrap = (idToken: unknown): object => ({ access_token: 'an-access-token', token_type: 'Bearer', id_token: idToken })

/** An issuer whose token endpoint answers what a test says. */
const issuerThatAnswers = async (t: Teardown) => {
  const server = await freeServer(t)
  const { privateKey, publicKey } = await generateKeyPair('RS256')
  const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: 'one' }] }
  const state: { token: (nonce: string) => Promise<unknown>; nonce: string; status: number } = { token: async () => undefined, nonce: '', status: 200 }
  const sign = (claims: object, key = privateKey): Promise<string> =>
    new SignJWT({ iss: server.url, sub: 'sub', aud: CLIENT_ID, preferred_username: 'alice', ...claims }).setProtectedHeader({ alg: 'RS256', kid: 'one' }).setIssuedAt().setExpirationTime('5m').sign(key)
  server.answer = (request, response) => {
    if (request.url === '/jwks') return sendJson(response, jwks)
    if (request.url !== '/token') return sendJson(response, metadataAt(server.url))
    void state.token(state.nonce).then((body) => response.writeHead(state.status, { 'content-type': 'application/json' }).end(JSON.stringify(body)))
  }
  return { server, state, sign }
}

await test("a token that the issuer hands out must be for this sign-in, and be the issuer's", async (t) => {
  const { server, state, sign } = await issuerThatAnswers(t)
  const { app, signIns, log } = await worldFor(t, { at: server.url })
  const { privateKey: other } = await generateKeyPair('RS256')
  const table: Record<string, { status: number; says: RegExp; token: (nonce: string) => Promise<unknown>; code?: number }> = {
    'a good one': { status: 303, says: /^$/, token: async (nonce) => wrap(await sign({ nonce })) },
    'of another sign-in': { status: 401, says: /cannot be accepted/, token: async () => wrap(await sign({ nonce: 'other' })) },
    'of no sign-in': { status: 401, says: /cannot be accepted/, token: async () => wrap(await sign({})) },
    'for another client': { status: 401, says: /cannot be accepted/, token: async (nonce) => wrap(await sign({ nonce, aud: 'other' })) },
    'for several clients, by another one': { status: 401, says: /cannot be accepted/, token: async (nonce) => wrap(await sign({ nonce, aud: [CLIENT_ID, 'other'], azp: 'other' })) },
    'of another issuer': { status: 401, says: /cannot be accepted/, token: async (nonce) => wrap(await sign({ nonce, iss: 'https://evil.test' })) },
    'signed by somebody else': { status: 401, says: /^Invalid or expired OIDC token$/, token: async (nonce) => wrap(await sign({ nonce }, other)) },
    'not signed': { status: 401, says: /cannot be accepted|Invalid or expired/, token: async (nonce) => wrap(new UnsecuredJWT({ iss: server.url, sub: 'sub', aud: CLIENT_ID, preferred_username: 'alice', nonce }).setIssuedAt().setExpirationTime('5m').encode()) },
    'without a name': { status: 401, says: /^Invalid or expired OIDC token$/, token: async (nonce) => wrap(await sign({ nonce, preferred_username: undefined })) },
    'none': { status: 401, says: /cannot be accepted/, token: async () => ({ access_token: 'an-access-token', token_type: 'Bearer' }) },
    'no text': { status: 401, says: /cannot be accepted/, token: async () => wrap({}) },
    'nothing that is expected': { status: 401, says: /cannot be accepted/, token: async () => 'hello' },
    'a refusal of the code': { status: 401, says: /used already, or has expired/, code: 400, token: async () => ({ error: 'invalid_grant' }) },
    'a refusal of the client': { status: 500, says: /does not accept this client/, code: 400, token: async () => ({ error: 'unauthorized_client', error_description: 'evil' }) },
    'a failure of the issuer': { status: 503, says: /^OIDC provider not available, try again$/, code: 502, token: async () => ({}) },
    'too many': { status: 503, says: /^OIDC provider not available, try again$/, code: 429, token: async () => ({}) },
    'a redirect': { status: 401, says: /cannot be accepted/, code: 302, token: async () => ({}) },
  }
  const secrets: string[] = []
  for (const [name, { status, says, token, code = 200 }] of Object.entries(table)) {
    const browser = createBrowser(app)
    const own = await begin(browser)
    Object.assign(state, { token, nonce: own.nonce, status: code })
    const answer = await browser.get(`/callback?code=a-code&state=${own.state}`)
    t.match([answer.status, answer.body], [status, says], name)
    t.equal(browser.cookies.has('workspace_auth'), status === 303, name)
    secrets.push(own.state, own.nonce, own.value)
  }
  t.equal(signIns.length, 1)
  const told = JSON.stringify(log.lines)
  t.notOk([...secrets, 'an-access-token', 'a-code', 'eyJ', 'evil'].some((secret) => told.includes(secret)), 'the log holds nothing of it')
  t.ok(told.includes('unauthorized_client'), 'but why it failed')
})

await test('an issuer that is away during a sign-in', async (t) => {
  const { browser, issuer } = await worldFor(t)
  const [first, second] = [await begin(browser), await begin(browser)]
  const back = await atIssuer(first.location, { user: 'alice' })
  await issuer.stop()
  t.match(await browser.get(back), { status: 503, body: 'OIDC provider not available, try again', headers: { 'retry-after': /\d/ } })
  t.equal((await browser.get(`/callback?error=access_denied&state=${second.state}&iss=${issuer.url}`)).status, 403)
})

await test('a client that the issuer does not take is a fault of the set-up, and says so', async (t) => {
  const secret = 'the-wrong-secret'
  const { browser, log } = await worldFor(t, { issuer: { clientSecret: 'the-right-secret' }, login: { clientSecret: secret } })
  const back = await atIssuer((await begin(browser)).location, { user: 'alice' })
  t.match(await browser.get(back), { status: 500, body: 'Internal server error: the identity provider does not accept this client' })
  t.notOk(JSON.stringify(log.lines).includes(secret))
})

await test('whatever comes to /callback and /login, nobody is let in by it, no browser is sent elsewhere, and nothing breaks', async (t) => {
  const { app, issuer, signIns } = await worldFor(t)
  const own = await begin(createBrowser(app))
  const header = fc.string({ unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)), maxLength: 60 })
  const word = fc.oneof(header, fc.constantFrom(own.state, own.nonce, own.value, issuer.url, '//evil.test', '/\\evil.test', LAB, ''))
  const name = fc.constantFrom('code', 'state', 'iss', 'error', 'rd', 'response', 'id_token', 'x')
  const query = fc.oneof(
    header.map(encodeURI),
    fc.array(fc.tuple(name, word), { maxLength: 6 }).map((pairs) => new URLSearchParams(pairs).toString()),
  )
  const cookie = fc.array(fc.tuple(fc.oneof(fc.constant(own.name), header), word), { maxLength: 4 }).map((pairs) => pairs.map(([one, value]) => `${one}=${value}`).join('; '))
  await fc.assert(
    fc.asyncProperty(fc.constantFrom('/callback', '/login'), query, cookie, async (path, text, cookies) => {
      const answer = await app.inject({ method: 'GET', url: `${path}?${text}`, headers: { 'x-forwarded-host': HOST, 'x-forwarded-proto': 'https', cookie: cookies } })
      const to = answer.headers.location
      const isGood = path === '/login' && answer.statusCode === 303 ? new URL(to ?? '').origin === issuer.url : to === undefined && answer.statusCode >= 400
      return isGood && answer.statusCode !== 500
    }),
    { numRuns: 2_000 },
  )
  t.strictSame(signIns, [])
})
