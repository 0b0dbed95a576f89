import fc from 'fast-check'
import { test } from 'tap'
import { createRecentMap } from '../../src/core/recent-map.ts'

await test('what was set is there, what was deleted is not, and the last value counts', (t) => {
  const map = createRecentMap<number>(4)
  map.set('a', 1)
  map.set('a', 2)
  map.set('b', 3)
  t.strictSame([map.get('a'), map.get('b'), map.get('c')], [2, 3, undefined])
  map.delete('a')
  t.strictSame([map.get('a'), map.get('b')], [undefined, 3])
  map.clear()
  t.equal(map.get('b'), undefined)
  t.end()
})

await test('an older value never comes back', (t) => {
  const map = createRecentMap<string>(4)
  for (const key of ['a', 'b', 'c']) map.set(key, 'old')
  map.set('a', 'new')
  t.equal(map.get('a'), 'new')
  map.delete('a')
  t.equal(map.get('a'), undefined, 'in either table')
  t.end()
})

await test('where entries have a weight, it is the sum of the weights that is bounded', (t) => {
  const map = createRecentMap<number>(20, (value) => value)
  const there = (): string[] => ['a', 'b', 'c', 'd'].filter((key) => map.get(key) !== undefined)
  map.set('a', 6)
  map.set('b', 4)
  t.strictSame(there(), ['a', 'b'])
  map.set('c', 9)
  map.set('d', 2)
  t.strictSame(there(), ['c', 'd'])
  t.end()
})

await test('an entry that is set anew counts once, and one that was deleted does not count', (t) => {
  const map = createRecentMap<number>(20, (value) => value)
  for (let times = 0; times < 9; times += 1) map.set('a', 4)
  for (let times = 0; times < 9; times += 1) {
    map.set('b', 6)
    map.delete('b')
    map.delete('b')
  }
  map.set('c', 6)
  t.strictSame([map.get('a'), map.get('b'), map.get('c')], [4, undefined, 6])
  map.clear()
  for (const key of ['d', 'e', 'f']) map.set(key, 5)
  t.strictSame(['a', 'e', 'd', 'f'].map((key) => map.get(key)), [undefined, 5, 5, 5])
  t.end()
})

interface Entry {
  number: number
  weight: number
}
const count = { weightOf: () => 1, capacities: { min: 2, max: 9 } }
const weights = { weightOf: (key: number) => 1 + (key % 4), capacities: { min: 8, max: 24 } }

for (const [sentence, { weightOf, capacities }] of Object.entries({ 'never more than its capacity': count, 'never more weight than its capacity': weights }))
  await test(`whatever is done, it is a map that forgets: ${sentence}, and always the half that was used last`, (t) => {
    const key = fc.integer({ min: 0, max: 12 })
    const step = fc.record({ do: fc.constantFrom('set' as const, 'get' as const, 'delete' as const), key, number: fc.integer() })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), fc.integer(capacities), (steps, capacity) => {
        const map = createRecentMap<Entry>(capacity, ({ weight }) => weight)
        /** All that was ever set, those used last at the end. */
        const model = new Map<number, Entry>()
        const isRecent = (asked: number): boolean => {
          const last = [...model.keys()]
          const weight = last.slice(last.indexOf(asked)).reduce((sum, one) => sum + weightOf(one), 0)
          return model.has(asked) && weight <= Math.floor(capacity / 2)
        }
        for (const { do: act, key: number, number: value } of steps) {
          if (act === 'delete') {
            map.delete(`k${number}`)
            model.delete(number)
            continue
          }
          if (act === 'set') {
            const entry = { number: value, weight: weightOf(number) }
            map.set(`k${number}`, entry)
            model.delete(number)
            model.set(number, entry)
          }
          const got = map.get(`k${number}`)
          if (got === undefined ? isRecent(number) : got !== model.get(number)) return false
          model.delete(number)
          if (got !== undefined) model.set(number, got)
        }
        const there = [...Array(13).keys()].filter((number) => map.get(`k${number}`) !== undefined)
        return there.reduce((sum, number) => sum + weightOf(number), 0) <= capacity
      }),
      { numRuns: 500 },
    )
    t.pass('for all of them')
    t.end()
  })
