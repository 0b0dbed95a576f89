/** Whether a token of a WorkspaceConnection is good, once its signature and times were found to be. */
import type { BearerTokenReviewStatus } from '../api/connection-review.ts'
import { compileLinear } from './linear-pattern.ts'
import { DEFAULT_PATTERNS } from './workspace-path.ts'

/** What the token says. */
export interface ReviewedToken {
  type: 'bootstrap' | 'session'
  /** What tells one token from another. */
  jti: string | undefined
  user: string
  uid?: string
  groups: readonly string[]
  extra?: Readonly<Record<string, readonly string[]>>
  path: string
  domain: string
  namespace?: string
}

/** The words are part of the contract: the auth middleware shows them. */
export const TOKEN_PROBLEM = {
  missing: 'token is required',
  invalid: 'invalid or expired token',
  type: 'invalid token type',
  namespace: 'the token is for another namespace',
  used: 'the token was used already',
} as const
export type TokenProblem = keyof typeof TOKEN_PROBLEM

const NAMESPACE_IN_PATH = compileLinear(DEFAULT_PATTERNS.path.namespace)

/** The namespace of the Workspace that a token is for: its own claim, or what the path says; undefined when neither does. */
const namespaceOf = ({ namespace, path }: ReviewedToken): string | undefined => (namespace === undefined || namespace === '' ? NAMESPACE_IN_PATH.firstGroup(path) : namespace)

/** @param namespace where the review is made. @returns undefined for a token that is good, if it was not used yet */
export const tokenProblem = (token: ReviewedToken, namespace: string): TokenProblem | undefined => {
  if (token.type !== 'bootstrap') return 'type'
  // Without it nobody could tell whether the token was used.
  if (token.jti === undefined || token.jti === '' || token.user === '') return 'invalid'
  return namespaceOf(token) === namespace ? undefined : 'namespace'
}

export const refusedToken = (problem: TokenProblem): BearerTokenReviewStatus => ({ authenticated: false, user: { username: '' }, error: TOKEN_PROBLEM[problem] })

const lists = (extra: Readonly<Record<string, readonly string[]>>): Record<string, string[]> => Object.fromEntries(Object.entries(extra).map(([key, values]) => [key, [...values]]))

export const acceptedToken = ({ user, uid, groups, extra = {}, path, domain }: ReviewedToken): BearerTokenReviewStatus => ({
  authenticated: true,
  ...(path === '' ? {} : { path }),
  ...(domain === '' ? {} : { domain }),
  user: {
    username: user,
    ...(uid === undefined || uid === '' ? {} : { uid }),
    ...(groups.length === 0 ? {} : { groups: [...groups] }),
    ...(Object.keys(extra).length === 0 ? {} : { extra: lists(extra) }),
  },
})
