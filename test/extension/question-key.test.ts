import { test } from 'tap'
import { questionKey } from '../../src/extension/question-key.ts'

const long = (end: string): string[] => Array.from({ length: 2_000 }, (_, index) => `group-${index}${end}`)

await test('no two questions have the same key, and no key is long', (t) => {
  const questions: unknown[][] = [[], [''], ['a', 'b'], ['ab'], ['a,b'], [['a', 'b']], [['a'], 'b'], [null], ['null'], [{ a: ['b'] }], [long('')], [long('x')], ['a', long('')], [long(''), 'a']]
  const keys = questions.map((parts) => questionKey(...parts))
  t.equal(new Set(keys).size, questions.length)
  t.ok(keys.every(({ length }) => length <= 512))
  t.equal(questionKey('a', long('')), questionKey('a', long('')))
  t.end()
})
