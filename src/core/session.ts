/** What a session token opens, and when it is to be renewed. */
import type { ForwardedRequest } from './forwarded-request.ts'
import { isWithin } from './workspace-path.ts'

/** What a token says that was found to be ours and not expired. Times in milliseconds since the epoch. */
export interface SessionFacts {
  type: string
  path: string
  domain: string
  issuedAt: number
  expiresAt: number
  skipRefresh?: boolean
}

/** Why a token does not open what was asked for. */
export type SessionFault = 'no-session' | 'other-path' | 'other-domain'

/** The later ones say more of what is wrong. */
const ORDER: readonly SessionFault[] = ['no-session', 'other-path', 'other-domain']

/** Of several cookies the one that came furthest is spoken of. */
export const furthest = (a: SessionFault, b: SessionFault): SessionFault => (ORDER.indexOf(b) > ORDER.indexOf(a) ? b : a)

/** A token without a path or a host opens nothing. */
export const judgeSession = (
  token: Pick<SessionFacts, 'type' | 'path' | 'domain'>,
  { path, host }: Pick<ForwardedRequest, 'path' | 'host'>,
): 'opened' | SessionFault => {
  if (token.type !== 'session') return 'no-session'
  if (!isWithin(path, token.path)) return 'other-path'
  return token.domain === host ? 'opened' : 'other-domain'
}

export interface RefreshRules {
  enabled: boolean
  /** A token is renewed when less than this is left of it, milliseconds. */
  windowMs: number
  /** So long after the sign-in no renewed token is made, milliseconds. */
  horizonMs: number
}

/** Whether the user's access is to be asked about again before the token ends. */
export const isRefreshDue = ({ enabled, windowMs }: RefreshRules, { issuedAt, expiresAt, skipRefresh }: Pick<SessionFacts, 'issuedAt' | 'expiresAt' | 'skipRefresh'>, now: number): boolean => {
  const left = expiresAt - now
  return enabled && skipRefresh !== true && Number.isFinite(issuedAt) && left > 0 && left <= windowMs
}

/** Whether a token may still be followed by a new one. */
export const isWithinHorizon = ({ horizonMs }: RefreshRules, { issuedAt }: Pick<SessionFacts, 'issuedAt'>, now: number): boolean => now - issuedAt < horizonMs
