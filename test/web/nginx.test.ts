/** The example for nginx, really run: what it lets through, what it keeps, and what it tells whom. */
import { once } from 'node:events'
import https from 'node:https'
import { setTimeout as delay } from 'node:timers/promises'
import { t, test } from 'tap'
import { atIssuer } from '../auth/oidc/browser.ts'
import { eventually, untilTrue } from '../support/eventually.ts'
import { PATH_TRICKS } from '../support/path-tricks.ts'
import { allowed, cookieOf, linkToken, upgradeTo, webWorld } from '../support/web-world.ts'

const OWN = '/workspaces/team-a/own'
const world = await webWorld(t)
const { visit, host, upstream, asked } = world

const cookie = await world.session('alice', OWN)
const askedSince = (before: number): typeof asked => asked.slice(before)

await test('the first visit goes to sign in at the issuer, and comes back with a session', async (subtest) => {
  const page = `${OWN}/lab?reset&x=a%20b&y=1`
  const first = await visit(page)
  subtest.match([first.code, first.headers['location'], cookieOf(first)], [302, `/login?rd=${page}`, undefined])
  const login = await visit(String(first.headers['location']))
  subtest.equal(login.code, 303)
  subtest.equal(new URL(String(login.headers['location'])).origin, world.issuer.url)
  const [pending = ''] = [login.headers['set-cookie'] ?? []].flat()
  subtest.match(pending, /^__Host-[^=]+=.*; Path=\/; .*Secure/)
  const callback = await atIssuer(String(login.headers['location']), { user: 'alice' })
  const before = asked.length
  const back = await visit(callback, { cookie: pending.split(';')[0] ?? '' })
  subtest.match([back.code, back.headers['location']], [303, page])
  subtest.match([back.headers['set-cookie'] ?? []].flat().at(-1), /^workspace_auth=[^;]+; Path=\/workspaces\/team-a\/own; Max-Age=86400; HttpOnly; Secure; SameSite=Lax$/)
  subtest.strictSame(askedSince(before), [{ user: 'alice', workspace: 'team-a/own' }])
  subtest.strictSame(upstream.news(), [], 'nothing of all that reached the Workspace')
  const opened = await visit(page, { cookie: cookieOf(back) ?? '' })
  subtest.equal(opened.code, 200)
  subtest.match(upstream.news(), [{ method: 'GET', url: page }])
  subtest.equal(askedSince(before).length, 1, 'and nobody was asked again')
  subtest.equal((await visit(callback, { cookie: pending.split(';')[0] ?? '' })).code, 401, 'the same way back a second time')
  subtest.equal((await visit(callback)).code, 400, 'or in another browser')
})

await test('the address of a connection is exchanged for a session, and no part of it goes on', async (subtest) => {
  const token = linkToken('alice', OWN)
  const reply = await visit(`${OWN}/bearer-auth?token=${token}`)
  subtest.match(reply, { code: 303, headers: { location: OWN, 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' } })
  subtest.equal((await visit(OWN, { cookie: cookieOf(reply) ?? '' })).code, 200)
  subtest.match(upstream.news(), [{ url: OWN }])
  const refusals: Record<string, [path: string, code: number, body: string]> = {
    'a token for another path': [`/workspaces/team-a/other/bearer-auth?token=${token}`, 403, 'Token path mismatch'],
    'a token that is none': [`${OWN}/bearer-auth?token=x`, 401, 'Invalid token'],
    'no token': [`${OWN}/bearer-auth`, 400, 'Missing token parameter'],
    'two tokens': [`${OWN}/bearer-auth?token=x&token=${token}`, 400, 'Invalid token parameter: it must be there once'],
    'a member of the cluster itself': [`${OWN}/bearer-auth?token=${linkToken('system:admin', OWN)}`, 403, 'Access denied: names that begin with "system:" are those of Kubernetes itself'],
  }
  for (const [sentence, [path, code, body]] of Object.entries(refusals)) {
    const refused = await visit(path)
    subtest.strictSame([refused.code, refused.body, refused.headers['set-cookie']], [code, body, undefined], sentence)
  }
  world.answerAccess(async () => ({ allowed: false, notFound: false, reason: 'RBAC permission denied' }))
  subtest.match(await visit(`${OWN}/bearer-auth?token=${linkToken('carol', OWN)}`), { code: 403, headers: { 'set-cookie': undefined } }, 'a user who may not')
  world.answerAccess(async () => {
    throw new Error('no answer')
  })
  subtest.match(await visit(`${OWN}/bearer-auth?token=${linkToken('dave', OWN)}`), { code: 500, headers: { 'set-cookie': undefined } }, 'while nobody answers')
  world.answerAccess(allowed)
  subtest.strictSame(upstream.news(), [])
  subtest.notMatch(await world.nginx.accessLog(), /token|alice/, 'no log of nginx holds a token')
})

await test('a session opens its own Workspace, and no other', async (subtest) => {
  const cases: Record<string, [path: string, code: number]> = {
    'the Workspace itself': [OWN, 200],
    'with a slash': [`${OWN}/`, 200],
    'a page of it': [`${OWN}/lab/tree/a%20b.ipynb?token=of-the-workspace`, 200],
    'a name that only looks hidden': [`${OWN}/..a/b..`, 200],
    'another Workspace': ['/workspaces/team-a/other', 403],
    'a sibling whose name begins the same': ['/workspaces/team-a/own-secret/', 403],
    'that of another team': ['/workspaces/team-b/own/', 403],
    'the folder of all': ['/workspaces/', 403],
    'nothing of ours': ['/', 404],
  }
  for (const [sentence, [path, code]] of Object.entries(cases)) {
    subtest.equal((await visit(path, { cookie })).code, code, sentence)
    subtest.strictSame(upstream.news().map(({ url }) => url), code === 200 ? [path] : [], sentence)
  }
  subtest.equal((await visit(OWN, { cookie, headers: { host: `other.example.com:${world.nginxPort}` } })).code, 403, 'another host')
  subtest.equal((await visit(OWN, { cookie: `${cookie}x` })).code, 302, 'a session that was changed')
  subtest.strictSame(upstream.news(), [])
})

await test('no trick with a path reaches another Workspace', async (subtest) => {
  for (const target of PATH_TRICKS) {
    const { code } = await world.wire(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\nCookie: ${cookie}\r\nConnection: close\r\n\r\n`)
    subtest.ok([302, 303, 400, 403, 404].includes(code), `${code} ${target}`)
    subtest.strictSame(upstream.news(), [], target)
  }
  // In the other form of a request line the path is what counts.
  const absolute = await world.wire(`GET https://${host}${OWN}/x HTTP/1.1\r\nHost: ${host}\r\nCookie: ${cookie}\r\nConnection: close\r\n\r\n`)
  subtest.equal(absolute.code, 200)
  subtest.match(upstream.news(), [{ url: `${OWN}/x` }])
})

await test('two requests in one, as servers might count them differently', async (subtest) => {
  const hidden = `GET /workspaces/team-b/x HTTP/1.1\r\nHost: ${host}\r\n\r\n`
  const head = `Host: ${host}\r\nCookie: ${cookie}\r\nConnection: close\r\n`
  const shapes: Record<string, string> = {
    'both lengths': `POST ${OWN}/x HTTP/1.1\r\n${head}Content-Length: ${hidden.length + 5}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${hidden}`,
    'two lengths': `POST ${OWN}/x HTTP/1.1\r\n${head}Content-Length: 0\r\nContent-Length: ${hidden.length}\r\n\r\n${hidden}`,
    'a body with a GET': `GET ${OWN}/x HTTP/1.1\r\n${head}Content-Length: ${hidden.length}\r\n\r\n${hidden}`,
    'a chunked body': `POST ${OWN}/x HTTP/1.1\r\n${head}Transfer-Encoding: chunked\r\n\r\n${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n`,
    'two hosts': `GET ${OWN}/x HTTP/1.1\r\n${head}Host: other.example.com\r\n\r\n`,
  }
  for (const [sentence, text] of Object.entries(shapes)) {
    await world.wire(text)
    subtest.ok(upstream.news().every(({ url }) => url === `${OWN}/x`), sentence)
  }
  const nameless = await world.wire(`GET ${OWN} HTTP/1.0\r\nCookie: ${cookie}\r\n\r\n`)
  subtest.strictSame([nameless.code, upstream.news()], [403, []], 'no host')
})

await test('what a browser says of itself by headers counts for nobody', async (subtest) => {
  const forged = {
    'x-forwarded-uri': `${OWN}/x`,
    'x-forwarded-host': host,
    'x-forwarded-proto': 'http',
    'x-forwarded-method': 'GET',
    'x-forwarded-for': '10.0.0.1',
    'x-original-uri': `${OWN}/x`,
    'x-original-url': `${OWN}/x`,
    'x-rewrite-url': `${OWN}/x`,
  }
  subtest.equal((await visit('/workspaces/team-a/other', { cookie, headers: forged })).code, 403)
  subtest.equal((await visit(OWN, { cookie, headers: { ...forged, host: 'other.example.com' } })).code, 403)
  subtest.equal((await visit(OWN, { cookie, method: 'POST', headers: { ...forged, origin: 'https://evil.example.com' } })).code, 403, 'the method is the real one')
  subtest.equal((await visit('/login?rd=/workspaces/team-a/own', { headers: { 'x-forwarded-host': 'evil.example.com' } })).headers['location']?.includes('evil'), false)
  subtest.equal((await visit(`${OWN}/bearer-auth`, { headers: { 'x-forwarded-uri': `${OWN}/bearer-auth?token=${linkToken('alice', OWN)}` } })).code, 400)
  subtest.strictSame(upstream.news(), [])

  const identity = ['x-forwarded-user', 'x-forwarded-email', 'x-forwarded-groups', 'x-forwarded-preferred-username', 'x-forwarded-access-token', 'x-auth-request-user', 'x-auth-request-email', 'x-auth-request-groups']
  const others = ['x-auth-request-preferred-username', 'x-auth-request-access-token', 'x-remote-user', 'x-remote-group', 'remote-user', 'x-webauth-user', 'forwarded', 'x-real-ip']
  const named = Object.fromEntries([...identity, ...others].map((name) => [name, 'root']))
  subtest.equal((await visit(`${OWN}/api`, { cookie, headers: { ...forged, ...named, accept: 'a/b', authorization: 'token of-the-workspace' } })).code, 200)
  const [seen] = upstream.news()
  subtest.strictSame([...identity, ...others].filter((name) => seen?.headers[name] === 'root'), [], 'no identity that a browser made up reaches a Workspace')
  subtest.match(seen?.headers, { host, 'x-forwarded-host': host, 'x-forwarded-proto': 'https', 'x-forwarded-for': '127.0.0.1', 'x-forwarded-uri': `${OWN}/api`, 'x-forwarded-method': 'GET', accept: 'a/b', authorization: 'token of-the-workspace' })
})

await test('the session stays at the proxy, other cookies go on', async (subtest) => {
  const [, token = ''] = cookie.split('=')
  const cases: Record<string, [sent: string, received: string | undefined]> = {
    'alone': [cookie, undefined],
    'before others': [`${cookie}; a=1; b=2`, 'a=1; b=2'],
    'between others': [`a=1; ${cookie}; b=2`, 'a=1; b=2'],
    'after others': [`a=1; ${cookie}`, 'a=1;'],
    'with that of a longer path': [`${cookie}; a=1; workspace_auth=other; b=2`, 'a=1; b=2'],
    'without a space': [`a=1;${cookie};b=2`, 'a=1;b=2'],
    'a name that ends the same': [`my_workspace_auth=1; ${cookie}`, 'my_workspace_auth=1;'],
    'a value that looks like it': [`a=workspace_auth=1; ${cookie}; b=2`, 'a=workspace_auth=1; b=2'],
    'one too many': [`${cookie}; ${cookie}; ${cookie}; a=1`, undefined],
  }
  for (const [sentence, [sent, received]] of Object.entries(cases)) {
    subtest.equal((await visit(OWN, { cookie: sent })).code, 200, sentence)
    const [seen] = upstream.news()
    subtest.equal(seen?.headers.cookie, received, sentence)
    subtest.notMatch(JSON.stringify(seen), token, sentence)
  }
  const lines = await world.wire(`GET ${OWN} HTTP/1.1\r\nHost: ${host}\r\nCookie: a=1\r\nCookie: ${cookie}\r\nCookie: b=2\r\nConnection: close\r\n\r\n`)
  subtest.equal(lines.code, 200, 'in lines of their own')
  subtest.strictSame(upstream.news().map(({ headers }) => headers.cookie), ['a=1; b=2'])
})

/** Bytes; more than nginx takes of a request where nothing else is said. */
const LARGE = 5_000_000

await test('an upload of any size reaches its Workspace whole, and no other', async (subtest) => {
  for (const headers of [{ 'content-length': String(LARGE) }, { 'transfer-encoding': 'chunked' }]) {
    subtest.equal((await visit(`${OWN}/api/contents/x`, { cookie, method: 'PUT', headers, body: 'x'.repeat(LARGE) })).code, 200)
    subtest.strictSame(upstream.news().map(({ body }) => body.length), [LARGE])
  }
  subtest.equal((await visit('/workspaces/team-a/other/x', { cookie, method: 'PUT', headers: { 'content-length': '4' }, body: 'x=1&' })).code, 403)
  subtest.strictSame(upstream.news(), [])
})

const EVIL = 'https://evil.example.com'

await test('pages of other sites change nothing', async (subtest) => {
  const own = `https://${host}`
  const cases: Record<string, [method: string, headers: Record<string, string>, code: number]> = {
    'a form of its own': ['POST', { origin: own }, 200],
    'a program without an origin': ['POST', {}, 200],
    'a form of another site': ['POST', { origin: EVIL }, 403],
    'a page without a name': ['POST', { origin: 'null' }, 403],
    'the same name without the port': ['POST', { origin: 'https://workspaces.example.com' }, 403],
    'the same name without TLS': ['POST', { origin: `http://${host}` }, 403],
    'a script of another site': ['DELETE', { origin: EVIL, 'sec-fetch-site': 'cross-site' }, 403],
    'a sister host': ['PUT', { 'sec-fetch-site': 'same-site' }, 403],
    'a link on another site': ['GET', { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' }, 200],
  }
  for (const [sentence, [method, headers, code]] of Object.entries(cases)) {
    subtest.equal((await visit(`${OWN}/api/x`, { cookie, method, headers, ...(method === 'POST' ? { body: 'a=1' } : {}) })).code, code, sentence)
    subtest.match(upstream.news(), code === 200 ? [{ method, url: `${OWN}/api/x`, body: method === 'POST' ? 'a=1' : '' }] : [], sentence)
  }
})

await test('a WebSocket passes with the session, from a page of the same origin', async (subtest) => {
  const socket = world.socket()
  let heard = ''
  socket.setEncoding('latin1').on('data', (text: string) => (heard += text))
  socket.write(upgradeTo(host, `${OWN}/api/kernels/channels?session_id=1`, { cookie, origin: `https://${host}` }))
  await eventually('it is a WebSocket', () => (heard.startsWith('HTTP/1.1 101 ') ? true : undefined))
  socket.write('one')
  await eventually('it echoes', () => (heard.endsWith('\r\n\r\none') ? true : undefined))
  const [seen] = upstream.news()
  subtest.match(seen, { url: `${OWN}/api/kernels/channels?session_id=1`, headers: { upgrade: 'websocket', connection: 'upgrade', origin: `https://${host}` } })
  subtest.equal(seen?.headers.cookie, undefined)
  const closed = once(socket, 'close')
  socket.end()
  await closed
  const refused: Record<string, [headers: Record<string, string>, code: number, path?: string]> = {
    'a page of another site': [{ cookie, origin: EVIL }, 403],
    'another Workspace': [{ cookie, origin: `https://${host}` }, 403, '/workspaces/team-a/other/api'],
    'no session': [{ origin: `https://${host}` }, 302],
  }
  for (const [sentence, [headers, code, path = `${OWN}/api`]] of Object.entries(refused))
    subtest.equal((await world.wire(upgradeTo(host, path, headers).replace('Connection: Upgrade', 'Connection: Upgrade, close'))).code, code, sentence)
  subtest.strictSame(upstream.news(), [])
})

/** What an API server under load takes for an answer. */
const SLOW_MS = 20

await test('1,000 first visits of 20 users at once: one question for each user at a time, and nobody is lost', async (subtest) => {
  const users = Array.from({ length: 20 }, (_, index) => `user-${index}`)
  const before = asked.length
  const underWay = new Map<string, number>()
  let most = 0
  world.answerAccess(async (workspace, identity) => {
    const { user } = identity
    underWay.set(user, (underWay.get(user) ?? 0) + 1)
    most = Math.max(most, underWay.get(user) ?? 0)
    await delay(SLOW_MS)
    underWay.set(user, (underWay.get(user) ?? 0) - 1)
    return allowed(workspace, identity)
  })
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1_000 })
  try {
    const replies = await Promise.all(
      Array.from({ length: 1_000 }, (_, index) => visit(`${OWN}/bearer-auth?token=${linkToken(users[index % users.length] ?? '', OWN)}`, { agent })),
    )
    subtest.strictSame(replies.filter(({ code, headers }) => code !== 303 || headers['location'] !== OWN || cookieOf({ headers }) === undefined), [])
  } finally {
    agent.destroy()
    world.answerAccess(allowed)
  }
  subtest.equal(most, 1)
  subtest.ok(askedSince(before).length >= 20 && askedSince(before).length < 1_000, `${askedSince(before).length} questions`)
  subtest.comment(`${askedSince(before).length} questions for 1,000 visits`)
})

await test('while auth is away nobody is let in; when it is back, sessions go on', async (subtest) => {
  const kept = await world.session('alice', OWN)
  upstream.news()
  await world.auth().stop()
  for (const headers of [{}, { cookie: kept }]) subtest.equal((await visit(OWN, { headers })).code, 500)
  subtest.equal((await visit(`/login?rd=${OWN}`)).code, 502)
  subtest.equal((await world.wire(upgradeTo(host, OWN, { cookie: kept }).replace('Connection: Upgrade', 'Connection: Upgrade, close'))).code, 500)
  subtest.strictSame(upstream.news(), [])
  await world.restartAuth()
  subtest.equal((await visit(OWN, { cookie: kept })).code, 200)
  subtest.equal(upstream.news().length, 1)
})

await test('a session that was prolonged reaches the browser, and so does its end', async (subtest) => {
  const other = await webWorld(subtest, { JWT_REFRESH_ENABLE: 'true', JWT_EXPIRATION: '10m', JWT_REFRESH_WINDOW: '10m' })
  const [first, second] = [await other.session('alice', OWN), await other.session('bob', OWN)]
  const prolonged = await other.visit(OWN, { cookie: first })
  subtest.equal(prolonged.code, 200)
  subtest.match(cookieOf(prolonged), /^workspace_auth=eyJ/)
  subtest.equal((await other.visit(OWN, { cookie: cookieOf(prolonged) ?? '' })).code, 200)
  other.answerAccess(async () => ({ allowed: false, notFound: false, reason: 'RBAC permission denied' }))
  // An answer may be given to others for a moment.
  await untilTrue('bob is refused', async () => (await other.visit(`${OWN}/bearer-auth?token=${linkToken('bob', OWN)}`)).code === 403)
  const ended = await other.visit(OWN, { cookie: second })
  subtest.match([ended.code, ended.headers['set-cookie']], [403, [`workspace_auth=; Path=${OWN}; Max-Age=0; HttpOnly; Secure; SameSite=Lax`]])
  subtest.equal(other.upstream.news().length, 2)
})

await test('nobody logged a secret', async (subtest) => {
  subtest.notMatch(JSON.stringify(world.log.lines), /eyJ|workspace_auth=|code=|state=/)
  subtest.notMatch(await world.nginx.accessLog(), /eyJ|workspace_auth|code=|state=|rd=/)
})
