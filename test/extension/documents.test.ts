import { test } from 'tap'
import { status } from '../support/status.ts'
import { get, GROUP, world } from './harness.ts'

const JSON_V2 = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList'
const VERSION = { groupVersion: `${GROUP}/v1alpha1`, version: 'v1alpha1' }
const GROUP_BODY = { name: GROUP, versions: [VERSION], preferredVersion: VERSION }
const aggregated = (version: string): object => ({
  kind: 'APIGroupDiscoveryList',
  apiVersion: `apidiscovery.k8s.io/${version}`,
  metadata: {},
  items: [
    {
      metadata: { name: GROUP, creationTimestamp: null },
      versions: [
        {
          version: 'v1alpha1',
          resources: [
            {
              resource: 'visitreviews',
              responseKind: { group: GROUP, version: 'v1alpha1', kind: 'VisitReview' },
              scope: 'Namespaced',
              singularResource: 'visitreview',
              verbs: ['create'],
            },
          ],
          freshness: 'Current',
        },
      ],
    },
  ],
})
const GROUPS = { kind: 'APIGroupList', apiVersion: 'v1', groups: [GROUP_BODY] }
const RESOURCES = {
  kind: 'APIResourceList',
  apiVersion: 'v1',
  groupVersion: `${GROUP}/v1alpha1`,
  resources: [{ name: 'visitreviews', singularName: 'visitreview', namespaced: true, kind: 'VisitReview', verbs: ['create'] }],
}

const DOCUMENTS: Record<string, { path: string; accept?: string; body: object; type?: string }> = {
  'the groups': { path: '/apis', body: GROUPS },
  'the groups, with a slash': { path: '/apis/', body: GROUPS },
  'the groups and their resources': {
    path: '/apis',
    accept: `${JSON_V2},application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json`,
    body: aggregated('v2'),
    type: JSON_V2,
  },
  'the same in the older version': {
    path: '/apis',
    accept: 'application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList',
    body: aggregated('v2beta1'),
    type: 'application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList',
  },
  'a version of that which is not there, or the plain groups': { path: '/apis', accept: 'application/json;g=apidiscovery.k8s.io;v=v3;as=APIGroupDiscoveryList,*/*', body: GROUPS },
  'one group': { path: `/apis/${GROUP}`, body: { kind: 'APIGroup', apiVersion: 'v1', ...GROUP_BODY } },
  'the resources': { path: `/apis/${GROUP}/v1alpha1`, body: RESOURCES },
  'the resources, with a slash': { path: `/apis/${GROUP}/v1alpha1/`, accept: 'application/vnd.kubernetes.protobuf,application/json', body: RESOURCES },
  'health': { path: '/health', body: { status: 'ok' } },
}

await test('discovery', async (t) => {
  const { app } = world()
  for (const [sentence, { path, accept, body, type = 'application/json' }] of Object.entries(DOCUMENTS)) {
    const headers: Record<string, string> = accept === undefined ? {} : { accept }
    const reply = await app.inject(get(path, headers))
    t.equal(reply.statusCode, 200, sentence)
    t.strictSame(reply.json(), body, sentence)
    t.strictSame([reply.headers['content-type'], reply.headers.vary], [type, 'Accept'], sentence)
    const again = await app.inject(get(path, { ...headers, 'if-none-match': String(reply.headers.etag) }))
    t.strictSame([again.statusCode, again.body], [304, ''], sentence)
    const head = await app.inject({ ...get(path, headers), method: 'HEAD' })
    t.strictSame([head.statusCode, head.body], [200, ''], sentence)
    const posted = await app.inject({ ...get(path, headers), method: 'POST' })
    t.strictSame([posted.statusCode, posted.headers.allow], [405, 'GET, HEAD'], sentence)
  }
  t.match((await app.inject(get('/apis', { accept: 'application/vnd.kubernetes.protobuf' }))).json(), { code: 406 })
  t.strictSame((await app.inject(get('/apis/other'))).json(), status(404, 'NotFound', 'the server could not find the requested resource', {}))
})

const NAME = 'org.example.visits.v1alpha1.VisitReview'
const PATH = `/apis/${GROUP}/v1alpha1/namespaces/{namespace}/visitreviews`
const GVK = { group: GROUP, version: 'v1alpha1', kind: 'VisitReview' }
const OPTIONS = ['dryRun', 'fieldManager', 'fieldValidation']

/** All that is referred to. */
const references = (document: unknown): string[] => [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map(([, ref = '']) => ref)
const resolve = (document: unknown, ref: string): unknown =>
  ref
    .slice(2)
    .split('/')
    .reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], document)

await test('OpenAPI 3: the root leads to a document that kubectl can explain and look options up in', async (t) => {
  const { app } = world()
  const root = (await app.inject(get('/openapi/v3'))).json<{ paths: Record<string, { serverRelativeURL: string }> }>()
  t.strictSame(Object.keys(root.paths), [`apis/${GROUP}/v1alpha1`])
  const url = root.paths[`apis/${GROUP}/v1alpha1`]?.serverRelativeURL ?? ''
  t.match(url, new RegExp(`^/openapi/v3/apis/${GROUP}/v1alpha1\\?hash=[0-9A-F]{64}$`))
  const reply = await app.inject(get(url))
  t.equal(reply.headers.etag, `"${url.slice(-64)}"`)
  const document = reply.json<{ openapi: string; paths: Record<string, never>; components: { schemas: Record<string, { properties: Record<string, unknown> }> } }>()
  t.equal(document.openapi, '3.0.0')
  t.strictSame(Object.keys(document.paths), [PATH])
  const operations = document.paths[PATH] as unknown as Record<string, { parameters: { name: string }[]; description: string }>
  for (const verb of ['post', 'patch']) {
    t.strictSame(operations[verb]?.parameters.map(({ name }) => name), OPTIONS)
    t.match(operations[verb], { 'x-kubernetes-group-version-kind': GVK, 'x-kubernetes-action': verb })
  }
  t.match(operations['patch']?.description, '405')
  t.match(document.components.schemas[NAME], {
    'description': 'VisitReview asks whether a guest may come.',
    'type': 'object',
    'x-kubernetes-group-version-kind': [GVK],
    'properties': {
      apiVersion: { type: 'string' },
      kind: { type: 'string' },
      metadata: { type: 'object', properties: { labels: { type: 'object', additionalProperties: { type: 'string' } } } },
      spec: { description: 'The visit.', required: ['guest'], properties: { guest: { type: 'string', description: 'Who comes.' }, groups: { type: 'array', items: { type: 'string' } } } },
      status: { properties: { allowed: { type: 'boolean' } } },
    },
  })
  for (const ref of references(document)) t.ok(resolve(document, ref), ref)
})

await test('OpenAPI 2', async (t) => {
  const { app } = world()
  const document = (await app.inject(get('/openapi/v2', { accept: 'application/json' }))).json<Record<string, unknown>>()
  t.match(document, {
    swagger: '2.0',
    paths: { [PATH]: { post: { 'operationId': 'createNamespacedVisitReview', 'x-kubernetes-group-version-kind': GVK }, patch: { description: /405/ } } },
    definitions: { [NAME]: { type: 'object', 'x-kubernetes-group-version-kind': [GVK] } },
  })
  t.ok(references(document).length > 0)
  for (const ref of references(document)) t.ok(resolve(document, ref), ref)
})

await test('health needs no credentials, and says what is wrong', async (t) => {
  const made = world()
  const at = async (url: string): Promise<[number, string]> => {
    const reply = await made.app.inject({ method: 'GET', url })
    return [reply.statusCode, reply.body]
  }
  t.strictSame(await at('/healthz'), [200, 'ok'])
  t.strictSame(await at('/readyz?verbose'), [200, '[+]ping ok\n[+]keys ok\nreadyz check passed\n'])
  made.unready = 'there are none'
  t.strictSame(await at('/readyz'), [500, '[+]ping ok\n[-]keys failed: there are none\nreadyz check failed\n'])
  t.strictSame(await at('/livez'), [200, 'ok'])
  t.equal((await at('/version'))[0], 401)
  t.match((await made.app.inject(get('/version'))).json(), { major: '1', minor: '2', gitVersion: 'v1.2.3' })
  t.equal((await made.app.inject(get('/metrics'))).body, 'up 1\n')
})
