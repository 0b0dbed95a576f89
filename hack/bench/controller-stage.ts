/**
 * A control plane with everything of access-gate but its webhook: Pods and requests are made here as the webhook would leave them, so
 * that populating costs no admission reviews. The controller is a process of its own, from the bundle, with its own ServiceAccount.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { AccessRequest } from '../../src/api/access-request.ts'
import type { KubeObject } from '../../src/api/meta.ts'
import { CSI_DRIVER, LABEL, SERVICE_ACCOUNT, serviceAccountUser, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import type { Pod } from '../../src/api/pod.ts'
import { buildRequest } from '../../src/core/request-identity.ts'
import { createClient, type KubeClient } from '../../src/kube/client.ts'
import type { Resource } from '../../src/kube/ports.ts'
import { ACCESS_REQUESTS, PODS } from '../../src/kube/resources.ts'
import type { ControlPlane } from '../control-plane/start.ts'
import { waitFor } from '../control-plane/cluster-access.ts'
import { freePort } from '../control-plane/free-port.ts'
import { APPROVAL_CONTROLLER, approvalControllerToken } from '../sandbox/approval-project.ts'
import { applyManifests, applySamples } from '../sandbox/manifests.ts'
import { writePodAccount } from './pod-account.ts'
import { cpuMicroseconds, rssMegabytes } from './process-figures.ts'
import type { BenchEnv } from './section.ts'
import { LOOPBACK } from './servers.ts'

const TOKEN_SECONDS = 24 * 60 * 60
const START_MS = 120_000
const STOP_MS = 30_000
/** From samples.yaml. */
export const SHARED = 'connectors-shared'
export const WORK = 'cicd'
export const CONNECTOR = 'prod-harbor'
export const ACCOUNT = 'builder'
/** The label that the shipped check template joins Pods and ApprovalTasks by. */
const RUN = 'tekton.dev/pipelineRun'

/** Of a Pod that is gated, as our webhook leaves it. */
export const gatedLabels = (run: string): Record<string, string> => ({ [RUN]: run, [LABEL.gated]: 'true' })
/** The volume that makes a Pod a gated one. */
export const CONNECTOR_VOLUME = { name: 'connectors', csi: { driver: CSI_DRIVER, readOnly: true, volumeAttributes: { connectors: `${SHARED}/${CONNECTOR}` } } }

export interface ApprovalTask extends KubeObject {
  status?: object
}
export const APPROVAL_TASKS: Resource<ApprovalTask> = { apiVersion: 'openshift-pipelines.org/v1alpha1', kind: 'ApprovalTask', plural: 'approvaltasks', namespaced: true }

export interface Stage {
  cluster: ControlPlane
  /** As the administrator. */
  admin: KubeClient
  /** As the approval controller, which alone may write the status of ApprovalTasks. */
  approver: KubeClient
  /** A client with the rights of the controller. */
  asController(userAgent: string): Promise<KubeClient>
  startController(): Promise<ControllerProcess>
}

/** The controller under measurement. */
export interface ControllerProcess {
  pid: number
  /** Samples of /metrics by their whole name, labels and all. */
  metrics(): Promise<Map<string, number>>
  /** Milliseconds of CPU that the process has used, all threads. */
  cpuMs(): Promise<number>
  /** Resident memory now and at its highest, in MB (1,000,000 bytes). */
  memory(): Promise<{ nowMb: number; peakMb: number }>
  /** An orderly end, so that the next one need not wait for the lease. */
  stop(): Promise<void>
}

const controllerKubeconfig = async (cluster: ControlPlane): Promise<string> => {
  const name = SERVICE_ACCOUNT.controller
  return cluster.kubeconfigFor({ name, token: await cluster.serviceAccountToken(SYSTEM_NAMESPACE, name, { seconds: TOKEN_SECONDS }) })
}

/** Manifests without what only the webhook serves. */
const prepare = async (cluster: ControlPlane): Promise<void> => {
  await applyManifests(cluster, await freePort())
  // Nobody serves them here.
  await cluster.kubectl(['delete', 'validatingwebhookconfiguration,mutatingwebhookconfiguration', '--all'])
  await waitFor('the API server without the webhook', START_MS, async () => {
    const answer = await cluster.call('POST', `/apis/connectors.alauda.io/v1alpha1/namespaces/${SYSTEM_NAMESPACE}/accesspolicies?dryRun=All`, {
      apiVersion: 'connectors.alauda.io/v1alpha1',
      kind: 'AccessPolicy',
      metadata: { name: 'is-the-webhook-gone' },
      spec: {},
    })
    return answer.status === 201
  })
  await applySamples(cluster)
}

/** Resident memory now and at its highest, in MB (1,000,000 bytes). */
export const memoryOf = async (pid: number): Promise<{ nowMb: number; peakMb: number }> => {
  const peakKb = /^VmHWM:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1]
  if (peakKb === undefined) throw new Error('this is no /proc/<pid>/status of a running process')
  return { nowMb: await rssMegabytes(pid), peakMb: (Number(peakKb) * 1024) / 1e6 }
}

const samplesOf = (text: string): Map<string, number> =>
  new Map(
    text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  )

const hasEnded = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null

const end = async (child: ChildProcess): Promise<void> => {
  if (hasEnded(child)) return
  const gone = once(child, 'exit')
  child.kill('SIGTERM')
  const late = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
  await gone
  clearTimeout(late)
}

const startController = async (bundle: string, cluster: ControlPlane, folder: string): Promise<{ child: ChildProcess; running: ControllerProcess }> => {
  const port = await freePort()
  const { server, caPem } = cluster
  const token = await cluster.serviceAccountToken(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.controller, { seconds: TOKEN_SECONDS })
  const pod = await writePodAccount(join(folder, 'controller-account'), { server, caPem, token })
  const args = [bundle, 'controller', ...pod.args, `--metrics-host=${LOOPBACK}`, `--metrics-port=${port}`, '--log-level=warn']
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, ...pod.env } })
  await once(child, 'spawn')
  const { pid } = child
  if (pid === undefined) throw new Error('the controller has no process id')
  const running: ControllerProcess = {
    pid,
    metrics: async () => {
      if (hasEnded(child)) throw new Error(`the controller ended by itself (${child.exitCode ?? child.signalCode})`)
      try {
        return samplesOf(await (await fetch(`http://${LOOPBACK}:${port}/metrics`)).text())
      } catch (error) {
        // Its port is not open yet.
        if (error instanceof TypeError) return new Map()
        throw error
      }
    },
    cpuMs: async () => (await cpuMicroseconds(pid)) / 1000,
    memory: () => memoryOf(pid),
    stop: () => end(child),
  }
  return { child, running }
}

/** Everything that a measurement of the controller stands on. */
export const openStage = async (env: BenchEnv): Promise<Stage> => {
  const [bundle, cluster] = await Promise.all([env.bundle(), env.cluster()])
  await prepare(cluster)
  const client = async (kubeconfig: string, userAgent: string): Promise<KubeClient> => {
    const made = await createClient({ kubeconfig, userAgent, requestTimeoutMs: 60_000 })
    env.atEnd(() => made.close())
    return made
  }
  return {
    cluster,
    admin: await client(cluster.adminKubeconfig, 'access-gate bench'),
    approver: await client(await cluster.kubeconfigFor({ name: APPROVAL_CONTROLLER, token: await approvalControllerToken(cluster) }), 'access-gate bench approver'),
    asController: async (userAgent) => client(await controllerKubeconfig(cluster), userAgent),
    startController: async () => {
      const { child, running } = await startController(bundle, cluster, env.folder)
      env.atEnd(() => end(child))
      return running
    },
  }
}

/** Runs jobs, so many at a time; stops at the first that fails, or when the benchmark is ended. */
export const inParallel = async (env: BenchEnv, width: number, count: number, job: (index: number) => Promise<unknown>): Promise<void> => {
  let next = 0
  const work = async (): Promise<void> => {
    while (next < count) {
      env.signal.throwIfAborted()
      const index = next
      next += 1
      try {
        await job(index)
      } catch (error) {
        next = count
        throw error
      }
    }
  }
  await Promise.all(Array.from({ length: width }, work))
}

/** A Pod with a container or two's worth of text, as real ones have. */
const podOf = (name: string, labels: Record<string, string>, volumes: NonNullable<Pod['spec']>['volumes']): Pod => {
  const env = Array.from({ length: 12 }, (_, index) => ({ name: `SETTING_${index}`, value: `value ${index} of a Pod as pipelines make them` }))
  const spec = { serviceAccountName: ACCOUNT, containers: [{ name: 'step', image: 'registry.example/step:1', env }], volumes: volumes ?? [] }
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: WORK, labels }, spec }
}

export const createOtherPod = ({ admin }: Stage, name: string): Promise<Pod> => admin.create(PODS, podOf(name, { app: 'other' }, []))

/** The request of a gated Pod, as our webhook would leave it. */
export const requestAccess = ({ admin }: Stage, { metadata: { name, uid = '' } }: Pod): Promise<AccessRequest> => {
  const identity = { connector: { namespace: SHARED, name: CONNECTOR }, pod: { namespace: WORK, name, uid }, serviceAccount: ACCOUNT }
  return admin.create(ACCESS_REQUESTS, buildRequest(identity, serviceAccountUser(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.webhook)))
}

/** A Pod and its request as our webhook would leave them; the run has the name of the Pod. */
export const createGatedPod = async (stage: Stage, name: string, labels: Record<string, string> = {}): Promise<AccessRequest> =>
  requestAccess(stage, await stage.admin.create(PODS, podOf(name, { ...gatedLabels(name), ...labels }, [CONNECTOR_VOLUME])))

/** The ApprovalTask of a run, not decided yet. */
export const createTask = ({ admin }: Stage, run: string): Promise<ApprovalTask> =>
  admin.create(APPROVAL_TASKS, { ...APPROVAL_TASKS_HEAD, metadata: { name: run, namespace: WORK, labels: { [RUN]: run } } })

const APPROVAL_TASKS_HEAD = { apiVersion: APPROVAL_TASKS.apiVersion, kind: APPROVAL_TASKS.kind }

export const setTaskState = ({ approver }: Stage, task: ApprovalTask, state: string): Promise<ApprovalTask> =>
  approver.replaceStatus(APPROVAL_TASKS, { ...APPROVAL_TASKS_HEAD, metadata: task.metadata, status: { state, approversResponse: [{ name: 'bob', type: 'User', response: state }] } })
