import fc from 'fast-check'
import { test } from 'tap'
import { createSharedAnswers, SHARED_MS } from '../../src/auth/shared-answers.ts'
import { fakeTime } from '../support/fake-time.ts'

await test('however it is asked, nobody hears the answer to an older question than a moment ago, nor to another one', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.record({ key: fc.constantFrom('a', 'b', 'c'), pause: fc.nat(SHARED_MS) }), { maxLength: 40 }), async (visits) => {
      const time = fakeTime()
      const answers = createSharedAnswers<{ key: string; at: number }>(time.timers, () => true)
      for (const { key, pause } of visits) {
        await time.advance(pause)
        const now = time.timers.monotonic()
        const heard = await answers.answer(key, async () => ({ key, at: now }))
        if (heard.key !== key || now - heard.at >= SHARED_MS) return false
      }
      return true
    }),
  )
  t.pass()
})

await test('ten thousand answers are remembered at once and not one more; the half of them that was asked for last always is', async (t) => {
  const answers = createSharedAnswers<number>(fakeTime().timers, () => true)
  let asked = 0
  const ask = async (): Promise<number> => (asked += 1)
  for (let visitor = 0; visitor < 10_001; visitor += 1) await answers.answer(`${visitor}`, ask)
  for (const visitor of [10_000, 7_500, 5_001]) t.equal(await answers.answer(`${visitor}`, ask), visitor + 1)
  t.equal(await answers.answer('0', ask), 10_002, 'the oldest went')
})
