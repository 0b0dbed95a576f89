/**
 * What a reverse proxy says of the request that it asks about: X-Forwarded-Uri, -Host, -Proto and -Method. A header that was sent
 * twice arrives as its values joined by ", "; no value may hold a space, so it is refused by its grammar.
 */

/** A request that somebody made of the proxy. */
export interface ForwardedRequest {
  /** The path alone, decoded, in the one form that every server agrees on: no dot segments, no empty ones. Begins with a slash. */
  path: string
  /** What stands after "?", as it came; may hold a token, so it is never logged. */
  query: string
  /** Lower case, with its port where there is one. */
  host: string
  proto?: 'http' | 'https'
  /** Upper case. */
  method?: string
}

/** The headers as node:http gives them. */
export type Headers = Readonly<Record<string, string | string[] | undefined>>

/** What a bad request is answered with: one line of text. */
export interface BadRequest {
  ok: false
  code: 400
  body: string
}

export interface ForwardedUri {
  path: string
  query: string
}

const bad = (body: string): BadRequest => ({ ok: false, code: 400, body })

const invalid = (problem: string): BadRequest => bad(`Invalid forwarded URI: ${problem}`)

const single = (value: string | string[] | undefined): string => (typeof value === 'string' ? value : (value?.join(', ') ?? ''))

const SLASH = 0x2f
const DOT = 0x2e
const PERCENT = 0x25
const QUERY = 0x3f
const FRAGMENT = 0x23
const BACKSLASH = 0x5c
const SEMICOLON = 0x3b
const SPACE = 0x20
const DELETE = 0x7f

/** Whether a segment that begins at `start` is "." or "..", also with parameters, which some servers cut off before they look. */
const isDotSegment = (text: string, start: number, end: number): boolean => {
  if (text.charCodeAt(start) !== DOT || start === end) return false
  let next = start + 1
  if (next < end && text.charCodeAt(next) === DOT) next += 1
  return next === end || text.charCodeAt(next) === SEMICOLON
}

const DOT_SEGMENT = 'the path holds a dot segment'

const hasDotSegment = (path: string): boolean => {
  let start = 1
  for (let at = path.indexOf('/', start); at >= 0; at = path.indexOf('/', start)) {
    if (isDotSegment(path, start, at)) return true
    start = at + 1
  }
  return isDotSegment(path, start, path.length)
}

const ENCODED_SEPARATOR = /%(?:2f|5c)/i
/** What is still an escape after decoding once: a server behind us that decodes again would see another path. */
const TWICE_ENCODED = /%(?:25)*(?:2[ef]|3b|5c|[01][0-9a-f]|7f)/i
const CONTROL = /\p{Cc}/u
/** Spaces and control characters; the space that stands between two values of a header that was sent twice among them. */
const BREAKS_QUERY = /[^!-~\u0080-\uffff]/

const decodedPath = (encoded: string): string | BadRequest => {
  if (ENCODED_SEPARATOR.test(encoded)) return invalid('the path holds an encoded slash or backslash')
  let path: string
  try {
    path = decodeURIComponent(encoded)
  } catch {
    // The one thing that it throws for: an escape that is none, or bytes that are no UTF-8.
    return invalid('the path holds an invalid percent escape')
  }
  if (CONTROL.test(path)) return invalid('the path holds a control character')
  if (TWICE_ENCODED.test(path)) return invalid('the path is encoded twice')
  return hasDotSegment(path) ? invalid(DOT_SEGMENT) : path
}

/** @param rest what follows the path */
const queryOf = (rest: string): string => {
  if (rest.charCodeAt(0) !== QUERY) return ''
  const fragment = rest.indexOf('#')
  return rest.slice(1, fragment < 0 ? undefined : fragment)
}

export type UriReading = ({ ok: true } & ForwardedUri) | BadRequest

/** A path with its query, as it stands in a request line. One pass over the path, since nearly all paths need no more. */
export const readUri = (uri: string): UriReading => {
  if (uri.charCodeAt(0) !== SLASH) return invalid('it must begin with a slash')
  let hasEscape = false
  let end = 0
  let start = 1
  for (; end < uri.length; end += 1) {
    const character = uri.charCodeAt(end)
    if (character === QUERY) break
    // No browser sends one. Servers that take it for a part of the path would go on where we ended.
    if (character === FRAGMENT) return invalid('the path holds a fragment')
    if (character <= SPACE || character >= DELETE || character === BACKSLASH) return invalid('the path holds a character that must be percent-encoded')
    if (character === PERCENT) hasEscape = true
    if (character !== SLASH || end === 0) continue
    if (start === end) return invalid('the path holds an empty segment')
    if (isDotSegment(uri, start, end)) return invalid(DOT_SEGMENT)
    start = end + 1
  }
  if (isDotSegment(uri, start, end)) return invalid(DOT_SEGMENT)
  const rest = uri.slice(end)
  if (rest !== '' && BREAKS_QUERY.test(rest)) return invalid('the query holds a space or a control character')
  const encoded = uri.slice(0, end)
  const path = hasEscape ? decodedPath(encoded) : encoded
  return typeof path === 'string' ? { ok: true, path, query: queryOf(rest) } : path
}

/** Names, IPv4 addresses and IPv6 addresses in brackets; a port of up to five digits. */
const HOST = /^(?:[a-z0-9_](?:[-a-z0-9_]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[-a-z0-9_]{0,61}[a-z0-9_])?)*|\[[0-9a-f:.]{2,45}\])(?::([0-9]{1,5}))?$/
const MAX_HOST = 253 + ':65535'.length

/** @returns the host in lower case with its port, undefined for text that is none */
export const readHost = (text: string): string | undefined => {
  if (text.length > MAX_HOST) return undefined
  const host = text.toLowerCase()
  const found = HOST.exec(host)
  if (found === null) return undefined
  const [, port] = found
  return port === undefined || (Number(port) >= 1 && Number(port) <= 65_535) ? host : undefined
}

/** Of a WebSocket, some proxies say ws and wss. */
const PROTOS: ReadonlyMap<string, 'http' | 'https'> = new Map([
  ['http', 'http'],
  ['https', 'https'],
  ['ws', 'http'],
  ['wss', 'https'],
])

const METHOD = /^[A-Za-z][A-Za-z-]{0,31}$/

export interface ForwardedRules {
  /** Session cookies are sent over https alone, so a request over http is a mistake in the set-up. */
  requireHttps: boolean
}

export type ForwardedReading = { ok: true; request: ForwardedRequest } | BadRequest

/** The URI alone, for those who look at it before the rest is there. */
export const readForwardedUri = (headers: Headers): UriReading => {
  const uri = single(headers['x-forwarded-uri'])
  return uri === '' ? bad('Missing X-Forwarded-Uri header') : readUri(uri)
}

/** What goes with a URI that was read already. */
export const readForwardedRest = (headers: Headers, { path, query }: ForwardedUri, { requireHttps }: ForwardedRules): ForwardedReading => {
  const given = single(headers['x-forwarded-host'])
  if (given === '') return bad('Missing X-Forwarded-Host header')
  const host = readHost(given)
  if (host === undefined) return bad('Invalid X-Forwarded-Host header')
  const request: ForwardedRequest = { path, query, host }
  const proto = single(headers['x-forwarded-proto'])
  if (proto !== '') {
    const known = PROTOS.get(proto.toLowerCase())
    if (known === undefined) return bad('Invalid X-Forwarded-Proto header')
    if (known === 'http' && requireHttps) return bad('X-Forwarded-Proto must be https: browsers send session cookies over https alone')
    request.proto = known
  }
  const method = single(headers['x-forwarded-method'])
  if (method !== '') {
    if (!METHOD.test(method)) return bad('Invalid X-Forwarded-Method header')
    request.method = method.toUpperCase()
  }
  return { ok: true, request }
}

/** The whole request. */
export const readForwarded = (headers: Headers, rules: ForwardedRules): ForwardedReading => {
  const uri = readForwardedUri(headers)
  return uri.ok ? readForwardedRest(headers, uri, rules) : uri
}
