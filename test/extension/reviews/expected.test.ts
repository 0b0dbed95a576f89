import { test } from 'tap'
import { createExpected } from '../../../src/extension/reviews/expected.ts'

await test('what was answered with yes is expected until it is answered with no', (t) => {
  const expected = createExpected(10)
  t.notOk(expected.has('a'), 'never asked')
  expected.note('a', false)
  t.notOk(expected.has('a'))
  expected.note('a', true)
  expected.note('b', true)
  t.ok(expected.has('a'))
  expected.note('a', false)
  t.notOk(expected.has('a'))
  t.ok(expected.has('b'))
  t.end()
})

await test('only so many are kept', (t) => {
  const expected = createExpected(3)
  for (const key of ['a', 'b', 'c', 'a', 'd', 'e']) expected.note(key, true)
  t.strictSame(['a', 'b', 'c', 'd', 'e'].filter((key) => expected.has(key)), ['c', 'd', 'e'])
  t.end()
})
