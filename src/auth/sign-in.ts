/** From a verified identity to a session: the access review first, then the cookie. */
import type { Logger } from 'pino'
import type { ForwardedRequest } from '../core/forwarded-request.ts'
import { AUTHENTICATED, isReservedName } from '../core/system-names.ts'
import { workspacePlace, type WorkspacePlace, type WorkspaceRouting } from '../core/workspace-path.ts'
import type { ReviewedIdentity } from '../kube/ports.ts'
import { textAnswer, type AuthAnswer } from './answer.ts'
import type { IdClaims } from './oidc/id-tokens.ts'
import type { Reviews } from './reviews.ts'
import type { Sessions } from './sessions.ts'

/** What the end of a sign-in needs, whatever its beginning was. */
export interface SessionMaker {
  /** The access review, then the cookie. @param forwarded where the user wants to go */
  signIn(forwarded: ForwardedRequest, claims: IdClaims): Promise<SignIn>
}

export type SignIn = { ok: true; cookie: string } | { ok: false; code: number; body: string; retryAfterSeconds?: number }

export interface SignInDeps {
  routing: WorkspaceRouting
  reviews: Pick<Reviews, 'mayConnect'>
  sessions: Sessions
  /** Whether the issuer's users count in system:authenticated: the one name of that kind that may be there. */
  addAuthenticatedGroup: boolean
  logger: Pick<Logger, 'info' | 'warn'>
}

export type OpenedSession = { ok: true; cookie: string } | { ok: false; answer: AuthAnswer }

const refused = (code: number, body: string): OpenedSession => ({ ok: false, answer: textAnswer(code, body) })

export const NO_WORKSPACE = textAnswer(400, 'Failed to extract workspace info')
const DENIED = textAnswer(403, 'Access denied: you are not authorized to connect to this workspace')
export const RESERVED = textAnswer(403, 'Access denied: names that begin with "system:" are those of Kubernetes itself')
const REVIEW_FAILED = textAnswer(500, 'Failed to verify workspace access')
export const CROWDED: AuthAnswer = { ...textAnswer(503, 'Too many sign-ins at once, try again'), retryAfter: 2 }

/** Asks for the access to a workspace and makes the session. @param host that the session is for */
export const openSession = async (
  { reviews, sessions, logger }: Pick<SignInDeps, 'reviews' | 'sessions' | 'logger'>,
  { workspace, appPath }: WorkspacePlace,
  host: string,
  identity: ReviewedIdentity,
): Promise<OpenedSession> => {
  const reviewed = await reviews.mayConnect(workspace, identity)
  if (reviewed.kind === 'crowded') return { ok: false, answer: CROWDED }
  if (reviewed.kind === 'failed') return { ok: false, answer: REVIEW_FAILED }
  const { allowed, reason } = reviewed.answer
  const facts = { user: identity.user, namespace: workspace.namespace, workspace: workspace.name, host }
  if (!allowed) {
    // The browser hears the same whether there is such a workspace or not.
    logger.info({ ...facts, reason }, 'a sign-in was refused')
    return { ok: false, answer: DENIED }
  }
  const made = await sessions.make({ ...identity, path: appPath, domain: host })
  if (made.ok) logger.info(facts, 'signed in')
  return made
}

export const createSessionMaker = (deps: SignInDeps): SessionMaker => {
  const { routing, logger, addAuthenticatedGroup } = deps
  const isRefused = (name: string): boolean => isReservedName(name) && !(addAuthenticatedGroup && name === AUTHENTICATED)

  const open = async (forwarded: ForwardedRequest, { username, subject, groups }: IdClaims): Promise<OpenedSession> => {
    if (username === '' || subject === '') return refused(401, 'Invalid or expired OIDC token')
    if (isReservedName(username) || groups.some(isRefused)) {
      logger.warn({ user: username }, 'a sign-in was refused: the user or a group has a name that begins with "system:"')
      return { ok: false, answer: RESERVED }
    }
    const place = workspacePlace(routing, forwarded)
    if (place === undefined) return { ok: false, answer: NO_WORKSPACE }
    return openSession(deps, place, forwarded.host, { user: username, groups, uid: subject })
  }

  return {
    signIn: async (forwarded, claims) => {
      const opened = await open(forwarded, claims)
      if (opened.ok) return opened
      const { code, text = '', retryAfter } = opened.answer
      return { ok: false, code, body: text, ...(retryAfter === undefined ? {} : { retryAfterSeconds: retryAfter }) }
    },
  }
}
