import { randomUUID } from 'node:crypto'
import type { Server } from 'node:https'
import { performance } from 'node:perf_hooks'
import fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type RouteGenericInterface } from 'fastify'
import type { Logger } from 'pino'
import { healthAnswer, type Health } from '../src/metrics-server.ts'
import type { Answer } from './answer.ts'
import { IDLE_BOUNDS, TLS_BOUNDS } from '../src/serving/connection-bounds.ts'
import type { Drain } from '../src/serving/drain.ts'
import { createHeldBodies, warnOfCuts } from '../src/serving/held-bodies.ts'
import { refuseShortly, sparingUnused } from '../src/serving/unused-connections.ts'
import type { Hook } from './hook.ts'
import type { HookMetrics } from './metrics.ts'
import { createOneAtATime } from '../src/serving/one-at-a-time.ts'
import { decodeReview, encodeReview } from './review.ts'

export type WebhookServer = FastifyInstance<Server>

export interface WebhookServerDeps {
  hooks: readonly Hook[]
  drain: Drain
  live: Health
  ready: Health
  metrics: HookMetrics
  logger: Logger
  /** true: only clients with a certificate of the CA in the secure context get through the handshake. */
  requireClientCertificate: boolean
}

/** The largest object that etcd holds is far smaller; an UPDATE carries two. */
export const BODY_LIMIT = 7 * 1024 * 1024
/** Of all bodies that have not ended; far below what the container may take. */
const HELD_BODIES = 32 * 1024 * 1024
/** The API server waits at most 30 s for any webhook. */
const REQUEST_MS = 30_000

const JSON_TYPE = 'application/json; charset=utf-8'
const TEXT_TYPE = 'text/plain; charset=utf-8'
const GET_PATHS: ReadonlySet<string> = new Set(['/healthz', '/readyz'])

interface Refusal {
  code: number
  reason: string
  message: string
}

/** What fastify refuses by itself, in our words. */
const WIRE_ERRORS: ReadonlyMap<string, Refusal> = new Map([
  ['FST_ERR_CTP_INVALID_MEDIA_TYPE', { code: 415, reason: 'UnsupportedMediaType', message: 'the Content-Type must be application/json' }],
  ['FST_ERR_CTP_BODY_TOO_LARGE', { code: 413, reason: 'RequestEntityTooLarge', message: `the body must not be larger than ${BODY_LIMIT} bytes` }],
  ['FST_ERR_CTP_INVALID_CONTENT_LENGTH', { code: 400, reason: 'BadRequest', message: 'the body is not as long as its Content-Length says' }],
])

class NotJson extends Error {
  readonly code = 'NOT_JSON'
}

const wireError = (error: FastifyError): Refusal | undefined => {
  if (error instanceof NotJson) return { code: 400, reason: 'BadRequest', message: 'the body is not JSON, or only a part of it' }
  const known = WIRE_ERRORS.get(error.code)
  if (known !== undefined) return known
  // Whatever else is the sender's fault: a connection that was cut while the body was read, for example.
  const isSenders = error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500
  return isSenders ? { code: error.statusCode ?? 400, reason: 'BadRequest', message: 'the request could not be read' } : undefined
}

type Reply = FastifyReply<RouteGenericInterface, Server>

/**
 * The admission edge. Never listens: the caller does, and sets the certificate by `server.setSecureContext`.
 * Written once for all hooks: content type, size, JSON, the review's shape, crashes, draining, metrics.
 */
export const buildWebhookServer = (deps: WebhookServerDeps): WebhookServer => {
  const { hooks, drain, metrics, logger } = deps
  const hookAt = new Map<string, Hook>(hooks.map((hook) => [hook.path, hook]))
  const app = fastify({
    https: {
      requestCert: deps.requireClientCertificate,
      rejectUnauthorized: deps.requireClientCertificate,
      ...TLS_BOUNDS,
    },
    logger: false,
    bodyLimit: BODY_LIMIT,
    requestTimeout: REQUEST_MS,
    ...IDLE_BOUNDS,
    clientErrorHandler: sparingUnused(refuseShortly),
  })

  const send = (reply: Reply, code: number, type: string, body: string): void => {
    if (drain.draining) reply.header('connection', 'close')
    reply.code(code).header('content-type', type).send(body)
  }

  const refuse = (reply: Reply, { code, reason, message }: Refusal): void =>
    send(reply, code, JSON_TYPE, JSON.stringify({ kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message }))

  const crash = (reply: Reply, hook: string, error: unknown): void => {
    const correlationId = randomUUID()
    logger.error({ err: error, hook, correlationId }, 'a hook crashed; nothing was allowed by it')
    metrics.answered(hook, 'crashed')
    refuse(reply, { code: 500, reason: 'InternalError', message: `the webhook failed to answer; its log has the cause under correlation id ${correlationId}` })
  }

  const oneAtATime = createOneAtATime()
  const heldBodies = createHeldBodies(HELD_BODIES, warnOfCuts(logger, () => performance.now()))
  app.addHook('onRequest', (request, reply, done) => {
    if (!oneAtATime.isTooEarly(request.raw, reply.raw)) {
      heldBodies.watch(request.raw)
      return done()
    }
    reply.hijack()
    metrics.answered(hookAt.get(request.routeOptions.url ?? '')?.name ?? 'none', 'malformed')
    request.raw.socket.destroy()
  })

  // One JSON.parse. Keys like __proto__ become plain own properties by it, and nothing here merges objects key by key,
  // so there is nothing to poison; refusing them would refuse objects that Kubernetes takes.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, done) => {
    try {
      done(null, JSON.parse(String(body)))
    } catch {
      // The parser's message quotes the body, which may hold something private.
      done(new NotJson())
    }
  })

  for (const hook of hooks) {
    app.post(hook.path, (request, reply) => {
      const start = performance.now()
      const decoded = decodeReview(request.body, hook.resource)
      if (!decoded.ok) {
        refuse(reply, { code: 400, reason: 'BadRequest', message: decoded.message })
        metrics.answered(hook.name, 'malformed')
        return
      }
      const { uid } = decoded.request
      const finish = (answer: Answer): void => {
        send(reply, 200, JSON_TYPE, encodeReview(uid, answer))
        metrics.answered(hook.name, answer.kind, (performance.now() - start) / 1000)
      }
      try {
        const answer = hook.answer(decoded.request)
        if (!(answer instanceof Promise)) return finish(answer)
        answer.then(finish).catch((error: unknown) => crash(reply, hook.name, error))
      } catch (error) {
        crash(reply, hook.name, error)
      }
    })
  }

  for (const [path, health] of [
    ['/healthz', deps.live],
    ['/readyz', deps.ready],
  ] as const) {
    app.get(path, (_request, reply) => {
      const { code, text } = healthAnswer(health)
      send(reply, code, TEXT_TYPE, text)
    })
  }

  app.setNotFoundHandler((request, reply) => {
    const [path = ''] = request.url.split('?')
    const allow = hookAt.has(path) ? 'POST' : GET_PATHS.has(path) ? 'GET' : undefined
    if (allow === undefined) return refuse(reply, { code: 404, reason: 'NotFound', message: 'there is no such path' })
    reply.header('allow', allow)
    refuse(reply, { code: 405, reason: 'MethodNotAllowed', message: `${path} takes ${allow} alone` })
  })

  app.setErrorHandler((error: FastifyError, request, reply) => {
    const hook = hookAt.get(request.routeOptions.url ?? '')?.name ?? 'none'
    const wire = wireError(error)
    if (wire !== undefined) {
      metrics.answered(hook, 'malformed')
      return refuse(reply, wire)
    }
    crash(reply, hook, error)
  })

  return app
}
