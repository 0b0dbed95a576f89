/** Which connections of a reverse proxy auth closes by itself. Node looks for late ones every few milliseconds here. */
import net from 'node:net'
import { test, type Test } from 'tap'
import { listen } from '../../src/listen.ts'
import { HOST, kept, type Connection } from '../serving/raw-connections.ts'
import { authWorld } from '../support/auth-world.ts'
import { untilTrue } from '../support/eventually.ts'

const WHOLE = 'GET /health HTTP/1.1\r\nHost: a\r\n\r\n'
const HALF = 'GET /health HT'
/** Traefik's, the longer one of the two that are documented. */
const PROXY_IDLE_MS = 90_000

/** Waits longest 50 ms for headers, and as long for an answer. */
const hasty = async (t: Test) => {
  const { app } = authWorld(t, { READ_TIMEOUT: '50ms', WRITE_TIMEOUT: '50ms' })
  Object.assign(app.server, { connectionsCheckingInterval: 10 })
  const open: net.Socket[] = []
  app.server.on('connection', (socket) => open.push(socket))
  const port = await listen(app, 'auth', HOST, 0)
  const connect = async (): Promise<Connection> => {
    const socket = net.connect(port, HOST)
    t.teardown(() => socket.destroy())
    const before = open.length
    await untilTrue('it is accepted', () => open.length > before)
    return kept(socket)
  }
  return { app, connect, open }
}

await test('a connection without a request is kept for longer than proxies keep it, before the first one too', async (t) => {
  const { app, connect, open } = await hasty(t)
  const [unused, next] = [await connect(), await connect()]
  t.strictSame(open.map(({ timeout }) => (timeout ?? 0) > PROXY_IDLE_MS), [true, true])
  t.ok(app.server.keepAliveTimeout > PROXY_IDLE_MS)
  const late = await connect()
  late.socket.write(HALF)
  await untilTrue('half a header is cut', () => late.closed)
  t.match(late.text, /^HTTP\/1\.1 408 /)
  t.strictSame([unused, next].map(({ text, closed }) => ({ text, closed })), [{ text: '', closed: false }, { text: '', closed: false }])

  unused.socket.write(WHOLE)
  await untilTrue('it is answered', () => unused.text !== '')
  t.match(unused.text, /^HTTP\/1\.1 200 /)
  t.ok((open[0]?.timeout ?? 0) > PROXY_IDLE_MS, 'and kept again')
  next.socket.write(HALF)
  await untilTrue('what begins later and stops is cut', () => next.closed)
  t.equal(unused.closed, false)
})

await test('an answer has its own time, also to the first request of a connection', async (t) => {
  const { app, connect } = await hasty(t)
  const times: (number | undefined)[] = []
  // After the server has seen the request itself.
  app.server.on('request', ({ socket }) => times.push(socket.timeout))
  const connection = await connect()
  for (const turn of [1, 2]) {
    connection.socket.write(WHOLE)
    await untilTrue('it is answered', () => connection.text.split('HTTP/1.1 200').length > turn)
  }
  t.strictSame(times, [50, 50])
})
