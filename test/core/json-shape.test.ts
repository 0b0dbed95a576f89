import { test } from 'tap'
import { isRecord, own, shown } from '../../src/core/json-shape.ts'

const SHOWN: Record<string, { value: unknown; text: string }> = {
  'text is quoted': { value: 'a"b\n', text: '"a\\"b\\n"' },
  'long text is cut': { value: 'a'.repeat(100), text: `"${'a'.repeat(80)}…"` },
  'a number': { value: 1.5, text: '1.5' },
  'a truth value': { value: false, text: 'false' },
  'null': { value: null, text: 'null' },
  'a list': { value: [1], text: 'a list' },
  'an object': { value: {}, text: 'an object' },
  'nothing': { value: undefined, text: 'nothing' },
}

for (const [name, { value, text }] of Object.entries(SHOWN)) {
  await test(`a value in a message: ${name}`, async (t) => {
    t.equal(shown(value), text)
  })
}

await test('only own properties of objects are read', async (t) => {
  t.equal(own({ a: 1 }, 'a'), 1)
  t.equal(own({}, 'constructor'), undefined)
  t.equal(own(['x'], '0'), undefined)
  t.equal(own(null, 'a'), undefined)
  t.strictSame([{}, [], null, 'a', undefined].map(isRecord), [true, false, false, false, false])
})
