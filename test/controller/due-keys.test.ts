import fc from 'fast-check'
import { test } from 'tap'
import { DueKeys } from '../../src/controller/due-keys.ts'

await test('keys come out in the order of their earliest times, whatever came in', async (t) => {
  const step = fc.oneof(
    fc.record({ add: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'), at: fc.nat(50) }),
    fc.record({ take: fc.nat(60) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const due = new DueKeys()
      const model = new Map<string, number>()
      for (const one of steps) {
        if ('add' in one) {
          due.add(one.add, one.at)
          model.set(one.add, Math.min(one.at, model.get(one.add) ?? Number.POSITIVE_INFINITY))
        } else {
          const expected = [...model].filter(([, at]) => at <= one.take)
          const taken = due.takeUntil(one.take)
          const times = taken.map((key) => model.get(key))
          if (JSON.stringify(times) !== JSON.stringify(times.toSorted((a, b) => (a ?? 0) - (b ?? 0)))) return false
          if (JSON.stringify(taken.toSorted()) !== JSON.stringify(expected.map(([key]) => key).toSorted())) return false
          for (const key of taken) model.delete(key)
        }
        if (due.size !== model.size) return false
        if (due.earliest !== (model.size === 0 ? undefined : Math.min(...model.values()))) return false
      }
      return true
    }),
  )
  t.pass('the model agrees')
})
