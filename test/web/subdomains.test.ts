/** The example for nginx with a host for each Workspace, really run: by bytes, and with a browser that keeps cookies by its own rules. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { t, test } from 'tap'
import { ROOT } from '../../hack/project.ts'
import { encodeBase32 } from '../../src/core/base32.ts'
import { renderConnectionUrl } from '../../src/core/url-template.ts'
import { tokenPath } from '../../src/core/workspace-connection.ts'
import { atIssuer } from '../auth/oidc/browser.ts'
import { startChromium } from '../support/chromium.ts'
import { http2Client } from '../support/http2-visit.ts'
import { WEB_NAME } from '../support/nginx.ts'
import { allowed, cookieOf, linkToken, upgradeTo, webWorld } from '../support/web-world.ts'

const nameOf = (namespace: string, workspace: string): string => `${encodeBase32(new TextEncoder().encode(namespace))}-${workspace}.${WEB_NAME}`

const OWN_NAME = nameOf('team-a', 'own')
const SISTER_NAME = nameOf('team-a', 'sister')
const COOKIE_NAME = '__Host-workspace_auth'
const world = await webWorld(t, { ROUTING_MODE: 'subdomain', COOKIE_NAME }, { example: 'subdomain', http2: true, names: [OWN_NAME, SISTER_NAME] })
const { visit, host, upstream, asked, nginxPort } = world
const at = (name: string): string => `${name}:${nginxPort}`
const sister = at(SISTER_NAME)
const SESSION = /^__Host-workspace_auth=[^;]+; Path=\/; Max-Age=86400; HttpOnly; Secure; SameSite=Lax$/

const cookie = await world.session('alice', '/')

await test('the first visit goes to sign in at the issuer, and comes back to the same page of the same host', async (subtest) => {
  const page = '/lab/tree/a%20b?reset&x=1%2F2'
  const first = await visit(page)
  subtest.match([first.code, first.headers['location']], [302, `/login?rd=${page}`])
  const login = await visit(String(first.headers['location']))
  const [pending = ''] = [login.headers['set-cookie'] ?? []].flat()
  subtest.equal(new URL(String(login.headers['location'])).searchParams.get('redirect_uri'), `https://${host}/callback`)
  const callback = await atIssuer(String(login.headers['location']), { user: 'alice' })
  const sent = { cookie: pending.split(';')[0] ?? '' }
  subtest.match(await visit(callback, { ...sent, headers: { host: sister } }), { code: 400, headers: { 'set-cookie': undefined } }, 'the way back at another host')
  const before = asked.length
  const back = await visit(callback, sent)
  subtest.match([back.code, back.headers['location']], [303, page])
  subtest.match([back.headers['set-cookie'] ?? []].flat().at(-1), SESSION)
  subtest.strictSame(asked.slice(before), [{ user: 'alice', workspace: 'team-a/own' }])
  subtest.strictSame(upstream.news(), [], 'nothing of all that reached the Workspace')
  subtest.equal((await visit(page, { cookie: cookieOf(back, COOKIE_NAME) ?? '' })).code, 200)
  subtest.match(upstream.news(), [{ method: 'GET', url: page, headers: { host, 'x-forwarded-host': host, 'x-forwarded-uri': page, cookie: undefined } }])
  subtest.equal(asked.length, before + 1, 'and nobody was asked again')
  const elsewhere = await visit(`/login?rd=https://${sister}/lab`)
  subtest.match([elsewhere.code, elsewhere.headers['location']], [400, undefined], 'a page of another host to return to')
})

await test('the address of a connection is good at its own host', async (subtest) => {
  const reply = await visit(`/bearer-auth?token=${linkToken('alice', '/')}`)
  subtest.match(reply, { code: 303, headers: { location: '/', 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' } })
  subtest.match([reply.headers['set-cookie'] ?? []].flat(), [SESSION])
  const refusals: Record<string, [path: string, at: string, code: number, body: string]> = {
    'at the host of another Workspace': [`/bearer-auth?token=${linkToken('alice', '/')}`, sister, 403, 'Token domain mismatch'],
    'at a host that names no Workspace': [`/bearer-auth?token=${linkToken('alice', '/', at(WEB_NAME))}`, at(WEB_NAME), 400, 'Failed to extract workspace info'],
    'one for a path': [`/bearer-auth?token=${linkToken('alice', '/workspaces/team-a/own')}`, host, 403, 'Token path mismatch'],
    'one that is none': ['/bearer-auth?token=x', host, 401, 'Invalid token'],
  }
  for (const [sentence, [path, name, code, body]] of Object.entries(refusals)) {
    const refused = await visit(path, { headers: { host: name } })
    subtest.strictSame([refused.code, refused.body, refused.headers['set-cookie']], [code, body, undefined], sentence)
  }
  world.answerAccess(async () => ({ allowed: false, notFound: false, reason: 'RBAC permission denied' }))
  subtest.match(await visit(`/bearer-auth?token=${linkToken('carol', '/')}`), { code: 403, headers: { 'set-cookie': undefined } }, 'a user who may not')
  world.answerAccess(allowed)
  subtest.strictSame(upstream.news(), [])
})

await test('a session opens all of its own host, and no other host', async (subtest) => {
  for (const path of ['/', '/lab', '/workspaces/team-b/x', '/api/contents/a%20b?token=of-the-workspace', '/login/x', '/bearer-authx']) {
    subtest.equal((await visit(path, { cookie })).code, 200, path)
    subtest.match(upstream.news(), [{ url: path, headers: { host } }], path)
  }
  const sisterCookie = await world.session('alice', '/', sister)
  const others: Record<string, [name: string, cookie: string, code: number]> = {
    'another Workspace of the namespace': [sister, cookie, 403],
    'the other way round': [host, sisterCookie, 403],
    'the same name in another namespace': [at(nameOf('team-b', 'own')), cookie, 403],
    'the domain itself': [at(WEB_NAME), cookie, 403],
    'a host below its own': [`x.${host}`, cookie, 403],
    'another domain': [host.replace('example.com', 'example.net'), cookie, 403],
    'its own host at another port': [`${OWN_NAME}:1`, cookie, 403],
    'its own host without a port': [OWN_NAME, cookie, 403],
    'its own host with a dot at its end': [`${OWN_NAME}.:${nginxPort}`, cookie, 403],
    'a session that was changed': [host, `${cookie}x`, 302],
    'a session under the name that is used with paths': [host, cookie.replace('__Host-', ''), 302],
  }
  for (const [sentence, [name, sent, code]] of Object.entries(others)) subtest.equal((await visit('/lab', { cookie: sent, headers: { host: name } })).code, code, sentence)
  subtest.strictSame(upstream.news(), [])
  subtest.equal((await visit('/lab', { cookie: sisterCookie, headers: { host: sister } })).code, 200)
  subtest.equal((await visit('/lab', { cookie: `${sisterCookie}; ${cookie}` })).code, 200, 'a cookie of the sister before the own one')
  subtest.match(upstream.news(), [{ headers: { host: sister } }, { headers: { host, cookie: undefined } }])
})

await test('a browser may reach both hosts by one connection of HTTP/2, and each session still counts at its own', async (subtest) => {
  const { visit: both } = await http2Client(subtest, nginxPort, host)
  const sisterCookie = await world.session('alice', '/', sister)
  const cases: Record<string, [authority: string, cookie: string, code: number]> = {
    'the own one': [host, cookie, 200],
    'the sister by her own session': [sister, sisterCookie, 200],
    'the sister by the session of the other': [sister, cookie, 403],
    'the other way round': [host, sisterCookie, 403],
  }
  for (const [sentence, [authority, sent, code]] of Object.entries(cases)) {
    subtest.equal((await both('/lab', { cookie: ['a=1', sent], headers: { ':authority': authority } })).code, code, sentence)
    subtest.match(upstream.news(), code === 200 ? [{ headers: { 'host': authority, 'x-forwarded-host': authority, 'cookie': 'a=1;' } }] : [], sentence)
  }
})

await test('a request that names two hosts reaches none but the own one', async (subtest) => {
  const rest = `Cookie: ${cookie}\r\nConnection: close\r\n\r\n`
  const shapes: Record<string, [text: string, codes: number[]]> = {
    'two Host headers': [`GET /x HTTP/1.1\r\nHost: ${host}\r\nHost: ${sister}\r\n${rest}`, [400]],
    'the same, the own one last': [`GET /x HTTP/1.1\r\nHost: ${sister}\r\nHost: ${host}\r\n${rest}`, [400]],
    'that of another in the request line': [`GET https://${sister}/x HTTP/1.1\r\nHost: ${host}\r\n${rest}`, [200]],
    'the own one in the request line': [`GET https://${host}/x HTTP/1.1\r\nHost: ${sister}\r\n${rest}`, [403]],
    'another one in X-Forwarded-Host': [`GET /x HTTP/1.1\r\nHost: ${sister}\r\nX-Forwarded-Host: ${host}\r\n${rest}`, [403]],
    'none': [`GET /x HTTP/1.0\r\n${rest}`, [403]],
    'one of a list': [`GET /x HTTP/1.1\r\nHost: ${host}, ${sister}\r\n${rest}`, [400, 403]],
  }
  for (const [sentence, [text, codes]] of Object.entries(shapes)) {
    const { code } = await world.wire(text)
    subtest.ok(codes.includes(code), `${sentence}: ${code}`)
    const arrived = upstream.news()
    subtest.equal(arrived.length, code === 200 ? 1 : 0, sentence)
    subtest.ok(arrived.every(({ headers }) => headers.host === host && headers['x-forwarded-host'] === host), sentence)
  }
})

const TRICKS = ['/x/../y', '/..', '/./x', '//x', '/x//y', `//${SISTER_NAME}/x`, '/x%2fy', '/x/..%2fy', '/%2e%2e/x', '/x\\y', '/x%5cy', '/x/..;/y', '/%252e%252e/y', '/x%00', '/x#/y', '/login/../x', '/_verify/../x', '/_verify', '/_refused']

await test('paths that could be read in two ways, and those of the proxy itself, are refused', async (subtest) => {
  for (const target of TRICKS) {
    const { code, text } = await world.wire(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\nCookie: ${cookie}\r\nConnection: close\r\n\r\n`)
    subtest.ok([400, 403, 404].includes(code), `${code} ${target}`)
    subtest.notMatch(text, /\r\nlocation:/i, target)
    subtest.strictSame(upstream.news(), [], target)
  }
})

await test('pages of a sister host are pages of another site', async (subtest) => {
  const origin = `https://${sister}`
  const cases: Record<string, [method: string, headers: Record<string, string>, code: number]> = {
    'a form of its own': ['POST', { origin: `https://${host}` }, 200],
    'a form of the sister': ['POST', { origin, 'sec-fetch-site': 'same-site' }, 403],
    'one that tells its site alone': ['DELETE', { 'sec-fetch-site': 'same-site' }, 403],
    'a link of the sister': ['GET', { 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'navigate' }, 200],
  }
  for (const [sentence, [method, headers, code]] of Object.entries(cases)) {
    subtest.equal((await visit('/api', { cookie, method, headers })).code, code, sentence)
    subtest.equal(upstream.news().length, code === 200 ? 1 : 0, sentence)
  }
  const socket = await world.wire(upgradeTo(host, '/api/kernels', { cookie, origin }).replace('Connection: Upgrade', 'Connection: Upgrade, close'))
  subtest.strictSame([socket.code, upstream.news()], [403, []], 'a WebSocket')
})

await test('the session stays at the proxy, other cookies go on', async (subtest) => {
  for (const [sent, received] of [
    [`a=1; ${cookie}; b=2`, 'a=1; b=2'],
    [`workspace_auth=of-the-workspace; ${cookie}`, 'workspace_auth=of-the-workspace;'],
    [cookie, undefined],
  ] as const) {
    subtest.equal((await visit('/', { cookie: sent })).code, 200)
    subtest.strictSame(upstream.news().map(({ headers }) => headers.cookie), [received])
  }
})

/** What reached a Workspace, without the icons that browsers ask for when they like. */
const opened = (): typeof upstream.arrived => upstream.news().filter(({ url }) => url !== '/favicon.ico')

await test('a browser keeps each session to its host, whatever the page of another one does', async (subtest) => {
  const browser = await startChromium(subtest, [OWN_NAME, SISTER_NAME])
  const page = await browser.person()
  const cookies = async (): Promise<string[]> => (await page.context().cookies()).map(({ name, domain }) => `${name} ${domain}`).toSorted()
  const signIn = async (url: string): Promise<void> => {
    await page.goto(url)
    subtest.equal(new URL(page.url()).origin, world.issuer.url)
    await Promise.all([page.waitForURL(url), page.getByRole('button', { name: 'alice' }).click()])
  }
  await signIn(`https://${host}/lab?x=1%2F2`)
  subtest.strictSame(await cookies(), [`${COOKIE_NAME} ${OWN_NAME}`])
  opened()
  await page.goto(`https://${host}/tree`)
  subtest.match(opened()[0], { url: '/tree', headers: { host, cookie: undefined } })
  await signIn(`https://${sister}/lab`)
  subtest.strictSame(await cookies(), [`${COOKIE_NAME} ${OWN_NAME}`, `${COOKIE_NAME} ${SISTER_NAME}`].toSorted())
  opened()

  const calls = `Promise.all([
    fetch('https://${host}/api', { method: 'POST', mode: 'no-cors', credentials: 'include', body: 'a=1' }).catch(() => 0),
    new Promise((resolve) => { const socket = new WebSocket('wss://${host}/api'); socket.onclose = socket.onerror = resolve }),
  ]).then(() => 'done')`
  subtest.equal(await page.evaluate(calls), 'done')
  subtest.strictSame(opened(), [], 'the page of the sister reaches nothing by the session')
  await page.evaluate(`document.cookie = '${COOKIE_NAME}=tossed; Domain=${WEB_NAME}; Path=/; Secure'; document.cookie = 'tossed=1; Domain=${WEB_NAME}; Path=/; Secure'`)
  subtest.equal((await page.goto(`https://${host}/tree`))?.status(), 200)
  subtest.match(opened()[0], { url: '/tree', headers: { host, cookie: /^tossed=1;?$/ } }, 'it sets cookies for the domain, but none of the name')
})

const read = (name: string): Promise<string> => readFile(join(ROOT, 'docs/examples', name), 'utf8')

await test('the address that the example gives an access strategy is one that auth takes', async (subtest) => {
  const [, template = ''] = /bearerAuthURLTemplate: (.+)/.exec(await read('nginx-forward-auth-subdomains.conf')) ?? []
  const workspace = { apiVersion: 'workspace.jupyter.org/v1alpha1', kind: 'Workspace', metadata: { namespace: 'team-a', name: 'own' } }
  const rendered = renderConnectionUrl(template, workspace, { ...workspace, kind: 'WorkspaceAccessStrategy' })
  subtest.strictSame(rendered, { ok: true, url: { url: `https://${OWN_NAME}/bearer-auth`, host: OWN_NAME, path: '/bearer-auth' } })
  subtest.equal(tokenPath('/bearer-auth'), '/')
})

/** Without comments, and with one name for the session. */
const linesOf = async (name: string): Promise<string[]> =>
  (await read(name)).replaceAll('__Host-', '').split('\n').map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'))

await test('both examples are the same but for what names a Workspace', async (subtest) => {
  const [path, subdomains] = [await linesOf('nginx-forward-auth.conf'), await linesOf('nginx-forward-auth-subdomains.conf')]
  subtest.strictSame(path.filter((line) => !subdomains.includes(line)), [
    `server_name ${WEB_NAME};`,
    'return 404;',
    'location /workspaces/ {',
    'location ~ ^/workspaces/[^/]+/[^/]+/bearer-auth$ {',
  ])
  subtest.strictSame(subdomains.filter((line) => !path.includes(line)), [`server_name *.${WEB_NAME};`, 'location = /bearer-auth {'])
})

await test('nobody logged a secret, and nothing broke', async (subtest) => {
  subtest.notMatch(JSON.stringify(world.log.lines), /eyJ|workspace_auth=|code=|state=/)
  subtest.notMatch(await world.nginx.accessLog(), /eyJ|workspace_auth|code=|state=|rd=|token/)
  subtest.notMatch(await world.nginx.errorLog(), /\[(?:crit|alert|emerg)\]/)
})
