/** Controllers as the processes that ship, each with the token of the controller's own ServiceAccount, to be killed and stopped. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Test } from 'tap'
import { bundle } from '../../hack/build/bundle.ts'
import { readLines } from '../../hack/control-plane/guard-protocol.ts'
import { startControlPlane, type ControlPlane } from '../../hack/control-plane/start.ts'
import { ROOT } from '../../hack/project.ts'
import { startSandbox } from '../../hack/sandbox/sandbox.ts'
import { SERVICE_ACCOUNT, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import type { AccessRequest } from '../../src/api/access-request.ts'
import type { Pod } from '../../src/api/pod.ts'
import { LEASES, PODS } from '../../src/kube/resources.ts'
import { announceTests } from './counts.ts'
import { untilTrue } from './eventually.ts'
import { gatedWorld, type GatedWorld, type PodOptions } from './gated-world.ts'
import { persist, persistentWorld } from './persistent-world.ts'
import { temporaryFolder } from './temporary-folder.ts'

export interface LogLine {
  level: string
  msg: string
  [field: string]: unknown
}

export interface Replica {
  readonly pid: number
  /** As it logs itself; false once it has ended. */
  readonly leads: boolean
  /** All that it has logged. */
  readonly lines: readonly LogLine[]
  /** Sends a signal; one that ends the process is waited for. */
  signal(signal: 'SIGKILL' | 'SIGTERM' | 'SIGSTOP' | 'SIGCONT'): Promise<void>
}

export interface Fleet {
  cluster: ControlPlane
  world: GatedWorld
  /** The audit log of the API server. */
  auditLog: string
  /** All that were ever started. */
  readonly replicas: readonly Replica[]
  /** @param kubeconfig left out: straight to the API server */
  start(kubeconfig?: string): Promise<Replica>
  /** The token of the controller's ServiceAccount. */
  token(): Promise<string>
  /** Waits until one of these leads. */
  leader(among: readonly Replica[]): Promise<Replica>
  /**
   * A Pod with its request. Where the hook was too slow on a busy machine, the Pod was admitted without one, as it should be: then it
   * is made anew.
   */
  pod(name: string, connector: string, options?: PodOptions): Promise<{ pod: Pod; request: AccessRequest }>
  /** An ApprovalTask that says approved; tried again where a busy API server did not answer. */
  approve(task: string): Promise<void>
  /** So that nobody waits for a leader that is surely dead. */
  dropLease(): Promise<void>
}

const LOOPBACK = '127.0.0.1'
const LEASE = 'access-gate-controller'
const TOKEN_SECONDS = 24 * 60 * 60
const LEADS_WITHIN_MS = 120_000

const startReplica = (program: string, kubeconfig: string): Replica => {
  const args = [program, 'controller', `--kubeconfig=${kubeconfig}`, `--metrics-host=${LOOPBACK}`, '--metrics-port=0']
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const lines: LogLine[] = []
  let leads = false
  let ended = false
  child.stdout.setEncoding('utf8').on(
    'data',
    readLines((text) => {
      const line: LogLine = JSON.parse(text)
      lines.push(line)
      if (line.msg === 'leading') leads = true
      if (line.msg === 'no longer leading') leads = false
    }),
  )
  child.once('exit', () => {
    ended = true
  })
  return {
    pid: child.pid ?? -1,
    get leads() {
      return leads && !ended
    },
    lines,
    signal: async (signal) => {
      if (ended) return
      const exit = once(child, 'exit')
      child.kill(signal)
      if (signal === 'SIGKILL' || signal === 'SIGTERM') await exit
    },
  }
}

/** A control plane with the webhook in this process and no controller yet. Everything ends with the test. */
export const controllerFleet = async (t: Pick<Test, 'teardown' | 'beforeEach'>): Promise<Fleet> => {
  announceTests(t)
  const folder = await temporaryFolder(t)
  const auditLog = join(folder, 'audit.log')
  const cluster = await startControlPlane({ log: () => undefined, auditLog })
  t.teardown(() => cluster.stop())
  const [{ file }, sandbox] = await Promise.all([
    bundle({ root: ROOT, entry: 'src/main.ts', outDir: join(folder, 'program'), name: 'access-gate' }),
    startSandbox({ cluster, log: () => undefined, logLevel: 'silent' }),
  ])
  t.teardown(() => sandbox.stop())
  await sandbox.controller.stop()
  const world = await gatedWorld(t, cluster)
  const { kube } = world
  const patient = persistentWorld(world)
  const replicas: Replica[] = []
  const token = (): Promise<string> => cluster.serviceAccountToken(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.controller, { seconds: TOKEN_SECONDS })
  const direct = await cluster.kubeconfigFor({ name: SERVICE_ACCOUNT.controller, token: await token() })
  t.teardown(async () => {
    await Promise.all(replicas.map((replica) => replica.signal('SIGKILL')))
  })
  return {
    cluster,
    world,
    auditLog,
    replicas,
    token,
    start: async (kubeconfig = direct) => {
      const replica = startReplica(file, kubeconfig)
      replicas.push(replica)
      await untilTrue('the controller has read everything', () => replica.lines.some(({ msg }) => msg.startsWith('everything was read')), LEADS_WITHIN_MS)
      return replica
    },
    leader: async (among) => {
      let leader: Replica | undefined
      await untilTrue('a controller leads', () => (leader = among.find(({ leads }) => leads)) !== undefined, LEADS_WITHIN_MS)
      if (leader === undefined) throw new Error('no controller leads')
      return leader
    },
    pod: (name, connector, options) =>
      persist(`Pod ${name} with a request`, async () => {
        const pod = (await kube.get(PODS, world.work, name)) ?? (await world.pod(name, [connector], options))
        const [request] = await world.requestsOf(pod)
        if (request !== undefined) return { pod, request }
        await kube.remove(PODS, world.work, name)
        throw new Error('the hook was too slow to make a request for it')
      }),
    approve: (task) => patient.task(task, 'approved'),
    dropLease: async () => {
      await kube.remove(LEASES, SYSTEM_NAMESPACE, LEASE)
    },
  }
}
