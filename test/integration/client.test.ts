import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import { parse, stringify } from 'yaml'
import type { ConfigMap } from '../../src/api/config-map.ts'
import { createClient, type KubeClient } from '../../src/kube/client.ts'
import { eventSink } from '../../src/kube/events.ts'
import { createLease } from '../../src/kube/lease.ts'
import { createReflector, type Reflector } from '../../src/kube/reflector.ts'
import { CONFIG_MAPS, EVENTS, LEASES, PODS, ROLES, ROLE_BINDINGS } from '../../src/kube/resources.ts'
import { createStore, type Store } from '../../src/kube/store.ts'
import { systemClock, systemTimers, type Timers } from '../../src/kube/timers.ts'
import { testControlPlane } from '../support/control-plane.ts'
import { cuttableProxy, type CuttableProxy } from '../support/cuttable-proxy.ts'
import { logLines } from '../support/log-lines.ts'
import { untilTrue } from '../support/eventually.ts'

const cluster = testControlPlane()

const clientFor = async (t: Test, kubeconfig: string, requestTimeoutMs = 10_000): Promise<KubeClient> => {
  const kube = await createClient({ kubeconfig, userAgent: 'access-gate-test', requestTimeoutMs })
  t.teardown(() => kube.close())
  return kube
}
const admin = (t: Test): Promise<KubeClient> => clientFor(t, cluster.adminKubeconfig)

await test('a list of more than a page has every object once', async (t) => {
  const kube = await admin(t)
  const namespace = await cluster.namespace('pages')
  const names = Array.from({ length: 1_040 }, (_, index) => `item-${String(index).padStart(4, '0')}`)
  for (let start = 0; start < names.length; start += 40)
    await Promise.all(names.slice(start, start + 40).map((name) => kube.create(CONFIG_MAPS, { metadata: { name, namespace, labels: { paged: 'yes' } } })))
  const { items } = await kube.list(CONFIG_MAPS, { namespace, labelSelector: 'paged=yes' })
  t.same(items.map(({ metadata }) => metadata.name).toSorted((a, b) => a.localeCompare(b)), names)
})

await test('a ServiceAccount may do what it is granted, and a question tells so beforehand', async (t) => {
  const kube = await admin(t)
  const namespace = await cluster.namespace('permission')
  const token = await cluster.serviceAccountToken(namespace, 'default', { seconds: 600 })
  const someone = await clientFor(t, await cluster.kubeconfigFor({ name: 'someone', token }))
  const user = `system:serviceaccount:${namespace}:default`
  const may = (subresource: string, verb: string): Promise<boolean> =>
    kube.allows({ user, groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`] }, { group: 'connectors.alauda.io', resource: 'connectors', subresource, verb, namespace, name: 'git' })
  t.same([await may('proxy', '*'), await may(`proxy/v1/pod/${namespace}/build-1`, '*')], [false, false])
  await t.rejects(someone.list(PODS, { namespace }), { code: 'KUBE_FORBIDDEN', message: new RegExp(`^pods is forbidden: User "${user}" cannot list`) })

  await kube.create(ROLES, {
    metadata: { name: 'grant', namespace },
    rules: [
      { apiGroups: ['connectors.alauda.io'], resources: [`connectors/proxy/v1/pod/${namespace}/build-1`], resourceNames: ['git'], verbs: ['*'] },
      { apiGroups: [''], resources: ['pods'], verbs: ['list'] },
    ],
  })
  await kube.create(ROLE_BINDINGS, {
    metadata: { name: 'grant', namespace },
    subjects: [{ kind: 'ServiceAccount', name: 'default', namespace }],
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'grant' },
  })
  await untilTrue('the grant is in effect', () => may(`proxy/v1/pod/${namespace}/build-1`, '*'))
  t.same([await may('proxy', '*'), await may(`proxy/v1/pod/${namespace}/build-2`, '*')], [false, false])
  t.same((await someone.list(PODS, { namespace })).items, [])
})

await test('a token that nobody knows is forbidden', async (t) => {
  const stranger = await clientFor(t, await cluster.kubeconfigFor({ name: 'stranger', token: 'not-a-token' }))
  await t.rejects(stranger.get(CONFIG_MAPS, 'default', 'x'), { code: 'KUBE_FORBIDDEN', message: 'Unauthorized' })
})

await test('a server whose certificate is not of the configured authority, or for another name, is not spoken to', async (t) => {
  const folder = t.testdir({})
  const clusterEntry = { server: cluster.server, 'certificate-authority-data': Buffer.from(cluster.caPem).toString('base64') }
  const changed = async (name: string, entry: object): Promise<KubeClient> => {
    const file = join(folder, name)
    const config = { ...parse(await readFile(cluster.adminKubeconfig, 'utf8')), clusters: [{ name: 'c', cluster: entry }], contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }], 'current-context': 'x' }
    await writeFile(file, stringify({ ...config, users: [{ name: 'u', user: { token: cluster.adminToken } }] }))
    return clientFor(t, file)
  }
  t.equal(await (await changed('right', clusterEntry)).get(CONFIG_MAPS, 'default', 'nobody'), undefined)
  await t.rejects((await changed('no-authority', { server: cluster.server })).get(CONFIG_MAPS, 'default', 'nobody'), { code: 'KUBE_UNAVAILABLE', message: /certificate/ })
  await t.rejects((await changed('another-name', { ...clusterEntry, 'tls-server-name': 'elsewhere.access-gate.test' })).get(CONFIG_MAPS, 'default', 'nobody'), { code: 'KUBE_UNAVAILABLE', message: /does not match certificate/ })
  t.equal(await (await changed('its-name', { ...clusterEntry, 'tls-server-name': 'kubernetes.default.svc' })).get(CONFIG_MAPS, 'default', 'nobody'), undefined)
})

await test('the API server takes our Events, short and long, and one repeated is one', async (t) => {
  const kube = await admin(t)
  const namespace = await cluster.namespace('events')
  const lines = logLines()
  const sink = eventSink({ writer: kube, clock: systemClock, timers: systemTimers, random: Math.random, log: lines.log, reportingInstance: 'x'.repeat(300) })
  const regarding = { apiVersion: 'v1', kind: 'ConfigMap', namespace, name: 'a'.repeat(253), uid: 'uid-1' }
  const event = { regarding, type: 'Warning', reason: 'R'.repeat(200), action: 'A'.repeat(200), note: 'ünïcödé '.repeat(300) } as const
  await sink.emit(event)
  await sink.emit(event)
  await sink.emit({ regarding: { ...regarding, kind: 'Namespace', namespace: '', name: namespace }, type: 'Normal', reason: 'Granted', action: 'Grant', note: 'short' })
  t.same(lines.messages(), [])
  t.equal((await kube.list(EVENTS, { namespace })).items.length, 1)
  const ofCluster = (await kube.list(EVENTS, { namespace: 'default' })).items.filter(({ regarding: { name } }) => name === namespace)
  t.match(ofCluster, [{ note: 'short' }])
})

await test('of two replicas one leads, and after its stop the other does', async (t) => {
  const kube = await admin(t)
  const namespace = await cluster.namespace('lease')
  const replica = (identity: string) => {
    const controller = new AbortController()
    const lease = createLease({ kube, namespace, name: 'leader', identity, clock: systemClock, timers: systemTimers, random: Math.random, log: logLines().log })
    const done = lease.run({ signal: controller.signal, onStartedLeading: () => undefined })
    const stop = async (): Promise<void> => {
      controller.abort()
      await done
    }
    t.teardown(stop)
    return { lease, stop }
  }
  const one = replica('one')
  await untilTrue('the first leads', () => one.lease.held())
  const two = replica('two')
  await untilTrue('the first has renewed', async () => {
    const record = await kube.get(LEASES, namespace, 'leader')
    return record?.spec?.renewTime !== record?.spec?.acquireTime
  })
  t.same([one.lease.held(), two.lease.held()], [true, false])
  await one.stop()
  t.equal(one.lease.held(), false)
  await untilTrue('the second leads', () => two.lease.held())
  t.match(await kube.get(LEASES, namespace, 'leader'), { spec: { holderIdentity: 'two', leaseDurationSeconds: 10, leaseTransitions: 1 } })
})

/** Time that runs ten times as fast, so that a test of backoffs and silence is short. */
const fastTimers: Timers = { monotonic: () => performance.now() * 10, after: (ms, run) => systemTimers.after(ms / 10, run) }

interface Watching {
  kube: KubeClient
  proxy: CuttableProxy
  namespace: string
  store: Store<ConfigMap>
  reflector: Reflector
  names: () => string[]
}

/** A reflector that reaches the API server through a proxy; `kube` does not. */
const watching = async (t: Test): Promise<Watching> => {
  const namespace = await cluster.namespace('reflector')
  const proxy = await cuttableProxy(t, new URL(cluster.server))
  const file = join(t.testdir({}), 'kubeconfig')
  await writeFile(file, (await readFile(cluster.adminKubeconfig, 'utf8')).replaceAll(cluster.server, `https://127.0.0.1:${proxy.port}`))
  const lines = logLines()
  const store = createStore<ConfigMap>({ log: lines.log })
  const reflector = createReflector({
    kube: await clientFor(t, file, 1_000),
    resource: CONFIG_MAPS,
    namespace,
    labelSelector: 'mine=yes',
    store,
    clock: systemClock,
    timers: fastTimers,
    random: Math.random,
    log: lines.log,
  })
  const controller = new AbortController()
  const done = reflector.run(controller.signal)
  t.teardown(async () => {
    controller.abort()
    await done
  })
  await reflector.synced
  return { kube: await admin(t), proxy, namespace, store, reflector, names: () => [...store.values()].map(({ metadata }) => metadata.name).toSorted((a, b) => a.localeCompare(b)) }
}
const mine = (namespace: string, name: string): ConfigMap => ({ metadata: { name, namespace, labels: { mine: 'yes' } }, data: { name } })

await test('a reflector follows the API server, and drops what it need not keep', async (t) => {
  const { kube, namespace, store, names } = await watching(t)
  await kube.create(CONFIG_MAPS, mine(namespace, 'a'))
  await kube.create(CONFIG_MAPS, mine(namespace, 'b'))
  await untilTrue('both are there', () => names().join(' ') === 'a b')
  t.notOk(Reflect.has(store.get(namespace, 'a')?.metadata ?? {}, 'managedFields'))
  await kube.mergePatch(CONFIG_MAPS, namespace, 'a', { metadata: { labels: { mine: 'no' } } })
  await kube.remove(CONFIG_MAPS, namespace, 'b')
  await untilTrue('both are gone', () => store.size === 0)
})

await test('what happens while the connection is cut is seen when it is back, deletions too', async (t) => {
  const { kube, proxy, namespace, names } = await watching(t)
  await kube.create(CONFIG_MAPS, mine(namespace, 'a'))
  await kube.create(CONFIG_MAPS, mine(namespace, 'b'))
  await untilTrue('both are there', () => names().join(' ') === 'a b')
  proxy.cut()
  await kube.remove(CONFIG_MAPS, namespace, 'a')
  await kube.create(CONFIG_MAPS, mine(namespace, 'c'))
  t.same(names(), ['a', 'b'])
  proxy.mend()
  await untilTrue('the difference is seen', () => names().join(' ') === 'b c')
})

await test('a connection that is dead but open is noticed', async (t) => {
  const { kube, proxy, namespace, names } = await watching(t)
  await kube.create(CONFIG_MAPS, mine(namespace, 'a'))
  await untilTrue('it is there', () => names().join(' ') === 'a')
  proxy.silence()
  const before = proxy.attempts
  await kube.create(CONFIG_MAPS, mine(namespace, 'b'))
  await untilTrue('the silent watch is given up, and another connection tried', () => proxy.attempts > before)
  t.same(names(), ['a'])
  proxy.mend()
  await untilTrue('the other is seen', () => names().join(' ') === 'a b')
})
