import { t, test } from 'tap'
import { stringify } from 'yaml'
import { SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { authority, clientCertificate, type ClientCertificate } from '../extension/certificates.ts'
import { untilTrue } from '../support/eventually.ts'
import { CONNECTION_API, CONNECTOR_API, extensionWorld, frontProxyAuthority, startExtension, type Answered, type Asked, type Person } from '../support/extension-world.ts'
import { manifestOf, readManifests } from '../support/manifests.ts'
import { yamlOf } from '../support/shipped-ground.ts'
import { status } from '../support/status.ts'

const world = await extensionWorld(t)
const { cluster, through, direct } = world
const GROUP = 'connection.workspace.jupyter.org'
const RESOURCE = 'connectionaccessreviews'
const TEAM = `${CONNECTION_API}/namespaces/team`
const COLLECTION = `${TEAM}/${RESOURCE}`
const REVIEW = { apiVersion: `${GROUP}/v1alpha1`, kind: 'ConnectionAccessReview', metadata: { name: 'a' }, spec: { workspaceName: 'notebook', user: 'alice' } }

/** May do everything that the paths of both groups can be about. */
const carol: Person = { user: 'carol', groups: ['team-a'] }
/** Is known, and may do nothing. */
const nobody: Person = { user: 'nobody' }
const root: Person = { user: 'root', groups: ['system:masters'] }

await cluster.kubectl(['create', 'namespace', 'team'])
await cluster.kubectl(['create', '-f', '-'], {
  input: yamlOf([
    { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole', metadata: { name: 'all-reviews' }, rules: [{ apiGroups: [GROUP, 'access.connectors.alauda.io'], resources: ['*'], verbs: ['*'] }] },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name: 'all-reviews' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'all-reviews' },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: carol.user }],
    },
  ]),
})
const good: Asked = { path: COLLECTION, body: REVIEW }
await untilTrue('carol may ask', async () => (await through(carol, good)).code === 201)

const ADMIN: Person = { user: 'admin', groups: ['system:masters'] }
const proxyCa = await frontProxyAuthority(cluster)
const FORGED: Record<string, { client: ClientCertificate | null; person?: Person; headers?: Record<string, string> }> = {
  'no certificate': { client: null },
  'a certificate of another CA': { client: await clientCertificate(await authority('other'), { name: 'front-proxy-client' }) },
  'a certificate of a CA of the same name': { client: await clientCertificate(await authority('access-gate request-header-ca'), { name: 'front-proxy-client' }) },
  'another name under the right CA': { client: await clientCertificate(proxyCa, { name: 'front-proxy' }) },
  'a certificate of the right CA for servers': { client: await clientCertificate(proxyCa, { name: 'front-proxy-client', usage: 'serverAuth' }) },
  'the front proxy that names nobody': { client: { cert: cluster.requestHeader.clientCertPem, key: cluster.requestHeader.clientKeyPem }, person: { user: '', groups: ['system:masters'] } },
  'the token of the administrator': { client: null, headers: { authorization: `Bearer ${cluster.description.adminToken}` } },
  'X-User': { client: null, person: { user: '' }, headers: { 'x-user': 'admin' } },
}

const NOT_FOUND = status(404, 'NotFound', 'the server could not find the requested resource', {})
const METHOD = status(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource', {})
const UNAUTHORIZED = status(401, 'Unauthorized', 'Unauthorized')
const handled = (problem: string): object => status(400, 'BadRequest', `ConnectionAccessReview in version "v1alpha1" cannot be handled as a ConnectionAccessReview: ${problem}`)
const unrecognized = (problem: string): object => status(400, 'BadRequest', `the object provided is unrecognized (must be of type ConnectionAccessReview): ${problem}`)
const forbidden = (verb: string, what: { user?: string; resource?: string; named?: string; where?: string } = {}): object => {
  const { user = nobody.user, resource = RESOURCE, named, where = 'in the namespace "team"' } = what
  return status(
    403,
    'Forbidden',
    `${resource}.${GROUP}${named === undefined ? '' : ` "${named}"`} is forbidden: User "${user}" cannot ${verb} resource "${resource}" in API group "${GROUP}" ${where}`,
    { ...(named === undefined ? {} : { name: named }), group: GROUP, kind: resource },
  )
}
const invalid = (message: string, causes: object[]): object =>
  status(422, 'Invalid', `ConnectionAccessReview.${GROUP} "a" is invalid: ${message}`, { name: 'a', group: GROUP, kind: 'ConnectionAccessReview', causes })
const badOption = (field: string, message: string): object =>
  status(422, 'Invalid', `CreateOptions.meta.k8s.io "" is invalid: ${field}: ${message}`, {
    group: 'meta.k8s.io',
    kind: 'CreateOptions',
    causes: [{ reason: 'FieldValueNotSupported', message, field }],
  })
const DRY_RUN = 'Unsupported value: ["foo"]: supported values: "All"'
const VALIDATION = 'Unsupported value: "strict": supported values: "", "Ignore", "Strict", "Warn"'
const REQUIRED = { reason: 'FieldValueRequired', message: 'Required value', field: 'spec.workspaceName' }
const SOMEBODY = 'Invalid value: "": at least one of user or group must be specified'

const changed = (changes: object): Asked => ({ path: COLLECTION, body: { ...REVIEW, ...changes } })
const sent = (headers: Record<string, string>, body: object | string = REVIEW): Asked => ({ path: COLLECTION, body, headers })
const at = (path: string): Asked => ({ path, body: REVIEW })
const YAML = { 'content-type': 'application/yaml' }

interface Row {
  as?: Person
  asked: Asked
  answer: object
  headers?: object
}

const REFUSALS: Record<string, Row> = {
  'who may not create': { as: nobody, asked: good, answer: forbidden('create') },
  'who may not create, at a name': { as: nobody, asked: at(`${COLLECTION}/x`), answer: forbidden('create', { named: 'x' }) },
  'who may not list, which nobody can': { as: nobody, asked: { path: COLLECTION, method: 'GET' }, answer: forbidden('list') },
  'who may not list in all namespaces': {
    as: nobody,
    asked: { path: `${CONNECTION_API}/${RESOURCE}`, method: 'GET' },
    answer: forbidden('list', { where: 'at the cluster scope' }),
  },
  'who may not delete all': { as: nobody, asked: { path: COLLECTION, method: 'DELETE' }, answer: forbidden('deletecollection') },
  'who may not create what is not there': { as: nobody, asked: at(`${TEAM}/others`), answer: forbidden('create', { resource: 'others' }) },
  'GET on the collection': { asked: { path: COLLECTION, method: 'GET' }, answer: METHOD, headers: { allow: 'POST' } },
  'PUT on the collection': { asked: { ...good, method: 'PUT' }, answer: METHOD, headers: { allow: 'POST' } },
  'PATCH on the collection': { asked: { ...good, method: 'PATCH', headers: { 'content-type': 'application/merge-patch+json' } }, answer: METHOD, headers: { allow: 'POST' } },
  'DELETE on the collection': { asked: { path: COLLECTION, method: 'DELETE' }, answer: METHOD, headers: { allow: 'POST' } },
  'OPTIONS on the collection': { asked: { path: COLLECTION, method: 'OPTIONS' }, answer: METHOD, headers: { allow: 'POST' } },
  'a named object': { asked: at(`${COLLECTION}/x`), answer: NOT_FOUND },
  'reading a named object': { asked: { path: `${COLLECTION}/x`, method: 'GET' }, answer: NOT_FOUND },
  'a subresource': { asked: at(`${COLLECTION}/x/status`), answer: NOT_FOUND },
  'a resource that is not there': { asked: at(`${TEAM}/others`), answer: NOT_FOUND },
  'a kind of the other group': { asked: at(`${TEAM}/connectoraccessreviews`), answer: NOT_FOUND },
  'all namespaces': { asked: at(`${CONNECTION_API}/${RESOURCE}`), answer: NOT_FOUND },
  'a deeper path that ends in the resource': { asked: at(`${TEAM}/foo/bar/${RESOURCE}`), answer: NOT_FOUND },
  'namespaces alone': { asked: at(`${CONNECTION_API}/namespaces`), answer: NOT_FOUND },
  'a namespace alone': { asked: at(TEAM), answer: NOT_FOUND },
  'a namespace that is no DNS label': {
    asked: at(`${CONNECTION_API}/namespaces/a.b/${RESOURCE}`),
    answer: status(400, 'BadRequest', 'the namespace in the path must be lower case letters, digits and "-", beginning and ending with a letter or digit; got "a.b"'),
  },
  'an Accept that wants something else': {
    asked: sent({ accept: 'application/vnd.kubernetes.protobuf' }),
    answer: status(406, 'NotAcceptable', 'only the following media types are accepted: application/json, application/yaml'),
  },
  'a body of another type': {
    asked: sent({ 'content-type': 'text/plain' }),
    answer: status(415, 'UnsupportedMediaType', 'the body of the request was in an unknown format - accepted media types include: application/json, application/yaml'),
  },
  'a protobuf body': {
    asked: sent({ 'content-type': 'application/vnd.kubernetes.protobuf' }),
    answer: status(415, 'UnsupportedMediaType', 'the body of the request was in an unknown format - accepted media types include: application/json, application/yaml'),
  },
  'another dryRun': { asked: { ...good, path: `${COLLECTION}?dryRun=foo` }, answer: badOption('dryRun', DRY_RUN) },
  'another fieldValidation': { asked: { ...good, path: `${COLLECTION}?fieldValidation=strict` }, answer: badOption('fieldValidation', VALIDATION) },
  'an empty body': { asked: { path: COLLECTION, body: '' }, answer: unrecognized("couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)") },
  'half a body': { asked: { path: COLLECTION, body: '{"spec":' }, answer: unrecognized("couldn't get version/kind; json parse error: the body is not JSON, or only a part of it") },
  'half a body of YAML': { asked: sent(YAML, 'spec: {user: alice'), answer: unrecognized('error converting YAML to JSON: it is no YAML, or only a part of it') },
  'a number for text': {
    asked: changed({ spec: { workspaceName: 7, user: 'alice' } }),
    answer: handled('json: cannot unmarshal number into Go struct field ConnectionAccessReviewSpec.spec.workspaceName of type string'),
  },
  'text for a list': {
    asked: changed({ spec: { workspaceName: 'notebook', groups: 'team-a' } }),
    answer: handled('json: cannot unmarshal string into Go struct field ConnectionAccessReviewSpec.spec.groups of type []string'),
  },
  'another kind': {
    asked: { path: COLLECTION, body: { apiVersion: 'v1', kind: 'Pod' } },
    answer: status(400, 'BadRequest', 'Pod in version "v1" cannot be handled as a ConnectionAccessReview: the kind in the data does not match the expected kind (ConnectionAccessReview)'),
  },
  'a kind of the group at the place of another': {
    asked: changed({ kind: 'BearerTokenReview' }),
    answer: status(
      400,
      'BadRequest',
      'BearerTokenReview in version "v1alpha1" cannot be handled as a ConnectionAccessReview: the kind in the data does not match the expected kind (ConnectionAccessReview)',
    ),
  },
  'another version': {
    asked: changed({ apiVersion: `${GROUP}/v1` }),
    answer: status(400, 'BadRequest', `the API version in the data (${GROUP}/v1) does not match the expected API version (${GROUP}/v1alpha1)`),
  },
  'an unknown field, strictly': {
    asked: { ...changed({ spec: { workspaceName: 'notebook', user: 'alice', x: 1 } }), path: `${COLLECTION}?fieldValidation=Strict` },
    answer: handled('strict decoding error: unknown field "spec.x"'),
  },
  'a field that is there twice, strictly': {
    asked: { path: `${COLLECTION}?fieldValidation=Strict`, body: '{"spec":{"workspaceName":"a","user":"bob","user":"alice"}}' },
    answer: handled('strict decoding error: duplicate field "spec.user"'),
  },
  'another namespace in the object': {
    asked: changed({ metadata: { namespace: 'other' } }),
    answer: status(400, 'BadRequest', 'the namespace of the provided object does not match the namespace sent on the request'),
  },
  'no name of a Workspace': { asked: changed({ spec: { user: 'alice' } }), answer: invalid('spec.workspaceName: Required value', [REQUIRED]) },
  'neither user nor groups': {
    asked: changed({ spec: { workspaceName: 'notebook', groups: [] } }),
    answer: invalid(`spec.user: ${SOMEBODY}`, [{ reason: 'FieldValueInvalid', message: SOMEBODY, field: 'spec.user' }]),
  },
  'nothing at all in the spec': {
    asked: changed({ spec: {} }),
    answer: invalid(`[spec.workspaceName: Required value, spec.user: ${SOMEBODY}]`, [REQUIRED, { reason: 'FieldValueInvalid', message: SOMEBODY, field: 'spec.user' }]),
  },
}

const whole = ({ code, headers, body }: Answered): object => ({ code, type: headers['content-type'], nosniff: headers['x-content-type-options'], body })
const wholeStatus = (answer: object): object => ({ code: Reflect.get(answer, 'code'), type: 'application/json', nosniff: 'nosniff', body: answer })

for (const [way, askBy] of Object.entries({ 'through the API server': through, 'past it': direct })) {
  await test(`each refusal is a whole Status, ${way}`, async (subtest) => {
    for (const [sentence, { as = carol, asked, answer, headers = {} }] of Object.entries(REFUSALS)) {
      const answered = await askBy(as, asked)
      subtest.strictSame(whole(answered), wholeStatus(answer), sentence)
      subtest.match(answered.headers, headers, sentence)
    }
  })
}

await test('paths that the API server would clean, or answers itself, lead nowhere', async (subtest) => {
  for (const path of [`${COLLECTION}/`, `${CONNECTION_API}/namespaces//${RESOURCE}`, `${CONNECTION_API}/namespaces/te%61m/${RESOURCE}`, `${CONNECTION_API}/namespaces/team%2f${RESOURCE}`])
    subtest.strictSame(whole(await direct(carol, at(path))), wholeStatus(NOT_FOUND), path)
  for (const path of ['/', '/api/v1/pods', '/apis/apps/v1/namespaces/team/deployments', `/apis/${GROUP}/v1/namespaces/team/${RESOURCE}`])
    subtest.strictSame(whole(await direct(root, { path, method: 'GET' })), wholeStatus(NOT_FOUND), path)
  subtest.match(await direct(carol, { path: COLLECTION, method: 'HEAD' }), { code: 405, text: '', headers: { allow: 'POST' } })
  const dots = await direct(carol, at(`${TEAM}/../team/${RESOURCE}`))
  subtest.strictSame(whole(dots), wholeStatus(NOT_FOUND))
})

await test('a body of more than 3 MiB is not read', async (subtest) => {
  // Said alone: a server that answers at once may close while the rest is still being sent.
  const head: Asked = { path: COLLECTION, body: '{}', headers: { 'content-length': String(3 * 1024 * 1024 + 1) } }
  const answer = status(413, 'RequestEntityTooLarge', 'Request entity too large: limit is 3145728')
  subtest.strictSame(whole(await direct(carol, head)), wholeStatus(answer))
  const large = { ...REVIEW, metadata: { annotations: { note: 'x'.repeat(3 * 1024 * 1024 - 1_000) } } }
  const taken = await through(carol, { path: COLLECTION, body: large })
  subtest.equal(taken.code, 201, 'a little less is taken')
})

/** All at once, the one that is told first above: what is known of a request is told before what is wrong with the rest of it. */
const FAULTS: [sentence: string, code: number][] = [
  ['nobody is known', 401],
  ['the path leads nowhere', 404],
  ['it is not allowed', 403],
  ['the method', 405],
  ['Accept', 406],
  ['Content-Type', 415],
  ['the size', 413],
  ['the options', 422],
  ['the body is no JSON', 400],
  ['the kind', 400],
  ['the namespace', 400],
  ['a field is missing', 422],
]

await test('what is wrong is told in one order', async (subtest) => {
  for (const [index, [sentence, code]] of FAULTS.entries()) {
    const has = (fault: string): boolean => FAULTS.slice(index).some(([name]) => name === fault)
    const object = { kind: has('the kind') ? 'Pod' : REVIEW.kind, metadata: { namespace: has('the namespace') ? 'other' : 'team' }, spec: has('a field is missing') ? {} : REVIEW.spec }
    const text = has('the body is no JSON') ? '{' : JSON.stringify(object)
    const headers = {
      ...(has('Accept') ? { accept: 'text/html' } : {}),
      ...(has('Content-Type') ? { 'content-type': 'text/html' } : {}),
      ...(has('the size') ? { 'content-length': '4000000' } : {}),
    }
    const path = `${has('the path leads nowhere') ? `${TEAM}//x` : COLLECTION}${has('the options') ? '?dryRun=foo' : ''}`
    const asked: Asked = { path, method: has('the method') ? 'PUT' : 'POST', body: text, headers }
    const answered = await direct(has('it is not allowed') ? nobody : carol, asked, has('nobody is known') ? null : undefined)
    subtest.equal(answered.code, code, `${sentence}: ${answered.text}`)
  }
})

const answered = (metadata: object = { name: 'a' }): object => ({
  ...REVIEW,
  metadata: { ...metadata, namespace: 'team' },
  spec: { ...REVIEW.spec, groups: [] },
  status: { allowed: false, notFound: false, reason: 'RBAC permission denied' },
})

const SUCCESSES: Record<string, { asked: Asked; answer?: object; headers?: object }> = {
  'a review': { asked: good },
  'without apiVersion, kind and name': { asked: { path: COLLECTION, body: { spec: REVIEW.spec } }, answer: answered({}) },
  'YAML': { asked: sent(YAML, stringify(REVIEW)) },
  'a charset': { asked: sent({ 'content-type': 'application/json; charset=utf-8' }) },
  'protobuf wanted, or else JSON': { asked: sent({ accept: 'application/vnd.kubernetes.protobuf,application/json' }) },
  'the options of kubectl': { asked: { ...good, path: `${COLLECTION}?fieldManager=kubectl-create&fieldValidation=Strict&pretty=true` } },
  'its own namespace': { asked: changed({ metadata: { name: 'a', namespace: 'team' } }) },
  'labels and annotations come back, the rest of the metadata does not': {
    asked: changed({ metadata: { generateName: 'a-', labels: { l: '1' }, annotations: { n: 'm' }, uid: 'u', finalizers: ['f'] } }),
    answer: answered({ generateName: 'a-', labels: { l: '1' }, annotations: { n: 'm' } }),
  },
  'a status that was sent is nothing': { asked: changed({ status: { allowed: true } }) },
  'an unknown field, with a warning': { asked: changed({ spec: { ...REVIEW.spec, x: 1 } }), headers: { warning: '299 - "unknown field \\"spec.x\\""' } },
  'an unknown field, ignored': { asked: { ...changed({ spec: { ...REVIEW.spec, x: 1 } }), path: `${COLLECTION}?fieldValidation=Ignore` } },
  'a dry run': { asked: { ...good, path: `${COLLECTION}?dryRun=All` } },
}

for (const [way, askBy] of Object.entries({ 'through the API server': through, 'past it': direct })) {
  await test(`each review that is good is answered with 201 and what was sent, ${way}`, async (subtest) => {
    for (const [sentence, { asked, answer = answered(), headers = { warning: undefined } }] of Object.entries(SUCCESSES)) {
      const reply = await askBy(carol, asked)
      subtest.strictSame(whole(reply), { code: 201, type: 'application/json', nosniff: 'nosniff', body: answer }, sentence)
      subtest.match({ warning: reply.headers['warning'] }, headers, sentence)
    }
  })
}

await test('who prefers YAML gets it, a Status too', async (subtest) => {
  const headers = { accept: 'application/yaml, application/json;q=0.5' }
  subtest.strictSame(whole(await through(carol, sent(headers))), { code: 201, type: 'application/yaml', nosniff: 'nosniff', body: answered() })
  subtest.strictSame(whole(await through(carol, { ...at(`${COLLECTION}/x`), headers })), { code: 404, type: 'application/yaml', nosniff: 'nosniff', body: NOT_FOUND })
})

await test('who names himself past the API server is nobody', async (subtest) => {
  for (const [sentence, { client, person = ADMIN, headers = {} }] of Object.entries(FORGED)) {
    const reply = await direct(person, { ...good, headers }, client)
    subtest.strictSame(whole(reply), wholeStatus(UNAUTHORIZED), sentence)
    subtest.equal(reply.headers['connection'], 'close', sentence)
  }
  subtest.equal((await direct(ADMIN, good)).code, 201, 'the same words by the API server count')
})

await test('who names somebody else through the API server is himself', async (subtest) => {
  const headers = { 'x-remote-user': 'admin', 'x-remote-group': 'system:masters', 'x-remote-extra-scopes': 'all', 'x-user': 'admin' }
  subtest.strictSame(whole(await through(nobody, { ...good, headers })), wholeStatus(forbidden('create')))
  const wrong = { ...good, headers: { authorization: 'Bearer wrong' } }
  subtest.match(await through(nobody, wrong), { code: 401, body: { kind: 'Status', reason: 'Unauthorized' } })
})

await test('tokens of callers are taken by option, by the right to review them', async (subtest) => {
  const { direct: ask } = await startExtension(t, cluster, { port: 0, authenticateTokens: true })
  const token = await cluster.serviceAccountToken(SYSTEM_NAMESPACE, 'access-gate-auth')
  const asked = { ...good, headers: { authorization: `Bearer ${token}` } }
  subtest.strictSame(whole(await ask(ADMIN, asked, null)), wholeStatus(status(500, 'InternalError', 'Failed to verify access permission')), 'without the right nobody is known')
  const rights = await readManifests('extension-token-review')
  await cluster.kubectl(['create', '-f', '-'], { input: yamlOf(rights) })
  await untilTrue('the right is in effect', async () => (await ask(ADMIN, asked, null)).code === 201)
  subtest.strictSame(whole(await ask(ADMIN, { ...good, path: `${TEAM}/workspaceconnections`, headers: asked.headers }, null)), wholeStatus(forbidden('create', { user: `system:serviceaccount:${SYSTEM_NAMESPACE}:access-gate-auth`, resource: 'workspaceconnections' })))
  subtest.strictSame(whole(await ask(ADMIN, { ...good, headers: { authorization: 'Bearer wrong' } }, null)), wholeStatus(UNAUTHORIZED))
})

const LIST = {
  kind: 'APIResourceList',
  apiVersion: 'v1',
  groupVersion: `${GROUP}/v1alpha1`,
  resources: [
    { name: 'connectionaccessreviews', singularName: 'connectionaccessreview', namespaced: true, kind: 'ConnectionAccessReview', verbs: ['create'] },
    { name: 'workspaceconnections', singularName: 'workspaceconnection', namespaced: true, kind: 'WorkspaceConnection', verbs: ['create'] },
    { name: 'bearertokenreviews', singularName: 'bearertokenreview', namespaced: true, kind: 'BearerTokenReview', verbs: ['create'] },
  ],
}
const get = (path: string, headers: Record<string, string> = {}): Asked => ({ path, method: 'GET', headers })

await test('discovery tells of the kinds, to anybody who is known', async (subtest) => {
  for (const askBy of [through, direct]) subtest.match(await askBy(nobody, get(CONNECTION_API)), { code: 200, body: LIST })
  subtest.match(await direct(nobody, get(`${CONNECTION_API}/`)), { code: 200, body: LIST })
  subtest.match(await through(nobody, get(CONNECTOR_API)), { code: 200, body: { resources: [{ name: 'connectoraccessreviews', namespaced: true, kind: 'ConnectorAccessReview', verbs: ['create'] }] } })
  subtest.match(await direct(nobody, get(`/apis/${GROUP}`)), { code: 200, body: { kind: 'APIGroup', name: GROUP, preferredVersion: { groupVersion: `${GROUP}/v1alpha1`, version: 'v1alpha1' } } })
  const accept = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList'
  const first = await direct(nobody, get('/apis', { accept }))
  subtest.match(first, { code: 200, body: { kind: 'APIGroupDiscoveryList', items: [{ metadata: { name: GROUP } }, { metadata: { name: 'access.connectors.alauda.io' } }] } })
  subtest.match(await direct(nobody, get('/apis', { accept, 'if-none-match': String(first.headers['etag']) })), { code: 304, text: '' })
  interface Discovery {
    items: { metadata: { name: string }; versions: { freshness: string; resources: { resource: string }[] }[] }[]
  }
  await untilTrue('the API server tells of them as current', async () => {
    const { items } = (await through(nobody, get('/apis', { accept }))).body as Discovery
    return items.filter(({ metadata, versions }) => [GROUP, 'access.connectors.alauda.io'].includes(metadata.name) && versions[0]?.freshness === 'Current').length === 2
  })
  subtest.match(await direct(nobody, { path: CONNECTION_API }), { code: 403 }, 'a POST there is another question')
  subtest.match(await direct(root, { path: CONNECTION_API }), { code: 405, headers: { allow: 'GET, HEAD' } })
})

await test('OpenAPI documents the kinds', async (subtest) => {
  const path = `apis/${GROUP}/v1alpha1`
  subtest.match(await direct(nobody, get('/openapi/v3')), { code: 200, body: { paths: { [path]: { serverRelativeURL: new RegExp(`^/openapi/v3/${path}\\?hash=`) } } } })
  subtest.match(await direct(nobody, get('/openapi/v2')), { code: 200, body: { swagger: '2.0' } })
  const operations = ['dryRun', 'fieldManager', 'fieldValidation'].map((name) => ({ name, in: 'query' }))
  for (const askBy of [direct, through]) {
    const { code, body } = await askBy(nobody, get(`/openapi/v3/${path}`))
    const { paths } = body as { paths: Record<string, { post: { parameters: { name: string; in: string }[] } }> }
    const parameters = paths[`/${path}/namespaces/{namespace}/${RESOURCE}`]?.post.parameters ?? []
    subtest.equal(code, 200)
    subtest.match(
      operations.map(({ name }) => parameters.find((parameter) => parameter.name === name)),
      operations,
    )
  }
})

await test('health is for everybody, version for whoever is known, metrics for whom they are given to', async (subtest) => {
  for (const path of ['/healthz', '/livez', '/readyz']) subtest.match(await direct(nobody, get(path), null), { code: 200, text: 'ok' }, path)
  subtest.match(await direct(nobody, get('/readyz?verbose'), null), { code: 200, text: /\[\+\]front-proxy-configuration ok\n[^]*\[\+\]signing-keys ok\nreadyz check passed/ })
  subtest.match(await direct(nobody, get('/version'), null), { code: 401 })
  subtest.match(await direct(nobody, get('/version')), { code: 200, body: { compiler: 'node' } })
  subtest.match(await direct(nobody, get('/metrics')), { code: 403, body: status(403, 'Forbidden', 'forbidden: User "nobody" cannot get path "/metrics"', {}) })
  subtest.match(await direct(root, get('/metrics')), { code: 200, text: /access_gate_reviews_total\{kind="ConnectionAccessReview",verdict="denied"\}/ })
})

await test('what is behind a failure is for the log alone', async (subtest) => {
  const name = 'access-gate-extension'
  const role = manifestOf(await readManifests('extension-base'), 'ClusterRole', name)
  const failed = wholeStatus(status(500, 'InternalError', 'Failed to verify access permission'))
  const isFailed = async (): Promise<boolean> => (await through(root, good)).code === 500
  subtest.teardown(() => cluster.kubectl(['apply', '--server-side', '--force-conflicts', '-f', '-'], { input: yamlOf([role]) }))
  await cluster.kubectl(['patch', 'clusterrole', name, '--type=merge', '-p', '{"rules":[]}'])
  await untilTrue('its right to ask is gone', isFailed)
  subtest.strictSame(whole(await through(root, good)), failed, 'the SubjectAccessReview')
  subtest.strictSame(whole(await direct({ user: 'somebody new' }, good)), failed, 'that of the caller')
  await cluster.kubectl(['patch', 'clusterrole', name, '--type=merge', '-p', JSON.stringify({ rules: [{ apiGroups: ['authorization.k8s.io'], resources: ['subjectaccessreviews'], verbs: ['create'] }] })])
  await cluster.kubectl(['create', 'clusterrolebinding', 'eve-connects', '--clusterrole=access-gate-connect-workspaces', '--user=eve'])
  const allowed = changed({ spec: { workspaceName: 'notebook', user: 'eve' } })
  await untilTrue('its right to ask is back, without one to read Workspaces', async () => (await through(root, good)).code === 201 && (await through(root, allowed)).code === 500)
  subtest.strictSame(whole(await through(root, allowed)), failed, 'the Workspace')
})

await test('while the API server is away nobody is allowed anything, and everybody is told to come again', async (subtest) => {
  await cluster.kill('kube-apiserver')
  const away = await direct(root, good)
  subtest.strictSame(whole(away), wholeStatus(status(503, 'ServiceUnavailable', 'Failed to verify access permission', { retryAfterSeconds: 1 })))
  subtest.match(away.headers, { 'retry-after': '1' })
  subtest.match(await direct({ user: 'somebody newer' }, good), { code: 503 })
  subtest.match(await direct(nobody, get('/livez'), null), { code: 200 })
})
