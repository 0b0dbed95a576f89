import { inspect } from 'node:util'
import fc from 'fast-check'
import { test } from 'tap'
import { isKid, leastKeys, planRotation, readSigningKeys, SigningKey, type RotationPlan } from '../../src/core/signing-keys.ts'
import { logLines } from '../support/log-lines.ts'

const value = (bytes: number, fill = 7): string => Buffer.alloc(bytes, fill).toString('base64')
const good = value(48)
const dataOf = (...kids: (number | string)[]): Record<string, string> => Object.fromEntries(kids.map((kid) => [`jwt-signing-key-${kid}`, good]))
const kidsOf = (data: Record<string, string> | undefined): string[] => readSigningKeys(data).keys.map(({ kid }) => kid)
const leftOut = (name: string, why: string): string => `the entry ${JSON.stringify(name)} is left out: ${why}`
const BAD_NAME = 'its name must end in unix seconds, as in jwt-signing-key-1767323045'

const READINGS: Record<string, { data: Record<string, string> | undefined; kids: string[]; problems?: string[] }> = {
  'no data': { data: undefined, kids: [] },
  'an empty Secret': { data: {}, kids: [] },
  'kids are compared as numbers, not as texts': { data: dataOf(1_000, 999, 20_000), kids: ['999', '1000', '20000'] },
  'other entries are none of ours': { data: { ...dataOf(5), 'tls.key': 'x', 'JWT-SIGNING-KEY-6': good, __proto__x: 'y' }, kids: ['5'] },
  'a name without digits': { data: { ...dataOf(5), 'jwt-signing-key-x': good }, kids: ['5'], problems: [leftOut('jwt-signing-key-x', BAD_NAME)] },
  'a name with nothing behind': { data: { ...dataOf(5), 'jwt-signing-key-': good }, kids: ['5'], problems: [leftOut('jwt-signing-key-', BAD_NAME)] },
  'leading zeros would be a second name of one number': { data: dataOf('05'), kids: [], problems: [leftOut('jwt-signing-key-05', BAD_NAME)] },
  'a number that is not exact': { data: dataOf('9'.repeat(16)), kids: [], problems: [leftOut(`jwt-signing-key-${'9'.repeat(16)}`, BAD_NAME)] },
  'a negative number, and one with a fraction': {
    data: dataOf('-5', '5.5'),
    kids: [],
    problems: [leftOut('jwt-signing-key--5', BAD_NAME), leftOut('jwt-signing-key-5.5', BAD_NAME)],
  },
  'no base64': { data: { ...dataOf(5), 'jwt-signing-key-6': '%%%' }, kids: ['5'], problems: [leftOut('jwt-signing-key-6', 'its value is no base64')] },
  'too short a key': {
    data: { ...dataOf(5), 'jwt-signing-key-6': value(31), 'jwt-signing-key-7': '', 'jwt-signing-key-8': value(32) },
    kids: ['5', '8'],
    problems: [leftOut('jwt-signing-key-6', 'a key must have at least 32 bytes, it has 31'), leftOut('jwt-signing-key-7', 'a key must have at least 32 bytes, it has 0')],
  },
}

for (const [name, { data, kids, problems = [] }] of Object.entries(READINGS)) {
  await test(`reading a Secret: ${name}`, async (t) => {
    t.same(kidsOf(data), kids)
    t.same(readSigningKeys(data).problems, problems)
  })
}

await test('a key has its kid as a number and its bytes', async (t) => {
  const [key] = readSigningKeys(dataOf(1_767_323_045)).keys
  t.equal(key?.kid, '1767323045')
  t.equal(key?.createdAt, 1_767_323_045)
  t.same(key?.secret, new Uint8Array(48).fill(7))
})

const bytes = (fill: number, length = 48): Uint8Array => new Uint8Array(length).fill(fill)

await test('a key equals another of the same kid and bytes alone', async (t) => {
  const key = new SigningKey('5', bytes(1))
  t.same(
    [new SigningKey('5', bytes(1)), new SigningKey('6', bytes(1)), new SigningKey('5', bytes(2)), new SigningKey('5', bytes(1, 49)), new SigningKey('5', bytes(1, 47))].map((other) => key.equals(other)),
    [true, false, false, false, false],
  )
})

await test('the bytes of a key are in no log line, inspection, JSON or copy of it', async (t) => {
  const secret = Buffer.from('a-very-secret-value-of-forty-eight-bytes-in-all!')
  const key = new SigningKey('1767323045', new Uint8Array(secret))
  const { log, lines } = logLines()
  log.info({ entry: key, nested: { list: [key] } }, 'a line')
  log.warn(key, 'another')
  const texts = [
    JSON.stringify(lines),
    JSON.stringify(key),
    JSON.stringify([Object.assign({}, key)]),
    inspect(key, { depth: 9, showHidden: true, getters: true }),
    inspect({ ring: new Map([['k', key]]) }, { depth: 9 }),
    JSON.stringify(structuredClone(key)),
    JSON.stringify(Object.entries(key)),
  ]
  const forms = [secret.toString('latin1'), secret.toString('base64'), secret.toString('hex'), [...secret].slice(0, 6).join(','), [...secret].slice(0, 6).join(', '), inspect(secret).slice(8, 40)]
  for (const text of texts) for (const form of forms) t.notMatch(text, form)
  t.equal(JSON.stringify(key), '{"kid":"1767323045","createdAt":1767323045}')
})

await test('problems never hold a value', async (t) => {
  fc.assert(
    fc.property(fc.string({ minLength: 8 }).filter((text) => !'jwt-signing-key-5'.includes(text)), (text) => {
      const { problems } = readSigningKeys({ 'jwt-signing-key-5': `!${text}` })
      return problems.length === 1 && !problems.join('').includes(text)
    }),
  )
  t.pass('held')
})

await test('a kid', async (t) => {
  const kids = ['1', '1767323045', '999999999999999', '0', '', '01', ' 1', '1\n', '٣', '1e3', '../1', '9'.repeat(10_000), 5, undefined, null, ['1']]
  t.same(kids.filter(isKid), ['1', '1767323045', '999999999999999'])
})

const NOW = 1_000_000_000
const MINUTE = 60
const ROTATIONS: Record<string, { kids: (number | string)[]; other?: Record<string, string>; keep: number; ttl?: number; plan: RotationPlan }> = {
  'the first key': { kids: [], keep: 3, plan: { add: `${NOW}`, remove: [] } },
  'fewer than are kept': { kids: [NOW - 10], keep: 3, plan: { add: `${NOW}`, remove: [] } },
  'the oldest goes': { kids: [NOW - 30, NOW - 20, NOW - 10], keep: 3, plan: { add: `${NOW}`, remove: [`${NOW - 30}`] } },
  'the oldest as numbers': { kids: [999, 1_000, 20_000], keep: 3, plan: { add: `${NOW}`, remove: ['999'] } },
  'a surplus of several goes at once': { kids: [1, 2, 3, 4, 5], keep: 2, plan: { add: `${NOW}`, remove: ['1', '2', '3', '4'] } },
  'a second run within the same second': { kids: [NOW], keep: 3, plan: { refuse: 'there is an entry of this very second already; a second later it can be done' } },
  'an entry of this second that is no key': { kids: [], other: { [`jwt-signing-key-${NOW}`]: 'short' }, keep: 3, plan: { refuse: 'there is an entry of this very second already; a second later it can be done' } },
  'a key of the future': {
    kids: [NOW - 10, NOW + 1],
    keep: 3,
    plan: { refuse: `the newest key, jwt-signing-key-${NOW + 1}, is dated in the future, so a new one would not be used; set the clock right, or remove that entry` },
  },
  'what is no key of ours stays': { kids: [NOW - 20, NOW - 10], other: { 'jwt-signing-key-x': good, 'jwt-signing-key-9': value(8), 'tls.key': 'x' }, keep: 2, plan: { add: `${NOW}`, remove: [`${NOW - 20}`] } },
  'a key that signed until less than a lifetime ago stays': { kids: [NOW - 62 * MINUTE, NOW - 60 * MINUTE, NOW - 2 * MINUTE], keep: 2, ttl: 60, plan: { add: `${NOW}`, remove: [] } },
  'one whose last token has expired goes': { kids: [NOW - 80 * MINUTE, NOW - 61 * MINUTE, NOW - 2 * MINUTE], keep: 2, ttl: 60, plan: { add: `${NOW}`, remove: [`${NOW - 80 * MINUTE}`] } },
  'runs by hand in a row log nobody out': { kids: [NOW - 90 * MINUTE, NOW - 3, NOW - 2, NOW - 1], keep: 2, ttl: 60, plan: { add: `${NOW}`, remove: [] } },
}

for (const [name, { kids, other = {}, keep, ttl, plan }] of Object.entries(ROTATIONS)) {
  await test(`a rotation: ${name}`, async (t) => {
    t.same(planRotation({ data: { ...dataOf(...kids), ...other }, now: NOW * 1000 + 999, keep, ...(ttl === undefined ? {} : { tokenTtlMs: ttl * MINUTE * 1000 }) }), plan)
  })
}

await test('the fewest keys for a lifetime and an interval', async (t) => {
  const cases: [ttl: number, interval: number, keys: number][] = [[60, 15, 5], [60, 14, 6], [5, 15, 2], [1, 1_440, 2], [720, 15, 49]]
  t.same(cases.map(([ttl, interval]) => leastKeys(ttl, interval)), cases.map(([, , keys]) => keys))
})

await test('whatever is rotated: what is removed are the oldest, enough stay, and no token of a regular rotation loses its key', async (t) => {
  const kids = fc.uniqueArray(fc.integer({ min: 1, max: NOW - 1 }), { maxLength: 12 })
  fc.assert(
    fc.property(kids, fc.integer({ min: 2, max: 12 }), fc.option(fc.integer({ min: 1, max: NOW }), { nil: undefined }), (present, keep, ttlSeconds) => {
      const plan = planRotation({ data: dataOf(...present), now: NOW * 1000, keep, ...(ttlSeconds === undefined ? {} : { tokenTtlMs: ttlSeconds * 1000 }) })
      if ('refuse' in plan) return false
      const sorted = present.toSorted((a, b) => a - b).map(String)
      const left = present.length + 1 - plan.remove.length
      return JSON.stringify(plan.remove) === JSON.stringify(sorted.slice(0, plan.remove.length)) && left >= Math.min(keep, present.length + 1) && (ttlSeconds !== undefined || left <= keep)
    }),
  )
  fc.assert(
    fc.property(fc.integer({ min: 60, max: 86_400 }), fc.integer({ min: 60, max: 86_400 }), fc.integer({ min: 0, max: 10 }), (ttl, interval, delay) => {
      let data: Record<string, string> = {}
      for (let round = 0; round < 40; round += 1) {
        const now = NOW + round * interval
        const plan = planRotation({ data, now: now * 1000, keep: leastKeys(ttl, interval), tokenTtlMs: ttl * 1000 })
        if ('refuse' in plan) return false
        for (const kid of plan.remove) {
          // It signed until its successor had been known for `delay`; the last of its tokens must have expired.
          const successor = kidsOf(data).map(Number).find((other) => other > Number(kid)) ?? now
          if (successor + delay + ttl > now) return false
        }
        data = Object.fromEntries(Object.entries({ ...data, ...dataOf(plan.add) }).filter(([name]) => !plan.remove.includes(name.slice('jwt-signing-key-'.length))))
      }
      // Bounded all the same.
      return kidsOf(data).length <= leastKeys(ttl, interval) + 2
    }),
    { numRuns: 30 },
  )
  t.pass('held')
})
