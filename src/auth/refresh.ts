/**
 * Sessions near their end: the access is asked about again, and a session that still has it goes on. Whatever else happens, it lasts
 * as long as its token and no longer.
 */
import type { Logger } from 'pino'
import type { ForwardedRequest } from '../core/forwarded-request.ts'
import { createRecentMap } from '../core/recent-map.ts'
import { isRefreshDue, isWithinHorizon, type RefreshRules } from '../core/session.ts'
import { workspacePlace, type WorkspaceRouting } from '../core/workspace-path.ts'
import type { VerifiedToken } from '../jwt/tokens.ts'
import type { Clock, ReviewedIdentity } from '../kube/ports.ts'
import { backoffMs, type Timers } from '../kube/timers.ts'
import type { SessionCookie } from './cookie.ts'
import type { AuthMetrics } from './metrics.ts'
import type { Reviews } from './reviews.ts'
import type { Sessions } from './sessions.ts'

/** `kept`: it goes on as it is. A cookie goes with the answer: the new session, or the one that removes it. */
export type Refreshed = { kind: 'kept' } | { kind: 'renewed'; cookie: string } | { kind: 'denied'; cookie: string }

export interface Refresher {
  isDue(token: VerifiedToken): boolean
  /** Never rejects. @param request one that the token opens */
  refresh(token: VerifiedToken, request: ForwardedRequest): Promise<Refreshed>
}

export interface RefresherDeps {
  routing: WorkspaceRouting
  reviews: Pick<Reviews, 'mayConnect'>
  sessions: Sessions
  cookie: Pick<SessionCookie, 'clear'>
  clock: Clock
  timers: Timers
  /** A number from 0 up to 1. */
  random: () => number
  metrics: Pick<AuthMetrics, 'refreshed'>
  logger: Pick<Logger, 'info' | 'warn'>
}

interface Asked {
  isUnderWay: boolean
  /** When it may be asked again, on the clock of the timers. */
  nextAt: number
  failures: number
  /** What the last answer was. */
  isDenied: boolean
}

/** After an answer, the same session is not asked about again for so long, milliseconds: a page is many requests. */
const PACE_MS = 10_000
/** After a failure. */
const BACKOFF = { baseMs: 5_000, capMs: 60_000 }
/** How many sessions are asked about at once: visitors who sign in go before those who are in. */
const AT_ONCE = 16
/** How many sessions are remembered as asked about; those not seen for longest make room. */
const CAPACITY = 10_000

const KEPT: Refreshed = { kind: 'kept' }

/** Tokens of ours have an id; one of another program that shares the keys may have none. */
const sessionId = ({ jti, user, domain, path, issuedAt, expiresAt }: VerifiedToken): string => jti ?? JSON.stringify([user, domain, path, issuedAt, expiresAt])

const identityOf = ({ user, groups, uid, extra }: VerifiedToken): ReviewedIdentity => ({ user, groups, ...(uid === undefined ? {} : { uid }), ...(extra === undefined ? {} : { extra }) })

export const createRefresher = (deps: RefresherDeps, rules: RefreshRules): Refresher => {
  const { routing, reviews, sessions, cookie, clock, timers, random, metrics, logger } = deps
  const asked = createRecentMap<Asked>(CAPACITY)
  let underWay = 0

  const remembered = (id: string): Asked => {
    const known = asked.get(id)
    if (known !== undefined) return known
    const fresh: Asked = { isUnderWay: false, nextAt: Number.NEGATIVE_INFINITY, failures: 0, isDenied: false }
    asked.set(id, fresh)
    return fresh
  }

  const told = (entry: Asked, token: VerifiedToken): Refreshed => (entry.isDenied ? { kind: 'denied', cookie: cookie.clear(token.path) } : KEPT)

  const failed = (entry: Asked): Refreshed => {
    entry.nextAt = timers.monotonic() + backoffMs(entry.failures, { ...BACKOFF, random })
    entry.failures += 1
    metrics.refreshed('failed')
    return KEPT
  }

  const renew = async (token: VerifiedToken): Promise<Refreshed> => {
    const { user, path, domain, issuedAt } = token
    const now = clock.now()
    // It may have ended while it was asked about: then only a sign-in makes a new one.
    if (now >= token.expiresAt || !isWithinHorizon(rules, token, now)) {
      metrics.refreshed('kept')
      logger.info({ user, path }, 'a session is not prolonged: its sign-in was too long ago')
      return KEPT
    }
    const made = await sessions.make({ ...identityOf(token), path, domain }, issuedAt)
    metrics.refreshed(made.ok ? 'renewed' : 'failed')
    return made.ok ? { kind: 'renewed', cookie: made.cookie } : KEPT
  }

  const ask = async (entry: Asked, token: VerifiedToken, request: ForwardedRequest): Promise<Refreshed> => {
    const place = workspacePlace(routing, request)
    const reviewed = place === undefined ? undefined : await reviews.mayConnect(place.workspace, identityOf(token))
    if (reviewed?.kind !== 'answered') return failed(entry)
    entry.failures = 0
    entry.nextAt = timers.monotonic() + PACE_MS
    entry.isDenied = !reviewed.answer.allowed
    if (!entry.isDenied) return renew(token)
    metrics.refreshed('denied')
    logger.info({ user: token.user, path: token.path, reason: reviewed.answer.reason }, 'a session was ended: the user may not connect any more')
    return told(entry, token)
  }

  return {
    isDue: (token) => isRefreshDue(rules, token, clock.now()),
    refresh: async (token, request) => {
      const entry = remembered(sessionId(token))
      if (entry.isUnderWay || underWay >= AT_ONCE || timers.monotonic() < entry.nextAt) return told(entry, token)
      entry.isUnderWay = true
      underWay += 1
      try {
        return await ask(entry, token, request)
      } finally {
        entry.isUnderWay = false
        underWay -= 1
      }
    },
  }
}
