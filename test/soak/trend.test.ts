import { test } from 'tap'
import { createRandom } from './random.ts'
import { limits, secondHalf, slopeOf, type Sample } from './trend.ts'

const every10s = (minutes: number, megabytes: (minute: number, index: number) => number): Sample[] =>
  Array.from({ length: minutes * 6 }, (_, index) => ({ minute: index / 6, megabytes: megabytes(index / 6, index) }))

const rounded = (value: number): number => Math.round(value * 1e6) / 1e6

const SLOPES: Record<string, [samples: Sample[], slope: number]> = {
  'nothing was measured': [[], 0],
  'one moment': [[{ minute: 1, megabytes: 5 }], 0],
  'the same moment twice': [[{ minute: 1, megabytes: 5 }, { minute: 1, megabytes: 9 }], 0],
  'a straight line': [every10s(10, (minute) => 100 + 2 * minute), 2],
  'a line that falls': [every10s(10, (minute) => 100 - minute / 2), -0.5],
  'a level': [every10s(10, () => 80), 0],
}

for (const [title, [samples, slope]] of Object.entries(SLOPES)) await test(`slope: ${title}`, (t) => {
  t.equal(rounded(slopeOf(samples)), slope)
  t.end()
})

await test('what a program takes while it warms up does not count', (t) => {
  const samples = every10s(30, (minute) => (minute < 10 ? 50 + 10 * minute : 150))
  t.equal(rounded(slopeOf(secondHalf(samples, 30))), 0)
  t.ok(slopeOf(samples) > 1)
  t.end()
})

await test('half an hour tells a leak of 1 KB for each of 120 Pods a minute from noise of some megabytes', (t) => {
  const random = createRandom(7)
  const noisy = (leak: number): number => slopeOf(secondHalf(every10s(30, (minute) => 50 + leak * minute + 2 * (random.next() - 0.5)), 30))
  const { heap } = limits(15)
  t.ok(noisy(0) < heap)
  t.ok(noisy(0.123) > heap)
  t.end()
})

const draw = (seed: number): number[] => {
  const random = createRandom(seed)
  return Array.from({ length: 200 }, () => random.between(1, 6))
}

await test('random choices are the same for the same seed, and use all of what is offered', (t) => {
  t.strictSame(draw(1), draw(1))
  t.notSame(draw(1), draw(2))
  t.strictSame([...new Set(draw(1))].toSorted((left, right) => left - right), [1, 2, 3, 4, 5, 6])
  t.end()
})
