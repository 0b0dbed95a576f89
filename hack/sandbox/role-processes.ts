/** Webhook and controller as processes of their own, each with the token of its own ServiceAccount, as in a cluster. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { SERVICE_ACCOUNT, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { waitFor, type ClusterAccess } from '../control-plane/cluster-access.ts'
import { freePort } from '../control-plane/free-port.ts'
import { readLines } from '../control-plane/guard-protocol.ts'
import { ROOT } from '../project.ts'
import { connectInspector, type Inspector } from './inspector.ts'
import { applyManifests } from './manifests.ts'
import { waitForAdmission } from './sandbox.ts'

export type ProcessRole = 'webhook' | 'controller'

/** A line of a role's log, from `warn` on. */
export interface LogLine {
  level: string
  msg: string
  [field: string]: unknown
}

export interface RoleProcess {
  role: ProcessRole
  pid: number
  /** What it logged from `warn` on, and what it said on standard error. */
  complaints: LogLine[]
  /** How it ended; undefined while it runs. */
  ended: () => string | undefined
  /** The value of a metric without labels; undefined when there is none. @throws Error when the process does not answer */
  metric: (name: string) => Promise<number | undefined>
  inspector: Inspector
  /** Open files and sockets; undefined where the system does not tell. */
  openFiles: () => Promise<number | undefined>
  kill: (signal: NodeJS.Signals) => Promise<void>
}

export interface RoleProcesses {
  webhook: RoleProcess
  controller: RoleProcess
  /** More calls change nothing. */
  stop(): Promise<void>
}

export interface RoleProcessOptions {
  cluster: ClusterAccess
  /** Left out: straight to the API server. */
  kubeconfigFor?: (user: { name: string; token: string }) => Promise<string>
}

const LOOPBACK = '127.0.0.1'
const TOKEN_SECONDS = 24 * 60 * 60
const UP_WITHIN_MS = 120_000
/** From SIGTERM to SIGKILL, milliseconds. */
const STOP_WITHIN_MS = 20_000

/** However the starter ends, its end of the pipe closes; a role itself reads no input. */
const END_WITH_STARTER = '--import=data:text/javascript,process.stdin.resume().unref().on("end", () => process.exit(1))'

/** What Node says of its own because of --inspect. */
const INSPECTOR_SAYS = /^(For help, see: |Debugger (attached|ending)|Waiting for the debugger)/

const readMetric = (text: string, name: string): number | undefined => {
  const line = text.split('\n').find((one) => one.startsWith(`${name} `))
  return line === undefined ? undefined : Number(line.slice(name.length + 1))
}

/** Why it ended, for a message. */
const endOf = ({ exitCode, signalCode }: ChildProcess): string | undefined => {
  if (signalCode !== null) return `signal ${signalCode}`
  return exitCode === null ? undefined : `exit code ${exitCode}`
}

const startRole = async (role: ProcessRole, kubeconfig: string, more: readonly string[]): Promise<RoleProcess> => {
  const metricsPort = await freePort()
  const args = [END_WITH_STARTER, '--inspect=127.0.0.1:0', join(ROOT, 'src/main.ts'), role, `--kubeconfig=${kubeconfig}`, `--metrics-host=${LOOPBACK}`, `--metrics-port=${metricsPort}`, ...more]
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'pipe'] })
  const complaints: LogLine[] = []
  const debuggerUrl = Promise.withResolvers<string>()
  child.stdout.setEncoding('utf8').on(
    'data',
    readLines((text) => {
      const line: LogLine = JSON.parse(text)
      if (!['info', 'debug'].includes(line.level)) complaints.push(line)
    }),
  )
  child.stderr.setEncoding('utf8').on(
    'data',
    readLines((text) => {
      const [, url] = /^Debugger listening on (ws:\S+)$/.exec(text) ?? []
      if (url !== undefined) debuggerUrl.resolve(url)
      else if (!INSPECTOR_SAYS.test(text)) complaints.push({ level: 'stderr', msg: text })
    }),
  )
  child.once('exit', () => debuggerUrl.reject(new Error(`the ${role} ended (${endOf(child)}): ${complaints.map(({ msg }) => msg).join('; ')}`)))
  const kill = async (signal: NodeJS.Signals): Promise<void> => {
    if (endOf(child) !== undefined) return
    const exit = once(child, 'exit')
    child.kill(signal)
    await exit
  }
  try {
    const inspector = await connectInspector(await debuggerUrl.promise)
    const pid = child.pid ?? -1
    const files = `/proc/${pid}/fd`
    return {
      role,
      pid,
      complaints,
      inspector,
      kill,
      ended: () => endOf(child),
      metric: async (name) => readMetric(await (await fetch(`http://${LOOPBACK}:${metricsPort}/metrics`)).text(), name),
      openFiles: async () => (existsSync(files) ? (await readdir(files)).length : undefined),
    }
  } catch (error) {
    await kill('SIGKILL')
    throw error
  }
}

const stopRole = async ({ kill, inspector }: RoleProcess): Promise<void> => {
  inspector.close()
  const force = setTimeout(() => void kill('SIGKILL'), STOP_WITHIN_MS)
  await kill('SIGTERM')
  clearTimeout(force)
}

/**
 * Applies the shipped manifests and starts both roles; the controller leads when it returns.
 * @throws Error when a part does not come up; what was started is stopped then
 */
export const startRoleProcesses = async ({ cluster, kubeconfigFor = (user) => cluster.kubeconfigFor(user) }: RoleProcessOptions): Promise<RoleProcesses> => {
  const port = await freePort()
  await applyManifests(cluster, port)
  const kubeconfigOf = async (name: string): Promise<string> =>
    kubeconfigFor({ name, token: await cluster.serviceAccountToken(SYSTEM_NAMESPACE, name, { seconds: TOKEN_SECONDS }) })
  const running: RoleProcess[] = []
  let stopped: Promise<void> | undefined
  const stopAll = async (): Promise<void> => {
    await Promise.all(running.map(stopRole))
  }
  const stop = (): Promise<void> => (stopped ??= stopAll())
  const start = async (role: ProcessRole, more: readonly string[]): Promise<RoleProcess> => {
    const started = await startRole(role, await kubeconfigOf(SERVICE_ACCOUNT[role]), more)
    running.push(started)
    return started
  }
  try {
    const webhook = await start('webhook', ['--self-signed', `--host=${LOOPBACK}`, `--port=${port}`, '--drain-seconds=0'])
    await waitForAdmission(cluster)
    const controller = await start('controller', [])
    await waitFor('the controller as leader', UP_WITHIN_MS, () => leads(controller))
    return { webhook, controller, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Whether the controller leads, as it says itself. */
export const leads = async (controller: RoleProcess): Promise<boolean> =>
  controller.metric('access_gate_leading').then((value) => value === 1, () => false)
