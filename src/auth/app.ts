/** The middleware with everything that it asks and knows, put together. */
import type { FastifyInstance, FastifyPluginCallback } from 'fastify'
import type { Logger } from 'pino'
import type { Registry } from 'prom-client'
import type { KeyRing } from '../jwt/key-ring.ts'
import { createTokens } from '../jwt/tokens.ts'
import { rememberVerified } from '../jwt/verified-tokens.ts'
import type { Clock, ConnectionReviewer } from '../kube/ports.ts'
import type { Timers } from '../kube/timers.ts'
import type { Drain } from '../serving/drain.ts'
import { createAuthRoute } from './auth-route.ts'
import { createBearerRoute } from './bearer-route.ts'
import { sessionCookie } from './cookie.ts'
import { createAuthMetrics } from './metrics.ts'
import type { IdTokens } from './oidc/id-tokens.ts'
import type { AuthOptions } from './options.ts'
import { createRefresher } from './refresh.ts'
import { createReviews } from './reviews.ts'
import { buildAuthServer } from './server.ts'
import { createSessions } from './sessions.ts'
import { createSessionMaker, type SessionMaker } from './sign-in.ts'
import { createVerify } from './verify.ts'

export interface AuthAppDeps {
  reviewer: ConnectionReviewer
  ring: Pick<KeyRing, 'signingKey' | 'keyFor' | 'generation'>
  /** Left out: no /auth. */
  idTokens: IdTokens | undefined
  /** Serves /login and /callback, where they are switched on. */
  login: ((sessions: SessionMaker) => FastifyPluginCallback) | undefined
  drain: Pick<Drain, 'draining'>
  register: Registry
  timers: Timers
  clock: Clock
  logger: Logger
  /** A number from 0 up to 1. */
  random: () => number
  /** Never the same twice. */
  newId: () => string
}

/** Characters of the sessions that are remembered as verified, about 20 MB: 25,000 of users in three groups, or 4,000 of users in a hundred. */
const REMEMBERED = 16 * 2 ** 20
/** Questions to the extension API that are under way, and those that wait. */
const AT_ONCE = 64
const WAITING = 4_096
/** At most, milliseconds: the time in the line and that of the question itself. */
const REVIEW_WITHIN_MS = 9_000
/** The part of WRITE_TIMEOUT that a question may take, so that there is time left to answer. */
const REVIEW_PART = 0.9

/** Does not listen. */
export const buildAuthApp = (options: AuthOptions, deps: AuthAppDeps): FastifyInstance => {
  const { reviewer, ring, idTokens, login, drain, register, timers, clock, logger, random, newId } = deps
  const { routing, jwt, oidc, readTimeoutMs, writeTimeoutMs, proxies } = options
  const metrics = createAuthMetrics(register)
  const tokens = rememberVerified(createTokens({ ring, clock, issuer: jwt.issuer, audience: jwt.audience, newId }), ring, clock, REMEMBERED)
  const cookie = sessionCookie(options.cookie)
  const rules = { requireHttps: options.cookie.secure }
  const withinMs = Math.min(REVIEW_WITHIN_MS, writeTimeoutMs * REVIEW_PART)
  const reviews = createReviews({ reviewer, timers, metrics, logger }, { withinMs, atOnce: AT_ONCE, waiting: WAITING })
  const sessions = createSessions({ tokens, cookie, ttlMs: jwt.ttlMs, logger })
  const refresher = createRefresher({ routing, reviews, sessions, cookie, clock, timers, random, metrics, logger }, options.refresh)
  const maker = createSessionMaker({ routing, reviews, sessions, addAuthenticatedGroup: oidc?.addAuthenticatedGroup === true, logger })
  const refused = (why: string): void => logger.info({ reason: why }, 'an ID token was refused')
  return buildAuthServer({
    verify: createVerify({ tokens, cookie, refresher, rules }),
    ...(options.enableOauth && oidc !== undefined && idTokens !== undefined ? { auth: createAuthRoute({ ...oidc, idTokens, maker, rules, refused }) } : {}),
    ...(options.enableBearerUrlAuth ? { bearerAuth: createBearerRoute({ routing, rules, reviews, sessions, logger }) } : {}),
    ...(login === undefined ? {} : { login: login(maker) }),
    proxies,
    drain,
    metrics,
    clock,
    logger,
    readTimeoutMs,
    writeTimeoutMs,
  })
}
