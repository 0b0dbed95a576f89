import fc from 'fast-check'
import { test } from 'tap'
import type { ConfigMap } from '../../src/api/config-map.ts'
import { KubeError } from '../../src/kube/kube-error.ts'
import type { WatchEvent } from '../../src/kube/ports.ts'
import { CONFIG_MAPS } from '../../src/kube/resources.ts'
import { watchEvents } from '../../src/kube/watch-stream.ts'
import { fakeTime } from '../support/fake-time.ts'
import { answer, scriptedServer } from '../support/scripted-server.ts'
import { status } from '../support/status.ts'
import { untilTrue } from '../support/eventually.ts'

const CALL = 'GET /api/v1/configmaps'

async function* chunksOf(chunks: readonly Buffer[]): AsyncGenerator<Buffer> {
  yield* chunks
}

/** The events up to the end or the error, and the error. */
const read = async (events: AsyncIterable<WatchEvent<ConfigMap>>): Promise<{ events: WatchEvent<ConfigMap>[]; error?: unknown }> => {
  const seen: WatchEvent<ConfigMap>[] = []
  try {
    for await (const event of events) seen.push(event)
    return { events: seen }
  } catch (error) {
    if (!(error instanceof KubeError)) throw error
    return { events: seen, error: { code: error.code, message: error.message } }
  }
}
const readText = (text: string): ReturnType<typeof read> => read(watchEvents<ConfigMap>(chunksOf([Buffer.from(text)]), CALL))

await test('events come out whole, wherever the chunks are cut', async (t) => {
  const texts = fc.array(fc.oneof(fc.string({ unit: 'grapheme', maxLength: 20 }), fc.constant('🦊\n"\\ünïcödé')), { minLength: 1, maxLength: 6 })
  await fc.assert(
    fc.asyncProperty(texts, fc.array(fc.nat(2_000), { maxLength: 12 }), fc.boolean(), async (contents, cuts, isUnfinished) => {
      const events: WatchEvent<ConfigMap>[] = contents.map((text, index) => ({ type: 'ADDED', object: { metadata: { name: `n${index}` }, data: { text } } }))
      const whole = Buffer.from(events.map((event) => `${JSON.stringify(event)}\n`).join('') + (isUnfinished ? '{"type":"ADD' : ''))
      const edges = [0, ...cuts.map((cut) => cut % whole.length).toSorted((a, b) => a - b), whole.length]
      const chunks = edges.slice(1).map((edge, index) => whole.subarray(edges[index], edge))
      const seen = await read(watchEvents<ConfigMap>(chunksOf(chunks), CALL))
      return JSON.stringify(seen) === JSON.stringify({ events })
    }),
  )
  t.pass('holds')
})

await test('a very long line in very many chunks is read in no time worth mentioning', async (t) => {
  const line = Buffer.from(`${JSON.stringify({ type: 'ADDED', object: { metadata: { name: 'a' }, data: { text: 'x'.repeat(4_000_000) } } })}\n`)
  const chunks = Array.from({ length: Math.ceil(line.length / 1_000) }, (_, index) => line.subarray(index * 1_000, (index + 1) * 1_000))
  const { events } = await read(watchEvents<ConfigMap>(chunksOf(chunks), CALL))
  t.match(events, [{ type: 'ADDED', object: { metadata: { name: 'a' } } }])
})

const added = (name: string): string => `${JSON.stringify({ type: 'ADDED', object: { metadata: { name } } })}\n`
const STREAMS: Record<string, { text: string; expected: object }> = {
  'a bookmark says how far the stream is': {
    text: `${JSON.stringify({ type: 'BOOKMARK', object: { kind: 'ConfigMap', metadata: { resourceVersion: '12' } } })}\n\n`,
    expected: { events: [{ type: 'BOOKMARK', resourceVersion: '12' }] },
  },
  'a forgotten version is expired, after what came before it': {
    text: `${added('a')}${JSON.stringify({ type: 'ERROR', object: status(410, 'Expired', 'too old resource version: 1 (7)') })}\n${added('b')}`,
    expected: { events: [{ type: 'ADDED', object: { metadata: { name: 'a' } } }], error: { code: 'KUBE_EXPIRED', message: 'too old resource version: 1 (7)' } },
  },
  'another error of the server': {
    text: `${JSON.stringify({ type: 'ERROR', object: status(500, 'InternalError', 'etcd is away') })}\n`,
    expected: { events: [], error: { code: 'KUBE_UNAVAILABLE', message: 'etcd is away' } },
  },
  'an error that is no Status': {
    text: `${JSON.stringify({ type: 'ERROR', object: { metadata: {} } })}\n`,
    expected: { events: [], error: { code: 'KUBE_UNAVAILABLE', message: `the API server answered 500 to ${CALL}` } },
  },
  'a line that is no JSON, which is not quoted': {
    text: `${added('a')}{"token":"abc\n`,
    expected: { events: [{ type: 'ADDED', object: { metadata: { name: 'a' } } }], error: { code: 'KUBE_UNAVAILABLE', message: `${CALL} sent an event that is no JSON` } },
  },
  'JSON that is nothing': { text: 'null\n', expected: { events: [], error: { code: 'KUBE_UNAVAILABLE', message: `${CALL} sent an event without an object` } } },
  'an unknown type': {
    text: '{"type":"RENAMED","object":{"metadata":{}}}\n',
    expected: { events: [], error: { code: 'KUBE_UNAVAILABLE', message: `${CALL} sent an event of the unknown type "RENAMED"` } },
  },
}
await test('what a stream says', async (t) => {
  for (const [sentence, { text, expected }] of Object.entries(STREAMS)) t.same(await readText(text), expected, sentence)
})

await test('a line without end is not kept', async (t) => {
  const megabyte = Buffer.alloc(2 ** 20, 'x')
  t.match(await read(watchEvents<ConfigMap>(chunksOf(Array(40).fill(megabyte)), CALL)), { events: [], error: { code: 'KUBE_UNAVAILABLE', message: /is longer than 33554432 bytes/ } })
})

await test('a watch asks for bookmarks and an end, and ends when the server ends it', async (t) => {
  const server = await scriptedServer(t, (_seen, response) => response.end(added('a')))
  const kube = server.client()
  t.match(await read(kube.watch(CONFIG_MAPS, { namespace: 'ns', labelSelector: 'a=b', resourceVersion: '5', timeoutSeconds: 300 })), { events: [{ type: 'ADDED' }], error: undefined })
  t.equal(server.seen[0]?.url, '/api/v1/namespaces/ns/configmaps?watch=1&allowWatchBookmarks=true&resourceVersion=5&timeoutSeconds=300&labelSelector=a%3Db')
})

await test('a refused or cut watch is an error', async (t) => {
  let turn = 0
  const server = await scriptedServer(t, (_seen, response) => {
    turn += 1
    if (turn === 1) answer(response, 403, status(403, 'Forbidden', 'configmaps is forbidden'))
    else if (turn === 2) answer(response, 410, status(410, 'Expired', 'too old'))
    else {
      response.writeHead(200).write(added('a'))
      setTimeout(() => response.destroy(), 10)
    }
  })
  const kube = server.client()
  const watch = (): ReturnType<typeof read> => read(kube.watch(CONFIG_MAPS, { resourceVersion: '5', timeoutSeconds: 300 }))
  t.same(await watch(), { events: [], error: { code: 'KUBE_FORBIDDEN', message: 'configmaps is forbidden' } })
  t.same(await watch(), { events: [], error: { code: 'KUBE_EXPIRED', message: 'too old' } })
  t.match(await watch(), { events: [{ type: 'ADDED' }], error: { code: 'KUBE_UNAVAILABLE', message: 'the watch GET /api/v1/configmaps was cut' } })
})

await test('an abort, and a reader that leaves, each free the connection', async (t) => {
  const server = await scriptedServer(t, (_seen, response) => response.writeHead(200).write(added('a')))
  const kube = server.client()
  const controller = new AbortController()
  const reading = read(kube.watch(CONFIG_MAPS, { resourceVersion: '5', timeoutSeconds: 300, signal: controller.signal }))
  await untilTrue('the watch is open', () => server.seen.length === 1)
  controller.abort()
  t.notOk((await reading).error)
  await untilTrue('the connection is closed', () => server.connections.open === 0)
  for await (const event of kube.watch(CONFIG_MAPS, { resourceVersion: '5', timeoutSeconds: 300 })) {
    t.equal(event.type, 'ADDED')
    break
  }
  await untilTrue('the connection is closed', () => server.connections.open === 0)
})

await test('a silent watch outlives the time for requests, and many of them leave requests their connections', async (t) => {
  const server = await scriptedServer(t, ({ url }, response) => {
    if (url.includes('watch=1')) response.writeHead(200).write(added('a'))
    else answer(response, 200, { metadata: { name: 'x' } })
  })
  const time = fakeTime()
  const kube = server.client({ timers: time.timers })
  const controller = new AbortController()
  const watches = Array.from({ length: 120 }, () => kube.watch(CONFIG_MAPS, { resourceVersion: '5', timeoutSeconds: 300, signal: controller.signal })[Symbol.asyncIterator]())
  for (const watch of watches) t.match(await watch.next(), { value: { type: 'ADDED' } })
  const later = Promise.all(watches.map((watch) => watch.next()))
  await time.advance(60_000)
  t.match(await kube.get(CONFIG_MAPS, 'ns', 'x'), { metadata: { name: 'x' } })
  t.equal(server.connections.open, 121)
  controller.abort()
  t.ok((await later).every(({ done }) => done))
})
