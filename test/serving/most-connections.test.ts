import { once } from 'node:events'
import { createServer } from 'node:https'
import net from 'node:net'
import { test, type Test } from 'tap'
import { createMaterial } from '../../src/serving/certificate.ts'
import { boundConnections } from '../../src/serving/most-connections.ts'
import { watchConnections } from '../../src/serving/open-connections.ts'
import { fakeTime } from '../support/fake-time.ts'
import { logLines } from '../support/log-lines.ts'
import { listenOnLoopback } from '../support/loopback-server.ts'
import { untilTrue } from '../support/eventually.ts'
import { connectTls, HOST, kept, NAME, type Connection } from './raw-connections.ts'

const MOST = 20
/** Beyond these, one that comes takes the place of another. */
const ROOM = 18
const TOLD = `warn nearly ${MOST} connections are open: those without a call under way are closed for new ones; let only the API server reach this port`

const material = await createMaterial([NAME], Date.now())

const world = async (t: Test) => {
  const time = fakeTime()
  const lines = logLines()
  const held: (() => void)[] = []
  const server = createServer({ ...material.leaf, keepAliveTimeout: 120_000 }, ({ url }, response) => {
    const answer = (): void => void response.end('answered')
    if (url === '/held') held.push(answer)
    else answer()
  })
  const connections = watchConnections(server)
  const most = { seen: 0 }
  boundConnections({ server, connections, timers: time.timers, logger: lines.log }, MOST)
  server.on('connection', () => (most.seen = Math.max(most.seen, connections.count)))
  const port = await listenOnLoopback(t, server)
  t.teardown(() => connections.closeAll())
  const open = (): Promise<Connection> => connectTls(t, port, material)
  const openMany = async (count: number): Promise<Connection[]> => {
    const all: Connection[] = []
    for (let index = 0; index < count; index += 1) all.push(await open())
    return all
  }
  return { time, lines, held, connections, most, port, open, openMany }
}

const ask = ({ socket }: Connection, path: string): void => void socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`)

const isAnswered = ({ text }: Connection): boolean => text.startsWith('HTTP/1.1 200 ')

const answered = async (connection: Connection): Promise<Connection> => {
  ask(connection, '/')
  await untilTrue('it is answered', () => isAnswered(connection))
  return connection
}

const openOf = (all: readonly Connection[]): number => all.filter(({ closed }) => !closed).length

await test('up to the bound nobody is closed, and nothing is said', async (t) => {
  const { openMany, lines } = await world(t)
  const all = await openMany(ROOM)
  for (const one of all) await answered(one)
  t.strictSame([openOf(all), lines.messages()], [ROOM, []])
})

await test('beyond it a new connection takes the place of the oldest that never called', async (t) => {
  const { openMany, connections, most, lines, time } = await world(t)
  const used = await answered((await openMany(1))[0] as Connection)
  const unused = await openMany(200)
  await untilTrue('the oldest are closed', () => unused.slice(0, -MOST).every(({ closed }) => closed))
  t.ok(connections.count <= MOST)
  t.ok(most.seen <= MOST)
  t.equal(used.closed, false, 'one that was used stays')
  await answered(unused.at(-1) as Connection)
  t.strictSame(lines.messages(), [TOLD])
  await time.advance(60_000)
  await openMany(1)
  t.strictSame(lines.messages(), [TOLD, TOLD], 'once a minute')
})

await test('where each has called, those between two calls make room, and calls under way stay', async (t) => {
  const { openMany, open, held } = await world(t)
  const busy = await openMany(2)
  for (const one of busy) ask(one, '/held')
  const idle = await openMany(ROOM - 2)
  for (const one of idle) await answered(one)
  await answered(await open())
  await untilTrue('the idle ones are closed', () => openOf(idle) === 0)
  t.equal(openOf(busy), 2)
  for (const answer of held) answer()
  await untilTrue('the calls under way are answered', () => busy.every(isAnswered))
})

await test('when a call is under way on each, one more is turned away', async (t) => {
  const { openMany, open, held, most } = await world(t)
  const busy: Connection[] = []
  for (let index = 0; index < MOST; index += 1) {
    const [one] = await openMany(1)
    busy.push(one as Connection)
    ask(one as Connection, '/held')
    await untilTrue('the call is under way', () => held.length === index + 1)
  }
  const more = await open()
  await untilTrue('it is turned away', () => more.closed)
  t.equal(most.seen, MOST)
  for (const answer of held) answer()
  await untilTrue('the others are answered', () => busy.every(isAnswered))
})

/** Connections on which no headers of a call ever come, each in its own way; resolves when the server has what was sent. */
const STALLED: Record<string, (places: { port: number; open: () => Promise<Connection> }, t: Test) => Promise<Connection>> = {
  'a handshake that stops at its first byte': async ({ port }, t) => {
    const socket = net.connect(port, HOST)
    t.teardown(() => socket.destroy())
    await once(socket, 'connect')
    socket.write('\x16')
    return kept(socket)
  },
  'half a line': async ({ open }) => {
    const connection = await open()
    connection.socket.write('GET / HTT')
    return connection
  },
  'an empty line': async ({ open }) => {
    const connection = await open()
    connection.socket.write('\r\n')
    return connection
  },
}

for (const [sentence, stall] of Object.entries(STALLED)) {
  await test(`${sentence}: however many there are, a call finds its place`, async (t) => {
    const { open, port, connections, held } = await world(t)
    const busy = await open()
    ask(busy, '/held')
    await untilTrue('a call is under way', () => held.length === 1)
    const stalled: Connection[] = []
    for (let index = 0; index < 3 * MOST; index += 1) {
      stalled.push(await stall({ port, open }, t))
      if (index % 10 === 9) await answered(await open())
    }
    t.ok(connections.count <= MOST)
    await untilTrue('the oldest are closed', () => stalled.slice(0, -MOST).every(({ closed }) => closed))
    for (const answer of held) answer()
    await untilTrue('the call under way is answered', () => isAnswered(busy))
  })
}

await test('who sends empty lines and never calls is closed when the time for headers is over', async (t) => {
  const { open, time, held } = await world(t)
  const [unused, busy, used, dripping] = [await open(), await open(), await answered(await open()), await open()]
  ask(busy, '/held')
  await untilTrue('a call is under way', () => held.length === 1)
  dripping.socket.write('\r\n')
  await untilTrue('it is closed', async () => {
    await time.advance(5_000)
    if (!dripping.closed) dripping.socket.write('\r\n')
    return dripping.closed
  })
  t.strictSame([unused, busy, used].map(({ closed }) => closed), [false, false, false])
  await answered(unused)
  for (const answer of held) answer()
  await untilTrue('the call under way is answered', () => isAnswered(busy))
})
