import { t, test, type Test } from 'tap'
import { parse, stringify } from 'yaml'
import { applyManifests } from '../../hack/sandbox/manifests.ts'
import type { KubectlResult } from '../../hack/control-plane/cluster-access.ts'
import type { AccessRequest } from '../../src/api/access-request.ts'
import { API_VERSION } from '../../src/api/names.ts'
import { foreignNamespaceMessage, IMMUTABLE_MESSAGE, STATUS_WRITER_MESSAGE } from '../../src/core/request-rules.ts'
import { ACCESS_REQUESTS } from '../../src/kube/resources.ts'
import { untilTrue } from '../support/eventually.ts'
import { BUILDER, gatedWorld } from '../support/gated-world.ts'
import { privateSandbox } from '../support/private-sandbox.ts'
import { READS, untilReads } from '../support/request-reading.ts'
import { specRoutes } from '../support/spec-routes.ts'

const { cluster, webhook } = await privateSandbox(t)
const world = await gatedWorld(t, cluster)
const { kube, shared, work } = world
await world.connector('harbor')
const made = await world.requestOf(await world.pod('build', ['harbor']))
const request = await untilReads(kube, { namespace: shared, name: made.metadata.name }, { reads: READS.waiting })

const CRD = 'accessrequests.connectors.alauda.io'
const POLICIES = ['access-gate-request-namespace', 'access-gate-request-status']

const manifest = (spec: object): string => stringify({ apiVersion: API_VERSION, kind: 'AccessRequest', metadata: { name: 'new', namespace: shared }, spec })
const good: AccessRequest['spec'] = { subject: { kind: 'ServiceAccount', name: BUILDER, namespace: work }, connectorRef: { name: 'harbor' }, context: { objectRef: { name: 'some', namespace: work } } }
const tryToCreate = (spec: object): Promise<KubectlResult> => world.kubectl(['create', '--dry-run=server', '-f', '-'], { input: manifest(spec) })
const tryForeign = (): Promise<KubectlResult> => tryToCreate({ ...good, connectorRef: { name: 'harbor', namespace: work } })
const tryStatus = (): Promise<KubectlResult> =>
  world.kubectl(['patch', 'accessrequest', made.metadata.name, '-n', shared, '--subresource=status', '--type=merge', '-p', '{"status":{"contextUID":"forged"}}'])
const trySpec = (): Promise<KubectlResult> =>
  world.kubectl(['patch', 'accessrequest', made.metadata.name, '-n', shared, '--dry-run=server', '--type=merge', '-p', '{"spec":{"subject":{"name":"somebody-else"}}}'])

/** The API server says who refused: a rule of the schema, a policy, or else the webhook. */
const isByRule = ({ stderr }: KubectlResult): boolean => stderr.includes('Invalid value: ') || stderr.includes('ValidatingAdmissionPolicy')

const removeRulesAndPolicies = async (): Promise<void> => {
  const definition: { spec: { versions: { schema: { openAPIV3Schema: { properties: Record<string, object> } } }[] } } = parse((await cluster.kubectl(['get', 'crd', CRD, '-o', 'yaml'])).stdout)
  const [version] = definition.spec.versions
  const schema = version?.schema.openAPIV3Schema ?? { properties: {} }
  for (const holder of [schema, ...Object.values(schema.properties)]) Reflect.deleteProperty(holder, 'x-kubernetes-validations')
  await cluster.kubectl(['replace', '-f', '-'], { input: stringify(definition) })
  await cluster.kubectl(['delete', 'validatingadmissionpolicy,validatingadmissionpolicybinding', ...POLICIES])
  await untilTrue('only the webhook answers', async () => (await Promise.all([trySpec(), tryForeign(), tryStatus()])).every((result) => !isByRule(result)))
}

const removeWebhooks = async (): Promise<void> => {
  await applyManifests(cluster, webhook.port)
  await cluster.kubectl(['delete', 'mutatingwebhookconfiguration,validatingwebhookconfiguration', 'access-gate'])
  // What the webhook alone refuses passes when it is not asked any more.
  await untilTrue('the webhook is asked nothing', async () => (await tryToCreate({ ...good, subject: { kind: 'User', name: 'alice' } })).code === 0)
  await untilTrue('the rules answer', async () => (await Promise.all([trySpec(), tryForeign(), tryStatus()])).every(isByRule))
}

/** Whoever is left refuses everything, with the same sentences. */
const holdsEverything = async (parent: Test, who: string, byWebhook: boolean): Promise<void> => {
  const refusal = (subtest: Test, result: KubectlResult, sentence: string): void => {
    subtest.equal(result.code, 1)
    subtest.ok(result.stderr.includes(sentence), result.stderr)
    subtest.equal(isByRule(result), !byWebhook, result.stderr)
  }
  for (const [route, attempt] of Object.entries(specRoutes(cluster, request)))
    await parent.test(`I4 ${who} holds the spec against ${route}`, async (subtest) => refusal(subtest, await attempt(), IMMUTABLE_MESSAGE))
  await parent.test(`I4 ${who} has let nothing through`, async (subtest) => {
    subtest.strictSame((await kube.get(ACCESS_REQUESTS, shared, made.metadata.name))?.spec, made.spec)
  })
  await parent.test(`I5 ${who} holds the request to its own namespace`, async (subtest) => {
    refusal(subtest, await tryForeign(), `spec.connectorRef.namespace: ${foreignNamespaceMessage(shared, work)}`)
    refusal(subtest, await tryToCreate({ ...good, connectorRef: { name: 'harbor', namespace: '' } }), `spec.connectorRef.namespace: ${foreignNamespaceMessage(shared, '')}`)
  })
  await parent.test(`I6 ${who} keeps the status for the controller`, async (subtest) => refusal(subtest, await tryStatus(), `status: ${STATUS_WRITER_MESSAGE}`))
}

await test('without the rules of the schema and the policies', async (parent) => {
  await removeRulesAndPolicies()
  await holdsEverything(parent, 'the webhook alone', true)
  await parent.test('the webhook tells several mistakes at once, each with its path', async (subtest) => {
    const { code, stderr } = await tryToCreate({
      subject: { kind: 'User', name: 'Alice!', namespace: 'elsewhere', apiGroup: 'example.com' },
      connectorRef: { name: '', namespace: work },
      context: { objectRef: { apiVersion: 'v2', kind: 'Deployment', name: 'some', namespace: work, fieldPath: 'spec', uid: '' } },
    })
    subtest.equal(code, 1)
    const paths = ['subject.kind', 'subject.name', 'subject.namespace', 'subject.apiGroup', 'connectorRef.name', 'connectorRef.namespace']
    const inContext = ['apiVersion', 'kind', 'uid', 'fieldPath'].map((field) => `context.objectRef.${field}`)
    for (const path of [...paths, ...inContext]) subtest.ok(stderr.includes(`spec.${path}: `), `${path} in ${stderr}`)
  })
})

await test('without the webhook configurations', async (parent) => {
  await removeWebhooks()
  await holdsEverything(parent, 'the API server alone', false)
})
