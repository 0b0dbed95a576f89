import { test } from 'tap'
import { createRecentAnswers } from '../../webhooks/recent-answers.ts'
import { fakeTime } from '../support/fake-time.ts'

interface Asked {
  ask: () => Promise<boolean>
  readonly times: number
}

const asking = (...answers: (boolean | Error)[]): Asked => {
  let times = 0
  return {
    ask: async () => {
      const answer = answers[Math.min(times, answers.length - 1)]
      times += 1
      if (answer === undefined || answer instanceof Error) throw answer ?? new Error('nothing to answer')
      return answer
    },
    get times() {
      return times
    },
  }
}

await test('the answer that is kept is asked for once in a second', async (t) => {
  const time = fakeTime()
  const recent = createRecentAnswers(time.timers)
  const asked = asking(true, false)
  t.strictSame([await recent.answer('a', true, asked.ask), await recent.answer('a', true, asked.ask)], [true, true])
  await time.advance(999)
  t.strictSame([await recent.answer('a', true, asked.ask), asked.times], [true, 1])
  await time.advance(1)
  t.strictSame([await recent.answer('a', true, asked.ask), asked.times], [false, 2])
})

await test('the other answer is asked for again', async (t) => {
  const recent = createRecentAnswers(fakeTime().timers)
  const asked = asking(true, false, true)
  t.strictSame([await recent.answer('a', false, asked.ask), await recent.answer('a', false, asked.ask), await recent.answer('a', false, asked.ask)], [true, false, false])
  t.equal(asked.times, 2)
})

await test('a failure is told to all who wait for it, and asked again by the next', async (t) => {
  const recent = createRecentAnswers(fakeTime().timers)
  const asked = asking(new Error('away'), true)
  const outcomes = await Promise.allSettled([recent.answer('a', true, asked.ask), recent.answer('a', true, asked.ask)])
  t.strictSame(outcomes.map(({ status }) => status), ['rejected', 'rejected'])
  t.strictSame([asked.times, await recent.answer('a', true, asked.ask), asked.times], [1, true, 2])
})

await test('each question has an answer of its own', async (t) => {
  const recent = createRecentAnswers(fakeTime().timers)
  t.strictSame(await Promise.all([recent.answer('a', true, asking(true).ask), recent.answer('b', true, asking(false).ask)]), [true, false])
})

await test('the thousand answers that were asked for last are kept, and no more than twice as many', async (t) => {
  const recent = createRecentAnswers(fakeTime().timers)
  let asked = 0
  const ask = async (): Promise<boolean> => {
    asked += 1
    return true
  }
  for (let index = 0; index <= 2_000; index += 1) await recent.answer(`pod-${index}`, true, ask)
  for (const index of [2_000, 1_500, 1_001]) await recent.answer(`pod-${index}`, true, ask)
  t.equal(asked, 2_001)
  await recent.answer('pod-0', true, ask)
  t.equal(asked, 2_002)
})
