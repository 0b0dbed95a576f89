import { exportSPKI, generateKeyPair, importJWK, SignJWT, UnsecuredJWT, exportJWK, type JWTHeaderParameters } from 'jose'
import { test } from 'tap'
import { CLIENT_ID, freeServer, issuerFor, metadataAt, sendJson, tokensOf } from './issuers.ts'

const now = (): number => Math.floor(Date.now() / 1000)
const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')

await test('a token of the issuer is good, and says who it is about', async (t) => {
  const issuer = await issuerFor(t)
  const { idTokens } = await tokensOf(t, issuer.url, { usernamePrefix: 'gh:' })
  t.equal(idTokens.ready, true)
  const exp = now() + 100
  t.strictSame(await idTokens.verify(await issuer.idToken('alice', { exp })), { ok: true, claims: { subject: 'sub-alice', username: 'gh:alice', groups: ['team-a', 'team-b'], expiresAt: exp * 1000 } })
  t.match(await idTokens.verify(await issuer.idToken('bob', { aud: ['other', CLIENT_ID] })), { ok: true, claims: { groups: [] } })
})

await test('what makes a token of the issuer bad', async (t) => {
  const issuer = await issuerFor(t)
  const { idTokens } = await tokensOf(t, issuer.url)
  const table: Record<string, { claims: object; why: string }> = {
    'made for another client': { claims: { aud: 'other' }, why: 'claim aud' },
    'made for nobody': { claims: { aud: undefined }, why: 'claim aud' },
    'made by another issuer': { claims: { iss: 'https://evil.test' }, why: 'claim iss' },
    "the issuer's name with a slash after it": { claims: { iss: `${issuer.url}/` }, why: 'claim iss' },
    'a second past its end': { claims: { exp: now() - 1 }, why: 'expired' },
    'long past its end': { claims: { exp: now() - 1_000 }, why: 'expired' },
    'without an end': { claims: { exp: undefined }, why: 'claim exp' },
    'with an end that is no number': { claims: { exp: '9999999999' }, why: 'claim exp' },
    'not good before six minutes from now': { claims: { nbf: now() + 360 }, why: 'claim nbf' },
    'without a subject': { claims: { sub: undefined }, why: 'claim sub' },
    'without a name': { claims: { preferred_username: undefined }, why: 'preferred_username is missing or no name' },
    'with an empty name': { claims: { preferred_username: '' }, why: 'preferred_username is missing or no name' },
    "with a name of Kubernetes' own": { claims: { preferred_username: 'system:admin' }, why: 'preferred_username begins with "system:"' },
    'with groups as text': { claims: { groups: 'team-a' }, why: 'groups is no list' },
    "with a group of Kubernetes' own": { claims: { groups: ['system:masters'] }, why: 'groups holds a name that begins with "system:"' },
  }
  for (const [name, { claims, why }] of Object.entries(table)) t.strictSame(await idTokens.verify(await issuer.idToken('alice', claims)), { ok: false, kind: 'invalid', why }, name)
  t.match(await idTokens.verify(await issuer.idToken('alice', { nbf: now() + 240 })), { ok: true }, 'the clock of the issuer may be a few minutes ahead')
})

await test('the end of a token is the end, to the second', async (t) => {
  const issuer = await issuerFor(t)
  let time = Date.now()
  const exp = Math.floor(time / 1000) + 60
  const { idTokens } = await tokensOf(t, issuer.url, { now: () => time })
  const token = await issuer.idToken('alice', { exp })
  time = exp * 1000 - 1
  t.match(await idTokens.verify(token), { ok: true })
  time = exp * 1000
  t.strictSame(await idTokens.verify(token), { ok: false, kind: 'invalid', why: 'expired' })
})

await test('a nonce that is expected must be there', async (t) => {
  const issuer = await issuerFor(t)
  const { idTokens } = await tokensOf(t, issuer.url)
  const token = await issuer.idToken('alice', { nonce: 'mine' })
  t.match(await idTokens.verify(token, { nonce: 'mine' }), { ok: true })
  t.strictSame(await idTokens.verify(token, { nonce: 'other' }), { ok: false, kind: 'invalid', why: 'claim nonce' })
  t.strictSame(await idTokens.verify(await issuer.idToken('alice'), { nonce: 'mine' }), { ok: false, kind: 'invalid', why: 'claim nonce' })
})

await test('tokens that somebody else made', async (t) => {
  const issuer = await issuerFor(t)
  const { idTokens, log } = await tokensOf(t, issuer.url)
  const good = await issuer.idToken('alice')
  const [head = '', body = '', signature = ''] = good.split('.')
  const { keys } = (await (await fetch(`${issuer.url}/jwks`)).json()) as { keys: [{ kid: string }] }
  const [{ kid }] = keys
  const claims = { iss: issuer.url, sub: 'sub-alice', aud: CLIENT_ID, exp: now() + 100, preferred_username: 'alice' }
  const publicKey = await importJWK(keys[0], 'RS256', { extractable: true })
  if (publicKey instanceof Uint8Array) throw new Error('it must be a public key')
  const shared = new TextEncoder().encode(await exportSPKI(publicKey))
  const { privateKey } = await generateKeyPair('RS256')
  const signed = (header: JWTHeaderParameters, key: Parameters<SignJWT['sign']>[0]): Promise<string> => new SignJWT(claims).setProtectedHeader(header).sign(key)
  const table: Record<string, { token: string; why: string }> = {
    'alg none': { token: new UnsecuredJWT(claims).encode(), why: 'algorithm' },
    'alg none, with the signature left on': { token: `${encode({ alg: 'none', kid })}.${body}.${signature}`, why: 'algorithm' },
    'alg None': { token: `${encode({ alg: 'None', kid })}.${body}.${signature}`, why: 'algorithm' },
    'HS256 with the public key as the secret': { token: await signed({ alg: 'HS256', kid }, shared), why: 'algorithm' },
    'HS384 with the public key as the secret': { token: await signed({ alg: 'HS384', kid }, shared), why: 'algorithm' },
    'an algorithm that the issuer does not use': { token: await signed({ alg: 'RS384', kid }, (await generateKeyPair('RS384')).privateKey), why: 'algorithm' },
    'another key under the same name': { token: await signed({ alg: 'RS256', kid }, privateKey), why: 'signature' },
    'another key under its own name': { token: await signed({ alg: 'RS256', kid: 'mine' }, privateKey), why: 'unknown key' },
    'another key without a name': { token: await signed({ alg: 'RS256' }, privateKey), why: 'signature' },
    'another key that comes along': { token: await signed({ alg: 'RS256', kid, jwk: { kty: 'RSA', e: 'AQAB', n: 'AQAB' }, jku: 'https://evil.test/jwks' }, privateKey), why: 'signature' },
    'other claims under the signature': { token: `${head}.${encode({ ...claims, preferred_username: 'root' })}.${signature}`, why: 'signature' },
    'no signature': { token: `${head}.${body}.`, why: 'signature' },
    'an access token': { token: await signed({ alg: 'RS256', kid, typ: 'at+jwt' }, privateKey), why: 'another kind of token' },
    'a header nobody knows': { token: await signed({ alg: 'RS256', kid, typ: 'JWT' }, privateKey), why: 'signature' },
    'two parts': { token: `${head}.${body}`, why: 'malformed' },
    'four parts': { token: `${good}.x`, why: 'malformed' },
    'nothing': { token: '', why: 'malformed' },
    'no token at all': { token: 'Bearer', why: 'malformed' },
    'a header that is no JSON': { token: `${Buffer.from('{').toString('base64url')}.${body}.${signature}`, why: 'malformed' },
    'one without end': { token: `${head}.${'A'.repeat(40_000)}.${signature}`, why: 'malformed' },
  }
  for (const [name, { token, why }] of Object.entries(table)) t.strictSame(await idTokens.verify(token), { ok: false, kind: 'invalid', why }, name)
  const told = JSON.stringify(log.lines)
  t.notOk([good, body, 'alice'].some((secret) => told.includes(secret)), 'nothing of them is logged')
})

await test('a key that is new at the issuer is fetched, one that it took away is believed no longer than it says', async (t) => {
  const issuer = await issuerFor(t)
  const { idTokens } = await tokensOf(t, issuer.url, { keyTimes: { cooldownMs: 0 } })
  const before = await issuer.idToken('alice')
  await issuer.rotateKeys()
  t.match(await idTokens.verify(await issuer.idToken('alice')), { ok: true }, 'the new key')
  t.match(await idTokens.verify(before), { ok: true }, 'the one before it is still published')
  await issuer.rotateKeys({ keepPrevious: false })
  t.match(await idTokens.verify(await issuer.idToken('alice')), { ok: true })
  t.strictSame(await idTokens.verify(before), { ok: false, kind: 'invalid', why: 'unknown key' })
})

await test('a token that comes from the token endpoint is never told that its key is unknown because the keys were fetched a moment ago', async (t) => {
  const issuer = await issuerFor(t)
  const { idTokens } = await tokensOf(t, issuer.url, { keyTimes: { cooldownMs: 60_000 } })
  await issuer.rotateKeys()
  const token = await issuer.idToken('alice', { nonce: 'mine' })
  t.strictSame(await idTokens.verify(token), { ok: false, kind: 'invalid', why: 'unknown key' }, 'tokens that somebody made up do not make us ask the issuer each time')
  t.match(await idTokens.verify(token, { nonce: 'mine' }), { ok: true })
})

/** An issuer of the test's own, with keys that it may leave unnamed. */
const ownIssuer = async (t: Parameters<typeof freeServer>[0], keyCount: number) => {
  const server = await freeServer(t)
  const pairs = await Promise.all(Array.from({ length: keyCount }, () => generateKeyPair('RS256', { extractable: true })))
  const jwks = { keys: await Promise.all(pairs.map(async ({ publicKey }) => exportJWK(publicKey))) }
  const sign = (index: number): Promise<string> =>
    new SignJWT({ preferred_username: 'alice' }).setProtectedHeader({ alg: 'RS256' }).setSubject('sub').setIssuer(server.url).setAudience(CLIENT_ID).setExpirationTime('5m').sign(pairs[index]?.privateKey ?? new Uint8Array())
  server.answer = (request, response) => sendJson(response, request.url === '/jwks' ? jwks : metadataAt(server.url))
  return { server, sign, jwks }
}

await test('keys without names are each tried', async (t) => {
  const { server, sign, jwks } = await ownIssuer(t, 3)
  const { idTokens } = await tokensOf(t, server.url)
  for (const index of [0, 1, 2]) t.match(await idTokens.verify(await sign(index)), { ok: true })
  jwks.keys.pop()
  const { idTokens: others } = await tokensOf(t, server.url)
  t.strictSame(await others.verify(await sign(2)), { ok: false, kind: 'invalid', why: 'signature' })
})

await test('verifications at the same moment share one fetch of the keys', async (t) => {
  const { server, sign } = await ownIssuer(t, 1)
  const { idTokens } = await tokensOf(t, server.url, { keyTimes: { maxAgeMs: 0 } })
  const token = await sign(0)
  const before = server.asked.length
  const readings = await Promise.all(Array.from({ length: 50 }, () => idTokens.verify(token)))
  t.equal(readings.filter(({ ok }) => ok).length, 50)
  t.equal(server.asked.length - before, 1)
})

await test('an outage of the issuer is no fault of the token', async (t) => {
  const issuer = await issuerFor(t)
  const { idTokens } = await tokensOf(t, issuer.url, { keyTimes: { cooldownMs: 0 } })
  const known = await issuer.idToken('alice')
  await issuer.rotateKeys()
  const unknown = await issuer.idToken('alice')
  const bad = `${known.slice(0, -8)}AAAAAAAA`
  await issuer.stop()
  t.match(await idTokens.verify(known), { ok: true }, 'with keys that are there nobody has to be asked')
  t.strictSame(await idTokens.verify(bad), { ok: false, kind: 'invalid', why: 'signature' })
  t.match(await idTokens.verify(unknown), { ok: false, kind: 'unavailable', why: /keys of the OIDC issuer cannot be had/ })
  t.match(await idTokens.verify(await Promise.resolve(new UnsecuredJWT({}).encode())), { ok: false, kind: 'invalid', why: 'algorithm' })
  t.equal(idTokens.ready, true, 'sessions that exist need no issuer')
})

await test('keys that are too old count for nothing while the issuer is away, and do again when it is back', async (t) => {
  const { server, sign } = await ownIssuer(t, 1)
  const { idTokens, log } = await tokensOf(t, server.url, { keyTimes: { maxAgeMs: 0, pauseMs: 0 } })
  const token = await sign(0)
  const sound = server.answer
  for (const [name, answer] of Object.entries<typeof sound>({
    '503': (_request, response) => response.writeHead(503).end(),
    '404': (_request, response) => response.writeHead(404).end(),
    'a cut connection': (request) => request.socket.destroy(),
    'no JSON': (_request, response) => response.end('<html>'),
    'no key set': (_request, response) => sendJson(response, { keys: 'none' }),
    'a redirect': (_request, response) => response.writeHead(302, { location: `${server.url}/elsewhere` }).end(),
    'an answer without end': (_request, response) => response.end('x'.repeat(2 * 1024 * 1024)),
  })) {
    server.answer = answer
    t.match(await idTokens.verify(token), { ok: false, kind: 'unavailable' }, name)
  }
  t.notOk(server.asked.includes('/elsewhere'), 'a redirect is not followed')
  server.answer = sound
  t.match(await idTokens.verify(token), { ok: true })
  t.notOk(JSON.stringify(log.lines).includes(token))
})

await test('an issuer that does not answer is given up after a while, and not asked again at once', async (t) => {
  const { server, sign } = await ownIssuer(t, 1)
  const { idTokens } = await tokensOf(t, server.url, { keyTimes: { maxAgeMs: 0, pauseMs: 60_000 }, requestMs: 100 })
  const token = await sign(0)
  server.answer = () => {}
  t.match(await idTokens.verify(token), { ok: false, kind: 'unavailable', why: /no answer within 0.1 s/ })
  const before = server.asked.length
  t.match(await idTokens.verify(token), { ok: false, kind: 'unavailable', why: /a moment ago/ })
  t.equal(server.asked.length, before)
})
