import { test } from 'tap'
import { credentialSource, type Credentials, type CredentialSource } from '../../src/kube/credentials.ts'
import { fakeTime, settle, type FakeTime } from '../support/fake-time.ts'

const credentials = (token: string, ca = 'ca'): Credentials => ({ headers: { Authorization: `Bearer ${token}` }, tls: { ca: Buffer.from(ca) } })

interface Bench {
  source: CredentialSource
  time: FakeTime
  /** How each load was asked for. */
  loads: boolean[]
}

const bench = (load: (turn: number) => Promise<Credentials>, dynamic: boolean): Bench => {
  const time = fakeTime()
  const loads: boolean[] = []
  const source = credentialSource({
    load: (afresh) => {
      loads.push(afresh)
      return load(loads.length)
    },
    dynamic,
    maxAgeMs: 10_000,
    timeoutMs: 30_000,
    timers: time.timers,
  })
  return { source, time, loads }
}

await test('credentials that do not change are loaded once', async (t) => {
  const { source, time, loads } = bench(async (turn) => credentials(`token-${turn}`), false)
  await Promise.all([source.current(), source.current()])
  await time.advance(3_600_000)
  t.same([await source.current(), await source.renewed(await source.current()), loads], [credentials('token-1'), undefined, [false]])
})

await test('those that may change are loaded again after 10 s, once for all who ask', async (t) => {
  const { source, time, loads } = bench(async (turn) => credentials(`token-${turn}`), true)
  await source.current()
  await time.advance(9_999)
  t.same(await source.current(), credentials('token-1'))
  await time.advance(1)
  t.same(await Promise.all([source.current(), source.current()]), [credentials('token-2'), credentials('token-2')])
  t.same(loads, [false, false])
})

await test('the TLS material stays the same object while nothing in it changes', async (t) => {
  const { source, time } = bench(async (turn) => credentials(`token-${turn}`, turn < 3 ? 'ca' : 'new ca'), true)
  const first = await source.current()
  await time.advance(10_000)
  const second = await source.current()
  await time.advance(10_000)
  const third = await source.current()
  t.same([second.tls === first.tls, third.tls === first.tls, third.tls], [true, false, { ca: Buffer.from('new ca') }])
})

await test('after a 401 they are loaded afresh, at most every 10 s; newer ones are given at once', async (t) => {
  const { source, time, loads } = bench(async (turn) => credentials(turn < 4 ? 'old' : 'new'), true)
  const old = await source.current()
  t.equal(await source.renewed(old), undefined, 'the file still holds the same')
  t.equal(await source.renewed(old), undefined, 'too soon')
  t.same(loads, [false, true])
  await time.advance(10_000)
  t.equal(await source.renewed(old), undefined)
  await time.advance(10_000)
  t.same(await source.renewed(old), credentials('new'))
  t.same(await source.renewed(old), credentials('new'), 'known already')
  t.same(loads, [false, true, true, true])
})

await test('a first load that fails says so without what was read; a later one leaves what was known', async (t) => {
  const { source, time } = bench(async (turn) => {
    if (turn !== 2) throw Object.assign(new Error('Unexpected token eyJhbGciOi'), turn === 1 ? { code: 'ENOENT' } : {})
    return credentials('good')
  }, true)
  await t.rejects(source.current(), { code: 'KUBE_UNAVAILABLE', message: 'the credentials could not be had (ENOENT); look at the token file or the plugin that the kubeconfig names', cause: undefined })
  t.same(await source.current(), credentials('good'))
  await time.advance(10_000)
  t.same(await source.current(), credentials('good'))
  await t.rejects(source.renewed(credentials('good')), { code: 'KUBE_UNAVAILABLE', message: /\(no usable answer\)/ })
})

await test('a load that never ends is given up', async (t) => {
  const { source, time } = bench(() => new Promise(() => undefined), true)
  const call = t.rejects(source.current(), { code: 'KUBE_UNAVAILABLE', message: 'the credentials of the kubeconfig did not come within 30 s' })
  await settle()
  await time.advance(30_000)
  await call
  t.equal(time.pendingTimers, 0)
})
