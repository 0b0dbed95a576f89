/** Where a browser goes after it has signed in: a path of the same origin, never another host. */
import { readUri, type ForwardedUri } from '../../core/forwarded-request.ts'

/** Characters; it travels in a cookie. */
export const MAX_RETURN_PATH = 1_024

export interface ReturnPath extends ForwardedUri {
  /** As it stands in a Location: path and query, in characters that a header may hold; begins with one slash. */
  location: string
}

export type ReturnReading = { ok: true; to: ReturnPath } | { ok: false; body: string }

/** No request is ever sent there: an origin to resolve against. */
const BASE = 'https://origin.invalid'

/**
 * What stands after `rd=`. A proxy that cannot encode (nginx and its $request_uri) writes the path as it is, so a value that begins
 * with a bare slash is everything up to the end, its "&" included; one that is encoded begins with %2F.
 * @param query of the request to /login, without "?"
 */
export const returnParameter = (query: string): string | undefined =>
  query.startsWith('rd=/') ? query.slice('rd='.length) : (new URLSearchParams(query).get('rd') ?? undefined)

const AUTHORITY = /^https?:\/\/[^/?#\\@]+(?=[/?#]|$)/i

/**
 * Traefik writes the whole URL: of one on this very origin the path is meant. Anything else stays as it is, and is refused as a path.
 * @param origin of this host, as `URL` writes it
 */
export const withoutOwnOrigin = (text: string, origin: string): string => {
  const [authority] = AUTHORITY.exec(text) ?? []
  if (authority === undefined || !URL.canParse(authority) || new URL(authority).origin !== origin) return text
  const rest = text.slice(authority.length)
  return rest.startsWith('/') ? rest : `/${rest}`
}

const refuse = (problem: string): ReturnReading => ({ ok: false, body: `The path to return to (rd) cannot be used: ${problem}` })

/** By the rules of forwarded paths; then written anew, so that nothing is sent to a browser that it could read in another way. */
export const readReturnPath = (text: string): ReturnReading => {
  if (text.length > MAX_RETURN_PATH) return refuse(`it is longer than ${MAX_RETURN_PATH} characters`)
  // A fragment is the browser's own; servers hear nothing of it.
  const reading = readUri(text.replace(/#.*$/s, ''))
  if (!reading.ok) return refuse('it must be a path of this host, beginning with one slash, without dot segments, empty segments or encoded slashes')
  const url = URL.canParse(text, BASE) ? new URL(text, BASE) : undefined
  if (url?.origin !== BASE) return refuse('it must be a path of this host')
  const location = `${url.pathname}${url.search}`
  if (location.length > MAX_RETURN_PATH) return refuse(`it is longer than ${MAX_RETURN_PATH} characters`)
  return { ok: true, to: { path: reading.path, query: reading.query, location } }
}
