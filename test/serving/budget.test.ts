import { test } from 'tap'
import { createBudget } from '../../src/serving/budget.ts'

await test('what does not fit is refused, and what is given back is there again, once', (t) => {
  const budget = createBudget(10)
  const six = budget.take(6)
  t.equal(budget.take(5), undefined)
  const four = budget.take(4)
  t.type(four, 'function')
  six?.()
  six?.()
  t.equal(budget.take(7), undefined, 'given back twice is given back once')
  t.type(budget.take(6), 'function')
  t.end()
})
