import fc from 'fast-check'
import { test, type Test } from 'tap'
import { CodedError } from '../../src/errors.ts'
import { createKeyRing, type KeyRing } from '../../src/jwt/key-ring.ts'
import { createTokens } from '../../src/jwt/tokens.ts'
import { SECRETS } from '../../src/kube/resources.ts'
import { sourcesHealth } from '../../src/kube/sources.ts'
import { fakeTime, settle, type FakeTime } from '../support/fake-time.ts'
import { logLines, type LogLines } from '../support/log-lines.ts'
import { memoryKube, type MemoryKube } from '../support/memory-kube.ts'
import { SESSION } from '../support/token-bench.ts'

const START = Date.parse('2026-01-02T03:04:05Z')
const SECONDS = START / 1000
const DELAY = 5_000
const NAME = { namespace: 'ns', name: 'keys' }
const MISSING = 'Secret ns/keys, which holds the signing keys, is missing: apply the shipped manifests, or make it with kubectl create secret generic keys --namespace ns'

const value = (fill: number): string => Buffer.alloc(48, fill).toString('base64')
const dataOf = (...kids: number[]): Record<string, string> => Object.fromEntries(kids.map((kid) => [`jwt-signing-key-${kid}`, value(kid % 200)]))

interface World extends LogLines {
  kube: MemoryKube
  time: FakeTime
  /** Another replica over the same Secret. */
  ring: () => KeyRing
  /** Runs it until the end of the test, or until the returned function is called. */
  start: (ring: KeyRing) => () => Promise<void>
  put: (data: Record<string, string> | undefined) => Promise<void>
  data: () => Record<string, string>
}

const world = (t: Test, data?: Record<string, string>): World => {
  const time = fakeTime(START)
  const kube = memoryKube({ now: () => time.clock.now(), after: (ms, then) => time.timers.after(ms, then) })
  const lines = logLines()
  const put = async (next: Record<string, string> | undefined): Promise<void> => {
    kube.put(SECRETS, { metadata: { ...NAME, uid: 'u1' }, type: 'Opaque', ...(next === undefined ? {} : { data: next }) })
    await settle()
  }
  let made = 0
  const randomBytes = (bytes: number): Uint8Array => {
    made += 1
    return new Uint8Array(bytes).fill(made)
  }
  if (data !== undefined) kube.put(SECRETS, { metadata: { ...NAME, uid: 'u1' }, type: 'Opaque', data })
  return {
    ...lines,
    kube,
    time,
    put,
    data: () => kube.all(SECRETS, 'ns')[0]?.data ?? {},
    ring: () => createKeyRing({ kube, clock: time.clock, timers: time.timers, random: () => 1, randomBytes, logger: lines.log }, { secret: NAME, newKeyUseDelayMs: DELAY }),
    start: (ring) => {
      const end = new AbortController()
      const running = ring.run(end.signal)
      const stop = async (): Promise<void> => {
        end.abort()
        await running
      }
      t.teardown(stop)
      return stop
    },
  }
}
const signs = (ring: KeyRing): string | undefined => ring.signingKey()?.kid
const knows = (ring: KeyRing, ...kids: number[]): boolean[] => kids.map((kid) => ring.keyFor(`${kid}`) !== undefined)

await test('keys that are there at the start are in use at once', async (t) => {
  const { ring, start } = world(t, dataOf(10, 9, 100))
  const one = ring()
  t.equal(one.unready(), 'Secret ns/keys with the signing keys was not read yet')
  t.same([signs(one), one.generation], [undefined, 0])
  start(one)
  await settle()
  t.same([signs(one), knows(one, 9, 10, 100, 11), one.unready(), one.generation], ['100', [true, true, true, false], undefined, 1])
})

await test('one Secret is watched, by its name', async (t) => {
  const { kube, ring, start } = world(t, dataOf(1))
  start(ring())
  await settle()
  const reads = kube.calls.filter(({ verb }) => verb !== 'get')
  t.same(reads.map(({ verb, resource, namespace }) => [verb, resource, namespace]), [['list', 'secrets', 'ns'], ['watch', 'secrets', 'ns']])
  for (const { body } of reads) t.match(body, { fieldSelector: 'metadata.name=keys' })
})

await test('a later key signs when it has been known for the delay, and validates at once', async (t) => {
  const { ring, start, put, time } = world(t, dataOf(1))
  const one = ring()
  start(one)
  await settle()
  await time.advance(60_000)
  await put(dataOf(1, 2))
  t.same([signs(one), knows(one, 1, 2), one.generation], ['1', [true, true], 2])
  await time.advance(DELAY - 1)
  t.equal(signs(one), '1')
  await time.advance(1)
  t.same([signs(one), one.generation], ['2', 2])
})

await test('an update without a new key changes nothing, and starts no delay again', async (t) => {
  const { ring, start, put, time } = world(t, dataOf(1))
  const one = ring()
  start(one)
  await settle()
  await put(dataOf(1, 2))
  await time.advance(DELAY - 1)
  await put({ ...dataOf(1, 2), other: 'eA==' })
  await time.advance(1)
  t.same([signs(one), one.generation], ['2', 2])
})

await test('a removed key is not known any more', async (t) => {
  const { ring, start, put, time } = world(t, dataOf(1, 2))
  const one = ring()
  start(one)
  await settle()
  await put(dataOf(1))
  t.same([signs(one), knows(one, 1, 2), one.generation], ['1', [true, false], 2])
  await put(dataOf(1, 2))
  t.same([signs(one), knows(one, 1, 2)], ['1', [true, true]], 'one that comes back is a new one')
  await time.advance(DELAY)
  t.equal(signs(one), '2')
})

await test('another value under the same name is another key', async (t) => {
  const { ring, start, put } = world(t, dataOf(1, 2))
  const one = ring()
  start(one)
  await settle()
  const before = one.keyFor('2')
  await put({ ...dataOf(1), 'jwt-signing-key-2': value(99) })
  t.same([signs(one), one.generation], ['1', 2])
  t.same(one.keyFor('2')?.secret, new Uint8Array(48).fill(99))
  t.not(one.keyFor('2'), before)
})

await test('keys that stay keep their identity, so that each is imported once', async (t) => {
  const { ring, start, put } = world(t, dataOf(1, 2))
  const one = ring()
  start(one)
  await settle()
  const before = one.keyFor('2')
  await put(dataOf(2, 3))
  t.equal(one.keyFor('2'), before)
})

await test('a change of all keys at once is no outage', async (t) => {
  const { ring, start, put } = world(t, dataOf(1))
  const one = ring()
  start(one)
  await settle()
  await put(dataOf(7, 8))
  t.same([signs(one), knows(one, 1, 7, 8)], ['8', [false, true, true]])
})

await test('a malformed entry is skipped and named once, never with its value', async (t) => {
  const bad = Buffer.from('too short a secret').toString('base64')
  const { ring, start, put, lines } = world(t, { ...dataOf(1), 'jwt-signing-key-x': value(5), 'jwt-signing-key-2': bad })
  const one = ring()
  start(one)
  await settle()
  await put({ ...dataOf(1, 3), 'jwt-signing-key-x': value(5), 'jwt-signing-key-2': bad })
  t.same(knows(one, 1, 2, 3), [true, false, true])
  const warned = lines.filter(({ level }) => level === 'warn')
  t.same(warned.map(({ problem }) => problem), [
    'the entry "jwt-signing-key-x" is left out: its name must end in unix seconds, as in jwt-signing-key-1767323045',
    'the entry "jwt-signing-key-2" is left out: a key must have at least 32 bytes, it has 18',
  ])
  const text = JSON.stringify(lines)
  for (const secret of [bad, value(5), value(1), value(3)]) t.notMatch(text, secret)
})

await test('an empty Secret gets its first key, which is in use at once', async (t) => {
  const { ring, start, data, messages, kube } = world(t, {})
  const one = ring()
  start(one)
  await settle()
  t.same([signs(one), one.unready()], [`${SECONDS}`, undefined])
  t.strictSame(data(), { [`jwt-signing-key-${SECONDS}`]: Buffer.alloc(48, 1).toString('base64') })
  t.same(kube.writes().map(({ verb }) => verb), ['replace'])
  t.ok(messages().includes('info a first signing key was put into the Secret'))
})

await test('a Secret without a usable key gets one, and what is in it stays', async (t) => {
  const { ring, start, data } = world(t, { 'jwt-signing-key-5': 'eA==', 'tls.key': 'eA==' })
  const one = ring()
  start(one)
  await settle()
  t.equal(signs(one), `${SECONDS}`)
  t.match(data(), { 'jwt-signing-key-5': 'eA==', 'tls.key': 'eA==' })
})

await test('several replicas that find it empty end with one key in use', async (t) => {
  const { ring, data, kube } = world(t, {})
  const rings = [ring(), ring(), ring(), ring()]
  await Promise.all(rings.map((one) => one.ensureFirstKey()))
  t.same(Object.keys(data()), [`jwt-signing-key-${SECONDS}`])
  t.same(rings.map(signs), rings.map(() => `${SECONDS}`))
  const secrets = rings.map((one) => Buffer.from(one.signingKey()?.secret ?? []).toString('base64'))
  t.same(new Set(secrets), new Set(Object.values(data())))
  t.equal(kube.writes().length, 4, 'each tried, three had a conflict')
})

await test('calls at the same time are one', async (t) => {
  const { ring, kube } = world(t, {})
  const one = ring()
  await Promise.all([one.ensureFirstKey(), one.ensureFirstKey()])
  t.equal(kube.writes().length, 1)
  await one.ensureFirstKey()
  t.equal(kube.writes().length, 1, 'with a key nothing is written')
})

await test('a role that is not to start without keys hears what to do', async (t) => {
  const { ring, kube } = world(t)
  await t.rejects(ring().ensureFirstKey(), { code: 'KUBE_NOT_FOUND', message: MISSING })
  kube.fail('get', SECRETS, new CodedError('KUBE_FORBIDDEN', 'no'))
  await t.rejects(ring().ensureFirstKey(), { code: 'KUBE_FORBIDDEN', message: 'Secret ns/keys, which holds the signing keys, needs the verb get in a Role and its RoleBinding, as in the shipped manifests: no' })
  t.same(kube.writes(), [])
})

await test('with keys read beforehand, tokens are signed before the watch has begun', async (t) => {
  const { ring, start } = world(t, dataOf(1, 2))
  const one = ring()
  await one.ensureFirstKey()
  t.same([signs(one), one.unready(), one.generation], ['2', undefined, 1])
  start(one)
  await settle()
  t.same([signs(one), one.generation], ['2', 1])
})

await test('a Secret that comes later gets its first key then', async (t) => {
  const { ring, start, put, data, messages, time } = world(t)
  const one = ring()
  start(one)
  await settle()
  t.equal(one.unready(), MISSING)
  await time.advance(100_000)
  t.equal(messages().filter((line) => line === 'warn there is no signing key yet, it is tried again').length, 1, 'said once')
  await put({})
  t.same([one.unready(), Object.keys(data()).length, signs(one)], [undefined, 1, `${SECONDS + 100}`])
})

await test('a Secret that comes with keys is taken as it is', async (t) => {
  const { ring, start, put, kube } = world(t)
  const one = ring()
  start(one)
  await settle()
  await put(dataOf(3, 4))
  t.same([signs(one), one.unready(), kube.writes()], ['4', undefined, []])
})

await test('without the right to write, readyz says so until a rotation has made a key', async (t) => {
  const { ring, start, put, kube, time } = world(t, {})
  kube.fail('replace', SECRETS, new CodedError('KUBE_FORBIDDEN', 'no'), { times: 99 })
  const one = ring()
  start(one)
  await settle()
  const told = 'Secret ns/keys, which holds the signing keys, needs the verb update in a Role and its RoleBinding, as in the shipped manifests: no'
  t.equal(one.unready(), told)
  await time.advance(60_000)
  t.equal(one.unready(), told)
  await put(dataOf(5))
  t.same([one.unready(), signs(one)], [undefined, '5'])
})

await test('a first key is tried for again after a failure', async (t) => {
  const { ring, start, kube, time } = world(t, {})
  kube.fail('replace', SECRETS, new CodedError('KUBE_UNAVAILABLE', 'no answer'), { times: 2 })
  const one = ring()
  start(one)
  await settle()
  t.equal(one.unready(), 'Secret ns/keys with the signing keys cannot be read or written now: no answer')
  await time.advance(1_000)
  t.equal(one.unready(), 'Secret ns/keys with the signing keys cannot be read or written now: no answer')
  await time.advance(2_000)
  t.same([one.unready(), signs(one)], [undefined, `${SECONDS + 3}`])
})

await test('a failure that is over is not told when the keys go later', async (t) => {
  const { ring, start, put, kube } = world(t, {})
  kube.fail('replace', SECRETS, new CodedError('KUBE_UNAVAILABLE', 'no answer'), { times: 99 })
  const one = ring()
  start(one)
  await settle()
  await put(dataOf(5))
  const release = kube.hold('get', SECRETS)
  await put({})
  t.equal(one.unready(), 'Secret ns/keys holds no signing key that can be used')
  release()
})

await test('a write whose answer was lost leaves one key', async (t) => {
  const { ring, start, kube, time, data } = world(t, {})
  kube.fail('replace', SECRETS, new CodedError('KUBE_UNAVAILABLE', 'no answer'), { after: true })
  const one = ring()
  start(one)
  await time.advance(2_000)
  t.same([signs(one), Object.keys(data())], [`${SECONDS}`, [`jwt-signing-key-${SECONDS}`]])
})

await test('a deleted Secret ends all its keys at once; a new one is filled again', async (t) => {
  const { ring, start, put, kube, data } = world(t, dataOf(1, 2))
  const one = ring()
  start(one)
  await settle()
  kube.drop(SECRETS, 'ns', 'keys')
  await settle()
  t.same([signs(one), knows(one, 1, 2), one.unready(), one.generation], [undefined, [false, false], MISSING, 2])
  await put({})
  t.same([signs(one), one.unready(), Object.keys(data()).length], [`${SECONDS}`, undefined, 1])
})

await test('when its keys are taken out by hand, a new first key follows', async (t) => {
  const { ring, start, put, data } = world(t, dataOf(1))
  const one = ring()
  start(one)
  await settle()
  await put({})
  t.same([knows(one, 1), signs(one), Object.keys(data())], [[false], `${SECONDS}`, [`jwt-signing-key-${SECONDS}`]])
})

await test('keys stay in use while the API server is away, and health says so', async (t) => {
  const { ring, start, kube, time } = world(t, dataOf(1))
  const one = ring()
  const health = sourcesHealth([one.source], time.clock)
  t.equal(health.unready(), 'not read yet: signing keys')
  start(one)
  await settle()
  t.equal(health.unready(), undefined)
  kube.fail('watch', SECRETS, new CodedError('KUBE_UNAVAILABLE', 'away'), { times: 1_000 })
  kube.fail('list', SECRETS, new CodedError('KUBE_UNAVAILABLE', 'away'), { times: 1_000 })
  kube.endWatches(new CodedError('KUBE_UNAVAILABLE', 'away'))
  await time.advance(70_000)
  t.same([signs(one), health.unready()], ['1', 'nothing was heard of signing keys for 60 s'])
})

await test('it ends when it is told to, with nothing left behind', async (t) => {
  for (const data of [dataOf(1), undefined]) {
    const { ring, start, kube, time } = world(t, data)
    const stop = start(ring())
    await time.advance(3_000)
    await stop()
    await settle()
    t.same([kube.openWatches, time.pendingTimers], [0, 0])
  }
})

await test('a token outlives rotations until its key goes, on every replica', async (t) => {
  const { ring, start, put, time } = world(t, dataOf(1))
  const rings = [ring(), ring()]
  for (const one of rings) start(one)
  await settle()
  const [a, b] = rings.map((one) => createTokens({ ring: one, clock: time.clock, issuer: 'i', audience: 'a', newId: () => 'id' }))
  if (a === undefined || b === undefined) throw new Error('two are made above')
  const token = await a.sign(SESSION, { ttlMs: 600_000 })
  await put(dataOf(1, 2))
  t.match(await b.verify(token), { ok: true })
  await time.advance(DELAY)
  const later = await b.sign(SESSION, { ttlMs: 600_000 })
  t.match([await a.verify(later), await a.verify(token)], [{ ok: true }, { ok: true }])
  await put(dataOf(2, 3))
  t.match([await a.verify(token), await b.verify(token), await a.verify(later)], [{ ok: false, why: 'kid' }, { ok: false, why: 'kid' }, { ok: true }])
})

type Step = { keys: number[] } | { ms: number } | { gone: true }
await test('whatever happens to the Secret: known are its keys alone, and one of them signs', async (t) => {
  const kids = fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 })
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 4, arbitrary: kids.map((keys) => ({ keys })) },
    { weight: 3, arbitrary: fc.integer({ min: 1, max: 8_000 }).map((ms) => ({ ms })) },
    { weight: 1, arbitrary: fc.constant({ gone: true } as const) },
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 15 }), async (steps) => {
      const { ring, start, put, kube, time, data } = world(t, dataOf(1))
      const one = ring()
      const stop = start(one)
      await settle()
      /** When each key that is there was seen first, in this run of it being there. */
      let seen = new Map([['1', -DELAY]])
      for (const next of steps) {
        if ('ms' in next) await time.advance(next.ms)
        else if ('gone' in next) {
          if (kube.all(SECRETS, 'ns').length > 0) kube.drop(SECRETS, 'ns', 'keys')
          await settle()
        } else await put(dataOf(...next.keys))
        const present = Object.keys(data()).map((name) => name.slice('jwt-signing-key-'.length))
        const now = time.timers.monotonic()
        seen = new Map(present.map((kid) => [kid, seen.get(kid) ?? (seen.size === 0 ? -DELAY : now)]))
        t.same(Array.from({ length: 10 }, (_, kid) => `${kid}`).filter((kid) => one.keyFor(kid) !== undefined), present.toSorted())
        const usable = present.filter((kid) => now - (seen.get(kid) ?? now) >= DELAY).toSorted((a, b) => Number(b) - Number(a))
        const signing = signs(one)
        t.ok(present.length === 0 ? signing === undefined : usable.length > 0 ? signing === usable[0] : signing !== undefined && present.includes(signing))
        t.equal(one.unready() === undefined, present.length > 0)
      }
      await stop()
    }),
    { numRuns: 60 },
  )
})
