/**
 * Sign-in without a login proxy: `/login` sends the browser to the issuer, `/callback` takes it back, asks for the access and sets the
 * session cookie.
 *
 * How a browser gets there. `/verify` answers 401; the reverse proxy then sends the browser to `/login?rd=<path>`, a path of the same host:
 * - nginx: `auth_request` to `/verify`, and `error_page 401` to a location with `return 302 /login?rd=$request_uri`. nginx cannot encode
 *   the path; `return-path.ts` reads it as it is. Or that location passes the request on to `/login` with X-Forwarded-Uri.
 * - Traefik: `forwardAuth` to `/verify`, and an `errors` middleware for 401 with the query `/login?rd={url}`, which is the whole URL of the
 *   page; one of this origin is taken for its path. It may keep the status 401 and hand on the rest of this answer, so the way to the
 *   issuer is in the page as well.
 * `/login` and `/callback` themselves go through the proxy without `/verify`, with the same X-Forwarded-Host and -Proto: the redirect URI,
 * `<scheme>://<host>/callback`, is made of them and must be known to the issuer, for each host. Who may send those headers is checked by
 * the server that this plugin is part of.
 *
 * What holds an attacker off:
 * - someone else's code or state: a callback counts only with the cookie of the same state, which only this browser got (login CSRF), and
 *   the ID token must hold that sign-in's nonce;
 * - a cookie that a sister host tosses in: refused by the browser for its name's prefix (`login-cookies.ts`), and none can be forged;
 * - another issuer's answer (mix-up): there is one issuer, whose name in the answer (`iss`) is checked when it sends it;
 * - a callback sent twice: the cookie goes with the first; the issuer takes a code once, and only with the verifier in the cookie;
 * - another host to return to: see `return-path.ts`.
 */
import type { FastifyPluginCallback, FastifyReply, FastifyRequest } from 'fastify'
import type { Logger } from 'pino'
import { readForwardedRest, readForwardedUri, type ForwardedRequest } from '../../core/forwarded-request.ts'
import type { KeyRing } from '../../jwt/key-ring.ts'
import type { Clock } from '../../kube/ports.ts'
import { TEXT_TYPE } from '../answer.ts'
import type { SessionMaker } from '../sign-in.ts'
import { createCodeFlow, type CodeFailure, type CodeFlowOptions } from './code-flow.ts'
import { escapeHtml } from './html.ts'
import type { DiscoveredIdTokens } from './id-tokens.ts'
import { createLoginCookies, LOGIN_SECONDS } from './login-cookies.ts'
import { createLoginSeal, type PendingLogin } from './login-seal.ts'
import { readReturnPath, returnParameter, withoutOwnOrigin, type ReturnPath, type ReturnReading } from './return-path.ts'

export interface LoginOptions extends CodeFlowOptions {
  /** As for the session cookie; without it plain http is taken. */
  cookieSecure: boolean
}

export interface LoginDeps {
  idTokens: DiscoveredIdTokens
  sessions: SessionMaker
  ring: Pick<KeyRing, 'signingKey' | 'keyFor'>
  clock: Clock
  logger: Pick<Logger, 'info' | 'warn' | 'error'>
}

const LOGIN_PATH = '/login'
const CALLBACK_PATH = '/callback'
const OWN_PATHS: ReadonlySet<string> = new Set([LOGIN_PATH, CALLBACK_PATH])

interface Refusal {
  code: number
  text: string
  retryAfterSeconds?: number
}

const NOT_GET: Refusal = { code: 405, text: 'Method not allowed' }
const AGAIN = 'open the page that you wanted again'
const NOT_A_PAGE: Refusal = { code: 401, text: 'Unauthorized: sign in by opening the page in the browser' }
const NO_RETURN: Refusal = { code: 400, text: `Say where to return to: ${LOGIN_PATH}?rd=<path>` }
const NO_HOST: Refusal = { code: 400, text: 'Invalid X-Forwarded-Host header' }
const NO_KEY: Refusal = { code: 503, text: 'Nobody can sign in at the moment, try again', retryAfterSeconds: 2 }
const NOT_UNDER_WAY: Refusal = { code: 400, text: `This sign-in has ended, or was begun in another browser: ${AGAIN}` }
const BAD_TOKEN: Refusal = { code: 401, text: 'Invalid or expired OIDC token' }
const UNAVAILABLE: Refusal = { code: 503, text: 'OIDC provider not available, try again', retryAfterSeconds: 5 }

const FAILURES: Readonly<Record<CodeFailure, Refusal>> = {
  refused: { code: 403, text: 'The identity provider refused the sign-in' },
  stale: { code: 401, text: `This sign-in was used already, or has expired: ${AGAIN}` },
  invalid: { code: 401, text: `The answer of the identity provider cannot be accepted: ${AGAIN}` },
  misconfigured: { code: 500, text: 'Internal server error: the identity provider does not accept this client' },
  unavailable: UNAVAILABLE,
}

const STATE = /^[\w-]{43}$/

const queryOf = (url: string): string => {
  const at = url.indexOf('?')
  return at < 0 ? '' : url.slice(at + 1)
}

/** Exactly one, of the form that ours have. */
const stateIn = (query: string): string | undefined => {
  const [state, ...others] = new URLSearchParams(query).getAll('state')
  return state !== undefined && others.length === 0 && STATE.test(state) ? state : undefined
}

/** A page's own requests (fetch, images, frames' scripts) cannot show a sign-in; each would only begin one that nobody ends. */
const isPageVisit = ({ headers }: FastifyRequest): boolean => headers['sec-fetch-mode'] === undefined || headers['sec-fetch-mode'] === 'navigate'

const page = (url: string): string =>
  `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=${escapeHtml(url)}"><title>Sign in</title></head>` +
  `<body><a href="${escapeHtml(url)}">Sign in</a></body></html>\n`

const PAGE_HEADERS = { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': "default-src 'none'; frame-ancestors 'none'" } as const

const refuse = (reply: FastifyReply, { code, text, retryAfterSeconds }: Refusal): FastifyReply => {
  if (retryAfterSeconds !== undefined) reply.header('retry-after', retryAfterSeconds)
  return reply.code(code).type(TEXT_TYPE).send(text)
}

/** Where the browser asked to return to: the parameter, else the page that the proxy passed on. */
const returnPathOf = (request: FastifyRequest, origin: string): ReturnReading | undefined => {
  const asked = returnParameter(queryOf(request.url))
  if (asked !== undefined) return readReturnPath(withoutOwnOrigin(asked, origin))
  const uri = readForwardedUri(request.headers)
  const text = request.headers['x-forwarded-uri']
  return uri.ok && typeof text === 'string' && !OWN_PATHS.has(uri.path) ? readReturnPath(text) : undefined
}

/**
 * The routes, for a server that checks who may send X-Forwarded headers,
 * and puts on these answers what belongs on all (no-store, no-referrer, nosniff).
 * @throws CodedError CONFIG_INVALID when the issuer offers no sign-in that can be used
 */
export const createLogin = (options: LoginOptions, { idTokens, sessions, ring, clock, logger }: LoginDeps): FastifyPluginCallback => {
  const { cookieSecure } = options
  const flow = createCodeFlow(idTokens.issuer, options)
  const cookies = createLoginCookies({ secure: cookieSecure })
  const seal = createLoginSeal({ ring, clock })
  const rules = { requireHttps: cookieSecure }

  /** Written as browsers and issuers write it: without the scheme's own port. */
  const originOf = ({ proto = cookieSecure ? 'https' : 'http', host }: ForwardedRequest): string | undefined => {
    const text = `${proto}://${host}`
    return URL.canParse(text) ? new URL(text).origin : undefined
  }

  const begin = async (request: FastifyRequest, reply: FastifyReply, to: ReturnPath, origin: string): Promise<FastifyReply> => {
    const { url, secrets } = await flow.begin(`${origin}${CALLBACK_PATH}`)
    const sealed = await seal.seal({ ...secrets, origin, location: to.location, expiresAt: clock.now() + LOGIN_SECONDS * 1000 })
    if (sealed === undefined) return refuse(reply, NO_KEY)
    const removed = await cookies.makeRoom(request.headers.cookie, sealed.length, seal)
    return reply
      .code(303)
      .header('set-cookie', [...removed, cookies.setCookie(secrets.state, sealed)])
      .header('location', url.href)
      .headers(PAGE_HEADERS)
      .send(page(url.href))
  }

  /** The sign-in that this browser began with this state. */
  const pendingFor = async (request: FastifyRequest, state: string, origin: string): Promise<PendingLogin | undefined> => {
    for (const value of cookies.valuesFor(request.headers.cookie, state)) {
      const login = await seal.open(value)
      if (login?.state === state && login.origin === origin) return login
    }
    return undefined
  }

  const end = async (request: FastifyRequest, reply: FastifyReply, forwarded: ForwardedRequest, login: PendingLogin): Promise<FastifyReply> => {
    const told = (refusal: Refusal, reason: string): FastifyReply => {
      logger.warn({ host: forwarded.host, code: refusal.code, reason }, 'a sign-in failed')
      return refuse(reply, refusal)
    }
    const to = readReturnPath(login.location)
    if (!to.ok) return told(NOT_UNDER_WAY, 'the path to return to is none any more')
    const exchange = await flow.exchange(new URL(`${login.origin}${CALLBACK_PATH}?${queryOf(request.url)}`), login)
    if (!exchange.ok) return told(FAILURES[exchange.failure], exchange.why)
    const reading = await idTokens.verify(exchange.idToken, { nonce: login.nonce })
    if (!reading.ok) return told(reading.kind === 'unavailable' ? UNAVAILABLE : BAD_TOKEN, reading.why)
    const session = await sessions.signIn({ ...forwarded, path: to.to.path, query: to.to.query }, reading.claims)
    if (!session.ok) {
      const { code, body: text, retryAfterSeconds } = session
      return refuse(reply, { code, text, ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }) })
    }
    return reply.code(303).header('set-cookie', session.cookie).header('location', to.to.location).send()
  }

  const serveLogin = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    if (!isPageVisit(request)) return refuse(reply, NOT_A_PAGE)
    const forwarded = readForwardedRest(request.headers, { path: LOGIN_PATH, query: '' }, rules)
    if (!forwarded.ok) return refuse(reply, { code: forwarded.code, text: forwarded.body })
    const origin = originOf(forwarded.request)
    if (origin === undefined) return refuse(reply, NO_HOST)
    const reading = returnPathOf(request, origin)
    if (reading === undefined) return refuse(reply, NO_RETURN)
    if (!reading.ok) return refuse(reply, { code: 400, text: reading.body })
    return OWN_PATHS.has(reading.to.path) ? refuse(reply, NO_RETURN) : begin(request, reply, reading.to, origin)
  }

  const serveCallback = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const forwarded = readForwardedRest(request.headers, { path: CALLBACK_PATH, query: '' }, rules)
    if (!forwarded.ok) return refuse(reply, { code: forwarded.code, text: forwarded.body })
    const origin = originOf(forwarded.request)
    const state = stateIn(queryOf(request.url))
    const pending = state === undefined || origin === undefined ? undefined : await pendingFor(request, state, origin)
    if (pending === undefined) return refuse(reply, NOT_UNDER_WAY)
    // Whatever comes of it: this sign-in is over.
    reply.header('set-cookie', cookies.setCookie(pending.state, ''))
    return end(request, reply, forwarded.request, pending)
  }

  type Handler = (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>
  // Not even HEAD: it would use up the code without anybody seeing the answer.
  const getAlone =
    (handler: Handler): Handler =>
    async (request, reply) =>
      request.method === 'GET' ? handler(request, reply) : refuse(reply.header('allow', 'GET'), NOT_GET)

  return (app, _options, done) => {
    app.route({ method: app.supportedMethods, url: LOGIN_PATH, handler: getAlone(serveLogin) })
    app.route({ method: app.supportedMethods, url: CALLBACK_PATH, handler: getAlone(serveCallback) })
    done()
  }
}
