import fc from 'fast-check'
import { test, type Test } from 'tap'
import { CodedError } from '../../src/errors.ts'
import { createLease, type LeaderLease, type LeaseOptions } from '../../src/kube/lease.ts'
import { leaderOnly } from '../../src/kube/leader-only.ts'
import type { WriteOptions } from '../../src/kube/ports.ts'
import { CONFIG_MAPS, LEASES } from '../../src/kube/resources.ts'
import { fakeTime, settle, type FakeTime } from '../support/fake-time.ts'
import { logLines } from '../support/log-lines.ts'
import { memoryKube, type MemoryKube } from '../support/memory-kube.ts'

const NAMESPACE = 'connectors-system'
const NAME = 'access-gate-controller'
const unavailable = (): CodedError => new CodedError('KUBE_UNAVAILABLE', 'no answer')

interface Replica {
  lease: LeaderLease
  /** What happened, in order: started, aborted, stopped. */
  story: string[]
  stop: () => Promise<void>
  /** Ends the process without a word: no more timers, no more answers. */
  crash: () => void
}

interface Cluster {
  time: FakeTime
  kube: MemoryKube
  replica: (identity: string, overrides?: Partial<LeaseOptions> & { work?: (signal: AbortSignal) => Promise<void> | void }) => Replica
  holder: () => string | undefined
}

const cluster = (t: Test): Cluster => {
  const time = fakeTime()
  const kube = memoryKube({ now: () => time.clock.now() })
  return {
    time,
    kube,
    holder: () => kube.all(LEASES)[0]?.spec?.holderIdentity,
    replica: (identity, { work, ...overrides } = {}) => {
      let crashed = false
      const story: string[] = []
      const lease = createLease({
        kube,
        namespace: NAMESPACE,
        name: NAME,
        identity,
        clock: time.clock,
        timers: { ...time.timers, after: (ms, run) => time.timers.after(ms, () => crashed || run()) },
        random: () => 0.5,
        log: logLines().log,
        ...overrides,
      })
      const controller = new AbortController()
      const done = lease.run({
        signal: controller.signal,
        onStartedLeading: (signal) => {
          story.push('started')
          signal.addEventListener('abort', () => story.push('aborted'))
          return work?.(signal)
        },
        onStoppedLeading: () => story.push('stopped'),
      })
      const stop = async (): Promise<void> => {
        controller.abort()
        await done
      }
      t.teardown(() => (crashed ? undefined : stop()))
      return {
        lease,
        story,
        stop,
        crash: () => {
          crashed = true
        },
      }
    },
  }
}

await test('the first one leads, writes a whole record and keeps it', async (t) => {
  const { time, kube, replica } = cluster(t)
  const one = replica('one')
  await settle()
  t.same([one.lease.held(), one.story], [true, ['started']])
  t.match(kube.all(LEASES)[0], {
    metadata: { namespace: NAMESPACE, name: NAME },
    spec: { holderIdentity: 'one', leaseDurationSeconds: 10, acquireTime: '2026-01-02T03:04:05.000000Z', renewTime: '2026-01-02T03:04:05.000000Z', leaseTransitions: 0 },
  })
  await time.advance(60_000)
  t.same([one.lease.held(), one.story], [true, ['started']])
  t.match(kube.all(LEASES)[0], { spec: { acquireTime: '2026-01-02T03:04:05.000000Z', renewTime: '2026-01-02T03:05:05.000000Z', leaseTransitions: 0 } })
  t.equal(kube.writes().length, 31, 'one write each 2 s')
})

await test('while one renews, another waits', async (t) => {
  const { time, replica } = cluster(t)
  const one = replica('one')
  await settle()
  const two = replica('two')
  await time.advance(120_000)
  t.same([one.lease.held(), two.lease.held(), two.story], [true, false, []])
})

await test('after an orderly stop the other leads within 2 s', async (t) => {
  const { time, replica, holder } = cluster(t)
  const one = replica('one')
  await settle()
  const two = replica('two')
  await time.advance(5_000)
  await one.stop()
  t.same([one.lease.held(), one.story, holder()], [false, ['started', 'aborted', 'stopped'], ''])
  await time.advance(2_000)
  t.same([two.lease.held(), two.story, holder()], [true, ['started'], 'two'])
})

await test('after a crash the other leads when it saw the record unchanged for 10 s, not before, whatever the record says about time', async (t) => {
  const { time, kube, replica } = cluster(t)
  kube.put(LEASES, {
    metadata: { namespace: NAMESPACE, name: NAME },
    spec: { holderIdentity: 'gone', leaseDurationSeconds: 10, renewTime: '1999-01-01T00:00:00.000000Z', leaseTransitions: 4 },
  })
  const two = replica('two')
  await time.advance(9_999)
  t.equal(two.lease.held(), false)
  await time.advance(1_100)
  t.equal(two.lease.held(), true)
  t.match(kube.all(LEASES)[0], { spec: { holderIdentity: 'two', leaseTransitions: 5 } })
})

await test('a record that asks for more time than ours gets it', async (t) => {
  const { time, kube, replica } = cluster(t)
  kube.put(LEASES, { metadata: { namespace: NAMESPACE, name: NAME }, spec: { holderIdentity: 'gone', leaseDurationSeconds: 30 } })
  const two = replica('two')
  await time.advance(29_000)
  t.equal(two.lease.held(), false)
  await time.advance(3_000)
  t.equal(two.lease.held(), true)
})

await test('a leader that cannot renew stops 7 s after the last write that it sent, before anyone else begins', async (t) => {
  const { time, kube, replica } = cluster(t)
  const one = replica('one')
  await settle()
  kube.fail('replace', LEASES, unavailable(), { times: 100 })
  await time.advance(6_999)
  t.same([one.lease.held(), one.story], [true, ['started']])
  await time.advance(1)
  t.same([one.lease.held(), one.story], [false, ['started', 'aborted', 'stopped']])
})

await test('answers that never come are not waited for', async (t) => {
  const { time, kube, replica } = cluster(t)
  const one = replica('one')
  await settle()
  const release = kube.hold('replace', LEASES)
  await time.advance(6_999)
  t.equal(one.lease.held(), true)
  await time.advance(1)
  t.same([one.lease.held(), one.story], [false, ['started', 'aborted', 'stopped']])
  release()
  await time.advance(12_000)
  t.same([one.lease.held(), one.story.at(-1)], [true, 'started'])
})

await test('a renewal whose answer was lost is gone on from', async (t) => {
  const { time, kube, replica } = cluster(t)
  const one = replica('one')
  await settle()
  kube.fail('replace', LEASES, unavailable(), { after: true })
  await time.advance(30_000)
  t.same([one.lease.held(), one.story], [true, ['started']])
})

await test('a process that slept sees at its first look that it leads no more', async (t) => {
  const { time, replica } = cluster(t)
  const one = replica('one')
  await settle()
  time.freeze(7_000)
  t.equal(one.lease.held(), false)
  await time.advance(1)
  t.same(one.story, ['started', 'aborted', 'stopped'])
})

await test('a machine that slept, and with it its monotonic clock, is noticed by the wall clock', async (t) => {
  const { time, replica } = cluster(t)
  const one = replica('one')
  await settle()
  time.stepWallClock(3_600_000)
  t.equal(one.lease.held(), false)
  await time.advance(5_000)
  t.same([one.lease.held(), one.story], [true, ['started', 'aborted', 'stopped', 'started']])
  time.stepWallClock(-7_200_000)
  t.equal(one.lease.held(), true, 'a step back takes nothing away')
})

await test('a leader that finds another name in the record stops at once', async (t) => {
  const { time, kube, replica } = cluster(t)
  const one = replica('one')
  await settle()
  kube.put(LEASES, { metadata: { namespace: NAMESPACE, name: NAME }, spec: { holderIdentity: 'thief', leaseDurationSeconds: 10 } })
  await time.advance(2_000)
  t.same([one.lease.held(), one.story], [false, ['started', 'aborted', 'stopped']])
  kube.drop(LEASES, NAMESPACE, NAME)
  await time.advance(2_000)
  t.equal(one.lease.held(), true, 'it takes a record that is gone')
})

await test('work that fails gives the lease back, and is begun again', async (t) => {
  const { time, replica, holder } = cluster(t)
  const holders: (string | undefined)[] = []
  const one = replica('one', {
    work: async () => {
      holders.push(holder())
      throw new Error('broken')
    },
  })
  await settle()
  t.same([one.story, holder()], [['started', 'aborted', 'stopped'], ''])
  await time.advance(2_500)
  t.same([one.story.slice(0, 4), holders.slice(0, 2)], [['started', 'aborted', 'stopped', 'started'], ['one', 'one']])
})

await test('on a stop the work may end what it has begun while the lease is held, and no longer', async (t) => {
  const { time, replica, holder } = cluster(t)
  const quick = Promise.withResolvers<void>()
  const one = replica('one', { work: () => quick.promise })
  await settle()
  const stopped = one.stop()
  await time.advance(1_000)
  t.same([one.lease.held(), one.story], [true, ['started', 'aborted']])
  quick.resolve()
  await stopped
  t.same([one.lease.held(), holder(), time.pendingTimers], [false, '', 0])

  const never = Promise.withResolvers<void>()
  const two = replica('two', { work: () => never.promise })
  await settle()
  const ended = two.stop()
  await time.advance(7_000)
  t.same([two.lease.held(), two.story], [false, ['started', 'aborted', 'stopped']])
  never.resolve()
  await ended
})

await test('the next work begins only after the last one has ended', async (t) => {
  const { time, kube, replica } = cluster(t)
  const endings: (() => void)[] = []
  const one = replica('one', { work: () => new Promise((resolve) => endings.push(resolve)) })
  await settle()
  kube.fail('replace', LEASES, unavailable(), { times: 10 })
  await time.advance(60_000)
  t.same(one.story, ['started', 'aborted', 'stopped'])
  endings[0]?.()
  await time.advance(10_000)
  t.same(one.story, ['started', 'aborted', 'stopped', 'started'])
  endings[1]?.()
})

await test('each write of the lease is given up after 2.5 s, or when leading would be over before that', async (t) => {
  const { time, kube, replica } = cluster(t)
  const seen: (number | undefined)[] = []
  let isBroken = false
  const note = (options: WriteOptions | undefined): void => {
    seen.push(options?.timeoutMs)
    if (isBroken) throw unavailable()
  }
  const noting: LeaseOptions['kube'] = {
    get: (...args) => kube.get(...args),
    create: async (resource, object, options) => {
      note(options)
      return kube.create(resource, object)
    },
    replace: async (resource, object, options) => {
      note(options)
      return kube.replace(resource, object)
    },
  }
  const one = replica('one', { kube: noting })
  await time.advance(2_000)
  t.strictSame(seen, [2_500, 2_500])
  isBroken = true
  await time.advance(6_500)
  t.strictSame(seen.slice(2), [2_500, 2_500, 2_500, 2_000, 1_000])
  t.equal(one.lease.held(), true)
})

await test('a look that is answered late leaves its write the rest of the time, and after that nothing is written', async (t) => {
  const { time, kube, replica } = cluster(t)
  const seen: (number | undefined)[] = []
  const noting: LeaseOptions['kube'] = {
    get: (...args) => kube.get(...args),
    create: async (resource, object, options) => {
      seen.push(options?.timeoutMs)
      return kube.create(resource, object)
    },
    replace: (...args) => kube.replace(...args),
  }
  const answerFirst = kube.hold('get', LEASES)
  const one = replica('one', { kube: noting })
  await time.advance(2_600)
  answerFirst()
  const answerSecond = kube.hold('get', LEASES)
  await time.advance(0)
  t.strictSame([seen, one.lease.held()], [[], false])
  await time.advance(2_900)
  answerSecond()
  await time.advance(0)
  t.strictSame([seen, one.lease.held()], [[500], true])
})

await test('without the lease nothing is sent', async (t) => {
  const kube = memoryKube()
  let leftMs = 0
  const writer = leaderOnly(kube, { leftMs: () => leftMs })
  const object = { metadata: { namespace: 'ns', name: 'a' } }
  const calls: (() => Promise<unknown>)[] = [
    () => writer.create(CONFIG_MAPS, object),
    () => writer.replace(CONFIG_MAPS, object),
    () => writer.replaceStatus(CONFIG_MAPS, object),
    () => writer.mergePatch(CONFIG_MAPS, 'ns', 'a', {}),
    () => writer.remove(CONFIG_MAPS, 'ns', 'a'),
  ]
  for (const call of calls) await t.rejects(call(), { code: 'NOT_LEADER' })
  t.same(kube.calls, [])
  leftMs = 1
  for (const call of calls) await call()
  t.same(kube.calls.map(({ verb }) => verb), ['create', 'replace', 'replaceStatus', 'mergePatch', 'remove'])
})

await test('each write is given up when the lease runs out, or sooner when that was asked for', async (t) => {
  const seen: (WriteOptions | undefined)[] = []
  const note = async (options: WriteOptions | undefined): Promise<never> => {
    seen.push(options)
    throw unavailable()
  }
  const writer = leaderOnly(
    {
      create: (_resource, _object, options) => note(options),
      replace: (_resource, _object, options) => note(options),
      replaceStatus: (_resource, _object, options) => note(options),
      mergePatch: (_resource, _namespace, _name, _patch, options) => note(options),
      remove: (_resource, _namespace, _name, _precondition, options) => note(options),
    },
    { leftMs: () => 4_200 },
  )
  const object = { metadata: { namespace: 'ns', name: 'a' } }
  await t.rejects(writer.create(CONFIG_MAPS, object))
  await t.rejects(writer.replace(CONFIG_MAPS, object, { timeoutMs: 9_000 }))
  await t.rejects(writer.replaceStatus(CONFIG_MAPS, object, { timeoutMs: 1_500 }))
  await t.rejects(writer.mergePatch(CONFIG_MAPS, 'ns', 'a', {}, {}))
  await t.rejects(writer.remove(CONFIG_MAPS, 'ns', 'a', { uid: 'u' }))
  t.strictSame(seen.map((options) => options?.timeoutMs), [4_200, 4_200, 1_500, 4_200, 4_200])
})

await test('what is left of the lease is counted from the last renewal, on the clock that says less', async (t) => {
  const { time, kube, replica } = cluster(t)
  const one = replica('one')
  t.equal(one.lease.leftMs(), 0)
  await settle()
  t.equal(one.lease.leftMs(), 7_000)
  await time.advance(1_500)
  t.equal(one.lease.leftMs(), 5_500)
  await time.advance(1_000)
  t.equal(one.lease.leftMs(), 6_500, 'renewed meanwhile')
  time.stepWallClock(-60_000)
  t.equal(one.lease.leftMs(), 6_500)
  time.stepWallClock(62_000)
  t.equal(one.lease.leftMs(), 4_500)
  kube.fail('replace', LEASES, unavailable(), { times: Number.POSITIVE_INFINITY })
  time.freeze(10_000)
  t.same([one.lease.leftMs(), one.lease.held()], [0, false])
})

/** Timers of one process among several, which can be stopped and go on later. */
const pausable = (time: FakeTime): { timers: LeaseOptions['timers']; pause: () => void; resume: () => void } => {
  let isPaused = false
  let missed: (() => void)[] = []
  return {
    timers: {
      monotonic: () => time.timers.monotonic(),
      after: (ms, run) => {
        let isCancelled = false
        const cancel = time.timers.after(ms, () => {
          if (!isPaused) run()
          else missed.push(() => isCancelled || run())
        })
        return () => {
          isCancelled = true
          cancel()
        }
      },
    },
    pause: () => {
      isPaused = true
    },
    resume: () => {
      isPaused = false
      const due = missed
      missed = []
      for (const run of due) run()
    },
  }
}

await test('whatever pauses, fails or gets lost, never do two hold the lease, and in quiet times one does', async (t) => {
  const identities = ['one', 'two', 'three']
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ op: fc.constant('wait' as const), ms: fc.integer({ min: 100, max: 6_000 }) }) },
    { weight: 2, arbitrary: fc.record({ op: fc.constant('pause the leader' as const) }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constantFrom('pause' as const, 'resume' as const), who: fc.nat(2) }) },
    { weight: 2, arbitrary: fc.record({ op: fc.constant('fail' as const), verb: fc.constantFrom('get' as const, 'replace' as const, 'create' as const), times: fc.integer({ min: 1, max: 6 }), after: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant('hold' as const), verb: fc.constantFrom('get' as const, 'replace' as const) }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant('release' as const) }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant('step' as const), ms: fc.integer({ min: -30_000, max: 30_000 }) }) },
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const time = fakeTime()
      const kube = memoryKube({ now: () => time.clock.now() })
      const controller = new AbortController()
      const replicas = identities.map((identity, index) => {
        const { timers, ...process } = pausable(time)
        const lease = createLease({ kube, namespace: NAMESPACE, name: NAME, identity, clock: time.clock, timers, random: () => index / 3, log: logLines().log })
        return { ...process, lease, done: lease.run({ signal: controller.signal, onStartedLeading: () => undefined }) }
      })
      const holders = (): number => replicas.filter(({ lease }) => lease.held()).length
      let most = 0
      const wait = async (ms: number): Promise<void> => {
        for (let left = ms; left > 0; left -= 500) {
          await time.advance(Math.min(left, 500))
          most = Math.max(most, holders())
        }
      }
      let releases: (() => void)[] = []
      const releaseAll = (): void => {
        for (const release of releases) release()
        releases = []
      }
      for (const one of steps) {
        if (one.op === 'wait') await wait(one.ms)
        else if (one.op === 'pause the leader') replicas.find(({ lease }) => lease.held())?.pause()
        else if (one.op === 'pause') replicas[one.who]?.pause()
        else if (one.op === 'resume') replicas[one.who]?.resume()
        else if (one.op === 'fail') kube.fail(one.verb, LEASES, unavailable(), { times: one.times, after: one.after })
        else if (one.op === 'hold') releases.push(kube.hold(one.verb, LEASES))
        else if (one.op === 'step') time.stepWallClock(one.ms)
        else releaseAll()
        await settle()
        most = Math.max(most, holders())
      }
      releaseAll()
      for (const replica of replicas) replica.resume()
      // Faults that are still to come, then a whole takeover.
      await wait(120_000)
      const quiet = holders()
      controller.abort()
      await time.advance(10_000)
      await Promise.all(replicas.map(({ done }) => done))
      return most <= 1 && quiet === 1
    }),
    { numRuns: 60 },
  )
  t.pass('holds')
})
