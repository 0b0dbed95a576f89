import { test } from 'tap'
import { CsiError } from '../../src/csi/grpc-status.ts'
import { createPace, createWait, createWaitingRoom, WaitEnded } from '../../src/csi/waiting.ts'
import { fakeTime, settle } from '../support/fake-time.ts'

/** The random numbers at both ends, and in the middle. */
const SPREAD: [number, number][] = [
  [0, 0.9],
  [0.5, 1],
  [1, 1.1],
]

await test('the pace: 50 ms doubling to a second when the answer is expected, every 15 s else, a tenth more or less', (t) => {
  for (const [random, factor] of SPREAD) {
    const pace = createPace(() => random)
    const near = (expected: number[], got: number[]): boolean => t.strictSame(got.map(Math.round), expected.map((ms) => Math.round(ms * factor)))
    near([50, 100, 200, 400, 800, 1_000, 1_000], Array.from({ length: 7 }, () => pace.next(true)))
    near([15_000, 15_000], [pace.next(false), pace.next(false)])
    near([50], [pace.next(true)])
  }
  t.end()
})

const waitWith = (deadlineMs: number) => {
  const time = fakeTime()
  const caller = new AbortController()
  const wait = createWait({ deadline: time.clock.now() + deadlineMs, signal: caller.signal, ...time })
  return { time, caller, wait }
}

await test('a sleep ends with its time, or when something wakes it; a sign that came before counts', async (t) => {
  const { time, wait } = waitWith(120_000)
  const ended: string[] = []
  const sleep = (name: string, ms: number) => wait.sleep(ms).then((goesOn) => ended.push(`${name} ${goesOn}`))
  const first = sleep('first', 1_000)
  await time.advance(999)
  t.strictSame(ended, [])
  await time.advance(1)
  await first
  const second = sleep('second', 1_000)
  await settle()
  wait.wake()
  await second
  wait.wake()
  const third = sleep('third', 1_000)
  await time.advance(50)
  await third
  t.strictSame(ended, ['first true', 'second true', 'third true'])
  t.equal(time.pendingTimers, 0)
})

await test('a storm of signs ends a sleep every 50 ms, and the first one at once', async (t) => {
  const { time, wait } = waitWith(120_000)
  let looks = 0
  const looking = async (): Promise<void> => {
    while (looks < 5) {
      await wait.sleep(15_000)
      looks += 1
    }
  }
  const done = looking()
  const seen: number[] = []
  for (let ms = 0; ms <= 200; ms += 5) {
    wait.wake()
    await time.advance(0)
    if (ms % 50 === 0) seen.push(looks)
    await time.advance(5)
  }
  await done
  t.strictSame(seen, [1, 2, 3, 4, 5])
  t.equal(time.pendingTimers, 0)
})

await test('a wait that ends during the pause between two signs ends at once', async (t) => {
  const { time, wait } = waitWith(120_000)
  wait.wake()
  await wait.sleep(15_000)
  wait.wake()
  const second = wait.sleep(15_000)
  await time.advance(10)
  wait.end(new WaitEnded('ABORTED', 'the volume is being unmounted'))
  await t.rejects(second, { code: 'ABORTED' })
})

await test('time is up ten seconds before the deadline; who is woken looks once more', async (t) => {
  const { time, wait } = waitWith(20_000)
  const sleep = wait.sleep(15_000)
  await time.advance(10_000)
  t.equal(await sleep, false)
  wait.wake()
  t.equal(await wait.sleep(1), false, 'no time is left')
})

await test('a deadline that is near leaves no time to sleep', async (t) => {
  t.equal(await waitWith(9_000).wait.sleep(1), false)
})

await test('the end of the wait ends whatever the call awaits, with the first reason', async (t) => {
  const { caller, wait } = waitWith(120_000)
  const work = wait.or(new Promise(() => undefined))
  const sleep = wait.sleep(1_000)
  wait.end(new WaitEnded('UNAVAILABLE', 'the Pod is gone'))
  caller.abort()
  for (const awaited of [work, sleep, wait.or(Promise.resolve()), wait.sleep(1_000)]) await t.rejects(awaited, { code: 'UNAVAILABLE', message: 'the Pod is gone' })
})

await test('why the caller aborted is what the call ends with', async (t) => {
  const { caller, wait } = waitWith(120_000)
  caller.abort(new CsiError('UNAVAILABLE', 'stopping'))
  await t.rejects(wait.sleep(1), { name: 'WaitEnded', code: 'UNAVAILABLE', message: 'stopping' })
  const aborted = createWait({ deadline: Infinity, signal: AbortSignal.abort(), ...fakeTime() })
  await t.rejects(aborted.or(Promise.resolve()), { code: 'ABORTED' })
  wait.close()
})

await test('a room has so many places; who leaves twice leaves once', (t) => {
  const room = createWaitingRoom(2)
  const leave = room.enter()
  room.enter()
  t.throws(() => room.enter(), { code: 'UNAVAILABLE', message: '2 mounts wait on this node already; kubelet asks again' })
  leave()
  leave()
  t.equal(room.size, 1)
  room.enter()
  t.equal(room.size, 2)
  t.end()
})
