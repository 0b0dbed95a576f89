import { test } from 'tap'
import type { AuthSettings } from '../../src/auth/options.ts'
import { CodedError } from '../../src/errors.ts'
import type { TokenReviewAnswer } from '../../src/kube/ports.ts'
import { absent, APP, attributesOf, authWorld, claimsIn, denied, forwarded, HOST, line, whole, type AuthWorld, type WholeAnswer } from '../support/auth-world.ts'

const EXCHANGE = `${APP}/bearer-auth?token=boot.strap.token`
const USER = { user: 'alice', groups: ['team-a', 'system:authenticated'], uid: 'u-1', extra: { 'example.com/key': ['a'] } }
const GOOD: TokenReviewAnswer = { authenticated: true, path: APP, domain: HOST, user: USER }
const onPath: WholeAnswer = { code: 303, headers: { location: APP }, body: '' }
const { path: _path, ...withoutPath } = GOOD
const { domain: _domain, ...withoutDomain } = GOOD

interface Case {
  method?: 'GET' | 'POST'
  headers?: Record<string, string | string[]>
  settings?: AuthSettings
  review?: TokenReviewAnswer | Error
  world?: (world: AuthWorld) => void
  expected: WholeAnswer
}

const CASES: Record<string, Case> = {
  '1. another method': { method: 'POST', headers: {}, expected: line(405, 'Method not allowed', { allow: 'GET' }) },
  '2. no URI': { headers: {}, expected: line(400, 'Missing X-Forwarded-Uri header') },
  '2. no URI that can be read': { headers: forwarded('://invalid-url'), expected: line(400, 'Invalid forwarded URI: it must begin with a slash') },
  '3. no token': { headers: forwarded(`${APP}/bearer-auth`), expected: line(400, 'Missing token parameter') },
  '3. an empty token': { headers: forwarded(`${APP}/bearer-auth?token=`), expected: line(400, 'Missing token parameter') },
  '3. no token, and no host': { headers: { 'x-forwarded-uri': APP }, expected: line(400, 'Missing token parameter') },
  '3. two tokens': { headers: forwarded(`${EXCHANGE}&token=other`), expected: line(400, 'Invalid token parameter: it must be there once') },
  '3. Basic, and no way back to the parameter': { headers: { ...forwarded(EXCHANGE), authorization: 'Basic YWxpY2U6cHc=' }, expected: line(400, 'Invalid Authorization header') },
  '3. Bearer without a token': { headers: { ...forwarded(EXCHANGE), authorization: 'Bearer ' }, expected: line(400, 'Invalid Authorization header') },
  '4. no host': { headers: { 'x-forwarded-uri': EXCHANGE }, expected: line(400, 'Missing X-Forwarded-Host header') },
  '4. a host that is none': { headers: forwarded(EXCHANGE, 'ws.example.com/x'), expected: line(400, 'Invalid X-Forwarded-Host header') },
  '5. a path of no workspace': { headers: forwarded('/elsewhere?token=t'), expected: line(400, 'Failed to extract workspace info') },
  '6. the review fails': { review: new CodedError('KUBE_UNAVAILABLE', 'no answer'), expected: line(500, 'Token verification failed') },
  '7. not authenticated': { review: { authenticated: false, error: 'invalid or expired token' }, expected: line(401, 'Invalid token') },
  '8. another path': { review: { ...GOOD, path: '/workspaces/ns1/app2' }, expected: line(403, 'Token path mismatch') },
  '8. a shorter path': { review: { ...GOOD, path: '/workspaces/ns1' }, expected: line(403, 'Token path mismatch') },
  '8. all paths': { review: { ...GOOD, path: '/' }, expected: line(403, 'Token path mismatch') },
  '8. no path': { review: withoutPath, expected: line(403, 'Token path mismatch') },
  '8. the same path with a slash': { review: { ...GOOD, path: `${APP}/` }, expected: onPath },
  'another host': { review: { ...GOOD, domain: 'evil.test' }, expected: line(403, 'Token domain mismatch') },
  'the same host at another port': { review: { ...GOOD, domain: `${HOST}:8443` }, expected: line(403, 'Token domain mismatch') },
  'no host in the token': { review: withoutDomain, expected: line(403, 'Token domain mismatch') },
  'the host in capitals': { review: { ...GOOD, domain: 'WS.Example.com' }, expected: onPath },
  'a user of Kubernetes itself': { review: { ...GOOD, user: { user: 'system:admin', groups: [] } }, expected: line(403, 'Access denied: names that begin with "system:" are those of Kubernetes itself') },
  'not allowed any more': { world: (world) => world.answerAccess(denied), expected: line(403, 'Access denied: you are not authorized to connect to this workspace') },
  'a workspace that is gone': { world: (world) => world.answerAccess(absent), expected: line(403, 'Access denied: you are not authorized to connect to this workspace') },
  'the access review fails': { world: (world) => world.answerAccess(() => Promise.reject(new CodedError('KUBE_UNAVAILABLE', 'no answer'))), expected: line(500, 'Failed to verify workspace access') },
  '9. no key to sign with': {
    world: ({ ring }) => {
      ring.remove('100')
      ring.remove('200')
    },
    expected: line(500, 'Internal server error'),
  },
  'where it is switched off': { settings: { ENABLE_BEARER_URL_AUTH: 'false' }, expected: line(404, 'Not found') },
  '10. success': { expected: onPath },
  '10. success by a header': { headers: { ...forwarded(`${APP}/bearer-auth`), authorization: 'Bearer boot.strap.token' }, expected: onPath },
  '10. the header counts before the parameter': { headers: { ...forwarded(`${APP}/bearer-auth?token=other`), authorization: 'Bearer boot.strap.token' }, expected: onPath },
  '10. with subdomains': {
    settings: { ROUTING_MODE: 'subdomain' },
    headers: forwarded('/bearer-auth?token=boot.strap.token', 'mrswmylvnr2a-app1.example.com'),
    review: { ...GOOD, path: '/', domain: 'mrswmylvnr2a-app1.example.com' },
    expected: { code: 303, headers: { location: '/' }, body: '' },
  },
}

for (const [sentence, { method = 'GET', headers = forwarded(EXCHANGE), settings = {}, review = GOOD, world: prepare, expected }] of Object.entries(CASES)) {
  await test(`/bearer-auth: ${sentence}`, async (t) => {
    const world = authWorld(t, settings)
    world.answerToken((token) => (review instanceof Error ? Promise.reject(review) : Promise.resolve(token === 'boot.strap.token' ? review : { authenticated: false })))
    prepare?.(world)
    const { headers: got, ...answer } = whole(await world.app.inject({ method, url: '/bearer-auth', headers }))
    const { 'set-cookie': cookie, ...others } = got
    t.strictSame({ ...answer, headers: others }, expected)
    t.equal(cookie !== undefined, expected.code === 303, 'a cookie comes with success alone')
    t.notMatch(JSON.stringify(world.log.lines), /boot\.strap/, 'the token is not logged')
  })
}

await test('/bearer-auth: the token is reviewed in the namespace of the path, then the access of its user', async (t) => {
  const world = authWorld(t)
  world.answerToken(async () => GOOD)
  const response = await world.app.inject({ url: '/bearer-auth', headers: forwarded(EXCHANGE) })
  t.strictSame(world.tokensAsked, [{ namespace: 'ns1', token: 'boot.strap.token' }])
  t.strictSame(world.accessAsked, [{ workspace: { namespace: 'ns1', name: 'app1' }, identity: USER }])
  const cookie = response.headers['set-cookie']
  t.equal(attributesOf(cookie), 'workspace_auth=…; Path=/workspaces/ns1/app1; Max-Age=86400; HttpOnly; Secure; SameSite=Lax')
  t.match(claimsIn(cookie), { User: 'alice', Groups: USER.groups, Uid: 'u-1', Extra: USER.extra, Path: APP, Domain: HOST, TokenType: 'session' })
})

await test('/bearer-auth: two exchanges of one token at once are two reviews: a token is good for one of them', async (t) => {
  const world = authWorld(t)
  let used = false
  world.answerToken(async () => {
    if (used) return { authenticated: false, error: 'invalid or expired token' }
    used = true
    return GOOD
  })
  const answers = await Promise.all([1, 2].map(() => world.app.inject({ url: '/bearer-auth', headers: forwarded(EXCHANGE) })))
  t.strictSame(answers.map(({ statusCode }) => statusCode).toSorted((a, b) => a - b), [303, 401])
})
