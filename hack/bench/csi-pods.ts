/** Pods that a kubelet of this machine runs, with and without our volume, and when their containers ran. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Pod } from '../../src/api/pod.ts'
import { createReflector } from '../../src/kube/reflector.ts'
import { PODS } from '../../src/kube/resources.ts'
import type { Resource } from '../../src/kube/ports.ts'
import { createStore } from '../../src/kube/store.ts'
import { systemClock, systemTimers, withDeadline } from '../../src/kube/timers.ts'
import { createLogger } from '../../src/log.ts'
import { waitFor } from '../control-plane/cluster-access.ts'
import { ACCOUNT, CONNECTOR_VOLUME, createTask, gatedLabels, inParallel, requestAccess, setTaskState, WORK, type ApprovalTask, type Stage } from './controller-stage.ts'
import type { CsiNode } from './csi-stage.ts'
import type { BenchEnv } from './section.ts'

const MAIN = 'main'
const MOUNTED_AT = '/connectors'
/** One of the files of a mounted Connector. */
const A_FILE = 'context.token'
const GONE_MS = 120_000
const SPEAKS_MS = 30_000
const WIDTH = 16

interface ContainerState {
  name: string
  image: string
  imageID: string
  ready: boolean
  restartCount: number
  containerID?: string
  state?: { running?: { startedAt: string }; terminated?: { exitCode: number; message?: string } }
}

/** As far as these measurements write and read it. */
export interface NodePod extends Pod {
  spec?: NonNullable<Pod['spec']> & {
    hostNetwork: true
    restartPolicy: string
    terminationGracePeriodSeconds: number
    tolerations: object[]
    containers: { name: string; image: string; imagePullPolicy: string; args: string[]; volumeMounts: object[] }[]
  }
  status?: { phase?: string; containerStatuses?: ContainerState[] }
}

export const NODE_PODS: Resource<NodePod> = { apiVersion: PODS.apiVersion, kind: PODS.kind, plural: PODS.plural, namespaced: true }

/** Which node, and which image its containers have. */
export interface Place {
  nodeName: string
  image: string
}

/** Both kinds say at once what they see, and then wait. */
const podOf = ({ nodeName, image }: Place, name: string, gated: boolean): NodePod => ({
  apiVersion: NODE_PODS.apiVersion,
  kind: NODE_PODS.kind,
  metadata: { name, namespace: WORK, labels: gated ? gatedLabels(name) : { app: 'ungated' } },
  spec: {
    serviceAccountName: ACCOUNT,
    nodeName,
    hostNetwork: true,
    restartPolicy: 'Never',
    terminationGracePeriodSeconds: 1,
    tolerations: [{ operator: 'Exists' }],
    containers: [
      {
        name: MAIN,
        image,
        imagePullPolicy: 'Never',
        args: ['list', '-wait', gated ? MOUNTED_AT : '/etc'],
        volumeMounts: gated ? [{ name: CONNECTOR_VOLUME.name, mountPath: MOUNTED_AT }] : [],
      },
    ],
    volumes: gated ? [CONNECTOR_VOLUME] : [],
  },
})

export const createUngated = ({ admin }: Stage, place: Place, name: string): Promise<NodePod> => admin.create(NODE_PODS, podOf(place, name, false))

/** A Pod whose request waits for its approval. */
export interface GatedPod {
  pod: NodePod
  task: ApprovalTask
}

export const createGated = async (stage: Stage, place: Place, name: string): Promise<GatedPod> => {
  const task = await setTaskState(stage, await createTask(stage, name), 'pending')
  const pod = await stage.admin.create(NODE_PODS, podOf(place, name, true))
  await requestAccess(stage, pod)
  return { pod, task }
}

/** @returns when the API server had taken the approval in, milliseconds since the epoch */
export const approve = async (stage: Stage, { task }: GatedPod): Promise<number> => {
  await setTaskState(stage, task, 'approved')
  return Date.now()
}

/** Of one container, milliseconds since the epoch. */
export interface Start {
  /** Its program said its first word: written down by the container runtime. */
  spoke: number
  /** The API said that it runs; kubelet looks once a second, and then writes the status. */
  shown: number
}

/** @returns the time of the first line of a container's log, milliseconds since the epoch; undefined when there is none */
export const firstWordAt = (log: string): number | undefined => {
  const time = /^(\S+) (?:stdout|stderr) [FP]/.exec(log)?.[1]
  const at = time === undefined ? Number.NaN : Date.parse(time)
  return Number.isNaN(at) ? undefined : at
}

export interface PodStarts {
  /** @throws Error when the container does not run within the bound (milliseconds), or runs without its files */
  of(pod: NodePod, node: Pick<CsiNode, 'podLogs'>, boundMs: number): Promise<Start>
  /** Deletes them, and waits until the kubelets have let them go. */
  end(pods: readonly NodePod[]): Promise<void>
}

const late = (what: string, boundMs: number) => (): Error => new Error(`${what} was not seen within ${boundMs / 1000} s`)

const isRunning = ({ status }: NodePod): boolean => status?.containerStatuses?.[0]?.state?.running !== undefined

/** A container may run a moment before its first line is written down. */
const spokeAt = async ({ metadata: { name, uid = '' }, spec }: NodePod, podLogs: string): Promise<number> => {
  const file = join(podLogs, `${WORK}_${name}_${uid}`, MAIN, '0.log')
  await waitFor(`the first word of the container of ${name}`, SPEAKS_MS, async () => firstWordAt(await readFile(file, 'utf8')) !== undefined)
  const log = await readFile(file, 'utf8')
  const at = firstWordAt(log) ?? Number.NaN
  const isGated = (spec?.volumes ?? []).some(({ csi }) => csi !== undefined)
  if (isGated && !log.includes(A_FILE)) throw new Error(`the container of ${name} runs without ${A_FILE}; it sees: ${log.slice(0, 500)}`)
  return at
}

/** Watches the Pods of the namespace, as the administrator. */
export const watchStarts = async (env: BenchEnv, { admin }: Stage): Promise<PodStarts> => {
  const logger = createLogger({ level: 'warn', destination: process.stderr })
  const store = createStore<NodePod>({ log: logger })
  const ending = new AbortController()
  const ended = Promise.withResolvers<never>()
  // Whoever waits gets it; nobody has to.
  ended.promise.catch(() => undefined)
  const around = { clock: systemClock, timers: systemTimers, random: Math.random, log: logger }
  const reflector = createReflector({ kube: admin, resource: NODE_PODS, namespace: WORK, store, ...around })
  const running = reflector.run(ending.signal)
  env.atEnd(async () => {
    ending.abort()
    ended.reject(new Error('the Pods are watched no more'))
    await running
  })
  await reflector.synced
  const shownAt = new Map<string, number>()
  const told = new Map<string, (at: number) => void>()
  const gone = new Map<string, () => void>()
  store.onChange(({ type, object }) => {
    const at = Date.now()
    const { uid = '' } = object.metadata
    if (type === 'deleted') gone.get(uid)?.()
    if (!isRunning(object) || shownAt.has(uid)) return
    shownAt.set(uid, at)
    told.get(uid)?.(at)
  })

  const shown = (uid: string): Promise<number> => {
    const { promise, resolve } = Promise.withResolvers<number>()
    told.set(uid, resolve)
    const known = shownAt.get(uid)
    if (known !== undefined) resolve(known)
    return promise
  }

  const untilGone = ({ metadata: { namespace, name, uid = '' } }: NodePod): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>()
    gone.set(uid, resolve)
    if (store.get(namespace, name)?.metadata.uid !== uid) resolve()
    return withDeadline(systemTimers, GONE_MS, Promise.race([promise, ended.promise]), late(`the end of Pod ${name}`, GONE_MS))
  }

  return {
    of: async (pod, { podLogs }, boundMs) => {
      const { name, uid = '' } = pod.metadata
      const at = await withDeadline(systemTimers, boundMs, Promise.race([shown(uid), ended.promise]), late(`the running container of ${name}`, boundMs))
      return { shown: at, spoke: await spokeAt(pod, podLogs) }
    },
    end: async (pods) => {
      await inParallel(env, WIDTH, pods.length, async (index) => {
        const { metadata } = pods[index] ?? { metadata: { name: '' } }
        await admin.remove(NODE_PODS, metadata.namespace, metadata.name)
      })
      await Promise.all(pods.map(untilGone))
    },
  }
}
