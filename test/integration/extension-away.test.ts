import { t, test } from 'tap'
import { startControlPlane } from '../../hack/control-plane/start.ts'
import { applyConnectionManifests } from '../../hack/sandbox/manifests.ts'
import { SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { DEFAULT_EXTENSION_OPTIONS } from '../../src/extension/options.ts'
import { untilTrue } from '../support/eventually.ts'
import { askThrough, AUTH_ACCOUNT, CONNECTION_API, untilAvailable } from '../support/extension-world.ts'
import { deploy, startReplica, webhookService } from '../support/webhook-service.ts'
import { createObjects, createWorkspaces, mayConnect } from '../support/workspace-objects.ts'

/** How long a deletion that was held may take, milliseconds: Kubernetes tries again after as long as it was held, and once a minute at least. */
const GONE_WITHIN_MS = 60_000
/** How late the Service learns that a replica ends, milliseconds; it serves on for far longer, also where a busy machine asks it late. */
const LAG_MS = 300
const DRAIN_SECONDS = 6
const CALLERS = 8
const API_SERVICES = DEFAULT_EXTENSION_OPTIONS.apiServiceNames

// Its own: namespaces of others would wait here, too.
const cluster = await startControlPlane({ log: () => undefined })
t.teardown(() => cluster.stop())
const service = await webhookService(t, LAG_MS)
await cluster.kubectl(['create', 'namespace', SYSTEM_NAMESPACE])
await applyConnectionManifests(cluster, service.port)
await cluster.kubectl(['create', 'namespace', 'team'])
await createObjects(cluster, [mayConnect('team', 'people', [{ kind: 'User', name: 'alice' }])])
await createWorkspaces(cluster, 'team', { notebook: { spec: { accessType: 'OwnerOnly' } } })
const deployment = await deploy(t, cluster, 'extension')
const replica = (drainSeconds: number) => startReplica(t, deployment, ['--self-signed', `--drain-seconds=${drainSeconds}`])
// The third one is ready, but nobody is led to it yet.
const [first, second, third] = await Promise.all([replica(DRAIN_SECONDS), replica(1), replica(1)])
service.add(first)
service.add(second)

const REVIEW = { path: `${CONNECTION_API}/namespaces/team/connectionaccessreviews`, body: { spec: { workspaceName: 'notebook', user: 'alice' } } }
/** What was answered, in short. */
const review = async (): Promise<string> => {
  const { code, text } = await askThrough(cluster, AUTH_ACCOUNT, REVIEW)
  return code === 201 && text.includes('"allowed":true') ? 'allowed' : `${code} ${text}`
}
await untilAvailable(cluster)
await untilTrue('alice may connect', async () => (await review()) === 'allowed')

await test('of two replicas one ends by SIGTERM under load, and no review is lost', async (subtest) => {
  const answers = new Map<string, number>()
  const over = new AbortController()
  const calling = Array.from({ length: CALLERS }, async () => {
    while (!over.signal.aborted) {
      const answer = await review()
      answers.set(answer, (answers.get(answer) ?? 0) + 1)
    }
  })
  const allowed = (): number => answers.get('allowed') ?? 0
  await untilTrue('both have been called', () => allowed() > 50 && [first, second].every(({ port }) => (service.connections.get(port) ?? 0) > 0))
  subtest.equal(await first.end(), 0)
  const atTheEnd = allowed()
  await untilTrue('reviews go on', () => allowed() > atTheEnd + 50)
  over.abort()
  await Promise.all(calling)
  subtest.strictSame([...answers.keys()], ['allowed'])
})

const isGone = async (namespace: string): Promise<boolean> => (await cluster.call('GET', `/api/v1/namespaces/${namespace}`)).status === 404

/** A namespace that waits in Terminating because nobody answers for the APIServices. */
const heldNamespace = async (): Promise<string> => {
  const namespace = await cluster.namespace('held')
  await untilAvailable(cluster, 'False')
  await cluster.kubectl(['delete', 'namespace', namespace, '--wait=false'])
  await cluster.kubectl(['wait', `namespace/${namespace}`, '--for=condition=NamespaceDeletionDiscoveryFailure', '--timeout=90s'])
  return namespace
}

await test('a namespace whose deletion was held while the extension was away goes within 60 s of its return', async (subtest) => {
  await second.end()
  const namespace = await heldNamespace()
  service.add(third)
  await untilAvailable(cluster)
  await untilTrue('the namespace is gone', () => isGone(namespace), GONE_WITHIN_MS)
  subtest.equal(await review(), 'allowed')
})

await test('and within 60 s of the deletion of its APIServices', async (subtest) => {
  await third.end()
  const namespace = await heldNamespace()
  await cluster.kubectl(['delete', 'apiservice', ...API_SERVICES])
  await untilTrue('the namespace is gone', () => isGone(namespace), GONE_WITHIN_MS)
  subtest.match(await askThrough(cluster, AUTH_ACCOUNT, REVIEW), { code: 404 })
})
