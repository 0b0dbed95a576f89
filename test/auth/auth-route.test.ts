import { test } from 'tap'
import type { IdTokenReading } from '../../src/auth/oidc/id-tokens.ts'
import type { AuthSettings } from '../../src/auth/options.ts'
import { CodedError } from '../../src/errors.ts'
import { absent, APP, attributesOf, authWorld, claimsIn, denied, forwarded, HOST, line, whole, type AuthWorld, type WholeAnswer } from '../support/auth-world.ts'
import { START } from '../support/token-bench.ts'

const BEARER = { authorization: 'Bearer good-id-token' }
const OK: WholeAnswer = { code: 200, headers: { 'content-type': 'application/json' }, body: '{}' }
const DENIED = line(403, 'Access denied: you are not authorized to connect to this workspace')
const BAD_GROUPS = line(401, 'Groups verification failed')

interface Case {
  method?: 'GET' | 'POST' | 'HEAD' | 'PUT'
  headers?: Record<string, string | string[]>
  settings?: AuthSettings
  world?: (world: AuthWorld) => void
  expected: WholeAnswer
}

const whenIdTokenIs =
  (reading: IdTokenReading) =>
  (world: AuthWorld): void =>
    world.idToken('good-id-token', reading)
const idOf = (username: string, groups: string[] = []): IdTokenReading => ({ ok: true, claims: { subject: `uid of ${username}`, username, groups, expiresAt: START + 1000 } })
const named = (username: string, groups: string[] = []): ((world: AuthWorld) => void) => whenIdTokenIs(idOf(username, groups))

const CASES: Record<string, Case> = {
  '1. another method': { method: 'POST', headers: {}, expected: line(405, 'Method not allowed', { allow: 'GET' }) },
  '1. HEAD': { method: 'HEAD', expected: { ...line(405, 'Method not allowed', { allow: 'GET' }), body: '' } },
  '2. no URI': { headers: { 'x-forwarded-host': HOST }, expected: line(400, 'Missing X-Forwarded-Uri header') },
  '2. no URI and nothing else': { headers: {}, expected: line(400, 'Missing X-Forwarded-Uri header') },
  '3. no host': { headers: { 'x-forwarded-uri': APP }, expected: line(400, 'Missing X-Forwarded-Host header') },
  '3. a URI that is none': { headers: forwarded(`${APP}/../app2`), expected: line(400, 'Invalid forwarded URI: the path holds a dot segment') },
  '3. two URIs': { headers: { ...BEARER, 'x-forwarded-uri': [APP, '/workspaces/ns1/app2'], 'x-forwarded-host': HOST }, expected: line(400, 'Invalid forwarded URI: the path holds a character that must be percent-encoded') },
  '3. two hosts': { headers: { ...BEARER, 'x-forwarded-uri': APP, 'x-forwarded-host': [HOST, 'evil.test'] }, expected: line(400, 'Invalid X-Forwarded-Host header') },
  '3. http, while cookies are secure': { headers: { ...forwarded(APP), ...BEARER, 'x-forwarded-proto': 'http' }, expected: line(400, 'X-Forwarded-Proto must be https: browsers send session cookies over https alone') },
  '4. no Authorization': { headers: forwarded(APP), expected: line(401, 'Missing Authorization header') },
  '4. an empty Authorization': { headers: { ...forwarded(APP), authorization: '' }, expected: line(401, 'Missing Authorization header') },
  '5. the issuer is not there': { world: (world) => world.issuerReady(false), expected: line(500, 'Internal server error: OIDC verifier not initialized') },
  '6. Basic': { headers: { ...forwarded(APP), authorization: 'Basic YWxpY2U6cHc=' }, expected: line(400, 'Invalid Authorization header') },
  '6. no token': { headers: { ...forwarded(APP), authorization: 'Bearer ' }, expected: line(400, 'Invalid Authorization header') },
  '6. lower case': { headers: { ...forwarded(APP), authorization: 'bearer good-id-token' }, expected: line(400, 'Invalid Authorization header') },
  '6. two spaces': { headers: { ...forwarded(APP), authorization: 'Bearer  good-id-token' }, expected: line(400, 'Invalid Authorization header') },
  '6. two tokens': { headers: { ...forwarded(APP), authorization: 'Bearer good-id-token other' }, expected: line(400, 'Invalid Authorization header') },
  '6. two headers': { headers: { ...forwarded(APP), authorization: ['Bearer good-id-token', 'Bearer other'] }, expected: line(400, 'Invalid Authorization header') },
  '7a. an outage of the issuer': { world: whenIdTokenIs({ ok: false, kind: 'unavailable', why: 'no keys' }), expected: line(503, 'OIDC provider not available', { 'retry-after': '5' }) },
  '7b. an invalid token': { world: whenIdTokenIs({ ok: false, kind: 'invalid', why: 'expired' }), expected: line(401, 'Invalid or expired OIDC token') },
  '7b. no name': { world: named(''), expected: line(401, 'Invalid or expired OIDC token') },
  '8. another user name': { headers: { ...forwarded(APP), ...BEARER, 'x-auth-request-preferred-username': 'someone' }, expected: line(401, 'Username mismatch between token and headers') },
  '8. a user name with the prefix already': { headers: { ...forwarded(APP), ...BEARER, 'x-auth-request-preferred-username': 'github:valid-user' }, expected: line(401, 'Username mismatch between token and headers') },
  '8. two user names': { headers: { ...forwarded(APP), ...BEARER, 'x-auth-request-preferred-username': ['valid-user', 'valid-user'] }, expected: line(401, 'Username mismatch between token and headers') },
  '9. another subject': { headers: { ...forwarded(APP), ...BEARER, 'x-auth-request-user': 'other-uid' }, expected: line(401, 'UID verification failed') },
  '10. a group that the token has not': { headers: { ...forwarded(APP), ...BEARER, 'x-auth-request-groups': 'org1:team1,org1:team3' }, expected: BAD_GROUPS },
  '10. groups that cannot be read': { headers: { ...forwarded(APP), ...BEARER, 'x-auth-request-groups': '"org1:team1' }, expected: BAD_GROUPS },
  '10. everybody, where the issuer’s users are not counted in': { headers: { ...forwarded(APP), ...BEARER, 'x-auth-request-groups': 'system:authenticated' }, expected: BAD_GROUPS },
  '8-10. headers that agree': {
    headers: { ...forwarded(APP), ...BEARER, 'x-auth-request-preferred-username': 'valid-user', 'x-auth-request-user': 'user-uid', 'x-auth-request-groups': 'org1:team2 "org1:team1"' },
    expected: OK,
  },
  '8-10. headers without a value': { headers: { ...forwarded(APP), ...BEARER, 'x-auth-request-preferred-username': '', 'x-auth-request-user': '', 'x-auth-request-groups': ' ' }, expected: OK },
  'a user of Kubernetes itself': { world: named('system:admin'), expected: line(403, 'Access denied: names that begin with "system:" are those of Kubernetes itself') },
  'a group of Kubernetes itself': { world: named('alice', ['system:masters']), expected: line(403, 'Access denied: names that begin with "system:" are those of Kubernetes itself') },
  'everybody’s group, not asked for': { world: named('alice', ['system:authenticated']), expected: line(403, 'Access denied: names that begin with "system:" are those of Kubernetes itself') },
  'everybody’s group, asked for': { settings: { OIDC_ADD_AUTHENTICATED_GROUP: 'true' }, world: named('alice', ['system:authenticated']), expected: OK },
  '12. a path of no workspace': { headers: { ...forwarded('/elsewhere'), ...BEARER }, expected: line(400, 'Failed to extract workspace info') },
  '12. a namespace that is none': { headers: { ...forwarded('/workspaces/Team_A/app'), ...BEARER }, expected: line(400, 'Failed to extract workspace info') },
  '12. the review fails': { world: (world) => world.answerAccess(() => Promise.reject(new CodedError('KUBE_UNAVAILABLE', 'no answer'))), expected: line(500, 'Failed to verify workspace access') },
  '13. not allowed': { world: (world) => world.answerAccess(denied), expected: DENIED },
  '13. no such workspace looks the same': { world: (world) => world.answerAccess(absent), expected: DENIED },
  '13. allowed to a workspace that is not there': { world: (world) => world.answerAccess(async () => ({ allowed: true, notFound: true, reason: '' })), expected: DENIED },
  '14. no key to sign with': {
    world: ({ ring }) => {
      ring.remove('100')
      ring.remove('200')
    },
    expected: line(500, 'Internal server error'),
  },
  'too many groups for a cookie': {
    world: named('alice', Array.from({ length: 150 }, (_, index) => `organisation:team-number-${index}`)),
    expected: line(500, 'The session does not fit into a cookie: you are in too many groups; ask your administrator'),
  },
  'too many groups for any token': {
    world: named('alice', Array.from({ length: 1_000 }, (_, index) => `organisation:team-number-${index}`)),
    expected: line(500, 'The session does not fit into a cookie: you are in too many groups; ask your administrator'),
  },
  'where it is switched off': { settings: { ENABLE_OAUTH: 'false', OIDC_ISSUER_URL: '', OIDC_CLIENT_ID: '' }, expected: line(404, 'Not found') },
  '15. success': { expected: OK },
}

for (const [sentence, { method = 'GET', headers = { ...forwarded(APP), ...BEARER }, settings = {}, world: prepare, expected }] of Object.entries(CASES)) {
  await test(`/auth: ${sentence}`, async (t) => {
    const world = authWorld(t, settings)
    prepare?.(world)
    const response = await world.app.inject({ method, url: '/auth', headers })
    const { headers: got, ...answer } = whole(response)
    const { 'set-cookie': cookie, ...others } = got
    t.strictSame({ ...answer, headers: others }, expected)
    t.equal(cookie !== undefined, expected.code === 200, 'a cookie comes with success alone')
    t.notMatch(JSON.stringify(world.log.lines), /good-id-token|eyJ/, 'no token is logged')
  })
}

await test('/auth: the review asks about the token’s user, and the session is for that user, path and host', async (t) => {
  const world = authWorld(t)
  const response = await world.app.inject({ url: '/auth', headers: { ...forwarded(`${APP}/lab?reset`, 'WS.example.com:8443'), ...BEARER, 'x-forwarded-proto': 'https', 'x-auth-request-groups': 'org1:team1' } })
  t.strictSame(world.accessAsked, [
    { workspace: { namespace: 'ns1', name: 'app1' }, identity: { user: 'github:valid-user', groups: ['github:org1:team1', 'github:org1:team2'], uid: 'user-uid' } },
  ])
  const cookie = response.headers['set-cookie']
  t.equal(attributesOf(cookie), 'workspace_auth=…; Path=/workspaces/ns1/app1; Max-Age=86400; HttpOnly; Secure; SameSite=Lax')
  const seconds = START / 1000
  t.strictSame(claimsIn(cookie), {
    iss: 'workspaces-auth',
    aud: ['workspace-users'],
    sub: 'github:valid-user',
    iat: seconds,
    nbf: seconds,
    exp: seconds + 3600,
    jti: 'id-1',
    User: 'github:valid-user',
    Groups: ['github:org1:team1', 'github:org1:team2'],
    Uid: 'user-uid',
    Path: '/workspaces/ns1/app1',
    Domain: 'ws.example.com:8443',
    TokenType: 'session',
  })
  t.match(world.log.messages(), ['info signed in'])
  t.notMatch(JSON.stringify(world.log.lines), /org1:team1|reset/, 'neither groups nor the query are logged')
  const verified = await world.app.inject({ url: '/verify', headers: { ...forwarded(`${APP}/lab`, 'ws.example.com:8443'), cookie: String(cookie).split(';')[0] ?? '' } })
  t.equal(verified.statusCode, 200)
})

/** As a login proxy sends it, and node:http reads it. */
const utf8 = (text: string): string => Buffer.from(text).toString('latin1')

await test('/auth: names of any script agree with the headers of a login proxy', async (t) => {
  const world = authWorld(t)
  world.idToken('good-id-token', { ok: true, claims: { subject: 'uid', username: 'github:zoë', groups: ['github:équipe'], expiresAt: START + 1000 } })
  const headers = { ...forwarded(APP), ...BEARER, 'x-auth-request-preferred-username': utf8('zoë'), 'x-auth-request-groups': utf8('équipe') }
  t.strictSame((await world.app.inject({ url: '/auth', headers })).statusCode, 200)
})

await test('/auth: a cookie that is too long is told to the administrator', async (t) => {
  const world = authWorld(t)
  named('alice', Array.from({ length: 150 }, (_, index) => `organisation:team-number-${index}`))(world)
  await world.app.inject({ url: '/auth', headers: { ...forwarded(APP), ...BEARER } })
  t.match(world.log.lines, [
    { user: 'alice', groups: 150, bytes: Number, msg: 'the session cookie would be longer than the 4096 bytes that browsers keep: have the issuer put fewer groups into its tokens, or shorter names' },
  ])
})

await test('/auth: 1,000 first visits at once to one workspace make one review for each user, and none is lost', async (t) => {
  const world = authWorld(t)
  const users = 50
  for (let user = 0; user < users; user += 1) world.idToken(`token-${user}`, idOf(`user-${user}`))
  const open = Promise.withResolvers<void>()
  world.answerAccess(async () => {
    await open.promise
    return { allowed: true, notFound: false, reason: '' }
  })
  const visits = Array.from({ length: 1_000 }, (_, index) => world.app.inject({ url: '/auth', headers: { ...forwarded(APP), authorization: `Bearer token-${index % users}` } }))
  await world.time.advance(100)
  open.resolve()
  const answers = await Promise.all(visits)
  t.ok(answers.every(({ statusCode, headers }) => statusCode === 200 && headers['set-cookie'] !== undefined))
  t.equal(world.accessAsked.length, users)
  t.equal(new Set(answers.map(({ headers }) => claimsIn(headers['set-cookie'])['jti'])).size, 1_000, 'each visit has a session of its own')
  await world.time.advance(1_000)
  await world.app.inject({ url: '/auth', headers: { ...forwarded(APP), authorization: 'Bearer token-1' } })
  t.equal(world.accessAsked.length, users + 1, 'a second later it is asked anew')
})

await test('/auth: 1,000 users at once wait for their turn, and none is lost', async (t) => {
  const world = authWorld(t)
  for (let user = 0; user < 1_000; user += 1) world.idToken(`token-${user}`, idOf(`user-${user}`))
  let underWay = 0
  let most = 0
  world.answerAccess(async () => {
    underWay += 1
    most = Math.max(most, underWay)
    await new Promise<void>((resolve) => setImmediate(resolve))
    underWay -= 1
    return { allowed: true, notFound: false, reason: '' }
  })
  const answers = await Promise.all(Array.from({ length: 1_000 }, (_, index) => world.app.inject({ url: '/auth', headers: { ...forwarded(APP), authorization: `Bearer token-${index}` } })))
  t.equal(answers.filter(({ statusCode }) => statusCode === 200).length, 1_000)
  t.equal(world.accessAsked.length, 1_000)
  t.equal(most, 64)
})

await test('/auth: who waits too long for a turn is asked to come again', async (t) => {
  const world = authWorld(t)
  world.answerAccess(() => new Promise(() => undefined))
  for (let user = 0; user < 200; user += 1) world.idToken(`token-${user}`, idOf(`user-${user}`))
  const visits = Array.from({ length: 200 }, (_, index) => world.app.inject({ url: '/auth', headers: { ...forwarded(APP), authorization: `Bearer token-${index}` } }))
  await world.time.advance(10_000)
  const answers = (await Promise.all(visits)).map(whole)
  const failed = answers.filter(({ code }) => code === 500)
  const crowded = answers.filter(({ code }) => code === 503)
  t.equal(failed.length, 64, 'those that were asked and got no answer within 5 s')
  t.equal(crowded.length, 136, 'the others are told so in time')
  t.strictSame(failed[0], line(500, 'Failed to verify workspace access'))
  t.strictSame(crowded[0], line(503, 'Too many sign-ins at once, try again', { 'retry-after': '2' }))
})
