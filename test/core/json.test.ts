import fc from 'fast-check'
import { test } from 'tap'
import { sameJson } from '../../src/core/json.ts'

const PAIRS: Record<string, { a: unknown; b: unknown; is: boolean }> = {
  'equal text': { a: 'x', b: 'x', is: true },
  'other text': { a: 'x', b: 'y', is: false },
  'a number and its text': { a: 1, b: '1', is: false },
  'null and nothing': { a: null, b: undefined, is: false },
  'null and an object': { a: null, b: {}, is: false },
  'null and null': { a: null, b: null, is: true },
  'keys in another order': { a: { x: 1, y: { z: [1, 2] } }, b: { y: { z: [1, 2] }, x: 1 }, is: true },
  'a key that is undefined is not there': { a: { x: 1, y: undefined }, b: { x: 1 }, is: true },
  'a key that is undefined and another key': { a: { x: undefined, y: 1 }, b: { x: 1, y: 1 }, is: false },
  'a key that is null is there': { a: { x: null }, b: {}, is: false },
  'a key more': { a: { x: 1 }, b: { x: 1, y: 2 }, is: false },
  'a key less': { a: { x: 1, y: 2 }, b: { x: 1 }, is: false },
  'as many keys with other names': { a: { x: 1 }, b: { y: 1 }, is: false },
  'a value deep inside': { a: { x: [{ y: 1 }] }, b: { x: [{ y: 2 }] }, is: false },
  'a list in another order': { a: [1, 2], b: [2, 1], is: false },
  'a longer list': { a: [1], b: [1, 2], is: false },
  'an empty list and an empty object': { a: [], b: {}, is: false },
  'a list and an object with its indexes': { a: ['x'], b: { 0: 'x' }, is: false },
  'an empty object and nothing': { a: {}, b: undefined, is: false },
}
for (const [name, { a, b, is }] of Object.entries(PAIRS)) {
  await test(`${name}: ${is ? 'the same' : 'not the same'}`, async (t) => {
    t.equal(sameJson(a, b), is)
    t.equal(sameJson(b, a), is)
  })
}

await test('values nested deeper than the stack are compared all the same', async (t) => {
  const LEVELS = 100_000
  const nested = (inside: unknown): unknown => {
    let value = inside
    for (let level = 0; level < LEVELS; level += 1) value = level % 2 === 0 ? [value] : { a: value }
    return value
  }
  t.equal(sameJson(nested(1), nested(1)), true)
  t.equal(sameJson(nested(1), nested(2)), false)
})

/** JSON with sorted keys. */
const canonical = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const entries = Object.entries(value).toSorted(([left], [right]) => (left < right ? -1 : 1))
  return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`).join()}}`
}

await test('a value is the same as what the wire makes of it', async (t) => {
  fc.assert(fc.property(fc.jsonValue(), (value) => sameJson(value, JSON.parse(JSON.stringify(value)))))
  t.pass()
})

await test('values are the same as little as their text is', async (t) => {
  const small = fc.jsonValue({ maxDepth: 2 })
  fc.assert(fc.property(small, small, (a, b) => sameJson(a, b) === (canonical(a) === canonical(b))))
  t.pass()
})
