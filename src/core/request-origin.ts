/**
 * Whether a request that changes something may come from a page of another origin: a browser sends the cookie along whoever made the page.
 * Browsers say where a request comes from by Sec-Fetch-Site, older ones and those that ask over http by Origin; programs say nothing.
 */
import type { ForwardedRequest, Headers } from './forwarded-request.ts'

const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])

/** Proxies keep Upgrade to themselves; the headers of the WebSocket itself they pass on. */
const isWebSocket = (headers: Headers): boolean => {
  if (headers['sec-websocket-key'] !== undefined || headers['sec-websocket-version'] !== undefined) return true
  const { upgrade } = headers
  return typeof upgrade === 'string' && upgrade.toLowerCase().includes('websocket')
}

const DEFAULT_PORT = { http: ':80', https: ':443' } as const

const withoutDefaultPort = (host: string, proto: 'http' | 'https'): string => {
  const port = DEFAULT_PORT[proto]
  return host.endsWith(port) && !host.endsWith(']') ? host.slice(0, -port.length) : host
}

const isOwnOrigin = (origin: string, { host, proto }: Pick<ForwardedRequest, 'host' | 'proto'>): boolean =>
  (proto === undefined ? (['http', 'https'] as const) : [proto]).some((scheme) => origin.toLowerCase() === `${scheme}://${withoutDefaultPort(host, scheme)}`)

/**
 * @param method of the request to the proxy; undefined when the proxy does not say it. Then an Origin is looked at whatever the method:
 * browsers send it with everything that changes something
 */
export const isForeignRequest = (headers: Headers, method: string | undefined, request: Pick<ForwardedRequest, 'host' | 'proto'>): boolean => {
  const { origin } = headers
  const changes = (method !== undefined && !SAFE_METHODS.has(method)) || isWebSocket(headers)
  if (!changes && (method !== undefined || origin === undefined)) return false
  const site = headers['sec-fetch-site']
  if (site !== undefined) return site !== 'same-origin' && site !== 'none'
  return origin !== undefined && (typeof origin !== 'string' || !isOwnOrigin(origin, request))
}
