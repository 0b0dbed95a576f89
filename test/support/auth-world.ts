/** The auth middleware with real tokens and cookies; the issuer and the extension API answer as a test says, and time stands still. */
import type { FastifyInstance, LightMyRequestResponse } from 'fastify'
import { Registry } from 'prom-client'
import type { Test } from 'tap'
import { buildAuthApp } from '../../src/auth/app.ts'
import type { IdTokenReading, IdTokens } from '../../src/auth/oidc/id-tokens.ts'
import { readAuthOptions, type AuthSettings } from '../../src/auth/options.ts'
import { createTokens, type TokenClaims, type Tokens } from '../../src/jwt/tokens.ts'
import type { ConnectionReviewer, ReviewedIdentity, TokenReviewAnswer } from '../../src/kube/ports.ts'
import { fakeTime, type FakeTime } from './fake-time.ts'
import { logLines, type LogLines } from './log-lines.ts'
import { AUDIENCE, ISSUER, memoryRing, START, type MemoryRing } from './token-bench.ts'

export const HOST = 'ws.example.com'
export const APP = '/workspaces/ns1/app1'
export const HOUR = 3_600_000

/** Where a request comes from. */
export const forwarded = (uri: string, host = HOST): Record<string, string> => ({ 'x-forwarded-uri': uri, 'x-forwarded-host': host })

export interface AskedAccess {
  workspace: { namespace: string; name: string }
  identity: ReviewedIdentity
}

type AccessReview = ConnectionReviewer['mayConnect']

export const allowed: AccessReview = async () => ({ allowed: true, notFound: false, reason: 'Valid RBAC and the subject Workspace is public' })
export const denied: AccessReview = async () => ({ allowed: false, notFound: false, reason: 'RBAC permission denied' })
export const absent: AccessReview = async () => ({ allowed: false, notFound: true, reason: 'Workspace not found' })

const noToken = async (_token: string): Promise<TokenReviewAnswer> => ({ authenticated: false, error: 'invalid or expired token' })

export interface AuthWorld {
  app: FastifyInstance
  time: FakeTime
  ring: MemoryRing
  log: LogLines
  register: Registry
  draining: { draining: boolean }
  /** What the extension API was asked, in order. */
  accessAsked: AskedAccess[]
  tokensAsked: { namespace: string; token: string }[]
  answerAccess: (by: AccessReview) => void
  answerToken: (by: (token: string) => Promise<TokenReviewAnswer>) => void
  /** What the issuer's tokens say; others are invalid. */
  idToken: (token: string, reading: IdTokenReading) => void
  issuerReady: (ready: boolean) => void
  /** A session cookie, or the cookie of other claims. */
  session: (claims?: Partial<TokenClaims>, times?: { ttlMs?: number; issuedAt?: number }) => Promise<string>
  /** With the same keys, for another issuer. */
  otherTokens: (issuer: string, audience: string) => Tokens
}

export const GOOD_ID: IdTokenReading = { ok: true, claims: { subject: 'user-uid', username: 'github:valid-user', groups: ['github:org1:team1', 'github:org1:team2'], expiresAt: START + HOUR } }

export const BASE_SETTINGS: AuthSettings = {
  NAMESPACE: 'connectors-system',
  OIDC_ISSUER_URL: 'https://issuer.example.com',
  OIDC_CLIENT_ID: 'workspaces',
  OIDC_USERNAME_PREFIX: 'github:',
  OIDC_GROUPS_PREFIX: 'github:',
  ENABLE_BEARER_URL_AUTH: 'true',
}

export const authWorld = (t: Test, settings: AuthSettings = {}): AuthWorld => {
  const time = fakeTime(START)
  const ring = memoryRing('100', '200')
  const log = logLines()
  const register = new Registry()
  const draining = { draining: false }
  const accessAsked: AskedAccess[] = []
  const tokensAsked: { namespace: string; token: string }[] = []
  let access = allowed
  let review = noToken
  const known = new Map<string, IdTokenReading>([['good-id-token', GOOD_ID]])
  let isIssuerReady = true
  const idTokens: IdTokens = {
    get ready() {
      return isIssuerReady
    },
    verify: async (token) => known.get(token) ?? { ok: false, kind: 'invalid', why: 'signature' },
  }
  const reviewer: ConnectionReviewer = {
    mayConnect: (workspace, identity) => {
      accessAsked.push({ workspace, identity })
      return access(workspace, identity)
    },
    reviewToken: (namespace, token) => {
      tokensAsked.push({ namespace, token })
      return review(token)
    },
  }
  let ids = 0
  const newId = (): string => `id-${(ids += 1)}`
  const { clock, timers } = time
  const options = readAuthOptions({ ...BASE_SETTINGS, ...settings })
  const app = buildAuthApp(options, { reviewer, ring, idTokens, login: undefined, drain: draining, register, timers, clock, logger: log.log, random: () => 0, newId })
  t.teardown(() => app.close())
  const otherTokens = (issuer: string, audience: string): Tokens => createTokens({ ring, clock, issuer, audience, newId })
  const tokens = otherTokens(ISSUER, AUDIENCE)
  return {
    app,
    time,
    ring,
    log,
    register,
    draining,
    accessAsked,
    tokensAsked,
    answerAccess: (by) => (access = by),
    answerToken: (by) => (review = by),
    idToken: (token, reading) => known.set(token, reading),
    issuerReady: (ready) => (isIssuerReady = ready),
    session: async (claims = {}, { ttlMs = HOUR, issuedAt } = {}) =>
      `workspace_auth=${await tokens.sign({ user: 'alice', groups: ['team-a'], uid: 'u-1', path: APP, domain: HOST, type: 'session', ...claims }, { ttlMs, ...(issuedAt === undefined ? {} : { issuedAt }) })}`,
    otherTokens,
  }
}

/** Headers that say something of this answer: those that every answer has are checked and left out. */
const COMMON: Record<string, string> = { 'cache-control': 'no-store', 'referrer-policy': 'no-referrer', 'x-content-type-options': 'nosniff' }
const WIRE: ReadonlySet<string> = new Set(['date', 'content-length', 'connection'])

export interface WholeAnswer {
  code: number
  headers: Record<string, unknown>
  body: string
}

/** @throws Error when one of the headers is missing that every answer has */
export const whole = ({ statusCode, headers, body }: LightMyRequestResponse): WholeAnswer => {
  const own = Object.entries(headers).filter(([name, value]) => {
    if (COMMON[name] !== undefined && COMMON[name] !== value) throw new Error(`${name} is ${String(value)}`)
    return COMMON[name] === undefined && !WIRE.has(name)
  })
  for (const name of Object.keys(COMMON)) if (headers[name] === undefined) throw new Error(`${name} is missing`)
  return { code: statusCode, headers: Object.fromEntries(own), body }
}

/** An answer of one line. */
export const line = (code: number, body: string, headers: Record<string, unknown> = {}): WholeAnswer => ({ code, headers: { 'content-type': 'text/plain; charset=utf-8', ...headers }, body })

/** What the token in a Set-Cookie says, without the times. */
export const claimsIn = (cookie: unknown): Record<string, unknown> => JSON.parse(Buffer.from(String(cookie).split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown>

/** What follows the token. */
export const attributesOf = (cookie: unknown): string => String(cookie).replace(/^([^=]+)=[^;]*/, (_all, name: string) => `${name}=…`)
