import { test } from 'tap'
import { parseGoDuration } from '../../src/core/go-duration.ts'

const CASES: Record<string, number | undefined> = {
  '30m': 1_800_000,
  '1h30m': 5_400_000,
  '1.5h': 5_400_000,
  '90s': 90_000,
  '1500ms': 1500,
  '1m1m': 120_000,
  '': undefined,
  '30': undefined,
  'm': undefined,
  '30 m': undefined,
  '-30m': undefined,
  '30min': undefined,
  '1d': undefined,
  '1.h': undefined,
  '99999999999h': undefined,
  ['1m'.repeat(40)]: undefined,
}

for (const [text, milliseconds] of Object.entries(CASES)) {
  await test(`the duration ${JSON.stringify(text)}`, async (t) => {
    t.equal(parseGoDuration(text), milliseconds)
  })
}
