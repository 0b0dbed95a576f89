import { test, type Test } from 'tap'
import type { ConfigMap } from '../../src/api/config-map.ts'
import { CodedError } from '../../src/errors.ts'
import { KubeError } from '../../src/kube/kube-error.ts'
import { createReflector, type Reflector } from '../../src/kube/reflector.ts'
import { CONFIG_MAPS } from '../../src/kube/resources.ts'
import { createStore, type Store } from '../../src/kube/store.ts'
import { fakeTime, settle, type FakeTime } from '../support/fake-time.ts'
import { logLines, type LogLines } from '../support/log-lines.ts'
import { memoryKube, type MemoryKube } from '../support/memory-kube.ts'

const START = Date.parse('2026-01-02T03:04:05Z')
const unavailable = (message = 'no answer'): CodedError => new CodedError('KUBE_UNAVAILABLE', message)
const configMap = (name: string, text = name): ConfigMap => ({ metadata: { name, namespace: 'ns', labels: { mine: 'yes' } }, data: { text } })

interface Bench extends LogLines {
  kube: MemoryKube
  time: FakeTime
  store: Store<ConfigMap>
  reflector: Reflector
  names: () => string[]
  /** Which of list and watch was called, in order; a watch with where it began. */
  calls: () => string[]
  stop: () => Promise<void>
}

/** Runs a reflector over memory-kube with random 1, so that a backoff is exactly 1 s, 2 s, 4 s … */
const bench = (t: Test, prepare: (kube: MemoryKube) => void = () => undefined): Bench => {
  const time = fakeTime(START)
  const kube = memoryKube({ now: () => time.clock.now() })
  const lines = logLines()
  const store = createStore<ConfigMap>({ log: lines.log })
  prepare(kube)
  const reflector = createReflector({
    kube,
    resource: CONFIG_MAPS,
    namespace: 'ns',
    labelSelector: 'mine=yes',
    store,
    clock: time.clock,
    timers: time.timers,
    random: () => 1,
    log: lines.log,
  })
  const controller = new AbortController()
  const done = reflector.run(controller.signal)
  const stop = async (): Promise<void> => {
    controller.abort()
    await done
  }
  t.teardown(stop)
  return {
    ...lines,
    kube,
    time,
    store,
    reflector,
    stop,
    names: () => [...store.values()].map(({ metadata }) => metadata.name).toSorted(),
    calls: () => kube.calls.flatMap(({ verb, body }) => (verb === 'list' ? ['list'] : verb === 'watch' ? [`watch ${String(Reflect.get(Object(body), 'resourceVersion'))}`] : [])),
  }
}

await test('it lists the newest, then follows the watch', async (t) => {
  const { kube, store, reflector, names, calls } = bench(t, (before) => {
    before.put(CONFIG_MAPS, configMap('a'))
    before.put(CONFIG_MAPS, { ...configMap('other'), metadata: { name: 'other', namespace: 'ns' } })
  })
  t.equal(reflector.hasSynced, false)
  t.equal(await reflector.synced, true)
  t.same([names(), reflector.hasSynced], [['a'], true])
  kube.put(CONFIG_MAPS, configMap('b'))
  kube.put(CONFIG_MAPS, configMap('a', 'changed'))
  await settle()
  t.same([names(), store.get('ns', 'a')?.data], [['a', 'b'], { text: 'changed' }])
  kube.drop(CONFIG_MAPS, 'ns', 'b')
  await settle()
  t.same([names(), calls()], [['a'], ['list', 'watch 2']])
  t.match(kube.calls[0], { body: { namespace: 'ns', labelSelector: 'mine=yes', resourceVersion: undefined } })
  t.match(kube.calls[1], { body: { namespace: 'ns', labelSelector: 'mine=yes', timeoutSeconds: 14 } })
})

await test('a cut watch goes on from where it was, and nothing is lost', async (t) => {
  const { kube, time, names, calls } = bench(t)
  await settle()
  kube.put(CONFIG_MAPS, configMap('a'))
  await settle()
  kube.endWatches(unavailable())
  kube.put(CONFIG_MAPS, configMap('b'))
  await time.advance(1_000)
  t.same([names(), calls()], [['a', 'b'], ['list', 'watch 0', 'watch 1']])
})

await test('a version that the server forgot leads to a new list, deletions included', async (t) => {
  const { kube, time, names, calls } = bench(t, (before) => before.put(CONFIG_MAPS, configMap('a')))
  await settle()
  kube.endWatches(unavailable())
  kube.drop(CONFIG_MAPS, 'ns', 'a')
  kube.put(CONFIG_MAPS, configMap('b'))
  kube.compact()
  await time.advance(1_000)
  await time.advance(2_000)
  t.same([names(), calls()], [['b'], ['list', 'watch 1', 'watch 1', 'list', 'watch 3']])
})

await test('a bookmark moves the place to go on from', async (t) => {
  const { kube, time, calls } = bench(t)
  await settle()
  kube.put(CONFIG_MAPS, { metadata: { name: 'other', namespace: 'ns' } })
  kube.bookmark()
  await settle()
  kube.compact()
  kube.endWatches()
  await time.advance(1_000)
  t.same(calls(), ['list', 'watch 0', 'watch 1'])
})

await test('a server that cannot be reached is asked less and less often, at least every 10 s, and complained about once', async (t) => {
  const { kube, time, reflector, messages, calls } = bench(t, (before) => before.fail('list', undefined, unavailable(), { times: 8 }))
  const counts: number[] = []
  for (const seconds of [0, 1, 2, 4, 8, 10, 10, 10]) {
    await time.advance(seconds * 1_000)
    counts.push(calls().length)
  }
  t.same(counts, [1, 2, 3, 4, 5, 6, 7, 8])
  t.equal(reflector.hasSynced, false)
  t.same(messages(), ['warn the watch failed, it begins again', ...Array(7).fill('debug the watch failed again')])
  await time.advance(10_000)
  t.equal(await reflector.synced, true)
  t.equal(kube.openWatches, 1)
})

await test('an error that asks for more time gets it', async (t) => {
  const { time, calls } = bench(t, (before) => before.fail('list', undefined, new KubeError('KUBE_UNAVAILABLE', 'busy', { retryAfterMs: 7_000 })))
  await time.advance(6_999)
  t.same(calls(), ['list'])
  await time.advance(1)
  t.same(calls(), ['list', 'list', 'watch 0'])
})

await test('after a watch that lasted the backoff begins anew, and a watch that ends in time is no failure', async (t) => {
  const { kube, time, calls, messages } = bench(t, (before) => before.fail('watch', undefined, unavailable(), { times: 2 }))
  await time.advance(3_000)
  t.equal(calls().length, 4, 'two failures, then it stands')
  await time.advance(10_000)
  kube.endWatches()
  await settle()
  t.equal(calls().length, 5, 'at once')
  kube.endWatches(unavailable())
  await time.advance(1_000)
  t.equal(calls().length, 6, 'a first failure')
  t.same(messages().filter((line) => line.startsWith('warn')), Array(2).fill('warn the watch failed, it begins again'))
})

await test('a server that ends every watch at once is not asked in a loop', async (t) => {
  const { kube, time, calls } = bench(t)
  for (let turn = 0; turn < 50; turn += 1) {
    kube.endWatches()
    await time.advance(100)
  }
  t.ok(calls().length < 8, `${calls().length} calls in 5 s`)
})

await test('three failures in a row make it doubt the version too', async (t) => {
  const { time, calls } = bench(t, (before) => before.fail('watch', undefined, unavailable(), { times: 3 }))
  await time.advance(1_000 + 2_000 + 4_000)
  t.same(calls(), ['list', 'watch 0', 'watch 0', 'watch 0', 'list', 'watch 0'])
})

await test('a watch that the server does not end in its time is taken for dead: another one goes on, and if that is dead too the list is read again', async (t) => {
  const { kube, time, calls, messages, reflector } = bench(t)
  await time.advance(18_999)
  t.same([calls(), reflector.lastContact], [['list', 'watch 0'], START])
  kube.put(CONFIG_MAPS, { metadata: { name: 'other', namespace: 'ns' } })
  kube.bookmark()
  await time.advance(1)
  t.equal(kube.openWatches, 1, 'one that tells something is not dead')
  await time.advance(4_998)
  t.same(calls(), ['list', 'watch 0'])
  await time.advance(1)
  t.same([calls(), messages(), kube.openWatches], [['list', 'watch 0', 'watch 1'], ['debug the watch of configmaps was not ended in its time: its connection may be dead'], 1])
  await time.advance(19_000)
  t.same([calls().slice(3), kube.openWatches], [[], 0])
  t.equal(reflector.lastContact, START + 23_999, 'when the second one began')
  await time.advance(1_000)
  t.same(calls().slice(3), ['list', 'watch 1'])
  t.same(messages().slice(1), ['warn the watch failed, it begins again'])
  t.equal(reflector.lastContact, time.clock.now())
})

await test('a watch without events is heard by its end, and one dead watch among sound ones reads no list', async (t) => {
  const { kube, time, calls, messages, reflector } = bench(t)
  for (let turn = 0; turn < 3; turn += 1) {
    await time.advance(14_000)
    kube.endWatches()
    await settle()
    t.equal(reflector.lastContact, time.clock.now())
    await time.advance(19_000)
  }
  t.same(calls(), ['list', ...Array(7).fill('watch 0')])
  t.same(messages(), Array(3).fill('debug the watch of configmaps was not ended in its time: its connection may be dead'))
})

await test('it says how long the server has been silent', async (t) => {
  const { kube, time, reflector } = bench(t, (before) => before.fail('list', undefined, unavailable()))
  await settle()
  t.same([reflector.lastContact, reflector.stale(START, 120_000)], [undefined, true])
  await time.advance(1_000)
  t.same([reflector.lastContact, reflector.stale(time.clock.now(), 0)], [START + 1_000, false])
  kube.put(CONFIG_MAPS, configMap('a'))
  await settle()
  t.same([reflector.stale(START + 1_000 + 120_000, 120_000), reflector.stale(START + 1_000 + 120_001, 120_000)], [false, true])
})

await test('a stop ends the watch and every timer, in each state', async (t) => {
  const watching = bench(t)
  await settle()
  await watching.stop()
  t.same([watching.kube.openWatches, watching.time.pendingTimers, await watching.reflector.synced], [0, 0, true])

  const failing = bench(t, (before) => before.fail('list', undefined, unavailable(), { times: 100 }))
  await settle()
  await failing.stop()
  t.same([failing.time.pendingTimers, await failing.reflector.synced], [0, false])
})

await test('a handler that throws stops nothing', async (t) => {
  const { kube, store, names, messages } = bench(t)
  store.onChange(() => {
    throw new Error('no')
  })
  await settle()
  kube.put(CONFIG_MAPS, configMap('a'))
  kube.put(CONFIG_MAPS, configMap('b'))
  await settle()
  t.same([names(), messages()], [['a', 'b'], Array(2).fill('error a handler of a store failed')])
})

await test('a watch whose answer begins late gets its whole time, and its beginning is a sign of life', async (t) => {
  let begin: (() => void) | undefined
  const { kube, time, calls, messages, reflector } = bench(t, (before) => {
    begin = before.hold('watch')
  })
  await time.advance(9_000)
  t.equal(reflector.lastContact, START)
  begin?.()
  await settle()
  t.equal(reflector.lastContact, START + 9_000)
  await time.advance(18_999)
  t.same([calls(), kube.openWatches], [['list', 'watch 0'], 1])
  kube.endWatches()
  await settle()
  t.same([calls(), messages()], [['list', 'watch 0', 'watch 0'], []])
})

await test('a refusal that takes long is a failure all the same', async (t) => {
  let refuse: (() => void) | undefined
  const { kube, time, calls } = bench(t, (before) => {
    before.fail('watch', undefined, unavailable(), { times: 3 })
    refuse = before.hold('watch')
  })
  for (const pauseMs of [1_000, 2_000, 4_000]) {
    await time.advance(6_000)
    refuse?.()
    refuse = kube.hold('watch')
    await time.advance(pauseMs)
  }
  t.same(calls(), ['list', 'watch 0', 'watch 0', 'watch 0', 'list', 'watch 0'])
  refuse?.()
})
