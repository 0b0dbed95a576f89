import { test } from 'tap'
import { isCookieName, sessionCookie, type CookieOptions } from '../../src/auth/cookie.ts'

const options: CookieOptions = { name: 'workspace_auth', path: '/', secure: true, httpOnly: true, sameSite: 'lax', maxAgeSeconds: 86_400 }
const APP = '/workspaces/ns/app'

await test('how the cookie is written: never with a Domain', (t) => {
  const cases: [changes: Partial<CookieOptions>, appPath: string, expected: string][] = [
    [{}, APP, 'workspace_auth=t; Path=/workspaces/ns/app; Max-Age=86400; HttpOnly; Secure; SameSite=Lax'],
    [{}, '/', 'workspace_auth=t; Path=/; Max-Age=86400; HttpOnly; Secure; SameSite=Lax'],
    [{ path: '/base' }, '/', 'workspace_auth=t; Path=/base; Max-Age=86400; HttpOnly; Secure; SameSite=Lax'],
    [{ path: '/base' }, '', 'workspace_auth=t; Path=/base; Max-Age=86400; HttpOnly; Secure; SameSite=Lax'],
    [{ path: '/base' }, APP, 'workspace_auth=t; Path=/workspaces/ns/app; Max-Age=86400; HttpOnly; Secure; SameSite=Lax'],
    [{ sameSite: 'strict', secure: false }, APP, 'workspace_auth=t; Path=/workspaces/ns/app; Max-Age=86400; HttpOnly; SameSite=Strict'],
    [{ sameSite: 'none', httpOnly: false, name: '__Host-ws', maxAgeSeconds: 60 }, '/', '__Host-ws=t; Path=/; Max-Age=60; Secure; SameSite=None'],
  ]
  for (const [changes, appPath, expected] of cases) t.equal(sessionCookie({ ...options, ...changes }).set(appPath, 't'), expected)
  t.equal(sessionCookie(options).clear(APP), 'workspace_auth=; Path=/workspaces/ns/app; Max-Age=0; HttpOnly; Secure; SameSite=Lax')
  t.end()
})

await test('every cookie of the name is read, in order', (t) => {
  const cases: Record<string, string[]> = {
    '': [],
    'workspace_auth=a': ['a'],
    'workspace_auth=a; workspace_auth=b': ['a', 'b'],
    'x=y; workspace_auth=a;workspace_auth=b ; z=1': ['a', 'b'],
    'workspace_auth=; workspace_auth=b': ['b'],
    'workspace_auth=a=b': ['a=b'],
    'xworkspace_auth=a; workspace_auth2=b; Workspace_auth=c': [],
    'x=workspace_auth=a': [],
    'x="b workspace_auth=a"': [],
    'x=b workspace_auth=a': [],
    ' workspace_auth=a': ['a'],
    'workspace_auth': [],
  }
  for (const [header, expected] of Object.entries(cases)) t.strictSame(sessionCookie(options).read(header), expected, header)
  t.strictSame(sessionCookie(options).read(undefined), [])
  t.end()
})

await test('names', (t) => {
  for (const name of ['workspace_auth', '__Host-ws', 'a.b-c']) t.ok(isCookieName(name), name)
  for (const name of ['', 'a b', 'a=b', 'a;b', 'é', 'a'.repeat(129)]) t.notOk(isCookieName(name), name)
  t.end()
})
