import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { test, type Test } from 'tap'
import { parse } from 'yaml'
import type { AccessRequest } from '../../src/api/access-request.ts'
import { SERVICE_ACCOUNT, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { foreignNamespaceMessage, IMMUTABLE_MESSAGE, STATUS_WRITER_MESSAGE } from '../../src/core/request-rules.ts'
import { testControlPlane } from '../support/control-plane.ts'
import { applyShippedGround, awaitStatusPolicy, yamlOf } from '../support/shipped-ground.ts'

const cluster = testControlPlane()
await applyShippedGround(cluster)
const controller = await cluster.kubeconfigFor({
  name: SERVICE_ACCOUNT.controller,
  token: await cluster.serviceAccountToken(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.controller),
})

const seedFile = resolve(import.meta.dirname, '../fixtures/seed-access-request.yaml')
const seed: AccessRequest = parse(await readFile(seedFile, 'utf8'))
const { name } = seed.metadata

const withSpec = (request: AccessRequest, spec: object): string => yamlOf([{ ...request, spec: { ...request.spec, ...spec } }])
const otherSubject = { subject: { ...seed.spec.subject, name: 'mallory' } }
const otherConnector = { connectorRef: { ...seed.spec.connectorRef, namespace: 'other' } }

const jsonPatch = (operation: object): string => JSON.stringify([operation])

const literally = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')

/** A fresh namespace that is cleared again, with the seed's request in it, all else equal. */
const stored = async (t: Test): Promise<{ namespace: string; request: AccessRequest; kubectl: typeof cluster.kubectl }> => {
  const namespace = await cluster.namespace('shared')
  const request = { ...seed, metadata: { name, namespace } }
  const kubectl: typeof cluster.kubectl = (args, options) => cluster.kubectl([...args, '-n', namespace], { allowFailure: true, ...options })
  t.teardown(async () => {
    await kubectl(['patch', 'areq', name, '--type=merge', '-p', '{"metadata":{"finalizers":null}}'])
    await cluster.kubectl(['delete', 'namespace', namespace, '--wait=false'])
  })
  await cluster.kubectl(['apply', '-f', '-'], { input: yamlOf([request]) })
  return { namespace, request, kubectl }
}

await test("the seed's example is accepted as it is written, and nothing of it is dropped", async (t) => {
  await cluster.kubectl(['apply', '--server-side', '-f', '-'], {
    input: yamlOf([{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: seed.metadata.namespace } }]),
  })
  // A dry run: the example names its own namespace, where other tests may be at work with it.
  const applied = await cluster.kubectl(['apply', '--dry-run=server', '-o', 'yaml', '-f', seedFile])
  const { spec }: AccessRequest = parse(applied.stdout)
  t.strictSame(spec, seed.spec)
  t.notMatch(applied.stderr, /unknown field/)
})

const explain = async (path: string): Promise<string> => (await cluster.kubectl(['explain', path])).stdout.replaceAll(/\s+/g, ' ')

await test('kubectl explain reads the description of every field', async (t) => {
  t.match(await explain('accessrequest.spec.context.objectRef.uid'), 'UID of the Pod. Left out, the first live Pod of that name is meant.')
  t.match(await explain('accessrequest.spec'), 'connectorRef <Object> -required- The Connector that is asked for, in the namespace of the request.')
  t.match(await explain('accesspolicy.spec.checkGrantedPermission.spec.checks'), 'One check. Exactly one of ref and spec.')
})

await test('I4: the spec of a request never changes, by whichever route', async (t) => {
  const { request, kubectl } = await stored(t)
  const patch = ['patch', 'areq', name]
  const routes: Record<string, () => ReturnType<typeof kubectl>> = {
    'merge patch': () => kubectl([...patch, '--type=merge', '-p', JSON.stringify({ spec: otherSubject })]),
    'JSON patch of a field': () => kubectl([...patch, '--type=json', '-p', jsonPatch({ op: 'replace', path: '/spec/subject/name', value: 'mallory' })]),
    'JSON patch that adds a field': () => kubectl([...patch, '--type=json', '-p', jsonPatch({ op: 'add', path: '/spec/context/objectRef/uid', value: 'u' })]),
    'JSON patch that takes a field away': () => kubectl([...patch, '--type=json', '-p', jsonPatch({ op: 'remove', path: '/spec/subject/namespace' })]),
    'apply': () => kubectl(['apply', '-f', '-'], { input: withSpec(request, otherSubject) }),
    'server-side apply with force': () => kubectl(['apply', '--server-side', '--force-conflicts', '-f', '-'], { input: withSpec(request, otherSubject) }),
    'replace': () => kubectl(['replace', '-f', '-'], { input: withSpec(request, otherSubject) }),
    'a foreign namespace added later': () => kubectl([...patch, '--type=merge', '-p', JSON.stringify({ spec: otherConnector })]),
  }
  // Older API servers name the type of the value in between.
  const sentence = new RegExp(`spec: Invalid value: (?:"object": )?${literally(IMMUTABLE_MESSAGE)}`)
  for (const [route, attempt] of Object.entries(routes)) t.match(await attempt(), { code: 1, stderr: sentence }, route)

  const removed = await kubectl([...patch, '--type=json', '-p', jsonPatch({ op: 'remove', path: '/spec' })])
  t.match(removed, { code: 1, stderr: /spec: Required value/ }, 'taken away as a whole')

  const besides = await kubectl([...patch, '--subresource=status', '--type=merge', '-p', JSON.stringify({ spec: otherSubject, status: { contextUID: 'u' } })], { kubeconfig: controller })
  t.equal(besides.code, 0, besides.stderr)
  const { spec }: AccessRequest = JSON.parse((await kubectl(['get', 'areq', name, '-o', 'json'])).stdout)
  t.strictSame(spec, seed.spec, 'a write of the status leaves it alone')
})

await test('I5: a request reaches only a Connector beside it, as a policy holds it', async (t) => {
  const namespace = await cluster.namespace('shared')
  const attempt = (connectorRef: object, ...options: string[]) =>
    cluster.kubectl(['create', ...options, '-f', '-'], {
      input: yamlOf([{ ...seed, metadata: { name: 'a', namespace }, spec: { ...seed.spec, connectorRef: { ...seed.spec.connectorRef, ...connectorRef } } }]),
      allowFailure: true,
    })
  for (const got of ['other', '']) {
    t.match(await attempt({ namespace: got }), { code: 1, stderr: `spec.connectorRef.namespace: ${foreignNamespaceMessage(namespace, got)}` })
  }
  t.match(await attempt({ namespace }, '--dry-run=server'), { code: 0 })
  t.match(await attempt({}, '--dry-run=server'), { code: 0 })
})

await test('I6: the controller alone writes the status, as a policy holds it', async (t) => {
  const { namespace, kubectl } = await stored(t)
  await awaitStatusPolicy(cluster, namespace, name)
  const write = (kubeconfig?: string) =>
    kubectl(['patch', 'areq', name, '--subresource=status', '--type=merge', '-p', '{"status":{"contextUID":"forged"}}'], kubeconfig === undefined ? {} : { kubeconfig })
  t.match(await write(), { code: 1, stderr: `status: ${STATUS_WRITER_MESSAGE}` }, 'not even an administrator')
  t.match(await write(controller), { code: 0 }, 'the controller')
})

await test('I6: a status that comes with the request itself is dropped', async (t) => {
  const { request, kubectl } = await stored(t)
  const forged = yamlOf([{ ...request, status: { contextUID: 'forged' } }])
  t.match(await kubectl(['replace', '-f', '-'], { input: forged }), { code: 0 })
  const created = await kubectl(['create', '--dry-run=server', '-o', 'yaml', '-f', '-'], { input: forged.replace(`name: ${name}`, 'name: another') })
  t.equal(created.code, 0, created.stderr)
  t.notMatch(created.stdout, /forged/)
  t.notMatch((await kubectl(['get', 'areq', name, '-o', 'jsonpath={.status}'])).stdout, /forged/)
})

await test('labels, annotations and finalizers change freely', async (t) => {
  const { kubectl } = await stored(t)
  t.match(await kubectl(['label', 'areq', name, 'team=a']), { code: 0 })
  t.match(await kubectl(['annotate', 'areq', name, 'note=b']), { code: 0 })
  t.match(await kubectl(['patch', 'areq', name, '--type=merge', '-p', '{"metadata":{"finalizers":["connectors.alauda.io/access-cleanup"]}}']), { code: 0 })
  t.match(await kubectl(['patch', 'areq', name, '--type=merge', '-p', '{"metadata":{"finalizers":null}}']), { code: 0 })
})

await test('the plural of Connectors lists Connectors alone, the category of access-gate lists requests', async (t) => {
  const { namespace, kubectl } = await stored(t)
  const beside = (kind: string, spec: object): object => ({ apiVersion: seed.apiVersion, kind, metadata: { name: 'a', namespace }, spec })
  await cluster.kubectl(['apply', '-f', '-'], { input: yamlOf([beside('Connector', { connectorClassName: 'harbor', address: 'https://harbor.example.com' })]) })
  t.equal((await kubectl(['get', 'connectors', '-o', 'name'])).stdout.trim(), 'connector.connectors.alauda.io/a')
  t.equal((await kubectl(['get', 'access-gate', '-o', 'name'])).stdout.trim(), `accessrequest.connectors.alauda.io/${name}`)
})

await test('hostile sizes are refused by the schema', async (t) => {
  const { namespace, kubectl } = await stored(t)
  const long = 'a'.repeat(254)
  const request = withSpec({ ...seed, metadata: { name: 'long', namespace } }, { connectorRef: { name: long } })
  t.match(await kubectl(['create', '--dry-run=server', '-f', '-'], { input: request }), { code: 1, stderr: /spec\.connectorRef\.name: Too long/ })
  const roleTemplate = { ref: { configMap: { name: 'a' } } }
  const checks = Array.from({ length: 65 }, (_, index) => ({ name: `check-${index}`, ...roleTemplate }))
  const metadata = { name: 'many', namespace }
  const policy = { apiVersion: seed.apiVersion, kind: 'AccessPolicy', metadata, spec: { checkGrantedPermission: { spec: { checks, roleTemplate } } } }
  t.match(await kubectl(['create', '--dry-run=server', '-f', '-'], { input: yamlOf([policy]) }), { code: 1, stderr: /checks: Too many: 65: must have at most 64 items/ })
})
