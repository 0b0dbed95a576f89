import { test } from 'tap'
import fc from 'fast-check'
import { median, medianInterval, spreadNote, spreadOf } from '../../../hack/bench/statistics.ts'

const medians: Record<string, { values: number[]; want: number }> = {
  'the only one': { values: [7], want: 7 },
  'the middle one, whatever the order': { values: [9, 1, 5], want: 5 },
  'the mean of the two in the middle': { values: [4, 1, 9, 2], want: 3 },
  'numbers below zero are ordered as numbers': { values: [-10, -9, 3], want: -9 },
}

for (const [title, { values, want }] of Object.entries(medians)) {
  await test(`median: ${title}`, async (t) => t.equal(median(values), want))
}

await test('the spread names the median, the least and the most', async (t) => {
  t.strictSame(spreadOf([3, 1, 2]), { median: 2, least: 1, most: 3 })
})

await test('the note of a figure says the spread and of how many', async (t) => {
  t.equal(spreadNote([3.06, 1, 2], 1), '1.0 to 3.1 in 3 rounds')
  t.equal(spreadNote([240.4], 0, 'starts'), '240 to 240 in 1 starts')
})

await test('nothing measured, or something that is no number, is an error and not a figure', async (t) => {
  t.throws(() => median([]), { message: 'nothing was measured' })
  t.throws(() => spreadOf([1, Number.NaN]), { message: 'a measured value is no number: 1, NaN' })
  t.throws(() => medianInterval([Number.POSITIVE_INFINITY]), { message: /no number/ })
})

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1)

// The order statistics that a table of the sign test gives for 95 %.
const intervals: Record<string, { count: number; low: number; high: number }> = {
  'of one value it is that value': { count: 1, low: 1, high: 1 },
  'of five it is all there is': { count: 5, low: 1, high: 5 },
  'of six the least and the most': { count: 6, low: 1, high: 6 },
  'of nine without one on each side': { count: 9, low: 2, high: 8 },
  'of twelve without two on each side': { count: 12, low: 3, high: 10 },
  'of thirty without nine on each side': { count: 30, low: 10, high: 21 },
}

for (const [title, { count, low, high }] of Object.entries(intervals)) {
  await test(`interval of the median: ${title}`, async (t) => t.strictSame(medianInterval(upTo(count).toReversed()), { low, high }))
}

await test('the interval holds the median, and is as wide or narrower than all values', async (t) => {
  const numbers = fc.array(fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e9, max: 1e9 }), { minLength: 1, maxLength: 60 })
  fc.assert(
    fc.property(numbers, (values) => {
      const { low, high } = medianInterval(values)
      const { least, most } = spreadOf(values)
      return least <= low && low <= median(values) && median(values) <= high && high <= most
    }),
  )
  t.pass('for every list of numbers')
})
