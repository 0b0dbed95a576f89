/** The example for Traefik, really run: Traefik's own server reads the shipped objects from a real API server. */
import { once } from 'node:events'
import { t, test } from 'tap'
import { atIssuer } from '../auth/oidc/browser.ts'
import { eventually } from '../support/eventually.ts'
import { PATH_TRICKS } from '../support/path-tricks.ts'
import { startTraefik } from '../support/traefik.ts'
import { cookieOf, linkToken, upgradeTo, webWorld } from '../support/web-world.ts'

// Traefik may have to be built first.
t.setTimeout(20 * 60_000)

const OWN = '/workspaces/team-a/own'
const OTHER = '/workspaces/team-a/other'
const EVIL = 'https://evil.example.com'
// A session is prolonged at its first visit.
const world = await webWorld(t, { JWT_REFRESH_ENABLE: 'true', JWT_EXPIRATION: '10m', JWT_REFRESH_WINDOW: '10m' }, { startProxy: startTraefik })
const { visit, host, upstream } = world
const cookie = await world.session('alice', OWN)

await test('without a session the answer is 401 and a page that leads to the issuer, from where the browser comes back with one', async (subtest) => {
  const page = `${OWN}/lab?reset&x=a%20b&y=1%2F2`
  const first = await visit(page)
  subtest.equal(first.code, 401)
  const issuer = /<meta http-equiv="refresh" content="0;url=([^"]+)">/.exec(first.body)?.[1]?.replaceAll('&amp;', '&') ?? ''
  subtest.equal(new URL(issuer).origin, world.issuer.url)
  const [pending = ''] = [first.headers['set-cookie'] ?? []].flat()
  subtest.match(pending, /^__Host-[^=]+=.*; Path=\/; .*Secure/)
  const callback = await atIssuer(issuer, { user: 'alice' })
  const back = await visit(callback, { cookie: pending.split(';')[0] ?? '' })
  subtest.strictSame([back.code, back.headers['location']], [303, page])
  subtest.strictSame(upstream.news(), [], 'nothing of all that reached the Workspace')
  subtest.equal((await visit(page, { cookie: cookieOf(back) ?? '' })).code, 200)
  subtest.match(upstream.news(), [{ method: 'GET', url: page }])
  subtest.equal((await visit(page, { headers: { 'sec-fetch-mode': 'cors' } })).headers['set-cookie'], undefined, "a page's own request begins no sign-in")
})

await test('the address of a connection is exchanged for a session', async (subtest) => {
  const reply = await visit(`${OWN}/bearer-auth?token=${linkToken('alice', OWN)}`)
  subtest.strictSame([reply.code, reply.headers['location'], reply.headers['cache-control']], [303, OWN, 'no-store'])
  subtest.equal((await visit(OWN, { cookie: cookieOf(reply) ?? '' })).code, 200)
  subtest.match(upstream.news(), [{ url: OWN }])
  for (const [path, code] of [[`${OTHER}/bearer-auth?token=${linkToken('alice', OWN)}`, 403], [`${OWN}/bearer-auth?token=x`, 401], [`${OWN}/bearer-auth`, 400]] as const)
    subtest.match(await visit(path), { code, headers: { 'set-cookie': undefined } }, path)
  subtest.strictSame(upstream.news(), [])
})

await test('a session opens its own Workspace, and no other', async (subtest) => {
  const cases: Record<string, [path: string, code: number]> = {
    'the Workspace itself': [OWN, 200],
    'a page of it': [`${OWN}/lab/tree/a%20b.ipynb?token=of-the-workspace`, 200],
    'another Workspace': [OTHER, 403],
    'a sibling whose name begins the same': ['/workspaces/team-a/own-secret/', 403],
    'that of another team': ['/workspaces/team-b/own/', 403],
    'the folder of all': ['/workspaces/', 403],
    'nothing of ours': ['/', 404],
  }
  for (const [sentence, [path, code]] of Object.entries(cases)) {
    subtest.equal((await visit(path, { cookie })).code, code, sentence)
    subtest.strictSame(upstream.news().map(({ url }) => url), code === 200 ? [path] : [], sentence)
  }
  const prolonged = cookieOf(await visit(OWN, { cookie: await world.session('bob', OWN) }))
  subtest.match(prolonged, /^workspace_auth=eyJ/, 'a session that was prolonged reaches the browser')
  subtest.equal((await visit(OWN, { cookie: prolonged ?? '' })).code, 200)
  subtest.equal((await visit(OWN, { cookie, headers: { host: 'other.example.com' } })).code, 404, 'another host')
  subtest.equal((await visit(OWN, { cookie: `${cookie}x` })).code, 401, 'a session that was changed')
  subtest.strictSame(upstream.news().map(({ url }) => url), [OWN, OWN])
})

await test('no trick with a path reaches another Workspace', async (subtest) => {
  for (const target of PATH_TRICKS) {
    const { code } = await world.wire(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\nCookie: ${cookie}\r\nConnection: close\r\n\r\n`)
    subtest.ok([200, 303, 400, 401, 403, 404].includes(code), `${code} ${target}`)
    // Traefik resolves dots and slashes before it asks auth: what then lies inside the Workspace is let through.
    for (const { url } of upstream.news()) subtest.match(url, /^\/workspaces\/team-a\/own(\/(?!\.\.?(\/|$))[\w.-]*)*(\?.*)?$/, target)
  }
})

await test('what a browser says of itself by headers counts for nobody', async (subtest) => {
  const forged = { 'x-forwarded-uri': `${OWN}/x`, 'x-forwarded-host': host, 'x-forwarded-proto': 'http', 'x-forwarded-method': 'GET', 'x-forwarded-for': '10.0.0.1', 'x-forwarded-prefix': OWN, 'x-original-url': `${OWN}/x` }
  const aliased = Object.fromEntries(Object.entries(forged).map(([name, value]) => [name.replaceAll('-', '_'), value]))
  for (const headers of [forged, aliased, { ...forged, connection: 'x-forwarded-uri, x-forwarded-host, cookie' }]) {
    subtest.equal((await visit(OTHER, { cookie, headers })).code < 400, false)
    subtest.equal((await visit(OWN, { cookie, method: 'POST', headers: { ...headers, origin: EVIL } })).code < 400, false, 'the method is the real one')
    subtest.equal((await visit(`${OWN}/bearer-auth`, { headers: { ...headers, 'x-forwarded-uri': `${OWN}/bearer-auth?token=${linkToken('alice', OWN)}` } })).code, 400)
  }
  subtest.notMatch((await visit('/login?rd=/workspaces/team-a/own', { headers: { 'x-forwarded-host': 'evil.example.com' } })).headers['location'], /evil/)
  subtest.strictSame(upstream.news(), [])
  subtest.equal((await visit(`${OWN}/api`, { cookie, headers: forged })).code, 200)
  subtest.match(upstream.news(), [{ headers: { 'x-forwarded-host': host, 'x-forwarded-proto': 'https', 'x-forwarded-for': '127.0.0.1' } }])
})

await test('pages of other sites change nothing', async (subtest) => {
  const cases: Record<string, [headers: Record<string, string>, code: number]> = {
    'a form of its own': [{ origin: `https://${host}` }, 200],
    'a form of another site': [{ origin: EVIL }, 403],
    'the same name without TLS': [{ origin: `http://${host}` }, 403],
    'a sister host': [{ 'sec-fetch-site': 'same-site' }, 403],
  }
  for (const [sentence, [headers, code]] of Object.entries(cases)) {
    subtest.equal((await visit(`${OWN}/x`, { cookie, method: 'POST', headers, body: 'a=1' })).code, code, sentence)
    subtest.match(upstream.news(), code === 200 ? [{ method: 'POST', body: 'a=1' }] : [], sentence)
  }
})

await test('a WebSocket passes with the session, from a page of the same origin', async (subtest) => {
  const socket = world.socket()
  let heard = ''
  socket.setEncoding('latin1').on('data', (text: string) => (heard += text))
  socket.write(upgradeTo(host, `${OWN}/api/channels?session_id=1`, { cookie, origin: `https://${host}` }))
  await eventually('it is a WebSocket', () => (heard.startsWith('HTTP/1.1 101 ') ? true : undefined))
  socket.write('one')
  await eventually('it echoes', () => (heard.endsWith('\r\n\r\none') ? true : undefined))
  subtest.match(upstream.news(), [{ url: `${OWN}/api/channels?session_id=1`, headers: { upgrade: 'websocket', origin: `https://${host}` } }])
  const closed = once(socket, 'close')
  socket.end()
  await closed
  const refused: Record<string, [headers: Record<string, string>, code: number, path?: string]> = {
    'a page of another site': [{ cookie, origin: EVIL }, 403],
    'another Workspace': [{ cookie, origin: `https://${host}` }, 403, `${OTHER}/api`],
    'no session': [{ origin: `https://${host}` }, 401],
  }
  for (const [sentence, [headers, code, path = `${OWN}/api`]] of Object.entries(refused))
    subtest.equal((await world.wire(upgradeTo(host, path, headers).replace('Connection: Upgrade', 'Connection: Upgrade, close'))).code, code, sentence)
  subtest.strictSame(upstream.news(), [])
})

await test('while auth is away nobody is let in; when it is back, sessions go on', async (subtest) => {
  await world.auth().stop()
  subtest.ok((await visit(OWN, { cookie })).code >= 500)
  subtest.ok((await visit(`/login?rd=${OWN}`)).code >= 500)
  subtest.strictSame(upstream.news(), [])
  await world.restartAuth()
  subtest.equal((await visit(OWN, { cookie })).code, 200)
})

await test('nobody logged a secret', async (subtest) => {
  subtest.notMatch(JSON.stringify(world.log.lines), /eyJ|workspace_auth=|code=|state=/)
  subtest.notMatch(await world.nginx.errorLog(), /eyJ|workspace_auth=|code=|state=/)
})
