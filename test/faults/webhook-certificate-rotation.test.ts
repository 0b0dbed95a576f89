import { X509Certificate } from 'node:crypto'
import { join } from 'node:path'
import { t, test, type Test } from 'tap'
import { freePort } from '../../hack/control-plane/free-port.ts'
import { startControlPlane } from '../../hack/control-plane/start.ts'
import { applyManifests } from '../../hack/sandbox/manifests.ts'
import { countsComment } from '../../hack/test-run/counts.ts'
import { SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { createClient } from '../../src/kube/client.ts'
import { MUTATING_WEBHOOK_CONFIGURATIONS, SECRETS, VALIDATING_WEBHOOK_CONFIGURATIONS } from '../../src/kube/resources.ts'
import { createLogger } from '../../src/log.ts'
import { createMaterial, renewLeaf, type CertificateMaterial } from '../../src/serving/certificate.ts'
import { DEFAULT_WEBHOOK_OPTIONS } from '../../webhooks/options.ts'
import { runWebhook, type RunningWebhook } from '../../webhooks/role.ts'
import { eventually, untilTrue } from '../support/eventually.ts'
import { startLoad, type Load } from '../support/load.ts'
import { secretVolume } from '../support/secret-volume.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { ADMISSIONS_A_CREATE, askDirectly, keepConnections, readCaBundle, throughApiServer, untilAnswered, waitForHooks, wrongIn, type KeptConnections } from '../support/webhook-calls.ts'
import { deploy, startReplica, WEBHOOK_HOST, webhookService } from '../support/webhook-service.ts'

/** Over the kept connections alone. */
const ADMISSIONS = 15_000
const CALLERS = 16
/** Slower than those on kept connections, which carry most of the load: what is asked here costs the API server more. */
const CREATE_EVERY_MS = 240
const ASK_EVERY_MS = 20
/** Callers that open a connection for each call: only those meet a new certificate at once. */
const FRESH = 4
const FRESH_EVERY_MS = 100
const WITHIN_MS = 600_000
const LOOPBACK = '127.0.0.1'
const CONFIGURATION = 'access-gate'
const DAY_MS = 24 * 3_600_000
const YEAR_MS = 365 * DAY_MS

const cluster = await startControlPlane({ log: () => undefined })
t.teardown(() => cluster.stop())
const kube = await createClient({ kubeconfig: cluster.adminKubeconfig, userAgent: 'access-gate-test' })
t.teardown(() => kube.close())
const service = await webhookService(t, 0)
await applyManifests(cluster, service.port)
await waitForHooks(kube)
const namespace = await cluster.namespace('load')
const deployment = await deploy(t, cluster)
const throughTheServer = throughApiServer(t, cluster, namespace)

const base64 = (text: string): string => Buffer.from(text).toString('base64')

/** As whoever injects a CA does. */
const trust = async (caBundle: string): Promise<void> => {
  for (const resource of [MUTATING_WEBHOOK_CONFIGURATIONS, VALIDATING_WEBHOOK_CONFIGURATIONS]) {
    const configuration = await kube.get(resource, undefined, CONFIGURATION)
    if (configuration === undefined) throw new Error(`there is no ${resource.kind}`)
    const webhooks = (configuration.webhooks ?? []).map((webhook) => ({ ...webhook, clientConfig: { ...webhook.clientConfig, caBundle: base64(caBundle) } }))
    await kube.replace(resource, { ...configuration, webhooks })
  }
}

interface Loads {
  throughServer: Load
  kept: Load
  fresh: Load
  connections: KeptConnections
  /** Serial numbers of the certificates that new connections met. */
  serials: Set<string>
  /** @returns all failures, once nothing is under way */
  stop(): Promise<string[]>
}

/** 16 callers of the API server, 16 that keep one connection each to a replica, and some that connect for each call. */
const startLoads = (subtest: Pick<Test, 'teardown'>, ca: () => string): Loads => {
  const serials = new Set<string>()
  const connections = keepConnections(subtest, CALLERS)
  // What a connection trusts counts at its beginning, and another trust would be another connection.
  const atFirst = ca()
  const throughServer = startLoad(CALLERS, CREATE_EVERY_MS, throughTheServer)
  const kept = startLoad(CALLERS, ASK_EVERY_MS, async (caller) => wrongIn(await askDirectly(service.port, atFirst, connections.agents[caller])))
  const fresh = startLoad(FRESH, FRESH_EVERY_MS, async () => {
    const reply = await askDirectly(service.port, ca())
    serials.add(reply.serial)
    return wrongIn(reply)
  })
  const stop = async (): Promise<string[]> => {
    await Promise.all([throughServer.stop(), kept.stop(), fresh.stop()])
    return [...throughServer.failed, ...kept.failed, ...fresh.failed]
  }
  return { throughServer, kept, fresh, connections, serials, stop }
}

/** All loads have gone on since now. @param admissions over the kept connections */
const goesOn = async ({ throughServer, kept, fresh }: Loads, admissions: number): Promise<void> => {
  const [created, heard, asked] = [throughServer.answered, kept.answered, fresh.answered]
  const failed = (): number => throughServer.failed.length + kept.failed.length + fresh.failed.length
  const enough = (): boolean => throughServer.answered >= created + 200 && kept.answered >= heard + admissions && fresh.answered >= asked + 40
  await untilTrue('the load goes on', () => failed() > 0 || enough(), WITHIN_MS)
}

const counted = ({ throughServer, kept, fresh, connections, serials }: Loads, failed: readonly string[], rotations: number): string =>
  countsComment({
    'admissions through the API server': throughServer.answered * ADMISSIONS_A_CREATE,
    [`admissions over ${CALLERS} kept connections`]: kept.answered,
    'connections opened by those': connections.opened,
    'admissions over connections of their own': fresh.answered,
    failed: failed.length,
    rotations,
    'certificates met': serials.size,
  })

/** What both ways of rotation owe their callers. @param rotations each to a certificate that was not there before */
const judge = (subtest: Test, loads: Loads, failed: readonly string[], rotations: number): void => {
  subtest.comment(counted(loads, failed, rotations))
  subtest.strictSame(failed.slice(0, 10), [])
  subtest.equal(failed.length, 0)
  subtest.ok(loads.kept.answered >= ADMISSIONS)
  subtest.equal(loads.connections.opened, CALLERS, 'each kept connection lived through every rotation')
  subtest.equal(loads.serials.size, rotations + 1)
}

const serialOf = (pem: string): string => new X509Certificate(pem).serialNumber

/** Every replica presents the certificate of this moment. */
const untilServed = async (replicas: readonly { port: number }[], material: () => CertificateMaterial | Promise<CertificateMaterial>): Promise<void> => {
  for (const { port } of replicas)
    await untilTrue(
      'the new certificate is served',
      async () => {
        const { caBundle, leaf } = await material()
        return (await askDirectly(port, caBundle)).serial === serialOf(leaf.cert)
      },
      WITHIN_MS,
    )
}

await test('certificate files replaced under load, as kubelet does it: no admission fails, and no restart', async (subtest) => {
  const folder = await temporaryFolder(subtest)
  const volume = secretVolume(folder)
  const put = ({ leaf }: CertificateMaterial): Promise<void> => volume.write({ 'tls.crt': base64(leaf.cert), 'tls.key': base64(leaf.key) })
  let material = await createMaterial([WEBHOOK_HOST], Date.now())
  await put(material)
  await trust(material.caBundle)
  const files = [`--tls-cert-file=${join(folder, 'tls.crt')}`, `--tls-key-file=${join(folder, 'tls.key')}`]
  const replicas = [await startReplica(subtest, deployment, files), await startReplica(subtest, deployment, files)]
  for (const replica of replicas) service.add(replica)
  await untilAnswered(throughTheServer)

  const loads = startLoads(subtest, () => material.caBundle)
  const ROTATIONS = 3
  const share = ADMISSIONS / (ROTATIONS + 1)
  await goesOn(loads, share)
  for (let rotation = 1; rotation <= ROTATIONS; rotation += 1) {
    material = await renewLeaf(material, [WEBHOOK_HOST], Date.now())
    await put(material)
    await untilServed(replicas, () => material)
    await goesOn(loads, share)
  }
  const failed = await loads.stop()
  judge(subtest, loads, failed, ROTATIONS)
  subtest.strictSame(
    replicas.map(({ child }) => child.exitCode),
    [null, null],
    'the same processes as before',
  )
  await Promise.all(replicas.map((replica) => replica.end()))
})

const SECRET = 'access-gate-webhook-tls'
const NAMES = [WEBHOOK_HOST, `${WEBHOOK_HOST}.cluster.local`]

/** What the replicas share, as they share it. */
const readShared = async (): Promise<CertificateMaterial> => {
  const { data = {} } = (await kube.get(SECRETS, SYSTEM_NAMESPACE, SECRET)) ?? {}
  const text = (key: string): string => Buffer.from(data[key] ?? '', 'base64').toString('utf8')
  return { caBundle: text('ca.crt'), caKey: text('ca.key'), leaf: { cert: text('tls.crt'), key: text('tls.key') } }
}

const writeShared = async ({ caBundle, caKey, leaf }: CertificateMaterial): Promise<void> => {
  const texts = { 'ca.crt': caBundle, 'ca.key': caKey, 'tls.crt': leaf.cert, 'tls.key': leaf.key }
  const data = Object.fromEntries(Object.entries(texts).map(([key, text]) => [key, base64(text)]))
  const found = await kube.get(SECRETS, SYSTEM_NAMESPACE, SECRET)
  if (found === undefined) await kube.create(SECRETS, { apiVersion: 'v1', kind: 'Secret', metadata: { name: SECRET, namespace: SYSTEM_NAMESPACE }, data })
  else await kube.replace(SECRETS, { ...found, data })
}

const certificatesIn = (bundle: string): number => bundle.split('BEGIN CERTIFICATE').length - 1

await test('a certificate of our own making renewed under load, and then its CA: no admission fails, and no restart', async (subtest) => {
  // Certificates cannot be valid in the future, so the replicas begin in the past and catch up.
  let behindMs = 64 * DAY_MS
  const clock = { now: (): number => Date.now() - behindMs }
  // A CA that is due for renewal since this morning, at two thirds of its five years.
  const old = await createMaterial(NAMES, Date.now() - (5 * YEAR_MS * 2) / 3 - DAY_MS / 2)
  const aged = (): Promise<CertificateMaterial> => renewLeaf(old, NAMES, Date.now() - 65 * DAY_MS)
  await writeShared(await aged())

  const replicas: RunningWebhook[] = []
  for (let count = 0; count < 2; count += 1) {
    const client = await createClient({ kubeconfig: deployment.kubeconfig, userAgent: 'access-gate-test webhook' })
    const replica = await runWebhook(
      { ...DEFAULT_WEBHOOK_OPTIONS, host: LOOPBACK, port: await freePort(), metricsHost: LOOPBACK, metricsPort: 0, drainMs: 0, secretMs: 5_000, bundleMs: 1_000 },
      { reader: client, writer: client, permission: client },
      { logger: createLogger({ level: 'error', destination: process.stderr }), clock },
    )
    subtest.teardown(async () => {
      await replica.stop()
      client.close()
    })
    await replica.ready
    service.add(replica)
    replicas.push(replica)
  }
  await untilAnswered(throughTheServer)

  let trusted = await readCaBundle(kube)
  const loads = startLoads(subtest, () => trusted)
  const following = startLoad(1, 50, async () => {
    trusted = await readCaBundle(kube)
    return undefined
  })
  const share = ADMISSIONS / 3
  await goesOn(loads, share)

  const before = await readShared()
  behindMs = 4 * DAY_MS
  await untilTrue('the certificate is renewed', async () => (await readShared()).leaf.cert !== before.leaf.cert, WITHIN_MS)
  await untilServed(replicas, readShared)
  subtest.equal((await readShared()).caBundle, before.caBundle, 'by the same CA')
  await goesOn(loads, share)

  behindMs = 64 * DAY_MS
  await writeShared(await aged())
  await untilServed(replicas, readShared)
  const last = await readShared()
  behindMs = 0
  const first = async (): Promise<CertificateMaterial | undefined> => {
    const shared = await readShared()
    return shared.caBundle === last.caBundle ? undefined : shared
  }
  const renewed = await eventually('the CA is renewed', first, WITHIN_MS)
  subtest.equal(renewed.leaf.cert, last.leaf.cert, 'the CA first')
  await untilTrue('the certificate is renewed by the new CA', async () => (await readShared()).leaf.cert !== last.leaf.cert, WITHIN_MS)
  await untilServed(replicas, readShared)
  await goesOn(loads, share)

  const failed = await loads.stop()
  await following.stop()
  judge(subtest, loads, failed, 3)
  subtest.strictSame(following.failed, [])
  const { caBundle, leaf } = await readShared()
  subtest.equal(certificatesIn(caBundle), 2, 'the old CA is trusted for a while')
  subtest.equal(await readCaBundle(kube), caBundle)
  const [newest = ''] = caBundle.split(/(?<=END CERTIFICATE-----\n)/)
  subtest.ok(new X509Certificate(leaf.cert).verify(new X509Certificate(newest).publicKey), 'the new CA has signed what is served')
})
