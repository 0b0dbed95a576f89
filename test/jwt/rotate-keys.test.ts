import fc from 'fast-check'
import { test } from 'tap'
import { readSigningKeys } from '../../src/core/signing-keys.ts'
import { CodedError } from '../../src/errors.ts'
import { rotateKeysOptions, runRotateKeys, type RotateKeysOptions, type RotateKeysSettings, type Rotation } from '../../src/jwt/rotate-keys.ts'
import { SECRETS } from '../../src/kube/resources.ts'
import { fakeTime, type FakeTime } from '../support/fake-time.ts'
import { logLines, type LogLines } from '../support/log-lines.ts'
import { memoryKube, type MemoryKube } from '../support/memory-kube.ts'
import { outcome } from '../support/outcome.ts'

const START = Date.parse('2026-01-02T03:04:05Z')
const SECONDS = START / 1000
const good = Buffer.alloc(48, 7).toString('base64')
const dataOf = (...kids: (number | string)[]): Record<string, string> => Object.fromEntries(kids.map((kid) => [`jwt-signing-key-${kid}`, good]))
const PLACE = { SECRET_NAME: 'keys', SECRET_NAMESPACE: 'connectors-system' }

const SETTINGS: Record<string, { settings: RotateKeysSettings; result: Partial<RotateKeysOptions> | string }> = {
  'the default': { settings: {}, result: { keep: 6, dryRun: false } },
  'empty settings count as unset': { settings: { NUMBER_OF_KEYS: '', TOKEN_TTL: '', ROTATION_INTERVAL: ' ', DRY_RUN: '' }, result: { keep: 6, dryRun: false } },
  'a number of keys': { settings: { NUMBER_OF_KEYS: '3', DRY_RUN: 'true' }, result: { keep: 3, dryRun: true } },
  'a lifetime and an interval': { settings: { TOKEN_TTL: '1h', ROTATION_INTERVAL: '15m' }, result: { keep: 5, tokenTtlMs: 3_600_000, dryRun: false } },
  'an interval that does not fit evenly': { settings: { TOKEN_TTL: '1h', ROTATION_INTERVAL: '25m', DRY_RUN: '0' }, result: { keep: 4, tokenTtlMs: 3_600_000, dryRun: false } },
  'a number that is enough': { settings: { NUMBER_OF_KEYS: '8', TOKEN_TTL: '1h', ROTATION_INTERVAL: '15m', DRY_RUN: 'T' }, result: { keep: 8, tokenTtlMs: 3_600_000, dryRun: true } },
  'a number that is too small for the lifetime': {
    settings: { NUMBER_OF_KEYS: '4', TOKEN_TTL: '1h', ROTATION_INTERVAL: '15m' },
    result: 'CONFIG_INVALID: NUMBER_OF_KEYS is 4, and tokens of this TOKEN_TTL need 5 keys at this ROTATION_INTERVAL: leave it out, or set it to 5 or more',
  },
  'no name': { settings: { SECRET_NAME: '' }, result: 'CONFIG_INVALID: SECRET_NAME must be set: it says which Secret holds the signing keys' },
  'no namespace': { settings: { SECRET_NAMESPACE: undefined }, result: 'CONFIG_INVALID: SECRET_NAMESPACE must be set: it says which Secret holds the signing keys' },
  'no number': { settings: { NUMBER_OF_KEYS: 'six' }, result: 'CONFIG_INVALID: NUMBER_OF_KEYS must be a whole number from 2 to 1000' },
  'no key at all': { settings: { NUMBER_OF_KEYS: '0' }, result: 'CONFIG_INVALID: NUMBER_OF_KEYS must be a whole number from 2 to 1000' },
  'one key': { settings: { NUMBER_OF_KEYS: '1' }, result: 'CONFIG_INVALID: NUMBER_OF_KEYS must be a whole number from 2 to 1000' },
  'more than a Secret holds': { settings: { NUMBER_OF_KEYS: '1001' }, result: 'CONFIG_INVALID: NUMBER_OF_KEYS must be a whole number from 2 to 1000' },
  'a lifetime alone': { settings: { TOKEN_TTL: '1h' }, result: 'CONFIG_INVALID: TOKEN_TTL and ROTATION_INTERVAL belong together: set both, or NUMBER_OF_KEYS alone' },
  'an interval alone': { settings: { ROTATION_INTERVAL: '1h', NUMBER_OF_KEYS: '3' }, result: 'CONFIG_INVALID: TOKEN_TTL and ROTATION_INTERVAL belong together: set both, or NUMBER_OF_KEYS alone' },
  'a lifetime without a unit': { settings: { TOKEN_TTL: '60', ROTATION_INTERVAL: '15m' }, result: 'CONFIG_INVALID: TOKEN_TTL must be a duration such as 15m or 1h30m' },
  'an interval of nothing': { settings: { TOKEN_TTL: '1h', ROTATION_INTERVAL: '0s' }, result: 'CONFIG_INVALID: ROTATION_INTERVAL must be a duration such as 15m or 1h30m' },
  'far too many': { settings: { TOKEN_TTL: '24h', ROTATION_INTERVAL: '1s' }, result: 'CONFIG_INVALID: TOKEN_TTL and ROTATION_INTERVAL ask for 86401 keys, and a Secret is to hold 1000 at most: rotate less often' },
  'neither true nor false': { settings: { DRY_RUN: 'maybe' }, result: 'CONFIG_INVALID: DRY_RUN must be true or false' },
}
for (const [name, { settings, result }] of Object.entries(SETTINGS)) {
  await test(`the settings of a rotation: ${name}`, async (t) => {
    t.strictSame(outcome(() => rotateKeysOptions({ ...PLACE, ...settings })), typeof result === 'string' ? result : { namespace: 'connectors-system', secretName: 'keys', ...result })
  })
}

await test('a name that is none is refused', async (t) => {
  t.throws(() => rotateKeysOptions({ ...PLACE, SECRET_NAME: '../keys' }), { code: 'CONFIG_INVALID', message: /^SECRET_NAME must be/ })
})

interface Bench extends LogLines {
  kube: MemoryKube
  time: FakeTime
  run: (change?: Partial<RotateKeysOptions>) => Promise<Rotation>
  data: () => Record<string, string> | undefined
}

const bench = (data?: Record<string, string>): Bench => {
  const time = fakeTime(START)
  const kube = memoryKube({ now: () => time.clock.now() })
  const lines = logLines()
  let made = 0
  const randomBytes = (bytes: number): Uint8Array => {
    made += 1
    return new Uint8Array(bytes).fill(100 + made)
  }
  kube.put(SECRETS, { metadata: { name: 'keys', namespace: 'ns', labels: { mine: 'yes' } }, type: 'Opaque', ...(data === undefined ? {} : { data }) })
  return {
    ...lines,
    kube,
    time,
    run: (change = {}) => runRotateKeys({ namespace: 'ns', secretName: 'keys', keep: 3, dryRun: false, ...change }, { reader: kube, writer: kube }, { clock: time.clock, logger: lines.log, randomBytes }),
    data: () => kube.all(SECRETS, 'ns')[0]?.data,
  }
}
const kidsOf = (data: Record<string, string> | undefined): string[] => readSigningKeys(data).keys.map(({ kid }) => kid)

await test('an empty Secret gets a key of 48 bytes, named by the second', async (t) => {
  const { run, data, kube, messages } = bench()
  t.strictSame(await run(), { added: [`${SECONDS}`], removed: [], keys: 1 })
  t.strictSame(data(), { [`jwt-signing-key-${SECONDS}`]: Buffer.alloc(48, 101).toString('base64') })
  t.match(kube.all(SECRETS, 'ns'), [{ metadata: { labels: { mine: 'yes' } }, type: 'Opaque' }])
  t.same(messages(), [`info added ${SECONDS}, removed none; keys: 1`])
})

await test('the oldest goes, what is not ours stays, and what is malformed is named', async (t) => {
  const others = { 'tls.crt': 'eA==', 'jwt-signing-key-x': good, 'jwt-signing-key-9': 'c2hvcnQ=' }
  const { run, data, lines } = bench({ ...dataOf(SECONDS - 30, SECONDS - 20, SECONDS - 10, 999), ...others })
  t.strictSame(await run(), { added: [`${SECONDS}`], removed: ['999', `${SECONDS - 30}`], keys: 3 })
  t.strictSame(data(), { ...dataOf(SECONDS - 20, SECONDS - 10), ...others, [`jwt-signing-key-${SECONDS}`]: Buffer.alloc(48, 101).toString('base64') })
  t.match(lines, [
    { level: 'warn', object: 'ns/keys', problem: /^the entry "jwt-signing-key-x" is left out/, msg: 'an entry is no signing key and stays as it is' },
    { level: 'warn', problem: /^the entry "jwt-signing-key-9" is left out/ },
    { level: 'info', object: 'ns/keys', msg: `added ${SECONDS}, removed 999, ${SECONDS - 30}; keys: 3` },
  ])
})

await test('each rotation has a key of its own', async (t) => {
  const { run, data, time } = bench()
  for (let round = 0; round < 5; round += 1) {
    await run()
    await time.advance(60_000)
  }
  t.same(kidsOf(data()), [SECONDS + 120, SECONDS + 180, SECONDS + 240].map(String))
  t.equal(new Set(Object.values(data() ?? {})).size, 3)
})

await test('a second run in the same second changes nothing', async (t) => {
  const { run, data, kube } = bench()
  await run()
  const before = data()
  await t.rejects(run(), { code: 'ROTATION_REFUSED', message: 'the keys of Secret ns/keys were not rotated: there is an entry of this very second already; a second later it can be done' })
  t.strictSame(data(), before)
  t.equal(kube.writes().length, 1)
})

await test('a dry run says what it would do, and writes nothing', async (t) => {
  const { run, data, kube, messages } = bench(dataOf(1, 2, 3))
  t.strictSame(await run({ dryRun: true }), { added: [`${SECONDS}`], removed: ['1'], keys: 3 })
  t.strictSame(data(), dataOf(1, 2, 3))
  t.same(kube.writes(), [])
  t.same(messages(), [`info dry run, nothing was written: added ${SECONDS}, removed 1; keys: 3`])
})

await test('no key is in what is logged', async (t) => {
  const { run, data, lines } = bench({ ...dataOf(1, 2, 3), 'jwt-signing-key-y': good })
  await run()
  const text = JSON.stringify(lines)
  for (const value of Object.values(data() ?? {})) t.notMatch(text, value)
})

await test('a write that comes in between is not lost: it is read again', async (t) => {
  const { run, data, kube } = bench(dataOf(1, 2))
  const release = kube.hold('replace', SECRETS)
  const running = run()
  await new Promise(setImmediate)
  kube.put(SECRETS, { metadata: { name: 'keys', namespace: 'ns' }, type: 'Opaque', data: { ...dataOf(1, 2), extra: 'eA==' } })
  release()
  t.strictSame(await running, { added: [`${SECONDS}`], removed: [], keys: 3 })
  t.match(data(), { ...dataOf(1, 2), extra: 'eA==' })
  t.same(kidsOf(data()), ['1', '2', `${SECONDS}`])
})

await test('two runs at the same time add one key', async (t) => {
  const { run, data, time, messages } = bench(dataOf(1, 2, 3))
  const results = await Promise.all([run(), run()])
  t.strictSame(results, [{ added: [`${SECONDS}`], removed: ['1'], keys: 3 }, { added: [], removed: [], keys: 3 }])
  t.same(kidsOf(data()), ['2', '3', `${SECONDS}`])
  t.same(messages().toSorted(), [`info added ${SECONDS}, removed 1; keys: 3`, 'info another run rotated the keys at the same time; keys: 3'])
  await time.advance(1_000)
  t.match(await run(), { added: [`${SECONDS + 1}`], removed: ['2'] })
})

await test('a Secret that others change all the time is given up', async (t) => {
  const { run, kube } = bench(dataOf(1))
  kube.fail('replace', SECRETS, new CodedError('KUBE_CONFLICT', 'it was changed'), { times: 9 })
  await t.rejects(run(), { code: 'KUBE_CONFLICT', message: 'Secret ns/keys was changed by others 5 times in a row' })
})

await test('a Secret that is missing is not made', async (t) => {
  const { run, kube } = bench()
  kube.drop(SECRETS, 'ns', 'keys')
  await t.rejects(run(), {
    code: 'KUBE_NOT_FOUND',
    message: 'Secret ns/keys, which holds the signing keys, is missing: apply the shipped manifests, or make it with kubectl create secret generic keys --namespace ns',
  })
  t.same(kube.writes(), [])
})

await test('what is forbidden says which right is missing', async (t) => {
  const { run, kube } = bench()
  const no = new CodedError('KUBE_FORBIDDEN', 'no')
  kube.fail('get', SECRETS, no)
  await t.rejects(run(), { code: 'KUBE_FORBIDDEN', message: 'Secret ns/keys, which holds the signing keys, needs the verb get in a Role and its RoleBinding, as in the shipped manifests: no' })
  kube.fail('replace', SECRETS, no)
  await t.rejects(run(), { code: 'KUBE_FORBIDDEN', message: 'Secret ns/keys, which holds the signing keys, needs the verb update in a Role and its RoleBinding, as in the shipped manifests: no' })
})

await test('other failures are what they are', async (t) => {
  const { run, kube } = bench()
  kube.fail('replace', SECRETS, new CodedError('KUBE_UNAVAILABLE', 'no answer'))
  await t.rejects(run(), { code: 'KUBE_UNAVAILABLE', message: 'no answer' })
})

await test('a key of the future stops the rotation with a sentence', async (t) => {
  const { run, kube } = bench(dataOf(SECONDS + 100))
  await t.rejects(run(), { code: 'ROTATION_REFUSED', message: new RegExp(`^the keys of Secret ns/keys were not rotated: the newest key, jwt-signing-key-${SECONDS + 100}, is dated in the future`) })
  t.same(kube.writes(), [])
})

await test('however often it runs, what is there at the end are the newest keys, and everything that was not ours', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 4_000 }), { minLength: 1, maxLength: 12 }), fc.integer({ min: 2, max: 5 }), async (pauses, keep) => {
      const { run, data, time } = bench({ other: 'eA==' })
      const made: string[] = []
      for (const seconds of pauses) {
        await time.advance(seconds * 1000)
        made.push(...(await run({ keep })).added)
      }
      t.strictSame(kidsOf(data()), made.slice(-keep))
      t.equal(data()?.['other'], 'eA==')
    }),
    { numRuns: 30 },
  )
})
