import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises'
import { test } from 'tap'
import type { Credentials, CredentialSource } from '../../src/kube/credentials.ts'
import { KubeError } from '../../src/kube/kube-error.ts'
import { CONFIG_MAPS, PODS } from '../../src/kube/resources.ts'
import { answer, scriptedServer } from '../support/scripted-server.ts'
import { status } from '../support/status.ts'
import { untilTrue } from '../support/eventually.ts'

const configMap = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a', namespace: 'ns', resourceVersion: '1' } }

/** What a call throws: code, message and details; undefined when it does not. */
const thrown = async (call: Promise<unknown>): Promise<{ code: string; message: string; details: unknown } | undefined> => {
  try {
    await call
    return undefined
  } catch (error) {
    if (error instanceof KubeError) return { code: error.code, message: error.message, details: error.details }
    throw error
  }
}

const STATUSES: Record<string, { status: number; body: unknown; headers?: Record<string, string>; expected: object }> = {
  'a conflict, with the words of the API server': {
    status: 409,
    body: status(409, 'AlreadyExists', 'configmaps "a" already exists'),
    expected: { code: 'KUBE_CONFLICT', message: 'configmaps "a" already exists', details: { status: 409, reason: 'AlreadyExists' } },
  },
  'an unknown user': {
    status: 401,
    body: status(401, 'Unauthorized', 'Unauthorized'),
    expected: { code: 'KUBE_FORBIDDEN', message: 'Unauthorized', details: { status: 401, reason: 'Unauthorized' } },
  },
  'a missing right': {
    status: 403,
    body: status(403, 'Forbidden', 'configmaps is forbidden'),
    expected: { code: 'KUBE_FORBIDDEN', message: 'configmaps is forbidden', details: { status: 403, reason: 'Forbidden' } },
  },
  'a refused object': {
    status: 422,
    body: status(422, 'Invalid', 'spec.x: must be set'),
    expected: { code: 'KUBE_INVALID', message: 'spec.x: must be set', details: { status: 422, reason: 'Invalid' } },
  },
  'another fault of the caller': {
    status: 415,
    body: 'no JSON here',
    expected: { code: 'KUBE_INVALID', message: 'the API server answered 415 to POST /api/v1/namespaces/ns/configmaps', details: { status: 415 } },
  },
  'a busy server that says how long': {
    status: 429,
    body: status(429, 'TooManyRequests', 'try again later'),
    headers: { 'retry-after': '3' },
    expected: { code: 'KUBE_UNAVAILABLE', message: 'try again later', details: { status: 429, reason: 'TooManyRequests', retryAfterMs: 3_000 } },
  },
  'a server that says how long in its body': {
    status: 504,
    body: { ...status(504, 'Timeout', 'too large resource version'), details: { retryAfterSeconds: 1 } },
    expected: { code: 'KUBE_UNAVAILABLE', message: 'too large resource version', details: { status: 504, reason: 'Timeout', retryAfterMs: 1_000 } },
  },
  'a proxy before the API server': {
    status: 502,
    body: '<html>',
    headers: { 'retry-after': 'Wed, 21 Oct 2026 07:28:00 GMT' },
    expected: { code: 'KUBE_UNAVAILABLE', message: 'the API server answered 502 to POST /api/v1/namespaces/ns/configmaps', details: { status: 502 } },
  },
  'a redirect, which is not followed': {
    status: 302,
    body: {},
    headers: { location: 'http://127.0.0.1:1/' },
    expected: { code: 'KUBE_UNAVAILABLE', message: 'the API server answered 302 to POST /api/v1/namespaces/ns/configmaps', details: { status: 302 } },
  },
}
await test('each status becomes a coded error', async (t) => {
  let current = STATUSES['a missing right']
  const server = await scriptedServer(t, (_seen, response) => answer(response, current?.status ?? 500, current?.body, current?.headers))
  const kube = server.client()
  for (const [sentence, one] of Object.entries(STATUSES)) {
    current = one
    t.strictSame(await thrown(kube.create(CONFIG_MAPS, configMap)), one.expected, sentence)
  }
  t.equal(server.seen.length, Object.keys(STATUSES).length, 'no write was sent twice')
})

await test('only a 404 that speaks of the object says that it is not there', async (t) => {
  const bodies = [status(404, 'NotFound', 'configmaps "a" not found'), '404 page not found', {}]
  const server = await scriptedServer(t, ({ headers }, response) => answer(response, 404, bodies[headers['content-length'] === undefined ? turn : 0]))
  let turn = 0
  const kube = server.client()
  t.equal(await kube.get(CONFIG_MAPS, 'ns', 'a'), undefined)
  t.equal(await kube.remove(CONFIG_MAPS, 'ns', 'a'), false)
  t.match(await thrown(kube.replace(CONFIG_MAPS, configMap)), { code: 'KUBE_NOT_FOUND' })
  turn = 1
  t.match(await thrown(kube.get(CONFIG_MAPS, 'ns', 'a')), { code: 'KUBE_NOT_FOUND', message: 'the API server answered 404 to GET /api/v1/namespaces/ns/configmaps/a' })
  turn = 2
  t.match(await thrown(kube.get(CONFIG_MAPS, 'ns', 'a')), { code: 'KUBE_NOT_FOUND' })
})

await test('names that would reach another path are refused before anything is sent', async (t) => {
  const server = await scriptedServer(t, (_seen, response) => answer(response, 200, configMap))
  const kube = server.client()
  for (const [namespace, name] of [
    ['ns', ''],
    ['', 'a'],
    ['ns', '..'],
    ['ns', 'a/status'],
    ['ns', '%2e%2e'],
    [undefined, 'a'],
  ] as const) {
    await t.rejects(kube.get(CONFIG_MAPS, namespace, name), { code: 'KUBE_INVALID' })
    await t.rejects(kube.remove(CONFIG_MAPS, namespace, name), { code: 'KUBE_INVALID' })
  }
  await t.rejects(kube.list(CONFIG_MAPS, { namespace: '' }), { code: 'KUBE_INVALID' })
  await t.rejects(kube.create(CONFIG_MAPS, { metadata: { name: 'a' } }), { code: 'KUBE_INVALID' })
  await t.rejects(kube.list({ apiVersion: '../v1', kind: 'X', plural: 'xs', namespaced: true }), { code: 'KUBE_INVALID' })
  t.same(server.seen, [])
  await kube.get({ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole', plural: 'clusterroles', namespaced: false }, undefined, 'system:admin?x=1')
  t.equal(server.seen[0]?.url, '/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Aadmin%3Fx%3D1')
})

await test('a list reads all pages of one snapshot', async (t) => {
  const server = await scriptedServer(t, ({ url }, response) => {
    const page = Number(new URL(url, 'http://x').searchParams.get('continue') ?? '0')
    answer(response, 200, { metadata: { resourceVersion: '77', continue: page < 2 ? String(page + 1) : '' }, items: [{ metadata: { name: `item-${page}` } }] })
  })
  const list = await server.client().list(CONFIG_MAPS, { labelSelector: 'a in (b,c)', resourceVersion: '0' })
  t.same(list, { resourceVersion: '77', items: [0, 1, 2].map((page) => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: `item-${page}` } })) })
  t.same(
    server.seen.map(({ url }) => url),
    [
      '/api/v1/configmaps?labelSelector=a+in+%28b%2Cc%29&resourceVersion=0&limit=200',
      '/api/v1/configmaps?labelSelector=a+in+%28b%2Cc%29&continue=1&limit=200',
      '/api/v1/configmaps?labelSelector=a+in+%28b%2Cc%29&continue=2&limit=200',
    ],
  )
})

await test('a list whose snapshot is compacted in the middle begins again, twice at most', async (t) => {
  let begun = 0
  const server = await scriptedServer(t, ({ url }, response) => {
    const { searchParams } = new URL(url, 'http://x')
    if (searchParams.has('continue')) answer(response, 410, status(410, 'Expired', 'the continue token is too old'))
    else if (begun++ === 0) answer(response, 200, { metadata: { resourceVersion: '7', continue: 'next' }, items: [{ metadata: { name: 'old' } }] })
    else answer(response, 200, { metadata: { resourceVersion: '9' }, items: null })
  })
  t.same(await server.client().list(CONFIG_MAPS), { resourceVersion: '9', items: [] })
  t.equal(server.seen.length, 3)
  const always = await scriptedServer(t, (_seen, response) => answer(response, 410, status(410, 'Expired', 'too old')))
  t.match(await thrown(always.client().list(CONFIG_MAPS)), { code: 'KUBE_EXPIRED', message: 'too old' })
  t.equal(always.seen.length, 3)
})

await test('a page of large objects is asked for again with fewer, and only what is kept of them adds up', async (t) => {
  const large = 'x'.repeat(1_000_000)
  const names = Array.from({ length: 70 }, (_, index) => `large-${index}`)
  const server = await scriptedServer(t, ({ url }, response) => {
    const { searchParams } = new URL(url, 'http://x')
    const from = Number(searchParams.get('continue') ?? 0)
    const to = from + Number(searchParams.get('limit'))
    const items = names.slice(from, to).map((name) => ({ metadata: { name }, data: { large } }))
    answer(response, 200, { metadata: { resourceVersion: '7', ...(to < names.length && { continue: String(to) }) }, items })
  })
  const { items } = await server.client().list(CONFIG_MAPS, {}, ({ metadata }) => ({ metadata }))
  t.strictSame(items, names.map((name) => ({ metadata: { name } })))
  t.strictSame(
    server.seen.map(({ url }) => new URL(url, 'http://x').searchParams.get('limit')),
    ['200', '50', ...Array(6).fill('13')],
  )
})

const BROKEN: Record<string, { send: (response: Parameters<Parameters<typeof scriptedServer>[1]>[1]) => void; message: RegExp }> = {
  'no JSON': { send: (response) => response.end('not json with a secret'), message: /^the answer of the API server to GET \S+ is no JSON object$/ },
  'JSON that is no object': { send: (response) => answer(response, 200, ['a']), message: /is no JSON object$/ },
  'nothing': { send: (response) => response.end(), message: /is no JSON object$/ },
  'a body that is cut': {
    send: (response) => {
      response.writeHead(200, { 'content-length': '1000' }).write('{"metadata":')
      setTimeout(() => response.destroy(), 20)
    },
    message: /^no answer from the API server at 127\.0\.0\.1:\d+ to GET \S+: aborted$/,
  },
  'a connection that is cut': { send: (response) => response.destroy(), message: /^no answer from the API server at 127\.0\.0\.1:\d+ to GET \S+: socket hang up$/ },
}
await test('an answer that is no answer is unavailable, never "not there"', async (t) => {
  for (const [sentence, { send, message }] of Object.entries(BROKEN)) {
    const server = await scriptedServer(t, (_seen, response) => send(response))
    t.match(await thrown(server.client().get(CONFIG_MAPS, 'ns', 'a')), { code: 'KUBE_UNAVAILABLE', message }, sentence)
  }
  const list = await scriptedServer(t, (_seen, response) => answer(response, 200, { items: [] }))
  t.match(await thrown(list.client().list(CONFIG_MAPS)), { code: 'KUBE_UNAVAILABLE', message: 'the answer of the API server to GET /api/v1/configmaps is no list' })
})

await test('a server that does not answer in time is unavailable, and its connection is closed', async (t) => {
  const server = await scriptedServer(t, () => undefined)
  const kube = server.client({ requestTimeoutMs: 30 })
  t.match(await thrown(kube.get(CONFIG_MAPS, 'ns', 'a')), { code: 'KUBE_UNAVAILABLE', message: 'the API server did not answer GET /api/v1/namespaces/ns/configmaps/a within 0.03 s' })
  await untilTrue('the connection is closed', () => server.connections.open === 0)
  const watch = kube.watch(PODS, { resourceVersion: '1', timeoutSeconds: 60 })[Symbol.asyncIterator]()
  t.match(await thrown(watch.next()), { code: 'KUBE_UNAVAILABLE', message: 'the API server did not answer GET /api/v1/pods within 0.03 s' })
})

await test('a write is given up at the socket after a time of its own, where that is less', async (t) => {
  const server = await scriptedServer(t, () => undefined)
  const patient = server.client()
  const writes: Record<string, () => Promise<unknown>> = {
    'POST /api/v1/namespaces/ns/configmaps': () => patient.create(CONFIG_MAPS, configMap, { timeoutMs: 30 }),
    'PUT /api/v1/namespaces/ns/configmaps/a': () => patient.replace(CONFIG_MAPS, configMap, { timeoutMs: 30 }),
    'PUT /api/v1/namespaces/ns/configmaps/a/status': () => patient.replaceStatus(CONFIG_MAPS, configMap, { timeoutMs: 30 }),
    'PATCH /api/v1/namespaces/ns/configmaps/a': () => patient.mergePatch(CONFIG_MAPS, 'ns', 'a', {}, { timeoutMs: 30 }),
    'DELETE /api/v1/namespaces/ns/configmaps/a': () => patient.remove(CONFIG_MAPS, 'ns', 'a', {}, { timeoutMs: 30 }),
  }
  for (const [call, write] of Object.entries(writes)) t.match(await thrown(write()), { code: 'KUBE_UNAVAILABLE', message: `the API server did not answer ${call} in time` })
  await untilTrue('the connections are closed', () => server.connections.open === 0)
  const hasty = server.client({ requestTimeoutMs: 30 })
  t.match(await thrown(hasty.create(CONFIG_MAPS, configMap, { timeoutMs: 60_000 })), { message: /within 0\.03 s$/ })
})

await test('a body that trickles in is bound by the same time', async (t) => {
  const server = await scriptedServer(t, (_seen, response) => {
    response.writeHead(200)
    const timer = setInterval(() => response.write(' '), 5)
    response.on('close', () => clearInterval(timer))
  })
  t.match(await thrown(server.client({ requestTimeoutMs: 40 }).get(CONFIG_MAPS, 'ns', 'a')), { code: 'KUBE_UNAVAILABLE', message: /did not answer/ })
})

await test('a caller can cancel a list', async (t) => {
  const server = await scriptedServer(t, () => undefined)
  const controller = new AbortController()
  const call = thrown(server.client().list(PODS, { signal: controller.signal }))
  await untilTrue('the call arrived', () => server.seen.length === 1)
  controller.abort()
  t.match(await call, { code: 'KUBE_UNAVAILABLE', message: 'GET /api/v1/pods was cancelled' })
  t.match(await thrown(server.client().list(PODS, { signal: controller.signal })), { message: 'GET /api/v1/pods was cancelled' })
})

await test('an answer that is longer than allowed is not read on', async (t) => {
  const server = await scriptedServer(t, (_seen, response) => {
    response.writeHead(200)
    const write = (): void => {
      while (!response.destroyed && response.write(Buffer.alloc(65_536, 'x')));
    }
    response.on('drain', write)
    write()
  })
  t.match(await thrown(server.client().request({ method: 'GET', path: '/big', maxBytes: 1_000_000 })), {
    code: 'KUBE_UNAVAILABLE',
    message: 'the answer of the API server to GET /big is longer than 1000000 bytes',
  })
  await untilTrue('the connection is closed', () => server.connections.open === 0)
})

await test('a server that is not there is unavailable', async (t) => {
  const server = await scriptedServer(t, () => undefined)
  const port = Number(server.url.port)
  server.url.port = '1'
  const kube = server.client()
  t.match(await thrown(kube.get(PODS, 'ns', 'a')), { code: 'KUBE_UNAVAILABLE', message: /^no answer from the API server at 127\.0\.0\.1:1 to GET \S+: connect ECONNREFUSED/ })
  server.url.port = String(port)
})

await test('requests share kept connections, and a read survives that the server closed one', async (t) => {
  let closeNext = false
  const server = await scriptedServer(t, ({ method }, response) => {
    if (closeNext) {
      closeNext = false
      response.destroy()
    } else answer(response, method === 'POST' ? 201 : 200, configMap)
  })
  const kube = server.client()
  for (let turn = 0; turn < 20; turn += 1) await kube.get(CONFIG_MAPS, 'ns', 'a')
  t.equal(server.connections.total, 1)
  closeNext = true
  t.match(await kube.get(CONFIG_MAPS, 'ns', 'a'), configMap)
  t.equal(server.connections.total, 2)
  closeNext = true
  t.match(await thrown(kube.create(CONFIG_MAPS, configMap)), { code: 'KUBE_UNAVAILABLE' })
  t.same(
    server.seen.slice(20).map(({ method }) => method),
    ['GET', 'GET', 'POST'],
    'a write is not sent again',
  )
})

const withToken = (token: string): Credentials => ({ headers: { Authorization: `Bearer ${token}` }, tls: {} })

await test('a watch that the server ended leaves its connection to the next one, and one that was cut does not', async (t) => {
  const server = await scriptedServer(t, ({ url }, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.write(`${JSON.stringify({ type: 'BOOKMARK', object: { kind: 'Pod', apiVersion: 'v1', metadata: { resourceVersion: '7' } } })}\n`)
    if (!url.includes('resourceVersion=open')) response.end()
  })
  const client = server.client()
  const watch = async (resourceVersion: string, end?: AbortController): Promise<void> => {
    for await (const _ of client.watch(PODS, { resourceVersion, timeoutSeconds: 1, ...(end === undefined ? {} : { signal: end.signal }) })) end?.abort()
    // What was read to its end is free a turn of the event loop later.
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  }
  for (const version of ['1', '2', '3']) await watch(version)
  t.equal(server.connections.total, 1)
  await watch('open', new AbortController())
  await untilTrue('the cut connection is closed', async () => server.connections.open === 0)
  await watch('4')
  t.equal(server.connections.total, 2)
})

await test('after a 401 the credentials are renewed and the call is sent once more, once', async (t) => {
  const server = await scriptedServer(t, ({ headers }, response) =>
    headers.authorization === 'Bearer good' ? answer(response, 201, configMap) : answer(response, 401, status(401, 'Unauthorized', 'Unauthorized')),
  )
  const renewals: string[] = []
  const source = (newer: Credentials | undefined) => ({
    current: async () => withToken('old'),
    renewed: async (used: Credentials) => {
      renewals.push(used.headers['Authorization'] ?? '')
      return newer
    },
  })
  t.match(await server.client({ source: source(withToken('good')) }).create(CONFIG_MAPS, configMap), configMap)
  t.match(await thrown(server.client({ source: source(withToken('bad')) }).create(CONFIG_MAPS, configMap)), { code: 'KUBE_FORBIDDEN' })
  t.match(await thrown(server.client({ source: source(undefined) }).create(CONFIG_MAPS, configMap)), { code: 'KUBE_FORBIDDEN' })
  t.same([renewals.length, server.seen.map(({ headers }) => headers.authorization)], [3, ['Bearer old', 'Bearer good', 'Bearer old', 'Bearer bad', 'Bearer old']])
})

await test('what is sent: agent, content types, bodies and paths', async (t) => {
  const server = await scriptedServer(t, (_seen, response) => answer(response, 200, configMap))
  const kube = server.client()
  await kube.mergePatch(CONFIG_MAPS, 'ns', 'a', { data: { x: 'ü' } })
  await kube.replaceStatus(PODS, { metadata: { name: 'p', namespace: 'ns' } })
  await kube.remove(PODS, 'ns', 'p', { uid: 'u' })
  await kube.request({ method: 'PATCH', path: '/x', query: { force: 'true', gone: undefined }, body: 'a: b', contentType: 'application/apply-patch+yaml' })
  t.match(
    server.seen.map(({ method, url, headers, body }) => [method, url, headers['content-type'], body]),
    [
      ['PATCH', '/api/v1/namespaces/ns/configmaps/a', 'application/merge-patch+json', '{"data":{"x":"ü"}}'],
      ['PUT', '/api/v1/namespaces/ns/pods/p/status', 'application/json', '{"metadata":{"name":"p","namespace":"ns"}}'],
      ['DELETE', '/api/v1/namespaces/ns/pods/p', 'application/json', '{"apiVersion":"v1","kind":"DeleteOptions","propagationPolicy":"Background","preconditions":{"uid":"u"}}'],
      ['PATCH', '/x?force=true', 'application/apply-patch+yaml', 'a: b'],
    ],
  )
  t.match(server.seen[0]?.headers, { 'user-agent': 'access-gate-test', accept: 'application/json' })
})

await test('close ends what is under way, and later calls fail', async (t) => {
  const server = await scriptedServer(t, () => undefined)
  const kube = server.client()
  const call = thrown(kube.get(CONFIG_MAPS, 'ns', 'a'))
  await untilTrue('the call arrived', () => server.seen.length === 1)
  kube.close()
  t.match(await call, { code: 'KUBE_UNAVAILABLE' })
  t.match(await thrown(kube.get(CONFIG_MAPS, 'ns', 'a')), { code: 'KUBE_UNAVAILABLE', message: 'GET /api/v1/namespaces/ns/configmaps/a was not sent: the client is closed' })
})

await test('a call ends in its time, or when it is given up, whatever it waits for', async (t) => {
  const never = new Promise<never>(() => undefined)
  const credentials = { headers: { Authorization: 'Bearer a' }, tls: {} }
  const server = await scriptedServer(t, ({ url }, response) => {
    if (url === '/denied') response.writeHead(401).end('{}')
  })
  const WAITS: Record<string, { path: string; source: CredentialSource }> = {
    'for credentials': { path: '/any', source: { current: () => never, renewed: () => never } },
    'for newer credentials, after a 401': { path: '/denied', source: { current: async () => credentials, renewed: () => never } },
    'for newer credentials that do not come': {
      path: '/denied',
      source: {
        current: async () => credentials,
        renewed: async () => {
          await delay(60)
          return undefined
        },
      },
    },
    'for an answer': { path: '/any', source: { current: async () => credentials, renewed: async () => undefined } },
  }
  for (const [what, { path, source }] of Object.entries(WAITS)) {
    const kube = server.client({ source })
    t.match(await thrown(kube.request({ method: 'GET', path, timeoutMs: 30 })), { code: 'KUBE_UNAVAILABLE', message: `the API server did not answer GET ${path} in time` }, `${what}: too late`)
    const given = new AbortController()
    const before = server.seen.length
    const call = thrown(kube.request({ method: 'GET', path, signal: given.signal }))
    if (what !== 'for credentials') await untilTrue('it arrived', () => server.seen.length > before)
    given.abort()
    t.match(await call, { code: 'KUBE_UNAVAILABLE', message: `GET ${path} was cancelled` }, `${what}: given up`)
  }
})

await test('a call that waits for its turn at the connections is given up in its time', async (t) => {
  const server = await scriptedServer(t, () => undefined)
  const kube = server.client()
  const held = new AbortController()
  const others = Array.from({ length: 100 }, () => thrown(kube.request({ method: 'GET', path: '/held', signal: held.signal })))
  await untilTrue('all connections are taken', () => server.seen.length === 100)
  t.match(await thrown(kube.request({ method: 'GET', path: '/last', timeoutMs: 30 })), { message: 'the API server did not answer GET /last in time' })
  held.abort()
  await Promise.all(others)
})

await test('a call that is given up while its answer comes is never an answer', async (t) => {
  const server = await scriptedServer(t, (_seen, response) => response.writeHead(200, { 'content-type': 'application/json' }).end('{"kind":"Whole"}'))
  const kube = server.client()
  for (let turns = 0; turns < 40; turns += 1) {
    const given = new AbortController()
    const call = kube.request({ method: 'GET', path: '/whole', signal: given.signal }).then((body) => ({ body }), () => 'given up')
    await untilTrue('it arrived', () => server.seen.length === turns + 1)
    for (let step = 0; step < turns; step += 1) await (step % 3 === 0 ? nextTurn() : Promise.resolve())
    given.abort()
    const outcome = await call
    t.ok(outcome === 'given up' || JSON.stringify(outcome) === '{"body":{"kind":"Whole"}}', JSON.stringify(outcome))
  }
})
