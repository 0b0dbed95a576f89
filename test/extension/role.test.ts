import https from 'node:https'
import { test } from 'tap'
import type { Identity } from '../../src/api/access-review.ts'
import type { ConfigMap } from '../../src/api/config-map.ts'
import type { KubeObject } from '../../src/api/meta.ts'
import { DEFAULT_EXTENSION_OPTIONS, type ExtensionOptions } from '../../src/extension/options.ts'
import { runExtension, type RunningExtension } from '../../src/extension/role.ts'
import type { Resource } from '../../src/kube/ports.ts'
import { API_SERVICES, CONFIG_MAPS, SECRETS } from '../../src/kube/resources.ts'
import { systemClock } from '../../src/kube/timers.ts'
import { eventually, untilTrue } from '../support/eventually.ts'
import { logLines, type LogLines } from '../support/log-lines.ts'
import { memoryKube, type MemoryKube } from '../support/memory-kube.ts'
import { authority, call, clientCertificate, type Authority, type Call, type ClientCertificate, type Reply } from './certificates.ts'

const LOOPBACK = '127.0.0.1'
const CAR = '/apis/connection.workspace.jupyter.org/v1alpha1/namespaces/team/connectionaccessreviews'
const NAME = 'front-proxy-client'
const BODY = JSON.stringify({ spec: { workspaceName: 'w', user: 'alice' } })

const [proxyCa, otherCa, clusterCa] = await Promise.all([authority('front-proxy-ca'), authority('other-ca'), authority('cluster-ca')])
const proxy = await clientCertificate(proxyCa, { name: NAME })

const frontProxy = (authorities: readonly Authority[], data: Record<string, string> = {}): ConfigMap => ({
  metadata: { namespace: 'kube-system', name: 'extension-apiserver-authentication' },
  data: {
    'requestheader-client-ca-file': authorities.map(({ cert }) => cert).join('\n'),
    'requestheader-allowed-names': JSON.stringify([NAME]),
    'requestheader-username-headers': '["X-Remote-User"]',
    'requestheader-uid-headers': '["X-Remote-Uid"]',
    'requestheader-group-headers': '["X-Remote-Group"]',
    'requestheader-extra-headers-prefix': '["X-Remote-Extra-"]',
    'client-ca-file': clusterCa.cert,
    ...data,
  },
})

interface Started {
  running: RunningExtension
  kube: MemoryKube
  lines: LogLines
  /** Whoever was asked about. */
  callers: Identity[]
  send: (changes?: Partial<Call>) => Promise<Reply>
}

type Teardown = { teardown(end: () => Promise<void>): void }

const TOKEN_REVIEWS: Resource = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', plural: 'tokenreviews', namespaced: false }

const start = async (t: Teardown, options: Partial<ExtensionOptions> = {}, configMap: ConfigMap | null = frontProxy([proxyCa])): Promise<Started> => {
  const kube = memoryKube({ now: () => Date.now() })
  if (configMap !== null) kube.put(CONFIG_MAPS, configMap)
  for (const name of DEFAULT_EXTENSION_OPTIONS.apiServiceNames) kube.put(API_SERVICES, { metadata: { name }, spec: { insecureSkipTLSVerify: true } })
  kube.put(SECRETS, { metadata: { namespace: 'connectors-system', name: DEFAULT_EXTENSION_OPTIONS.jwtSecretName }, data: {} })
  const lines = logLines()
  const callers: Identity[] = []
  // The caller may ask, and whoever he asks about has no permission.
  kube.allowIf((identity, { resource }) => {
    if (resource !== 'connectionaccessreviews') return false
    callers.push(identity)
    return true
  })
  const permission = { allows: (...asked: Parameters<MemoryKube['allows']>) => kube.allows(...asked), allowsPath: () => Promise.resolve(false) }
  /** Answers a TokenReview as the API server would; the memory keeps objects as they are. */
  const create = async <T extends KubeObject>(resource: Resource<T>, object: T): Promise<T> => {
    if (resource.kind !== TOKEN_REVIEWS.kind) return kube.create(resource, object)
    const { token } = Reflect.get(object, 'spec') as { token: string }
    return { ...object, status: token === 'tok-1' ? { authenticated: true, user: { username: 'tom', uid: '7', groups: ['g'] } } : { authenticated: false } }
  }
  const running = await runExtension(
    { ...DEFAULT_EXTENSION_OPTIONS, host: LOOPBACK, port: 0, metricsHost: LOOPBACK, metricsPort: 0, bundleMs: 20, drainMs: 0, closeMs: 2_000, ...options },
    { reader: kube, writer: { ...kube, create }, watcher: kube, permission },
    { logger: lines.log, clock: systemClock, version: '1.2.3' },
  )
  t.teardown(() => running.stop())
  await running.ready
  const send = (changes: Partial<Call> = {}): Promise<Reply> =>
    call({ port: running.port, path: CAR, method: 'POST', body: BODY, headers: { 'x-remote-user': 'carol', 'content-type': 'application/json' }, client: proxy, ...changes })
  return { running, kube, lines, callers, send }
}

const REFUSED = { code: 401, body: /"message":"Unauthorized"/ }
const DENIED_REVIEW = { code: 201, body: /"status":\{"allowed":false,"notFound":false,"reason":"RBAC permission denied"\}/ }

await test('the front proxy says who asks', async (t) => {
  const { send, callers, lines } = await start(t)
  t.match(
    await send({
      headers: {
        'x-remote-user': Buffer.from('jürgen').toString('latin1'),
        'x-remote-group': ['a, b', 'c'],
        'x-remote-uid': 'u1',
        'X-Remote-Extra-Foo%2fBar': ['1', '2'],
        'authorization': 'Bearer secret',
        'content-type': 'application/json',
      },
    }),
    DENIED_REVIEW,
  )
  t.strictSame(callers, [{ user: 'jürgen', uid: 'u1', groups: ['a, b', 'c', 'system:authenticated'], extra: { 'foo/bar': ['1', '2'] } }])
  t.notMatch(JSON.stringify(lines.lines), 'Bearer')
})

await test('whoever is in hundreds of groups is a caller with all of them', async (t) => {
  const { send, callers } = await start(t)
  const groups = Array.from({ length: 1_100 }, (_, index) => `${'0'.repeat(30)}-${index}`)
  const headers = { 'x-remote-user': 'carol', 'content-type': 'application/json' }
  t.match(await send({ headers: { ...headers, 'x-remote-group': groups } }), DENIED_REVIEW)
  t.strictSame(callers.map((caller) => caller.groups), [[...groups, 'system:authenticated']])
})

const STRANGERS: Record<string, { client?: ClientCertificate; headers?: Record<string, string> }> = {
  'no certificate, and headers that say who asks': {},
  'a certificate of another CA': { client: await clientCertificate(otherCa, { name: NAME }) },
  'a certificate of the cluster CA': { client: await clientCertificate(clusterCa, { name: NAME }) },
  'a certificate that is for servers': { client: await clientCertificate(proxyCa, { name: NAME, usage: 'serverAuth' }) },
  'a certificate that is for nothing': { client: await clientCertificate(proxyCa, { name: NAME, usage: 'none' }) },
  'another common name': { client: await clientCertificate(proxyCa, { name: 'other' }) },
  'the front proxy, and no user': { client: proxy, headers: { 'x-remote-group': 'system:masters' } },
  'the front proxy, and an empty user': { client: proxy, headers: { 'x-remote-user': '' } },
  'the front proxy, and a user that is no UTF-8': { client: proxy, headers: { 'x-remote-user': '\u00ff' } },
  'a bearer token': { headers: { authorization: 'Bearer tok-1' } },
  'a CA that calls itself by the same name': { client: await clientCertificate(await authority('front-proxy-ca'), { name: NAME }) },
}

await test('nobody else is known', async (t) => {
  const { send, callers } = await start(t)
  for (const [sentence, { client, headers = { 'x-remote-user': 'admin', 'x-remote-group': 'system:masters' } }] of Object.entries(STRANGERS)) {
    t.match(await send({ client: client ?? null, headers }), REFUSED, sentence)
  }
  t.strictSame(callers, [])
})

await test('a CA may have others below it; under CAs that changed, only a new handshake tells', async (t) => {
  const { send, kube } = await start(t)
  const between = await authority('between', proxyCa)
  t.match(await send({ client: await clientCertificate(between, { name: NAME }, [between]) }), DENIED_REVIEW)
  t.match(await send({ client: await clientCertificate(between, { name: NAME }) }), REFUSED, 'what lies between was not sent')
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  const client = await clientCertificate(between, { name: NAME }, [between])
  t.match(await send({ agent, client }), DENIED_REVIEW)
  kube.put(CONFIG_MAPS, frontProxy([otherCa]))
  await untilTrue('the old CA is not trusted', async () => (await send()).code === 401)
  t.match(await send({ agent, client }), REFUSED)
})

await test('without allowed names any name of the CA is taken', async (t) => {
  const { send } = await start(t, {}, frontProxy([proxyCa], { 'requestheader-allowed-names': '[]' }))
  t.match(await send({ client: await clientCertificate(proxyCa, { name: 'other' }) }), DENIED_REVIEW)
})

await test('a CA that is added is trusted at once, and one that is taken away no more, also on a connection that is open', async (t) => {
  const { send, kube, running } = await start(t)
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  const next = await clientCertificate(otherCa, { name: NAME })
  const first = await send({ agent })
  t.match(first, DENIED_REVIEW)
  t.match(await send({ client: next }), REFUSED)

  kube.put(CONFIG_MAPS, frontProxy([proxyCa, otherCa]))
  await untilTrue('the new CA is trusted', async () => (await send({ client: next })).code === 201)
  t.match(await send({ agent }), { ...DENIED_REVIEW, localPort: first.localPort ?? 0 }, 'the open connection goes on')

  kube.put(CONFIG_MAPS, frontProxy([otherCa]))
  await untilTrue('the old CA is not trusted', async () => (await send()).code === 401)
  t.match(await send({ agent }), { ...REFUSED, localPort: first.localPort ?? 0, headers: { connection: 'close' } }, 'nor on the open connection')
  t.match(await send({ client: next }), DENIED_REVIEW)
  t.match(await call({ port: running.port, path: '/readyz' }), { code: 200, body: 'ok' })
})

await test('paths are read as they were sent', async (t) => {
  const { send, callers } = await start(t)
  const hostile = [CAR.replace('/team/', '/x/../team/'), CAR.replace('/team/', '/./team/'), CAR.replace('/team/', '%2fteam/'), `/${CAR}`, CAR.replaceAll('/', '\\'), `/apis/..${CAR}`, `${CAR}/.`, `https://x${CAR}`]
  for (const path of hostile) t.match(await send({ path }), { code: path.includes('\\') ? 400 : 404, body: /"kind":"Status"/, headers: { 'content-type': 'application/json' } }, path)
  t.strictSame(callers, [])
})

await test('sessions are not resumed', async (t) => {
  const { running } = await start(t)
  const agent = new https.Agent({ keepAlive: false, maxCachedSessions: 10 })
  const reused: boolean[] = []
  for (let round = 0; round < 2; round += 1) {
    const socket = agent.createConnection({ host: LOOPBACK, port: running.port, rejectUnauthorized: false, ...proxy })
    if (socket === null || socket === undefined) throw new Error('no socket')
    await new Promise((resolve) => socket.once('secureConnect', resolve))
    reused.push(Reflect.get(socket, 'isSessionReused').call(socket))
    socket.destroy()
  }
  t.strictSame(reused, [false, false])
})

await test('until the configuration was read nobody is answered, and readyz says why', async (t) => {
  const { send, kube, running } = await start(t, {}, null)
  const reply = await send()
  t.match(reply, { code: 503, body: /"message":"ConfigMap kube-system\/extension-apiserver-authentication does not exist/, headers: { 'retry-after': '1' } })
  t.match(await call({ port: running.port, path: '/readyz' }), { code: 500, body: /\[-\]front-proxy-configuration failed: ConfigMap/ })
  t.match(await call({ port: running.port, path: '/livez' }), { code: 200, body: 'ok' })
  kube.put(CONFIG_MAPS, frontProxy([proxyCa]))
  await untilTrue('the front proxy is known', async () => (await send()).code === 201)
  kube.put(CONFIG_MAPS, frontProxy([{ cert: 'no certificate', key: '' }]))
  await untilTrue('a configuration that cannot be used trusts nobody', async () => (await send()).code === 503)
})

await test('client certificates of the cluster are taken by option', async (t) => {
  const { send, callers } = await start(t, { authenticateClientCertificates: true })
  const client = await clientCertificate(clusterCa, { name: 'kim', organizations: ['ops', 'dev'] })
  t.match(await send({ client, headers: { 'x-remote-user': 'admin' } }), DENIED_REVIEW)
  t.match(await send({ client: await clientCertificate(clusterCa, { name: NAME }), headers: { 'x-remote-user': 'admin' } }), DENIED_REVIEW, 'the name alone is no front proxy')
  t.match(await send({ client: await clientCertificate(otherCa, { name: 'kim' }) }), REFUSED)
  t.strictSame(
    callers.map(({ user, groups }) => [user, groups]),
    [
      ['kim', ['ops', 'dev', 'system:authenticated']],
      [NAME, ['system:authenticated']],
    ],
  )
})

await test('bearer tokens are taken by option', async (t) => {
  const { send, callers, lines } = await start(t, { authenticateTokens: true })
  const client = await clientCertificate(otherCa, { name: 'x' })
  t.match(await send({ client, headers: { authorization: 'Bearer tok-1' } }), DENIED_REVIEW)
  t.match(await send({ client, headers: { authorization: 'Bearer tok-2' } }), REFUSED)
  t.strictSame(callers, [{ user: 'tom', uid: '7', groups: ['g', 'system:authenticated'], extra: {} }])
  t.notMatch(JSON.stringify(lines.lines), /tok-/)
})

await test('the CA of a certificate of our own making gets into the APIServices, and both ports tell of themselves', async (t) => {
  const { running, kube } = await start(t)
  await eventually('the caBundle', () => kube.all(API_SERVICES).every(({ spec }) => spec?.caBundle !== undefined && spec.insecureSkipTLSVerify === undefined) || undefined)
  t.equal(running.url, `https://127.0.0.1:${running.port}`)
  await untilTrue('the first key is there', async () => (await call({ port: running.port, path: '/readyz' })).code === 200)
  t.match(await call({ port: running.port, path: '/readyz?verbose' }), { code: 200, body: /\[\+\]signing-keys ok\n.*readyz check passed/s })
  t.match(await call({ port: running.port, path: '/metrics' }), { code: 401 })
  t.match(await call({ port: running.port, path: '/metrics', client: proxy, headers: { 'x-remote-user': 'p' } }), { code: 403, body: /cannot get path/ })
  const masters = { 'x-remote-user': 'p', 'x-remote-group': 'system:masters' }
  t.match(await call({ port: running.port, path: '/metrics', client: proxy, headers: masters }), { code: 200, body: /access_gate_extension_requests_total\{code="401"\} 1/ })
  const plain = await fetch(`http://${LOOPBACK}:${running.metricsPort}/readyz`)
  t.strictSame([plain.status, await plain.text()], [200, 'ok\n'])
})

await test('stopping ends everything; the same promise each time', async (t) => {
  const { running, kube, send } = await start(t)
  t.match(await send(), DENIED_REVIEW)
  t.equal(running.stop(), running.stop())
  await running.stop()
  t.equal(kube.openWatches, 0)
  await t.rejects(send(), { code: 'ECONNREFUSED' })
})
