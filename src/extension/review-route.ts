/** A review from the head of its request to the answer: what can be told without the body, the body, and then the kind itself. */
import type { IncomingMessage } from 'node:http'
import { finished } from 'node:stream'
import { performance } from 'node:perf_hooks'
import type { Logger } from 'pino'
import type { ResourcePath } from '../core/api-path.ts'
import { acceptedForm, contentForm, type Form } from '../core/media-type.ts'
import { messageOf } from '../errors.ts'
import type { Timers } from '../kube/timers.ts'
import { createBudget } from '../serving/budget.ts'
import type { Turns } from '../serving/turns.ts'
import { notAcceptable, notFound, timedOut, tooLarge, tooManyRequests, unsupportedMediaType, type ApiFailure } from './api-failure.ts'
import type { Answers, Reply } from './answers.ts'
import { bindKind, decodeReview, type BoundKind, type DecodedReview, type SentReview } from './bound-kind.ts'
import { readCreateOptions, type CreateOptions } from './create-options.ts'
import { CONTENT_TYPE, encode } from './encoded.ts'
import type { ExtensionMetrics } from './metrics.ts'
import { BODY_LIMIT, YAML_LIMIT } from './request-body.ts'
import type { Caller, ReviewKind } from './review-kind.ts'
import { warningHeaders } from './warning-headers.ts'

/** A request that is as good as it can be seen without its body. */
export interface Prepared {
  bound: BoundKind
  namespace: string
  caller: Caller
  options: CreateOptions
  /** Of the answer. */
  form: Form
  /** Of the body. */
  sent: Form
  /** Milliseconds, on the clock of `performance`. */
  startedAt: number
}

/** The head of a request to a kind. */
export interface ReviewHead {
  caller: Caller
  path: ResourcePath
  query: string
  startedAt: number
}

export interface ReviewRoute {
  /** @returns undefined when the request was answered */
  prepare(request: IncomingMessage, reply: Reply, head: ReviewHead): Prepared | undefined
  /** Answers. Never rejects. @param takeBody hands the body over: all of it that counts is decoded at once, and nothing holds it after that */
  answer(request: IncomingMessage, reply: Reply, ready: Prepared, takeBody: () => Buffer): Promise<void>
  /** Counts a review that never got as far as its kind. */
  refused(of: Pick<Prepared, 'bound' | 'startedAt'>): void
}

export interface ReviewRouteDeps {
  kinds: readonly ReviewKind[]
  /** Bounds how many reviews are under way at once. */
  turns: Turns
  answers: Answers
  metrics: ExtensionMetrics
  timers: Timers
  logger: Logger
}

/** Of all bodies that have ended, until they are answered: a review holds several times what its body is, however long it waits. */
const REVIEWED_BODIES = 16 * 1024 * 1024
/** Bodies of this size and less are not counted among those: nearly all are, and whoever sends large ones is not to keep them out. */
const SMALL_BODY = 16 * 1024
/** How long a review may take. */
const REVIEW_MS = 30_000

/** Whoever asked went away while it waited for its turn. */
const GIVEN_UP = { ok: false, failure: timedOut, verdict: 'given up' } as const
const CROWDED = { ok: false, failure: tooManyRequests } as const

const kindKey = (group: string, version: string, plural: string): string => `${group}/${version}/${plural}`

export const createReviewRoute = ({ kinds, turns, answers, metrics, timers, logger }: ReviewRouteDeps): ReviewRoute => {
  const bounds = new Map(kinds.map((kind) => [kindKey(kind.group, kind.version, kind.plural), bindKind(kind)]))
  const reviewedBodies = createBudget(REVIEWED_BODIES)

  const refused: ReviewRoute['refused'] = ({ bound, startedAt }) => metrics.reviewed(bound.kind.kind, 'refused', (performance.now() - startedAt) / 1000)

  const prepare: ReviewRoute['prepare'] = (request, reply, { caller, path, query, startedAt }) => {
    const bound = path.isCollection ? bounds.get(kindKey(path.group, path.version, path.resource)) : undefined
    const { method, headers } = request
    const refuse = (failure: ApiFailure): undefined => {
      if (bound !== undefined) refused({ bound, startedAt })
      answers.refuse(request, reply, failure)
    }
    if (bound === undefined) return refuse(notFound)
    if (method !== 'POST') {
      answers.refuseMethod(request, reply, 'POST')
      return undefined
    }
    const form = acceptedForm(headers.accept)
    if (form === undefined) return refuse(notAcceptable)
    const sent = contentForm(headers['content-type'])
    if (sent === undefined) return refuse(unsupportedMediaType)
    if (Number(headers['content-length'] ?? 0) > BODY_LIMIT) {
      reply.header('connection', 'close')
      return refuse(tooLarge(BODY_LIMIT))
    }
    const reading = readCreateOptions(query)
    if (!reading.ok) return refuse(reading.failure)
    return { bound, namespace: path.namespace, caller, options: reading.options, form, sent, startedAt }
  }

  const audit = (ready: Prepared, ms: number, decided: { verdict: string; subject?: string; object?: string; code: number }): void => {
    const { bound, namespace, caller, options } = ready
    metrics.reviewed(bound.kind.kind, decided.verdict, ms / 1000)
    logger.info({ kind: bound.kind.kind, caller: caller.user, namespace, ...decided, dryRun: options.dryRun, ms: Math.round(ms * 10) / 10 }, 'review')
  }

  /** @throws what the kind throws */
  const review = async (request: IncomingMessage, reply: Reply, ready: Prepared, sentReview: SentReview): Promise<void> => {
    const { bound, namespace, caller, options, form, startedAt } = ready
    const { kind, apiVersion } = bound
    const gone = new AbortController()
    const late = Promise.withResolvers<'late'>()
    const cancel = timers.after(REVIEW_MS, () => {
      late.resolve('late')
      gone.abort()
    })
    const onClose = (): void => gone.abort()
    reply.raw.once('close', onClose)
    try {
      const asked = turns.run(async () => (gone.signal.aborted ? GIVEN_UP : kind.review({ namespace, spec: sentReview.spec, caller, dryRun: options.dryRun, signal: gone.signal })))
      const outcome = await Promise.race([asked, late.promise])
      if (outcome === 'late') {
        asked.catch((error: unknown) => logger.debug({ kind: kind.kind, reason: messageOf(error) }, 'a review failed after its time was over'))
        audit(ready, performance.now() - startedAt, { verdict: 'late', code: timedOut.code })
        return answers.refuse(request, reply, timedOut)
      }
      const ms = performance.now() - startedAt
      if (!outcome.ok) {
        answers.refuse(request, reply, outcome.failure)
        return audit(ready, ms, { verdict: outcome.verdict, code: outcome.failure.code })
      }
      const { verdict, status, subject, object } = outcome
      const body = { apiVersion, kind: kind.kind, metadata: sentReview.metadata, spec: kind.echo(sentReview.spec), status }
      if (sentReview.warnings.length > 0) reply.header('warning', warningHeaders(sentReview.warnings))
      answers.send(reply, 201, CONTENT_TYPE[form], encode(body, form))
      // Nobody waits for the line.
      return audit(ready, ms, { verdict, code: 201, ...(subject === undefined ? {} : { subject }), ...(object === undefined ? {} : { object }) })
    } finally {
      cancel()
      reply.raw.off('close', onClose)
    }
  }

  /** @returns whether there is room for what is made of a body, until its answer is gone */
  const hold = ({ length }: Buffer, reply: Reply): boolean => {
    if (length <= SMALL_BODY) return true
    const giveBack = reviewedBodies.take(length)
    if (giveBack === undefined) return false
    finished(reply.raw, giveBack)
    return true
  }

  const decode = ({ bound, namespace, options, form, sent }: Prepared, reply: Reply, body: Buffer): DecodedReview => {
    if (!hold(body, reply)) return CROWDED
    // What is sent is answered again.
    if (form === 'yaml' && body.length > YAML_LIMIT) return { ok: false, failure: tooLarge(YAML_LIMIT) }
    const decoded = decodeReview(bound, body, sent, options.fieldValidation, namespace)
    return decoded.ok && !turns.hasRoom ? CROWDED : decoded
  }

  return {
    prepare,
    refused,
    answer: async (request, reply, ready, takeBody) => {
      try {
        const decoded = decode(ready, reply, takeBody())
        if (decoded.ok) return await review(request, reply, ready, decoded.review)
        refused(ready)
        return answers.refuse(request, reply, decoded.failure)
      } catch (error) {
        const failure = answers.failureOf(error, { kind: ready.bound.kind.kind, namespace: ready.namespace, caller: ready.caller.user })
        audit(ready, performance.now() - ready.startedAt, { verdict: 'error', code: failure.code })
        return answers.refuse(request, reply, failure)
      }
    },
  }
}
