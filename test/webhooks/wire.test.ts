import { test } from 'tap'
import type { Hook } from '../../webhooks/hook.ts'
import { BODY_LIMIT } from '../../webhooks/server.ts'
import { harness, review, UID } from './harness.ts'

const hookThat = (answer: Hook['answer']): Hook[] => [{ path: '/validate/access-request', name: 'test', resource: { group: 'g', resource: 'things' }, answer }]
const PATH = '/validate/access-request'
const CREATE = { object: { metadata: { name: 'a' } } }

const status = (code: number, reason: string, message: string): object => ({ kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message })

const REFUSED: Record<string, { body: unknown; headers?: Record<string, string>; code: number; reason: string; message: string }> = {
  'another content type': {
    body: review(CREATE),
    headers: { 'content-type': 'text/plain' },
    code: 415,
    reason: 'UnsupportedMediaType',
    message: 'the Content-Type must be application/json',
  },
  'no content type': {
    body: review(CREATE),
    headers: { 'content-type': '' },
    code: 415,
    reason: 'UnsupportedMediaType',
    message: 'the Content-Type must be application/json',
  },
  'a body over 7 MiB': {
    body: ' '.repeat(BODY_LIMIT + 1),
    code: 413,
    reason: 'RequestEntityTooLarge',
    message: 'the body must not be larger than 7340032 bytes',
  },
  'no body': { body: '', code: 400, reason: 'BadRequest', message: 'the body is not JSON, or only a part of it' },
  'truncated JSON': {
    body: JSON.stringify(review(CREATE)).slice(0, -3),
    code: 400,
    reason: 'BadRequest',
    message: 'the body is not JSON, or only a part of it',
  },
  'text after the JSON': { body: `${JSON.stringify(review(CREATE))}x`, code: 400, reason: 'BadRequest', message: 'the body is not JSON, or only a part of it' },
  'a list': { body: [], code: 400, reason: 'BadRequest', message: 'the body must be an AdmissionReview; got a list' },
  null: { body: 'null', code: 400, reason: 'BadRequest', message: 'the body must be an AdmissionReview; got null' },
  'the older version': {
    body: { ...review(CREATE), apiVersion: 'admission.k8s.io/v1beta1' },
    code: 400,
    reason: 'BadRequest',
    message: 'the body must be an AdmissionReview of admission.k8s.io/v1; got kind "AdmissionReview" of "admission.k8s.io/v1beta1"',
  },
  'another kind': {
    body: { ...review(CREATE), kind: 'ConversionReview' },
    code: 400,
    reason: 'BadRequest',
    message: 'the body must be an AdmissionReview of admission.k8s.io/v1; got kind "ConversionReview" of "admission.k8s.io/v1"',
  },
  'no request': { body: { ...review(CREATE), request: undefined }, code: 400, reason: 'BadRequest', message: 'request must be an object; got nothing' },
  'no uid': {
    body: review({ ...CREATE, uid: undefined }),
    code: 400,
    reason: 'BadRequest',
    message: 'request.uid must be a text that is not empty; got nothing',
  },
  'an empty uid': { body: review({ ...CREATE, uid: '' }), code: 400, reason: 'BadRequest', message: 'request.uid must be a text that is not empty; got ""' },
  'a uid that is a number': {
    body: review({ ...CREATE, uid: 5 }),
    code: 400,
    reason: 'BadRequest',
    message: 'request.uid must be a text that is not empty; got 5',
  },
  'another operation': {
    body: review({ ...CREATE, operation: 'PATCH' }),
    code: 400,
    reason: 'BadRequest',
    message: 'request.operation must be CREATE, UPDATE, DELETE or CONNECT; got "PATCH"',
  },
  'no user': { body: review({ ...CREATE, userInfo: {} }), code: 400, reason: 'BadRequest', message: 'request.userInfo.username must be a text' },
  'no object on CREATE': { body: review({}), code: 400, reason: 'BadRequest', message: 'request.object must be an object on CREATE; got nothing' },
  'an object that is a list': {
    body: review({ object: [] }),
    code: 400,
    reason: 'BadRequest',
    message: 'request.object must be an object on CREATE; got a list',
  },
  'no old object on UPDATE': {
    body: review({ ...CREATE, operation: 'UPDATE', oldObject: null }),
    code: 400,
    reason: 'BadRequest',
    message: 'request.oldObject must be an object on UPDATE; got null',
  },
  'a dryRun that is a text': {
    body: review({ ...CREATE, dryRun: 'true' }),
    code: 400,
    reason: 'BadRequest',
    message: 'request.dryRun must be true or false; got "true"',
  },
  'a namespace that is an object': {
    body: review({ ...CREATE, namespace: {} }),
    code: 400,
    reason: 'BadRequest',
    message: 'request.namespace must be a text; got an object',
  },
  'a name that is a list': { body: review({ ...CREATE, name: [] }), code: 400, reason: 'BadRequest', message: 'request.name must be a text; got a list' },
  'a resource without a group': {
    body: review({ ...CREATE, resource: { resource: 'things' } }),
    code: 400,
    reason: 'BadRequest',
    message: 'request.resource must have group, version and resource',
  },
  'a question about another resource': {
    body: review({ ...CREATE, resource: { group: '', version: 'v1', resource: 'pods' } }),
    code: 400,
    reason: 'BadRequest',
    message: 'this hook is for things.g; it was asked about pods: correct the webhook configuration',
  },
}

for (const [name, { body, headers, code, reason, message }] of Object.entries(REFUSED)) {
  await test(`refused on the wire: ${name}`, async (t) => {
    let called = false
    const { post, count } = harness({
      hooks: hookThat(() => {
        called = true
        return { kind: 'allowed', warnings: [] }
      }),
    })
    const answer = await post(PATH, body, headers)
    t.equal(answer.statusCode, code)
    t.strictSame(answer.json(), status(code, reason, message))
    t.equal(answer.headers['content-type'], 'application/json; charset=utf-8')
    t.equal(called, false)
    t.equal(await count('access_gate_admission_requests_total', { hook: 'test', outcome: 'malformed' }), 1)
  })
}

await test('a content type with a charset, and a body of exactly 7 MiB, are taken', async (t) => {
  const { post } = harness({ hooks: hookThat(() => ({ kind: 'allowed', warnings: [] })) })
  const body = JSON.stringify(review(CREATE))
  const padded = body + ' '.repeat(BODY_LIMIT - body.length)
  const answer = await post(PATH, padded, { 'content-type': 'application/json; charset=utf-8' })
  t.equal(answer.statusCode, 200)
  t.equal(answer.body, `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"${UID}","allowed":true}}`)
})

const ANSWERS: Record<string, { answer: Awaited<ReturnType<Hook['answer']>>; response: unknown; outcome: string }> = {
  'a plain yes': { answer: { kind: 'allowed', warnings: [] }, response: { uid: UID, allowed: true }, outcome: 'allowed' },
  'a yes with warnings, each fit for a header': {
    answer: { kind: 'allowed', warnings: ['a\nb', 'ä "quoted"'] },
    response: { uid: UID, allowed: true, warnings: ['a b', 'ä "quoted"'] },
    outcome: 'allowed',
  },
  'more warnings than anyone reads': {
    answer: { kind: 'allowed', warnings: Array.from({ length: 40 }, (_, index) => `w${index}`) },
    response: { uid: UID, allowed: true, warnings: [...Array.from({ length: 20 }, (_, index) => `w${index}`), 'and 20 more warnings'] },
    outcome: 'allowed',
  },
  'a patch': {
    answer: { kind: 'patched', patch: [{ op: 'add', path: '/a', value: 'ä' }] },
    response: { uid: UID, allowed: true, patchType: 'JSONPatch', patch: [{ op: 'add', path: '/a', value: 'ä' }] },
    outcome: 'patched',
  },
  'a no': {
    answer: { kind: 'denied', status: { status: 'Failure', code: 403, reason: 'Forbidden', message: 'no' }, warnings: ['w'] },
    response: { uid: UID, allowed: false, status: { status: 'Failure', code: 403, reason: 'Forbidden', message: 'no' }, warnings: ['w'] },
    outcome: 'denied',
  },
}

for (const [name, { answer, response, outcome }] of Object.entries(ANSWERS)) {
  await test(`on the wire: ${name}, now or later`, async (t) => {
    for (const hooks of [hookThat(() => answer), hookThat(async () => answer)]) {
      const { ask, count } = harness({ hooks })
      t.strictSame(await ask(PATH, CREATE), response)
      t.equal(await count('access_gate_admission_requests_total', { hook: 'test', outcome }), 1)
    }
  })
}

await test('what a hook is asked is what was sent, without what it has no use for', async (t) => {
  const asked: unknown[] = []
  const { ask } = harness({
    hooks: hookThat((request) => {
      asked.push(request)
      return { kind: 'allowed', warnings: [] }
    }),
  })
  await ask(PATH, { ...CREATE, name: 'n', dryRun: true, oldObject: null, options: {}, kind: {} })
  await ask(PATH, { operation: 'DELETE', dryRun: undefined, oldObject: CREATE.object, object: null })
  t.strictSame(asked, [
    { uid: UID, operation: 'CREATE', userInfo: { username: 'alice' }, dryRun: true, name: 'n', namespace: 'shared', object: CREATE.object },
    { uid: UID, operation: 'DELETE', userInfo: { username: 'alice' }, dryRun: false, namespace: 'shared' },
  ])
})

for (const [name, answer] of Object.entries<Hook['answer']>({
  'that throws': () => {
    throw new Error('the secret reason')
  },
  'that rejects': () => Promise.reject(new TypeError('the secret reason')),
  'whose error looks like a fault of the sender': () => {
    throw Object.assign(new Error('the secret reason'), { statusCode: 404 })
  },
  'that rejects with something else, which looks like an answer': () => Promise.reject({ message: 'the secret reason', response: { allowed: true } }),
})) {
  await test(`a hook ${name} is a 500 with a correlation id, one log line, and no yes`, async (t) => {
    const { post, lines, count } = harness({ hooks: hookThat(answer) })
    const reply = await post(PATH, review(CREATE))
    t.equal(reply.statusCode, 500)
    const body: { message: string } = reply.json()
    const [, id = ''] = /^the webhook failed to answer; its log has the cause under correlation id ([0-9a-f-]{36})$/.exec(body.message) ?? []
    t.strictSame(body, status(500, 'InternalError', body.message))
    t.notMatch(reply.body, /secret reason|allowed|at /)
    t.strictSame(lines.messages(), ['error a hook crashed; nothing was allowed by it'])
    t.match(lines.lines[0], { correlationId: id, hook: 'test', err: { message: 'the secret reason' } })
    t.equal(await count('access_gate_admission_requests_total', { hook: 'test', outcome: 'crashed' }), 1)
  })
}

await test('keys that would poison prototypes are plain keys', async (t) => {
  const seen: Record<string, unknown>[] = []
  const { post } = harness({
    hooks: hookThat(({ object }) => {
      if (object !== undefined) seen.push(object)
      return { kind: 'allowed', warnings: [] }
    }),
  })
  const text = JSON.stringify(review({ object: { metadata: {}, spec: 0 } })).replace(
    '"spec":0',
    '"__proto__":{"spec":{"polluted":true}},"constructor":{"prototype":{"polluted":true}}',
  )
  t.equal((await post(PATH, text)).statusCode, 200)
  t.equal(seen[0]?.['spec'], undefined)
  t.equal(Object.getPrototypeOf(seen[0]), Object.prototype)
  t.equal(Reflect.get({}, 'polluted'), undefined)
})

const OTHER: Record<string, { method: 'GET' | 'POST' | 'PUT' | 'DELETE'; url: string; code: number; body: unknown; allow?: string }> = {
  'a hook takes POST alone': { method: 'GET', url: PATH, code: 405, body: status(405, 'MethodNotAllowed', `${PATH} takes POST alone`), allow: 'POST' },
  'also with a query': {
    method: 'PUT',
    url: `${PATH}?timeout=3s`,
    code: 405,
    body: status(405, 'MethodNotAllowed', `${PATH} takes POST alone`),
    allow: 'POST',
  },
  'health takes GET alone': { method: 'POST', url: '/healthz', code: 405, body: status(405, 'MethodNotAllowed', '/healthz takes GET alone'), allow: 'GET' },
  'there is nothing else': { method: 'POST', url: '/mutate', code: 404, body: status(404, 'NotFound', 'there is no such path') },
  'metrics are on another port': { method: 'GET', url: '/metrics', code: 404, body: status(404, 'NotFound', 'there is no such path') },
}

for (const [name, { method, url, code, body, allow }] of Object.entries(OTHER)) {
  await test(name, async (t) => {
    const { app } = harness({ hooks: hookThat(() => ({ kind: 'allowed', warnings: [] })) })
    const answer = await app.inject({ method, url })
    t.equal(answer.statusCode, code)
    t.strictSame(answer.json(), body)
    t.equal(answer.headers.allow, allow)
  })
}

await test('health on the TLS port', async (t) => {
  const { app } = harness({ hooks: [], ready: () => 'there is no serving certificate yet' })
  const live = await app.inject({ method: 'GET', url: '/healthz' })
  t.strictSame([live.statusCode, live.body], [200, 'ok\n'])
  const ready = await app.inject({ method: 'GET', url: '/readyz' })
  t.strictSame([ready.statusCode, ready.body], [503, 'there is no serving certificate yet\n'])
})

await test('while draining every reply asks for the connection to be closed', async (t) => {
  const { app, post, drain } = harness({ hooks: hookThat(() => ({ kind: 'allowed', warnings: [] })) })
  const replies = async (): Promise<unknown[]> =>
    (
      await Promise.all([
        post(PATH, review(CREATE)),
        post(PATH, '{'),
        app.inject({ method: 'GET', url: '/readyz' }),
        app.inject({ method: 'GET', url: '/none' }),
      ])
    ).map((reply) => [reply.statusCode, reply.headers.connection])
  t.strictSame(await replies(), [
    [200, 'keep-alive'],
    [400, 'close'],
    [200, 'keep-alive'],
    [404, 'keep-alive'],
  ])
  drain.start()
  t.strictSame(await replies(), [
    [200, 'close'],
    [400, 'close'],
    [200, 'close'],
    [404, 'close'],
  ])
})
