/**
 * An HTTPS proxy on 127.0.0.1 in front of a real API server that looks at each call and fails as a test tells it. What it passes on it
 * passes on as it comes: tokens, chunked bodies, watches event by event.
 */
import { X509Certificate } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { generate } from 'selfsigned'
import type { Test } from 'tap'
import { writeKubeconfig } from '../../hack/control-plane/kubeconfig.ts'
import { errorStatus, readCall, type ProxiedCall } from './api-call.ts'
import { relayWatch, type OpenWatch } from './relayed-watch.ts'
import { temporaryFolder } from './temporary-folder.ts'

/** What the API server does of a call, and what its caller learns. */
export type Fate =
  | 'pass'
  /** The connection breaks before the API server hears of the call. */
  | 'cut-before'
  /** The API server does it, but the connection breaks in place of the answer. */
  | 'cut-after'
  /** A watch that begins well and says nothing, ever. */
  | 'silent'
  /** The API server hears nothing; this answer is given, with a Status as its body. */
  | { status: number; retryAfterSeconds?: number }
  /** The API server does it. Its whole answer waits for this; a promise that stays open is an answer that never comes. Not for watches. */
  | { answered: (status: number, body: Buffer) => 'pass' | 'cut' | Promise<'pass' | 'cut'> }

/** A promise keeps the call waiting before the API server hears of it. @param caller.gone resolves when the call has its answer or its caller gave it up */
export type Rule = (call: ProxiedCall, caller: { gone: Promise<unknown> }) => Fate | Promise<Fate>

export interface ApiProxy {
  readonly server: string
  readonly caPem: string
  /** Every call asks this from now on; left out: everything passes. Calls under way keep their fate. */
  rule(rule?: Rule): void
  /** The watches that are open now, oldest first. */
  watches(): OpenWatch[]
  /** Breaks every connection that is open now. */
  cutConnections(): void
  /** A kubeconfig that leads through the proxy. @returns its path */
  kubeconfigFor(user: { token: string; name: string }): Promise<string>
}

/** Longer than the idle time of any client, so that a kept connection is never closed on this side. */
const KEEP_MS = 300_000

const certificate = async (): Promise<{ cert: string; private: string }> =>
  generate([{ name: 'commonName', value: 'api-proxy' }], {
    keyType: 'ec',
    algorithm: 'sha256',
    notBeforeDate: new Date(Date.now() - 3_600_000),
    extensions: [{ name: 'basicConstraints', cA: true, critical: true }, { name: 'subjectAltName', altNames: [{ type: 7, ip: '127.0.0.1' }] }],
  })

/** Of one connection alone (RFC 9110, 7.6.1); Node sets its own. */
const PER_CONNECTION = new Set(['connection', 'keep-alive', 'transfer-encoding', 'te', 'trailer', 'upgrade', 'proxy-connection'])

const headersOf = ({ headers }: IncomingMessage): Record<string, string | string[]> =>
  Object.fromEntries(Object.entries(headers).flatMap(([name, value]) => (value === undefined || PER_CONNECTION.has(name) ? [] : [[name, value]])))

const cut = (response: ServerResponse): void => void response.socket?.destroy()

const pass = (answer: IncomingMessage, response: ServerResponse): void => {
  response.writeHead(answer.statusCode ?? 502, headersOf(answer))
  answer.on('error', () => cut(response))
  answer.pipe(response)
}

const PASS_ALL: Rule = () => 'pass'

export interface Upstream {
  server: string
  caPem: string
}

/** Stopped when the test ends. */
export const apiProxy = async (t: Pick<Test, 'teardown'>, target: Upstream): Promise<ApiProxy> => {
  const { hostname, port: targetPort } = new URL(target.server)
  const kept = new https.Agent({ keepAlive: true, ca: target.caPem })
  const single = new https.Agent({ ca: target.caPem })
  const open = new Set<OpenWatch>()
  let current: Rule = PASS_ALL
  let calls = 0

  /** Sends the call on and resolves with the head of its answer. */
  const forward = (call: ProxiedCall, request: IncomingMessage, response: ServerResponse): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      const headers = headersOf(request)
      // A body whose length was not said goes on in chunks.
      if (request.headers['transfer-encoding'] !== undefined) headers['transfer-encoding'] = 'chunked'
      const onward = https.request({ host: hostname, port: targetPort, method: call.method, path: call.url, headers, agent: call.isWatch ? single : kept })
      onward.once('response', resolve)
      onward.once('error', reject)
      // A caller that goes away ends its call.
      response.once('close', () => {
        if (!response.writableFinished) onward.destroy()
      })
      request.pipe(onward)
    })

  const passWatch = (call: ProxiedCall, answer: IncomingMessage, response: ServerResponse, isSilent: boolean): void => {
    response.writeHead(answer.statusCode ?? 502, headersOf(answer)).flushHeaders()
    const watch = relayWatch(call, answer, response, () => void open.delete(watch))
    open.add(watch)
    if (isSilent) watch.silence()
  }

  const treat = async (call: ProxiedCall, request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const gone = new Promise((resolve) => response.once('close', resolve))
    const fate = await current(call, { gone })
    if (response.destroyed) return
    if (fate === 'cut-before') {
      cut(response)
      return
    }
    if (typeof fate === 'object' && 'status' in fate) {
      const { status, retryAfterSeconds } = fate
      const headers = { 'content-type': 'application/json', ...(retryAfterSeconds !== undefined && { 'retry-after': String(retryAfterSeconds) }) }
      request.resume()
      response.writeHead(status, headers).end(JSON.stringify(errorStatus(status, retryAfterSeconds)))
      return
    }
    const answer = await forward(call, request, response)
    if (call.isWatch && answer.statusCode === 200 && (fate === 'pass' || fate === 'silent')) passWatch(call, answer, response, fate === 'silent')
    else if (fate === 'pass' || fate === 'silent') pass(answer, response)
    else {
      const body = await buffer(answer)
      const next = fate === 'cut-after' ? 'cut' : await fate.answered(answer.statusCode ?? 0, body)
      if (next === 'cut') cut(response)
      else response.writeHead(answer.statusCode ?? 502, headersOf(answer)).end(body)
    }
  }

  const { cert, private: key } = await certificate()
  const server = https.createServer({ cert, key, keepAliveTimeout: KEEP_MS, requestTimeout: 0 }, (request, response) => {
    calls += 1
    // What the network takes away, on either side, the caller sees as a broken connection.
    treat(readCall(request, calls), request, response).catch(() => cut(response))
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  t.teardown(async () => {
    kept.destroy()
    server.closeAllConnections()
    await new Promise((resolve) => {
      server.close(resolve)
    })
    single.destroy()
  })

  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
  const caPem = new X509Certificate(cert).toString()
  return {
    server: url,
    caPem,
    rule: (rule = PASS_ALL) => {
      current = rule
    },
    watches: () => [...open],
    cutConnections: () => server.closeAllConnections(),
    kubeconfigFor: async (user) => {
      const file = join(await temporaryFolder(t), `${user.name}.json`)
      await writeKubeconfig(file, { server: url, caPem, ...user })
      return file
    },
  }
}
