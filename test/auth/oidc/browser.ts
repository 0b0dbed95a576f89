/** A browser's part of a sign-in: it keeps cookies as browsers do, follows nothing by itself, and reaches the middleware through a proxy. */
import type { FastifyInstance } from 'fastify'
import { Registry } from 'prom-client'
import { SigningKey } from '../../../src/core/signing-keys.ts'
import type { ForwardedRequest } from '../../../src/core/forwarded-request.ts'
import type { IdClaims } from '../../../src/auth/oidc/id-claims.ts'
import { createLogin, type LoginOptions } from '../../../src/auth/oidc/login.ts'
import { createAuthMetrics } from '../../../src/auth/metrics.ts'
import { buildAuthServer } from '../../../src/auth/server.ts'
import type { SessionMaker } from '../../../src/auth/sign-in.ts'
import { trustedProxies } from '../../../src/auth/trusted-proxies.ts'
import { logLines, type LogLines } from '../../support/log-lines.ts'
import { CLIENT_ID, issuerFor, tokensOf, type Teardown } from './issuers.ts'
import type { OidcIssuer, OidcIssuerOptions } from '../../../hack/oidc-issuer/issuer.ts'
import type { IdTokenOptions } from '../../../src/auth/oidc/id-tokens.ts'

export const HOST = 'jupyter.test'
export const CALLBACK = `https://${HOST}/callback`
export const LAB = '/workspaces/team-a/lab'
export const SESSION = `workspace_auth=a-session; Path=${LAB}; Max-Age=3600; HttpOnly; Secure; SameSite=Lax`

export interface Answer {
  status: number
  headers: Record<string, string | string[] | number | undefined>
  body: string
  location: string
}

export interface Browser {
  /** Name to value, of the host. */
  readonly cookies: Map<string, string>
  /** The Set-Cookie lines of the last answer. */
  readonly lastSet: string[]
  get(path: string, headers?: Record<string, string | undefined>): Promise<Answer>
}

export const createBrowser = (app: FastifyInstance, { host = HOST, proto = 'https' }: { host?: string; proto?: string } = {}): Browser => {
  const cookies = new Map<string, string>()
  const lastSet: string[] = []
  const keep = (line: string): void => {
    const [pair = '', ...attributes] = line.split('; ')
    const name = pair.slice(0, pair.indexOf('='))
    const isHostPrefixed = name.startsWith('__Host-')
    const isHostOnly = attributes.includes('Secure') && attributes.includes('Path=/') && !attributes.some((one) => one.startsWith('Domain='))
    // Browsers drop such a cookie without a word.
    if (isHostPrefixed && !isHostOnly) return
    if (attributes.includes('Max-Age=0')) cookies.delete(name)
    else cookies.set(name, pair.slice(pair.indexOf('=') + 1))
  }
  return {
    cookies,
    lastSet,
    get: async (path, more = {}) => {
      const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
      const all = { 'x-forwarded-host': host, 'x-forwarded-proto': proto, 'x-forwarded-uri': path, ...(cookie === '' ? {} : { cookie }), ...more }
      const headers = Object.fromEntries(Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined))
      const response = await app.inject({ method: 'GET', url: path, headers })
      const set = [response.headers['set-cookie'] ?? []].flat()
      lastSet.splice(0, lastSet.length, ...set)
      for (const line of set) keep(line)
      return { status: response.statusCode, headers: response.headers, body: response.body, location: response.headers.location ?? '' }
    },
  }
}

export interface World {
  issuer: OidcIssuer
  app: FastifyInstance
  browser: Browser
  log: LogLines
  /** What the end of each sign-in was asked for. */
  signIns: { forwarded: ForwardedRequest; claims: IdClaims }[]
  /** Of the middleware; the newest signs. */
  keys: SigningKey[]
  time: { ahead: number }
}

export const signingKey = (kid: string, byte: number): SigningKey => new SigningKey(kid, new Uint8Array(48).fill(byte))

export interface Setting {
  issuer?: Partial<OidcIssuerOptions>
  login?: Partial<LoginOptions>
  tokens?: Partial<IdTokenOptions>
  sessions?: SessionMaker['signIn']
  /** Where the issuer is, when it is not to be the sandbox's own. */
  at?: string
}

export const worldFor = async (t: Teardown, setting: Setting = {}): Promise<World> => {
  const issuer = await issuerFor(t, { redirectUris: [CALLBACK], ...setting.issuer })
  const time = { ahead: 0 }
  const clock = { now: () => Date.now() + time.ahead }
  const { idTokens } = await tokensOf(t, setting.at ?? issuer.url, setting.tokens)
  const keys = [signingKey('1767323045', 1)]
  const signIns: World['signIns'] = []
  const log = logLines()
  const signIn: SessionMaker['signIn'] = async (forwarded, claims) => {
    signIns.push({ forwarded, claims })
    return setting.sessions === undefined ? { ok: true, cookie: SESSION } : setting.sessions(forwarded, claims)
  }
  const ring = { signingKey: () => keys.at(-1), keyFor: (kid: string) => keys.find((key) => key.kid === kid) }
  const options = { clientId: CLIENT_ID, cookieSecure: true, allowHttpLoopback: true, ...setting.login }
  const login = createLogin(options, { idTokens, sessions: { signIn }, ring, clock, logger: log.log })
  const app = buildAuthServer({
    verify: async () => ({ code: 401, text: 'Unauthorized' }),
    login,
    proxies: trustedProxies(['127.0.0.1']),
    drain: { draining: false },
    metrics: createAuthMetrics(new Registry()),
    clock,
    logger: log.log,
    readTimeoutMs: 10_000,
    writeTimeoutMs: 10_000,
  })
  t.teardown(() => app.close())
  return { issuer, app, browser: createBrowser(app), log, signIns, keys, time }
}

export const loginUrl = (path: string): string => `/login?rd=${encodeURIComponent(path)}`

/** What a user does at the issuer: picks who to be, or turns back. @returns where the issuer sends the browser, as path and query */
export const atIssuer = async (location: string, who: { user: string } | { deny: '1' }): Promise<string> => {
  const asked = new URL(location)
  const answer = await fetch(`${asked.origin}/authorize`, { method: 'POST', body: new URLSearchParams([...asked.searchParams, ...Object.entries(who)]), redirect: 'manual' })
  const back = new URL(answer.headers.get('location') ?? 'https://nowhere.invalid')
  return `${back.pathname}${back.search}`
}
