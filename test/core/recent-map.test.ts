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

await test('whatever is done, it is a map that forgets: never more than its capacity, and always the half that was used last', (t) => {
  const key = fc.integer({ min: 0, max: 12 }).map((number) => `k${number}`)
  const step = fc.oneof(
    fc.record({ do: fc.constant('set' as const), key, value: fc.integer() }),
    fc.record({ do: fc.constant('get' as const), key }),
    fc.record({ do: fc.constant('delete' as const), key }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), fc.integer({ min: 2, max: 9 }), (steps, capacity) => {
      const map = createRecentMap<number>(capacity)
      /** All that was ever set, those used last at the end. */
      const model = new Map<string, number>()
      for (const next of steps) {
        if (next.do === 'delete') {
          map.delete(next.key)
          model.delete(next.key)
          continue
        }
        if (next.do === 'set') map.set(next.key, next.value)
        const [got, known] = [map.get(next.key), next.do === 'set' ? next.value : model.get(next.key)]
        if (got !== undefined && got !== known) return false
        const isRecent = [...model.keys()].slice(-Math.floor(capacity / 2)).includes(next.key)
        if (isRecent && got === undefined) return false
        model.delete(next.key)
        if (got !== undefined) model.set(next.key, got)
      }
      const there = [...Array(13).keys()].filter((number) => map.get(`k${number}`) !== undefined)
      return there.length <= capacity
    }),
    { numRuns: 500 },
  )
  t.pass('for all of them')
  t.end()
})
