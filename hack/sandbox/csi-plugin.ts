/** The CSI plugin on a node of this machine: a process of its own, in the node's namespaces, with the token of its own ServiceAccount. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { CSI_DRIVER, SERVICE_ACCOUNT, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { waitFor, type ClusterAccess } from '../control-plane/cluster-access.ts'
import { freePort } from '../control-plane/free-port.ts'
import type { RunningNode } from '../node/start.ts'
import { ROOT } from '../project.ts'

export interface CsiPluginOptions {
  /** The shipped manifests are applied. */
  cluster: ClusterAccess
  node: RunningNode
  /** The program, as this Node takes it. Default: the sources; `dist/access-gate.js` is what is shipped. */
  program?: string
  /** More options of `access-gate csi`, such as `--tmpfs` or `--no-wait`. */
  more?: readonly string[]
  /** Default `warn`. */
  logLevel?: 'debug' | 'info' | 'warn' | 'error' | 'silent'
}

export interface CsiPlugin {
  metricsPort: number
  /** Its sockets, and what it remembers of the volumes of the node. */
  folder: string
  /** What it logged, over all of its starts. */
  logs(): Promise<string>
  /** Its process id, as this machine knows it; undefined while it does not run. */
  pid(): Promise<number | undefined>
  /** Ends it by SIGTERM. */
  stop(): Promise<void>
  /** Ends it by SIGKILL. */
  kill(): Promise<void>
  /** Starts it again after stop or kill; returns once kubelet knows it. */
  restart(): Promise<void>
}

const LOOPBACK = '127.0.0.1'
/** Name of the program among those of the node. */
export const PLUGIN = 'csi'
const TOKEN_SECONDS = 24 * 60 * 60
const UP_WITHIN_MS = 120_000

interface CsiNode {
  spec: { drivers: { name: string }[] | null }
}

/** kubelet writes down which drivers it knows. Of a plugin that comes back it says nothing: it was there all the time. */
const isRegistered = async (cluster: ClusterAccess, nodeName: string): Promise<boolean> => {
  const { status, text } = await cluster.call('GET', `/apis/storage.k8s.io/v1/csinodes/${nodeName}`)
  if (status !== 200) return false
  const { spec }: CsiNode = JSON.parse(text)
  return spec.drivers?.some(({ name }) => name === CSI_DRIVER) ?? false
}

/**
 * Starts the plugin; kubelet knows it when this returns. It ends with the node.
 * @throws Error with the end of its log when it does not come up
 */
export const startCsiPlugin = async ({ cluster, node, program = join(ROOT, 'src/main.ts'), more = [], logLevel = 'warn' }: CsiPluginOptions): Promise<CsiPlugin> => {
  const token = await cluster.serviceAccountToken(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.csi, { seconds: TOKEN_SECONDS })
  const kubeconfig = await cluster.kubeconfigFor({ name: SERVICE_ACCOUNT.csi, token })
  const folder = join(node.kubeletDir, 'plugins', CSI_DRIVER)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const socket = join(folder, 'csi.sock')
  const metricsPort = await freePort()
  const args = [
    program,
    'csi',
    `--kubeconfig=${kubeconfig}`,
    `--node-name=${node.nodeName}`,
    `--endpoint=${socket}`,
    `--kubelet-endpoint=${socket}`,
    `--registration-dir=${node.registrationDir}`,
    `--kubelet-dir=${node.kubeletDir}`,
    `--state-dir=${folder}`,
    `--metrics-host=${LOOPBACK}`,
    `--metrics-port=${metricsPort}`,
    `--log-level=${logLevel}`,
    ...more,
  ]
  const logs = (): Promise<string> => node.logs(PLUGIN)

  const isUp = async (): Promise<boolean> => {
    const ended = node.endOf(PLUGIN)
    if (ended !== undefined) throw new Error(`the CSI plugin ended at its start (${ended}): ${(await logs()).trim().split('\n').slice(-5).join('\n')}`)
    const isReady = await fetch(`http://${LOOPBACK}:${metricsPort}/readyz`, { signal: AbortSignal.timeout(1_000) }).then(({ ok }) => ok, () => false)
    return isReady && (await isRegistered(cluster, node.nodeName))
  }
  const untilUp = (): Promise<void> => waitFor(`the CSI plugin of ${node.nodeName}`, UP_WITHIN_MS, isUp)

  await node.run({ name: PLUGIN, command: process.execPath, args })
  await untilUp()
  return {
    metricsPort,
    folder,
    logs,
    pid: () => node.pidOf(PLUGIN),
    stop: () => node.end(PLUGIN),
    kill: () => node.kill(PLUGIN),
    restart: async () => {
      await node.restart(PLUGIN)
      await untilUp()
    },
  }
}
