import fc from 'fast-check'
import { test } from 'tap'
import { createQueue, type QueueOptions, type WorkQueue } from '../../src/controller/queue.ts'
import { KubeError } from '../../src/kube/kube-error.ts'
import { fakeTime, settle, type FakeTime } from '../support/fake-time.ts'
import { logLines } from '../support/log-lines.ts'

interface Bench {
  queue: WorkQueue
  time: FakeTime
  /** Keys in the order in which their runs began. */
  runs: string[]
  failures: [key: string, failures: number, retryInMs: number][]
}

const bench = (process: QueueOptions['process'], options: Partial<QueueOptions> = {}): Bench => {
  const time = fakeTime()
  const runs: string[] = []
  const failures: Bench['failures'] = []
  const queue = createQueue({
    process: (key) => {
      runs.push(key)
      return process(key)
    },
    concurrency: 1,
    timers: time.timers,
    random: () => 1,
    onFailure: (key, _error, count, retryInMs) => failures.push([key, count, retryInMs]),
    log: logLines().log,
    ...options,
  })
  return { queue, time, runs, failures }
}
const nothing = async (): Promise<undefined> => undefined

/** A process whose runs end when the test says so. */
const gates = (): { process: QueueOptions['process']; open: (key: string, fault?: Error) => void } => {
  const waiting = new Map<string, PromiseWithResolvers<undefined>>()
  return {
    process: (key) => {
      const gate = Promise.withResolvers<undefined>()
      waiting.set(key, gate)
      return gate.promise
    },
    open: (key, fault) => {
      const gate = waiting.get(key)
      waiting.delete(key)
      if (fault === undefined) gate?.resolve(undefined)
      else gate?.reject(fault)
    },
  }
}

await test('keys run in the order in which they came, each once, and not before start', async (t) => {
  const { queue, runs } = bench(nothing)
  for (const key of ['b', 'a', 'b', 'c']) queue.add(key)
  await settle()
  t.same(runs, [])
  t.equal(queue.ready, 3)
  queue.start()
  await settle()
  t.same(runs, ['b', 'a', 'c'])
})

await test('a key that is added while it runs, runs once more after, never beside itself', async (t) => {
  const gate = gates()
  const { queue, runs } = bench(gate.process, { concurrency: 4 })
  queue.start()
  queue.add('a')
  await settle()
  queue.add('a')
  queue.add('a')
  await settle()
  t.same(runs, ['a'])
  gate.open('a')
  await settle()
  t.same(runs, ['a', 'a'])
  gate.open('a')
  await settle()
  t.same([runs, queue.running, queue.ready], [['a', 'a'], 0, 0])
})

await test('no more keys run at a time than allowed', async (t) => {
  const gate = gates()
  const { queue, runs } = bench(gate.process, { concurrency: 2 })
  queue.start()
  for (const key of ['a', 'b', 'c', 'd']) queue.add(key)
  await settle()
  t.same([runs, queue.running, queue.ready], [['a', 'b'], 2, 2])
  gate.open('b')
  await settle()
  t.same(runs, ['a', 'b', 'c'])
})

await test('a failing key waits twice as long each time, up to the cap; a success begins anew', async (t) => {
  let isFailing = true
  const { queue, time, failures, runs } = bench(
    async () => {
      if (isFailing) throw new Error('not today')
      return undefined
    },
    { capMs: 300 },
  )
  queue.start()
  queue.add('a')
  await time.advance(50 + 100 + 200 + 300 - 1)
  t.same(failures, [
    ['a', 1, 50],
    ['a', 2, 100],
    ['a', 3, 200],
    ['a', 4, 300],
  ])
  isFailing = false
  await time.advance(1)
  t.equal(runs.length, 5)
  isFailing = true
  queue.add('a')
  await settle()
  t.same(failures.at(-1), ['a', 1, 50])
})

await test('forget makes the next failure a first one', async (t) => {
  const { queue, time, failures } = bench(async () => {
    throw new Error('not today')
  })
  queue.start()
  queue.add('a')
  await time.advance(50)
  queue.forget('a')
  queue.add('a')
  await settle()
  t.same(failures.map(([, count]) => count), [1, 2, 1])
})

await test('the half of a backoff is random', async (t) => {
  const { queue, failures } = bench(() => Promise.reject(new Error('no')), { random: () => 0 })
  queue.start()
  queue.add('a')
  await settle()
  t.same(failures, [['a', 1, 25]])
})

await test('an error that asks for more time gets it, up to the cap', async (t) => {
  const { queue, failures } = bench((key) => Promise.reject(new KubeError('KUBE_UNAVAILABLE', 'busy', { retryAfterMs: key === 'a' ? 2_000 : 3_600_000 })))
  queue.start()
  queue.add('a')
  queue.add('b')
  await settle()
  t.same(failures, [
    ['a', 1, 2_000],
    ['b', 1, 30_000],
  ])
})

await test('a run may ask for the next one', async (t) => {
  const { queue, time, runs, failures } = bench(async () => (runs.length < 3 ? { requeueAfterMs: 4_000 } : undefined))
  queue.start()
  queue.add('a')
  await time.advance(3_999)
  t.equal(runs.length, 1)
  await time.advance(1)
  t.equal(runs.length, 2)
  await time.advance(60_000)
  t.same([runs.length, failures], [3, []])
})

await test('of several pending times of a key the earliest counts', async (t) => {
  const { queue, time, runs } = bench(nothing)
  queue.start()
  queue.addAfter('a', 5_000)
  queue.addAfter('a', 2_000)
  queue.addAfter('a', 9_000)
  await time.advance(1_999)
  t.equal(runs.length, 0)
  await time.advance(1)
  t.equal(runs.length, 1)
  await time.advance(60_000)
  t.equal(runs.length, 1)
})

await test('a delay of nothing runs at once', async (t) => {
  const { queue, runs } = bench(nothing)
  queue.start()
  queue.addAfter('a', 0)
  await settle()
  t.same(runs, ['a'])
})

await test('ten thousand waiting keys need one timer', async (t) => {
  const { queue, time, runs } = bench(nothing, { concurrency: 8 })
  queue.start()
  for (let index = 0; index < 10_000; index += 1) queue.addAfter(`key-${index}`, 1_000 + (index % 7) * 100)
  t.same([queue.waiting, time.pendingTimers], [10_000, 1])
  await time.advance(2_000)
  for (let turn = 0; turn < 10_000 && runs.length < 10_000; turn += 1) await settle()
  t.same([new Set(runs).size, queue.waiting, time.pendingTimers], [10_000, 0, 0])
})

await test('stop begins no more runs, waits for the running ones, and leaves no timer', async (t) => {
  const gate = gates()
  const { queue, time, runs } = bench(gate.process)
  queue.start()
  queue.add('a')
  queue.add('b')
  queue.addAfter('c', 1_000)
  await settle()
  const order: string[] = []
  const stops = [queue.stop(), queue.stop()].map((stop) => stop.then(() => order.push('stopped')))
  await settle()
  order.push('a ends')
  gate.open('a')
  await Promise.all(stops)
  queue.add('d')
  await time.advance(60_000)
  t.same([order, runs, time.pendingTimers], [['a ends', 'stopped', 'stopped'], ['a'], 0])
  await queue.stop()
})

await test('a report of a failure that fails itself is logged, and the queue goes on', async (t) => {
  const { log, messages } = logLines()
  const { queue, runs } = bench(() => Promise.reject(new Error('no')), {
    log,
    onFailure: () => {
      throw new Error('worse')
    },
  })
  queue.start()
  queue.add('a')
  queue.add('b')
  await settle()
  t.same(runs, ['a', 'b'])
  t.same(messages(), Array(2).fill('error the report of a failed run failed itself'))
})

await test('whatever happens, no key is lost, none runs beside itself, and every add is followed by a run that began later', async (t) => {
  const keys = fc.constantFrom('a', 'b', 'c')
  const step = fc.oneof(
    fc.record({ op: fc.constant('add' as const), key: keys }),
    fc.record({ op: fc.constant('after' as const), key: keys, ms: fc.integer({ min: 1, max: 200 }) }),
    fc.record({ op: fc.constant('end' as const), key: keys, fails: fc.boolean() }),
    fc.record({ op: fc.constant('wait' as const), ms: fc.nat(150) }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.integer({ min: 1, max: 3 }), async (steps, concurrency) => {
      const gate = gates()
      const active = new Set<string>()
      const owed = new Set<string>()
      let sound = true
      const { queue, time } = bench(
        async (key) => {
          sound &&= !active.has(key) && active.size < concurrency
          active.add(key)
          owed.delete(key)
          try {
            return await gate.process(key)
          } finally {
            active.delete(key)
          }
        },
        { concurrency },
      )
      queue.start()
      for (const one of steps) {
        if (one.op === 'add') {
          owed.add(one.key)
          queue.add(one.key)
        } else if (one.op === 'after') {
          owed.add(one.key)
          queue.addAfter(one.key, one.ms)
        } else if (one.op === 'end') {
          if (active.has(one.key) && one.fails) owed.add(one.key)
          gate.open(one.key, one.fails ? new Error('no') : undefined)
        } else await time.advance(one.ms)
        await settle()
      }
      for (let turn = 0; turn < 20; turn += 1) {
        for (const key of ['a', 'b', 'c']) gate.open(key)
        await time.advance(1_000)
      }
      return sound && owed.size === 0 && queue.running === 0 && queue.ready === 0 && queue.waiting === 0
    }),
    { numRuns: 60 },
  )
  t.pass('holds')
})
