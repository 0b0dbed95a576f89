import { test } from 'tap'
import { firstProblems, problemAt, problemText } from '../../src/core/problem.ts'

await test('a problem reads as path and sentence', async (t) => {
  t.equal(problemText({ path: 'spec.subject.kind', message: 'must be "ServiceAccount"; got "User"' }), 'spec.subject.kind: must be "ServiceAccount"; got "User"')
})

await test('only a message makes a problem', async (t) => {
  t.strictSame(problemAt('spec', undefined), [])
  t.strictSame(problemAt('spec', 'is required'), [{ path: 'spec', message: 'is required' }])
})

await test('a long list is cut to twenty, and says how many more there are', async (t) => {
  const many = Array.from({ length: 25 }, (_, index) => ({ path: `spec.x[${index}]`, message: 'is wrong' }))
  t.strictSame(firstProblems(many.slice(0, 20), 'spec'), many.slice(0, 20))
  t.strictSame(firstProblems(many, 'spec'), [...many.slice(0, 20), { path: 'spec', message: 'has 5 more problems that are not shown' }])
})
