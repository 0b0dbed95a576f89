/** /auth: from an ID token that a login proxy obtained to a session. The order of the checks is part of the contract. */
import type { IncomingMessage } from 'node:http'
import { readForwarded, type ForwardedRules } from '../core/forwarded-request.ts'
import { isSubset, parseGroupList, prefixedGroup } from '../core/group-list.ts'
import { METHOD_NOT_ALLOWED, textAnswer, type AuthAnswer, type Route } from './answer.ts'
import { readBearer } from './bearer-header.ts'
import type { IdClaims, IdTokens } from './oidc/id-tokens.ts'
import type { SessionMaker } from './sign-in.ts'

export interface AuthRouteDeps {
  idTokens: IdTokens
  maker: SessionMaker
  rules: ForwardedRules
  usernamePrefix: string
  groupsPrefix: string
  /** Told why an ID token was refused; never a part of it. */
  refused: (why: string) => void
}

const MISSING_AUTHORIZATION = textAnswer(401, 'Missing Authorization header')
const NOT_INITIALIZED = textAnswer(500, 'Internal server error: OIDC verifier not initialized')
const INVALID_AUTHORIZATION = textAnswer(400, 'Invalid Authorization header')
const UNAVAILABLE: AuthAnswer = { ...textAnswer(503, 'OIDC provider not available'), retryAfter: 5 }
const INVALID_TOKEN = textAnswer(401, 'Invalid or expired OIDC token')

/** Names may hold any letter; Node gives the bytes of a header as latin1. Text that is no UTF-8 stays as it came, and matches nothing. */
const headerText = (value: string | string[] | undefined): string => {
  const text = typeof value === 'string' ? value : (value?.join(', ') ?? '')
  return Buffer.from(text, 'latin1').toString('utf8')
}

/** What the login proxy says of the user only ever narrows: it must agree with the token, or be silent. */
const disagreement = (headers: IncomingMessage['headers'], claims: IdClaims, { usernamePrefix, groupsPrefix }: Pick<AuthRouteDeps, 'usernamePrefix' | 'groupsPrefix'>): AuthAnswer | undefined => {
  const name = headerText(headers['x-auth-request-preferred-username'])
  if (name !== '' && `${usernamePrefix}${name}` !== claims.username) return textAnswer(401, 'Username mismatch between token and headers')
  const subject = headerText(headers['x-auth-request-user'])
  if (subject !== '' && subject !== claims.subject) return textAnswer(401, 'UID verification failed')
  const groups = parseGroupList(headerText(headers['x-auth-request-groups']))?.map((group) => prefixedGroup(groupsPrefix, group))
  return groups === undefined || !isSubset(groups, claims.groups) ? textAnswer(401, 'Groups verification failed') : undefined
}

export const createAuthRoute = (deps: AuthRouteDeps): Route => {
  const { idTokens, maker, rules, refused } = deps
  return async ({ method, headers, rawHeaders }) => {
    if (method !== 'GET') return METHOD_NOT_ALLOWED
    const forwarded = readForwarded(headers, rules)
    if (!forwarded.ok) return textAnswer(forwarded.code, forwarded.body)
    const bearer = readBearer(headers.authorization, rawHeaders)
    if (bearer.kind === 'missing') return MISSING_AUTHORIZATION
    if (!idTokens.ready) return NOT_INITIALIZED
    if (bearer.kind === 'invalid') return INVALID_AUTHORIZATION
    const reading = await idTokens.verify(bearer.token)
    if (!reading.ok) {
      refused(reading.why)
      return reading.kind === 'unavailable' ? UNAVAILABLE : INVALID_TOKEN
    }
    const wrong = disagreement(headers, reading.claims, deps)
    if (wrong !== undefined) return wrong
    const signedIn = await maker.signIn(forwarded.request, reading.claims)
    if (signedIn.ok) return { code: 200, json: {}, cookie: signedIn.cookie }
    const { code, body, retryAfterSeconds } = signedIn
    return { ...textAnswer(code, body), ...(retryAfterSeconds === undefined ? {} : { retryAfter: retryAfterSeconds }) }
  }
}
