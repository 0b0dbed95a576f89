/**
 * An API server of virtual kinds: they can be created, and are answered instead of stored. The same order for every request: who asks
 * (401), what the path is about (404, 400), whether the caller may (403), and only then what is wrong with the request itself.
 */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Server } from 'node:https'
import type { Duplex } from 'node:stream'
import { performance } from 'node:perf_hooks'
import fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type RouteGenericInterface } from 'fastify'
import type { Logger } from 'pino'
import { parseApiPath, verbOf, type ApiPath, type ResourcePath } from '../core/api-path.ts'
import { acceptedForm, contentForm, type Form } from '../core/media-type.ts'
import { isCoded, messageOf } from '../errors.ts'
import type { Timers } from '../kube/timers.ts'
import { createHeldBodies } from '../serving/held-bodies.ts'
import { createOneAtATime } from '../serving/one-at-a-time.ts'
import type { Drain } from '../serving/drain.ts'
import type { Turns } from '../serving/turns.ts'
import {
  badRequest,
  internalError,
  methodNotAllowed,
  notAcceptable,
  notFound,
  timedOut,
  tooLarge,
  tooManyRequests,
  unauthorized,
  unavailable,
  unsupportedMediaType,
  type ApiFailure,
} from './api-failure.ts'
import type { Authenticate } from './authentication.ts'
import type { Authorize, CallerQuestion } from './authorization.ts'
import { bindKind, decodeReview, type BoundKind, type SentReview } from './bound-kind.ts'
import { readCreateOptions, type CreateOptions } from './create-options.ts'
import { createDocuments, type VersionInfo } from './documents.ts'
import { CONTENT_TYPE, encode, statusOf } from './encoded.ts'
import { HANDSHAKE_MS } from './handshakes.ts'
import { healthText, type HealthCheck } from './health.ts'
import type { ExtensionMetrics } from './metrics.ts'
import { forbidden } from './refusals.ts'
import type { Caller, ReviewKind } from './review-kind.ts'
import { readFailure } from './reviews/read-failure.ts'
import { warningHeaders } from './warning-headers.ts'

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

/** Bytes of a body, as the API server takes them. */
export const BODY_LIMIT = 3 * 1024 * 1024
/** Of all bodies that have not ended; far below what the container may take. */
const HELD_BODIES = 32 * 1024 * 1024
/** Told once in so many milliseconds: a line for each would be one more burden. */
const CUT_TOLD_MS = 60_000
/** Longer than the 90 s after which the API server gives up an idle connection: otherwise we would close one that it is about to use. */
const KEEP_ALIVE_MS = 120_000
const REQUEST_MS = 30_000
const HEADERS_MS = 10_000
/** How long a review may take. */
const REVIEW_MS = 30_000

const TEXT_TYPE = 'text/plain; charset=utf-8'
/** All that a caller is told when the API server gave no answer. */
const UNVERIFIED = 'Failed to verify access permission'

const HEALTH_PATHS: ReadonlyMap<string, 'live' | 'ready'> = new Map([
  ['/healthz', 'live'],
  ['/livez', 'live'],
  ['/readyz', 'ready'],
])

/** What was sent is not even HTTP: there is no request that could be answered, but a connection. */
const refuseWire = (error: NodeJS.ErrnoException, socket: Duplex): void => {
  if (socket.writable && error.code !== 'ECONNRESET') {
    const [line, failure] = error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? ['408 Request Timeout', { ...timedOut, code: 408 }] : ['400 Bad Request', badRequest('the request could not be read')]
    const body = encode(statusOf(failure), 'json')
    socket.write(`HTTP/1.1 ${line}\r\nContent-Type: ${CONTENT_TYPE.json}\r\nX-Content-Type-Options: nosniff\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`)
  }
  socket.destroy()
}

type Reply = FastifyReply<RouteGenericInterface, Server>

/** A request that is as good as it can be seen without its body. */
interface Prepared {
  bound: BoundKind
  namespace: string
  caller: Caller
  options: CreateOptions
  /** Of the answer. */
  form: Form
  /** Of the body. */
  sent: Form
  startedAt: number
}

const kindKey = (group: string, version: string, plural: string): string => `${group}/${version}/${plural}`

const splitUrl = (url: string): [path: string, query: string] => {
  const at = url.indexOf('?')
  return at < 0 ? [url, ''] : [url.slice(0, at), url.slice(at + 1)]
}

const questionOf = (method: string, path: ResourcePath | { kind: 'path'; path: string }): CallerQuestion => {
  if (path.kind === 'path') return { path: path.path, verb: method.toLowerCase() }
  const { group, version, resource, subresource, namespace, name } = path
  return {
    group,
    version,
    resource,
    verb: verbOf(method, path),
    ...(subresource === '' ? {} : { subresource }),
    ...(namespace === '' ? {} : { namespace }),
    ...(name === '' ? {} : { name }),
  }
}

/** What fastify refuses by itself, in our words; undefined for a fault of ours. */
const wireFailure = (error: FastifyError): ApiFailure | undefined => {
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return tooLarge(BODY_LIMIT)
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return unsupportedMediaType
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return badRequest('the body is not as long as its Content-Length says')
    default:
      // Whatever else is the sender's fault: a connection that was cut while the body was read, for example.
      return error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500 ? badRequest('the request could not be read') : undefined
  }
}

/** Never listens: the caller does, and sets certificates by `server.setSecureContext`. */
export const buildExtensionServer = (deps: ExtensionServerDeps): ExtensionServer => {
  const { authenticate, authorize, turns, drain, metrics, timers, logger } = deps
  const bounds = new Map(deps.kinds.map((kind) => [kindKey(kind.group, kind.version, kind.plural), bindKind(kind)]))
  const documents = createDocuments(deps.kinds, deps.version)
  const prepared = new WeakMap<IncomingMessage, Prepared>()
  const app = fastify({
    https: {
      // Asked for, and judged by authentication.ts: a caller without one may be known by a token, and health is for everybody.
      requestCert: true,
      rejectUnauthorized: false,
      handshakeTimeout: HANDSHAKE_MS,
      headersTimeout: HEADERS_MS,
      connectionsCheckingInterval: 5_000,
    },
    logger: false,
    bodyLimit: BODY_LIMIT,
    keepAliveTimeout: KEEP_ALIVE_MS,
    requestTimeout: REQUEST_MS,
    // While closing, what still comes is answered and not turned away; see drain.ts.
    return503OnClosing: false,
    // Paths are ours to read, as they were sent: a router decodes them.
    rewriteUrl: () => '/',
    clientErrorHandler: refuseWire,
  })

  const send = (reply: Reply, code: number, contentType: string, body: string): void => {
    if (drain.draining) reply.header('connection', 'close')
    metrics.answered(code)
    // Bytes: fastify would write another content type for text.
    reply.code(code).header('content-type', contentType).header('x-content-type-options', 'nosniff').header('cache-control', 'no-cache, private').send(Buffer.from(body))
  }

  const refuse = (request: IncomingMessage, reply: Reply, failure: ApiFailure): void => {
    const form = acceptedForm(request.headers.accept) ?? 'json'
    if (failure.retryAfterSeconds !== undefined) reply.header('retry-after', String(failure.retryAfterSeconds))
    send(reply, failure.code, CONTENT_TYPE[form], encode(statusOf(failure), form))
  }

  const refuseMethod = (request: IncomingMessage, reply: Reply, allow: string): void => {
    reply.header('allow', allow)
    refuse(request, reply, methodNotAllowed)
  }

  /** What was thrown, as an answer without anything of it. */
  const failureOf = (error: unknown, about: object): ApiFailure => {
    if (isCoded(error)) {
      logger.warn({ ...about, err: error }, 'a request to the extension API has no answer: what it depends on failed')
      return readFailure(error, UNVERIFIED)
    }
    const correlationId = randomUUID()
    logger.error({ ...about, err: error, correlationId }, 'the extension API crashed on a request; nothing was allowed by it')
    return internalError(`the request could not be answered; the log of the extension has the cause under correlation id ${correlationId}`)
  }

  const answerDocument = (request: IncomingMessage, reply: Reply, path: string): void => {
    const { method, headers } = request
    if (method !== 'GET' && method !== 'HEAD') return refuseMethod(request, reply, 'GET, HEAD')
    const answer = documents.answer(path, headers.accept)
    if (answer === undefined) return refuse(request, reply, notAcceptable)
    reply.header('vary', 'Accept')
    if (answer.etag !== undefined) reply.header('etag', answer.etag)
    const isKnown = answer.etag !== undefined && headers['if-none-match']?.split(',').some((tag) => tag.trim().replace(/^W\//, '') === answer.etag) === true
    send(reply, isKnown ? 304 : 200, answer.contentType, isKnown ? '' : answer.body)
  }

  const answerMetrics = async (request: IncomingMessage, reply: Reply): Promise<void> => {
    if (request.method !== 'GET' && request.method !== 'HEAD') return refuseMethod(request, reply, 'GET, HEAD')
    const { text, contentType } = await deps.metricsText()
    send(reply, 200, contentType, text)
  }

  const answerHealth = (request: IncomingMessage, reply: Reply, path: string, query: string): boolean => {
    const checks = HEALTH_PATHS.get(path)
    if (checks === undefined) return false
    if (request.method !== 'GET' && request.method !== 'HEAD') refuseMethod(request, reply, 'GET, HEAD')
    else {
      const { code, text } = healthText(path.slice(1), deps[checks], new URLSearchParams(query).has('verbose'))
      send(reply, code, TEXT_TYPE, text)
    }
    return true
  }

  /** @returns the caller, or undefined when the request was answered */
  const admit = async (request: IncomingMessage, reply: Reply, path: ApiPath): Promise<Caller | undefined> => {
    const found = authenticate(request)
    const authentication = found instanceof Promise ? await found : found
    if (authentication.state === 'unavailable') refuse(request, reply, unavailable(authentication.why))
    else if (authentication.state === 'unknown') {
      logger.debug({ reason: authentication.why }, 'a caller was not authenticated')
      // His certificate was judged in the handshake; under CAs that came later, only another handshake makes it good.
      reply.header('connection', 'close')
      refuse(request, reply, unauthorized)
    } else if (path.kind === 'nowhere') refuse(request, reply, notFound)
    else if (path.kind === 'bad-namespace') refuse(request, reply, badRequest(path.problem))
    else {
      const { caller } = authentication
      const question = questionOf(request.method ?? '', path)
      const answer = authorize(caller, question)
      if (typeof answer === 'boolean' ? answer : await answer) return caller
      refuse(request, reply, forbidden(caller, question))
    }
    return undefined
  }

  const prepare = (request: IncomingMessage, reply: Reply, caller: Caller, path: ResourcePath, query: string, startedAt: number): Prepared | undefined => {
    const bound = path.isCollection ? bounds.get(kindKey(path.group, path.version, path.resource)) : undefined
    const { method, headers } = request
    const refused = (failure: ApiFailure): undefined => {
      if (bound !== undefined) metrics.reviewed(bound.kind.kind, 'refused', (performance.now() - startedAt) / 1000)
      refuse(request, reply, failure)
    }
    if (bound === undefined) return refused(notFound)
    if (method !== 'POST') {
      refuseMethod(request, reply, 'POST')
      return undefined
    }
    const form = acceptedForm(headers.accept)
    if (form === undefined) return refused(notAcceptable)
    const sent = contentForm(headers['content-type'])
    if (sent === undefined) return refused(unsupportedMediaType)
    if (Number(headers['content-length'] ?? 0) > BODY_LIMIT) {
      reply.header('connection', 'close')
      return refused(tooLarge(BODY_LIMIT))
    }
    const reading = readCreateOptions(query)
    if (!reading.ok) return refused(reading.failure)
    return { bound, namespace: path.namespace, caller, options: reading.options, form, sent, startedAt }
  }

  /** Everything that can be told from the head of a request. @returns whether its body is wanted; else it was answered */
  const answerHead = async (request: IncomingMessage, reply: Reply, url: string): Promise<boolean> => {
    const startedAt = performance.now()
    const [pathText, query] = splitUrl(url)
    const path = parseApiPath(pathText)
    if (path.kind === 'path' && answerHealth(request, reply, path.path, query)) return false
    const caller = await admit(request, reply, path)
    if (caller === undefined) return false
    if (path.kind === 'resource') {
      const ready = prepare(request, reply, caller, path, query, startedAt)
      if (ready === undefined) return false
      prepared.set(request, ready)
      return true
    }
    if (path.kind === 'path' && path.path === '/metrics') await answerMetrics(request, reply)
    else if (path.kind === 'path' && documents.has(path.path)) answerDocument(request, reply, path.path)
    else refuse(request, reply, notFound)
    return false
  }

  const oneAtATime = createOneAtATime()
  let cutToldAt = Number.NEGATIVE_INFINITY
  const heldBodies = createHeldBodies(HELD_BODIES, () => {
    if (performance.now() - cutToldAt < CUT_TOLD_MS) return
    cutToldAt = performance.now()
    logger.warn('too much of unfinished requests is held: connections that have been sending for longest are cut; let only the API server reach this port')
  })
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
      refuse(raw, reply, failureOf(error, {}))
      return reply
    }
    heldBodies.watch(raw)
    return undefined
  })

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
      const asked = turns.run(() => kind.review({ namespace, spec: sentReview.spec, caller, dryRun: options.dryRun, signal: gone.signal }))
      const outcome = await Promise.race([asked, late.promise])
      if (outcome === 'late') {
        asked.catch((error: unknown) => logger.debug({ kind: kind.kind, reason: messageOf(error) }, 'a review failed after its time was over'))
        audit(ready, performance.now() - startedAt, { verdict: 'late', code: timedOut.code })
        return refuse(request, reply, timedOut)
      }
      const ms = performance.now() - startedAt
      if (!outcome.ok) {
        audit(ready, ms, { verdict: outcome.verdict, code: outcome.failure.code })
        return refuse(request, reply, outcome.failure)
      }
      const { verdict, status, subject, object } = outcome
      audit(ready, ms, { verdict, code: 201, ...(subject === undefined ? {} : { subject }), ...(object === undefined ? {} : { object }) })
      const body = { apiVersion, kind: kind.kind, metadata: sentReview.metadata, spec: kind.echo(sentReview.spec), status }
      if (sentReview.warnings.length > 0) reply.header('warning', warningHeaders(sentReview.warnings))
      send(reply, 201, CONTENT_TYPE[form], encode(body, form))
    } finally {
      cancel()
      reply.raw.off('close', onClose)
    }
  }

  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))

  const EMPTY = Buffer.alloc(0)
  app.post('/', async (request, reply) => {
    const { raw, body } = request
    const ready = prepared.get(raw)
    if (ready === undefined) throw new Error('a body was read that nobody wanted')
    const { bound, sent, options, namespace, startedAt } = ready
    try {
      const decoded = decodeReview(bound, Buffer.isBuffer(body) ? body : EMPTY, sent, options.fieldValidation, namespace)
      if (!decoded.ok || !turns.hasRoom) {
        metrics.reviewed(bound.kind.kind, 'refused', (performance.now() - startedAt) / 1000)
        refuse(raw, reply, decoded.ok ? tooManyRequests : decoded.failure)
      } else await review(raw, reply, ready, decoded.review)
    } catch (error) {
      const failure = failureOf(error, { kind: bound.kind.kind, namespace, caller: ready.caller.user })
      audit(ready, performance.now() - startedAt, { verdict: 'error', code: failure.code })
      refuse(raw, reply, failure)
    }
    return reply
  })

  // Only reached by what the hook let through, which is a POST; to be sure, nothing else is ever answered otherwise.
  app.setNotFoundHandler((request, reply) => refuse(request.raw, reply, notFound))

  app.setErrorHandler((error: FastifyError, request, reply) => {
    const ready = prepared.get(request.raw)
    if (ready !== undefined) metrics.reviewed(ready.bound.kind.kind, 'refused', (performance.now() - ready.startedAt) / 1000)
    refuse(request.raw, reply, wireFailure(error) ?? failureOf(error, {}))
  })

  return app
}
