/** Session cookies with a signed token in them. */
import type { Logger } from 'pino'
import { isCoded } from '../errors.ts'
import type { TokenClaims, Tokens } from '../jwt/tokens.ts'
import { INTERNAL_ERROR, textAnswer, type AuthAnswer } from './answer.ts'
import { MAX_COOKIE_BYTES, type SessionCookie } from './cookie.ts'

export type SessionClaims = Omit<TokenClaims, 'type' | 'skipRefresh' | 'namespace'>

export type MadeSession = { ok: true; cookie: string } | { ok: false; answer: AuthAnswer }

export interface Sessions {
  /** Never rejects: what goes wrong is in the log, and for the browser in the answer. @param issuedAt of the session that this one prolongs, milliseconds since the epoch */
  make(claims: SessionClaims, issuedAt?: number): Promise<MadeSession>
}

export interface SessionsDeps {
  tokens: Pick<Tokens, 'sign'>
  cookie: SessionCookie
  ttlMs: number
  logger: Pick<Logger, 'error'>
}

const TOO_LARGE = textAnswer(500, 'The session does not fit into a cookie: you are in too many groups; ask your administrator')

export const createSessions = ({ tokens, cookie, ttlMs, logger }: SessionsDeps): Sessions => ({
  make: async (claims, issuedAt) => {
    let token: string
    try {
      token = await tokens.sign({ ...claims, type: 'session' }, { ttlMs, ...(issuedAt === undefined ? {} : { issuedAt }) })
    } catch (error) {
      logger.error({ err: error, user: claims.user }, 'no session could be made')
      return { ok: false, answer: isCoded(error, 'JWT_CLAIMS') ? TOO_LARGE : INTERNAL_ERROR }
    }
    const header = cookie.set(claims.path, token)
    const bytes = Buffer.byteLength(header)
    if (bytes <= MAX_COOKIE_BYTES) return { ok: true, cookie: header }
    logger.error(
      { user: claims.user, bytes, groups: claims.groups.length },
      `the session cookie would be longer than the ${MAX_COOKIE_BYTES} bytes that browsers keep: have the issuer put fewer groups into its tokens, or shorter names`,
    )
    return { ok: false, answer: TOO_LARGE }
  },
})
