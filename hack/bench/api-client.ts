/** One client of an API server that sends one call after the other over a kept connection and says how long each took. */
import { Agent, request } from 'node:https'

export interface TimedAnswer {
  status: number
  text: string
  /** From sending to the last byte of the answer, milliseconds. */
  ms: number
}

export interface TimedClient {
  call(method: string, path: string, body?: object): Promise<TimedAnswer>
  close(): void
}

const ANSWER_MS = 60_000

export interface TimedTarget {
  server: string
  caPem: string
  /** How the server knows the caller: the Authorization header of a token, or what a front proxy says of its user. */
  headers: Readonly<Record<string, string>>
  /** PEM. */
  certificate?: { cert: string; key: string }
  /** What the server's certificate is for, where that is not its address. */
  serverName?: string
}

/** For the caller with this token. */
export const timedClient = ({ server, caPem, token }: { server: string; caPem: string; token: string }): TimedClient =>
  timedClientOf({ server, caPem, headers: { authorization: `Bearer ${token}` } })

export const timedClientOf = ({ server, caPem, headers: caller, certificate, serverName }: TimedTarget): TimedClient => {
  const agent = new Agent({ keepAlive: true, ca: caPem, ...certificate, ...(serverName === undefined ? {} : { servername: serverName }) })
  const { hostname, port } = new URL(server)
  return {
    call: (method, path, body) =>
      new Promise((resolve, reject) => {
        const text = body === undefined ? undefined : JSON.stringify(body)
        const headers = { accept: 'application/json', ...caller, ...(text !== undefined && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }) }
        const start = performance.now()
        const asked = request({ method, hostname, port, path, agent, headers, timeout: ANSWER_MS }, (response) => {
          let answer = ''
          response.setEncoding('utf8').on('data', (piece: string) => (answer += piece))
          response.once('end', () => resolve({ status: response.statusCode ?? 0, text: answer, ms: performance.now() - start }))
          response.once('error', reject)
        })
        asked.once('timeout', () => asked.destroy(new Error(`no answer to ${method} ${path} within ${ANSWER_MS / 1000} s`)))
        asked.once('error', reject)
        asked.end(text)
      }),
    close: () => agent.destroy(),
  }
}
