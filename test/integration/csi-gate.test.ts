/**
 * The CSI plugin with the token of its own ServiceAccount against a real API server, webhook and controller. The test plays kubelet: it
 * calls over the socket and looks into the target folder.
 */
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { status } from '@grpc/grpc-js'
import { t, test, type Test } from 'tap'
import { readAnswer } from '../../hack/control-plane/api-call.ts'
import type { AccessRequest } from '../../src/api/access-request.ts'
import { PROXY_AUDIENCE, SERVICE_ACCOUNT, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import type { Pod } from '../../src/api/pod.ts'
import { DEFAULT_CSI_OPTIONS } from '../../src/csi/options.ts'
import { runCsi } from '../../src/csi/role.ts'
import { createClient } from '../../src/kube/client.ts'
import { ACCESS_REQUESTS, PODS } from '../../src/kube/resources.ts'
import { systemClock } from '../../src/kube/timers.ts'
import { testControlPlane } from '../support/control-plane.ts'
import { csiClient, type CsiClient } from '../support/csi-client.ts'
import { eventually, untilTrue } from '../support/eventually.ts'
import { BUILDER, gatedWorld, podManifest } from '../support/gated-world.ts'
import { logLines } from '../support/log-lines.ts'

const cluster = testControlPlane()
const world = await gatedWorld(t, cluster)
const { kube, shared, work } = world

const NODE = `csi-gate-${work}`
const MERGE = 'application/merge-patch+json'
// A socket's path is short.
const folder = await mkdtemp(join(tmpdir(), 'csi-gate-'))
const kubeletDir = join(folder, 'kubelet')
const endpoint = join(folder, 'csi.sock')

const token = await cluster.serviceAccountToken(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.csi)
const client = await createClient({ kubeconfig: await cluster.kubeconfigFor({ name: NODE, token }), userAgent: 'access-gate-test csi' })
const { log, lines } = logLines()
const plugin = await runCsi(
  { ...DEFAULT_CSI_OPTIONS, nodeName: NODE, endpoint, registrationDir: folder, kubeletDir, stateDir: join(folder, 'state'), metricsHost: '127.0.0.1', metricsPort: 0 },
  client,
  { logger: log, clock: systemClock, version: '0.0.0' },
)
const kubelet: CsiClient = csiClient(endpoint)
t.teardown(async () => {
  kubelet.close()
  await plugin.stop()
  client.close()
  await rm(folder, { recursive: true, force: true })
})
await plugin.ready

/** A Connector with an address of its proxy, which in a cluster the proxy's own controller writes. */
const connector = async (name: string): Promise<void> => {
  await world.connector(name)
  const path = `/apis/connectors.alauda.io/v1alpha1/namespaces/${shared}/connectors/${name}/status`
  readAnswer(await cluster.call('PATCH', path, { status: { proxy: { httpAddress: { url: `http://c-${name}.${shared}.svc` } } } }, MERGE), `address of ${name}`)
}

const podOnNode = async (name: string, connectors: string[]): Promise<Pod> => {
  const manifest = podManifest(work, name, connectors.map((one) => `${shared}/${one}`))
  return kube.create(PODS, { ...manifest, spec: { ...manifest.spec, nodeName: NODE } })
}

const builderToken = await cluster.serviceAccountToken(work, BUILDER, { audiences: [PROXY_AUDIENCE] })

interface Volume {
  target: string
  publish(): ReturnType<CsiClient['begin']>
  unpublish(): Promise<{ code: number }>
  files(): Promise<string[]>
}

/** As kubelet has it for the Pod's volume. */
const volumeOf = async ({ metadata, spec }: Pod): Promise<Volume> => {
  const [volume] = spec?.volumes ?? []
  const target = join(kubeletDir, 'pods', metadata.uid ?? '', 'volumes', 'kubernetes.io~csi', volume?.name ?? '', 'mount')
  await mkdir(dirname(target), { recursive: true })
  const volumeId = `csi-${metadata.uid ?? ''}`
  const kubeletsOwn = {
    'csi.storage.k8s.io/pod.name': metadata.name,
    'csi.storage.k8s.io/pod.namespace': metadata.namespace ?? '',
    'csi.storage.k8s.io/pod.uid': metadata.uid ?? '',
    'csi.storage.k8s.io/serviceAccount.name': spec?.serviceAccountName ?? '',
    'csi.storage.k8s.io/ephemeral': 'true',
    'csi.storage.k8s.io/serviceAccount.tokens': JSON.stringify({ [PROXY_AUDIENCE]: { token: builderToken, expirationTimestamp: '2040-01-01T00:00:00Z' } }),
  }
  const message = {
    volumeId,
    targetPath: target,
    readonly: true,
    volumeCapability: { mount: {}, accessMode: { mode: 1 } },
    volumeContext: { ...volume?.csi?.volumeAttributes, ...kubeletsOwn },
  }
  return {
    target,
    publish: () => kubelet.begin('csi.v1.Node', 'NodePublishVolume', message),
    unpublish: () => kubelet.call('csi.v1.Node', 'NodeUnpublishVolume', { volumeId, targetPath: target }),
    files: () => readdir(target).catch(() => []),
  }
}

/** `reason note` of the Events at a Pod that the plugin wrote. */
const eventsOf = async ({ metadata }: Pod): Promise<string[]> => {
  const { stdout } = await cluster.kubectl([
    'get', 'events.events.k8s.io', '-n', work, '-o', `jsonpath={range .items[?(@.regarding.uid=="${metadata.uid ?? ''}")]}{.reportingController} {.reason} {.note}{"\\n"}{end}`,
  ])
  return stdout.split('\n').filter((line) => line.startsWith('access-gate ')).map((line) => line.slice('access-gate '.length))
}

/** The call waits, and the Pod says for what. */
const untilTold = (pod: Pod, words: string): Promise<string> => eventually(`an Event with ${words}`, async () => (await eventsOf(pod)).find((event) => event.includes(words)))

const nameOf = ({ metadata }: AccessRequest): string => `${metadata.namespace ?? ''}/${metadata.name}`
const BUILT_IN = ['.env', 'connector.status.proxyAddress', 'context.token', 'http.proxy', 'https.proxy']

t.jobs = 4
const tests: Promise<unknown>[] = []
const later = (title: string, run: (subtest: Test) => Promise<void>): void => {
  tests.push(test(title, run))
}

later('pending, then approved: the waiting call mounts the files, and an unmount removes them', async (subtest) => {
  await connector('harbor')
  const pod = await podOnNode('approved', ['harbor'])
  const request = await world.requestOf(pod)
  const volume = await volumeOf(pod)
  await world.task('approved', 'pending')
  const call = volume.publish()
  subtest.equal(
    await untilTold(pod, `ApprovalTask ${work}/approved`),
    `AccessWaiting volume "connectors": Connector ${shared}/harbor, AccessRequest ${nameOf(request)}: waiting for ApprovalTask ${work}/approved`,
  )
  subtest.strictSame(await volume.files(), [])
  await world.setState('approved', 'approved')
  subtest.match(await call.answer, { code: status.OK })
  subtest.strictSame((await volume.files()).toSorted(), BUILT_IN)
  subtest.equal(await readFile(join(volume.target, 'context.token'), 'utf8'), builderToken)
  subtest.equal(await world.mayUse('approved', 'harbor'), true)
  subtest.equal((await world.requestsOf(pod)).length, 1, 'the request of the hook is the one that counts')
  subtest.match(await volume.unpublish(), { code: status.OK })
  subtest.strictSame(await volume.files(), [])
})

later('without a request of the hook the plugin makes it, as itself', async (subtest) => {
  // As when the hook was down: this Pod names no Connector that is there when it is admitted.
  const pod = await podOnNode('late', ['later'])
  await connector('later')
  const volume = await volumeOf(pod)
  const call = volume.publish()
  const request = await eventually('its request', async () => (await world.requestsOf(pod)).at(0))
  subtest.match(request.metadata.annotations, { 'connectors.alauda.io/requested-by': `system:serviceaccount:${SYSTEM_NAMESPACE}:${SERVICE_ACCOUNT.csi}` })
  await world.task('late', 'approved')
  subtest.match(await call.answer, { code: status.OK })
  subtest.strictSame((await volume.files()).toSorted(), BUILT_IN)
})

later('rejected: the volume holds the reason alone', async (subtest) => {
  await connector('nexus')
  const pod = await podOnNode('rejected', ['nexus'])
  const request = await world.requestOf(pod)
  const volume = await volumeOf(pod)
  await world.task('rejected', 'pending')
  const call = volume.publish()
  await untilTold(pod, nameOf(request))
  await world.setState('rejected', 'rejected')
  subtest.match(await call.answer, { code: status.OK })
  subtest.strictSame(await volume.files(), ['.error.json'])
  const text = await readFile(join(volume.target, '.error.json'), 'utf8')
  subtest.match(JSON.parse(text), {
    code: 7,
    details: [{ reason: 'AccessRejected', domain: 'connectors.alauda.io', metadata: { connector: `${shared}/nexus`, accessRequest: nameOf(request) } }],
  })
  subtest.match(await untilTold(pod, 'was rejected'), /^AccessRefused /)
})

later('a Pod that is deleted while it waits: answered at once', async (subtest) => {
  await connector('sonar')
  const pod = await podOnNode('deleted', ['sonar'])
  const volume = await volumeOf(pod)
  await world.task('deleted', 'pending')
  const call = volume.publish()
  await untilTold(pod, nameOf(await world.requestOf(pod)))
  await world.deletePod('deleted')
  subtest.match(await call.answer, { code: status.UNAVAILABLE, details: `Pod ${work}/deleted is being deleted; it gets no new mount` })
  subtest.strictSame(await volume.files(), [])
})

later('a request that is deleted while it is waited for: refused, and not made again', async (subtest) => {
  await connector('maven')
  const pod = await podOnNode('revoked', ['maven'])
  const request = await world.requestOf(pod)
  const volume = await volumeOf(pod)
  await world.task('revoked', 'pending')
  const call = volume.publish()
  await untilTold(pod, nameOf(request))
  await kube.remove(ACCESS_REQUESTS, shared, request.metadata.name)
  subtest.match(await call.answer, { code: status.PERMISSION_DENIED, details: /was deleted; a new Pod gets a new one/ })
  await untilTrue('it is gone', async () => (await world.requestsOf(pod)).length === 0)
  const again = volume.publish()
  subtest.match(await again.answer, { code: status.PERMISSION_DENIED })
  subtest.strictSame(await world.requestsOf(pod), [])
})

later('a grant that is gone: the files of a running Pod are replaced by the reason', async (subtest) => {
  await connector('pypi')
  const pod = await podOnNode('running', ['pypi'])
  const request = await world.requestOf(pod)
  const volume = await volumeOf(pod)
  await world.task('running', 'approved')
  subtest.match(await volume.publish().answer, { code: status.OK })
  const statusOfContainer = { containerStatuses: [{ name: 'build', image: 'i', imageID: '', ready: true, restartCount: 0, containerID: 'containerd://1', state: { running: {} } }] }
  readAnswer(await cluster.call('PATCH', `/api/v1/namespaces/${work}/pods/running/status`, { status: { phase: 'Running', ...statusOfContainer } }, MERGE), 'status of running')
  subtest.match(await volume.publish().answer, { code: status.OK })
  subtest.strictSame((await volume.files()).toSorted(), BUILT_IN)
  await kube.remove(ACCESS_REQUESTS, shared, request.metadata.name)
  await untilTrue('the API server says no', async () => !(await world.mayUse('running', 'pypi')))
  subtest.match(await volume.publish().answer, { code: status.OK })
  subtest.strictSame(await volume.files(), ['.error.json'])
})

later('nothing secret is logged', async (subtest) => {
  await Promise.all(tests.slice(0, -1))
  subtest.notMatch(JSON.stringify(lines), builderToken)
  subtest.ok(lines.length > 0)
})
await Promise.all(tests)
