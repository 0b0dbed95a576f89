/** HTTP to one API server: kept connections, deadlines, size limits, one more try after a 401. Knows nothing of resources. */
import http, { type ClientRequest, type IncomingMessage } from 'node:http'
import https from 'node:https'
import { createSecureContext } from 'node:tls'
import type { CredentialSource, Credentials, TlsMaterial } from './credentials.ts'
import { messageOf } from '../errors.ts'
import { KubeError } from './kube-error.ts'
import type { Timers } from './timers.ts'

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

export interface Call {
  method: Method
  /** Begins with a slash; percent-encoded. */
  path: string
  query?: Record<string, string | undefined>
  body?: string
  contentType?: string
  signal?: AbortSignal
  /** Stores nothing on the server, so that it may be sent again over another connection; left out: GET is. */
  repeatable?: boolean
  /** Counts where it is less than the transport's own. */
  timeoutMs?: number
  /** Bytes; left out: 32 MiB. A longer answer is KUBE_UNAVAILABLE. */
  maxBytes?: number
}

export interface Answer {
  status: number
  retryAfter?: string
  body: Buffer
}

export interface Transport {
  /** One exchange. @throws CodedError KUBE_UNAVAILABLE when there is no whole answer in time, or the signal aborts */
  send(call: Call): Promise<Answer>
  /** A success's body stays open until the signal aborts; its deadline covers the head alone. @throws as send */
  open(call: Call): Promise<{ stream: IncomingMessage } | { answer: Answer }>
  /** Closes every connection; calls under way fail. */
  close(): void
}

/** A call by path, for what is no Resource. */
export interface Requester {
  /** The parsed answer as it came, undefined for an empty one. @throws CodedError KUBE_* for anything but a success */
  request(call: Call): Promise<unknown>
}

export interface TransportOptions {
  server: URL
  source: CredentialSource
  userAgent: string
  requestTimeoutMs: number
  timers: Timers
}

const MAX_BYTES = 32 * 2 ** 20
/** The API server drops an idle connection after 90 s; ours go before that, so that a request rarely meets a closed one. */
const IDLE_MS = 60_000
const PROBE_MS = 15_000
const MAX_CONNECTIONS = 100

interface Connections {
  tls: TlsMaterial
  /** Reused by requests. */
  requests: http.Agent
  /** Watches hold a connection each, so they have none of the requests'. One that ended in its time leaves its connection to the next. */
  watches: http.Agent
}

/**
 * The end of one call: its time is over, or its caller gave up. Not an AbortSignal: three of them would cost each call more than its path and
 * headers do. A class, for V8 keeps an object that is made with a getter, and all that the getter sees, until it next collects the old ones.
 */
class Deadline {
  /** For either reason. */
  isOver = false
  /** Because of the time. */
  hasPassed = false
  /** From here on only the caller's signal counts. */
  readonly lift: () => void
  readonly #outer: AbortSignal | undefined
  readonly #ended: () => void
  readonly #end = (): void => {
    this.isOver = true
    // First of all: what is destroyed may still look like a whole answer.
    this.#ended()
    this.#request?.destroy()
  }
  #request: ClientRequest | undefined

  /** @param given `ended` is told at once when it is over already */
  constructor({ timers, timeoutMs, outer, ended }: { timers: Timers; timeoutMs: number; outer: AbortSignal | undefined; ended: () => void }) {
    this.#outer = outer
    this.#ended = ended
    this.lift = timers.after(timeoutMs, () => {
      this.hasPassed = true
      this.#end()
    })
    outer?.addEventListener('abort', this.#end, { once: true })
    if (outer?.aborted) this.#end()
  }

  /** What is destroyed at the end, in place of what was before; at once when that is behind us. */
  ends(request: ClientRequest): void {
    this.#request = request
    if (this.isOver) request.destroy()
  }

  release(): void {
    this.lift()
    this.#outer?.removeEventListener('abort', this.#end)
    this.#request = undefined
  }
}

/** The API server closed a connection just as it was taken up again; nothing was lost but this request. */
class StaleConnection extends Error {
  readonly fault: Error

  constructor(fault: Error) {
    super(fault.message)
    this.fault = fault
  }
}

export const describe = ({ method, path }: Call): string => `${method} ${path}`

export const createTransport = ({ server, source, userAgent, requestTimeoutMs, timers }: TransportOptions): Transport => {
  const secure = server.protocol === 'https:'
  // Read once: a URL works each of them out anew.
  const base = server.pathname.replace(/\/$/, '')
  // A URL writes an IPv6 address in brackets, a socket takes it without.
  const host = server.hostname.replace(/^\[|\]$/g, '')
  const port = server.port === '' ? (secure ? 443 : 80) : server.port
  let connections: Connections | undefined
  let closed = false

  const dropAllIdle = (): void => {
    if (connections === undefined) return
    dropIdle(connections.requests)
    dropIdle(connections.watches)
  }

  const connectionsFor = ({ tls, proxy }: Credentials): Connections => {
    if (connections?.tls === tls) return connections
    dropAllIdle()
    connections = proxy === undefined ? { tls, ...directAgents(secure, tls) } : { tls, requests: proxy, watches: proxy }
    return connections
  }

  const sendOnce = (call: Call, credentials: Credentials, deadline: Deadline, kind: 'requests' | 'watches'): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      const request = (secure ? https : http).request(
        {
          method: call.method,
          host,
          port,
          path: `${base}${call.path}${queryOf(call.query)}`,
          agent: connectionsFor(credentials)[kind],
          headers: {
            accept: 'application/json',
            'user-agent': userAgent,
            ...credentials.headers,
            ...(call.body === undefined ? {} : { 'content-type': call.contentType ?? 'application/json', 'content-length': Buffer.byteLength(call.body) }),
          },
        },
        resolve,
      )
      request.on('error', (error) => reject(wasUsed(request) && !deadline.isOver ? new StaleConnection(error) : error))
      if (kind === 'watches') request.on('socket', (socket) => socket.setKeepAlive(true, PROBE_MS))
      deadline.ends(request)
      request.end(call.body)
    })

  const exchange = async (call: Call, credentials: Credentials, deadline: Deadline, kind: 'requests' | 'watches'): Promise<IncomingMessage> => {
    try {
      return await sendOnce(call, credentials, deadline, kind)
    } catch (error) {
      if (!(error instanceof StaleConnection)) throw error
      if (!(call.repeatable ?? call.method === 'GET')) throw error.fault
      dropIdle(connectionsFor(credentials)[kind])
      return await sendOnce(call, credentials, deadline, kind)
    }
  }

  const authorized = async (call: Call, deadline: Deadline, kind: 'requests' | 'watches'): Promise<IncomingMessage> => {
    const used = await source.current()
    const response = await exchange(call, used, deadline, kind)
    if (response.statusCode !== 401) return response
    const newer = await source.renewed(used)
    if (newer === undefined) return response
    response.destroy()
    return exchange(call, newer, deadline, kind)
  }

  const whyUnanswered = (call: Call, late: boolean, timeoutMs: number, fault: unknown): string => {
    // A time of the call's own may differ from one to the next; its message, which a status may quote, does not.
    if (late) return `the API server did not answer ${describe(call)} ${timeoutMs === requestTimeoutMs ? `within ${timeoutMs / 1000} s` : 'in time'}`
    if (call.signal?.aborted) return `${describe(call)} was cancelled`
    return `no answer from the API server at ${server.host} to ${describe(call)}: ${messageOf(fault) || 'the connection failed'}`
  }

  /** Runs one call under its deadline, which ends it whatever it waits for, and turns what goes wrong into a coded error. */
  const bounded = async <R>(call: Call, run: (deadline: Deadline) => Promise<R>): Promise<R> => {
    if (closed) throw new KubeError('KUBE_UNAVAILABLE', `${describe(call)} was not sent: the client is closed`)
    const timeoutMs = Math.min(requestTimeoutMs, call.timeoutMs ?? requestTimeoutMs)
    const { promise, resolve, reject } = Promise.withResolvers<R>()
    const deadline = new Deadline({ timers, timeoutMs, outer: call.signal, ended: () => reject(new Error('it took too long, or was given up')) })
    run(deadline).then(resolve, reject)
    try {
      return await promise
    } catch (error) {
      if (error instanceof KubeError) throw error
      if (deadline.hasPassed) dropAllIdle()
      const fault = error instanceof StaleConnection ? error.fault : error
      throw new KubeError('KUBE_UNAVAILABLE', whyUnanswered(call, deadline.hasPassed, timeoutMs, fault), {}, { cause: fault })
    }
  }

  return {
    send: (call) =>
      bounded(call, async (deadline) => {
        try {
          return await readAnswer(call, await authorized(call, deadline, 'requests'))
        } finally {
          deadline.release()
        }
      }),
    open: (call) =>
      bounded(call, async (deadline) => {
        let stream: IncomingMessage | undefined
        try {
          const response = await authorized(call, deadline, 'watches')
          if (response.statusCode !== 200) return { answer: await readAnswer(call, response) }
          stream = response
          response.once('close', () => deadline.release())
          return { stream }
        } finally {
          if (stream === undefined) deadline.release()
          else deadline.lift()
        }
      }),
    close: () => {
      closed = true
      connections?.requests.destroy()
      connections?.watches.destroy()
      connections = undefined
    },
  }
}

const directAgents = (secure: boolean, tls: TlsMaterial): Pick<Connections, 'requests' | 'watches'> => {
  const kept = { keepAlive: true, keepAliveMsecs: PROBE_MS, timeout: IDLE_MS }
  const bounded = { ...kept, maxSockets: MAX_CONNECTIONS }
  if (!secure) return { requests: new http.Agent(bounded), watches: new http.Agent(kept) }
  const { ca, cert, key, ...peer } = tls
  // Parsed once. As plain options they would be parsed for each connection, and be part of the name that each request looks its connection up by.
  const secureContext = createSecureContext({ ...(ca === undefined ? {} : { ca }), ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }) })
  return { requests: new https.Agent({ ...bounded, ...peer, secureContext }), watches: new https.Agent({ ...kept, ...peer, secureContext }) }
}

/**
 * Whether anything came over its connection: the answer to a call before, or a part of this one's. `reusedSocket` says so only of a connection
 * that was idle, and not of one that was handed on to a call that waited for it.
 */
const wasUsed = (request: ClientRequest): boolean => (request.socket?.bytesRead ?? 0) > 0

/** After a fault the waiting connections are likely dead too. */
const dropIdle = (agent: http.Agent): void => {
  for (const sockets of Object.values(agent.freeSockets)) for (const socket of sockets ?? []) socket.destroy()
}

const queryOf = (query: Call['query']): string => {
  if (query === undefined) return ''
  const parameters = new URLSearchParams()
  for (const [key, value] of Object.entries(query)) if (value !== undefined) parameters.append(key, value)
  return parameters.size === 0 ? '' : `?${parameters.toString()}`
}

/** By events: an async iterator over the body costs as much as the rest of a small call. */
const readAnswer = (call: Call, response: IncomingMessage): Promise<Answer> =>
  new Promise((resolve, reject) => {
    // Then no event comes any more.
    if (response.destroyed) {
      reject(new Error('the answer was cut'))
      return
    }
    const limit = call.maxBytes ?? MAX_BYTES
    const chunks: Buffer[] = []
    let size = 0
    response.on('data', (chunk: Buffer) => {
      size += chunk.length
      chunks.push(chunk)
      if (size > limit) response.destroy(new KubeError('KUBE_UNAVAILABLE', `the answer of the API server to ${describe(call)} is longer than ${limit} bytes`, { tooLong: true }))
    })
    response.once('error', reject)
    // Destroyed from this side, it ends by neither an error nor an end.
    response.once('close', () => {
      if (!response.readableEnded) reject(new Error('the answer was cut'))
    })
    response.once('end', () => {
      const retryAfter = response.headers['retry-after']
      resolve({ status: response.statusCode ?? 0, ...(retryAfter === undefined ? {} : { retryAfter }), body: Buffer.concat(chunks) })
    })
  })
