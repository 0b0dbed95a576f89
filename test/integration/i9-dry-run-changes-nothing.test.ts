import { t, test } from 'tap'
import { parse, stringify } from 'yaml'
import type { AccessRequest } from '../../src/api/access-request.ts'
import { ANNOTATION, API_VERSION, CLEANUP_FINALIZER, LABEL } from '../../src/api/names.ts'
import { ACCESS_POLICIES, ACCESS_REQUESTS, PODS } from '../../src/kube/resources.ts'
import { testControlPlane } from '../support/control-plane.ts'
import { BUILDER, checkedPolicy, gatedVolume, gatedWorld, grantedPod, podManifest } from '../support/gated-world.ts'

const cluster = testControlPlane()
const world = await gatedWorld(t, cluster)
const { kube, shared, work } = world
await world.connector('harbor')

const dryRun = (object: object, ...more: string[]) => world.kubectl(['create', '--dry-run=server', ...more, '-f', '-'], { input: stringify(object) })
const requestNames = async (): Promise<string[]> => (await kube.list(ACCESS_REQUESTS, { namespace: shared })).items.map(({ metadata }) => metadata.name)

await test('I9 a dry run of a Pod shows what the hook makes of it, and makes no request', async (subtest) => {
  const tried = await dryRun(podManifest(work, 'tried', [`${shared}/harbor`]), '-o', 'yaml')
  subtest.match(tried, { code: 0, stderr: '' })
  subtest.match(parse(tried.stdout), { metadata: { labels: { [LABEL.gated]: 'true' } } })
  subtest.strictSame(await requestNames(), [])
  subtest.equal(await kube.get(PODS, work, 'tried'), undefined)
})

await test('I9 a dry run of a Pod shows the warnings', async (subtest) => {
  const malformed = await dryRun(podManifest(work, 'tried', [], { volumes: [gatedVolume({ connectors: '' }, 'harbor')] }))
  subtest.match(malformed, { code: 0, stderr: /^Warning: .*harbor.*connectors or connector\.name is required/ })
  const missing = await dryRun(podManifest(work, 'tried', [`${shared}/gone`]))
  subtest.match(missing, { code: 0, stderr: `Warning: the volume will not be mounted: Connector ${shared}/gone does not exist` })
  subtest.strictSame(await requestNames(), [])
})

await test('I9 a dry run of an AccessRequest shows it as it would be stored, and stores nothing', async (subtest) => {
  const object = {
    apiVersion: API_VERSION,
    kind: 'AccessRequest',
    metadata: { name: 'tried', namespace: shared },
    spec: { subject: { kind: 'ServiceAccount', name: BUILDER, namespace: work }, connectorRef: { name: 'harbor' }, context: { objectRef: { name: 'some', namespace: work } } },
  }
  const tried = await dryRun(object, '-o', 'yaml')
  subtest.equal(tried.code, 0)
  const shown: AccessRequest = parse(tried.stdout)
  subtest.match(shown.metadata, {
    annotations: { [ANNOTATION.requestedBy]: 'admin' },
    finalizers: [CLEANUP_FINALIZER],
    labels: { [LABEL.connector]: 'harbor', [LABEL.contextKind]: 'Pod', [LABEL.contextName]: 'some', [LABEL.contextNamespace]: work },
  })
  subtest.strictSame(shown.spec.context.objectRef, { apiVersion: 'v1', kind: 'Pod', name: 'some', namespace: work })
  subtest.strictSame(await requestNames(), [])
})

await test('I9 a dry run of an AccessPolicy shows its warnings, and stores nothing', async (subtest) => {
  const spec = checkedPolicy(['harbor'], undefined, 'no-such-template')
  const tried = await dryRun({ apiVersion: API_VERSION, kind: 'AccessPolicy', metadata: { name: 'tried', namespace: shared }, spec })
  subtest.match(tried, { code: 0, stderr: /Warning: ConfigMap connectors-system\/no-such-template, the role template of this policy, was not found/ })
  subtest.equal(await kube.get(ACCESS_POLICIES, shared, 'tried'), undefined)
})

await test('I9 a dry run of a deletion takes no grant away', async (subtest) => {
  const { request } = await grantedPod(world, 'granted', 'harbor')
  await cluster.kubectl(['delete', 'pod', 'granted', '-n', work, '--dry-run=server'])
  await cluster.kubectl(['delete', 'accessrequest', request.metadata.name, '-n', shared, '--dry-run=server'])
  await cluster.kubectl(['delete', 'connectors', 'harbor', '-n', shared, '--dry-run=server'])
  // A second grant shows that the controller has gone on from there.
  await grantedPod(world, 'witness', 'harbor')
  subtest.strictSame(await kube.get(ACCESS_REQUESTS, shared, request.metadata.name), request)
  subtest.ok(await world.mayUse('granted', 'harbor'))
})
