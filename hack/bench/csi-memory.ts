/**
 * What the plugin holds in memory: idle, with many mounts that wait, and with as many mounted volumes. Of kubelet there are its calls
 * alone, as it makes them, for Pods that nobody runs: it is the memory of the plugin that counts.
 */
import { createHash } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Client, credentials } from '@grpc/grpc-js'
import { PROXY_AUDIENCE } from '../../src/api/names.ts'
import { wireMethods, type Message } from '../../src/csi/wire/services.ts'
import { waitFor } from '../control-plane/cluster-access.ts'
import { ACCOUNT, CONNECTOR_VOLUME, inParallel, memoryOf, WORK, type Stage } from './controller-stage.ts'
import { metricOf } from './csi-metrics.ts'
import { approve, createGated, NODE_PODS, type GatedPod, type NodePod } from './csi-pods.ts'
import { startPlugin } from './csi-stage.ts'
import { rssMegabytes } from './process-figures.ts'
import type { BenchEnv } from './section.ts'
import type { RoleProcess } from './servers.ts'

/** kubelet's own bound of a mount call. */
const CALL_MS = 120_000
const TOKEN_SECONDS = 1_800
const WAITING_MS = 60_000
const SETTLE_MS = 5_000
const WIDTH = 16
const PLACE = { nodeName: 'bench-memory', image: 'access-gate.invalid/nobody-runs-it:1' }

export interface Memory {
  idleMb: number
  waitingMb: number
  mountedMb: number
  /** At its highest, over all of it. */
  peakMb: number
}

export interface MemoryStage {
  plugin: RoleProcess
  socket: string
  kubeletDir: string
}

/** A plugin alone, with the folders that kubelet would have made. */
export const startMemoryPlugin = async (env: BenchEnv, stage: Stage): Promise<MemoryStage> => {
  const folder = join(env.folder, 'memory')
  const [socket, kubeletDir, registrationDir] = [join(folder, 'csi.sock'), join(folder, 'kubelet'), join(folder, 'registration')]
  for (const each of [kubeletDir, registrationDir]) await mkdir(each, { recursive: true, mode: 0o700 })
  const plugin = await startPlugin(env, stage.cluster, { nodeName: PLACE.nodeName, socket, kubeletDir, registrationDir })
  return { plugin, socket, kubeletDir }
}

const openCalls = (env: BenchEnv, socket: string): ((message: Message) => Promise<void>) => {
  const method = wireMethods('csi.v1.Node').get('NodePublishVolume')
  if (method === undefined) throw new Error('csi.v1.Node has no NodePublishVolume')
  const client = new Client(`unix:${socket}`, credentials.createInsecure())
  env.atEnd(() => client.close())
  return (message) =>
    new Promise((resolve, reject) => {
      const options = { deadline: Date.now() + CALL_MS }
      client.makeUnaryRequest(method.path, method.requestSerialize, method.responseDeserialize, message, options, (error) => (error === null ? resolve() : reject(error)))
    })
}

/** The call that kubelet makes for the Pod's volume, token and all. */
const mountCall = async ({ admin }: Stage, kubeletDir: string, { metadata: { name, uid = '' } }: NodePod): Promise<Message> => {
  const targetPath = join(kubeletDir, 'pods', uid, 'volumes/kubernetes.io~csi', CONNECTOR_VOLUME.name, 'mount')
  await mkdir(dirname(targetPath), { recursive: true, mode: 0o750 })
  const token = await admin.issueToken({ serviceAccount: { namespace: WORK, name: ACCOUNT }, pod: { name, uid }, audience: PROXY_AUDIENCE, seconds: TOKEN_SECONDS })
  const kubelet = {
    'pod.name': name,
    'pod.namespace': WORK,
    'pod.uid': uid,
    'serviceAccount.name': ACCOUNT,
    ephemeral: 'true',
    'serviceAccount.tokens': JSON.stringify({ [PROXY_AUDIENCE]: token }),
  }
  const context = Object.fromEntries(Object.entries(kubelet).map(([key, value]) => [`csi.storage.k8s.io/${key}`, value]))
  return {
    volumeId: `csi-${createHash('sha256').update(targetPath).digest('hex')}`,
    targetPath,
    readonly: true,
    volumeCapability: { mount: {}, accessMode: { mode: 1 } },
    volumeContext: { ...CONNECTOR_VOLUME.csi.volumeAttributes, ...context },
  }
}

/** As kubelet says it once the container was started. */
const sayStarted = async ({ admin }: Stage, { metadata: { name } }: NodePod): Promise<void> => {
  const pod = await admin.get(NODE_PODS, WORK, name)
  if (pod === undefined) throw new Error(`the Pod ${name} is gone`)
  const container = { name: 'main', image: PLACE.image, imageID: '', ready: true, restartCount: 0, containerID: `containerd://${name}`, state: { running: { startedAt: new Date().toISOString() } } }
  await admin.replaceStatus(NODE_PODS, { ...pod, status: { ...pod.status, phase: 'Running', containerStatuses: [container] } })
}

/** kubelet asks for each volume again about once in a minute, each at its own time. @param roundMs in which all of them are asked for once */
const republish = async (env: BenchEnv, calls: readonly Message[], publish: (call: Message) => Promise<void>, roundMs: number): Promise<void> => {
  for (const call of calls) {
    await Promise.all([publish(call), delay(roundMs / calls.length, undefined, { signal: env.signal })])
  }
}

/** @param roundMs in which all mounted volumes are looked at again */
export const measureMemory = async (env: BenchEnv, stage: Stage, { plugin, socket, kubeletDir }: MemoryStage, count: number, roundMs: number): Promise<Memory> => {
  const { pid } = plugin.process
  const settled = async (): Promise<number> => {
    await delay(SETTLE_MS, undefined, { signal: env.signal })
    return rssMegabytes(pid)
  }
  const idleMb = await rssMegabytes(pid)
  const publish = openCalls(env, socket)
  const pods: GatedPod[] = []
  await inParallel(env, WIDTH, count, async (index) => pods.push(await createGated(stage, PLACE, `memory-${index}`)))
  const calls = await Promise.all(pods.map(({ pod }) => mountCall(stage, kubeletDir, pod)))

  const mounted = Promise.all(calls.map(publish))
  const whileWaiting = async (): Promise<number> => {
    await waitFor(`${count} mounts that wait`, WAITING_MS, async () => (await metricOf(plugin, 'access_gate_waiting_mounts')) === count)
    const waitingMb = await settled()
    await inParallel(env, WIDTH, count, async (index) => {
      const one = pods[index]
      if (one !== undefined) await approve(stage, one)
    })
    return waitingMb
  }
  const [waitingMb] = await Promise.all([whileWaiting(), mounted])

  await inParallel(env, WIDTH, count, async (index) => {
    const one = pods[index]
    if (one !== undefined) await sayStarted(stage, one.pod)
  })
  await republish(env, calls, publish, roundMs)
  const volumes = await metricOf(plugin, 'access_gate_volumes{kind="files"}')
  const again = await metricOf(plugin, 'access_gate_publishes_total{outcome="republished"}')
  if (volumes !== count || again !== count) throw new Error(`${volumes} volumes are mounted and ${again} were looked at again, instead of ${count}`)
  const mountedMb = await settled()
  const { peakMb } = await memoryOf(pid)
  return { idleMb, waitingMb, mountedMb, peakMb }
}
