/**
 * Sends requests as fast as they are answered, over connections that are kept from job to job. A process of its own,
 * with requests made in advance and hardly any HTTP: it takes a small part of what the server takes. Ends with its input.
 */
import { connect as connectPlain, type Socket } from 'node:net'
import { connect } from 'node:tls'
import { messageOf } from '../../src/errors.ts'
import { readLines } from '../control-plane/guard-protocol.ts'
import { responseReader } from './http-responses.ts'
import type { LoadAnswer, LoadJob, LoadStep } from './load-protocol.ts'

/** As the API server offers them; the server chooses. */
const CIPHERS = 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256'
const ANSWER_MS = 30_000

interface Connection {
  /** One request, and its whole answer. @throws Error when the connection breaks or nothing comes */
  ask(request: Buffer): Promise<{ status: number; body: Buffer }>
}

/** With the head that the API server sends to a webhook. */
const admissionBytes = ({ serverName, port }: LoadJob, path: string, body: string): Buffer =>
  Buffer.from(
    `POST ${path}?timeout=5s HTTP/1.1\r\nHost: ${serverName}:${port}\r\nUser-Agent: kube-apiserver-admission\r\nContent-Length: ${Buffer.byteLength(body)}\r\n` +
      `Accept: application/json, */*\r\nContent-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n${body}`,
  )

const requestBytes = ({ serverName, port }: LoadJob, path: string, headers: Readonly<Record<string, string>>, body: string): Buffer => {
  const about = body === '' ? {} : { 'Content-Type': 'application/json', 'Content-Length': String(Buffer.byteLength(body)) }
  const lines = Object.entries({ Host: `${serverName}:${port}`, ...headers, ...about }).map(([name, value]) => `${name}: ${value}\r\n`)
  return Buffer.from(`${body === '' ? 'GET' : 'POST'} ${path} HTTP/1.1\r\n${lines.join('')}\r\n${body}`)
}

/** What the turns send, round and round. */
const requestsOf = (job: LoadJob, { path, bodies, headers }: LoadStep): Buffer[] => {
  if (headers === undefined) return bodies.map((body) => admissionBytes(job, path, body))
  const count = Math.max(bodies.length, headers.length)
  return Array.from({ length: count }, (_, index) => requestBytes(job, path, headers[index % headers.length] ?? {}, bodies[index % bodies.length] ?? ''))
}

const openSocket = ({ host, port, ca, serverName, certificate }: LoadJob): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = ca === undefined ? connectPlain({ host, port }) : connect({ host, port, ca, ...certificate, servername: serverName, ALPNProtocols: ['http/1.1'], ciphers: CIPHERS })
    socket.setNoDelay(true)
    socket.once('error', reject)
    socket.once(ca === undefined ? 'connect' : 'secureConnect', () => resolve(socket))
  })

const openConnection = async (job: LoadJob): Promise<Connection> => {
  const socket = await openSocket(job)
  let waiting: PromiseWithResolvers<{ status: number; body: Buffer }> | undefined
  let broken: Error | undefined
  const read = responseReader()
  const breakDown = (error: Error): void => {
    broken ??= error
    waiting?.reject(broken)
    waiting = undefined
  }
  socket.on('error', breakDown)
  socket.on('close', () => breakDown(new Error('the server closed a connection that was in use')))
  socket.on('timeout', () => waiting !== undefined && socket.destroy(new Error(`no answer within ${ANSWER_MS / 1000} s`)))
  socket.setTimeout(ANSWER_MS)
  socket.on('data', (piece: Buffer) => {
    try {
      const response = read(piece)
      if (response === undefined) return
      const asked = waiting
      waiting = undefined
      asked?.resolve(response)
    } catch (error) {
      socket.destroy(error instanceof Error ? error : new Error(messageOf(error)))
    }
  })
  return {
    ask: (request) => {
      if (broken !== undefined) return Promise.reject(broken)
      waiting = Promise.withResolvers()
      socket.write(request)
      return waiting.promise
    },
  }
}

/** By address; kept for the next job. */
const pools = new Map<string, Connection[]>()

const connectionsFor = async (job: LoadJob): Promise<Connection[]> => {
  const key = `${job.host}:${job.port}`
  const pool = pools.get(key) ?? (await Promise.all(Array.from({ length: job.connections }, () => openConnection(job))))
  pools.set(key, pool)
  return pool
}

const check = ({ path, expect, status: good = 200 }: LoadStep, { status, body }: { status: number; body: Buffer }): void => {
  if (status !== good || !body.includes(expect)) throw new Error(`${path} answered ${status}: ${body.toString('utf8').slice(0, 500)}`)
}

const perform = async (job: LoadJob): Promise<LoadAnswer> => {
  const connections = await connectionsFor(job)
  const requests = job.steps.map((step) => requestsOf(job, step))
  const lastBodies: string[] = []
  let turn = 0
  const work = async (connection: Connection): Promise<void> => {
    while (turn < job.turns) {
      const mine = turn
      turn += 1
      for (const [index, step] of job.steps.entries()) {
        const all = requests[index] ?? []
        const bytes = all[mine % all.length]
        if (bytes === undefined) throw new Error(`there is no body for ${step.path}`)
        const response = await connection.ask(bytes)
        check(step, response)
        if (mine === job.turns - 1) lastBodies.push(response.body.toString('utf8'))
      }
    }
  }
  const start = performance.now()
  await Promise.all(connections.map(work))
  return { ok: true, seconds: (performance.now() - start) / 1000, requests: job.turns * job.steps.length, lastBodies }
}

const say = (answer: LoadAnswer): void => void process.stdout.write(`${JSON.stringify(answer)}\n`)

const obey = (line: string): void => {
  const job: LoadJob = JSON.parse(line)
  perform(job).then(say, (error: unknown) => say({ ok: false, message: messageOf(error) }))
}

// A Ctrl-C of the terminal comes here too: the benchmark says when it ends.
for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => undefined)
process.stdin.setEncoding('utf8').on('data', readLines(obey)).on('end', () => process.exit(0))
