import fc from 'fast-check'
import { test } from 'tap'
import { APP, authWorld, forwarded, HOST, line, whole, type AuthWorld, type WholeAnswer } from '../support/auth-world.ts'
import { forged, GOOD_HEADER, GOOD_PAYLOAD, keyBytes } from '../support/token-bench.ts'

const OPEN: WholeAnswer = { code: 200, headers: {}, body: '' }
const NO_SESSION = line(401, 'Unauthorized')
const OTHER_PATH = line(403, 'Path not authorized')
const OTHER_DOMAIN = line(403, 'Domain not authorized')
const FOREIGN = line(403, 'Request from another site refused')
const refusedUri = (why: string): WholeAnswer => line(400, `Invalid forwarded URI: ${why}`)

interface Case {
  method?: 'GET' | 'POST' | 'DELETE' | 'OPTIONS' | 'PROPFIND'
  headers?: Record<string, string | string[]>
  uri?: string
  host?: string
  cookie?: (world: AuthWorld) => Promise<string | string[]>
  body?: string
  expected: WholeAnswer
}

const own = ({ session }: AuthWorld): Promise<string> => session()
const claims = { ...GOOD_PAYLOAD, iss: 'workspaces-auth', aud: ['workspace-users'], Path: APP, Domain: HOST }
const hand = (header: object = GOOD_HEADER, payload: object = claims, secret?: Uint8Array, hash?: string) => async (): Promise<string> => `workspace_auth=${forged(header, payload, secret, hash)}`

const CASES: Record<string, Case> = {
  '1. no URI': { headers: { 'x-forwarded-host': HOST }, expected: line(400, 'Missing X-Forwarded-Uri header') },
  '1. no host': { headers: { 'x-forwarded-uri': APP }, expected: line(400, 'Missing X-Forwarded-Host header') },
  '2. no cookie': { expected: NO_SESSION },
  '2. other cookies': { cookie: async () => 'a=b; xworkspace_auth=c; workspace_auth_=d', expected: NO_SESSION },
  '2. an empty cookie': { cookie: async () => 'workspace_auth=', expected: NO_SESSION },
  '2. our cookie inside another one': { cookie: async (world) => `other="x ${await world.session()}"`, expected: NO_SESSION },
  '3. garbage': { cookie: async () => 'workspace_auth=garbage', expected: NO_SESSION },
  '3. a token by hand is a token': { cookie: hand(), expected: OPEN },
  '3. another key': { cookie: hand(GOOD_HEADER, claims, keyBytes(9)), expected: NO_SESSION },
  '3. another algorithm': { cookie: hand({ ...GOOD_HEADER, alg: 'HS256' }, claims, keyBytes(2), 'sha256'), expected: NO_SESSION },
  '3. no algorithm': { cookie: async () => `workspace_auth=${Buffer.from('{"alg":"none","kid":"200","typ":"JWT"}').toString('base64url')}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.`, expected: NO_SESSION },
  '3. an unknown key id': { cookie: hand({ ...GOOD_HEADER, kid: '300' }), expected: NO_SESSION },
  '3. no key id': { cookie: hand({ alg: 'HS384', typ: 'JWT' }), expected: NO_SESSION },
  '3. another issuer': { cookie: hand(GOOD_HEADER, { ...claims, iss: 'workspaces-controller' }), expected: NO_SESSION },
  '3. another audience': { cookie: hand(GOOD_HEADER, { ...claims, aud: ['workspaces-controller'] }), expected: NO_SESSION },
  '3. no end': { cookie: hand(GOOD_HEADER, { ...claims, exp: undefined }), expected: NO_SESSION },
  '3. expired': { cookie: hand(GOOD_HEADER, { ...claims, exp: claims.iat - 60 }), expected: NO_SESSION },
  '4. a bootstrap token of the extension': {
    cookie: async ({ otherTokens }) => `workspace_auth=${await otherTokens('workspaces-controller', 'workspaces-controller').sign({ user: 'alice', groups: [], path: APP, domain: HOST, type: 'bootstrap' }, { ttlMs: 60_000 })}`,
    expected: NO_SESSION,
  },
  '4. a bootstrap token of our own issuer': { cookie: ({ session }) => session({ type: 'bootstrap' }), expected: NO_SESSION },
  '5. the path itself': { cookie: own, uri: APP, expected: OPEN },
  '5. with a slash': { cookie: own, uri: `${APP}/`, expected: OPEN },
  '5. a path below': { cookie: own, uri: `${APP}/lab/tree/notes.ipynb?token=x#y`, expected: OPEN },
  '5. with escapes': { cookie: own, uri: `${APP}/files/a%20b%C3%A9.txt`, expected: OPEN },
  '5. with a letter of the path encoded': { cookie: own, uri: '/workspaces/ns1/%61pp1/lab', expected: OPEN },
  '5. a very long path': { cookie: own, uri: `${APP}/${'a'.repeat(8_000)}`, expected: OPEN },
  '5. another workspace': { cookie: own, uri: '/workspaces/ns1/app2', expected: OTHER_PATH },
  '5. another namespace': { cookie: own, uri: '/workspaces/ns2/app1', expected: OTHER_PATH },
  '5. a sister whose name begins the same': { cookie: own, uri: `${APP}-secret/lab`, expected: OTHER_PATH },
  '5. a shorter path': { cookie: own, uri: '/workspaces/ns1', expected: OTHER_PATH },
  '5. other capitals': { cookie: own, uri: '/workspaces/ns1/APP1', expected: OTHER_PATH },
  '5. up and over': { cookie: own, uri: `${APP}/../app2/lab`, expected: refusedUri('the path holds a dot segment') },
  '5. up and over, encoded': { cookie: own, uri: `${APP}/%2e%2e/app2/lab`, expected: refusedUri('the path holds a dot segment') },
  '5. up and over, encoded twice': { cookie: own, uri: `${APP}/%252e%252e/app2/lab`, expected: refusedUri('the path is encoded twice') },
  '5. up and over with an encoded slash': { cookie: own, uri: `${APP}/..%2fapp2/lab`, expected: refusedUri('the path holds an encoded slash or backslash') },
  '5. up and over with backslashes': { cookie: own, uri: `${APP}\\..\\app2`, expected: refusedUri('the path holds a character that must be percent-encoded') },
  '5. up and over with encoded backslashes': { cookie: own, uri: `${APP}%5c..%5capp2`, expected: refusedUri('the path holds an encoded slash or backslash') },
  '5. up and over with a parameter': { cookie: own, uri: `${APP}/..;/app2`, expected: refusedUri('the path holds a dot segment') },
  '5. two slashes': { cookie: own, uri: `${APP}//lab`, expected: refusedUri('the path holds an empty segment') },
  '5. another host in the path': { cookie: own, uri: `//evil.test${APP}`, expected: refusedUri('the path holds an empty segment') },
  '5. zero': { cookie: own, uri: `${APP}/a%00b`, expected: refusedUri('the path holds a control character') },
  '5. two headers, the own one first': { cookie: own, headers: { 'x-forwarded-uri': [`${APP}?a`, '/workspaces/ns1/app2'], 'x-forwarded-host': HOST }, expected: refusedUri('the query holds a space or a control character') },
  '5. a session without a path': { cookie: ({ session }) => session({ path: '' }), expected: OTHER_PATH },
  '6. another host': { cookie: own, host: 'evil.test', expected: OTHER_DOMAIN },
  '6. another port': { cookie: own, host: `${HOST}:8443`, expected: OTHER_DOMAIN },
  '6. the same host in capitals': { cookie: own, host: 'WS.Example.com', expected: OPEN },
  '6. two hosts': { cookie: own, headers: { 'x-forwarded-uri': APP, 'x-forwarded-host': [HOST, HOST] }, expected: line(400, 'Invalid X-Forwarded-Host header') },
  '6. a session without a host': { cookie: ({ session }) => session({ domain: '' }), expected: OTHER_DOMAIN },
  'http, while cookies are secure': { cookie: own, headers: { ...forwarded(APP), 'x-forwarded-proto': 'http' }, expected: line(400, 'X-Forwarded-Proto must be https: browsers send session cookies over https alone') },
  'a bad cookie does not hide a good one': { cookie: async (world) => `workspace_auth=garbage; ${await world.session()}`, expected: OPEN },
  'nor does one of another workspace': { cookie: async (world) => `${await world.session({ path: '/workspaces/ns1/app2' })}; a=b;${await world.session()}`, expected: OPEN },
  'nor one of another host': { cookie: async (world) => `${await world.session({ domain: 'evil.test' })}; ${await world.session()}`, expected: OPEN },
  'two Cookie headers': { cookie: async (world) => ['workspace_auth=garbage', await world.session()], expected: OPEN },
  'many cookies, none of them good': { cookie: async (world) => `workspace_auth=garbage; ${await world.session({ path: '/workspaces/ns1/app2' })}; ${await world.session({ domain: 'evil.test' })}; workspace_auth=x`, expected: OTHER_DOMAIN },
  'any method': { method: 'DELETE', cookie: own, expected: OPEN },
  'a method of WebDAV': { method: 'PROPFIND', cookie: own, expected: OPEN },
  'a body that the proxy passes on': { method: 'POST', headers: { ...forwarded(APP), 'content-type': 'application/json' }, cookie: own, body: '{"broken', expected: OPEN },
  'a form of another site': { method: 'POST', headers: { ...forwarded(APP), 'sec-fetch-site': 'cross-site' }, cookie: own, expected: FOREIGN },
  'a form of another site, the method as the proxy says it': { headers: { ...forwarded(APP), 'x-forwarded-method': 'POST', 'sec-fetch-site': 'same-site' }, cookie: own, expected: FOREIGN },
  'a form of this site': { headers: { ...forwarded(APP), 'x-forwarded-method': 'POST', 'sec-fetch-site': 'same-origin', origin: `https://${HOST}` }, cookie: own, expected: OPEN },
  'a link of another site': { headers: { ...forwarded(APP), 'x-forwarded-method': 'GET', 'sec-fetch-site': 'cross-site' }, cookie: own, expected: OPEN },
  'a POST to the proxy that asks with POST itself': { method: 'POST', headers: { ...forwarded(APP), 'x-forwarded-method': 'GET', origin: 'https://evil.test' }, cookie: own, expected: OPEN },
  'a WebSocket of another site': { headers: { ...forwarded(APP), upgrade: 'websocket', connection: 'upgrade', origin: 'https://evil.test' }, cookie: own, expected: FOREIGN },
  'a WebSocket of this site': { headers: { ...forwarded(APP), upgrade: 'websocket', 'sec-websocket-key': 'eA==', origin: `https://${HOST}` }, cookie: own, expected: OPEN },
  'without a session nobody learns of origins': { headers: { ...forwarded(APP), 'x-forwarded-method': 'POST', 'sec-fetch-site': 'cross-site' }, expected: NO_SESSION },
}

for (const [sentence, { method = 'GET', uri = APP, host = HOST, headers = forwarded(uri, host), cookie, body, expected }] of Object.entries(CASES)) {
  await test(`/verify: ${sentence}`, async (t) => {
    const world = authWorld(t)
    const sent = await cookie?.(world)
    const ask = async (): Promise<WholeAnswer> =>
      whole(await world.app.inject({ method, url: '/verify', headers: { ...headers, ...(sent === undefined ? {} : { cookie: sent }) }, ...(body === undefined ? {} : { payload: body }) }))
    t.strictSame(await ask(), expected)
    t.strictSame(await ask(), expected, 'the second time the token is remembered')
    t.strictSame([world.accessAsked, world.tokensAsked], [[], []], 'nobody is asked')
    t.notMatch(JSON.stringify(world.log.lines), /eyJ/, 'no token is logged')
  })
}

await test('/verify: a session ends with its time and with its key', async (t) => {
  const { app, session, time, ring } = authWorld(t)
  const cookie = await session()
  const code = async (): Promise<number> => (await app.inject({ url: '/verify', headers: { ...forwarded(APP), cookie } })).statusCode
  t.equal(await code(), 200)
  await time.advance(3_599_000)
  t.equal(await code(), 200)
  await time.advance(10_000)
  t.equal(await code(), 401)
  const { app: other, session: another, ring: keys } = authWorld(t)
  const kept = await another()
  keys.remove('100')
  t.equal((await other.inject({ url: '/verify', headers: { ...forwarded(APP), cookie: kept } })).statusCode, 200, 'another key went')
  keys.remove('200')
  t.equal((await other.inject({ url: '/verify', headers: { ...forwarded(APP), cookie: kept } })).statusCode, 401)
  t.equal(ring.generation, 2)
})

await test('/verify: without Secure cookies, plain http is taken', async (t) => {
  const { app, session } = authWorld(t, { COOKIE_SECURE: 'false' })
  const response = await app.inject({ url: '/verify', headers: { ...forwarded(APP), 'x-forwarded-proto': 'http', cookie: await session() } })
  t.equal(response.statusCode, 200)
})

const decode = (text: string): string => text.replace(/%([0-9a-f]{2})/gi, (_escape, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))

const resolveDots = (path: string): string => {
  const out: string[] = []
  for (const segment of path.split('/')) {
    if (segment === '..') out.pop()
    else if (segment !== '' && segment !== '.') out.push(segment)
  }
  return `/${out.join('/')}`
}

/** What a server may see in a path: decoded so many times, with either kind of slash, with and without parameters, resolved. */
const servedPaths = (uri: string): string[] => {
  const seen = new Set<string>()
  let path = uri.replace(/\?.*$/s, '')
  for (let turn = 0; turn < 4; turn += 1, path = decode(path)) {
    for (const form of [path, path.replaceAll('\\', '/'), path.replace(/;[^/]*/g, '')]) seen.add(resolveDots(form))
  }
  return [...seen]
}

const pieces = fc.array(
  fc.constantFrom('/', '//', '..', '.', '%2e', '%2E%2e', '%2f', '%252f', '%252e', '%5c', '%255c', '\\', '%00', 'workspaces', 'ns1', 'app1', 'app2', '-secret', ';', ';x', '?', '#', '%', '%25', '%61pp1', ' ', '%20'),
  { maxLength: 12 },
)

await test('/verify: whatever the path, what is opened is served from below the path of the session', async (t) => {
  const { app, session } = authWorld(t)
  const cookie = await session()
  let opened = 0
  const check = async (uri: string): Promise<void> => {
    const { statusCode } = await app.inject({ url: '/verify', headers: { ...forwarded(uri), cookie } })
    if (statusCode !== 200) return
    opened += 1
    // To a server that decodes nothing, %61pp1 is a name that no workspace has.
    for (const path of servedPaths(uri)) {
      if (path !== APP && !path.startsWith(`${APP}/`) && !path.includes('%61pp1')) throw new Error(`${uri} may be served as ${path}`)
    }
  }
  await fc.assert(fc.asyncProperty(fc.constantFrom('', '/', '/workspaces/', `${APP}/`, APP), pieces, (start, rest) => check(`${start}${rest.join('')}`)), { numRuns: 4_000 })
  t.ok(opened > 100, 'and something is opened')
})
