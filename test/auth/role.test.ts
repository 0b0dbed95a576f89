/** The whole role over its real ports, with a real issuer; Kubernetes is in memory. */
import { request } from 'node:http'
import { test, type Test } from 'tap'
import { startOidcIssuer, type OidcIssuer } from '../../hack/oidc-issuer/issuer.ts'
import { readAuthOptions, type AuthSettings } from '../../src/auth/options.ts'
import { runAuth, type AuthPorts, type RunningAuth } from '../../src/auth/role.ts'
import { isCoded } from '../../src/errors.ts'
import type { ConnectionReviewer } from '../../src/kube/ports.ts'
import { SECRETS } from '../../src/kube/resources.ts'
import { systemClock } from '../../src/kube/timers.ts'
import { allowed, APP, forwarded } from '../support/auth-world.ts'
import { eventually, untilTrue } from '../support/eventually.ts'
import { logLines, type LogLines } from '../support/log-lines.ts'
import { memoryKube, type MemoryKube } from '../support/memory-kube.ts'

const LOOPBACK = '127.0.0.1'
const SECRET = { name: 'authmiddleware-secrets', namespace: 'connectors-system' }
const CLIENT = 'workspaces'

const startIssuer = async (t: Test): Promise<OidcIssuer> => {
  const issuer = await startOidcIssuer({ clientId: CLIENT, users: [{ name: 'alice', sub: 'uid-alice', groups: ['team-a'] }], redirectUris: [] })
  t.teardown(() => issuer.stop())
  return issuer
}

interface Ground {
  kube: MemoryKube
  ports: AuthPorts
  log: LogLines
}

const ground = (reviewer: Partial<ConnectionReviewer> = {}, data?: Record<string, string>): Ground => {
  const kube = memoryKube()
  kube.put(SECRETS, { metadata: { ...SECRET, uid: 'u1' }, type: 'Opaque', ...(data === undefined ? {} : { data }) })
  const ports = Object.assign(kube, { mayConnect: allowed, reviewToken: async () => ({ authenticated: false as const }), ...reviewer })
  return { kube, ports, log: logLines() }
}

const run = (settings: AuthSettings, { ports, log }: Ground): Promise<RunningAuth> => {
  const places = { PORT: '0', METRICS_ADDR: `${LOOPBACK}:0`, PROBE_ADDR: `${LOOPBACK}:0`, NAMESPACE: SECRET.namespace, OIDC_CLIENT_ID: CLIENT, OIDC_ALLOW_HTTP_LOOPBACK: 'true', SHUTDOWN_TIMEOUT: '400ms' }
  return runAuth({ ...readAuthOptions({ ...places, ...settings }), host: LOOPBACK }, ports, { logger: log.log, clock: systemClock })
}

const start = async (t: Test, settings: AuthSettings, on: Ground = ground()): Promise<RunningAuth> => {
  const running = await run(settings, on)
  t.teardown(() => running.stop())
  await running.ready
  return running
}

interface Answer {
  code: number
  text: string
  cookie: string | undefined
}

/** By node:http: fetch makes its own cookies and forbids some headers. */
const ask = (port: number, path: string, headers: Record<string, string | string[]> = {}): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const sent = request({ host: LOOPBACK, port, path, headers, agent: false }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => resolve({ code: response.statusCode ?? 0, text: Buffer.concat(chunks).toString(), cookie: response.headers['set-cookie']?.[0] }))
    })
    sent.on('error', reject)
    sent.end()
  })

await test('from an ID token over the session to the workspace, with keys of its own making', async (t) => {
  const issuer = await startIssuer(t)
  const on = ground()
  const running = await start(t, { OIDC_ISSUER_URL: issuer.url, ENABLE_LOGIN: 'true' }, on)
  const { port, probePort, metricsPort } = running
  t.equal(Object.keys(on.kube.all(SECRETS, SECRET.namespace)[0]?.data ?? {}).length, 1, 'the first key was put into the empty Secret')
  t.strictSame(await ask(probePort, '/readyz'), { code: 200, text: 'ok\n', cookie: undefined })
  t.strictSame(await ask(probePort, '/healthz'), { code: 200, text: 'ok\n', cookie: undefined })

  t.equal((await ask(port, '/verify', forwarded(APP))).code, 401)
  const signedIn = await ask(port, '/auth', { ...forwarded(APP), authorization: `Bearer ${await issuer.idToken('alice')}` })
  t.equal(signedIn.code, 200)
  const [cookie = ''] = signedIn.cookie?.split(';') ?? []
  t.equal((await ask(port, '/verify', { ...forwarded(`${APP}/lab`), cookie })).code, 200)
  t.equal((await ask(port, '/verify', { ...forwarded('/workspaces/ns1/app2'), cookie })).code, 403)
  t.equal((await ask(port, '/verify', { ...forwarded(APP), cookie: ['workspace_auth=x', cookie] })).code, 200, 'two Cookie headers')
  t.equal((await ask(port, '/verify', { cookie, 'x-forwarded-uri': [APP, APP], 'x-forwarded-host': 'ws.example.com' })).code, 400, 'a header that is sent twice')
  t.equal((await ask(port, '/verify', { ...forwarded(APP), cookie, 'x-filler': 'a'.repeat(40_000) })).code, 431)
  t.equal((await ask(port, '/auth', { ...forwarded(APP), authorization: `Bearer ${await issuer.idToken('alice', { aud: 'other' })}` })).code, 401)
  t.equal((await ask(port, '/login?rd=%2Fworkspaces%2Fns1%2Fapp1', { ...forwarded('/login'), 'x-forwarded-proto': 'https' })).code, 303)

  const text = (await ask(metricsPort, '/metrics')).text
  t.match(text, 'access_gate_auth_requests_total{route="/login",code="303"} 1')
  t.match(text, 'access_gate_auth_requests_total{route="/auth",code="200"} 1')
  t.match(text, /access_gate_watch_silence_seconds\{resource="signing keys"\} \d/)
  t.match(text, /process_resident_memory_bytes \d{7,}/)
  t.notMatch(JSON.stringify(on.log.lines), /eyJ|workspace_auth=/, 'neither tokens nor cookies are logged')

  await running.stop()
  for (const closed of [port, probePort, metricsPort]) await t.rejects(ask(closed, '/healthz'), { code: 'ECONNREFUSED' })
})

await test('readyz says what is missing: keys that were taken away', async (t) => {
  const on = ground()
  const { port, probePort } = await start(t, { ENABLE_OAUTH: 'false' }, on)
  t.equal((await ask(port, '/auth', forwarded(APP))).code, 404)
  await on.kube.remove(SECRETS, SECRET.namespace, SECRET.name)
  const told = await eventually('readyz says no', async () => {
    const answer = await ask(probePort, '/readyz')
    return answer.code === 503 ? answer.text : undefined
  })
  t.match(told, /^Secret connectors-system\/authmiddleware-secrets.* is missing/)
  t.equal((await ask(probePort, '/healthz')).code, 200)
})

await test('what keeps it from starting', async (t) => {
  const nothing = ground()
  await nothing.kube.remove(SECRETS, SECRET.namespace, SECRET.name)
  const refusal = async (settings: AuthSettings, on = ground()): Promise<string> => {
    const error: unknown = await run(settings, on).then(
      async (running) => running.stop(),
      (thrown: unknown) => thrown,
    )
    return isCoded(error) ? `${error.code}: ${error.message}` : String(error)
  }
  t.match(await refusal({ ENABLE_OAUTH: 'false' }, nothing), /^KUBE_NOT_FOUND: Secret connectors-system\/authmiddleware-secrets.* is missing/)
  t.match(await refusal({ OIDC_ISSUER_URL: `http://${LOOPBACK}:1`, OIDC_INIT_TIMEOUT_SECONDS: '1' }), /^CONFIG_INVALID: the OIDC issuer http:\/\/127\.0\.0\.1:1 was not there within 1 s/)
  const other = await start(t, { ENABLE_OAUTH: 'false' })
  for (const [name, value] of Object.entries({ PORT: String(other.port), METRICS_ADDR: `${LOOPBACK}:${other.metricsPort}`, PROBE_ADDR: `${LOOPBACK}:${other.probePort}` }))
    t.match(await refusal({ ENABLE_OAUTH: 'false', [name]: value }), /^CONFIG_INVALID: the (?:auth|metrics|probe) server cannot listen on 127\.0\.0\.1/, name)
})

await test('while the issuer is not there yet, probes are answered, and nothing else', async (t) => {
  const on = ground()
  const free = await start(t, { ENABLE_OAUTH: 'false' })
  const probe = `${LOOPBACK}:${free.probePort}`
  await free.stop()
  // As long as the probe may take to be seen on a busy machine.
  const starting = run({ OIDC_ISSUER_URL: `http://${LOOPBACK}:1`, OIDC_INIT_TIMEOUT_SECONDS: '4', PROBE_ADDR: probe }, on)
  const ended = t.rejects(starting, { code: 'CONFIG_INVALID' })
  await untilTrue('the probe is answered', async () => {
    const answer = await ask(free.probePort, '/readyz').catch(() => undefined)
    return answer?.code === 503 && answer.text === 'the OIDC issuer was not reached yet\n'
  })
  await ended
  await t.rejects(ask(free.probePort, '/readyz'), { code: 'ECONNREFUSED' }, 'and nothing is left running')
})

await test('it stops within its time, whoever waits for an answer', async (t) => {
  const issuer = await startIssuer(t)
  const asked = Promise.withResolvers<void>()
  const stopped = Promise.withResolvers<void>()
  const on = ground({
    mayConnect: async () => {
      asked.resolve()
      await stopped.promise
      return { allowed: true, notFound: false, reason: '' }
    },
  })
  // Long enough for a look at readyz meanwhile.
  const running = await start(t, { OIDC_ISSUER_URL: issuer.url, SHUTDOWN_TIMEOUT: '3s' }, on)
  const waiting = t.rejects(ask(running.port, '/auth', { ...forwarded(APP), authorization: `Bearer ${await issuer.idToken('alice')}` }), 'its connection is cut')
  await asked.promise
  const stopping = running.stop()
  t.equal(running.stop(), stopping)
  t.match(await ask(running.probePort, '/readyz'), { code: 503, text: 'this replica is shutting down\n' })
  await stopping
  stopped.resolve()
  await waiting
  t.match(on.log.messages().slice(-1), ['info auth stopped'])
})
