/** What stands for all Workspaces behind a proxy: it remembers what reaches it, answers a small page, and takes WebSockets. */
import { createServer, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import type { Test } from 'tap'
import { escapeHtml } from '../../src/auth/oidc/html.ts'
import { listenOnLoopback } from './loopback-server.ts'

export interface Arrived {
  method: string
  /** As it stands in the request line. */
  url: string
  headers: IncomingHttpHeaders
  body: string
}

export interface WorkspaceUpstream {
  port: number
  /** In the order of their arrival. */
  readonly arrived: Arrived[]
  /** Since this was asked last. */
  news(): Arrived[]
}

const page = (url: string): string => `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Workspace</title></head><body><h1>${escapeHtml(url)}</h1></body></html>\n`

const bodyOf = async (request: IncomingMessage): Promise<string> => {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}

export const startWorkspaceUpstream = async (t: Pick<Test, 'teardown'>): Promise<WorkspaceUpstream> => {
  const arrived: Arrived[] = []
  let told = 0
  const take = ({ method = '', url = '', headers }: IncomingMessage, body: string): void => void arrived.push({ method, url, headers, body })
  const server = createServer((request, response) => {
    const answer = async (): Promise<void> => {
      take(request, await bodyOf(request))
      response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(page(request.url ?? ''))
    }
    // Who goes away in the middle of a body gets no answer.
    answer().catch(() => void response.destroy())
  })
  // No real protocol: what comes goes back.
  server.on('upgrade', (request, socket) => {
    take(request, '')
    socket.on('error', () => socket.destroy())
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n')
    socket.pipe(socket)
  })
  server.keepAliveTimeout = 60_000
  const port = await listenOnLoopback(t, server)
  return {
    port,
    arrived,
    news: () => {
      const since = arrived.slice(told)
      told = arrived.length
      return since
    },
  }
}
