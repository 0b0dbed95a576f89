/** BearerTokenReview: is this token of a WorkspaceConnection good, and whose is it? A token is good for one review. */
import type { Logger } from 'pino'
import {
  BEARER_TOKEN_REVIEW,
  BearerTokenReviewSpecSchema,
  BearerTokenReviewStatusSchema,
  CONNECTION_GROUP,
  CONNECTION_VERSION,
  type BearerTokenReviewSpec,
  type BearerTokenReviewStatus,
} from '../../api/connection-review.ts'
import { acceptedToken, refusedToken, tokenProblem, type TokenProblem } from '../../core/token-review.ts'
import type { Tokens, VerifiedToken } from '../../jwt/tokens.ts'
import { unavailable } from '../api-failure.ts'
import type { ReviewKind, ReviewOutcome } from '../review-kind.ts'
import type { UsedTokens } from './used-tokens.ts'

export interface BearerTokenReviewDeps {
  /** undefined: none can be checked, so none is good. */
  tokens: Pick<Tokens, 'verify'> | undefined
  used: UsedTokens
  logger: Logger
}

type Outcome = ReviewOutcome<BearerTokenReviewStatus>

const VERDICT: Readonly<Record<TokenProblem, string>> = {
  missing: 'no token',
  invalid: 'invalid token',
  type: 'wrong token type',
  namespace: 'wrong namespace',
  used: 'token used before',
}

export const bearerTokenReview = ({ tokens, used, logger }: BearerTokenReviewDeps): ReviewKind<BearerTokenReviewSpec, BearerTokenReviewStatus> => {
  const refuse = (problem: TokenProblem, namespace: string, why?: string): Outcome => {
    logger.debug({ review: BEARER_TOKEN_REVIEW.kind, namespace, problem, ...(why === undefined ? {} : { why }) }, 'a token is not good')
    return { ok: true, status: refusedToken(problem), verdict: VERDICT[problem] }
  }

  const useUp = ({ jti = '', expiresAt }: VerifiedToken, dryRun: boolean): ReturnType<UsedTokens['use']> => {
    if (dryRun) return used.isUsed(jti) ? 'used before' : 'now used'
    return used.use(jti, expiresAt)
  }

  return {
    group: CONNECTION_GROUP,
    version: CONNECTION_VERSION,
    ...BEARER_TOKEN_REVIEW,
    description:
      'BearerTokenReview asks whether a token of a WorkspaceConnection is good, and whose it is. A token is good for one review, in the namespace of its Workspace. It is answered at once and never stored.',
    specSchema: BearerTokenReviewSpecSchema,
    statusSchema: BearerTokenReviewStatusSchema,
    // A bad token is an answer, not an error of the request.
    problems: () => [],
    echo: () => ({}),
    review: async ({ namespace, spec, dryRun }) => {
      const text = spec.token ?? ''
      if (text === '') return refuse('missing', namespace)
      if (tokens === undefined) return refuse('invalid', namespace, 'no signing keys')
      const reading = await tokens.verify(text)
      if (!reading.ok) return refuse('invalid', namespace, reading.why)
      const { token } = reading
      const problem = tokenProblem(token, namespace)
      if (problem !== undefined) return refuse(problem, namespace)
      const use = useUp(token, dryRun)
      if (use === 'used before') return refuse('used', namespace)
      if (use === 'full') return { ok: false, failure: unavailable('more tokens are in use than can be remembered; try again in a minute', 60), verdict: 'full' }
      return { ok: true, status: acceptedToken(token), verdict: 'authenticated', subject: token.user, object: token.path }
    },
  }
}
