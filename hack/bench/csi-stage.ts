/**
 * Nodes of this machine, each with a real kubelet and the CSI plugin: from the bundle, as a process of its own, with its own
 * ServiceAccount, and with the setting that the DaemonSet gives Node. It keeps plain files, so it need not be in the node's namespaces.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { CSI_DRIVER, SERVICE_ACCOUNT } from '../../src/api/names.ts'
import { waitFor } from '../control-plane/cluster-access.ts'
import type { ControlPlane } from '../control-plane/start.ts'
import { NodeFailure } from '../node/failure.ts'
import { resolveNode, type NodePrograms } from '../node/programs.ts'
import { placesOf } from '../node/settings.ts'
import { startNode, type RunningNode } from '../node/start.ts'
import { accountOf } from './ground.ts'
import { SectionSkipped, type BenchEnv } from './section.ts'
import { startRole, type RoleArgs, type RoleProcess } from './servers.ts'

const REGISTERED_MS = 60_000

export interface PluginPlaces {
  nodeName: string
  socket: string
  /** kubelet's root, with volumes of Pods in it. */
  kubeletDir: string
  registrationDir: string
}

/** Resolves when the plugin is ready; it ends with the section. */
export const startPlugin = async (env: BenchEnv, cluster: ControlPlane, { nodeName, socket, kubeletDir, registrationDir }: PluginPlaces, more: readonly string[] = []): Promise<RoleProcess> => {
  const account = await accountOf(cluster, SERVICE_ACCOUNT.csi)
  const args: RoleArgs = [
    'csi',
    `--node-name=${nodeName}`,
    `--endpoint=${socket}`,
    `--kubelet-endpoint=${socket}`,
    `--registration-dir=${registrationDir}`,
    `--kubelet-dir=${kubeletDir}`,
    '--log-level=warn',
    ...more,
  ]
  return startRole(env, `csi-${nodeName}`, account, args)
}

export interface CsiNode {
  node: RunningNode
  plugin: RoleProcess
  /** What containers say, with the time at which they said it. */
  podLogs: string
}

const isRegistered = async (cluster: ControlPlane, nodeName: string): Promise<boolean> => {
  const { status, text } = await cluster.call('GET', `/apis/storage.k8s.io/v1/csinodes/${nodeName}`)
  if (status !== 200) return false
  const { spec }: { spec: { drivers: { name: string }[] | null } } = JSON.parse(text)
  return spec.drivers?.some(({ name }) => name === CSI_DRIVER) ?? false
}

/** @throws SectionSkipped where this machine has no root, no container runtime, or is no Linux */
export const findNodePrograms = async ({ signal }: BenchEnv): Promise<NodePrograms> => {
  try {
    return await resolveNode({ signal })
  } catch (error) {
    throw error instanceof NodeFailure ? new SectionSkipped(error.message, { cause: error }) : error
  }
}

/** A node whose kubelet knows the plugin; it ends with the section. */
export const startCsiNode = async (env: BenchEnv, cluster: ControlPlane, programs: NodePrograms, nodeName: string, more: readonly string[] = []): Promise<CsiNode> => {
  const node = await startNode({ cluster, programs, nodeName, log: () => undefined, signal: env.signal })
  env.atEnd(() => node.stop())
  const { kubeletDir, registrationDir } = node
  const folder = join(kubeletDir, 'plugins', CSI_DRIVER)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const plugin = await startPlugin(env, cluster, { nodeName, socket: join(folder, 'csi.sock'), kubeletDir, registrationDir }, more)
  await waitFor(`the CSI plugin at kubelet ${nodeName}`, REGISTERED_MS, () => isRegistered(cluster, nodeName))
  return { node, plugin, podLogs: placesOf(join(kubeletDir, '..')).podLogs }
}
