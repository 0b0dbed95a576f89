import type { InjectOptions } from 'fastify'
import { test } from 'tap'
import { parse } from 'yaml'
import { CodedError } from '../../src/errors.ts'
import { KubeError } from '../../src/kube/kube-error.ts'
import { createTurns } from '../../src/serving/turns.ts'
import { untilTrue } from '../support/eventually.ts'
import { status } from '../support/status.ts'
import { asKind, COLLECTION, get, GROUP, JSON_HEADERS, post, REVIEW, visitReview, world } from './harness.ts'

const { kind: KIND } = REVIEW
const NOT_FOUND = status(404, 'NotFound', 'the server could not find the requested resource', {})
const METHOD = status(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource', {})
const handled = (problem: string): object => status(400, 'BadRequest', `VisitReview in version "v1alpha1" cannot be handled as a VisitReview: ${problem}`)
const unrecognized = (problem: string): object => status(400, 'BadRequest', `the object provided is unrecognized (must be of type VisitReview): ${problem}`)
const invalidSpec = (message: string, causes: object[], name = 'a'): object =>
  status(422, 'Invalid', `VisitReview.${GROUP} "${name}" is invalid: ${message}`, { ...(name === '' ? {} : { name }), group: GROUP, kind: KIND, causes })
const invalidOptions = (message: string, causes: object[]): object =>
  status(422, 'Invalid', `CreateOptions.meta.k8s.io "" is invalid: ${message}`, { group: 'meta.k8s.io', kind: 'CreateOptions', causes })
const cause = (field: string, message: string): object => ({ reason: 'FieldValueNotSupported', message, field })
const DRY_RUN = 'Unsupported value: ["foo"]: supported values: "All"'
const VALIDATION = 'Unsupported value: "strict": supported values: "", "Ignore", "Strict", "Warn"'
const NOT_UNDERSTOOD = status(
  415,
  'UnsupportedMediaType',
  'the body of the request was in an unknown format - accepted media types include: application/json, application/yaml',
)
const NOT_ACCEPTABLE = status(406, 'NotAcceptable', 'only the following media types are accepted: application/json, application/yaml')
const TOO_LARGE = status(413, 'RequestEntityTooLarge', 'Request entity too large: limit is 3145728')
const BAD_NAMESPACE = (got: string): object =>
  status(400, 'BadRequest', `the namespace in the path must be lower case letters, digits and "-", beginning and ending with a letter or digit; got "${got}"`)
const changed = (changes: object): object => ({ ...REVIEW, ...changes })
const method = (verb: 'PUT' | 'PATCH' | 'DELETE' | 'OPTIONS', url = COLLECTION): InjectOptions => ({ ...post(REVIEW, { url }), method: verb })
const at = (url: string): InjectOptions => post(REVIEW, { url })
const EXPECTED_KIND = 'the kind in the data does not match the expected kind (VisitReview)'

const REFUSALS: Record<string, { request: InjectOptions; answer: object; headers?: object }> = {
  'no credentials': {
    request: { ...post(REVIEW), headers: { 'content-type': 'application/json' } },
    answer: status(401, 'Unauthorized', 'Unauthorized'),
    headers: { connection: 'close' },
  },
  'PUT on the collection': { request: method('PUT'), answer: METHOD, headers: { allow: 'POST' } },
  'PATCH on the collection': { request: method('PATCH'), answer: METHOD, headers: { allow: 'POST' } },
  'GET on the collection': { request: get(COLLECTION), answer: METHOD, headers: { allow: 'POST' } },
  'DELETE on the collection': { request: method('DELETE'), answer: METHOD, headers: { allow: 'POST' } },
  'OPTIONS on the collection': { request: method('OPTIONS'), answer: METHOD, headers: { allow: 'POST' } },
  'a named object': { request: at(`${COLLECTION}/a`), answer: NOT_FOUND },
  'a subresource': { request: at(`${COLLECTION}/a/status`), answer: NOT_FOUND },
  'a resource that is not there': { request: at(`/apis/${GROUP}/v1alpha1/namespaces/team/others`), answer: NOT_FOUND },
  'another version': { request: at(`/apis/${GROUP}/v1/namespaces/team/visitreviews`), answer: NOT_FOUND },
  'another group': { request: at('/apis/other.example.org/v1alpha1/namespaces/team/visitreviews'), answer: NOT_FOUND },
  'all namespaces': { request: at(`/apis/${GROUP}/v1alpha1/visitreviews`), answer: NOT_FOUND },
  'a deeper path that ends in the resource': { request: at(`/apis/${GROUP}/v1alpha1/namespaces/team/foo/bar/visitreviews`), answer: NOT_FOUND },
  'namespaces alone': { request: at(`/apis/${GROUP}/v1alpha1/namespaces`), answer: NOT_FOUND },
  'a namespace alone': { request: at(`/apis/${GROUP}/v1alpha1/namespaces/team`), answer: NOT_FOUND },
  'a slash at the end': { request: at(`${COLLECTION}/`), answer: NOT_FOUND },
  'two slashes': { request: at(`/apis/${GROUP}/v1alpha1/namespaces//team/visitreviews`), answer: NOT_FOUND },
  'an encoded slash': { request: at(`/apis/${GROUP}/v1alpha1/namespaces/team%2fvisitreviews`), answer: NOT_FOUND },
  'an encoded letter': { request: at(`/apis/${GROUP}/v1alpha1/namespaces/te%61m/visitreviews`), answer: NOT_FOUND },
  'an empty namespace': { request: at(`/apis/${GROUP}/v1alpha1/namespaces//visitreviews`), answer: NOT_FOUND },
  'a namespace that is no DNS label': { request: at(`/apis/${GROUP}/v1alpha1/namespaces/Team/visitreviews`), answer: BAD_NAMESPACE('Team') },
  'a namespace with a dot': { request: at(`/apis/${GROUP}/v1alpha1/namespaces/a.b/visitreviews`), answer: BAD_NAMESPACE('a.b') },
  'nothing at all': { request: get('/'), answer: NOT_FOUND },
  'the core API': { request: get('/api/v1/pods'), answer: NOT_FOUND },
  'Accept for protobuf alone': { request: post(REVIEW, { headers: { accept: 'application/vnd.kubernetes.protobuf' } }), answer: NOT_ACCEPTABLE },
  'Accept for a table alone': { request: post(REVIEW, { headers: { accept: 'application/json;as=Table;g=meta.k8s.io;v=v1' } }), answer: NOT_ACCEPTABLE },
  'Accept that is nonsense': { request: post(REVIEW, { headers: { accept: 'json' } }), answer: NOT_ACCEPTABLE },
  'a body of text': { request: post(REVIEW, { headers: { 'content-type': 'text/plain' } }), answer: NOT_UNDERSTOOD },
  'a protobuf body': { request: post(REVIEW, { headers: { 'content-type': 'application/vnd.kubernetes.protobuf' } }), answer: NOT_UNDERSTOOD },
  'a Content-Type of stars': { request: post(REVIEW, { headers: { 'content-type': '*/*' } }), answer: NOT_UNDERSTOOD },
  'a body too large': { request: post(changed({ x: 'x'.repeat(3 * 1024 * 1024) })), answer: TOO_LARGE },
  'YAML too large': {
    request: post(`spec: {guest: ${'a'.repeat(32 * 1024)}}`, { headers: { 'content-type': 'application/yaml' } }),
    answer: status(413, 'RequestEntityTooLarge', 'Request entity too large: limit is 32768'),
  },
  'another dryRun': { request: at(`${COLLECTION}?dryRun=foo`), answer: invalidOptions(`dryRun: ${DRY_RUN}`, [cause('dryRun', DRY_RUN)]) },
  'another fieldValidation': {
    request: at(`${COLLECTION}?fieldValidation=strict`),
    answer: invalidOptions(`fieldValidation: ${VALIDATION}`, [cause('fieldValidation', VALIDATION)]),
  },
  'both': {
    request: at(`${COLLECTION}?fieldValidation=strict&dryRun=foo`),
    answer: invalidOptions(`[dryRun: ${DRY_RUN}, fieldValidation: ${VALIDATION}]`, [cause('dryRun', DRY_RUN), cause('fieldValidation', VALIDATION)]),
  },
  'an empty body': { request: post(''), answer: unrecognized("couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)") },
  'half of the JSON': {
    request: post('{"spec":{"token":"secr'),
    answer: unrecognized("couldn't get version/kind; json parse error: the body is not JSON, or only a part of it"),
  },
  'a list': { request: post([]), answer: unrecognized("couldn't get version/kind; json parse error: the body is no object") },
  'no UTF-8': { request: post(Buffer.from([0x7b, 0xff, 0x7d])), answer: unrecognized('the body is not UTF-8') },
  'a kind that is no text': { request: post(changed({ kind: 1 })), answer: unrecognized("couldn't get version/kind; json parse error: kind and apiVersion must be text") },
  'several YAML documents': {
    request: post('spec: {guest: a}\n---\nspec: {guest: b}\n', { headers: { 'content-type': 'application/yaml' } }),
    answer: unrecognized('there is more than one YAML document; send one'),
  },
  'YAML with aliases': {
    request: post('spec: {guest: &a alice, groups: [*a]}\n', { headers: { 'content-type': 'application/yaml' } }),
    answer: unrecognized('error converting YAML to JSON: aliases are not taken; write the value out'),
  },
  'YAML that is none': {
    request: post('spec: {guest: secret', { headers: { 'content-type': 'application/yaml' } }),
    answer: unrecognized('error converting YAML to JSON: it is no YAML, or only a part of it'),
  },
  'a number for text': {
    request: post(changed({ spec: { guest: 7 } })),
    answer: handled('json: cannot unmarshal number into Go struct field VisitReviewSpec.spec.guest of type string'),
  },
  'text for a list': {
    request: post(changed({ spec: { guest: 'a', groups: 'b' } })),
    answer: handled('json: cannot unmarshal string into Go struct field VisitReviewSpec.spec.groups of type []string'),
  },
  'text for a list in a map': {
    request: post(changed({ spec: { guest: 'a', extra: { k: 'v' } } })),
    answer: handled('json: cannot unmarshal string into Go struct field VisitReviewSpec.spec.extra of type []string'),
  },
  'a list for the spec': {
    request: post(changed({ spec: [] })),
    answer: handled('json: cannot unmarshal array into Go struct field VisitReview.spec of type VisitReviewSpec'),
  },
  'a label that is a number': {
    request: post(changed({ metadata: { labels: { a: 1 } } })),
    answer: handled('json: cannot unmarshal number into Go struct field VisitReviewMetadata.metadata.labels of type string'),
  },
  'another kind': {
    request: post({ apiVersion: 'v1', kind: 'Pod' }),
    answer: status(400, 'BadRequest', `Pod in version "v1" cannot be handled as a VisitReview: ${EXPECTED_KIND}`),
  },
  'another kind of no version': {
    request: post({ kind: 'Pod' }),
    answer: status(400, 'BadRequest', `Pod in version "v1alpha1" cannot be handled as a VisitReview: ${EXPECTED_KIND}`),
  },
  'another version of the kind': {
    request: post(changed({ apiVersion: `${GROUP}/v2` })),
    answer: status(400, 'BadRequest', `the API version in the data (${GROUP}/v2) does not match the expected API version (${GROUP}/v1alpha1)`),
  },
  'an unknown field, strictly': {
    request: post(changed({ spec: { guest: 'a', x: 1 }, y: 2 }), { url: `${COLLECTION}?fieldValidation=Strict` }),
    answer: handled('strict decoding error: unknown field "spec.x", unknown field "y"'),
  },
  'a duplicate field, strictly': {
    request: post('{"spec":{"guest":"bob","guest":"alice"}}', { url: `${COLLECTION}?fieldValidation=Strict` }),
    answer: handled('strict decoding error: duplicate field "spec.guest"'),
  },
  'a duplicate field in YAML, strictly': {
    request: post('spec:\n  guest: bob\n  guest: alice\n', { url: `${COLLECTION}?fieldValidation=Strict`, headers: { 'content-type': 'application/yaml' } }),
    answer: handled('strict decoding error: duplicate field "spec.guest"'),
  },
  'another namespace': {
    request: post(changed({ metadata: { namespace: 'other' } })),
    answer: status(400, 'BadRequest', 'the namespace of the provided object does not match the namespace sent on the request'),
  },
  'a missing field': {
    request: post(changed({ spec: {} })),
    answer: invalidSpec('spec.guest: Required value', [{ reason: 'FieldValueRequired', message: 'Required value', field: 'spec.guest' }]),
  },
  'no spec': {
    request: post({}),
    answer: invalidSpec('spec.guest: Required value', [{ reason: 'FieldValueRequired', message: 'Required value', field: 'spec.guest' }], ''),
  },
  'two fields that are wrong': {
    request: post(changed({ spec: { guest: null, seats: -1 } })),
    answer: invalidSpec('[spec.guest: Required value, spec.seats: Invalid value: -1: must be greater than or equal to 0]', [
      { reason: 'FieldValueRequired', message: 'Required value', field: 'spec.guest' },
      { reason: 'FieldValueInvalid', message: 'Invalid value: -1: must be greater than or equal to 0', field: 'spec.seats' },
    ]),
  },
}

await test('what is refused is a whole Status', async (t) => {
  const { app } = world()
  for (const [sentence, { request, answer, headers = {} }] of Object.entries(REFUSALS)) {
    const reply = await app.inject(request)
    t.strictSame(reply.json(), answer, sentence)
    t.equal(reply.statusCode, Reflect.get(answer, 'code'), sentence)
    t.match(reply.headers, { 'content-type': 'application/json', 'x-content-type-options': 'nosniff', ...headers }, sentence)
  }
})

await test('dot segments lead nowhere; a client may not take them out before it sends', async (t) => {
  const { app } = world()
  for (const segment of ['..', '.']) {
    const request = { ...post(REVIEW), url: `/apis/${GROUP}/v1alpha1/namespaces/${segment}/visitreviews` }
    const reply = await app.inject(request)
    t.equal(reply.statusCode, 404)
  }
})

const answered = (changes: object = {}, spec: object = {}): object => ({
  apiVersion: REVIEW.apiVersion,
  kind: KIND,
  metadata: { name: 'a', namespace: 'team', ...changes },
  spec: { guest: 'alice', groups: [], ...spec },
  status: { allowed: true },
})

const SUCCESSES: Record<string, { request: InjectOptions; answer: object }> = {
  'a review': { request: post(REVIEW), answer: answered() },
  'without apiVersion and kind, nor a name': {
    request: post({ spec: { guest: 'alice' } }),
    answer: { ...answered(), metadata: { namespace: 'team' } },
  },
  'what is null is not there': {
    request: post({ ...REVIEW, metadata: { name: 'a', labels: null }, spec: { guest: 'alice', groups: null, extra: null } }),
    answer: answered(),
  },
  'labels and annotations come back, the rest of the metadata does not': {
    request: post(changed({ metadata: { name: 'a', generateName: 'a-', labels: { l: '1' }, annotations: { n: '' }, uid: 'u', finalizers: ['f'], managedFields: [{}], namespace: 'team' } })),
    answer: answered({ generateName: 'a-', labels: { l: '1' }, annotations: { n: '' } }),
  },
  'a status that was sent is nothing': { request: post(changed({ status: { allowed: 'maybe', x: [] } })), answer: answered() },
  'what the kind keeps to itself does not come back': { request: post(changed({ spec: { guest: 'alice', token: 'secret' } })), answer: answered() },
  'keys of any name': {
    request: post('{"metadata":{"name":"a"},"spec":{"guest":"alice","extra":{"__proto__":["x"],"a/b":["y","z"]}}}'),
    answer: JSON.parse(JSON.stringify(answered()).replace('"groups":[]', '"extra":{"__proto__":["x"],"a/b":["y","z"]},"groups":[]')) as object,
  },
  'a charset': { request: post(REVIEW, { headers: { 'content-type': 'application/json; charset=utf-8' } }), answer: answered() },
  'YAML': {
    request: post('apiVersion: visits.example.org/v1alpha1\nkind: VisitReview\nmetadata: {name: a}\nspec:\n  guest: alice\n', { headers: { 'content-type': 'application/yaml' } }),
    answer: answered(),
  },
  'protobuf or JSON': { request: post(REVIEW, { headers: { accept: 'application/vnd.kubernetes.protobuf,application/json' } }), answer: answered() },
  'no Accept': { request: { ...post(REVIEW), headers: { 'x-test-user': 'carol', 'content-type': 'application/json' } }, answer: answered() },
  'anything': { request: post(REVIEW, { headers: { accept: '*/*' } }), answer: answered() },
  'the options of kubectl': { request: at(`${COLLECTION}?fieldManager=kubectl-create&fieldValidation=Strict&pretty=true`), answer: answered() },
}

await test('a review is answered with 201 and what was sent', async (t) => {
  const { app } = world()
  for (const [sentence, { request, answer }] of Object.entries(SUCCESSES)) {
    const reply = await app.inject(request)
    t.equal(reply.statusCode, 201, sentence)
    t.strictSame(reply.json(), answer, sentence)
    t.match(reply.headers, { 'content-type': 'application/json', 'x-content-type-options': 'nosniff' }, sentence)
  }
})

await test('without Content-Type a body is JSON', async (t) => {
  const { app } = world()
  const { 'content-type': _left, ...headers } = JSON_HEADERS
  const reply = await app.inject({ ...post(REVIEW), headers })
  t.equal(reply.statusCode, 201)
})

await test('who prefers YAML gets it, errors too', async (t) => {
  const { app } = world()
  const headers = { accept: 'application/yaml, application/json;q=0.5' }
  const good = await app.inject(post(changed({ metadata: { name: 'a', labels: { norway: 'no', number: '1' } } }), { headers }))
  t.match(good.headers, { 'content-type': 'application/yaml' })
  t.strictSame(parse(good.body, { version: '1.1' }), answered({ labels: { norway: 'no', number: '1' } }))
  const bad = await app.inject(post(REVIEW, { headers, url: `${COLLECTION}/x` }))
  t.equal(bad.statusCode, 404)
  t.strictSame(parse(bad.body), NOT_FOUND)
})

await test('unknown and duplicate fields are warned of, or ignored', async (t) => {
  const { app } = world()
  const payload = '{"spec":{"guest":"bob","guest":"alice","x\\"y":1},"metadata":{"é":1,"name":"a"}}'
  const warned = await app.inject(post(payload))
  t.equal(warned.statusCode, 201)
  t.strictSame(warned.headers.warning, [
    '299 - "unknown field \\"metadata.?\\""',
    '299 - "unknown field \\"spec.x\\\\\\"y\\""',
    '299 - "duplicate field \\"spec.guest\\""',
  ])
  const ignored = await app.inject(post(payload, { url: `${COLLECTION}?fieldValidation=Ignore` }))
  t.equal(ignored.statusCode, 201)
  t.equal(ignored.headers.warning, undefined)
})

await test('many unknown fields do not make an answer without end', async (t) => {
  const { app } = world()
  const spec = Object.fromEntries(Array.from({ length: 5_000 }, (_, index) => [`${'x'.repeat(200)}${index}`, 1]))
  const reply = await app.inject(post(changed({ spec: { guest: 'alice', ...spec } })))
  t.equal(reply.statusCode, 201)
  const { warning } = reply.headers
  t.ok(Array.isArray(warning) && warning.join('').length <= 4096)
})

await test('the caller is authorized on what the path says, before anything else is told', async (t) => {
  const asked: unknown[] = []
  const { app } = world({
    authorize: (_caller, question) => {
      asked.push(question)
      return false
    },
  })
  const resource = { group: GROUP, version: 'v1alpha1', resource: 'visitreviews' }
  const cases: [InjectOptions, object, string, object][] = [
    [
      post('garbage', { headers: { 'content-type': 'text/plain', 'accept': 'image/png' } }),
      { ...resource, verb: 'create', namespace: 'team' },
      `visitreviews.${GROUP} is forbidden: User "carol" cannot create resource "visitreviews" in API group "${GROUP}" in the namespace "team"`,
      { group: GROUP, kind: 'visitreviews' },
    ],
    [
      get(COLLECTION),
      { ...resource, verb: 'list', namespace: 'team' },
      `visitreviews.${GROUP} is forbidden: User "carol" cannot list resource "visitreviews" in API group "${GROUP}" in the namespace "team"`,
      { group: GROUP, kind: 'visitreviews' },
    ],
    [
      { ...get(`${COLLECTION}/a/status`), method: 'DELETE' },
      { ...resource, verb: 'delete', namespace: 'team', name: 'a', subresource: 'status' },
      `visitreviews.${GROUP} "a" is forbidden: User "carol" cannot delete resource "visitreviews/status" in API group "${GROUP}" in the namespace "team"`,
      { name: 'a', group: GROUP, kind: 'visitreviews' },
    ],
    [
      get(`/apis/${GROUP}/v1alpha1/visitreviews`),
      { ...resource, verb: 'list' },
      `visitreviews.${GROUP} is forbidden: User "carol" cannot list resource "visitreviews" in API group "${GROUP}" at the cluster scope`,
      { group: GROUP, kind: 'visitreviews' },
    ],
    [get('/metrics'), { path: '/metrics', verb: 'get' }, 'forbidden: User "carol" cannot get path "/metrics"', {}],
    [get('/apis/'), { path: '/apis', verb: 'get' }, 'forbidden: User "carol" cannot get path "/apis"', {}],
  ]
  for (const [request, question, message, details] of cases) {
    const reply = await app.inject(request)
    t.strictSame(reply.json(), status(403, 'Forbidden', message, details))
    t.strictSame(asked.pop(), question)
  }
})

const FAULTS: Record<string, { error: Error; answer: object; retryAfter?: string }> = {
  'the API server is not reached': {
    error: new KubeError('KUBE_UNAVAILABLE', 'connect ECONNREFUSED 10.0.0.1:443', { retryAfterMs: 2_000 }),
    answer: status(503, 'ServiceUnavailable', 'Failed to verify access permission', { retryAfterSeconds: 2 }),
    retryAfter: '2',
  },
  'the API server refuses us': { error: new CodedError('KUBE_FORBIDDEN', 'secret backend words'), answer: status(500, 'InternalError', 'Failed to verify access permission') },
}

await test('without an answer of the API server there is none of ours, and no word of it', async (t) => {
  for (const [sentence, { error, answer, retryAfter }] of Object.entries(FAULTS)) {
    for (const overrides of [{ authorize: () => Promise.reject(error) }, { authenticate: () => Promise.reject(error) }, { kinds: [asKind(visitReview(() => Promise.reject(error)))] }]) {
      const { app } = world(overrides)
      const reply = await app.inject(post(REVIEW))
      t.strictSame(reply.json(), answer, sentence)
      t.equal(reply.headers['retry-after'], retryAfter, sentence)
    }
  }
})

await test('a crash is told by its number alone', async (t) => {
  const { app, lines } = world({ kinds: [asKind(visitReview(() => Promise.reject(new Error('secret'))))] })
  const reply = await app.inject(post(REVIEW))
  t.match(reply.json(), { code: 500, reason: 'InternalError', message: /correlation id [-0-9a-f]{36}$/ })
  t.notMatch(reply.body, 'secret')
  t.match(lines.lines.at(0), { level: 'error', msg: 'the extension API crashed on a request; nothing was allowed by it' })
})

await test('what a kind refuses is answered as it says', async (t) => {
  const failure = { code: 404, reason: 'NotFound', message: 'Workspace not found', details: { kind: 'Workspace' } }
  const { app, reviewed } = world({ kinds: [asKind(visitReview(() => Promise.resolve({ ok: false, failure, verdict: 'not-found' })))] })
  const reply = await app.inject(post(REVIEW))
  t.strictSame(reply.json(), status(404, 'NotFound', 'Workspace not found', { kind: 'Workspace' }))
  t.strictSame(reviewed, [[KIND, 'not-found']])
})

await test('each decision has one line, without anything secret', async (t) => {
  const { app, lines, reviewed } = world()
  await app.inject(post(changed({ spec: { guest: 'alice', token: 'secret' } }), { url: `${COLLECTION}?dryRun=All` }))
  const told = lines.lines.filter(({ msg }) => msg === 'review')
  t.match(told, [{ level: 'info', kind: KIND, caller: 'carol', namespace: 'team', verdict: 'allowed', subject: 'alice', object: 'team', code: 201, dryRun: true, ms: Number }])
  t.notMatch(JSON.stringify(lines.lines), 'secret')
  t.strictSame(reviewed, [[KIND, 'allowed']])
})

await test('dryRun, the namespace and the caller come to the kind', async (t) => {
  const seen: unknown[] = []
  const kind = visitReview(({ signal, ...request }) => {
    seen.push({ ...request, aborted: signal.aborted })
    return Promise.resolve({ ok: true, status: {}, verdict: 'x' })
  })
  const { app } = world({ kinds: [asKind(kind)] })
  await app.inject(at(`${COLLECTION}?dryRun=All&dryRun=All`))
  t.strictSame(seen, [{ namespace: 'team', spec: { guest: 'alice' }, caller: { user: 'carol', groups: ['system:authenticated'], extra: {} }, dryRun: true, aborted: false }])
})

await test('only so many reviews are under way and wait', async (t) => {
  const held = Promise.withResolvers<void>()
  const kind = visitReview(async () => {
    await held.promise
    return { ok: true, status: { allowed: false }, verdict: 'denied' }
  })
  const turns = createTurns({ atOnce: 1, waiting: 1 })
  const { app } = world({ kinds: [asKind(kind)], turns })
  const first = [app.inject(post(REVIEW)), app.inject(post(REVIEW))]
  await untilTrue('both reviews are in', () => !turns.hasRoom)
  const third = await app.inject(post(REVIEW))
  t.strictSame(third.json(), status(429, 'TooManyRequests', 'too many requests, please try again later', { retryAfterSeconds: 1 }))
  t.equal(third.headers['retry-after'], '1')
  held.resolve()
  t.strictSame((await Promise.all(first)).map(({ statusCode }) => statusCode), [201, 201])
})

await test('a review that takes too long is answered all the same', async (t) => {
  const signals: AbortSignal[] = []
  const kind = visitReview(({ signal }) => {
    signals.push(signal)
    return new Promise(() => undefined)
  })
  const timers = { monotonic: () => 0, after: (_ms: number, run: () => void) => (queueMicrotask(run), () => undefined) }
  const { app } = world({ kinds: [asKind(kind)], timers })
  const reply = await app.inject(post(REVIEW))
  t.strictSame(reply.json(), status(504, 'Timeout', 'Timeout: request did not complete within the allotted timeout', {}))
  t.strictSame(signals.map(({ aborted }) => aborted), [true])
})

await test('large reviews hold no more memory than there is, and never keep the small ones out', async (t) => {
  const held = Promise.withResolvers<void>()
  let asked = 0
  const kind = visitReview(async () => {
    asked += 1
    await held.promise
    return { ok: true, status: { allowed: false }, verdict: 'denied' }
  })
  const turns = createTurns({ atOnce: 100, waiting: 100 })
  const { app } = world({ kinds: [asKind(kind)], turns })
  const large = post(changed({ metadata: { annotations: { a: 'x'.repeat(3_000_000) } } }))
  const first = Array.from({ length: 5 }, () => app.inject(large))
  await untilTrue('as many as there is room for are in', () => asked === 5)
  t.match((await app.inject(large)).json(), { code: 429, reason: 'TooManyRequests' })
  const small = app.inject(post(REVIEW))
  held.resolve()
  t.strictSame((await Promise.all([...first, small])).map(({ statusCode }) => statusCode), [201, 201, 201, 201, 201, 201])
  t.equal((await app.inject(large)).statusCode, 201, 'the room of those that were answered is free again')
})

await test('nested text costs no more than it is long', async (t) => {
  const { app } = world()
  const depth = 500_000
  const twice = Array.from({ length: 60 }, (_, index) => `"k${index}":1,"k${index}":1`).join(',')
  for (const nested of [`${'['.repeat(depth)}{${twice}}${']'.repeat(depth)}`, `${'{"a":'.repeat(depth)}{${twice}}${'}'.repeat(depth)}`, '['.repeat(depth)]) {
    const reply = await app.inject(post(`{"spec":{"guest":"alice"},"status":${nested}}`))
    t.match(reply.json(), { code: 400, message: /exceeded max depth/ })
  }
  const quoted = await app.inject(post(changed({ metadata: { annotations: { a: `\\"${'[{'.repeat(depth)}` } } })))
  t.equal(quoted.statusCode, 201, 'brackets in text are no nesting')
})

await test('an answer that is too long for YAML is not written in YAML', async (t) => {
  const { app } = world()
  const annotations = Object.fromEntries(Array.from({ length: 5_000 }, (_, index) => [`k${index}`, 'v']))
  const reply = await app.inject(post(changed({ metadata: { annotations } }), { headers: { accept: 'application/yaml' } }))
  t.equal(reply.statusCode, 413)
  t.match(parse(reply.body), { reason: 'RequestEntityTooLarge', message: 'Request entity too large: limit is 32768' })
})

await test('nothing is asked for whoever has gone away in the line', async (t) => {
  const held = Promise.withResolvers<void>()
  const asked: string[] = []
  const kind = visitReview(async ({ spec }) => {
    asked.push(spec.guest)
    await held.promise
    return { ok: true, status: { allowed: false }, verdict: 'denied' }
  })
  const ends: (() => void)[] = []
  const timers = { monotonic: () => 0, after: (_ms: number, run: () => void) => (ends.push(run), () => undefined) }
  const turns = createTurns({ atOnce: 1, waiting: 2 })
  const { app } = world({ kinds: [asKind(kind)], timers, turns })
  const all = ['first', 'late', 'last'].map((guest) => app.inject(post(changed({ spec: { guest } }))))
  await untilTrue('all are in', () => ends.length === 3 && !turns.hasRoom)
  ends[1]?.()
  t.equal((await all[1])?.statusCode, 504)
  held.resolve()
  t.strictSame((await Promise.all(all)).map(({ statusCode }) => statusCode), [201, 504, 201])
  t.strictSame(asked, ['first', 'last'])
})

await test('while draining, connections are asked to close', async (t) => {
  const { app } = world({ drain: { draining: true, start: () => undefined } })
  t.equal((await app.inject(post(REVIEW))).headers.connection, 'close')
})
