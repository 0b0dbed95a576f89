import { X509Certificate } from 'node:crypto'
import tls from 'node:tls'
import { test } from 'tap'
import { SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import type { WebhookConfiguration } from '../../src/api/webhook-configuration.ts'
import { CodedError } from '../../src/errors.ts'
import { MUTATING_WEBHOOK_CONFIGURATIONS, SECRETS, VALIDATING_WEBHOOK_CONFIGURATIONS } from '../../src/kube/resources.ts'
import { caTrust } from '../../src/serving/ca-trust.ts'
import { webhookCaTargets } from '../../webhooks/ca-bundle.ts'
import { AUTHORITY_LIFE_MS, LEAF_LIFE_MS } from '../../src/serving/certificate.ts'
import { DEFAULT_WEBHOOK_OPTIONS } from '../../webhooks/options.ts'
import { runWebhook, type RunningWebhook } from '../../webhooks/role.ts'
import { createSelfSigned, type SelfSigned } from '../../src/serving/self-signed.ts'
import type { CertificatePair } from '../../src/serving/tls.ts'
import { logLines, type LogLines } from '../support/log-lines.ts'
import { memoryKube, type MemoryKube } from '../support/memory-kube.ts'
import { untilTrue } from '../support/eventually.ts'
import { NOW } from './harness.ts'

const DAY = 86_400_000
const SECRET = 'access-gate-webhook-tls'
const NAMES = ['access-gate-webhook.connectors-system.svc', 'access-gate-webhook.connectors-system.svc.cluster.local']
const CONFIGURATIONS = [MUTATING_WEBHOOK_CONFIGURATIONS, VALIDATING_WEBHOOK_CONFIGURATIONS]

const configuration = (): WebhookConfiguration => ({
  metadata: { name: 'access-gate' },
  webhooks: ['a', 'b'].map((name) => ({
    name,
    clientConfig: { service: { namespace: SYSTEM_NAMESPACE, name: 'access-gate-webhook', path: `/${name}`, port: 443 } },
    failurePolicy: 'Fail',
  })),
})
const applyConfigurations = (kube: MemoryKube): void => {
  for (const resource of CONFIGURATIONS) kube.put(resource, configuration())
}

interface Cluster {
  kube: MemoryKube
  lines: LogLines
  time: { now: number }
  replica(): Replica
}
interface Replica {
  selfSigned: SelfSigned
  /** Every certificate that was put in use, the newest last. */
  used: CertificatePair[]
}

const cluster = (): Cluster => {
  const time = { now: NOW }
  const kube = memoryKube({ now: () => time.now })
  applyConfigurations(kube)
  const lines = logLines()
  return {
    kube,
    lines,
    time,
    replica: () => {
      const used: CertificatePair[] = []
      const ports = { reader: kube, writer: kube }
      const trust = caTrust(webhookCaTargets(ports, 'access-gate'), lines.log)
      const deps = { ...ports, clock: { now: () => time.now }, logger: lines.log, trust, use: (pair: CertificatePair) => void used.push(pair) }
      const options = { namespace: SYSTEM_NAMESPACE, secretName: SECRET, dnsNames: NAMES, secretMs: 60_000 }
      return { selfSigned: createSelfSigned(deps, options), used }
    },
  }
}

const decode = (value: string | undefined): string => Buffer.from(value ?? '', 'base64').toString()
const stored = ({ kube }: Cluster): Record<string, string> => {
  const [secret] = kube.all(SECRETS)
  return Object.fromEntries(Object.entries(secret?.data ?? {}).map(([key, value]) => [key, decode(value)]))
}
const bundles = ({ kube }: Cluster): string[] => [
  ...new Set(
    CONFIGURATIONS.flatMap((resource) => kube.all(resource).flatMap(({ webhooks = [] }) => webhooks.map(({ clientConfig }) => decode(clientConfig.caBundle)))),
  ),
]
const authorities = (bundle: string | undefined): X509Certificate[] =>
  (bundle ?? '')
    .split(/(?<=-----END CERTIFICATE-----\n)/)
    .filter((pem) => pem !== '')
    .map((pem) => new X509Certificate(pem))

/** As an API server judges it: a chain to the bundle, and the name. */
const trusted = (bundle: string | undefined, leaf: CertificatePair | undefined, now: number): boolean => {
  const certificate = new X509Certificate(leaf?.cert ?? '')
  return (
    NAMES.every((name) => tls.checkServerIdentity(name, certificate.toLegacyObject()) === undefined) &&
    certificate.validToDate.getTime() > now &&
    authorities(bundle).some((ca) => ca.ca && ca.validToDate.getTime() > now && certificate.checkIssued(ca) && certificate.verify(ca.publicKey))
  )
}

await test('the first replica makes a CA and a certificate, keeps them in the Secret and tells the API server', async (t) => {
  const it = cluster()
  const { selfSigned, used } = it.replica()
  await selfSigned.refresh()
  const secret = stored(it)
  t.strictSame(Object.keys(secret), ['tls.crt', 'tls.key', 'ca.crt', 'ca.key'])
  t.strictSame(used, [{ cert: secret['tls.crt'], key: secret['tls.key'] }])
  t.strictSame(bundles(it), [secret['ca.crt']])
  t.ok(trusted(secret['ca.crt'], used[0], NOW))
  const leaf = new X509Certificate(secret['tls.crt'] ?? '')
  const [ca] = authorities(secret['ca.crt'])
  t.equal(leaf.validToDate.getTime() - NOW, LEAF_LIFE_MS)
  t.equal((ca?.validToDate.getTime() ?? 0) - NOW, AUTHORITY_LIFE_MS)
  t.equal(leaf.ca, false)
  t.strictSame(leaf.keyUsage, ['1.3.6.1.5.5.7.3.1'])
  const kept = it.kube
    .all(MUTATING_WEBHOOK_CONFIGURATIONS)[0]
    ?.webhooks?.map(({ name, clientConfig: { caBundle: _set, ...rest }, ...others }) => ({ name, clientConfig: rest, ...others }))
  t.strictSame(kept, configuration().webhooks, 'nothing else of the configuration is touched')
  const text = JSON.stringify(it.lines.lines)
  for (const key of ['tls.key', 'ca.key']) t.notMatch(text, secret[key]?.split('\n')[1] ?? 'none')
})

await test('two replicas that start at once share one certificate, with one create and no needless write', async (t) => {
  const it = cluster()
  const replicas = [it.replica(), it.replica()]
  await Promise.all(replicas.map(({ selfSigned }) => selfSigned.refresh()))
  t.strictSame(
    replicas.map(({ used }) => used.at(-1)?.cert),
    [stored(it)['tls.crt'], stored(it)['tls.crt']],
  )
  t.strictSame(bundles(it), [stored(it)['ca.crt']])
  const writes = it.kube.writes().length
  for (let minute = 0; minute < 5; minute += 1) {
    it.time.now += 60_000
    for (const { selfSigned } of replicas) await selfSigned.refresh()
  }
  t.equal(it.kube.writes().length, writes)
  t.strictSame(
    replicas.map(({ used }) => used.length),
    [1, 1],
  )
})

await test('a Secret that the manifests made empty is filled, and its type stays', async (t) => {
  const it = cluster()
  it.kube.put(SECRETS, { metadata: { name: SECRET, namespace: SYSTEM_NAMESPACE, labels: { a: 'b' } }, type: 'Opaque' })
  const { selfSigned, used } = it.replica()
  await selfSigned.refresh()
  t.match(it.kube.all(SECRETS), [{ metadata: { labels: { a: 'b' } }, type: 'Opaque' }])
  t.equal(used[0]?.cert, stored(it)['tls.crt'])
})

await test('the certificate is renewed by the same CA when a third of its life is left; the other replica picks it up', async (t) => {
  const it = cluster()
  const [one, two] = [it.replica(), it.replica()]
  await one.selfSigned.refresh()
  await two.selfSigned.refresh()
  const before = stored(it)
  it.time.now = NOW + 59 * DAY
  await one.selfSigned.refresh()
  t.equal(stored(it)['tls.crt'], before['tls.crt'])
  it.time.now = NOW + 61 * DAY
  await one.selfSigned.refresh()
  const after = stored(it)
  t.not(after['tls.crt'], before['tls.crt'])
  t.strictSame([after['ca.crt'], after['ca.key']], [before['ca.crt'], before['ca.key']])
  t.strictSame([one.used.length, two.used.length], [2, 1])
  t.equal(one.used.at(-1)?.cert, after['tls.crt'])
  t.ok(trusted(bundles(it)[0], one.used.at(-1), it.time.now))
  await two.selfSigned.refresh()
  t.equal(two.used.at(-1)?.cert, after['tls.crt'])
})

await test('a clock that is set back does not keep the Secret unread', async (t) => {
  const it = cluster()
  const [one, two] = [it.replica(), it.replica()]
  await one.selfSigned.refresh()
  await two.selfSigned.refresh()
  it.time.now = NOW + 61 * DAY
  await one.selfSigned.refresh()
  it.time.now = NOW - 1_000
  await two.selfSigned.refresh()
  t.equal(two.used.at(-1)?.cert, one.used.at(-1)?.cert)
  t.equal(two.used.length, 2)
})

await test('a CA that grows old gets a successor: both are trusted, and at no moment is a certificate in use that the API server does not know', async (t) => {
  const it = cluster()
  const replicas = [it.replica(), it.replica()]
  const check = (): void => {
    for (const { used } of replicas) t.ok(trusted(bundles(it)[0], used.at(-1), it.time.now), `trusted on day ${(it.time.now - NOW) / DAY}`)
    t.equal(bundles(it).length, 1)
  }
  for (const { selfSigned } of replicas) await selfSigned.refresh()
  const first = stored(it)
  let rotated = 0
  for (let day = 0; day < 5 * 365 + 100; day += 20) {
    it.time.now = NOW + day * DAY
    for (const { selfSigned } of replicas) {
      const before = stored(it)['ca.key']
      await selfSigned.refresh()
      check()
      if (stored(it)['ca.key'] !== before) {
        rotated += 1
        t.equal(authorities(stored(it)['ca.crt']).length, 2, 'the old and the new CA')
        t.equal(stored(it)['ca.crt']?.endsWith(first['ca.crt'] ?? 'none'), true)
        t.strictSame(bundles(it), [stored(it)['ca.crt']])
      }
      it.time.now += 60_000
    }
  }
  t.equal(rotated, 1)
  t.notOk(trusted(first['ca.crt'], replicas[0]?.used.at(-1), it.time.now), 'in the end the old CA has no part in it')
})

await test('a cluster that was off for years starts with a new CA', async (t) => {
  const it = cluster()
  await it.replica().selfSigned.refresh()
  it.time.now = NOW + AUTHORITY_LIFE_MS + DAY
  const { selfSigned, used } = it.replica()
  await selfSigned.refresh()
  t.ok(trusted(bundles(it)[0], used.at(-1), it.time.now))
  t.equal(authorities(stored(it)['ca.crt']).length, 1)
})

await test('a certificate that ran out while the cluster was off is not used, and renewed at once', async (t) => {
  const it = cluster()
  await it.replica().selfSigned.refresh()
  it.time.now = NOW + 100 * DAY
  const { selfSigned, used } = it.replica()
  await selfSigned.refresh()
  t.equal(used.length, 1)
  t.ok(trusted(bundles(it)[0], used[0], it.time.now))
})

await test('a caBundle that someone reset is put back, from what the Secret says', async (t) => {
  const it = cluster()
  const { selfSigned } = it.replica()
  await selfSigned.refresh()
  applyConfigurations(it.kube)
  t.strictSame(bundles(it), [''])
  it.time.now += 8_000
  await selfSigned.refresh()
  t.strictSame(bundles(it), [stored(it)['ca.crt']])
})

await test('a Secret that was deleted or spoilt leads to a new CA, and no replica puts the old one back', async (t) => {
  for (const spoil of [
    (kube: MemoryKube) => kube.drop(SECRETS, SYSTEM_NAMESPACE, SECRET),
    (kube: MemoryKube) =>
      void kube.put(SECRETS, { metadata: { name: SECRET, namespace: SYSTEM_NAMESPACE }, data: { 'tls.crt': Buffer.from('x').toString('base64') } }),
  ]) {
    const it = cluster()
    const [one, two] = [it.replica(), it.replica()]
    await one.selfSigned.refresh()
    await two.selfSigned.refresh()
    const before = stored(it)['ca.crt']
    spoil(it.kube)
    it.time.now += 60_000
    await one.selfSigned.refresh()
    t.not(stored(it)['ca.crt'], before)
    await two.selfSigned.refresh()
    await one.selfSigned.refresh()
    t.strictSame(bundles(it), [stored(it)['ca.crt']])
    t.ok(trusted(bundles(it)[0], two.used.at(-1), it.time.now))
  }
})

await test('conflicts are read again', async (t) => {
  const it = cluster()
  const { selfSigned, used } = it.replica()
  for (const resource of CONFIGURATIONS) it.kube.fail('replace', resource, new CodedError('KUBE_CONFLICT', 'modified'), { times: 2 })
  it.kube.fail('create', SECRETS, new CodedError('KUBE_CONFLICT', 'exists'), { times: 2 })
  await selfSigned.refresh()
  t.ok(trusted(bundles(it)[0], used[0], NOW))
})

await test('what cannot be written is said, and what was in use stays in use', async (t) => {
  const it = cluster()
  const { selfSigned, used } = it.replica()
  it.kube.fail('create', SECRETS, new CodedError('KUBE_FORBIDDEN', 'may not create secrets'))
  await t.rejects(selfSigned.refresh(), { code: 'KUBE_FORBIDDEN' })
  t.strictSame(used, [])
  await selfSigned.refresh()
  it.time.now = NOW + 61 * DAY
  it.kube.fail('replace', SECRETS, new CodedError('KUBE_FORBIDDEN', 'may not update secrets'))
  await t.rejects(selfSigned.refresh(), { code: 'KUBE_FORBIDDEN' })
  t.equal(used.length, 1)
  await selfSigned.refresh()
  t.equal(used.length, 2, 'tried again at the next call, not a minute later')
  it.kube.drop(VALIDATING_WEBHOOK_CONFIGURATIONS, undefined, 'access-gate')
  await t.rejects(selfSigned.refresh(), { code: 'KUBE_NOT_FOUND', message: 'ValidatingWebhookConfiguration access-gate does not exist; apply the manifests' })
  it.kube.fail('replace', undefined, new CodedError('KUBE_CONFLICT', 'modified'), { times: 50 })
  applyConfigurations(it.kube)
  await t.rejects(selfSigned.refresh(), { code: 'KUBE_CONFLICT' })
})

const serialAt = (port: number, bundle: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = tls.connect({ host: '127.0.0.1', port, servername: NAMES[0], ca: bundle }, () => {
      resolve(socket.getPeerCertificate().serialNumber)
      socket.destroy()
    })
    socket.on('error', reject)
  })

const readyz = async ({ metricsPort }: RunningWebhook): Promise<number> => (await fetch(`http://127.0.0.1:${metricsPort}/readyz`)).status

await test('the role: handshakes fail until there is a certificate, then every replica serves the same one and keeps caBundle', async (t) => {
  const kube = memoryKube()
  const lines = logLines()
  const start = async (): Promise<RunningWebhook> => {
    const running = await runWebhook(
      {
        ...DEFAULT_WEBHOOK_OPTIONS,
        host: '127.0.0.1',
        port: 0,
        metricsHost: '127.0.0.1',
        metricsPort: 0,
        drainMs: 0,
        closeMs: 100,
        bundleMs: 30,
        secretMs: 60,
      },
      { reader: kube, writer: kube, permission: kube },
      { logger: lines.log, clock: { now: () => Date.now() } },
    )
    t.teardown(() => running.stop())
    return running
  }
  kube.fail('create', SECRETS, new CodedError('KUBE_UNAVAILABLE', 'the API server is away'), { times: 3 })
  const one = await start()
  t.equal(await readyz(one), 503)
  await t.rejects(serialAt(one.port, ''))
  await untilTrue('the certificate', async () => (await readyz(one)) === 200)
  t.strictSame(
    lines
      .messages()
      .filter((line) => line.startsWith('error'))
      .slice(0, 1),
    ['error there is no certificate to serve with yet'],
  )
  applyConfigurations(kube)
  await one.ready
  const two = await start()
  await two.ready
  const secret = decode(kube.all(SECRETS)[0]?.data?.['ca.crt'])
  t.equal(await serialAt(one.port, secret), await serialAt(two.port, secret))
  applyConfigurations(kube)
  const inPlace = (): boolean =>
    CONFIGURATIONS.every((resource) =>
      kube.all(resource).every(({ webhooks = [] }) => webhooks.every(({ clientConfig }) => decode(clientConfig.caBundle) === secret)),
    )
  await untilTrue('caBundle to be back', inPlace)
})
