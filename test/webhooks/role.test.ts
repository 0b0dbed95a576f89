import { writeFile } from 'node:fs/promises'
import https from 'node:https'
import net from 'node:net'
import { join } from 'node:path'
import { generate } from 'selfsigned'
import { test } from 'tap'
import { CONNECTORS, ACCESS_REQUESTS } from '../../src/kube/resources.ts'
import { systemClock, systemTimers, type Timers } from '../../src/kube/timers.ts'
import { createMaterial, renewLeaf, type CertificateMaterial } from '../../src/serving/certificate.ts'
import { DEFAULT_WEBHOOK_OPTIONS, type WebhookOptions } from '../../webhooks/options.ts'
import { runWebhook, type RunningWebhook } from '../../webhooks/role.ts'
import { isCoded } from '../../src/errors.ts'
import { logLines, type LogLines } from '../support/log-lines.ts'
import { memoryKube, type MemoryKube } from '../support/memory-kube.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { untilTrue } from '../support/eventually.ts'
import { NOW, review, turnFlags } from './harness.ts'
import { call, protocolAt, SERVER_NAME, startForwarder } from './sockets.ts'

const LOOPBACK = '127.0.0.1'
const REQUEST_BODY = JSON.stringify(
  review({
    object: {
      metadata: { name: 'a', namespace: 'shared' },
      spec: {
        subject: { kind: 'ServiceAccount', name: 'builder', namespace: 'cicd' },
        connectorRef: { name: 'harbor' },
        context: { objectRef: { apiVersion: 'v1', kind: 'Pod', name: 'build', namespace: 'cicd' } },
      },
    },
  }),
)
const VALIDATE = '/validate/access-request?timeout=5s'

type Teardown = { teardown(end: () => Promise<void>): void }

const writeMaterial = async (folder: string, { leaf }: CertificateMaterial): Promise<{ certFile: string; keyFile: string }> => {
  const files = { certFile: join(folder, 'tls.crt'), keyFile: join(folder, 'tls.key') }
  await writeFile(files.certFile, leaf.cert)
  await writeFile(files.keyFile, leaf.key)
  return files
}

interface Started {
  running: RunningWebhook
  kube: MemoryKube
  lines: LogLines
}

const start = async (t: Teardown, options: Partial<WebhookOptions>, timers: Timers = systemTimers): Promise<Started> => {
  const kube = memoryKube({ now: () => NOW })
  const lines = logLines()
  const running = await runWebhook(
    { ...DEFAULT_WEBHOOK_OPTIONS, host: LOOPBACK, port: 0, metricsHost: LOOPBACK, metricsPort: 0, drainMs: 0, closeMs: 2_000, filesMs: 20, ...options },
    { reader: kube, writer: kube, permission: kube },
    { logger: lines.log, clock: systemClock, timers },
  )
  t.teardown(() => running.stop())
  return { running, kube, lines }
}

const plain = async (port: number, path: string): Promise<{ status: number; text: string }> => {
  const reply = await fetch(`http://${LOOPBACK}:${port}${path}`)
  return { status: reply.status, text: await reply.text() }
}

const material = await createMaterial([SERVER_NAME], Date.now())

await test('the role answers over TLS and HTTP/1.1, and tells of itself on the plain port', async (t) => {
  const { running } = await start(t, { certificate: { kind: 'files', ...(await writeMaterial(await temporaryFolder(t), material)) } })
  await running.ready
  t.equal(running.url, `https://127.0.0.1:${running.port}`)
  const reply = await call({ port: running.port, path: VALIDATE, ca: material.caBundle, body: REQUEST_BODY })
  t.match(reply, { status: 200, body: '"allowed":true' })
  t.equal(await protocolAt(running.port, material.caBundle), 'http/1.1')
  const agent = new https.Agent({ keepAlive: true })
  t.teardown(async () => agent.destroy())
  t.match(
    await call({ port: running.port, path: '/readyz', ca: material.caBundle, agent }),
    { keepAlive: 'timeout=120' },
    'longer than the 90 s of the API server',
  )
  t.match(await call({ port: running.port, path: '/readyz', ca: material.caBundle }), { status: 200, body: 'ok\n' })
  t.strictSame(await plain(running.metricsPort, '/healthz'), { status: 200, text: 'ok\n' })
  t.strictSame(await plain(running.metricsPort, '/readyz'), { status: 200, text: 'ok\n' })
  const { text } = await plain(running.metricsPort, '/metrics')
  t.match(text, 'access_gate_admission_requests_total{hook="validate-access-request",outcome="allowed"} 1')
  t.match(text, 'access_gate_admission_duration_seconds_count{hook="validate-access-request"} 1')
  t.match(text, /process_resident_memory_bytes \d{7,}/)
  t.strictSame(await plain(running.metricsPort, '/validate/pod'), { status: 404, text: 'there are /metrics, /healthz and /readyz\n' })
})

await test('a Pod admitted over the socket has its request', async (t) => {
  const { running, kube } = await start(t, { certificate: { kind: 'files', ...(await writeMaterial(await temporaryFolder(t), material)) } })
  turnFlags(kube)
  kube.put(CONNECTORS, { metadata: { name: 'harbor', namespace: 'shared' } })
  kube.allowIf((_identity, { verb }) => verb === 'get')
  const object = {
    metadata: { name: 'build', namespace: 'cicd', uid: 'u' },
    spec: { volumes: [{ name: 'v', csi: { driver: 'connectors-csi', readOnly: true, volumeAttributes: { connectors: 'shared/harbor' } } }] },
  }
  const reply = await call({
    port: running.port,
    path: '/validate/pod?timeout=3s',
    ca: material.caBundle,
    body: JSON.stringify(review({ namespace: 'cicd', object })),
  })
  t.match(reply, { status: 200, body: '"allowed":true' })
  t.match(kube.all(ACCESS_REQUESTS), [{ spec: { subject: { name: 'default', namespace: 'cicd' }, context: { objectRef: { uid: 'u' } } } }])
})

await test('a new certificate is served without a restart; one that cannot be used changes nothing', async (t) => {
  const folder = await temporaryFolder(t)
  const { running, lines } = await start(t, { certificate: { kind: 'files', ...(await writeMaterial(folder, material)) } })
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(async () => agent.destroy())
  const port = running.port
  const old = (await call({ port, path: '/readyz', ca: material.caBundle, agent })).serial
  const renewed = await renewLeaf(material, [SERVER_NAME], Date.now())

  await writeFile(join(folder, 'tls.crt'), renewed.leaf.cert)
  await untilTrue('the half-written pair to be refused', () => lines.messages().some((line) => line.startsWith('error the certificate could not be renewed')))
  t.equal((await call({ port, path: '/readyz', ca: material.caBundle })).serial, old)

  await writeFile(join(folder, 'tls.key'), renewed.leaf.key)
  await untilTrue('the new certificate', async () => (await call({ port, path: '/readyz', ca: material.caBundle })).serial !== old)
  t.equal((await call({ port, path: '/readyz', ca: material.caBundle, agent })).serial, old, 'an open connection goes on as it was')
  t.notMatch(JSON.stringify(lines.lines), renewed.leaf.key.split('\n')[1] ?? 'no key')
})

await test('a certificate that cannot be used at the start, or a port that is taken, is one sentence', async (t) => {
  const folder = await temporaryFolder(t)
  const files = await writeMaterial(folder, material)
  const taken = net.createServer()
  await new Promise<void>((resolve) => taken.listen(0, LOOPBACK, resolve))
  t.teardown(() => new Promise<void>((resolve) => taken.close(() => resolve())))
  const address = taken.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  await writeFile(join(folder, 'other.key'), (await createMaterial([SERVER_NAME], Date.now())).leaf.key)
  await writeFile(join(folder, 'no.crt'), 'nothing')
  const cases: [Partial<WebhookOptions>, RegExp][] = [
    [{ certificate: { kind: 'files', certFile: join(folder, 'none.crt'), keyFile: files.keyFile } }, /^--tls-cert-file, --tls-key-file: .*none\.crt cannot be read: ENOENT/],
    [{ certificate: { kind: 'files', certFile: join(folder, 'no.crt'), keyFile: files.keyFile } }, /^--tls-cert-file, --tls-key-file: the certificate or its key cannot be read: /],
    [{ certificate: { kind: 'files', certFile: files.certFile, keyFile: join(folder, 'other.key') } }, /^--tls-cert-file, --tls-key-file: the key does not belong to the certificate$/],
    [{ certificate: { kind: 'files', ...files }, clientCaFile: join(folder, 'no.crt') }, /^--client-ca-file: the client CA cannot be read: /],
    [{ certificate: { kind: 'files', ...files }, port }, /^the webhook server cannot listen on 127\.0\.0\.1, port \d+: .*EADDRINUSE/],
    [{ certificate: { kind: 'files', ...files }, metricsPort: port }, /^the metrics server cannot listen on 127\.0\.0\.1, port \d+: .*EADDRINUSE/],
  ]
  for (const [options, message] of cases) {
    const error: unknown = await start(t, options).catch((reason: unknown) => reason)
    t.ok(isCoded(error, 'CONFIG_INVALID'))
    t.match(error, { message })
  }
})

await test('with a client CA only its clients get through the handshake', async (t) => {
  const folder = await temporaryFolder(t)
  const now = Date.now()
  const days = { notBeforeDate: new Date(now - 1000), notAfterDate: new Date(now + 86_400_000), keyType: 'ec' as const, algorithm: 'sha256' }
  const extensions = [{ name: 'basicConstraints' as const, cA: true, critical: true }]
  const ca = await generate([{ name: 'commonName', value: 'callers' }], { ...days, extensions })
  const caller = await generate([{ name: 'commonName', value: 'kube-apiserver' }], {
    ...days,
    ca: { cert: ca.cert, key: ca.private },
    extensions: [{ name: 'extKeyUsage', clientAuth: true }],
  })
  const clientCaFile = join(folder, 'clients.crt')
  await writeFile(clientCaFile, ca.cert)
  const { running } = await start(t, { certificate: { kind: 'files', ...(await writeMaterial(folder, material)) }, clientCaFile })
  const at = { port: running.port, path: VALIDATE, ca: material.caBundle, body: REQUEST_BODY }
  t.match(await call({ ...at, cert: caller.cert, key: caller.private }), { status: 200 })
  await t.rejects(call(at), 'no certificate')
  await t.rejects(call({ ...at, ...material.leaf }), 'a certificate of another CA')
  await t.rejects(call({ ...at, path: '/readyz' }), 'health as well')
  t.strictSame(await plain(running.metricsPort, '/readyz'), { status: 200, text: 'ok\n' })

  const otherCa = await generate([{ name: 'commonName', value: 'new callers' }], { ...days, extensions })
  await writeFile(clientCaFile, otherCa.cert)
  await untilTrue('the new client CA', () =>
    call({ ...at, cert: caller.cert, key: caller.private }).then(
      () => false,
      () => true,
    ),
  )
})

/** The system's timers, but one delay ends only when the test says so. */
const withHeld = (heldMs: number): { timers: Timers; release(): void } => {
  let run: (() => void) | undefined
  const after: Timers['after'] = (ms, done) => {
    if (ms !== heldMs) return systemTimers.after(ms, done)
    run = done
    return () => {
      run = undefined
    }
  }
  return { timers: { ...systemTimers, after }, release: () => run?.() }
}

await test('a rolling restart under load loses no admission', async (t) => {
  const CALLS = 4_000
  const DRAIN_MS = 123_456
  const certificate = { kind: 'files' as const, ...(await writeMaterial(await temporaryFolder(t), material)) }
  const held = withHeld(DRAIN_MS)
  const first = await start(t, { certificate, drainMs: DRAIN_MS }, held.timers)
  let backend = first.running.port
  const forwarder = await startForwarder(() => backend)
  t.teardown(() => forwarder.close())
  const agent = new https.Agent({ keepAlive: true, maxSockets: 16 })
  t.teardown(async () => agent.destroy())

  const results = { answered: 0, failed: [] as string[], closing: 0, restarted: false }
  const client = async (): Promise<void> => {
    while ((results.answered < CALLS || !results.restarted) && results.failed.length === 0) {
      try {
        const { status, body, connection } = await call({ port: forwarder.port, path: VALIDATE, ca: material.caBundle, body: REQUEST_BODY, agent })
        if (status === 200 && body.includes('"allowed":true')) results.answered += 1
        else results.failed.push(`${status} ${body}`)
        if (connection === 'close') results.closing += 1
      } catch (error) {
        results.failed.push(String(error))
      }
    }
  }
  const clients = Promise.all(Array.from({ length: 16 }, client))
  const goesOn = (what: string, condition: () => boolean): Promise<void> => untilTrue(what, () => condition() || results.failed.length > 0)
  await goesOn('the load to run', () => results.answered > 500)
  const second = await start(t, { certificate })
  const stopping = first.running.stop()
  t.strictSame(await plain(first.running.metricsPort, '/readyz'), { status: 503, text: 'this replica is shutting down\n' })
  await goesOn('replies that ask for the connection to be closed', () => results.closing > 50)
  backend = second.running.port
  const switched = results.answered
  await goesOn('the second one to answer', () => results.answered > switched + 500)
  held.release()
  await stopping
  results.restarted = true
  await clients
  t.strictSame(results.failed, [])
  t.ok(results.answered >= CALLS)
  t.comment(`${results.answered} admissions, ${results.failed.length} failed, ${results.closing} replies asked to close`)
  const taken = await plain(second.running.metricsPort, '/metrics')
  t.match(taken.text, /access_gate_admission_requests_total\{hook="validate-access-request",outcome="allowed"\} \d{3}/)
  await t.rejects(call({ port: first.running.port, path: '/readyz', ca: material.caBundle }), 'the first one is gone')
})

await test('a call that is in flight when the server closes is answered; one that hangs longer is cut', async (t) => {
  const certificate = { kind: 'files' as const, ...(await writeMaterial(await temporaryFolder(t), material)) }
  for (const { closeMs, podDeadlineMs, answered } of [
    { closeMs: 5_000, podDeadlineMs: 200, answered: true },
    { closeMs: 100, podDeadlineMs: 60_000, answered: false },
  ]) {
    const { running, kube } = await start(t, { certificate, closeMs, podDeadlineMs })
    const release = kube.hold('get')
    const object = {
      metadata: { name: 'build', namespace: 'cicd', uid: 'u' },
      spec: { volumes: [{ name: 'v', csi: { driver: 'connectors-csi', readOnly: true, volumeAttributes: { connectors: 'shared/harbor' } } }] },
    }
    const asking = call({ port: running.port, path: '/validate/pod', ca: material.caBundle, body: JSON.stringify(review({ namespace: 'cicd', object })) }).then(
      ({ status }) => status,
      () => 'cut',
    )
    await untilTrue('the call to be in the hook', () => kube.calls.length > 0)
    await running.stop()
    t.equal(await asking, answered ? 200 : 'cut')
    release()
  }
})

await test('an aborted signal stops the role, also when it was aborted before', async (t) => {
  const certificate = { kind: 'files' as const, ...(await writeMaterial(await temporaryFolder(t), material)) }
  const kube = memoryKube()
  const { log } = logLines()
  for (const before of [true, false]) {
    const controller = new AbortController()
    if (before) controller.abort()
    const running = await runWebhook(
      { ...DEFAULT_WEBHOOK_OPTIONS, host: LOOPBACK, port: 0, metricsHost: LOOPBACK, metricsPort: 0, drainMs: 0, certificate },
      { reader: kube, writer: kube, permission: kube },
      { logger: log, clock: systemClock, signal: controller.signal },
    )
    controller.abort()
    await running.stop()
    await t.rejects(call({ port: running.port, path: '/readyz', ca: material.caBundle }))
  }
})
