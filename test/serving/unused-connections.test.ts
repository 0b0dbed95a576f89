/** Which connections the servers that the API server calls close by themselves, and which they leave to it. Node looks for late ones every few milliseconds here. */
import type { Server } from 'node:https'
import { createServer } from 'node:https'
import type { Socket } from 'node:net'
import { test, type Test } from 'tap'
import { listen } from '../../src/listen.ts'
import { createMaterial } from '../../src/serving/certificate.ts'
import { HANDSHAKE_MS, KEPT_MS, TLS_BOUNDS } from '../../src/serving/connection-bounds.ts'
import { refuseShortly, sparingUnused, type RefuseWire, type WireError } from '../../src/serving/unused-connections.ts'
import { world as extension } from '../extension/harness.ts'
import { listenOnLoopback } from '../support/loopback-server.ts'
import { untilTrue } from '../support/eventually.ts'
import { harness as webhook } from '../webhooks/harness.ts'
import { connectTls, HOST, NAME, type Connection } from './raw-connections.ts'

/** After which the API server gives up a connection without a call: Go's default, which it takes for webhooks and APIServices. */
const API_SERVER_IDLE_MS = 90_000
const HALF = 'GET /healthz HT'
const WHOLE = 'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n'
const HEADERS_MS = 50
const LOOK_EVERY_MS = 10

const material = await createMaterial([NAME], Date.now())

/** Both as they are built for their roles. */
const SERVERS = { webhook: () => webhook().app, extension: () => extension().app }

const statusOf = ({ text }: Connection): string => /^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? ''

const hasty = (server: Server): Server => Object.assign(server, { headersTimeout: HEADERS_MS, connectionsCheckingInterval: LOOK_EVERY_MS })

/** One that stopped within its headers is cut: then those that were there before it have been looked at too. */
const untilLate = async (t: Test, port: number): Promise<Connection> => {
  const late = await connectTls(t, port, material)
  late.socket.write(HALF)
  await untilTrue('half a header is cut', () => late.closed)
  return late
}

for (const [name, build] of Object.entries(SERVERS)) {
  await test(`${name}: a connection without a call is kept for longer than the API server keeps it, and what has begun is bounded`, async (t) => {
    const { server } = build()
    t.ok(server.keepAliveTimeout > API_SERVER_IDLE_MS)
    t.equal(server.headersTimeout, TLS_BOUNDS.headersTimeout)
    t.ok(server.requestTimeout > 0 && server.requestTimeout < server.keepAliveTimeout)
    t.equal(server.timeout, 0, 'nothing else closes one')
    t.ok(HANDSHAKE_MS <= 10_000)
  })

  await test(`${name}: a connection on which nothing was sent is not cut; half a header on it is`, async (t) => {
    const app = build()
    t.teardown(() => app.close())
    app.server.setSecureContext(material.leaf)
    hasty(app.server)
    const port = await listen(app, `${name} server`, HOST, 0)
    const [unused, next, used] = [await connectTls(t, port, material), await connectTls(t, port, material), await connectTls(t, port, material)]
    used.socket.write(WHOLE)
    await untilTrue('one is answered', () => used.text !== '')
    t.equal(statusOf(await untilLate(t, port)), '408')
    t.equal(statusOf(await untilLate(t, port)), '408')
    t.strictSame([unused, next].map(({ text, closed }) => ({ text, closed })), [{ text: '', closed: false }, { text: '', closed: false }], 'not even told anything')
    t.equal(used.closed, false)

    unused.socket.write(WHOLE)
    await untilTrue('it is answered', () => unused.text !== '')
    t.equal(statusOf(unused), '200')
    next.socket.write(HALF)
    await untilTrue('what begins later and stops is cut', () => next.closed)
    t.equal(statusOf(next), '408')
    await untilLate(t, port)
    t.strictSame([unused.closed, used.closed], [false, false], 'between two calls they are kept')
  })
}

/** A server with one bound for connections on which nothing was sent, and who was refused. */
const bounded = async (t: Test, keptMs: number, keepAliveTimeout: number): Promise<{ port: number; refused: (string | undefined)[] }> => {
  const refused: (string | undefined)[] = []
  const refuse: RefuseWire = (error, socket) => {
    refused.push(error.code)
    refuseShortly(error, socket)
  }
  const server = hasty(createServer({ ...material.leaf, keepAliveTimeout }, (_request, response) => response.end('quick')))
  server.on('clientError', sparingUnused(refuse, keptMs))
  return { port: await listenOnLoopback(t, server), refused }
}

await test('a connection on which nothing is ever sent goes at its own bound, without a word', async (t) => {
  const { port, refused } = await bounded(t, 20, KEPT_MS)
  const used = await connectTls(t, port, material)
  used.socket.write(WHOLE)
  await untilTrue('one is answered', () => used.text !== '')
  const unused = await connectTls(t, port, material)
  await untilTrue('it is closed', () => unused.closed)
  t.strictSame([unused.text, refused], ['', []])
  t.equal(used.closed, false)
})

await test('once it was used, it goes at the bound of those between two calls', async (t) => {
  const { port, refused } = await bounded(t, KEPT_MS, 20)
  const [first, unused] = [await connectTls(t, port, material), await connectTls(t, port, material)]
  await untilLate(t, port)
  first.socket.write(WHOLE)
  await untilTrue('it is answered and closed', () => first.closed)
  t.strictSame([statusOf(first), unused.closed, refused], ['200', false, ['ERR_HTTP_REQUEST_TIMEOUT']])
})

const REFUSALS: Record<string, { sent: string; answer: string }> = {
  'no HTTP': { sent: 'nothing\r\n\r\n', answer: 'HTTP/1.1 400 Bad Request' },
  'headers without end': { sent: `GET / HTTP/1.1\r\nX: ${'a'.repeat(100_000)}`, answer: 'HTTP/1.1 431 Request Header Fields Too Large' },
  'half a header': { sent: HALF, answer: 'HTTP/1.1 408 Request Timeout' },
}
await test('whoever sends what cannot be read is told so shortly, and cut', async (t) => {
  const { port } = await bounded(t, KEPT_MS, KEPT_MS)
  for (const [sentence, { sent, answer }] of Object.entries(REFUSALS)) {
    const connection = await connectTls(t, port, material)
    connection.socket.write(sent)
    await untilTrue('it is closed', () => connection.closed)
    t.equal(connection.text, `${answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`, sentence)
  }
})

const SPARED: Record<string, { code: string; bytesRead: number; destroyed: boolean; expected: 'spared' | 'refused' }> = {
  'late, nothing sent': { code: 'ERR_HTTP_REQUEST_TIMEOUT', bytesRead: 0, destroyed: false, expected: 'spared' },
  'late, one byte sent': { code: 'ERR_HTTP_REQUEST_TIMEOUT', bytesRead: 1, destroyed: false, expected: 'refused' },
  'gone already': { code: 'ERR_HTTP_REQUEST_TIMEOUT', bytesRead: 0, destroyed: true, expected: 'refused' },
  'a handshake that failed': { code: 'ERR_SSL_NO_SHARED_CIPHER', bytesRead: 0, destroyed: false, expected: 'refused' },
  'a handshake that took too long': { code: 'ERR_TLS_HANDSHAKE_TIMEOUT', bytesRead: 0, destroyed: false, expected: 'refused' },
}
await test('only what is late without a byte is spared, for as long as those between two calls', async (t) => {
  for (const [sentence, { code, bytesRead, destroyed, expected }] of Object.entries(SPARED)) {
    const seen: (string | number)[] = []
    const error: WireError = Object.assign(new Error(code), { code })
    const socket = { bytesRead, destroyed, setTimeout: (ms: number) => seen.push('spared', ms) } as unknown as Socket
    sparingUnused(() => seen.push('refused'))(error, socket)
    t.strictSame(seen, expected === 'spared' ? ['spared', KEPT_MS] : ['refused'], sentence)
  }
})
