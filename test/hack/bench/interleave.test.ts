import { test } from 'tap'
import { interleave, ratiosOf } from '../../../hack/bench/interleave.ts'

await test('everyone is measured once a round, and each round another one begins', async (t) => {
  const order: string[] = []
  const results = await interleave(['a', 'b', 'c'], 4, async (name, round) => {
    order.push(`${name}${round}`)
    return order.length
  })
  t.strictSame(order, ['a0', 'b0', 'c0', 'b1', 'c1', 'a1', 'c2', 'a2', 'b2', 'a3', 'b3', 'c3'])
  t.strictSame(results, new Map([['a', [1, 6, 8, 10]], ['b', [2, 4, 9, 11]], ['c', [3, 5, 7, 12]]]))
})

await test('one is measured after the other, never two at once', async (t) => {
  let running = 0
  let most = 0
  await interleave([1, 2], 3, async () => {
    running += 1
    most = Math.max(most, running)
    await Promise.resolve()
    running -= 1
  })
  t.equal(most, 1)
})

await test('a measurement that fails ends it', async (t) => {
  await t.rejects(interleave(['a'], 2, async () => Promise.reject(new Error('no answer'))), new Error('no answer'))
})

await test('ratios are taken round by round', async (t) => {
  t.strictSame(ratiosOf([10, 30], [5, 10]), [2, 3])
  t.throws(() => ratiosOf([1, 2], [1]), { message: '2 rounds cannot be compared with 1' })
})
