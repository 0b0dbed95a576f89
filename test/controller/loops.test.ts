import { test } from 'tap'
import { createCaches } from '../../src/controller/caches.ts'
import { createLoops, type Loops, type LoopsOptions } from '../../src/controller/loops.ts'
import { createControllerMetrics } from '../../src/controller/metrics.ts'
import { OwnWrites } from '../../src/controller/own-writes.ts'
import { CodedError } from '../../src/errors.ts'
import { ACCESS_POLICIES, ACCESS_REQUESTS, CONNECTORS, PODS } from '../../src/kube/resources.ts'
import { fakeTime, settle, type FakeTime } from '../support/fake-time.ts'
import { logLines, type LogLines } from '../support/log-lines.ts'
import { memoryKube, type MemoryKube } from '../support/memory-kube.ts'
import { grantOf, NOW, policyOf, requestOf } from '../support/request-facts.ts'

interface Bench {
  kube: MemoryKube
  time: FakeTime
  caches: LoopsOptions['reconcile']['caches']
  loops: Loops
  logs: LogLines
  /** Reconciles by loop and outcome. */
  counted: () => Promise<Record<string, number>>
}

const bench = (): Bench => {
  const time = fakeTime(NOW)
  const kube = memoryKube({ now: () => time.clock.now() })
  const logs = logLines()
  const caches = createCaches(logs.log)
  const metrics = createControllerMetrics({ caches, checks: { sizes: () => new Map() }, queued: () => 0, leading: () => true, silence: () => new Map() })
  const loops = createLoops({
    reconcile: {
      reader: kube,
      writer: kube,
      events: kube,
      caches,
      checks: { lookup: () => ({ state: 'waiting', message: 'being read' }) },
      own: new OwnWrites(() => undefined),
      clock: time.clock,
      timers: time.timers,
      logger: logs.log,
      onNotice: () => undefined,
    },
    metrics,
    workers: 2,
    timers: time.timers,
    random: () => 1,
    logger: logs.log,
  })
  return {
    kube,
    time,
    caches,
    loops,
    logs,
    counted: async () => {
      const { values } = await metrics.reconciles.get()
      return Object.fromEntries(values.map(({ labels, value }) => [`${String(labels.loop)} ${String(labels.outcome)}`, value]))
    },
  }
}
const KEY = 'connectors-shared/prod-harbor-build-pod'

await test('outside of a term nothing is worked on and nothing is kept', async (t) => {
  const { loops, kube } = bench()
  loops.request(KEY)
  loops.policy('connectors-shared/ask')
  await settle()
  t.strictSame([loops.queued(), kube.calls], [0, []])
})

await test('a term begins with a look at everything: requests, policies, and Roles whose request is gone', async (t) => {
  const { loops, kube, caches, counted } = bench()
  const { role, binding } = grantOf('ask', undefined, requestOf({ metadata: { name: 'gone', uid: 'gone' } }))
  caches.requests.put(kube.put(ACCESS_REQUESTS, requestOf()))
  caches.policies.put(kube.put(ACCESS_POLICIES, policyOf()))
  caches.roles.put({ ...role, metadata: { ...role.metadata, resourceVersion: '50' } })
  caches.bindings.put({ ...binding, metadata: { ...binding.metadata, resourceVersion: '51' } })
  const term = new AbortController()
  const over = loops.run(term.signal)
  await settle()
  t.strictSame(await counted(), { 'access-request done': 2, 'access-policy done': 1 })
  t.strictSame(kube.writes().filter(({ verb }) => verb === 'remove').map(({ resource, name }) => `${resource}/${name ?? ''}`), [`rolebindings/${binding.metadata.name}`, `roles/${role.metadata.name}`])
  term.abort()
  await over
  loops.request(KEY)
  await settle()
  t.strictSame(await counted(), { 'access-request done': 2, 'access-policy done': 1 }, 'nothing after its end')
})

await test('the next term begins anew', async (t) => {
  const { loops, kube, caches, counted } = bench()
  caches.policies.put(kube.put(ACCESS_POLICIES, policyOf()))
  for (const runs of [1, 2]) {
    const term = new AbortController()
    const over = loops.run(term.signal)
    await settle()
    t.strictSame(await counted(), { 'access-policy done': runs })
    term.abort()
    await over
  }
})

await test('the end of a term waits for what is under way; a term that is over before it begins does nothing', async (t) => {
  const { loops, kube, caches, counted } = bench()
  caches.policies.put(kube.put(ACCESS_POLICIES, policyOf()))
  const release = kube.hold('replaceStatus', ACCESS_POLICIES)
  const term = new AbortController()
  let isOver = false
  const run = async (): Promise<void> => {
    await loops.run(term.signal)
    isOver = true
  }
  const over = run()
  await settle()
  term.abort()
  await settle()
  t.equal(isOver, false)
  release()
  await over
  t.strictSame(await counted(), { 'access-policy done': 1 })
  await loops.run(AbortSignal.abort())
  t.strictSame([loops.queued(), await counted()], [0, { 'access-policy done': 1 }])
})

await test('a race is looked at again quietly, a failure with a warning, a defect with an error and its stack', async (t) => {
  const { loops, kube, time, caches, logs, counted } = bench()
  caches.policies.put(kube.put(ACCESS_POLICIES, policyOf()))
  kube.fail('replaceStatus', ACCESS_POLICIES, new CodedError('KUBE_CONFLICT', 'has changed'))
  kube.fail('replaceStatus', ACCESS_POLICIES, new CodedError('NOT_LEADER', 'not leading'))
  kube.fail('replaceStatus', ACCESS_POLICIES, new CodedError('KUBE_UNAVAILABLE', 'no answer'))
  kube.fail('replaceStatus', ACCESS_POLICIES, new TypeError('defect'))
  const term = new AbortController()
  const over = loops.run(term.signal)
  await time.advance(5_000)
  t.strictSame(await counted(), { 'access-policy race': 1, 'access-policy failed': 3, 'access-policy done': 1 })
  t.strictSame(
    logs.lines.map(({ level, msg, error, failures, object, err }) => [level, msg, error, failures, object, typeof err]),
    [
      ['debug', 'looking again', 'has changed', 1, 'connectors-shared/ask', 'undefined'],
      ['debug', 'looking again', 'not leading', 2, 'connectors-shared/ask', 'undefined'],
      ['warn', 'it failed and is tried again', 'no answer', 3, 'connectors-shared/ask', 'undefined'],
      ['error', 'it failed unexpectedly and is tried again', 'defect', 4, 'connectors-shared/ask', 'object'],
    ],
  )
  term.abort()
  await over
})

await test('a request that asks for another look gets it', async (t) => {
  const { loops, kube, time, caches, counted } = bench()
  caches.requests.put(kube.put(ACCESS_REQUESTS, requestOf({ metadata: { creationTimestamp: new Date(NOW - 10_000).toISOString() } })))
  kube.put(CONNECTORS, { metadata: { name: 'prod-harbor', namespace: 'connectors-shared' } })
  const term = new AbortController()
  const over = loops.run(term.signal)
  await time.advance(3_999)
  t.strictSame(await counted(), { 'access-request done': 1 })
  await time.advance(1)
  t.strictSame(await counted(), { 'access-request done': 2 }, 'its Pod was not seen: asked for again after 4 s')
  t.equal(kube.calls.filter(({ resource }) => resource === PODS.plural).length, 3, 'twice in the first look, which wrote the status')
  term.abort()
  await over
})
