import { test } from 'tap'
import { createVolumeLocks } from '../../src/csi/volume-locks.ts'

const NEVER = new AbortController().signal

/** Something that runs until it is let go. */
const held = () => {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  return { work: () => promise, end: resolve, fail: reject }
}

await test('one thing at a time for a volume, in the order it was asked for; volumes do not wait for each other', async (t) => {
  const locks = createVolumeLocks()
  const order: string[] = []
  const first = held()
  const runs = [
    locks.run('a', NEVER, async () => {
      order.push('a1 begins')
      await first.work()
      order.push('a1 ends')
    }),
    locks.run('a', NEVER, async () => void order.push('a2')),
    locks.run('a', NEVER, async () => void order.push('a3')),
  ]
  await locks.run('b', NEVER, async () => void order.push('b'))
  t.strictSame(order, ['a1 begins', 'b'])
  first.end()
  await Promise.all(runs)
  t.strictSame(order, ['a1 begins', 'b', 'a1 ends', 'a2', 'a3'])
  t.equal(locks.size, 0, 'nothing is kept of volumes that are done')
})

await test('what the work gives or throws comes through, and the next one runs', async (t) => {
  const locks = createVolumeLocks()
  t.equal(await locks.run('a', NEVER, () => Promise.resolve(7)), 7)
  await t.rejects(locks.run('a', NEVER, () => Promise.reject(new Error('on purpose'))), { message: 'on purpose' })
  t.equal(await locks.run('a', NEVER, () => Promise.resolve(8)), 8)
  t.equal(locks.size, 0)
})

await test('who gives up waiting is ABORTED and loses its turn alone', async (t) => {
  const locks = createVolumeLocks()
  const first = held()
  const patience = new AbortController()
  const order: string[] = []
  const one = locks.run('a', NEVER, first.work)
  const two = locks.run('a', patience.signal, async () => void order.push('two'))
  const three = locks.run('a', NEVER, async () => void order.push('three'))
  patience.abort()
  await t.rejects(two, { name: 'CsiError', code: 'ABORTED', message: 'another call for this volume is still running; kubelet asks again' })
  first.end()
  await Promise.all([one, three])
  t.strictSame(order, ['three'])
  t.equal(locks.size, 0)
})

await test('a signal that is aborted already runs nothing; one that comes later does not end the work', async (t) => {
  const locks = createVolumeLocks()
  await t.rejects(locks.run('a', AbortSignal.abort(), () => Promise.reject(new Error('it ran'))), { code: 'ABORTED' })
  const later = new AbortController()
  const first = held()
  const run = locks.run('a', later.signal, async () => {
    await first.work()
    return 'done'
  })
  later.abort()
  first.end()
  t.equal(await run, 'done')
  t.equal(locks.size, 0)
})

await test('a thousand that wait and give up leave nothing', async (t) => {
  const locks = createVolumeLocks()
  const first = held()
  const run = locks.run('a', NEVER, first.work)
  const patience = new AbortController()
  const waiting = Array.from({ length: 1_000 }, () => locks.run('a', patience.signal, () => Promise.resolve()))
  patience.abort()
  const outcomes = await Promise.allSettled(waiting)
  t.ok(outcomes.every(({ status }) => status === 'rejected'))
  first.end()
  await run
  t.equal(locks.size, 0)
})
