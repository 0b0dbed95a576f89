import { once } from 'node:events'
import { lstat, mkdir, readdir, writeFile } from 'node:fs/promises'
import { connect as connectHttp2 } from 'node:http2'
import { connect } from 'node:net'
import { join } from 'node:path'
import { status } from '@grpc/grpc-js'
import { test, type Test } from 'tap'
import type { MountCall } from '../../src/core/mount-call.ts'
import type { CallContext } from '../../src/csi/calls.ts'
import { CsiError } from '../../src/csi/grpc-status.ts'
import type { VolumePublisher } from '../../src/csi/node.ts'
import { serveCsi } from '../../src/csi/serve.ts'
import type { Message } from '../../src/csi/wire/services.ts'
import { CodedError } from '../../src/errors.ts'
import { csiClient } from '../support/csi-client.ts'
import { untilTrue } from '../support/eventually.ts'
import { logLines } from '../support/log-lines.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const nobody: VolumePublisher = { publish: () => Promise.resolve(), unpublish: () => Promise.resolve() }

/** A plugin that serves, and clients of both of its sockets. */
const plugin = async (t: Test, publisher: VolumePublisher = nobody, ready: () => string | undefined = () => undefined) => {
  const folder = await temporaryFolder(t)
  const endpoint = join(folder, 'csi.sock')
  const registrationSocket = join(folder, 'reg.sock')
  const { log, lines } = logLines()
  const answered: string[] = []
  const registered: boolean[] = []
  const server = await serveCsi({
    endpoint,
    registrationSocket,
    kubeletEndpoint: '/var/lib/kubelet/plugins/connectors-csi/csi.sock',
    nodeName: 'node-1',
    version: '1.2.3',
    publisher,
    ready,
    logger: log,
    metrics: { answered: (method, code) => answered.push(`${method} ${code}`), registered: (ok) => registered.push(ok) },
  })
  const client = csiClient(endpoint)
  const kubelet = csiClient(registrationSocket)
  let stopped: Promise<void> | undefined
  const stop = (): Promise<void> => (stopped ??= server.stop())
  t.teardown(async () => {
    client.close()
    kubelet.close()
    await stop()
  })
  return { folder, endpoint, registrationSocket, lines, answered, registered, server, client, kubelet, stop }
}

const PUBLISH = {
  volumeId: 'csi-1',
  targetPath: '/var/lib/kubelet/pods/u/volumes/kubernetes.io~csi/v/mount',
  volumeCapability: { mount: { volumeMountGroup: '2000' }, accessMode: { mode: 1 } },
  readonly: true,
  secrets: { tokens: '{}' },
  publishContext: { a: 'b' },
  volumeContext: { connectors: 'git', 'csi.storage.k8s.io/ephemeral': 'true' },
}

await test('kubelet finds the plugin and is told what it is', async (t) => {
  const { client, kubelet, registered, lines } = await plugin(t)
  t.strictSame((await kubelet.call('pluginregistration.Registration', 'GetInfo', {})).message, {
    type: 'CSIPlugin',
    name: 'connectors-csi',
    endpoint: '/var/lib/kubelet/plugins/connectors-csi/csi.sock',
    supportedVersions: ['1.0.0'],
  })
  t.strictSame(await kubelet.call('pluginregistration.Registration', 'NotifyRegistrationStatus', { pluginRegistered: true }), { code: 0, details: '', message: {} })
  t.strictSame(registered, [true])
  t.match(lines.at(-1), { level: 'info', msg: 'kubelet took in the plugin' })

  t.strictSame((await client.call('csi.v1.Identity', 'GetPluginInfo', {})).message, { name: 'connectors-csi', vendorVersion: '1.2.3' })
  t.strictSame((await client.call('csi.v1.Identity', 'GetPluginCapabilities', {})).message, {})
  t.strictSame((await client.call('csi.v1.Node', 'NodeGetInfo', {})).message, { nodeId: 'node-1' })
  t.strictSame((await client.call('csi.v1.Node', 'NodeGetCapabilities', {})).message, { capabilities: [{ rpc: { type: 6 } }] })
})

await test('a registration that failed is an error in the log, and is counted; the plugin goes on', async (t) => {
  const { client, kubelet, registered, lines } = await plugin(t)
  const answer = await kubelet.call('pluginregistration.Registration', 'NotifyRegistrationStatus', { pluginRegistered: false, error: 'no CSINode yet' })
  t.strictSame(answer, { code: 0, details: '', message: {} })
  t.strictSame(registered, [false])
  t.match(lines.at(-1), { level: 'error', reason: 'no CSINode yet', msg: /did not take in the plugin/ })
  t.equal((await client.call('csi.v1.Identity', 'Probe', {})).code, 0)
})

await test('Probe says whether the plugin is ready', async (t) => {
  let why: string | undefined = 'the watch has not begun'
  const { client } = await plugin(t, nobody, () => why)
  t.strictSame((await client.call('csi.v1.Identity', 'Probe', {})).message, { ready: { value: false } })
  why = undefined
  t.strictSame((await client.call('csi.v1.Identity', 'Probe', {})).message, { ready: { value: true } })
})

await test('each socket has its services alone, and mode 0600', async (t) => {
  const { client, kubelet, endpoint, registrationSocket, folder } = await plugin(t)
  t.equal((await client.call('pluginregistration.Registration', 'GetInfo', {})).code, status.UNIMPLEMENTED)
  t.equal((await kubelet.call('csi.v1.Node', 'NodePublishVolume', PUBLISH)).code, status.UNIMPLEMENTED)
  for (const path of [endpoint, registrationSocket]) t.equal((await lstat(path)).mode & 0o777, 0o600)
  t.strictSame((await readdir(folder)).toSorted(), ['csi.sock', 'reg.sock'])
})

await test('a publish and an unpublish hand on what was sent, and with it the time there is', async (t) => {
  const seen: unknown[] = []
  const { client, answered } = await plugin(t, {
    publish: (call, { deadline, signal }) => {
      seen.push({ ...call, context: [...call.context], secrets: [...call.secrets], publishContext: [...call.publishContext] }, deadline, signal.aborted)
      return Promise.resolve()
    },
    unpublish: (volumeId, targetPath, { deadline }) => {
      seen.push(volumeId, targetPath, deadline)
      return Promise.resolve()
    },
  })
  t.equal((await client.call('csi.v1.Node', 'NodePublishVolume', PUBLISH)).code, 0)
  t.equal((await client.call('csi.v1.Node', 'NodeUnpublishVolume', { volumeId: 'csi-1', targetPath: '/t' })).code, 0)
  t.strictSame(seen, [
    {
      volumeId: 'csi-1',
      targetPath: PUBLISH.targetPath,
      readOnly: true,
      context: Object.entries(PUBLISH.volumeContext),
      publishContext: [['a', 'b']],
      secrets: [['tokens', '{}']],
      isMountVolume: true,
      volumeMountGroup: '2000',
    },
    Number.POSITIVE_INFINITY,
    false,
    'csi-1',
    '/t',
    Number.POSITIVE_INFINITY,
  ])
  t.strictSame(answered, ['NodePublishVolume OK', 'NodeUnpublishVolume OK'])

  const deadline = Date.now() + 60_000
  await client.call('csi.v1.Node', 'NodePublishVolume', PUBLISH, { deadline })
  t.ok(Math.abs(Number(seen.at(-2)) - deadline) < 5_000, 'a deadline is milliseconds since the epoch')
})

const incomplete: Record<string, { method: 'NodePublishVolume' | 'NodeUnpublishVolume'; message: Message; details: RegExp }> = {
  'a publish without a volume': { method: 'NodePublishVolume', message: { ...PUBLISH, volumeId: '' }, details: /volume_id is empty/ },
  'a publish without a target': { method: 'NodePublishVolume', message: { ...PUBLISH, targetPath: '' }, details: /target_path is empty/ },
  'a publish without a capability': { method: 'NodePublishVolume', message: { volumeId: 'v', targetPath: '/t' }, details: /volume_capability is missing/ },
  'a publish with a name that is too long': { method: 'NodePublishVolume', message: { ...PUBLISH, volumeId: 'v'.repeat(1_025) }, details: /longer than 1024/ },
  'a publish with a path that is too long': { method: 'NodePublishVolume', message: { ...PUBLISH, targetPath: `/${'v'.repeat(4_096)}` }, details: /longer than 4096/ },
  'an unpublish without a volume': { method: 'NodeUnpublishVolume', message: { targetPath: '/t' }, details: /volume_id is empty/ },
  'an unpublish without a target': { method: 'NodeUnpublishVolume', message: { volumeId: 'v' }, details: /target_path is empty/ },
}

for (const [sentence, { method, message, details }] of Object.entries(incomplete)) {
  await test(`${sentence} is an invalid argument`, async (t) => {
    const { client } = await plugin(t, { publish: () => Promise.reject(new Error('asked')), unpublish: () => Promise.reject(new Error('asked')) })
    t.match(await client.call('csi.v1.Node', method, message), { code: status.INVALID_ARGUMENT, details })
  })
}

await test('what a capability asks for that is no mount is handed on as such', async (t) => {
  const calls: MountCall[] = []
  const { client } = await plugin(t, { ...nobody, publish: async (call) => void calls.push(call) })
  for (const volumeCapability of [{ block: {} }, {}, { accessMode: { mode: 99 } }]) await client.call('csi.v1.Node', 'NodePublishVolume', { ...PUBLISH, volumeCapability })
  t.strictSame(calls.map(({ isMountVolume, volumeMountGroup }) => [isMountVolume, volumeMountGroup]), [[false, ''], [false, ''], [false, '']])
})

const failures: Record<string, { error: unknown; code: status; details: string | RegExp }> = {
  'an error for kubelet is told as it is': { error: new CsiError('PERMISSION_DENIED', 'may not get it'), code: status.PERMISSION_DENIED, details: 'may not get it' },
  'a coded error that may pass is UNAVAILABLE': { error: new CodedError('KUBE_UNAVAILABLE', 'no answer'), code: status.UNAVAILABLE, details: 'no answer' },
  'anything else is INTERNAL, and its message stays in the log': { error: new Error('token=abc'), code: status.INTERNAL, details: /^the plugin failed; its log on this node has the cause under correlation id [\w-]{36}$/ },
  'so is what is no error at all': { error: undefined, code: status.INTERNAL, details: /correlation id/ },
  'a message may hold any character': { error: new CsiError('NOT_FOUND', 'connector „ünïcode“ 100 % \n\r\0 \u{1F600}'), code: status.NOT_FOUND, details: 'connector „ünïcode“ 100 % \n\r\0 \u{1F600}' },
  'half a character does not break the answer': { error: new CsiError('NOT_FOUND', 'half \uD83D'), code: status.NOT_FOUND, details: 'half \uFFFD' },
  'a message without end is cut': { error: new CsiError('NOT_FOUND', 'ü'.repeat(100_000)), code: status.NOT_FOUND, details: 'ü'.repeat(4_096) },
}

for (const [sentence, { error, code, details }] of Object.entries(failures)) {
  await test(sentence, async (t) => {
    const { client, answered, lines } = await plugin(t, { ...nobody, publish: () => Promise.reject(error) })
    t.match(await client.call('csi.v1.Node', 'NodePublishVolume', PUBLISH), { code, details })
    t.equal(answered.length, 1)
    if (code === status.INTERNAL) t.match(lines.at(-1), { level: 'error', method: 'NodePublishVolume', correlationId: String })
  })
}

/** A publisher that waits until its signal says no more. */
const waiting = () => {
  const contexts: CallContext[] = []
  const publisher: VolumePublisher = {
    ...nobody,
    publish: async (_call, context) => {
      contexts.push(context)
      if (!context.signal.aborted) await once(context.signal, 'abort')
      throw context.signal.reason
    },
  }
  return { publisher, contexts, isWaiting: () => contexts.length > 0 }
}

await test('a caller that gives up aborts the signal', async (t) => {
  const { publisher, contexts, isWaiting } = waiting()
  const { client, answered } = await plugin(t, publisher)
  const call = client.begin('csi.v1.Node', 'NodePublishVolume', PUBLISH)
  await untilTrue('the call is there', isWaiting)
  call.cancel()
  t.equal((await call.answer).code, status.CANCELLED)
  await untilTrue('the work has ended', () => answered.length > 0)
  t.strictSame(answered, ['NodePublishVolume ABORTED'])
  t.match(contexts[0]?.signal.reason, { name: 'CsiError', code: 'ABORTED' })
})

await test('a deadline that passes aborts it too', async (t) => {
  const { publisher, contexts } = waiting()
  const { client, answered } = await plugin(t, publisher)
  // Connected: of the time of the call nothing goes for that, and it is enough to reach the plugin.
  await client.call('csi.v1.Identity', 'Probe', {})
  t.equal((await client.call('csi.v1.Node', 'NodePublishVolume', PUBLISH, { deadline: Date.now() + 1_000 })).code, status.DEADLINE_EXCEEDED)
  await untilTrue('the work has ended', () => answered.some((answer) => answer.startsWith('NodePublishVolume ')))
  t.ok(contexts.every(({ signal }) => signal.aborted))
})

/** A call by hand, over a connection of its own. @param bytes a message */
const callByHand = (socket: string, path: string, bytes: Buffer, authority = 'localhost') => {
  const session = connectHttp2('http://localhost', { createConnection: () => connect(socket) })
  const stream = session.request({ ':method': 'POST', ':path': path, ':authority': authority, 'content-type': 'application/grpc', te: 'trailers' })
  const head = Buffer.alloc(5)
  head.writeUInt32BE(bytes.length, 1)
  stream.end(Buffer.concat([head, bytes]))
  stream.resume()
  return { session, stream }
}

await test('a connection that is cut aborts it too', async (t) => {
  const { publisher, isWaiting } = waiting()
  const { answered, endpoint } = await plugin(t, publisher)
  // volume_id "v", target_path "/t", a capability without anything in it.
  const { session, stream } = callByHand(endpoint, '/csi.v1.Node/NodePublishVolume', Buffer.from([0x0a, 1, 0x76, 0x22, 2, 0x2f, 0x74, 0x2a, 0]))
  stream.on('error', () => undefined)
  await untilTrue('the call is there', isWaiting)
  session.destroy()
  await untilTrue('the work has ended', () => answered.length > 0)
  t.strictSame(answered, ['NodePublishVolume ABORTED'])
})

await test('a plugin that stops answers who waits, and leaves no socket', async (t) => {
  const { publisher, isWaiting } = waiting()
  const { client, stop, folder } = await plugin(t, publisher)
  const call = client.call('csi.v1.Node', 'NodePublishVolume', PUBLISH)
  await untilTrue('the call is there', isWaiting)
  await stop()
  t.strictSame(await call, { code: status.UNAVAILABLE, details: 'the plugin is stopping; kubelet asks again', message: undefined })
  t.strictSame(await readdir(folder), [])
})

await test('bytes that are no message, and bytes that are no gRPC, end neither the server nor other calls', async (t) => {
  const { client, endpoint } = await plugin(t)
  const path = '/csi.v1.Node/NodePublishVolume'
  for (const bytes of [Buffer.from([0xff, 0xff, 0xff]), Buffer.alloc(64, 0x3b), Buffer.from([0x2a, 0x02, 0x12, 0x7f])])
    t.equal((await client.sendBytes(path, bytes)).code, status.INTERNAL)
  t.equal((await client.sendBytes(path, Buffer.alloc(0))).code, status.INVALID_ARGUMENT, 'nothing at all is a message without fields')
  t.equal((await client.sendBytes('/csi.v1.Node/NodeStageVolume', Buffer.alloc(0))).code, status.UNIMPLEMENTED)
  t.equal((await client.sendBytes('/csi.v1.Controller/CreateVolume', Buffer.alloc(0))).code, status.UNIMPLEMENTED)
  t.equal((await client.call('csi.v1.Node', 'NodePublishVolume', { ...PUBLISH, volumeContext: { a: 'x'.repeat(2 * 1024 * 1024) } })).code, status.RESOURCE_EXHAUSTED)

  for (const text of ['GET / HTTP/1.1\r\n\r\n', '\0\0\0', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnot a frame, but long enough for one']) {
    const socket = connect(endpoint)
    await once(socket, 'connect')
    socket.end(text)
    socket.resume()
    socket.on('error', () => socket.destroy())
    await once(socket, 'close')
  }
  t.equal((await client.call('csi.v1.Node', 'NodeGetInfo', {})).code, 0)
})

await test('a message is read with what a newer kubelet adds to it', async (t) => {
  const seen: MountCall[] = []
  const { client } = await plugin(t, { ...nobody, publish: async (call) => void seen.push(call) })
  // volume_id "v"; target_path "/t"; field 1000 "new"; capability: mount, access mode 77; volume_context {"__proto__": "p", "": ""}.
  const bytes = Buffer.concat([
    Buffer.from([0x0a, 1, 0x76, 0x22, 2, 0x2f, 0x74, 0xc2, 0x3e, 3, 0x6e, 0x65, 0x77]),
    Buffer.from([0x2a, 6, 0x12, 0, 0x1a, 2, 0x08, 77]),
    Buffer.from([0x42, 14, 0x0a, 9, ...Buffer.from('__proto__'), 0x12, 1, 0x70]),
    Buffer.from([0x42, 0]),
  ])
  t.strictSame(await client.sendBytes('/csi.v1.Node/NodePublishVolume', bytes), { code: 0, details: '', message: {} })
  t.match(seen, [{ volumeId: 'v', targetPath: '/t', isMountVolume: true, readOnly: false }])
  t.strictSame(seen[0]?.context, new Map([['__proto__', 'p'], ['', '']]))
  t.equal(Reflect.get({}, 'p'), undefined)
})

for (const authority of ['localhost', '%2Fvar%2Flib%2Fkubelet%2Fplugins_registry%2Fx.sock'])
  await test(`kubelet may call the host ${authority}`, async (t) => {
    const { registrationSocket } = await plugin(t)
    const { session, stream } = callByHand(registrationSocket, '/pluginregistration.Registration/GetInfo', Buffer.alloc(0), authority)
    const trailers = once(stream, 'trailers')
    t.match((await trailers)[0], { 'grpc-status': '0' })
    session.close()
    await once(session, 'close')
  })

await test('kubelet finds no plugin whose CSI socket cannot be served, and no socket is left of one that it cannot find', async (t) => {
  const folder = await temporaryFolder(t)
  const options = { kubeletEndpoint: '/k', nodeName: 'n', version: '1', publisher: nobody, ready: () => undefined, logger: logLines().log, metrics: { answered: () => undefined, registered: () => undefined } }
  await mkdir(join(folder, 'registration'))
  await writeFile(join(folder, 'file'), '')
  await t.rejects(serveCsi({ ...options, endpoint: join(folder, 'file'), registrationSocket: join(folder, 'registration', 'reg.sock') }), { code: 'CONFIG_INVALID' })
  t.strictSame(await readdir(join(folder, 'registration')), [])
  await t.rejects(serveCsi({ ...options, endpoint: join(folder, 'csi.sock'), registrationSocket: join(folder, 'nowhere', 'reg.sock') }), { code: 'CONFIG_INVALID' })
  t.strictSame((await readdir(folder)).toSorted(), ['file', 'registration'])
})
