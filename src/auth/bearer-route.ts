/** /bearer-auth: from the token in the URL of a WorkspaceConnection to a session, and on to the application without the token. */
import type { IncomingMessage } from 'node:http'
import type { Logger } from 'pino'
import { readForwardedRest, readForwardedUri, type ForwardedRules } from '../core/forwarded-request.ts'
import { isReservedName } from '../core/system-names.ts'
import { trimSlash, workspacePlace, type WorkspaceRouting } from '../core/workspace-path.ts'
import { METHOD_NOT_ALLOWED, textAnswer, type AuthAnswer, type Route } from './answer.ts'
import { readBearer } from './bearer-header.ts'
import type { Reviews } from './reviews.ts'
import type { Sessions } from './sessions.ts'
import { CROWDED, NO_WORKSPACE, openSession, RESERVED } from './sign-in.ts'

export interface BearerRouteDeps {
  routing: WorkspaceRouting
  rules: ForwardedRules
  reviews: Reviews
  sessions: Sessions
  logger: Pick<Logger, 'info' | 'warn'>
}

const INVALID_AUTHORIZATION = textAnswer(400, 'Invalid Authorization header')
const MISSING_TOKEN = textAnswer(400, 'Missing token parameter')
const REPEATED_TOKEN = textAnswer(400, 'Invalid token parameter: it must be there once')
const REVIEW_FAILED = textAnswer(500, 'Token verification failed')
const INVALID_TOKEN = textAnswer(401, 'Invalid token')
const OTHER_PATH = textAnswer(403, 'Token path mismatch')
const OTHER_DOMAIN = textAnswer(403, 'Token domain mismatch')

type TokenReading = { ok: true; token: string } | { ok: false; answer: AuthAnswer }

/** A header that is there and cannot be used is not made good by a parameter. */
const readToken = ({ headers, rawHeaders }: IncomingMessage, query: string): TokenReading => {
  const bearer = readBearer(headers.authorization, rawHeaders)
  if (bearer.kind === 'token') return { ok: true, token: bearer.token }
  if (bearer.kind === 'invalid') return { ok: false, answer: INVALID_AUTHORIZATION }
  const given = new URLSearchParams(query).getAll('token')
  const [token = ''] = given
  if (given.length > 1) return { ok: false, answer: REPEATED_TOKEN }
  return token === '' ? { ok: false, answer: MISSING_TOKEN } : { ok: true, token }
}

export const createBearerRoute = (deps: BearerRouteDeps): Route => {
  const { routing, rules, reviews, logger } = deps
  return async (request) => {
    if (request.method !== 'GET') return METHOD_NOT_ALLOWED
    const uri = readForwardedUri(request.headers)
    if (!uri.ok) return textAnswer(uri.code, uri.body)
    const given = readToken(request, uri.query)
    if (!given.ok) return given.answer
    const forwarded = readForwardedRest(request.headers, uri, rules)
    if (!forwarded.ok) return textAnswer(forwarded.code, forwarded.body)
    const { host } = forwarded.request
    const place = workspacePlace(routing, forwarded.request)
    if (place === undefined) return NO_WORKSPACE
    const { workspace, appPath } = place
    const facts = { namespace: workspace.namespace, workspace: workspace.name, host }
    const reviewed = await reviews.reviewToken(workspace.namespace, given.token)
    if (reviewed.kind === 'crowded') return CROWDED
    if (reviewed.kind === 'failed') return REVIEW_FAILED
    const { answer } = reviewed
    if (!answer.authenticated) {
      logger.info({ ...facts, reason: answer.error }, 'a token of a connection was refused')
      return INVALID_TOKEN
    }
    if (answer.path === undefined || trimSlash(answer.path) !== appPath) return OTHER_PATH
    if (answer.domain?.toLowerCase() !== host) return OTHER_DOMAIN
    // The groups are those that the API server gave; a part of the cluster itself has no browser.
    if (isReservedName(answer.user.user)) return RESERVED
    const opened = await openSession(deps, place, host, answer.user)
    return opened.ok ? { code: 303, cookie: opened.cookie, location: appPath } : opened.answer
  }
}
