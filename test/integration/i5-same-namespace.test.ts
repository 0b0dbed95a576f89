import { t, test } from 'tap'
import { stringify } from 'yaml'
import { API_VERSION } from '../../src/api/names.ts'
import { foreignNamespaceMessage } from '../../src/core/request-rules.ts'
import { ACCESS_REQUESTS } from '../../src/kube/resources.ts'
import { testControlPlane } from '../support/control-plane.ts'
import { BUILDER, gatedWorld } from '../support/gated-world.ts'
import { untilReads } from '../support/request-reading.ts'

const cluster = testControlPlane()
const world = await gatedWorld(t, cluster)
const { kube, shared, work } = world
await world.connector('harbor')

const manifest = (name: string, connectorRef: object): string =>
  stringify({
    apiVersion: API_VERSION,
    kind: 'AccessRequest',
    metadata: { name, namespace: shared },
    spec: { subject: { kind: 'ServiceAccount', name: BUILDER, namespace: work }, connectorRef, context: { objectRef: { name: 'build', namespace: work } } },
  })

const ways: Record<string, string[]> = {
  'create': ['create', '-f', '-'],
  'apply': ['apply', '-f', '-'],
  'server-side apply': ['apply', '--server-side', '-f', '-'],
  'a dry run': ['apply', '--dry-run=server', '-f', '-'],
}
for (const [way, args] of Object.entries(ways))
  await test(`I5 a foreign namespace of the Connector is refused on ${way}`, async (subtest) => {
    const { code, stderr } = await world.kubectl(args, { input: manifest('foreign', { name: 'harbor', namespace: work }) })
    subtest.equal(code, 1)
    subtest.match(stderr, `spec.connectorRef.namespace: ${foreignNamespaceMessage(shared, work)}`)
    subtest.equal(await kube.get(ACCESS_REQUESTS, shared, 'foreign'), undefined)
  })

await test("I5 the request's own namespace may be written, and is not filled in", async (subtest) => {
  subtest.match(await world.kubectl(['apply', '-f', '-'], { input: manifest('written', { name: 'harbor', namespace: shared }) }), { code: 0 })
  subtest.match(await world.kubectl(['apply', '-f', '-'], { input: manifest('left-out', { name: 'harbor' }) }), { code: 0 })
  subtest.strictSame((await kube.get(ACCESS_REQUESTS, shared, 'written'))?.spec.connectorRef, { name: 'harbor', namespace: shared })
  subtest.strictSame((await kube.get(ACCESS_REQUESTS, shared, 'left-out'))?.spec.connectorRef, { name: 'harbor' })
})

await test('I5 a Connector of that name elsewhere is not the one that is meant', async (subtest) => {
  // Beside the Pod there is one, beside the request there is none.
  await cluster.kubectl(['apply', '-f', '-'], {
    input: stringify({ apiVersion: API_VERSION, kind: 'Connector', metadata: { name: 'elsewhere', namespace: work }, spec: { connectorClassName: 'harbor', address: 'https://a.example' } }),
  })
  await world.pod('build', ['elsewhere'])
  subtest.match(await world.kubectl(['apply', '-f', '-'], { input: manifest('elsewhere', { name: 'elsewhere' }) }), { code: 0 })
  await untilReads(kube, { namespace: shared, name: 'elsewhere' }, { reads: { ContextObjectValid: 'True/Active', ConnectorResolved: 'False/NotFound', Ready: 'False/NotFound' } })
})
