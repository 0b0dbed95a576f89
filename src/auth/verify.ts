/** /verify: whether the browser's session opens what it asks the proxy for. Nearly every request of every user comes by here. */
import { readForwarded, type ForwardedRequest, type ForwardedRules, type Headers } from '../core/forwarded-request.ts'
import { isForeignRequest } from '../core/request-origin.ts'
import { furthest, judgeSession, type SessionFault } from '../core/session.ts'
import type { Tokens, VerifiedToken } from '../jwt/tokens.ts'
import { textAnswer, type AuthAnswer } from './answer.ts'
import type { SessionCookie } from './cookie.ts'
import type { Refresher } from './refresh.ts'

export interface VerifyDeps {
  tokens: Pick<Tokens, 'verify'>
  cookie: SessionCookie
  refresher: Refresher
  rules: ForwardedRules
}

export type Verify = (headers: Headers, method: string) => Promise<AuthAnswer>

const OPENED: AuthAnswer = { code: 200 }
const REFUSED: Record<SessionFault, AuthAnswer> = {
  'no-session': textAnswer(401, 'Unauthorized'),
  'other-path': textAnswer(403, 'Path not authorized'),
  'other-domain': textAnswer(403, 'Domain not authorized'),
}
const FOREIGN = textAnswer(403, 'Request from another site refused')
const ENDED = textAnswer(403, 'Access denied: you are no longer authorized to access this workspace')

/** Proxies that do not say the method ask with GET or HEAD of their own. */
const methodOf = (request: ForwardedRequest, own: string): string | undefined => request.method ?? (own === 'GET' || own === 'HEAD' ? undefined : own)

export const createVerify = ({ tokens, cookie, refresher, rules }: VerifyDeps): Verify => {
  const opened = async (token: VerifiedToken, request: ForwardedRequest): Promise<AuthAnswer> => {
    const refreshed = await refresher.refresh(token, request)
    if (refreshed.kind === 'kept') return OPENED
    return { ...(refreshed.kind === 'denied' ? ENDED : OPENED), cookie: refreshed.cookie }
  }

  return async (headers, own) => {
    const forwarded = readForwarded(headers, rules)
    if (!forwarded.ok) return textAnswer(forwarded.code, forwarded.body)
    const { request } = forwarded
    let fault: SessionFault = 'no-session'
    const { cookie: sent } = headers
    for (const value of cookie.read(typeof sent === 'string' ? sent : sent?.join('; '))) {
      const reading = await tokens.verify(value)
      if (!reading.ok) continue
      const judged = judgeSession(reading.token, request)
      if (judged !== 'opened') {
        fault = furthest(fault, judged)
        continue
      }
      if (isForeignRequest(headers, methodOf(request, own), request)) return FOREIGN
      return refresher.isDue(reading.token) ? opened(reading.token, request) : OPENED
    }
    return REFUSED[fault]
  }
}
