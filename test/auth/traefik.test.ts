/** What Traefik 3.6 was seen to ask with the example of the documentation; these are its headers, without Cookie and what the browser sends. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'tap'
import { parseAllDocuments } from 'yaml'
import { ROOT } from '../../hack/project.ts'
import { attributesOf, authWorld } from '../support/auth-world.ts'
import { atIssuer, HOST as LOGIN_HOST, LAB, worldFor } from './oidc/browser.ts'

const HOST = 'ws.example.com'
const APP = '/workspaces/ns1/app1'

const COMMON = (host: string): Record<string, string> => ({
  'x-forwarded-host': host,
  'x-forwarded-port': '443',
  'x-forwarded-proto': 'https',
  'x-forwarded-server': 'traefik-7d5c',
  'x-real-ip': '10.0.0.9',
  'accept-encoding': 'gzip',
})

/** forwardAuth: always GET to the address of auth itself, whatever the browser's method was. */
const forwardAuth = (uri: string, method = 'GET', host = HOST): Record<string, string> => ({
  host: '127.0.0.1:8080',
  ...COMMON(host),
  'x-forwarded-for': '10.0.0.9',
  'x-forwarded-method': method,
  'x-forwarded-uri': uri,
})

/** Of a WebSocket it keeps Connection and Upgrade to itself. */
const WEB_SOCKET = { 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==', 'sec-websocket-version': '13' }

await test('forwardAuth to /verify', async (t) => {
  const { app, session } = authWorld(t)
  const cookie = await session()
  const cases: Record<string, [headers: Record<string, string>, code: number]> = {
    'no session': [forwardAuth(APP), 401],
    'a page': [{ ...forwardAuth(`${APP}/lab?reset&x=a%20b&y=1%2F2`), cookie }, 200],
    'another Workspace': [{ ...forwardAuth('/workspaces/ns1/app2'), cookie }, 403],
    'a sibling': [{ ...forwardAuth('/workspaces/ns1/app1-secret/'), cookie }, 403],
    'another host': [{ ...forwardAuth(APP, 'GET', 'other.example.com'), cookie }, 403],
    'an encoded slash, which it passes on': [{ ...forwardAuth(`${APP}/..%2Fapp2`), cookie }, 400],
    'an encoded backslash': [{ ...forwardAuth(`${APP}%5C..%5Capp2`), cookie }, 400],
    'a form of the Workspace': [{ ...forwardAuth(`${APP}/x`, 'POST'), cookie, origin: `https://${HOST}` }, 200],
    'a form of another site': [{ ...forwardAuth(`${APP}/x`, 'POST'), cookie, origin: 'https://evil.example.com' }, 403],
    'a WebSocket of the Workspace': [{ ...forwardAuth(`${APP}/api`), ...WEB_SOCKET, cookie, origin: `https://${HOST}` }, 200],
    'a WebSocket of another site': [{ ...forwardAuth(`${APP}/api`), ...WEB_SOCKET, cookie, origin: 'https://evil.example.com' }, 403],
  }
  for (const [sentence, [headers, code]] of Object.entries(cases)) t.equal((await app.inject({ url: '/verify', headers })).statusCode, code, sentence)
})

await test('forwardAuth to /bearer-auth, whose answer goes to the browser as it is', async (t) => {
  const { app, answerToken } = authWorld(t)
  answerToken(async () => ({ authenticated: true, user: { user: 'alice', groups: [] }, path: APP, domain: HOST }))
  const { statusCode, headers } = await app.inject({ url: '/bearer-auth', headers: forwardAuth(`${APP}/bearer-auth?token=t`) })
  t.strictSame([statusCode, headers['location'], attributesOf(headers['set-cookie'])], [303, APP, `workspace_auth=…; Path=${APP}; Max-Age=86400; HttpOnly; Secure; SameSite=Lax`])
})

/** It names neither the method nor the path by a header: the page is in the query, as a whole URL. */
const errors = { 'x-forwarded-uri': undefined, host: LOGIN_HOST, ...COMMON(LOGIN_HOST) }

await test('the errors middleware asks /login for the page, and the browser goes on from there', async (t) => {
  const { browser } = await worldFor(t)
  const page = `${LAB}/lab?reset&x=a%20b&y=1%2F2`
  const begun = await browser.get(`/login?rd=${encodeURIComponent(`https://${LOGIN_HOST}${page}`)}`, errors)
  t.equal(begun.status, 303)
  t.match(begun.body, /<meta http-equiv="refresh" content="0;url=http:\/\/127\.0\.0\.1:\d+\/authorize\?/, 'Traefik keeps 401, so the page leads on')
  const { status, location } = await browser.get(await atIssuer(begun.location, { user: 'alice' }), errors)
  t.strictSame([status, location], [303, page])
  const elsewhere = await browser.get(`/login?rd=${encodeURIComponent(`https://evil.example.com${page}`)}`, errors)
  t.strictSame([elsewhere.status, elsewhere.location], [400, ''], 'the same of another host')
  const script = await browser.get(`/login?rd=${encodeURIComponent(`https://${LOGIN_HOST}${page}`)}`, { ...errors, 'sec-fetch-mode': 'cors' })
  t.equal(script.status, 401, "a page's own request is told so")
})

await test('the example says what this rests on', async (t) => {
  const text = await readFile(join(ROOT, 'docs/examples/traefik-forward-auth.yaml'), 'utf8')
  const specs = parseAllDocuments(text).map((document): { spec: object } => document.toJS())
  const middlewares = specs.map(({ spec }) => spec).filter((spec) => !('routes' in spec))
  t.match(middlewares, [
    { forwardAuth: { address: /\/verify$/, trustForwardHeader: false, addAuthCookiesToResponse: ['workspace_auth'] } },
    { errors: { status: ['401'], query: '/login?rd={url}', statusRewrites: undefined } },
    { forwardAuth: { address: /\/bearer-auth$/, trustForwardHeader: false, preserveLocationHeader: true } },
  ])
})
