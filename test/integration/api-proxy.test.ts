/** The proxy that fault tests put between a client and the API server. */
import { setTimeout as delay } from 'node:timers/promises'
import { test, type Test } from 'tap'
import type { ConfigMap } from '../../src/api/config-map.ts'
import { createClient, type KubeClient } from '../../src/kube/client.ts'
import { CONFIG_MAPS } from '../../src/kube/resources.ts'
import { apiProxy, type ApiProxy, type Fate } from '../support/api-proxy.ts'
import { readCall } from '../support/api-call.ts'
import { testControlPlane } from '../support/control-plane.ts'
import { untilTrue } from '../support/eventually.ts'

const cluster = testControlPlane()

/** Clients that go through the proxy, of which one gives up after 2 s, one that goes past it, and a namespace. */
const ground = async (t: Test): Promise<{ proxy: ApiProxy; through: KubeClient; hasty: KubeClient; past: KubeClient; namespace: string }> => {
  const proxy = await apiProxy(t, cluster)
  const kubeconfig = await proxy.kubeconfigFor({ name: 'admin', token: cluster.adminToken })
  const through = await createClient({ kubeconfig, userAgent: 'through' })
  const hasty = await createClient({ kubeconfig, userAgent: 'hasty', requestTimeoutMs: 2_000 })
  const past = await createClient({ kubeconfig: cluster.adminKubeconfig, userAgent: 'past' })
  t.teardown(() => {
    through.close()
    hasty.close()
    past.close()
  })
  return { proxy, through, hasty, past, namespace: await cluster.namespace('proxied') }
}

const configMap = (namespace: string, name: string, value = ''): ConfigMap => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data: { value } })

const read = (method: string, url: string): unknown => {
  const { group, resource, namespace, name, subresource, isWatch, isWrite } = readCall({ method, url, headers: {} }, 1)
  return [group, resource, namespace, name, subresource, isWatch, isWrite]
}

await test('a call is read from its method and path', async (t) => {
  t.strictSame(
    {
      core: read('GET', '/api/v1/pods?watch=1&resourceVersion=5'),
      named: read('PUT', '/apis/connectors.alauda.io/v1alpha1/namespaces/shared/accessrequests/a/status'),
      made: read('POST', '/apis/rbac.authorization.k8s.io/v1/namespaces/shared/roles'),
      question: read('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews'),
      namespace: read('DELETE', '/api/v1/namespaces/shared'),
      finalize: read('PUT', '/api/v1/namespaces/shared/finalize'),
      discovery: read('GET', '/apis/apps/v1'),
      other: read('GET', '/readyz'),
    },
    {
      core: ['', 'pods', '', '', '', true, false],
      named: ['connectors.alauda.io', 'accessrequests', 'shared', 'a', 'status', false, true],
      made: ['rbac.authorization.k8s.io', 'roles', 'shared', '', '', false, true],
      question: ['authorization.k8s.io', 'subjectaccessreviews', '', '', '', false, false],
      namespace: ['', 'namespaces', '', 'shared', '', false, true],
      finalize: ['', 'namespaces', '', 'shared', 'finalize', false, true],
      discovery: ['apps', '', '', '', '', false, false],
      other: ['', '', '', '', '', false, false],
    },
  )
})

await test('reads, writes of any size and watches pass as they are', async (t) => {
  const { proxy, through, past, namespace } = await ground(t)
  const large = 'x'.repeat(700_000)
  await through.create(CONFIG_MAPS, configMap(namespace, 'large', large))
  t.equal((await past.get(CONFIG_MAPS, namespace, 'large'))?.data?.['value'], large)
  t.equal((await through.get(CONFIG_MAPS, namespace, 'large'))?.data?.['value'], large)
  const applied = await cluster.kubectl(['apply', '-f', '-'], {
    kubeconfig: await proxy.kubeconfigFor({ name: 'kubectl', token: cluster.adminToken }),
    input: JSON.stringify(configMap(namespace, 'by-kubectl')),
  })
  t.match(applied.stdout, 'configmap/by-kubectl created')

  const { resourceVersion } = await past.list(CONFIG_MAPS, { namespace })
  const stop = new AbortController()
  const seen: string[] = []
  const watching = (async () => {
    for await (const event of through.watch(CONFIG_MAPS, { namespace, resourceVersion, timeoutSeconds: 60, signal: stop.signal }))
      if (event.type !== 'BOOKMARK') seen.push(`${event.type} ${event.object.metadata.name}`)
  })()
  await past.create(CONFIG_MAPS, configMap(namespace, 'seen', large))
  await untilTrue('the watch tells', () => seen.length === 1)
  t.strictSame(seen, ['ADDED seen'])
  t.strictSame(proxy.watches().map(({ call }) => `${call.userAgent} ${call.resource}`), ['through configmaps'])
  stop.abort()
  await watching
  await untilTrue('the watch is gone', () => proxy.watches().length === 0)
})

await test('each call has the fate that the rule gives it', async (t) => {
  const { proxy, through, hasty, past, namespace } = await ground(t)
  const answers: string[] = []
  const fates: Record<string, { fate: Fate; code: string | undefined; isThere: boolean }> = {
    pass: { fate: 'pass', code: undefined, isThere: true },
    'cut-before': { fate: 'cut-before', code: 'KUBE_UNAVAILABLE', isThere: false },
    'cut-after': { fate: 'cut-after', code: 'KUBE_UNAVAILABLE', isThere: true },
    'answered-429': { fate: { status: 429, retryAfterSeconds: 1 }, code: 'KUBE_UNAVAILABLE', isThere: false },
    'answered-410': { fate: { status: 410 }, code: 'KUBE_EXPIRED', isThere: false },
    'told-first': { fate: { answered: (status, body) => (answers.push(`${status} ${body.includes('told-first')}`), 'pass') }, code: undefined, isThere: true },
    'told-and-cut': { fate: { answered: () => 'cut' }, code: 'KUBE_UNAVAILABLE', isThere: true },
    'never-answered': { fate: { answered: () => new Promise(() => undefined) }, code: 'KUBE_UNAVAILABLE', isThere: true },
  }
  let fate: Fate = 'pass'
  proxy.rule(({ isWrite }) => (isWrite ? fate : 'pass'))
  for (const [name, expected] of Object.entries(fates)) {
    fate = expected.fate
    const kube = name === 'never-answered' ? hasty : through
    const outcome = await kube.create(CONFIG_MAPS, configMap(namespace, name)).then(() => undefined, (error: { code: string }) => error.code)
    t.equal(outcome, expected.code, name)
    t.equal((await past.get(CONFIG_MAPS, namespace, name)) !== undefined, expected.isThere, name)
  }
  t.strictSame(answers, ['201 true'])
  proxy.rule()
  await through.create(CONFIG_MAPS, configMap(namespace, 'again'))
})

await test('a call that is kept waiting is done when the rule lets it go, and not at all when its caller has gone', async (t) => {
  const { proxy, through: patient, hasty, past, namespace } = await ground(t)
  const gate = Promise.withResolvers<Fate>()
  const waiting: string[] = []
  proxy.rule(({ resource, isWrite }) => {
    if (!isWrite) return 'pass'
    waiting.push(resource)
    return gate.promise
  })
  const made = patient.create(CONFIG_MAPS, configMap(namespace, 'patient'))
  await t.rejects(hasty.create(CONFIG_MAPS, configMap(namespace, 'hasty')), { code: 'KUBE_UNAVAILABLE', message: /within 2 s/ })
  t.strictSame(waiting, ['configmaps', 'configmaps'])
  t.equal(await past.get(CONFIG_MAPS, namespace, 'patient'), undefined)
  gate.resolve('pass')
  await made
  t.equal(await past.get(CONFIG_MAPS, namespace, 'hasty'), undefined)
})

await test('an open watch is cut, ended, ended with an ERROR event, or falls silent', async (t) => {
  const { proxy, through, past, namespace } = await ground(t)
  const { resourceVersion } = await past.list(CONFIG_MAPS, { namespace })
  const begin = async (signal?: AbortSignal): Promise<{ outcome: Promise<string>; seen: string[] }> => {
    const before = proxy.watches().length
    const seen: string[] = []
    const outcome = (async () => {
      for await (const event of through.watch(CONFIG_MAPS, { namespace, resourceVersion, timeoutSeconds: 60, ...(signal && { signal }) }))
        if (event.type !== 'BOOKMARK') seen.push(event.object.metadata.name)
      return 'ended'
    })().catch((error: { code: string }) => error.code)
    await untilTrue('the watch is open', () => proxy.watches().length > before)
    return { outcome, seen }
  }
  const cut = await begin()
  proxy.watches()[0]?.cut()
  t.equal(await cut.outcome, 'KUBE_UNAVAILABLE')
  const ended = await begin()
  proxy.watches()[0]?.end()
  t.equal(await ended.outcome, 'ended')
  const expired = await begin()
  proxy.watches()[0]?.fail(410)
  t.equal(await expired.outcome, 'KUBE_EXPIRED')
  const all = await begin()
  proxy.cutConnections()
  t.equal(await all.outcome, 'KUBE_UNAVAILABLE')
  await untilTrue('none is open', () => proxy.watches().length === 0)

  const stop = new AbortController()
  const silenced = await begin(stop.signal)
  proxy.watches()[0]?.silence()
  proxy.rule(({ isWatch }) => (isWatch ? 'silent' : 'pass'))
  const silent = await begin(stop.signal)
  proxy.rule()
  const lively = await begin(stop.signal)
  await past.create(CONFIG_MAPS, configMap(namespace, 'news'))
  await untilTrue('the lively watch tells', () => lively.seen.includes('news'))
  await delay(100)
  t.strictSame([silenced.seen.includes('news'), silent.seen.includes('news'), proxy.watches().length], [false, false, 3])
  stop.abort()
  t.strictSame(await Promise.all([silenced.outcome, silent.outcome, lively.outcome]), ['ended', 'ended', 'ended'])
})
