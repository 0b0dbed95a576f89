/** A control plane of a test file's own with access-gate in it, for what changes the whole cluster. Everything is stopped at the end of the file. */
import { spawn, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import type { Test } from 'tap'
import { startControlPlane, type ControlPlane } from '../../hack/control-plane/start.ts'
import { startSandbox, type Sandbox } from '../../hack/sandbox/sandbox.ts'
import { SERVICE_ACCOUNT, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { defaultControllerOptions } from '../../src/controller/options.ts'
import { runController, type RunningController } from '../../src/controller/role.ts'
import { createClient } from '../../src/kube/client.ts'
import { LEASES } from '../../src/kube/resources.ts'
import { systemClock } from '../../src/kube/timers.ts'
import { createLogger } from '../../src/log.ts'
import { untilTrue } from './eventually.ts'
import { kill } from './processes.ts'

const LOOPBACK = '127.0.0.1'
const LEASE = 'access-gate-controller'

export interface PrivateSandbox {
  cluster: ControlPlane
  webhook: Sandbox['webhook']
  /** Starts a replica in this process; it has read everything then, and leads when nobody else does. */
  startController(): Promise<RunningController>
  /** Stops all replicas in this process. */
  stopControllers: () => Promise<void>
  /** @returns a replica in a process of its own, which can be killed, once it leads; those in this process are stopped */
  leadByProcess(): Promise<ChildProcess>
}

export const privateSandbox = async (t: Pick<Test, 'teardown'>): Promise<PrivateSandbox> => {
  const cluster = await startControlPlane({ log: () => undefined })
  t.teardown(() => cluster.stop())
  const running = await startSandbox({ cluster, log: () => undefined, logLevel: 'silent' })
  t.teardown(() => running.stop())

  const kubeconfigOfController = async (): Promise<string> =>
    cluster.kubeconfigFor({ name: SERVICE_ACCOUNT.controller, token: await cluster.serviceAccountToken(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.controller) })
  const admin = await createClient({ kubeconfig: cluster.adminKubeconfig, userAgent: 'access-gate-test' })
  t.teardown(() => admin.close())
  const holder = async (): Promise<string> => (await admin.get(LEASES, SYSTEM_NAMESPACE, LEASE))?.spec?.holderIdentity ?? ''

  const replicas = [running.controller]
  const stopControllers = async (): Promise<void> => {
    await Promise.all(replicas.splice(0).map((replica) => replica.stop()))
  }

  return {
    cluster,
    webhook: running.webhook,
    stopControllers,
    startController: async () => {
      const client = await createClient({ kubeconfig: await kubeconfigOfController(), userAgent: 'access-gate-test controller' })
      const options = { ...defaultControllerOptions(), metricsHost: LOOPBACK, metricsPort: 0 }
      const replica = await runController(options, client, { logger: createLogger({ level: 'silent' }), clock: systemClock })
      t.teardown(async () => {
        await replica.stop()
        client.close()
      })
      replicas.push(replica)
      await replica.ready
      return replica
    },
    leadByProcess: async () => {
      const before = await holder()
      const main = join(import.meta.dirname, '../../src/main.ts')
      const args = [main, 'controller', `--kubeconfig=${await kubeconfigOfController()}`, `--metrics-host=${LOOPBACK}`, '--metrics-port=0', '--log-level=silent']
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] })
      t.teardown(async () => {
        if (child.exitCode === null && child.signalCode === null) await kill(child, 'SIGKILL')
      })
      await stopControllers()
      await untilTrue('the process leads', async () => !['', before].includes(await holder()), 120_000)
      return child
    },
  }
}
