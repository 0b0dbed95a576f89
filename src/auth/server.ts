/** The server of the auth middleware: plain HTTP, for a reverse proxy alone. */
import { METHODS, type IncomingMessage } from 'node:http'
import fastify, { type FastifyInstance, type FastifyPluginCallback, type FastifyReply } from 'fastify'
import type { Logger } from 'pino'
import { formatTime } from '../core/time.ts'
import type { Clock } from '../kube/ports.ts'
import type { Drain } from '../serving/drain.ts'
import { COMMON_HEADERS, INTERNAL_ERROR, JSON_TYPE, TEXT_TYPE, textAnswer, type AuthAnswer, type Route } from './answer.ts'
import type { AuthMetrics } from './metrics.ts'
import type { TrustedProxies } from './trusted-proxies.ts'
import type { Verify } from './verify.ts'

export interface AuthServerDeps {
  verify: Verify
  /** Left out: there is no such path. */
  auth?: Route
  bearerAuth?: Route
  /** Serves /login and /callback. */
  login?: FastifyPluginCallback
  proxies: TrustedProxies
  drain: Pick<Drain, 'draining'>
  metrics: Pick<AuthMetrics, 'answered'>
  clock: Clock
  logger: Pick<Logger, 'error' | 'warn'>
  /** Milliseconds. */
  readTimeoutMs: number
  /** Milliseconds. */
  writeTimeoutMs: number
}

/** Longer than proxies keep an idle connection (nginx 60 s, Traefik 90 s): otherwise we would close one that they are about to use. */
const KEEP_ALIVE_MS = 120_000
/** Bytes. An ID token with many groups, its cookies and a long address come together in one request. */
const MAX_HEADERS = 32 * 1024
/** Told once in so many milliseconds. */
const UNTRUSTED_TOLD_MS = 60_000

const UNTRUSTED = textAnswer(403, 'X-Forwarded headers are taken from trusted proxies alone: set TRUSTED_PROXIES to the address of this one')
const NOT_FOUND = textAnswer(404, 'Not found')
const BAD_REQUEST = 'The request could not be read'

const saysForwarded = (headers: IncomingMessage['headers']): boolean => Object.keys(headers).some((name) => name.startsWith('x-forwarded-'))

/** What fastify says of an error that is the sender's. */
const statusOf = (error: unknown): number => (error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number' ? error.statusCode : 500)

const send = (reply: FastifyReply, answer: AuthAnswer): void => {
  const { code, text, json, cookie, location, retryAfter, allow } = answer
  reply.code(code)
  if (cookie !== undefined) reply.header('set-cookie', cookie)
  if (location !== undefined) reply.header('location', location)
  if (retryAfter !== undefined) reply.header('retry-after', String(retryAfter))
  if (allow !== undefined) reply.header('allow', allow)
  if (text !== undefined) reply.header('content-type', TEXT_TYPE).send(text)
  // As bytes: to text of this type fastify would add a charset.
  else if (json !== undefined) reply.header('content-type', JSON_TYPE).send(Buffer.from(JSON.stringify(json)))
  else reply.send()
}

/** Never listens: the caller does. */
export const buildAuthServer = (deps: AuthServerDeps): FastifyInstance => {
  const { verify, auth, bearerAuth, login, proxies, drain, metrics, clock, logger } = deps

  const fail = (reply: FastifyReply, error: unknown): void => {
    const code = statusOf(error)
    if (code >= 400 && code < 500) return send(reply, textAnswer(code, BAD_REQUEST))
    logger.error({ err: error }, 'a request could not be answered; nobody was let in by it')
    return send(reply, INTERNAL_ERROR)
  }

  const app = fastify({
    logger: false,
    requestTimeout: deps.readTimeoutMs,
    connectionTimeout: deps.writeTimeoutMs,
    keepAliveTimeout: KEEP_ALIVE_MS,
    exposeHeadRoutes: false,
    http: { headersTimeout: deps.readTimeoutMs, maxHeaderSize: MAX_HEADERS, connectionsCheckingInterval: 5_000 },
    // While closing, what still comes is answered and not turned away; see drain.ts.
    return503OnClosing: false,
    // A path that cannot be decoded comes before any hook.
    frameworkErrors: (error, _request, reply) => fail(reply.headers(COMMON_HEADERS), error),
  })
  for (const method of METHODS) if (!app.supportedMethods.includes(method) && method !== 'CONNECT') app.addHttpMethod(method, { hasBody: true })

  // Once for each connection: its other end stays the same.
  const trusted = new WeakMap<object, boolean>()
  const isTrusted = ({ socket }: IncomingMessage): boolean => {
    const known = trusted.get(socket)
    if (known !== undefined) return known
    const trusts = proxies.trusts(socket.remoteAddress)
    trusted.set(socket, trusts)
    return trusts
  }
  let toldAt = Number.NEGATIVE_INFINITY
  const tellUntrusted = (address: string | undefined): void => {
    if (clock.now() - toldAt < UNTRUSTED_TOLD_MS) return
    toldAt = clock.now()
    logger.warn({ address }, 'X-Forwarded headers came from an address that is not in TRUSTED_PROXIES; if that is the reverse proxy, add it')
  }
  app.addHook('onRequest', (request, reply, done) => {
    reply.headers(COMMON_HEADERS)
    if (drain.draining) reply.header('connection', 'close')
    if (isTrusted(request.raw) || !saysForwarded(request.headers)) return done()
    tellUntrusted(request.raw.socket.remoteAddress)
    return send(reply, UNTRUSTED)
  })
  app.addHook('onResponse', (request, reply, done) => {
    metrics.answered(request.routeOptions.url ?? 'none', reply.statusCode)
    done()
  })

  // Nothing here is told anything by a body; of what a proxy sends along, nothing is read.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, _payload, done) => done(null))

  const methods = app.supportedMethods
  const serve = (url: string, route: Route): void => {
    app.route({
      method: methods,
      url,
      handler: (request, reply) => {
        route(request.raw)
          .then((answer) => send(reply, answer))
          .catch((error: unknown) => fail(reply, error))
      },
    })
  }
  serve('/verify', ({ headers, method = '' }) => verify(headers, method))
  if (auth !== undefined) serve('/auth', auth)
  if (bearerAuth !== undefined) serve('/bearer-auth', bearerAuth)
  serve('/health', async () => ({ code: 200, json: { status: 'ok', time: formatTime(clock.now()) } }))
  if (login !== undefined) void app.register(login)

  app.setNotFoundHandler((_request, reply) => send(reply, NOT_FOUND))
  app.setErrorHandler((error, _request, reply) => fail(reply, error))
  return app
}
