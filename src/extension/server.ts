/**
 * An API server of virtual kinds: they can be created, and are answered instead of stored. The same order for every request: who asks
 * (401), what the path is about (404, 400), whether the caller may (403), and only then what is wrong with the request itself.
 */
import type { IncomingMessage } from 'node:http'
import type { Server } from 'node:https'
import { performance } from 'node:perf_hooks'
import fastify, { type FastifyError, type FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { parseApiPath } from '../core/api-path.ts'
import type { Timers } from '../kube/timers.ts'
import { IDLE_BOUNDS, TLS_BOUNDS } from '../serving/connection-bounds.ts'
import { createHeldBodies, warnOfCuts } from '../serving/held-bodies.ts'
import { createOneAtATime } from '../serving/one-at-a-time.ts'
import type { Drain } from '../serving/drain.ts'
import type { Turns } from '../serving/turns.ts'
import { sparingUnused } from '../serving/unused-connections.ts'
import { createAdmit } from './admit.ts'
import { notFound } from './api-failure.ts'
import { createAnswers, type Reply } from './answers.ts'
import type { Authenticate } from './authentication.ts'
import type { Authorize } from './authorization.ts'
import { createDocuments, type VersionInfo } from './documents.ts'
import { createGetAnswers } from './get-answers.ts'
import type { HealthCheck } from './health.ts'
import type { ExtensionMetrics } from './metrics.ts'
import { BODY_LIMIT } from './request-body.ts'
import type { ReviewKind } from './review-kind.ts'
import { createReviewRoute, type Prepared } from './review-route.ts'
import { HEADERS_LIMIT, refuseWire, wireFailure } from './wire-failures.ts'

export type ExtensionServer = FastifyInstance<Server>

export interface ExtensionServerDeps {
  kinds: readonly ReviewKind[]
  authenticate: Authenticate
  authorize: Authorize
  /** Bounds how many reviews are under way at once. */
  turns: Turns
  drain: Drain
  /** What livez and healthz say, besides that there is an answer at all. */
  live: readonly HealthCheck[]
  ready: readonly HealthCheck[]
  /** The text of /metrics and its content type. */
  metricsText: () => Promise<{ text: string; contentType: string }>
  metrics: ExtensionMetrics
  version: VersionInfo
  timers: Timers
  logger: Logger
}

/** Of all bodies that have not ended; far below what the container may take. */
const HELD_BODIES = 32 * 1024 * 1024
const REQUEST_MS = 30_000

const EMPTY = Buffer.alloc(0)

const splitUrl = (url: string): [path: string, query: string] => {
  const at = url.indexOf('?')
  return at < 0 ? [url, ''] : [url.slice(0, at), url.slice(at + 1)]
}

/** Never listens: the caller does, and sets certificates by `server.setSecureContext`. */
export const buildExtensionServer = (deps: ExtensionServerDeps): ExtensionServer => {
  const { kinds, authenticate, authorize, turns, drain, live, ready, metricsText, metrics, timers, logger } = deps
  const answers = createAnswers({ drain, metrics, logger })
  const admit = createAdmit({ authenticate, authorize, answers, logger })
  const gets = createGetAnswers({ live, ready, metricsText, documents: createDocuments(kinds, deps.version), answers })
  const reviews = createReviewRoute({ kinds, turns, answers, metrics, timers, logger })
  const prepared = new WeakMap<IncomingMessage, Prepared>()
  const app = fastify({
    https: {
      // Asked for, and judged by authentication.ts: a caller without one may be known by a token, and health is for everybody.
      requestCert: true,
      rejectUnauthorized: false,
      ...TLS_BOUNDS,
      maxHeaderSize: HEADERS_LIMIT,
    },
    logger: false,
    bodyLimit: BODY_LIMIT,
    requestTimeout: REQUEST_MS,
    ...IDLE_BOUNDS,
    // Paths are ours to read, as they were sent: a router decodes them.
    rewriteUrl: () => '/',
    clientErrorHandler: sparingUnused(refuseWire),
  })

  // Node drops those beyond a number of its own without a word, and with them a part of who the caller is.
  app.server.maxHeadersCount = 0

  /** Everything that can be told from the head of a request. @returns whether its body is wanted; else it was answered */
  const answerHead = async (request: IncomingMessage, reply: Reply, url: string): Promise<boolean> => {
    const startedAt = performance.now()
    const [pathText, query] = splitUrl(url)
    const path = parseApiPath(pathText)
    if (path.kind === 'path' && gets.health(request, reply, path.path, query)) return false
    const caller = await admit(request, reply, path)
    if (caller === undefined) return false
    if (path.kind === 'resource') {
      const found = reviews.prepare(request, reply, { caller, path, query, startedAt })
      if (found !== undefined) prepared.set(request, found)
      return found !== undefined
    }
    if (path.kind === 'path') await gets.path(request, reply, path.path)
    else answers.refuse(request, reply, notFound)
    return false
  }

  const oneAtATime = createOneAtATime()
  const heldBodies = createHeldBodies(HELD_BODIES, warnOfCuts(logger, () => performance.now()))
  // The reply is returned whenever it was sent: else fastify goes on to the handler.
  app.addHook('onRequest', async (request, reply) => {
    const { raw } = request
    if (oneAtATime.isTooEarly(raw, reply.raw)) {
      reply.hijack()
      raw.socket.destroy()
      return reply
    }
    try {
      if (!(await answerHead(raw, reply, request.originalUrl))) return reply
    } catch (error) {
      answers.refuse(raw, reply, answers.failureOf(error, {}))
      return reply
    }
    heldBodies.watch(raw)
    return undefined
  })

  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))

  app.post('/', async (request, reply) => {
    const found = prepared.get(request.raw)
    if (found === undefined) throw new Error('a body was read that nobody wanted')
    await reviews.answer(request.raw, reply, found, () => {
      const { body } = request
      request.body = undefined
      return Buffer.isBuffer(body) ? body : EMPTY
    })
    return reply
  })

  // Only reached by what the hook let through, which is a POST; to be sure, nothing else is ever answered otherwise.
  app.setNotFoundHandler((request, reply) => answers.refuse(request.raw, reply, notFound))

  app.setErrorHandler((error: FastifyError, request, reply) => {
    const found = prepared.get(request.raw)
    if (found !== undefined) reviews.refused(found)
    answers.refuse(request.raw, reply, wireFailure(error) ?? answers.failureOf(error, {}))
  })

  return app
}
