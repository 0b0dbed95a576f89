/** The example for nginx with HTTP/2 switched on: the same holds as with HTTP/1.1, in the forms that this protocol adds. */
import { once } from 'node:events'
import { t, test } from 'tap'
import { atIssuer } from '../auth/oidc/browser.ts'
import { startChromium } from '../support/chromium.ts'
import { http2Client } from '../support/http2-visit.ts'
import { WEB_NAME } from '../support/nginx.ts'
import { PATH_TRICKS } from '../support/path-tricks.ts'
import { cookieOf, linkToken, webWorld } from '../support/web-world.ts'

const OWN = '/workspaces/team-a/own'
const world = await webWorld(t, {}, { http2: true })
const { host, upstream, asked, nginxPort } = world
const { session, visit } = await http2Client(t, nginxPort, host)

const cookie = await world.session('alice', OWN)

await test('the first visit goes to sign in at the issuer, and the session opens the page', async (subtest) => {
  subtest.equal(session.alpnProtocol, 'h2')
  const page = `${OWN}/lab?reset&x=a%20b&y=1`
  const first = await visit(page)
  subtest.match([first.code, first.headers['location']], [302, `/login?rd=${page}`])
  const login = await visit(String(first.headers['location']))
  subtest.equal(new URL(String(login.headers['location'])).searchParams.get('redirect_uri'), `https://${host}/callback`)
  const [pending = ''] = [login.headers['set-cookie'] ?? []].flat()
  const callback = await atIssuer(String(login.headers['location']), { user: 'alice' })
  const before = asked.length
  const back = await visit(callback, { cookie: ['a=1', pending.split(';')[0] ?? '', 'b=2'] })
  subtest.match([back.code, back.headers['location']], [303, page])
  subtest.match([back.headers['set-cookie'] ?? []].flat().at(-1), /^workspace_auth=[^;]+; Path=\/workspaces\/team-a\/own; Max-Age=86400; HttpOnly; Secure; SameSite=Lax$/)
  const opened = cookieOf(back) ?? ''
  for (const path of [page, `${OWN}/lab/tree`]) subtest.equal((await visit(path, { cookie: opened })).code, 200)
  subtest.match(upstream.news(), [page, `${OWN}/lab/tree`].map((url) => ({ method: 'GET', url, headers: { host, 'x-forwarded-host': host, 'x-forwarded-proto': 'https', 'x-forwarded-uri': url, cookie: undefined } })))
  subtest.equal(asked.length, before + 1, 'one question in all')
})

await test('the address of a connection is exchanged for a session', async (subtest) => {
  const reply = await visit(`${OWN}/bearer-auth?token=${linkToken('alice', OWN)}`)
  subtest.match(reply, { code: 303, headers: { location: OWN, 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' } })
  subtest.equal((await visit(OWN, { cookie: cookieOf(reply) ?? '' })).code, 200)
  subtest.match(upstream.news(), [{ url: OWN }])
})

await test('a session counts however its cookies come, and no Workspace gets it', async (subtest) => {
  const [, token = ''] = cookie.split('=')
  const cases: Record<string, [sent: string | string[], received: string | undefined]> = {
    'alone': [cookie, undefined],
    'in one line': [`a=1; ${cookie}; b=2`, 'a=1; b=2'],
    'in crumbs': [['a=1', cookie, 'b=2'], 'a=1; b=2'],
    'in crumbs, as the last': [['a=1', 'b=2', cookie], 'a=1; b=2;'],
    'a line and a crumb': [['a=1; b=2', `c=3; ${cookie}`], 'a=1; b=2; c=3;'],
    'after a bad one of the name': [['workspace_auth=other', 'a=1', cookie], 'a=1;'],
    'before a bad one of the name': [[cookie, 'a=1', 'workspace_auth=other'], 'a=1;'],
    'twice': [[cookie, cookie, 'a=1'], 'a=1'],
    'one too many': [[cookie, 'a=1', cookie, cookie], undefined],
  }
  for (const [sentence, [sent, received]] of Object.entries(cases)) {
    subtest.equal((await visit(OWN, { cookie: sent })).code, 200, sentence)
    const [seen] = upstream.news()
    subtest.equal(seen?.headers.cookie, received, sentence)
    subtest.notMatch(JSON.stringify(seen), token, sentence)
  }
  const half = Math.floor(cookie.length / 2)
  subtest.equal((await visit(OWN, { cookie: [cookie.slice(0, half), cookie.slice(half)] })).code, 302, 'a crumb is never a part of a cookie')
  subtest.equal((await visit(OWN, { cookie: ['a=1', `${cookie}x`] })).code, 302, 'a session that was changed')
  subtest.strictSame(upstream.news(), [])
})

await test('a session opens its own Workspace at its own host, and no other', async (subtest) => {
  const cases: Record<string, [path: string, headers: Record<string, string | undefined>, code: number]> = {
    'a page of it': [`${OWN}/lab`, {}, 200],
    'another Workspace': ['/workspaces/team-a/other', {}, 403],
    'a sibling whose name begins the same': ['/workspaces/team-a/own-secret/', {}, 403],
    'nothing of ours': ['/', {}, 404],
    'another host': [`${OWN}/lab`, { ':authority': `other.example.com:${nginxPort}` }, 403],
    'Host in place of :authority': [`${OWN}/lab`, { ':authority': undefined, 'host': host }, 200],
    'another one in place of :authority': [`${OWN}/lab`, { ':authority': undefined, 'host': 'other.example.com' }, 403],
    'headers that name another place': ['/workspaces/team-a/other', { 'x-forwarded-uri': `${OWN}/lab`, 'x-original-uri': `${OWN}/lab`, 'x-forwarded-host': host }, 403],
    'http, which it is not': [`${OWN}/lab`, { ':scheme': 'http' }, 200],
  }
  for (const [sentence, [path, headers, code]] of Object.entries(cases)) {
    subtest.equal((await visit(path, { cookie, headers })).code, code, sentence)
    subtest.match(upstream.news(), code === 200 ? [{ url: path, headers: { host, 'x-forwarded-host': host, 'x-forwarded-proto': 'https' } }] : [], sentence)
  }
  for (const [authority, other] of [[host, 'other.example.com'], ['other.example.com', host]] as const) {
    const { code } = await visit(`${OWN}/lab`, { cookie, headers: { ':authority': authority, 'host': other } })
    const arrived = upstream.news()
    subtest.ok(arrived.every(({ headers }) => headers.host === host && headers['x-forwarded-host'] === host), `two hosts: ${code}, and who is reached is who was asked about`)
    subtest.equal(arrived.length, code === 200 ? 1 : 0)
  }
})

await test('no trick with a path reaches another Workspace', async (subtest) => {
  for (const target of PATH_TRICKS) {
    // What is no request at all may cost the connection.
    const client = await http2Client(subtest, nginxPort, host)
    const { code } = await client.visit(target, { cookie })
    subtest.ok([0, 302, 303, 400, 403, 404].includes(code), `${code} ${target}`)
    subtest.strictSame(upstream.news(), [], target)
    client.session.destroy()
  }
})

/** Bytes; more than nginx, and a window of HTTP/2, take at once. */
const LARGE = 5_000_000

await test('bodies arrive whole, and pages of other sites change nothing', async (subtest) => {
  const body = Buffer.alloc(LARGE, 'x')
  const cases: Record<string, [headers: Record<string, string>, code: number]> = {
    'a form of its own': [{ origin: `https://${host}` }, 200],
    'with its length': [{ 'origin': `https://${host}`, 'content-length': String(LARGE) }, 200],
    'a form of another site': [{ origin: 'https://evil.example.com' }, 403],
  }
  for (const [sentence, [headers, code]] of Object.entries(cases)) {
    subtest.equal((await visit(`${OWN}/api/x`, { cookie, method: 'POST', headers, body })).code, code, sentence)
    subtest.strictSame(upstream.news().map(({ method, url, body: received }) => [method, url, received.length]), code === 200 ? [['POST', `${OWN}/api/x`, LARGE]] : [], sentence)
  }
  const hidden = 'GET /workspaces/team-b/x HTTP/1.1\r\nHost: x\r\n\r\n'
  for (const length of ['0', '5', '500']) {
    const client = await http2Client(subtest, nginxPort, host)
    await client.visit(`${OWN}/x`, { cookie, method: 'POST', headers: { 'content-length': length }, body: hidden })
    subtest.ok(upstream.news().every(({ url }) => url === `${OWN}/x`), `a length that is not true: ${length}`)
    client.session.destroy()
  }
})

await test('many visits at once over the one connection, each answered by its own session', async (subtest) => {
  const visits = Array.from({ length: 100 }, (_, index) => ({ path: `${OWN}/${index}`, has: index % 2 === 0 }))
  const codes = await Promise.all(visits.map(async ({ path, has }) => (await visit(path, has ? { cookie: ['a=1', cookie] } : {})).code))
  subtest.strictSame(codes, visits.map(({ has }) => (has ? 200 : 302)))
  subtest.strictSame(upstream.news().map(({ url }) => url).toSorted(), visits.filter(({ has }) => has).map(({ path }) => path).toSorted())
})

await test('no WebSocket is offered here: browsers open them by HTTP/1.1, where all holds as before', async (subtest) => {
  if (session.remoteSettings.initialWindowSize === undefined) await once(session, 'remoteSettings')
  subtest.equal(session.remoteSettings.enableConnectProtocol ?? false, false)
  const { code } = await (await http2Client(subtest, nginxPort, host)).visit(OWN, { cookie, method: 'CONNECT', headers: { ':path': undefined, ':scheme': undefined } })
  subtest.ok([0, 400, 405].includes(code), `CONNECT: ${code}`)
  subtest.strictSame(upstream.news(), [])

  const browser = await startChromium(subtest, [WEB_NAME])
  const page = await browser.person()
  const [name = '', value = ''] = cookie.split('=')
  const more = ['a', 'b', 'c'].map((one) => ({ name: one, value: '1', domain: WEB_NAME, path: '/' }))
  await page.context().addCookies([{ name, value, domain: WEB_NAME, path: OWN, secure: true, httpOnly: true, sameSite: 'Lax' }, ...more])
  subtest.equal((await page.goto(`https://${host}${OWN}/lab`))?.status(), 200)
  subtest.equal(await page.evaluate(`performance.getEntriesByType('navigation')[0].nextHopProtocol`), 'h2')
  await page.evaluate(`new Promise((resolve) => { const socket = new WebSocket('wss://${host}${OWN}/api/kernels'); socket.onclose = socket.onerror = resolve })`)
  const arrived = upstream.news().filter(({ url }) => !url.endsWith('favicon.ico'))
  subtest.match(arrived, [{ url: `${OWN}/lab`, headers: { cookie: 'a=1; b=1; c=1' } }, { url: `${OWN}/api/kernels`, headers: { upgrade: 'websocket', cookie: 'a=1; b=1; c=1' } }])
})

await test('nobody logged a secret, and nothing broke', async (subtest) => {
  subtest.notMatch(JSON.stringify(world.log.lines), /eyJ|workspace_auth=|code=|state=/)
  subtest.notMatch(await world.nginx.accessLog(), /eyJ|workspace_auth|code=|state=|rd=|token/)
  subtest.notMatch(await world.nginx.errorLog(), /\[(?:crit|alert|emerg)\]/)
})
