import fc from 'fast-check'
import { test } from 'tap'
import { decodeBase32, encodeBase32 } from '../../src/core/base32.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

await test('base32 as RFC 4648 has it, without padding', (t) => {
  const known = { '': '', 'f': 'my', 'fo': 'mzxq', 'foo': 'mzxw6', 'foob': 'mzxw6yq', 'fooba': 'mzxw6ytb', 'foobar': 'mzxw6ytboi', 'default': 'mrswmylvnr2a' }
  for (const [plain, encoded] of Object.entries(known)) {
    t.equal(encodeBase32(bytes(plain)), encoded)
    t.strictSame(decodeBase32(encoded), bytes(plain))
    t.strictSame(decodeBase32(encoded.toUpperCase()), bytes(plain))
  }
  t.end()
})

await test('text that no bytes are written as', (t) => {
  for (const text of ['m', 'mzx', 'mzxw6y', 'mz', 'my======', '0', '1', '8', 'm-y', 'mrswmylvnr2b']) t.equal(decodeBase32(text), undefined, text)
  t.end()
})

await test('whatever is decoded is encoded to the same text', (t) => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (given) => t.strictSame(decodeBase32(encodeBase32(given)), given)), { numRuns: 200 })
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('a', 'b', 'x', 'y', 'z', '2', '4', '7'), maxLength: 12 }), (text) => {
      const decoded = decodeBase32(text)
      return decoded === undefined || encodeBase32(decoded) === text
    }),
  )
  t.end()
})
