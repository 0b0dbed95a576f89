import { t, test } from 'tap'
import { stringify } from 'yaml'
import type { AccessRequest } from '../../src/api/access-request.ts'
import { API_VERSION, LABEL } from '../../src/api/names.ts'
import { STATUS_WRITER_MESSAGE } from '../../src/core/request-rules.ts'
import { ACCESS_REQUESTS, PODS } from '../../src/kube/resources.ts'
import { untilTrue } from '../support/eventually.ts'
import { BUILDER, checkedPolicy, gatedVolume, gatedWorld, grantedPod, podManifest, untilGone } from '../support/gated-world.ts'
import { privateSandbox } from '../support/private-sandbox.ts'
import { READS, untilReads } from '../support/request-reading.ts'

const { cluster, webhook, stopControllers } = await privateSandbox(t)
const world = await gatedWorld(t, cluster)
const { kube, shared, work } = world
await world.connector('harbor')

const at = ({ metadata }: AccessRequest): { namespace: string; name: string } => ({ namespace: shared, name: metadata.name })
const asManifest = (spec: object, kind = 'AccessRequest'): string => stringify({ apiVersion: API_VERSION, kind, metadata: { name: 'new', namespace: shared }, spec })
const createPod = (name: string) => world.kubectl(['create', '-f', '-'], { input: stringify(podManifest(work, name, [`${shared}/harbor`])) })

/** How often the hooks were asked, by hook. */
const asked = async (): Promise<Record<string, number>> => {
  const text = await (await fetch(`http://127.0.0.1:${webhook.metricsPort}/metrics`)).text()
  const counts: Record<string, number> = {}
  for (const [, hook = '', count] of text.matchAll(/^access_gate_admission_requests_total\{hook="([^"]+)",[^}]*\} (\d+)$/gm)) counts[hook] = (counts[hook] ?? 0) + Number(count)
  return counts
}

await test('I7 a Pod without our volume never reaches the webhook, one with it does', async (subtest) => {
  const before = await asked()
  await world.pod('plain', [], { volumes: [{ name: 'other', csi: { driver: 'another-csi' } }] })
  await world.pod('bare', [], { volumes: [] })
  await kube.create(PODS, podManifest('kube-system', 'system', [], { serviceAccountName: 'default', volumes: [gatedVolume({ connectors: `${shared}/harbor` })] }))
  await cluster.kubectl(['label', 'pod', 'plain', '-n', work, 'a=b'])
  subtest.strictSame(await asked(), before)
  await world.pod('gated', ['harbor'])
  const after = await asked()
  subtest.equal((after['mutate-pod'] ?? 0) - (before['mutate-pod'] ?? 0), 1)
  subtest.equal((after['validate-pod'] ?? 0) - (before['validate-pod'] ?? 0), 1)
})

await test('with the webhook stopped', async (down) => {
  const waiting = await world.requestOf(await world.pod('waiting', ['harbor']))
  await untilReads(kube, at(waiting), { reads: READS.waiting })
  const { request: granted } = await grantedPod(world, 'granted', 'harbor')
  const { request: unwanted } = await grantedPod(world, 'unwanted', 'harbor')
  const { request: edited } = await grantedPod(world, 'edited', 'harbor')
  await webhook.stop()

  await down.test('I7 Pods are admitted, with our volume and without', async (subtest) => {
    subtest.match(await createPod('while-down'), { code: 0, stdout: 'pod/while-down created\n' })
    const pod = await kube.get(PODS, work, 'while-down')
    subtest.notOk(pod?.metadata.labels?.[LABEL.gated])
    subtest.strictSame(await world.requestsOf(pod ?? { metadata: { name: 'while-down' } }), [])
    await world.pod('plain-while-down', [], { volumes: [] })
  })

  await down.test('requests and policies cannot be made, and no spec be changed', async (subtest) => {
    const failed = /failed calling webhook "access-(request|policy)\.connectors\.alauda\.io"/
    const spec = { subject: { kind: 'ServiceAccount', name: BUILDER, namespace: work }, connectorRef: { name: 'harbor' }, context: { objectRef: { name: 'while-down', namespace: work } } }
    subtest.match(await world.kubectl(['create', '-f', '-'], { input: asManifest(spec) }), { code: 1, stderr: failed })
    subtest.match(await world.kubectl(['create', '-f', '-'], { input: asManifest(checkedPolicy(['harbor']), 'AccessPolicy') }), { code: 1, stderr: failed })
    const patch = ['patch', '-n', shared, '--type=merge', '-p']
    subtest.match(await world.kubectl([...patch, '{"spec":{"subject":{"name":"another"}}}', 'accessrequest', waiting.metadata.name]), { code: 1, stderr: failed })
    subtest.match(await world.kubectl([...patch, '{"spec":{"connector":{"names":["another"]}}}', 'accesspolicy', 'harbor']), { code: 1, stderr: failed })
  })

  await down.test('I6 a status is written by the controller alone', async (subtest) => {
    const patch = ['patch', 'accessrequest', waiting.metadata.name, '-n', shared, '--subresource=status', '--type=merge', '-p', '{"status":{"contextUID":"forged"}}']
    subtest.match(await world.kubectl(patch), { code: 1, stderr: `status: ${STATUS_WRITER_MESSAGE}` })
  })

  await down.test('what waits is granted once it is approved: the controller writes its status', async () => {
    await world.task('waiting', 'approved')
    await untilReads(kube, at(waiting), { reads: READS.usable })
    await untilTrue('it may be used', () => world.mayUse('waiting', 'harbor'))
  })

  await down.test('I2 the grant of a Pod that ends is gone within 5 s', async () => {
    await world.deletePod('granted')
    await untilGone(world, granted, 5_000)
    await untilReads(kube, at(granted), { reads: { AccessPermissionSync: 'True/PermissionCleanUp', Ready: 'False/NotFound' } })
  })

  await down.test('a request can be deleted, which revokes its grant', async (subtest) => {
    await cluster.kubectl(['delete', 'accessrequest', unwanted.metadata.name, '-n', shared, '--timeout=60s'])
    await untilGone(world, unwanted, 5_000)
    subtest.equal(await kube.get(ACCESS_REQUESTS, shared, unwanted.metadata.name), undefined)
  })

  await down.test('labels and finalizers of a request can be changed', async (subtest) => {
    const of = ['accessrequest', edited.metadata.name, '-n', shared]
    subtest.match(await world.kubectl(['label', ...of, 'team=a']), { code: 0 })
    subtest.match(await world.kubectl(['patch', ...of, '--type=merge', '-p', '{"metadata":{"finalizers":null}}']), { code: 0 })
    await untilTrue('the controller has put its finalizer back', async () => ((await kube.get(ACCESS_REQUESTS, shared, edited.metadata.name))?.metadata.finalizers ?? []).length === 1)
  })

  await down.test('with the controller stopped too, a request that is being deleted can be let go by hand', async (subtest) => {
    await stopControllers()
    const of = ['accessrequest', waiting.metadata.name, '-n', shared]
    await cluster.kubectl(['delete', ...of, '--wait=false'])
    subtest.ok((await kube.get(ACCESS_REQUESTS, shared, waiting.metadata.name))?.metadata.deletionTimestamp)
    subtest.match(await world.kubectl(['patch', ...of, '--type=merge', '-p', '{"metadata":{"finalizers":null}}']), { code: 0 })
    subtest.equal(await kube.get(ACCESS_REQUESTS, shared, waiting.metadata.name), undefined)
  })
})
