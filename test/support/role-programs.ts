/** Webhook, controller and CSI plugin as programs of a node, each with the token of its own ServiceAccount; they can be ended, killed and started again. */
import { join } from 'node:path'
import { freePort } from '../../hack/control-plane/free-port.ts'
import type { ControlPlane } from '../../hack/control-plane/start.ts'
import type { RunningNode } from '../../hack/node/start.ts'
import { CSI_DRIVER, SERVICE_ACCOUNT, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { untilTrue } from './eventually.ts'

type Role = keyof typeof SERVICE_ACCOUNT

/** One of our programs, on the node, where everything ends with the test. */
export interface RoleProgram {
  /** By SIGTERM, as a rollout does. */
  end(): Promise<void>
  /** By SIGKILL. */
  kill(): Promise<void>
  /** As it was; returns when it is ready and at work. */
  restart(): Promise<void>
  pid(): Promise<number>
  /** The sum of a metric over the label sets that hold these labels; 0 when there is none. */
  metric(name: string, labels?: Record<string, string>): Promise<number>
}

const LOOPBACK = '127.0.0.1'
const TOKEN_SECONDS = 24 * 60 * 60
const UP_WITHIN_MS = 120_000

/** What the DaemonSet of the plugin sets: a small young generation, no more powers than these, and none that come later. */
const ofDaemonSet = (capabilities: readonly string[]): string[] => [
  'NODE_OPTIONS=--max-semi-space-size=1',
  'setpriv',
  '--no-new-privs',
  '--inh-caps=-all',
  `--bounding-set=-all,${capabilities.map((name) => `+${name}`).join(',')}`,
  '--',
]

const sumOf = (text: string, name: string, labels: Record<string, string>): number => {
  const wanted = Object.entries(labels).map(([key, value]) => `${key}="${value}"`)
  const lines = text.split('\n').filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
  return lines.filter((line) => wanted.every((label) => line.includes(label))).reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
}

/** What roles are started with. */
export interface Ground {
  cluster: ControlPlane
  node: RunningNode
  /** As it is shipped: one file, which starts faster than the sources. */
  program: string
}

export interface RoleStart extends Ground {
  role: Role
  more: readonly string[]
  /** Before the program: what env(1) takes. */
  before?: readonly string[]
  /** At work, which ready alone does not say. */
  isAtWork: (metric: RoleProgram['metric']) => Promise<boolean>
}

/** @returns once it is ready and at work. @throws Error with the end of its log when it ends instead */
export const startRole = async ({ cluster, node, program, role, more, before = [], isAtWork }: RoleStart): Promise<RoleProgram> => {
  const name = SERVICE_ACCOUNT[role]
  const kubeconfig = await cluster.kubeconfigFor({ name, token: await cluster.serviceAccountToken(SYSTEM_NAMESPACE, name, { seconds: TOKEN_SECONDS }) })
  const metricsPort = await freePort()
  const at = `http://${LOOPBACK}:${metricsPort}`
  const options = [`--kubeconfig=${kubeconfig}`, `--metrics-host=${LOOPBACK}`, `--metrics-port=${metricsPort}`, '--log-level=info', ...more]
  const metric: RoleProgram['metric'] = async (metricName, labels = {}) => sumOf(await (await fetch(`${at}/metrics`)).text(), metricName, labels)
  const isUp = async (): Promise<boolean> => {
    const ended = node.endOf(role)
    if (ended !== undefined) throw new Error(`the ${role} ended at its start (${ended}): ${(await node.logs(role)).trim().split('\n').slice(-12).join('\n')}`)
    // Refused until the port is open.
    const isReady = await fetch(`${at}/readyz`, { signal: AbortSignal.timeout(2_000) }).then(({ ok }) => ok, () => false)
    return isReady && (await isAtWork(metric))
  }
  const untilUp = (): Promise<void> => untilTrue(`the ${role} is at work`, isUp, UP_WITHIN_MS)
  await node.run({ name: role, command: '/usr/bin/env', args: [...before, process.execPath, program, role, ...options] })
  await untilUp()
  return {
    end: () => node.end(role),
    kill: () => node.kill(role),
    restart: async () => {
      await node.restart(role)
      await untilUp()
    },
    pid: async () => (await node.pidOf(role)) ?? -1,
    metric,
  }
}

/** What the plugin remembers is with its socket. */
export const pluginFolder = (node: RunningNode): string => join(node.kubeletDir, 'plugins', CSI_DRIVER)

export const startPlugin = (ground: Ground, more: readonly string[]): Promise<RoleProgram> => {
  const { node } = ground
  const socket = join(pluginFolder(node), 'csi.sock')
  const places = [`--endpoint=${socket}`, `--kubelet-endpoint=${socket}`, `--registration-dir=${node.registrationDir}`, `--kubelet-dir=${node.kubeletDir}`]
  return startRole({
    ...ground,
    role: 'csi',
    more: [`--node-name=${node.nodeName}`, ...places, ...more],
    before: ofDaemonSet(more.includes('--tmpfs') ? ['chown', 'sys_admin'] : ['chown']),
    isAtWork: async (metric) => (await metric('access_gate_csi_registered')) === 1,
  })
}
