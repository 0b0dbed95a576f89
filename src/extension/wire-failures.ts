/** What is refused before there is a request that anybody read: by node:http, or by fastify. */
import type { Duplex } from 'node:stream'
import type { FastifyError } from 'fastify'
import { badRequest, timedOut, tooLarge, unsupportedMediaType, type ApiFailure } from './api-failure.ts'
import { CONTENT_TYPE, encode, statusOf } from './encoded.ts'
import { BODY_LIMIT } from './request-body.ts'

/** Bytes of all headers: the groups of a caller are headers, and whoever is in some hundreds of them has more than Node takes by itself. */
export const HEADERS_LIMIT = 64 * 1024

const WIRE_REFUSALS: ReadonlyMap<string, [line: string, failure: ApiFailure]> = new Map([
  ['ERR_HTTP_REQUEST_TIMEOUT', ['408 Request Timeout', { ...timedOut, code: 408 }]],
  ['HPE_HEADER_OVERFLOW', ['431 Request Header Fields Too Large', { ...badRequest(`the headers are longer than ${HEADERS_LIMIT} bytes; a caller who is in that many groups cannot be served`), code: 431 }]],
])

/** What was sent is not even HTTP: there is no request that could be answered, but a connection. */
export const refuseWire = (error: NodeJS.ErrnoException, socket: Duplex): void => {
  if (socket.writable && error.code !== 'ECONNRESET') {
    const [line, failure] = WIRE_REFUSALS.get(error.code ?? '') ?? ['400 Bad Request', badRequest('the request could not be read')]
    const body = encode(statusOf(failure), 'json')
    socket.write(`HTTP/1.1 ${line}\r\nContent-Type: ${CONTENT_TYPE.json}\r\nX-Content-Type-Options: nosniff\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`)
  }
  socket.destroy()
}

/** What fastify refuses by itself, in our words; undefined for a fault of ours. */
export const wireFailure = (error: FastifyError): ApiFailure | undefined => {
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
