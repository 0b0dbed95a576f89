/** Questions to the extension API: the same one is asked once at a time, not too many are under way, and each has its time. */
import { hash } from 'node:crypto'
import type { Logger } from 'pino'
import type { WorkspaceKey } from '../core/workspace-path.ts'
import { CodedError } from '../errors.ts'
import type { ConnectionReviewer, ReviewedIdentity, TokenReviewAnswer } from '../kube/ports.ts'
import { withDeadline as rejectAfter, type Timers } from '../kube/timers.ts'
import { withDeadline } from '../serving/deadline.ts'
import { createTurns } from '../serving/turns.ts'
import type { AuthMetrics, ReviewKind } from './metrics.ts'
import { createSharedAnswers } from './shared-answers.ts'

/** `crowded`: it found no place, or no turn in time; whoever asks later may be luckier. */
export type Reviewed<T> = { kind: 'answered'; answer: T } | { kind: 'failed' } | { kind: 'crowded' }

export interface AccessAnswer {
  allowed: boolean
  reason: string
}

export interface Reviews {
  /** Those who ask the same of the same user within a moment get the same answer; see shared-answers.ts. Only a yes is given to those who come after it. */
  mayConnect(workspace: WorkspaceKey, identity: ReviewedIdentity): Promise<Reviewed<AccessAnswer>>
  /** Never shared: a token is good for one exchange. */
  reviewToken(namespace: string, token: string): Promise<Reviewed<TokenReviewAnswer>>
}

export interface ReviewsOptions {
  /** Milliseconds from the question to the answer, the time in the line included. */
  withinMs: number
  /** How many are under way at once. */
  atOnce: number
  /** How many more wait for that. */
  waiting: number
}

export interface ReviewsDeps {
  reviewer: ConnectionReviewer
  timers: Timers
  metrics: Pick<AuthMetrics, 'reviewed'>
  logger: Pick<Logger, 'error' | 'warn'>
}

/** Of one question, milliseconds. The client has the same limit; this one holds for whatever answers. */
const REVIEW_MS = 5_000

/** The order of groups and of extra attributes means nothing. A digest: somebody may be in hundreds of groups, and the answers outlive the question. */
const questionKey = ({ namespace, name }: WorkspaceKey, { user, uid, groups, extra }: ReviewedIdentity): string => {
  const question = [namespace, name, user, uid ?? '', groups.toSorted(), Object.entries(extra ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1))]
  return hash('sha256', JSON.stringify(question), 'base64')
}

const late = (): Error => new CodedError('KUBE_UNAVAILABLE', `the extension API did not answer within ${REVIEW_MS / 1000} s`)

export const createReviews = ({ reviewer, timers, metrics, logger }: ReviewsDeps, { withinMs, atOnce, waiting }: ReviewsOptions): Reviews => {
  const turns = createTurns({ atOnce, waiting })
  const answers = createSharedAnswers<Reviewed<AccessAnswer>>(timers, (outcome) => outcome.kind === 'answered' && outcome.answer.allowed)

  const ask = async <T>(kind: ReviewKind, question: () => Promise<T>, isYes: (answer: T) => boolean): Promise<Reviewed<T>> => {
    const inTurn = async (): Promise<Reviewed<T>> => {
      const start = timers.monotonic()
      try {
        const answer = await rejectAfter(timers, REVIEW_MS, question(), late)
        metrics.reviewed(kind, isYes(answer) ? 'yes' : 'no', (timers.monotonic() - start) / 1000)
        return { kind: 'answered', answer }
      } catch (error) {
        logger.error({ err: error, review: kind }, 'the extension API could not be asked, so nobody was let in by it; look at its Pods and at its APIService')
        metrics.reviewed(kind, 'failed', (timers.monotonic() - start) / 1000)
        return { kind: 'failed' }
      }
    }
    const crowded = (): Reviewed<T> => {
      logger.warn({ review: kind }, 'too many questions to the extension API at once: some visitors are asked to come again')
      metrics.reviewed(kind, 'crowded')
      return { kind: 'crowded' }
    }
    if (!turns.hasRoom) return crowded()
    const outcome = await withDeadline<Reviewed<T>>(
      timers,
      withinMs,
      (deadline) => turns.run(async () => (deadline.passed ? { kind: 'crowded' } : inTurn())),
      (error) => logger.error({ err: error, review: kind }, 'a question that nobody waited for any more broke'),
    )
    return outcome.state === 'done' ? outcome.value : crowded()
  }

  return {
    mayConnect: (workspace, identity) =>
      answers.answer(questionKey(workspace, identity), async () => {
        const outcome = await ask('access', () => reviewer.mayConnect(workspace, identity), ({ allowed, notFound }) => allowed && !notFound)
        if (outcome.kind !== 'answered') return outcome
        const { allowed, notFound, reason } = outcome.answer
        return { kind: 'answered', answer: { allowed: allowed && !notFound, reason } }
      }),
    reviewToken: (namespace, token) => ask('token', () => reviewer.reviewToken(namespace, token), ({ authenticated }) => authenticated),
  }
}
