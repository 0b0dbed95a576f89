import { test } from 'tap'
import { atIssuer, CALLBACK, createBrowser, HOST, LAB, loginUrl, SESSION, signingKey, worldFor } from './browser.ts'

const LOGIN_COOKIE = /^__Host-access-gate-login-[\w-]{16}$/

await test('a whole sign-in: to the issuer, back, and on to the page that was wanted', async (t) => {
  const { issuer, browser, signIns, log } = await worldFor(t)
  const begun = await browser.get(loginUrl(`${LAB}?reset=1`))
  t.equal(begun.status, 303)
  const asked = new URL(begun.location)
  t.equal(`${asked.origin}${asked.pathname}`, `${issuer.url}/authorize`)
  t.match(Object.fromEntries(asked.searchParams), {
    client_id: 'gate',
    redirect_uri: CALLBACK,
    response_type: 'code',
    scope: 'openid profile groups',
    code_challenge_method: 'S256',
    code_challenge: /^[\w-]{43}$/,
    state: /^[\w-]{43}$/,
    nonce: /^[\w-]{43}$/,
  })
  t.match(browser.lastSet, [/^__Host-access-gate-login-[\w-]{16}=[\w.-]+; Path=\/; Max-Age=600; HttpOnly; Secure; SameSite=Lax$/])
  t.equal(browser.cookies.size, 1)
  const back = await atIssuer(begun.location, { user: 'alice' })
  const ended = await browser.get(back)
  t.strictSame([ended.status, ended.location, ended.body], [303, `${LAB}?reset=1`, ''])
  t.match(browser.lastSet, [/^__Host-access-gate-login-[\w-]{16}=; Path=\/; Max-Age=0; HttpOnly; Secure; SameSite=Lax$/, SESSION])
  t.strictSame([...browser.cookies.keys()], ['workspace_auth'])
  t.match(signIns, [{ forwarded: { path: LAB, query: 'reset=1', host: HOST, proto: 'https' }, claims: { subject: 'sub-alice', username: 'alice', groups: ['team-a', 'team-b'] } }])
  for (const { headers } of [begun, ended]) t.match(headers, { 'cache-control': 'no-store', 'referrer-policy': 'no-referrer', 'x-content-type-options': 'nosniff' })
  const told = JSON.stringify(log.lines)
  for (const secret of new URLSearchParams(back.split('?')[1]).values()) if (secret !== issuer.url) t.notOk(told.includes(secret))
})

await test('the page says where to go as well, for a proxy that keeps its own status', async (t) => {
  const { browser } = await worldFor(t)
  const { body, headers, location } = await browser.get(loginUrl(LAB))
  t.match(headers, { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': "default-src 'none'; frame-ancestors 'none'" })
  const escaped = location.replaceAll('&', '&amp;')
  t.ok(body.includes(`<meta http-equiv="refresh" content="0;url=${escaped}">`))
  t.ok(body.includes(`<a href="${escaped}">`))
})

await test('a proxy may name the page in ways of its own', async (t) => {
  const { browser } = await worldFor(t)
  const table: Record<string, { path: string; headers?: Record<string, string | undefined>; to: string }> = {
    'nginx: return 302 /login?rd=$request_uri': { path: `/login?rd=${LAB}?a=1&b=2`, to: `${LAB}?a=1&b=2` },
    'nginx: the page passed on to /login': { path: '/login', headers: { 'x-forwarded-uri': `${LAB}?a=1&b=2` }, to: `${LAB}?a=1&b=2` },
    'Traefik: /login?rd={url}': { path: loginUrl(`https://${HOST}${LAB}?a=1&b=2`), headers: { 'x-forwarded-uri': undefined }, to: `${LAB}?a=1&b=2` },
  }
  for (const [name, { path, headers, to }] of Object.entries(table)) {
    const begun = await browser.get(path, headers)
    const ended = await browser.get(await atIssuer(begun.location, { user: 'bob' }))
    t.strictSame([ended.status, ended.location], [303, to], name)
  }
})

await test('tabs that sign in at the same moment do not break each other', async (t) => {
  const { browser, signIns } = await worldFor(t)
  const pages = [1, 2, 3].map((tab) => `${LAB}?tab=${tab}`)
  const begun = await Promise.all(pages.map((path) => browser.get(loginUrl(path))))
  const backs = await Promise.all(begun.map(({ location }) => atIssuer(location, { user: 'alice' })))
  for (const tab of [2, 0, 1]) {
    const ended = await browser.get(backs[tab] ?? '')
    t.strictSame([ended.status, ended.location], [303, pages[tab]])
  }
  t.equal(signIns.length, 3)
})

await test('a browser never holds more of ours than fits into a request', async (t) => {
  const { browser } = await worldFor(t)
  const ours = (): string[] => [...browser.cookies.keys()].filter((name) => LOGIN_COOKIE.test(name))
  const names: string[] = []
  for (let tab = 0; tab < 8; tab += 1) {
    await browser.get(loginUrl(`${LAB}?tab=${tab}`))
    names.push(ours().find((name) => !names.includes(name)) ?? '')
    t.ok(ours().length <= 5)
    t.ok(ours().includes(names[tab] ?? ''), 'the newest stays')
  }
  for (let tab = 0; tab < 4; tab += 1) {
    await browser.get(loginUrl(`/workspaces/team-a/lab/${'x'.repeat(900)}`))
    t.ok([...browser.cookies.values()].join('').length <= 4_096)
  }
  browser.cookies.set('__Host-access-gate-login-aaaaaaaaaaaaaaaa', 'junk')
  browser.cookies.set('__Host-access-gate-login-a, x=1', 'junk')
  await browser.get(loginUrl(LAB))
  t.notOk(browser.cookies.has('__Host-access-gate-login-aaaaaaaaaaaaaaaa'), 'what is no sign-in goes')
  t.ok(browser.cookies.has('__Host-access-gate-login-a, x=1'), 'a name that is none of ours is not said again')
})

await test('over plain http, where that was asked for, the cookie is no secure one', async (t) => {
  const { app, issuer } = await worldFor(t, { login: { cookieSecure: false }, issuer: { redirectUris: ['http://localhost:8080/callback'] } })
  const browser = createBrowser(app, { host: 'localhost:8080', proto: 'http' })
  const begun = await browser.get(loginUrl(LAB))
  t.match(browser.lastSet, [/^access-gate-login-[\w-]{16}=[\w.-]+; Path=\/; Max-Age=600; HttpOnly; SameSite=Lax$/])
  t.equal(new URL(begun.location).searchParams.get('redirect_uri'), 'http://localhost:8080/callback')
  t.equal((await browser.get(await atIssuer(begun.location, { user: 'alice' }))).status, 303)
  t.ok(issuer.url)
})

await test('the port that goes without saying is not said, also where the proxy says it', async (t) => {
  const { app } = await worldFor(t)
  const browser = createBrowser(app, { host: 'jupyter.test:443' })
  const begun = await browser.get(loginUrl(LAB))
  t.equal(new URL(begun.location).searchParams.get('redirect_uri'), CALLBACK)
  t.equal((await browser.get(await atIssuer(begun.location, { user: 'alice' }))).status, 303)
})

await test('a confidential client shows its secret, and a file of it is read for each sign-in', async (t) => {
  const { browser } = await worldFor(t, { issuer: { clientSecret: 's%cret +:' }, login: { clientSecret: 's%cret +:' } })
  const begun = await browser.get(loginUrl(LAB))
  t.equal((await browser.get(await atIssuer(begun.location, { user: 'alice' }))).status, 303)
})

await test('the keys of the middleware may rotate during a sign-in', async (t) => {
  const { browser, keys } = await worldFor(t)
  const [first, second] = [await browser.get(loginUrl(LAB)), await browser.get(loginUrl(LAB))]
  keys.push(signingKey('1767323999', 2))
  t.equal((await browser.get(await atIssuer(first.location, { user: 'alice' }))).status, 303)
  keys.shift()
  t.equal((await browser.get(await atIssuer(second.location, { user: 'alice' }))).status, 400, 'a key that was removed opens nothing any more')
})

await test('the keys of the issuer may rotate during a sign-in', async (t) => {
  const { browser, issuer } = await worldFor(t, { tokens: { keyTimes: { cooldownMs: 600_000 } } })
  const begun = await browser.get(loginUrl(LAB))
  const back = await atIssuer(begun.location, { user: 'alice' })
  await issuer.rotateKeys({ keepPrevious: false })
  t.equal((await browser.get(back)).status, 303)
})

await test('what /login refuses', async (t) => {
  const { browser, app, keys } = await worldFor(t)
  const table: Record<string, { path?: string; headers?: Record<string, string | undefined>; status: number; says: RegExp }> = {
    'no page to return to': { path: '/login', status: 400, says: /^Say where to return to: \/login\?rd=<path>$/ },
    'an empty one': { path: '/login?rd=', status: 400, says: /cannot be used/ },
    'another host': { path: '/login?rd=https://evil.test/', status: 400, says: /cannot be used/ },
    'another host without a scheme': { path: '/login?rd=//evil.test/', status: 400, says: /cannot be used/ },
    'another host behind a backslash': { path: '/login?rd=/%5Cevil.test', status: 400, says: /cannot be used/ },
    'another host behind an encoded slash': { path: `/login?rd=${encodeURIComponent('/%2fevil.test')}`, status: 400, says: /cannot be used/ },
    'itself': { path: loginUrl('/login?rd=/x'), status: 400, says: /Say where/ },
    'the callback': { path: loginUrl('/callback?code=x'), status: 400, says: /Say where/ },
    'a page over plain http': { headers: { 'x-forwarded-proto': 'http' }, status: 400, says: /must be https/ },
    'a host that is none': { headers: { 'x-forwarded-host': 'jupyter.test/evil' }, status: 400, says: /Invalid X-Forwarded-Host/ },
    'a host that no address can hold': { headers: { 'x-forwarded-host': '1.2.3.4.5' }, status: 400, says: /Invalid X-Forwarded-Host/ },
    'two hosts': { headers: { 'x-forwarded-host': 'jupyter.test, evil.test' }, status: 400, says: /Invalid X-Forwarded-Host/ },
    'no host': { headers: { 'x-forwarded-host': undefined }, status: 400, says: /Missing X-Forwarded-Host/ },
    "a page's own request": { headers: { 'sec-fetch-mode': 'cors' }, status: 401, says: /by opening the page in the browser/ },
    'an image': { headers: { 'sec-fetch-mode': 'no-cors' }, status: 401, says: /by opening the page in the browser/ },
  }
  for (const [name, { path = loginUrl(LAB), headers, status, says }] of Object.entries(table)) {
    const answer = await browser.get(path, headers)
    t.match([answer.status, answer.body, answer.headers['content-type']], [status, says, 'text/plain; charset=utf-8'], name)
    t.equal(browser.lastSet.length, 0, name)
    t.notOk(answer.body.includes('evil'), `${name}: what was sent is not said again`)
  }
  t.equal((await browser.get(loginUrl(LAB), { 'sec-fetch-mode': 'navigate' })).status, 303)
  for (const method of ['POST', 'HEAD', 'PUT'] as const)
    for (const url of [loginUrl(LAB), '/callback?code=x&state=y']) {
      const answer = await app.inject({ method, url, headers: { 'x-forwarded-host': HOST } })
      t.strictSame([answer.statusCode, answer.headers.allow], [405, 'GET'], `${method} ${url}`)
    }
  keys.pop()
  t.match(await browser.get(loginUrl(LAB)), { status: 503, headers: { 'retry-after': /\d/ } }, 'no key')
})

await test('who may not connect hears what the review said, and the sign-in is over', async (t) => {
  const { browser } = await worldFor(t, { sessions: async () => ({ ok: false, code: 503, body: 'Too many sign-ins at once, try again', retryAfterSeconds: 2 }) })
  const begun = await browser.get(loginUrl(LAB))
  const answer = await browser.get(await atIssuer(begun.location, { user: 'bob' }))
  t.match(answer, { status: 503, body: 'Too many sign-ins at once, try again', headers: { 'retry-after': /^2$/, 'content-type': 'text/plain; charset=utf-8' } })
  t.equal(browser.cookies.size, 0)
})

await test('an end that breaks lets nobody in', async (t) => {
  const { browser } = await worldFor(t, {
    sessions: async () => {
      throw new Error('broken')
    },
  })
  const begun = await browser.get(loginUrl(LAB))
  t.match(await browser.get(await atIssuer(begun.location, { user: 'bob' })), { status: 500, body: 'Internal server error' })
  t.equal(browser.cookies.size, 0)
})
