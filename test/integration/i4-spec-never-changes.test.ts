import { t, test } from 'tap'
import { CLEANUP_FINALIZER, SERVICE_ACCOUNT, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { IMMUTABLE_MESSAGE } from '../../src/core/request-rules.ts'
import { ACCESS_REQUESTS } from '../../src/kube/resources.ts'
import { testControlPlane } from '../support/control-plane.ts'
import { gatedWorld } from '../support/gated-world.ts'
import { READS, untilReads } from '../support/request-reading.ts'
import { specRoutes } from '../support/spec-routes.ts'

const cluster = testControlPlane()
const world = await gatedWorld(t, cluster)
const { kube, shared } = world
await world.connector('harbor')
const made = await world.requestOf(await world.pod('build', ['harbor']))
const { name } = made.metadata
const request = await untilReads(kube, { namespace: shared, name }, { reads: READS.waiting })

const stored = async (): Promise<unknown> => (await kube.get(ACCESS_REQUESTS, shared, name))?.spec

for (const [route, attempt] of Object.entries(specRoutes(cluster, request)))
  await test(`I4 the spec never changes by ${route}`, async (subtest) => {
    const { code, stderr } = await attempt()
    subtest.equal(code, 1)
    subtest.match(stderr, /spec: Invalid value: /)
    subtest.match(stderr, IMMUTABLE_MESSAGE)
    subtest.strictSame(await stored(), made.spec)
  })

await test('I4 the spec never changes by strategic merge patch, which the API server does not know for it', async (subtest) => {
  const { code, stderr } = await world.kubectl(['patch', 'accessrequest', name, '-n', shared, '--type=strategic', '-p', '{"spec":{"subject":{"name":"somebody-else"}}}'])
  subtest.equal(code, 1)
  subtest.match(stderr, /strategic-merge-patch\+json is not supported/)
  subtest.strictSame(await stored(), made.spec)
})

await test('I4 the spec never changes by the status subresource, not even when the controller writes it', async (subtest) => {
  const kubeconfig = await cluster.kubeconfigFor({ name: 'controller', token: await cluster.serviceAccountToken(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.controller) })
  const patch = { spec: { subject: { name: 'somebody-else' } }, status: { observedGeneration: request.metadata.generation } }
  const args = ['patch', 'accessrequest', name, '-n', shared, '--subresource=status', '--type=merge', '-p', JSON.stringify(patch)]
  subtest.equal((await world.kubectl(args, { kubeconfig })).code, 0)
  subtest.strictSame(await stored(), made.spec)
})

await test('I4 labels, annotations and finalizers change freely, and the generation shows that the spec did not', async (subtest) => {
  const of = ['accessrequest', name, '-n', shared]
  await cluster.kubectl(['label', ...of, 'team=a'])
  await cluster.kubectl(['annotate', ...of, 'note=b'])
  await cluster.kubectl(['patch', ...of, '--type=merge', '-p', '{"metadata":{"finalizers":null}}'])
  await cluster.kubectl(['patch', ...of, '--type=json', '-p', JSON.stringify([{ op: 'add', path: '/metadata/finalizers', value: [CLEANUP_FINALIZER] }])])
  const { metadata, spec } = (await kube.get(ACCESS_REQUESTS, shared, name)) ?? made
  subtest.match(metadata, { labels: { team: 'a' }, annotations: { note: 'b' }, finalizers: [CLEANUP_FINALIZER], generation: request.metadata.generation })
  subtest.strictSame(spec, made.spec)
})
