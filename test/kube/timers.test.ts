import fc from 'fast-check'
import { test } from 'tap'
import { backoffMs, sleep, systemTimers, withDeadline } from '../../src/kube/timers.ts'
import { microTime } from '../../src/kube/micro-time.ts'
import { fakeTime, settle } from '../support/fake-time.ts'

await test('a sleep ends after its time or at an abort, and leaves no timer', async (t) => {
  const time = fakeTime()
  const controller = new AbortController()
  const ended: string[] = []
  const sleeps = [
    sleep(time.timers, 100).then(() => ended.push('time')),
    sleep(time.timers, 1_000, controller.signal).then(() => ended.push('abort')),
    sleep(time.timers, 1_000, AbortSignal.abort()).then(() => ended.push('aborted before')),
  ]
  await settle()
  t.same([ended, time.pendingTimers], [['aborted before'], 2])
  await time.advance(100)
  controller.abort()
  await Promise.all(sleeps)
  t.same([ended, time.pendingTimers], [['aborted before', 'time', 'abort'], 0])
})

const late = (): Error => new Error('late')
await test('a deadline gives the outcome or its own error, and leaves no timer', async (t) => {
  const time = fakeTime()
  t.equal(await withDeadline(time.timers, 10, Promise.resolve('done'), late), 'done')
  await t.rejects(withDeadline(time.timers, 10, Promise.reject(new Error('broken')), late), { message: 'broken' })
  const slow = Promise.withResolvers<string>()
  const call = t.rejects(withDeadline(time.timers, 10, slow.promise, late), { message: 'late' })
  await time.advance(10)
  await call
  slow.reject(new Error('nobody hears this'))
  await settle()
  t.equal(time.pendingTimers, 0)
})

const at = (failures: number, random: number): number => backoffMs(failures, { baseMs: 50, capMs: 30_000, random: () => random })
await test('a backoff doubles up to its cap, half of it random', async (t) => {
  t.same([at(0, 1), at(1, 1), at(5, 1), at(10, 1), at(10_000, 1), at(3, 0)], [50, 100, 1_600, 30_000, 30_000, 200])
  fc.assert(
    fc.property(fc.nat(200), fc.double({ min: 0, max: 1, noNaN: true }), (failures, random) => {
      const ms = at(failures, random)
      return ms >= 25 && ms <= 30_000
    }),
  )
})

await test('the system\'s timers fire once, can be cancelled, and take delays longer than 32 bits', async (t) => {
  const { promise, resolve } = Promise.withResolvers<void>()
  let wrong = 0
  systemTimers.after(1, () => {
    wrong += 1
  })()
  const cancel = systemTimers.after(2 ** 40, () => {
    wrong += 1
  })
  systemTimers.after(-5, resolve)
  await promise
  const before = systemTimers.monotonic()
  await sleep(systemTimers, 5)
  cancel()
  t.equal(wrong, 0)
  t.ok(systemTimers.monotonic() > before)
})

await test('a MicroTime has six digits', async (t) => {
  t.equal(microTime(Date.parse('2026-01-02T03:04:05.6Z')), '2026-01-02T03:04:05.600000Z')
})
