/** The end of a real server on 127.0.0.1: which connections it waits for, and which not. */
import net, { type Socket } from 'node:net'
import tls from 'node:tls'
import fastify from 'fastify'
import { test, type Test } from 'tap'
import { listen } from '../../src/listen.ts'
import { createMaterial } from '../../src/serving/certificate.ts'
import { createDrain, drainAndClose } from '../../src/serving/drain.ts'
import { watchConnections } from '../../src/serving/open-connections.ts'
import { untilTrue } from '../support/eventually.ts'
import { fakeTime } from '../support/fake-time.ts'
import { HOST, kept, NAME, type Connection } from './raw-connections.ts'

const TIMES = { drainMs: 10_000, closeMs: 5_000 }
const QUICK = 'GET /quick HTTP/1.1\r\nHost: a\r\n\r\n'
const HELD = 'GET /held HTTP/1.1\r\nHost: a\r\n\r\n'

const material = await createMaterial([NAME], Date.now())

/** Code, Connection header and body of each answer. */
const answersOf = ({ text }: Connection): string[] =>
  text.split(/(?=HTTP\/1\.1 )/).filter((answer) => answer !== '').map((answer) => {
    const [head = '', body = ''] = answer.split('\r\n\r\n')
    const [, code] = head.split(' ')
    return `${code} ${/^connection: (.*)$/im.exec(head)?.[1]} ${body}`
  })

const KEPT = '200 keep-alive quick'
const LAST = '200 close quick'

const FORMS = { 'over TLS': true, 'without TLS': false }

/** A server with `/quick`, and `/held` that is answered when it is released. */
const world = async (t: Test, overTls: boolean) => {
  const time = fakeTime()
  const drain = createDrain()
  const released = Promise.withResolvers<void>()
  const seen = { accepted: 0, held: 0, drained: false, ended: false, onDrained: () => undefined }
  const app = fastify({ https: overTls ? { ...material.leaf } : null, return503OnClosing: false, keepAliveTimeout: 120_000 })
  app.addHook('onSend', async (_request, reply) => {
    if (drain.draining) reply.header('connection', 'close')
  })
  app.get('/quick', async () => 'quick')
  app.get('/held', async () => {
    seen.held += 1
    await released.promise
    return 'held'
  })
  const connections = watchConnections(app.server)
  for (const event of ['connection', 'secureConnection']) app.server.on(event, () => (seen.accepted += 1))
  const port = await listen(app, 'test server', HOST, 0)
  t.teardown(async () => {
    connections.closeAll()
    released.resolve()
    await app.close()
  })

  const accepted = async (open: () => Socket, events: number): Promise<Connection> => {
    const before = seen.accepted
    const connection = kept(open())
    t.teardown(() => connection.socket.destroy())
    await untilTrue('the server has it', () => seen.accepted === before + events)
    return connection
  }
  const answered = async (): Promise<Connection> => {
    const connection = await open()
    connection.socket.write(QUICK)
    await untilTrue('it is answered', () => answersOf(connection).includes(KEPT))
    return connection
  }
  /** Ready for a call, of which nothing is sent. */
  const open = (): Promise<Connection> => accepted(() => (overTls ? tls.connect({ host: HOST, port, servername: NAME, ca: material.caBundle }) : net.connect(port, HOST)), overTls ? 2 : 1)
  const timers = {
    ...time.timers,
    after: (ms: number, run: () => void) =>
      time.timers.after(ms, () => {
        if (ms === TIMES.drainMs) seen.onDrained()
        run()
      }),
  }
  return {
    time,
    seen,
    released,
    answered,
    open,
    /** Without the first byte of a handshake. */
    bare: () => accepted(() => net.connect(port, HOST), 1),
    stop: () => drainAndClose({ app, connections, drain, timers }, TIMES).then(() => (seen.ended = true)),
  }
}

const withHeld = async ({ open, seen }: { open: () => Promise<Connection>; seen: { held: number } }): Promise<Connection> => {
  const connection = await open()
  connection.socket.write(HELD)
  await untilTrue('the call is under way', () => seen.held === 1)
  return connection
}

for (const [form, overTls] of Object.entries(FORMS)) {
  await test(`${form}: idle connections are closed when the drain is over, and the call that is under way is answered`, async (t) => {
    const on = await world(t, overTls)
    const idle = [await on.answered(), await on.open(), await on.bare()]
    const busy = await withHeld(on)
    const stopping = on.stop()
    await on.time.advance(TIMES.drainMs)
    await untilTrue('the idle ones are closed', () => idle.every(({ closed }) => closed))
    t.strictSame([busy.closed, on.seen.ended], [false, false])
    on.released.resolve()
    // No time passes any more: the bound cannot be what ends it.
    await stopping
    await untilTrue('its connection is closed too', () => busy.closed)
    t.strictSame(answersOf(busy), ['200 close held'])
    t.equal(on.time.pendingTimers, 0)
  })

  await test(`${form}: without a call under way it ends at once`, async (t) => {
    const on = await world(t, overTls)
    const idle = [await on.answered(), await on.open(), await on.bare()]
    const stopping = on.stop()
    await on.time.advance(TIMES.drainMs)
    await stopping
    await untilTrue('all are closed', () => idle.every(({ closed }) => closed))
    t.equal(on.time.pendingTimers, 0)
  })

  await test(`${form}: while draining no connection is closed, and a call on any is answered`, async (t) => {
    const on = await world(t, overTls)
    const used = await on.answered()
    const unused = await on.open()
    const stopping = on.stop()
    await on.time.advance(TIMES.drainMs - 1)
    t.strictSame([used.closed, unused.closed, on.seen.ended], [false, false, false])
    for (const { socket } of [used, unused]) socket.write(QUICK)
    await untilTrue('both are answered and closed', () => used.closed && unused.closed)
    t.strictSame([answersOf(used), answersOf(unused)], [[KEPT, LAST], [LAST]])
    await on.time.advance(1)
    await stopping
  })

  await test(`${form}: a call that had arrived when the drain was over is answered, also when it was not read yet`, async (t) => {
    const on = await world(t, overTls)
    const [used, unused] = [await on.answered(), await on.open()]
    on.seen.onDrained = () => {
      for (const { socket } of [used, unused]) socket.write(QUICK)
    }
    const stopping = on.stop()
    await on.time.advance(TIMES.drainMs)
    await stopping
    await untilTrue('both are closed', () => used.closed && unused.closed)
    t.strictSame([answersOf(used), answersOf(unused)], [[KEPT, LAST], [LAST]])
  })

  await test(`${form}: what has begun and does not end is cut at the bound`, async (t) => {
    const on = await world(t, overTls)
    const begun = [await withHeld(on), await on.open(), await on.bare()]
    begun[1]?.socket.write('GET /qui')
    // With TLS the first bytes of a handshake, without it those of a call.
    begun[2]?.socket.write(overTls ? Buffer.from([22, 3, 1]) : 'GE')
    const stopping = on.stop()
    await on.time.advance(TIMES.drainMs + TIMES.closeMs - 1)
    t.strictSame([begun.map(({ closed }) => closed), on.seen.ended], [[false, false, false], false])
    await on.time.advance(1)
    await stopping
    await untilTrue('all are closed', () => begun.every(({ closed }) => closed))
  })
}
