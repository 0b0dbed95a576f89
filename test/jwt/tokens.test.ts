import { createSecretKey, generateKeyPairSync, sign as signWith } from 'node:crypto'
import { test } from 'tap'
import { createTokens, MAX_TOKEN_LENGTH, type TokenClaims, type TokenFault } from '../../src/jwt/tokens.ts'
import { AUDIENCE, forged, GOOD_HEADER, GOOD_PAYLOAD, ISSUER, keyBytes, SESSION, START, tokenBench } from '../support/token-bench.ts'

const SECONDS = START / 1000
const TTL = { ttlMs: 3_600_000 }
const decoded = (token: string): unknown[] => token.split('.').slice(0, 2).map((part): unknown => JSON.parse(Buffer.from(part, 'base64url').toString()))

await test('a token says what the specification says, in its words', async (t) => {
  const { tokens } = tokenBench()
  const [header, payload] = decoded(await tokens.sign({ ...SESSION, skipRefresh: true }, TTL))
  t.strictSame(header, { alg: 'HS384', kid: '200', typ: 'JWT' })
  t.strictSame(payload, {
    iss: ISSUER,
    aud: [AUDIENCE],
    sub: 'alice',
    iat: SECONDS,
    nbf: SECONDS,
    exp: SECONDS + 3600,
    jti: 'id-1',
    User: 'alice',
    Groups: ['team-alice', 'system:authenticated'],
    Uid: 'u-1',
    Extra: { 'example.com/key': ['a', 'b'] },
    Path: '/workspaces/team-alice/app',
    Domain: 'ex.test:8443',
    Namespace: 'team-alice',
    TokenType: 'session',
    SkipRefresh: true,
  })
})

await test('claims that are empty are left out', async (t) => {
  const { tokens } = tokenBench()
  const [, payload] = decoded(await tokens.sign({ user: 'bob', groups: [], uid: '', extra: {}, path: '', domain: '', namespace: '', type: 'bootstrap', skipRefresh: false }, { ttlMs: 300_000 }))
  t.strictSame(payload, { iss: ISSUER, aud: [AUDIENCE], sub: 'bob', iat: SECONDS, nbf: SECONDS, exp: SECONDS + 300, jti: 'id-1', User: 'bob', TokenType: 'bootstrap' })
})

const CLAIMS: Record<string, TokenClaims> = {
  'a session': SESSION,
  'a bootstrap token': { ...SESSION, type: 'bootstrap', skipRefresh: true },
  'the least': { user: 'bob', groups: [], path: '', domain: '', type: 'bootstrap' },
  'names of all kinds': { user: 'a&b "ü" 🦊', groups: ['', 'a,b', '\u0000'], extra: { 'a/b': [], ['__proto__']: ['x'], 'a\nb': [''] }, path: '/é', domain: '[::1]:80', type: 'session' },
}
for (const [name, claims] of Object.entries(CLAIMS)) {
  await test(`what is signed is read again: ${name}`, async (t) => {
    const { tokens } = tokenBench()
    t.strictSame(await tokens.verify(await tokens.sign(claims, TTL)), { ok: true, token: { ...claims, jti: 'id-1', issuedAt: START, expiresAt: START + 3_600_000 } })
  })
}

await test('a token of a renewed session keeps when the user signed in', async (t) => {
  const { tokens } = tokenBench()
  const token = await tokens.sign(SESSION, { ...TTL, issuedAt: START - 7_200_000 })
  const [, payload] = decoded(token)
  t.match(payload, { iat: SECONDS - 7200, nbf: SECONDS, exp: SECONDS + 3600 })
  t.match(await tokens.verify(token), { ok: true, token: { issuedAt: START - 7_200_000, expiresAt: START + 3_600_000 } })
})

await test('each token has an id of its own', async (t) => {
  const { tokens } = tokenBench()
  const ids = await Promise.all([1, 2, 3].map(async () => tokens.verify(await tokens.sign(SESSION, TTL))))
  t.same(ids.map((reading) => reading.ok && reading.token.jti), ['id-1', 'id-2', 'id-3'])
})

await test('without a key nothing is signed', async (t) => {
  const { ring, tokens } = tokenBench()
  ring.remove('100')
  ring.remove('200')
  await t.rejects(tokens.sign(SESSION, TTL), { code: 'JWT_NO_KEY', message: 'there is no key to sign a token with: look at what readyz says of the signing keys' })
})

await test('what would not be read again is not signed', async (t) => {
  const { tokens } = tokenBench()
  const refused = { code: 'JWT_CLAIMS', message: 'a token cannot be made of these claims: a user name is missing, or a time is out of range' }
  await t.rejects(tokens.sign({ ...SESSION, user: '' }, TTL), refused)
  await t.rejects(tokens.sign(SESSION, { ttlMs: Number.NaN }), refused)
  await t.rejects(tokens.sign(SESSION, { ttlMs: Number.POSITIVE_INFINITY }), refused)
  const groups = Array.from({ length: 1_000 }, (_, index) => `a-group-of-many-${index}`)
  await t.rejects(tokens.sign({ ...SESSION, groups }, TTL), { code: 'JWT_CLAIMS', message: `the token would be longer than ${MAX_TOKEN_LENGTH} characters: the user has too many groups or extra attributes` })
})

await test('a token is good from its nbf to its exp, with a leeway of 5 s', async (t) => {
  const { tokens, moveTo } = tokenBench()
  const token = await tokens.sign(SESSION, { ttlMs: 60_000 })
  const at = async (seconds: number): Promise<string> => {
    moveTo(START + seconds * 1000)
    const reading = await tokens.verify(token)
    return reading.ok ? 'good' : reading.why
  }
  t.same([await at(-6), await at(-5), await at(0), await at(59), await at(60), await at(64.999), await at(65), await at(100_000)], ['claims', 'good', 'good', 'good', 'good', 'good', 'expired', 'expired'])
})

await test('old keys go on being good for what they signed, until they are removed', async (t) => {
  const { ring, tokens } = tokenBench()
  const before = await tokens.sign(SESSION, TTL)
  ring.add('300', keyBytes(3))
  const after = await tokens.sign(SESSION, TTL)
  t.match(decoded(after)[0], { kid: '300' })
  t.match([await tokens.verify(before), await tokens.verify(after)], [{ ok: true }, { ok: true }])
  ring.remove('200')
  t.match([await tokens.verify(before), await tokens.verify(after)], [{ ok: false, why: 'kid' }, { ok: true }])
  ring.add('200', keyBytes(9))
  t.same(await tokens.verify(before), { ok: false, why: 'signature' }, 'another key of the same name is another key')
})

await test('a token of the other half of the system is none here, also with the same keys', async (t) => {
  const { tokens, other } = tokenBench()
  const extension = other('workspaces-controller', 'workspaces-controller')
  const bootstrap = await extension.sign({ ...SESSION, type: 'bootstrap' }, TTL)
  const session = await tokens.sign(SESSION, TTL)
  t.same([await tokens.verify(bootstrap), await extension.verify(session)], [{ ok: false, why: 'claims' }, { ok: false, why: 'claims' }])
  t.match([await extension.verify(bootstrap), await tokens.verify(session)], [{ ok: true, token: { type: 'bootstrap' } }, { ok: true, token: { type: 'session' } }])
})

await test('what an attacker makes is told from ours by key, not by words: the forgery of a good token is good', async (t) => {
  const { tokens } = tokenBench()
  t.match(await tokens.verify(forged(GOOD_HEADER, GOOD_PAYLOAD)), { ok: true, token: { user: 'alice' } })
})

const unsigned = (header: object): string => `${forged(header, GOOD_PAYLOAD).split('.').slice(0, 2).join('.')}.`
const withHeader = (change: object): string => forged({ ...GOOD_HEADER, ...change }, GOOD_PAYLOAD)
const withPayload = (change: object): string => forged(GOOD_HEADER, { ...GOOD_PAYLOAD, ...change })
const without = (name: string): string => forged(GOOD_HEADER, Object.fromEntries(Object.entries(GOOD_PAYLOAD).filter(([key]) => key !== name)))
const good = forged(GOOD_HEADER, GOOD_PAYLOAD)
const [head = '', body = '', signature = ''] = good.split('.')
const rsa = (): string => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const signed = `${Buffer.from(JSON.stringify({ ...GOOD_HEADER, alg: 'RS256' })).toString('base64url')}.${body}`
  return `${signed}.${signWith('sha256', Buffer.from(signed), privateKey).toString('base64url')}`
}
const doubled = (name: string, value: unknown, later: boolean): string => {
  const twin = `"${name}":${JSON.stringify(value)}`
  const text = JSON.stringify(GOOD_PAYLOAD)
  return later ? `${text.slice(0, -1)},${twin}}` : `{${twin},${text.slice(1)}`
}
const nested = `${'{"a":'.repeat(5_000)}1${'}'.repeat(5_000)}`

const HOSTILE: Record<string, [token: string, why: TokenFault]> = {
  'empty': ['', 'malformed'],
  'no token at all': ['garbage', 'malformed'],
  'two dots alone': ['..', 'malformed'],
  'alg none, without a signature': [unsigned({ ...GOOD_HEADER, alg: 'none' }), 'malformed'],
  'alg none, with a signature': [withHeader({ alg: 'none' }), 'malformed'],
  'alg None': [withHeader({ alg: 'None' }), 'malformed'],
  'HS256 with the same key': [forged({ ...GOOD_HEADER, alg: 'HS256' }, GOOD_PAYLOAD, keyBytes(2), 'sha256'), 'malformed'],
  'HS512 with the same key': [forged({ ...GOOD_HEADER, alg: 'HS512' }, GOOD_PAYLOAD, keyBytes(2), 'sha512'), 'malformed'],
  'HS256 by its name, HS384 by its signature': [withHeader({ alg: 'HS256' }), 'malformed'],
  'RS256 of a key pair of somebody': [rsa(), 'malformed'],
  'RS256 by its name, our key as an HMAC key': [withHeader({ alg: 'RS256' }), 'malformed'],
  'no alg': [forged({ kid: '200', typ: 'JWT' }, GOOD_PAYLOAD), 'malformed'],
  'alg as a list': [withHeader({ alg: ['HS384'] }), 'malformed'],
  'another key': [forged(GOOD_HEADER, GOOD_PAYLOAD, keyBytes(7)), 'signature'],
  'an empty key': [forged(GOOD_HEADER, GOOD_PAYLOAD, new Uint8Array()), 'signature'],
  'the key that the kid does not name': [forged(GOOD_HEADER, GOOD_PAYLOAD, keyBytes(1)), 'signature'],
  'no kid': [forged({ alg: 'HS384', typ: 'JWT' }, GOOD_PAYLOAD), 'kid'],
  'an empty kid': [withHeader({ kid: '' }), 'kid'],
  'a kid that nobody knows': [withHeader({ kid: '300' }), 'kid'],
  'a kid as a path': [withHeader({ kid: '../../200' }), 'kid'],
  'a kid of a prototype': [withHeader({ kid: '__proto__' }), 'kid'],
  'a kid as a number': [withHeader({ kid: 200 }), 'kid'],
  'a kid as a list': [withHeader({ kid: ['200'] }), 'kid'],
  'a kid with a zero before it': [withHeader({ kid: '0200' }), 'kid'],
  'a kid with a space': [withHeader({ kid: '200 ' }), 'kid'],
  'a kid with a line end': [withHeader({ kid: '200\n' }), 'kid'],
  'a huge kid': [withHeader({ kid: '2'.repeat(8_000) }), 'kid'],
  'a key of its own in the header': [forged({ ...GOOD_HEADER, kid: '999', jwk: { kty: 'oct', k: Buffer.from(keyBytes(7)).toString('base64url') } }, GOOD_PAYLOAD, keyBytes(7)), 'kid'],
  'a key of its own beside a known kid': [forged({ ...GOOD_HEADER, jwk: { kty: 'oct', k: Buffer.from(keyBytes(7)).toString('base64url') }, jku: 'https://evil.test' }, GOOD_PAYLOAD, keyBytes(7)), 'signature'],
  'a critical extension that is not known': [withHeader({ crit: ['x'], x: 1 }), 'malformed'],
  'a payload that is not encoded': [withHeader({ crit: ['b64'], b64: false }), 'malformed'],
  'another typ': [withHeader({ typ: 'at+jwt' }), 'claims'],
  'no typ': [forged({ alg: 'HS384', kid: '200' }, GOOD_PAYLOAD), 'claims'],
  'a header that is a list': [forged([], GOOD_PAYLOAD), 'malformed'],
  'a header that is no JSON': [forged('{', GOOD_PAYLOAD), 'malformed'],
  'a header nested deep': [forged(nested, GOOD_PAYLOAD), 'malformed'],
  'two kids in the header, the last of them known': [forged('{"alg":"HS384","kid":"100","typ":"JWT","kid":"200"}', GOOD_PAYLOAD, keyBytes(1)), 'signature'],
  'a payload that is no JSON': [forged(GOOD_HEADER, '{'), 'malformed'],
  'a payload that is a list': [forged(GOOD_HEADER, []), 'malformed'],
  'a payload that is null': [forged(GOOD_HEADER, 'null'), 'malformed'],
  'a payload nested deep': [forged(GOOD_HEADER, `${'['.repeat(5_000)}${']'.repeat(5_000)}`), 'malformed'],
  'no exp': [without('exp'), 'claims'],
  'no nbf': [without('nbf'), 'claims'],
  'no iat': [without('iat'), 'claims'],
  'expired': [withPayload({ exp: SECONDS - 6 }), 'expired'],
  'of the future': [withPayload({ nbf: SECONDS + 6 }), 'claims'],
  'exp as a text': [withPayload({ exp: String(SECONDS + 60) }), 'claims'],
  'exp with a fraction': [withPayload({ exp: SECONDS + 60.5 }), 'claims'],
  'exp beyond all numbers': [forged(GOOD_HEADER, JSON.stringify(GOOD_PAYLOAD).replace(/"exp":\d+/, '"exp":1e999')), 'claims'],
  'exp in milliseconds': [withPayload({ exp: START + 60_000 }), 'claims'],
  'exp null': [withPayload({ exp: null }), 'claims'],
  'iat as a text': [withPayload({ iat: 'now' }), 'claims'],
  'iat negative': [withPayload({ iat: -1 }), 'claims'],
  'another issuer': [withPayload({ iss: 'workspaces-controller' }), 'claims'],
  'no issuer': [without('iss'), 'claims'],
  'the issuer as a list': [withPayload({ iss: [ISSUER] }), 'claims'],
  'another audience': [withPayload({ aud: ['workspaces-controller'] }), 'claims'],
  'issuer and audience swapped': [withPayload({ iss: AUDIENCE, aud: [ISSUER] }), 'claims'],
  'no audience': [without('aud'), 'claims'],
  'the audience as a text': [withPayload({ aud: AUDIENCE }), 'claims'],
  'two audiences': [withPayload({ aud: [AUDIENCE, 'workspaces-controller'] }), 'claims'],
  'the audience as an object': [withPayload({ aud: { 0: AUDIENCE, length: 1 } }), 'claims'],
  'no user': [without('User'), 'claims'],
  'an empty user': [withPayload({ User: '', sub: '' }), 'claims'],
  'the user as a number': [withPayload({ User: 5 }), 'claims'],
  'the user as a list': [withPayload({ User: ['alice'] }), 'claims'],
  'the user in lower case only': [forged(GOOD_HEADER, { ...GOOD_PAYLOAD, User: undefined, user: 'alice' }), 'claims'],
  'another subject than the user': [withPayload({ sub: 'bob' }), 'claims'],
  'no subject': [without('sub'), 'claims'],
  'groups as a text': [withPayload({ Groups: 'system:masters' }), 'claims'],
  'groups as an object': [withPayload({ Groups: { 0: 'a', length: 1 } }), 'claims'],
  'a group that is none': [withPayload({ Groups: ['a', 5] }), 'claims'],
  'groups null': [withPayload({ Groups: null }), 'claims'],
  'the uid as a number': [withPayload({ Uid: 5 }), 'claims'],
  'extra as a list': [withPayload({ Extra: ['a'] }), 'claims'],
  'extra with a text for a list': [withPayload({ Extra: { a: 'b' } }), 'claims'],
  'extra with a number in a list': [withPayload({ Extra: { a: [5] } }), 'claims'],
  'extra with a number under a name with a line end': [withPayload({ Extra: { 'a\nb': 5 } }), 'claims'],
  'extra of a prototype': [forged(GOOD_HEADER, doubled('Extra', {}, true).replace('"Extra":{}', '"Extra":{"__proto__":5}')), 'claims'],
  'the path as a list': [withPayload({ Path: ['/'] }), 'claims'],
  'the domain as null': [withPayload({ Domain: null }), 'claims'],
  'the namespace as a number': [withPayload({ Namespace: 1 }), 'claims'],
  'no type': [without('TokenType'), 'claims'],
  'another type': [withPayload({ TokenType: 'admin' }), 'claims'],
  'the type as a list': [withPayload({ TokenType: ['session'] }), 'claims'],
  'SkipRefresh as a text': [withPayload({ SkipRefresh: 'false' }), 'claims'],
  'an id that is a number': [withPayload({ jti: 5 }), 'claims'],
  'an empty id': [withPayload({ jti: '' }), 'claims'],
  'a claim that nobody knows': [withPayload({ Admin: true }), 'claims'],
  'a claim of a prototype': [forged(GOOD_HEADER, doubled('__proto__', { User: 'root' }, true)), 'claims'],
  'truncated by one': [good.slice(0, -1), 'malformed'],
  'without its signature': [`${head}.${body}.`, 'malformed'],
  'without its payload': [`${head}..${signature}`, 'malformed'],
  'two parts': [`${head}.${body}`, 'malformed'],
  'four parts': [`${good}.${signature}`, 'malformed'],
  'five parts, as an encrypted one has': [`${head}.${body}.${body}.${body}.${signature}`, 'malformed'],
  'a dot more at its end': [`${good}.`, 'malformed'],
  'a dot more at its beginning': [`.${good}`, 'malformed'],
  'a longer signature': [`${good}A`, 'malformed'],
  'padding': [`${good}=`, 'malformed'],
  'plain base64 in the signature': [`${head}.${body}.${'+/'.repeat(32)}`, 'malformed'],
  'a space before it': [` ${good}`, 'malformed'],
  'a line end after it': [`${good}\n`, 'malformed'],
  'a space inside': [`${head}.${body.slice(0, 4)} ${body.slice(4)}.${signature}`, 'malformed'],
  'a zero byte inside': [`${head}.${body}\0.${signature}`, 'malformed'],
  'letters that are not ASCII': [`${head}.${body}é.${signature}`, 'malformed'],
  'with its scheme': [`Bearer ${good}`, 'malformed'],
  'a megabyte': [`${head}.${'A'.repeat(1_048_576)}.${signature}`, 'malformed'],
  'a megabyte of dots': ['.'.repeat(1_048_576), 'malformed'],
  'one character longer than allowed': [`${head}.${'A'.repeat(MAX_TOKEN_LENGTH - head.length - signature.length - 1)}.${signature}`, 'malformed'],
  'as JSON': [JSON.stringify({ protected: head, payload: body, signature }), 'malformed'],
}
for (const [name, [token, why]] of Object.entries(HOSTILE)) {
  await test(`a hostile token: ${name}`, async (t) => {
    const { tokens } = tokenBench()
    t.same(await tokens.verify(token), { ok: false, why })
  })
}

await test('of a claim that is there twice the last counts, in the check as in what is read', async (t) => {
  const { tokens } = tokenBench()
  const reading = await tokens.verify(forged(GOOD_HEADER, doubled('Path', '/workspaces/other/app', true)))
  t.match(reading, { ok: true, token: { path: '/workspaces/other/app' } })
  t.match(await tokens.verify(forged(GOOD_HEADER, doubled('Path', '/workspaces/other/app', false))), { ok: true, token: { path: '/workspaces/ns/app' } })
  t.same(await tokens.verify(forged(GOOD_HEADER, doubled('exp', SECONDS - 60, true))), { ok: false, why: 'expired' })
  t.same(await tokens.verify(forged(GOOD_HEADER, doubled('User', 'root', true))), { ok: false, why: 'claims' })
})

await test('a token of the system that runs today is read: no id, no namespace', async (t) => {
  const { ring, clock } = tokenBench()
  const tokens = createTokens({ ring, clock, issuer: 'workspaces-controller', audience: 'workspaces-controller', newId: () => 'id' })
  const payload = { User: 'alice', Groups: ['g'], Uid: 'alice', Path: '/workspaces/ns/app', Domain: 'ex.test', TokenType: 'bootstrap', SkipRefresh: true, iss: 'workspaces-controller', sub: 'alice', aud: ['workspaces-controller'], exp: SECONDS + 300, nbf: SECONDS, iat: SECONDS }
  t.strictSame(await tokens.verify(forged(GOOD_HEADER, payload)), {
    ok: true,
    token: { user: 'alice', groups: ['g'], uid: 'alice', path: '/workspaces/ns/app', domain: 'ex.test', type: 'bootstrap', skipRefresh: true, jti: undefined, issuedAt: START, expiresAt: START + 300_000 },
  })
})

await test('node:crypto finds the same signature', async (t) => {
  const { tokens } = tokenBench()
  const token = await tokens.sign(SESSION, TTL)
  const [header, payload] = decoded(token)
  t.equal(createSecretKey(keyBytes(2)).symmetricKeySize, 48)
  t.equal(forged(header, payload), token)
})
