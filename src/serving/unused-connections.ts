/**
 * Connections on which nothing was sent to us yet. Go opens one for a call, takes another that is free sooner for it, and keeps the new one
 * for a later call. Node counts its time for headers from the handshake on: it would answer such a connection 408 and close it while the
 * API server may be about to use it.
 */
import type { Socket } from 'node:net'
import { KEPT_MS } from './connection-bounds.ts'

export type WireError = Error & { readonly code?: string }

/** What happens to a connection on which no request could be read: the `clientErrorHandler` of fastify. */
export type RefuseWire = (error: WireError, socket: Socket) => void

const TOO_LATE = 'ERR_HTTP_REQUEST_TIMEOUT'

const STATUS_LINES: ReadonlyMap<string, string> = new Map([
  [TOO_LATE, '408 Request Timeout'],
  ['HPE_HEADER_OVERFLOW', '431 Request Header Fields Too Large'],
])

/** Without a body: whoever sends no HTTP reads none. */
export const refuseShortly: RefuseWire = ({ code = '' }, socket) => {
  if (socket.writable && code !== 'ECONNRESET') socket.write(`HTTP/1.1 ${STATUS_LINES.get(code) ?? '400 Bad Request'}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`)
  socket.destroy()
}

/**
 * A connection on which nothing was sent stays as long as one between two calls. When a call begins, Node counts its time for headers anew,
 * and who is late then is refused; what is sent and begins none is seen to in most-connections.ts.
 * @param keptMs milliseconds
 */
export const sparingUnused =
  (refuse: RefuseWire, keptMs = KEPT_MS): RefuseWire =>
  (error, socket) => {
    if (error.code !== TOO_LATE || socket.bytesRead > 0 || socket.destroyed) return refuse(error, socket)
    // Node asks once only, and does not look at it again before a call begins. At the end of this time it closes it.
    socket.setTimeout(keptMs)
  }
