/** The whole plugin over its real sockets and a real disk; Kubernetes is in memory. */
import { mkdir, rm, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { status } from '@grpc/grpc-js'
import { test, type Test } from 'tap'
import { DEFAULT_CSI_OPTIONS } from '../../src/csi/options.ts'
import { runCsi, type RunningCsi } from '../../src/csi/role.ts'
import { plainFiles } from '../../src/csi/volume-files.ts'
import { isCoded } from '../../src/errors.ts'
import { ACCESS_REQUESTS, CONFIG_MAPS, CONNECTORS, PODS } from '../../src/kube/resources.ts'
import { systemClock } from '../../src/kube/timers.ts'
import { csiClient, type CsiClient } from '../support/csi-client.ts'
import { callOf, connectorWithProxy, flagsMap, podOnNode, volumeIdOf } from '../support/csi-world.ts'
import { untilTrue } from '../support/eventually.ts'
import { logLines } from '../support/log-lines.ts'
import { memoryKube, type MemoryKube } from '../support/memory-kube.ts'
import { HARBOR, MOUNT_POD, requestFor, STAGE } from '../support/mount-facts.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const LOOPBACK = '127.0.0.1'

/** A Pod on the node that names a Connector which it may get, and not use yet. */
const ground = (): MemoryKube => {
  const kube = memoryKube()
  kube.put(CONFIG_MAPS, flagsMap('true'))
  kube.put(CONNECTORS, connectorWithProxy(HARBOR))
  kube.put(PODS, podOnNode(MOUNT_POD))
  kube.allowIf((_identity, { verb }) => verb === 'get')
  return kube
}

interface Started {
  running: RunningCsi
  client: CsiClient
  target: string
  publish(): ReturnType<CsiClient['begin']>
  messages(): string[]
  metricsText: (path?: string) => Promise<string>
}

const start = async (t: Test, folder: string, kube: MemoryKube): Promise<Started> => {
  const { log, messages } = logLines()
  const kubeletDir = join(folder, 'kubelet')
  const options = {
    ...DEFAULT_CSI_OPTIONS,
    nodeName: 'node-1',
    endpoint: join(folder, 'csi.sock'),
    registrationDir: folder,
    kubeletDir,
    stateDir: join(folder, 'state'),
    metricsHost: LOOPBACK,
    metricsPort: 0,
  }
  const ports = Object.assign(kube, { issueToken: () => Promise.reject(new Error('no token is made here')) })
  const running = await runCsi(options, ports, { logger: log, clock: systemClock, version: '1.2.3' })
  const client = csiClient(options.endpoint)
  t.teardown(async () => {
    client.close()
    await running.stop()
  })
  await running.ready
  const target = join(kubeletDir, 'pods', MOUNT_POD.uid, 'volumes', 'kubernetes.io~csi', 'tools', 'mount')
  await mkdir(join(target, '..'), { recursive: true })
  const { context } = callOf(MOUNT_POD)
  const message = {
    volumeId: volumeIdOf(MOUNT_POD),
    targetPath: target,
    readonly: true,
    volumeCapability: { mount: {}, accessMode: { mode: 1 } },
    volumeContext: Object.fromEntries(context),
  }
  return {
    running,
    client,
    target,
    publish: () => client.begin('csi.v1.Node', 'NodePublishVolume', message),
    messages,
    metricsText: async (path = '/metrics') => (await fetch(`http://${LOOPBACK}:${running.metricsPort}${path}`)).text(),
  }
}

const isWaiting = async ({ metricsText }: Started): Promise<boolean> => (await metricsText()).includes('access_gate_waiting_mounts 1')

await test('from a waiting Pod over the approval to its files and their end', async (t) => {
  const folder = await temporaryFolder(t)
  const kube = ground()
  const started = await start(t, folder, kube)
  const { client, target, metricsText } = started
  t.equal(await metricsText('/readyz'), 'ok\n')
  const call = started.publish()
  await untilTrue('the call waits', () => isWaiting(started))
  kube.allowIf(() => true)
  kube.put(ACCESS_REQUESTS, requestFor(HARBOR, STAGE.synced))
  t.match(await call.answer, { code: 0 })
  t.equal(await readFile(join(target, 'context.token'), 'utf8'), 'token-one')
  const text = await metricsText()
  t.match(text, 'access_gate_publishes_total{outcome="mounted"} 1')
  t.match(text, 'access_gate_volumes{kind="files"} 1')
  t.match(text, 'access_gate_volumes{kind="refused"} 0')
  t.match(text, /access_gate_csi_call_seconds_count\{method="NodePublishVolume",code="OK"\} 1/)
  t.match(text, /access_gate_watch_silence_seconds\{resource="pods"\} \d/)
  t.match(text, /process_resident_memory_bytes \d{7,}/)
  const unmount = await client.call('csi.v1.Node', 'NodeUnpublishVolume', { volumeId: volumeIdOf(MOUNT_POD), targetPath: target })
  t.match(unmount, { code: 0 })
  t.equal(await plainFiles.look(target), undefined)
  t.match(await metricsText(), 'access_gate_volumes{kind="files"} 0')
})

await test('health: the sockets are there, and kubelet did not refuse the plugin', async (t) => {
  const folder = await temporaryFolder(t)
  const kube = ground()
  const { metricsText } = await start(t, folder, kube)
  const socket = join(folder, 'connectors-csi-reg.sock')
  const kubelet = csiClient(socket)
  t.teardown(() => kubelet.close())
  const answers = async (): Promise<string[]> => [await metricsText('/healthz'), await metricsText('/readyz')]
  t.strictSame(await answers(), ['ok\n', 'ok\n'])
  await kubelet.call('pluginregistration.Registration', 'NotifyRegistrationStatus', { pluginRegistered: false, error: 'another version' })
  t.strictSame(await answers(), ['ok\n', 'kubelet did not take in the plugin; its log has the reason\n'])
  await kubelet.call('pluginregistration.Registration', 'NotifyRegistrationStatus', { pluginRegistered: true })
  t.strictSame(await answers(), ['ok\n', 'ok\n'])
  await rm(socket)
  t.match(await answers(), [/connectors-csi-reg\.sock was removed or replaced\n$/, /was removed or replaced\n$/])
})

await test('a plugin that stops answers the calls that wait at once, and leaves nothing of them', async (t) => {
  const folder = await temporaryFolder(t)
  const kube = ground()
  const started = await start(t, folder, kube)
  const call = started.publish()
  await untilTrue('the call waits', () => isWaiting(started))
  const [answer] = await Promise.all([call.answer, started.running.stop()])
  t.match(answer, { code: status.UNAVAILABLE, details: /the plugin is stopping; kubelet asks again/ })
  t.equal(await plainFiles.look(started.target), undefined)
  t.equal(kube.openWatches, 0)
  t.match(started.messages(), /info CSI plugin stopped/)
})

await test('a caller that gives up ends its wait', async (t) => {
  const folder = await temporaryFolder(t)
  const kube = ground()
  const started = await start(t, folder, kube)
  const call = started.publish()
  await untilTrue('the call waits', () => isWaiting(started))
  call.cancel()
  t.match(await call.answer, { code: status.CANCELLED })
  await untilTrue('nothing waits', async () => !(await isWaiting(started)))
  t.equal(await plainFiles.look(started.target), undefined)
})

await test('what cannot be used is said, and nothing runs on', async (t) => {
  const folder = await temporaryFolder(t)
  await writeFile(join(folder, 'state'), 'a file')
  const kube = memoryKube()
  const error = await start(t, folder, kube).then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  t.ok(isCoded(error, 'CONFIG_INVALID'))
  t.match(String(error), /the folder .*\/state \(--state-dir\) cannot be used/)

  const other = await temporaryFolder(t)
  await start(t, other, kube)
  await t.rejects(start(t, other, kube), { code: 'CONFIG_INVALID' }, 'another plugin serves the socket')
})
