import http, { type ClientRequest } from 'node:http'
import { test, type Test } from 'tap'
import { createHeldBodies, warnOfCuts } from '../../src/serving/held-bodies.ts'
import { untilTrue } from '../support/eventually.ts'
import { listenOnLoopback } from '../support/loopback-server.ts'

const KIB = 1024

interface World {
  /** Begins a body and leaves it unfinished. */
  begin: (kib: number, declared?: number) => ClientRequest
  /** Paths of requests that ended whole. */
  whole: string[]
  /** Of those that were cut. */
  cut: string[]
  cuts: () => number
  received: () => number
}

/** A server that reads bodies as the webhook does, with so much to hold. */
const world = async (t: Test, budgetKib: number): Promise<World> => {
  let [cuts, received, begun] = [0, 0, 0]
  const [whole, cut]: [string[], string[]] = [[], []]
  const bodies = createHeldBodies(budgetKib * KIB, () => (cuts += 1))
  const server = http.createServer((request, response) => {
    bodies.watch(request)
    request.setEncoding('utf8').on('data', (piece: string) => (received += piece.length))
    request.on('error', () => undefined)
    request.on('end', () => response.end('read'))
  })
  const port = await listenOnLoopback(t, server)
  return {
    begin: (kib, declared = 8_000) => {
      begun += 1
      const name = `body-${begun}`
      const request = http.request({ host: '127.0.0.1', port, method: 'POST', agent: false, headers: { 'content-length': declared * KIB } })
      request.on('error', () => cut.push(name))
      request.on('response', (response) => {
        response.resume()
        whole.push(name)
      })
      request.write('x'.repeat(kib * KIB))
      return request
    },
    whole,
    cut,
    cuts: () => cuts,
    received: () => received,
  }
}

await test('over the budget the connection goes whose body has been coming for longest', async (t) => {
  const { begin, cut, cuts, received } = await world(t, 1_000)
  for (const expected of [400, 800]) {
    begin(400)
    await untilTrue('it was read', () => received() === expected * KIB)
  }
  t.equal(cuts(), 0)
  begin(400)
  await untilTrue('the first is cut', () => cut.length === 1)
  t.strictSame([cut, cuts()], [['body-1'], 1])
  begin(600)
  await untilTrue('the second is cut', () => cut.length === 2)
  t.strictSame([cut, cuts()], [['body-1', 'body-2'], 2])
})

await test('a whole body counts no more, however large it was', async (t) => {
  const { begin, cut, whole } = await world(t, 1_000)
  for (let number = 1; number <= 5; number += 1) {
    begin(700, 700).end()
    await untilTrue('it is answered', () => whole.length === number)
  }
  t.strictSame([whole.length, cut], [5, []])
})

await test('a body whose sender went away counts no more', async (t) => {
  const { begin, cuts, received, whole } = await world(t, 1_000)
  const gone = begin(900)
  await untilTrue('it was read', () => received() === 900 * KIB)
  gone.destroy()
  // The server hears of it some moments later; until then the new one could be one too many.
  await untilTrue('a new one has room', () => {
    begin(200, 200).end()
    return whole.length > 0
  })
  t.ok(cuts() <= 1)
})

await test('small bodies are not counted, whatever they add up to', async (t) => {
  const { begin, cuts, received } = await world(t, 100)
  for (let number = 0; number < 20; number += 1) begin(40)
  await untilTrue('all were read', () => received() === 20 * 40 * KIB)
  t.equal(cuts(), 0)
})

await test('cuts are told once in a minute', (t) => {
  let [now, warnings] = [5_000, 0]
  const cut = warnOfCuts({ warn: () => (warnings += 1) }, () => now)
  const told = [5_000, 5_001, 64_999, 65_000, 65_001].map((at) => {
    now = at
    cut()
    return warnings
  })
  t.strictSame(told, [1, 1, 1, 2, 2])
  t.end()
})
