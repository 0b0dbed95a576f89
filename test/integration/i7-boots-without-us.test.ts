import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { t, test } from 'tap'
import { stringify } from 'yaml'
import { startControlPlane } from '../../hack/control-plane/start.ts'
import { applyManifests } from '../../hack/sandbox/manifests.ts'
import { API_VERSION, CLEANUP_FINALIZER } from '../../src/api/names.ts'
import { eventually } from '../support/eventually.ts'
import { gatedVolume, podManifest } from '../support/gated-world.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

/** A port where somebody listens and never answers, which costs a caller all of its time. */
const hangingPort = async () => {
  const sockets = new Set<Socket>()
  let calls = 0
  const server = createServer((socket) => {
    calls += 1
    sockets.add(socket)
    socket.on('error', () => undefined)
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const close = (): void => {
    server.close()
    for (const socket of sockets) socket.destroy()
  }
  t.teardown(close)
  const address = server.address()
  return { port: typeof address === 'object' && address !== null ? address.port : 0, calls: () => calls, close }
}

const away = await hangingPort()
const dataDir = join(await temporaryFolder(t), 'kept')
const before = await startControlPlane({ log: () => undefined, dataDir })
t.teardown(() => before.stop())
await applyManifests(before, away.port)
// The request of a time when the webhook was there.
const request = (name: string): object => ({
  apiVersion: API_VERSION,
  kind: 'AccessRequest',
  metadata: { name, namespace: 'team', finalizers: [CLEANUP_FINALIZER] },
  spec: { subject: { kind: 'ServiceAccount', name: 'builder', namespace: 'team' }, connectorRef: { name: 'harbor' }, context: { objectRef: { apiVersion: 'v1', kind: 'Pod', name: 'p', namespace: 'team' } } },
})
await before.kubectl(['create', 'namespace', 'team'])
await before.kubectl(['delete', 'mutatingwebhookconfiguration,validatingwebhookconfiguration', 'access-gate'])
await before.kubectl(['create', '-f', '-'], { input: stringify(request('older')) })
await applyManifests(before, away.port)
await before.stop()

// With no webhook and no controller anywhere. It returns when /readyz says yes.
const cluster = await startControlPlane({ log: () => undefined, dataDir })
t.teardown(() => cluster.stop())

const NODE = ['--as', 'system:node:node-1', '--as-group', 'system:nodes', '--as-group', 'system:masters']
const rbac = (kind: string, more: object, namespace?: string): object => ({
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind,
  metadata: { name: 'of-others', ...(namespace === undefined ? {} : { namespace }) },
  ...more,
})
const rules = [{ apiGroups: [''], resources: ['pods'], verbs: ['get'] }]
const subjects = [{ kind: 'ServiceAccount', name: 'default', namespace: 'team' }]
const workload = (namespace: string, name: string): object => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name, namespace },
  spec: {
    selector: { matchLabels: { app: name } },
    template: { metadata: { labels: { app: name } }, spec: { serviceAccountName: 'default', containers: [{ name: 'main', image: 'registry.example/main:1' }] } },
  },
})
const pod = (namespace: string, name: string, volumes: NonNullable<Parameters<typeof podManifest>[3]>['volumes'] = []): object =>
  podManifest(namespace, name, [], { serviceAccountName: 'default', volumes })

interface Call {
  args: string[]
  input?: object
}
const create = (input: object, ...who: string[]): Call => ({ args: ['create', '-f', '-', ...who], input })

/** What a cluster needs to boot, and what others do in it. */
const notOurs: Record<string, Call> = {
  'a namespace': { args: ['create', 'namespace', 'made-later'] },
  'a node, by itself': create({ apiVersion: 'v1', kind: 'Node', metadata: { name: 'node-1' } }, ...NODE),
  'its status': { args: ['patch', 'node', 'node-1', '--subresource=status', '--type=merge', '-p', '{"status":{"conditions":[{"type":"Ready","status":"True"}]}}', ...NODE] },
  'its lease': create({ apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: 'node-1', namespace: 'kube-node-lease' }, spec: { holderIdentity: 'node-1' } }, ...NODE),
  'its static Pod': create(
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'etcd-node-1', namespace: 'kube-system', annotations: { 'kubernetes.io/config.mirror': 'a' } },
      spec: { nodeName: 'node-1', containers: [{ name: 'etcd', image: 'registry.example/etcd:1' }] },
    },
    ...NODE,
  ),
  'a Deployment in kube-system': create(workload('kube-system', 'coredns')),
  'a Pod in kube-system': create(pod('kube-system', 'coredns-1')),
  'a Pod in kube-system that mounts a Connector': create(pod('kube-system', 'with-connector', [gatedVolume({ connectors: 'team/harbor' })])),
  'the lease of a controller': create({ apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: 'kube-scheduler', namespace: 'kube-system' }, spec: { holderIdentity: 'a' } }),
  'a Pod without volumes': create(pod('team', 'plain')),
  'a Pod with the volume of another driver': create(pod('team', 'other', [{ name: 'a', csi: { driver: 'another-csi' } }])),
  'a Pod that runs': { args: ['patch', 'pod', 'plain', '-n', 'team', '--subresource=status', '--type=merge', '-p', '{"status":{"phase":"Running"}}', ...NODE] },
  'labels of a Pod': { args: ['label', 'pod', 'plain', '-n', 'team', 'a=b'] },
  'the end of a Pod': { args: ['delete', 'pod', 'other', '-n', 'team', '--force', '--grace-period=0'] },
  'a Deployment': create(workload('team', 'app')),
  'a ConfigMap': { args: ['create', 'configmap', 'settings', '-n', 'team', '--from-literal=a=b'] },
  'a ServiceAccount': { args: ['create', 'serviceaccount', 'builder', '-n', 'team'] },
  'a Secret': { args: ['create', 'secret', 'generic', 'key', '-n', 'team', '--from-literal=a=b'] },
  'a Role': create(rbac('Role', { rules }, 'team')),
  'a RoleBinding': create(rbac('RoleBinding', { subjects, roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'of-others' } }, 'team')),
  'a ClusterRole': create(rbac('ClusterRole', { rules })),
  'a definition of others': create({
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: 'things.example.com' },
    spec: {
      group: 'example.com',
      scope: 'Namespaced',
      names: { kind: 'Thing', plural: 'things' },
      versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } } }],
    },
  }),
  'the Connector itself': create({ apiVersion: API_VERSION, kind: 'Connector', metadata: { name: 'harbor', namespace: 'team' }, spec: { connectorClassName: 'harbor', address: 'https://harbor.example.com' } }),
  'the finalizer of a request': { args: ['patch', 'accessrequest', 'older', '-n', 'team', '--type=merge', '-p', '{"metadata":{"finalizers":null}}'] },
  'the end of a request': { args: ['delete', 'accessrequest', 'older', '-n', 'team', '--timeout=90s'] },
}

const attempt = ({ args, input }: Call): Promise<{ code: number; stderr: string }> =>
  cluster.kubectl(args, { allowFailure: true, ...(input === undefined ? {} : { input: stringify(input) }) })

for (const [what, call] of Object.entries(notOurs)) {
  await test(`I7 with us away from its start on, the API server takes at the first attempt: ${what}`, async (subtest) => {
    const { code, stderr } = await attempt(call)
    subtest.equal(code, 0, stderr)
  })
}

await test('I7 for none of these the webhook was even called, so that one that hangs delays nothing', (subtest) => {
  subtest.equal(away.calls(), 0)
  subtest.end()
})

await test('I7 with a webhook that hangs, a Pod that mounts a Connector is admitted once its time is up', async (subtest) => {
  subtest.match(await attempt(create(pod('team', 'gated', [gatedVolume({ connectors: 'team/harbor' })]))), { code: 0 })
  subtest.ok(away.calls() > 0)
})

await test('I7 with nobody at all at the webhook, such a Pod is admitted, and a request is refused with what is the matter', async (subtest) => {
  away.close()
  subtest.match(await attempt(create(pod('team', 'gated-too', [gatedVolume({ connectors: 'team/harbor' })]))), { code: 0 })
  const refused = await attempt(create(request('newer')))
  subtest.equal(refused.code, 1)
  subtest.match(refused.stderr, /failed calling webhook "access-request\.connectors\.alauda\.io": .*connect: connection refused/)
})

await test('I7 a namespace with all of that in it can be deleted', async (subtest) => {
  await cluster.kubectl(['delete', 'namespace', 'team', '--wait=false'])
  // A Pod on a node waits for its kubelet; there is none.
  await cluster.kubectl(['delete', 'pods', '--all', '-n', 'team', '--force', '--grace-period=0'])
  await eventually('the namespace is gone', async () => ((await cluster.call('GET', '/api/v1/namespaces/team')).status === 404 ? true : undefined), 60_000)
  subtest.pass('it is gone')
})
