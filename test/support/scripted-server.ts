/** A plain HTTP server on 127.0.0.1 that answers as a test tells it, for faults that a real API server cannot be made to show. */
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import type { Test } from 'tap'
import { kubeApi, type KubeApi } from '../../src/kube/api.ts'
import type { CredentialSource } from '../../src/kube/credentials.ts'
import { systemTimers, type Timers } from '../../src/kube/timers.ts'
import { createTransport } from '../../src/kube/transport.ts'
import { listenOnLoopback } from './loopback-server.ts'

export interface Seen {
  method: string
  url: string
  headers: IncomingMessage['headers']
  body: string
}

export interface ScriptedServer {
  readonly url: URL
  readonly seen: Seen[]
  /** Connections that were ever made, and those that are open now. */
  readonly connections: { total: number; open: number }
  /** A client without credentials, or with these. Closed when the test ends. */
  client(options?: { requestTimeoutMs?: number; source?: CredentialSource; timers?: Timers }): KubeApi & { close(): void }
}

const noCredentials: CredentialSource = {
  current: async () => anonymous,
  renewed: async () => undefined,
}
const anonymous = { headers: {}, tls: {} }

export type Script = (seen: Seen, response: ServerResponse) => void

export const scriptedServer = async (t: Test, script: Script): Promise<ScriptedServer> => {
  const seen: Seen[] = []
  const connections = { total: 0, open: 0 }
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const one: Seen = { method: request.method ?? '', url: request.url ?? '', headers: request.headers, body: Buffer.concat(chunks).toString('utf8') }
      seen.push(one)
      script(one, response)
    })
  })
  server.on('connection', (socket) => {
    connections.total += 1
    connections.open += 1
    socket.on('close', () => {
      connections.open -= 1
    })
  })
  const port = await listenOnLoopback(t, server)
  const url = new URL(`http://127.0.0.1:${port}`)
  return {
    url,
    seen,
    connections,
    client: ({ requestTimeoutMs = 5_000, source = noCredentials, timers = systemTimers } = {}) => {
      const transport = createTransport({ server: url, source, userAgent: 'access-gate-test', requestTimeoutMs, timers })
      t.teardown(() => transport.close())
      return { ...kubeApi(transport), close: () => transport.close() }
    },
  }
}

/** Answers with JSON. */
export const answer = (response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void => {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
}
