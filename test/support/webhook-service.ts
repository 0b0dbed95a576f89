/**
 * Replicas of the webhook, or of the extension, as processes of their own behind what acts as their Service: the API server dials one
 * address, new connections go to the replicas that are ready, open ones stay where they are, and news of readiness arrives late.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import type { ClusterAccess } from '../../hack/control-plane/cluster-access.ts'
import { bundle } from '../../hack/build/bundle.ts'
import { freePort } from '../../hack/control-plane/free-port.ts'
import { ROOT } from '../../hack/project.ts'
import { SERVICE_ACCOUNT, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { startForwarder } from '../webhooks/sockets.ts'
import { untilTrue } from './eventually.ts'
import { kill } from './processes.ts'
import { temporaryFolder } from './temporary-folder.ts'

const LOOPBACK = '127.0.0.1'
const POLL_MS = 100
const READY_WITHIN_MS = 120_000
/** As kubelet does by default: so many in a row. One question that a busy machine answers late takes no replica out. */
const FAILURES = 3

/** As the API server dials it: the name that the certificate is for. */
export const WEBHOOK_HOST = `access-gate-webhook.${SYSTEM_NAMESPACE}.svc`

/** What a Service knows of a replica. */
export interface Endpoint {
  port: number
  metricsPort: number
}

export interface WebhookService {
  /** Where the API server dials. */
  port: number
  /** Connections so far, by the port of the replica that got them. */
  readonly connections: ReadonlyMap<number, number>
  /** Looks at its readiness from now on. */
  add(endpoint: Endpoint): void
}

/** Whether a replica says of itself that it is ready; no answer is a no. */
export const isReady = async ({ metricsPort }: Endpoint): Promise<boolean> => {
  try {
    return (await fetch(`http://${LOOPBACK}:${metricsPort}/readyz`, { signal: AbortSignal.timeout(2_000) })).ok
  } catch {
    // Not there yet, or not any more.
    return false
  }
}

/** @param lagMs how long a change of readiness takes until new connections follow it */
export const webhookService = async (t: Pick<Test, 'teardown'>, lagMs: number): Promise<WebhookService> => {
  const inUse: number[] = []
  const connections = new Map<number, number>()
  const stopped = new AbortController()
  let turn = 0
  const forwarder = await startForwarder(() => {
    turn += 1
    const port = inUse[turn % inUse.length]
    if (port !== undefined) connections.set(port, (connections.get(port) ?? 0) + 1)
    return port
  })
  const set = (port: number, ready: boolean): void => {
    const at = inUse.indexOf(port)
    if (ready && at < 0) inUse.push(port)
    if (!ready && at >= 0) inUse.splice(at, 1)
  }
  const watch = async (endpoint: Endpoint): Promise<void> => {
    let failures = FAILURES
    for (let seen = false; !stopped.signal.aborted; await delay(POLL_MS)) {
      failures = (await isReady(endpoint)) ? 0 : failures + 1
      const ready = failures < FAILURES
      if (ready === seen) continue
      seen = ready
      setTimeout(() => set(endpoint.port, ready), lagMs).unref()
    }
  }
  const watching: Promise<void>[] = []
  t.teardown(async () => {
    stopped.abort()
    await forwarder.close()
    await Promise.all(watching)
  })
  return { port: forwarder.port, connections, add: (endpoint) => void watching.push(watch(endpoint)) }
}

export interface Replica extends Endpoint {
  child: ChildProcess
  /** As Kubernetes ends a Pod. @returns the exit code, once it is gone */
  end(): Promise<number | null>
}

/** What it takes to start replicas. */
export interface Deployment {
  role: 'webhook' | 'extension'
  /** The program as it is shipped: one file, which starts faster than the sources. */
  program: string
  /** Of the role's own ServiceAccount. */
  kubeconfig: string
}

export const deploy = async (t: { teardown(end: () => Promise<void>): void }, cluster: ClusterAccess, role: Deployment['role'] = 'webhook'): Promise<Deployment> => {
  const name = SERVICE_ACCOUNT[role]
  const outDir = join(await temporaryFolder(t), 'program')
  const { file } = await bundle({ root: ROOT, entry: 'src/main.ts', outDir, name: 'access-gate' })
  return { role, program: file, kubeconfig: await cluster.kubeconfigFor({ name, token: await cluster.serviceAccountToken(SYSTEM_NAMESPACE, name) }) }
}

const running = new Set<ChildProcess>()
const killAll = (): void => running.forEach((child) => child.kill('SIGKILL'))

/** Also when the test breaks before it comes to its teardowns. One listener for all: a long roll-out has many replicas that still drain. */
const endWithUs = (child: ChildProcess): void => {
  if (running.size === 0) process.on('exit', killAll)
  running.add(child)
  child.once('exit', () => {
    running.delete(child)
    if (running.size === 0) process.off('exit', killAll)
  })
}

/** Starts `access-gate <role>`. @returns when it says that it is ready */
export const startReplica = async (t: Pick<Test, 'teardown'>, { role, program, kubeconfig }: Deployment, certificate: readonly string[]): Promise<Replica> => {
  const [port, metricsPort] = [await freePort(), await freePort()]
  const at = [`--host=${LOOPBACK}`, `--port=${port}`, `--metrics-host=${LOOPBACK}`, `--metrics-port=${metricsPort}`]
  const child = spawn(process.execPath, [program, role, `--kubeconfig=${kubeconfig}`, '--log-level=warn', ...at, ...certificate], { stdio: ['ignore', 'ignore', 'inherit'] })
  const isOver = (): boolean => child.exitCode !== null || child.signalCode !== null
  endWithUs(child)
  t.teardown(async () => {
    if (!isOver()) await kill(child, 'SIGKILL')
  })
  await untilTrue('the replica is ready', () => isOver() || isReady({ port, metricsPort }), READY_WITHIN_MS)
  if (isOver()) throw new Error(`the replica ended at its start with ${child.exitCode ?? child.signalCode}`)
  const end = async (): Promise<number | null> => {
    const exit = once(child, 'exit')
    child.kill('SIGTERM')
    await exit
    return child.exitCode
  }
  return { port, metricsPort, child, end }
}
