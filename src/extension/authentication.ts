/** Who sent a request: the front proxy says it; by option, a client certificate or a bearer token. */
import type { IncomingMessage } from 'node:http'
import { TLSSocket } from 'node:tls'
import { isIdentityHeader, readProxiedIdentity } from '../core/front-proxy-headers.ts'
import { withAuthenticated } from '../core/system-names.ts'
import type { Clock } from '../kube/ports.ts'
import type { ClientTrust } from './client-trust.ts'
import type { Handshakes } from './handshakes.ts'
import { isForClients, issuedUntil, subjectOf } from './peer-certificate.ts'
import type { Caller } from './review-kind.ts'
import type { TokenReviewer } from './token-review.ts'

export type Authentication =
  | { state: 'known'; caller: Caller }
  | {
      state: 'unknown'
      /** For the log: no credential is in it. */
      why: string
    }
  /** Nobody can be authenticated now; why, in one sentence for the caller. */
  | { state: 'unavailable'; why: string }

/** @throws CodedError KUBE_* when a token could not be reviewed */
export type Authenticate = (request: IncomingMessage) => Authentication | Promise<Authentication>

export interface AuthenticationDeps {
  trust: { readonly current: ClientTrust | undefined; readonly problem: string | undefined }
  clock: Clock
  handshakes: Pick<Handshakes, 'judgedUnder'>
  /** Left out: bearer tokens are not taken. */
  tokens?: TokenReviewer
}

/** What the certificate of one connection is good for, under one state of the configuration. */
interface Standing {
  trust: ClientTrust
  frontProxy: { until: number } | undefined
  client: { until: number; caller: Caller } | undefined
  why: string
}

const UNAUTHENTICATED = 'system:unauthenticated'
const ANONYMOUS = 'system:anonymous'

/** As the API server does it. */
const signedIn = (caller: Caller): Caller =>
  caller.user === ANONYMOUS || caller.groups.includes(UNAUTHENTICATED) ? caller : { ...caller, groups: withAuthenticated(caller.groups) }

const nobody = (trust: ClientTrust, why: string): Standing => ({ trust, frontProxy: undefined, client: undefined, why })

const standingOf = (socket: TLSSocket, trust: ClientTrust, isJudged: boolean, now: number): Standing => {
  const certificate = socket.getPeerX509Certificate()
  if (certificate === undefined) return nobody(trust, 'there is no client certificate')
  // What a resumed session says of its certificate was found out long ago, under other CAs maybe.
  if (socket.isSessionReused()) return nobody(trust, 'the TLS session was resumed')
  if (!socket.authorized) return nobody(trust, `the client certificate was not accepted: ${String(socket.authorizationError)}`)
  if (!isForClients(certificate)) return nobody(trust, 'the client certificate is not for clients')
  const subject = subjectOf(certificate)
  if (subject === undefined) return nobody(trust, 'the client certificate has no common name, or several')
  const clientEnd = issuedUntil(certificate, trust.clients, now)
  const client = clientEnd === undefined ? undefined : { until: clientEnd, caller: signedIn({ user: subject.commonName, groups: subject.organizations, extra: {} }) }
  // The handshake knows no difference between the two kinds of CAs.
  const isOfFrontProxy = isJudged && trust.clients.length === 0
  const proxyEnd = issuedUntil(certificate, trust.frontProxy, now) ?? (isOfFrontProxy ? Date.parse(certificate.validTo) : undefined)
  const { allowedNames } = trust.config
  const isAllowed = allowedNames.length === 0 || allowedNames.includes(subject.commonName)
  const why = proxyEnd === undefined ? 'the client certificate is of another CA' : isAllowed ? 'the front proxy names no user' : 'the common name of the client certificate is not allowed'
  return { trust, frontProxy: proxyEnd === undefined || !isAllowed ? undefined : { until: proxyEnd }, client, why }
}

const bearerToken = (request: IncomingMessage): string | undefined => /^bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1]

/** Nothing behind the authentication sees who the request claims to come from, or a credential. */
const dropIdentity = (request: IncomingMessage, trust: ClientTrust | undefined): void => {
  const { rawHeaders, headers } = request
  let kept = 0
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const [name = '', value = ''] = [rawHeaders[index], rawHeaders[index + 1]]
    const lower = name.toLowerCase()
    if (isIdentityHeader(lower, trust?.config)) {
      delete headers[lower]
      continue
    }
    rawHeaders[kept] = name
    rawHeaders[kept + 1] = value
    kept += 2
  }
  rawHeaders.length = kept
}

const byToken = async (token: string, reviewer: TokenReviewer): Promise<Authentication> => {
  const caller = await reviewer(token)
  return caller === undefined ? { state: 'unknown', why: 'the bearer token is not good' } : { state: 'known', caller: signedIn(caller) }
}

export const createAuthentication = ({ trust, clock, handshakes, tokens }: AuthenticationDeps): Authenticate => {
  const standings = new WeakMap<object, Standing>()

  /** Looked at once for each connection and state of the configuration. */
  const standing = (socket: TLSSocket, current: ClientTrust): Standing => {
    const known = standings.get(socket)
    if (known?.trust === current) return known
    const found = standingOf(socket, current, handshakes.judgedUnder(socket) === current, clock.now())
    standings.set(socket, found)
    return found
  }

  const byConnection = (request: IncomingMessage, current: ClientTrust): Authentication => {
    if (!(request.socket instanceof TLSSocket)) return { state: 'unknown', why: 'there is no TLS' }
    const { frontProxy, client, why } = standing(request.socket, current)
    const now = clock.now()
    if (frontProxy !== undefined && now <= frontProxy.until) {
      const identity = readProxiedIdentity(request.rawHeaders, current.config)
      if (identity !== undefined) return { state: 'known', caller: signedIn(identity) }
    }
    if (client !== undefined && now <= client.until) return { state: 'known', caller: client.caller }
    return { state: 'unknown', why }
  }

  return (request) => {
    const { current, problem } = trust
    if (current === undefined) {
      dropIdentity(request, current)
      return { state: 'unavailable', why: problem ?? 'nobody can be authenticated yet' }
    }
    const found = byConnection(request, current)
    const token = found.state === 'unknown' && tokens !== undefined ? bearerToken(request) : undefined
    dropIdentity(request, current)
    return token === undefined || tokens === undefined ? found : byToken(token, tokens)
  }
}
