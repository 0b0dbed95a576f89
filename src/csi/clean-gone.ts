/** Removes what is left of volumes whose Pods are gone: the plugin may have been down when kubelet took them off. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { CSI_DRIVER } from '../api/names.ts'
import type { Pod } from '../api/pod.ts'
import { own } from '../core/json-shape.ts'
import { messageOf, errorCode } from '../errors.ts'
import type { Reader } from '../kube/ports.ts'
import { PODS } from '../kube/resources.ts'
import type { StoreView } from '../kube/store.ts'
import type { CsiMetrics } from './metrics.ts'
import { trimPod } from './node-pods.ts'
import { UNREADY, type VolumeFiles } from './volume-files.ts'
import type { VolumeLocks } from './volume-locks.ts'
import type { VolumeRecords } from './volume-records.ts'
import type { VolumeWriter } from './volume-writer.ts'

export interface CleanGoneDeps {
  kubeletDir: string
  nodeName: string
  reader: Pick<Reader, 'get' | 'list'>
  /** Of this node, read once at least. */
  pods: StoreView<Pod>
  records: Pick<VolumeRecords, 'all' | 'askedPods' | 'forgetPod'>
  files: Pick<VolumeFiles, 'look'>
  writer: Pick<VolumeWriter, 'clear'>
  locks: VolumeLocks
  /** Told of each volume that was removed. */
  forget: (volumeId: string) => void
  metrics: Pick<CsiMetrics, 'cleaned'>
  logger: Logger
}

/** One volume of ours on this node. */
interface Leftover {
  volumeId: string
  target: string
  podUid: string
  /** Of volumes on record; kubelet's own files do not say. */
  podName: { namespace: string; name: string } | undefined
}

/** One round removes no more volumes than this; the next one goes on. */
const MAX_REMOVED = 1_000
const POD_FOLDER = /^[\w-]+$/
const VOLUME_FOLDER = /^[a-z0-9-]+$/

const isMissing = (error: unknown): boolean => ['ENOENT', 'ENOTDIR'].includes(errorCode(error) ?? '')

const namesIn = async (folder: string, pattern = /./): Promise<string[]> => {
  try {
    return (await readdir(folder)).filter((name) => pattern.test(name))
  } catch (error) {
    if (isMissing(error)) return []
    throw error
  }
}

/** The id of the volume when kubelet says that it is ours. What it does not say, or says of another driver, is nobody's business. */
const ourVolumeId = async (file: string): Promise<string | undefined> => {
  try {
    const data: unknown = JSON.parse(await readFile(file, 'utf8'))
    const id = own(data, 'volumeHandle')
    return own(data, 'driverName') === CSI_DRIVER && typeof id === 'string' && id !== '' ? id : undefined
  } catch (error) {
    if (isMissing(error) || error instanceof SyntaxError) return undefined
    throw error
  }
}

/** The volumes of ours that kubelet has folders for, with something in them: kubelet may keep the folders for long. */
const volumesOnDisk = async (kubeletDir: string, files: Pick<VolumeFiles, 'look'>): Promise<Leftover[]> => {
  const found: Leftover[] = []
  const pods = join(kubeletDir, 'pods')
  for (const podUid of await namesIn(pods, POD_FOLDER)) {
    const volumes = join(pods, podUid, 'volumes', 'kubernetes.io~csi')
    for (const name of await namesIn(volumes, VOLUME_FOLDER)) {
      const volumeId = await ourVolumeId(join(volumes, name, 'vol_data.json'))
      const target = join(volumes, name, 'mount')
      if (volumeId === undefined) continue
      // A plugin that was killed before a volume was whole leaves it beside its target.
      const isLeft = (await files.look(target)) !== undefined || (await namesIn(join(volumes, name))).some((each) => each.startsWith(UNREADY))
      if (isLeft) found.push({ volumeId, target, podUid, podName: undefined })
    }
  }
  return found
}

/** What a live read says of Pods that the watch does not know. */
interface LiveReads {
  isGone(leftover: Pick<Leftover, 'podUid' | 'podName'>): Promise<boolean>
}

const createLiveReads = ({ reader, nodeName }: Pick<CleanGoneDeps, 'reader' | 'nodeName'>): LiveReads => {
  let listed: Promise<ReadonlySet<string>> | undefined
  const list = async (): Promise<ReadonlySet<string>> => {
    const { items } = await reader.list(PODS, { fieldSelector: `spec.nodeName=${nodeName}` }, trimPod)
    return new Set(items.flatMap(({ metadata }) => metadata.uid ?? []))
  }
  return {
    isGone: async ({ podUid, podName }) => {
      if (podName !== undefined) return (await reader.get(PODS, podName.namespace, podName.name))?.metadata.uid !== podUid
      listed ??= list()
      return !(await listed).has(podUid)
    },
  }
}

/** What could not be removed stays for the next round. */
const attempt = async (logger: Logger, what: Record<string, unknown>, work: () => Promise<void>): Promise<boolean> => {
  try {
    await work()
    return true
  } catch (error) {
    logger.warn({ ...what, err: error }, 'what is left of a Pod that is gone could not be removed')
    return false
  }
}

/**
 * One round. Only what the API server says is gone is removed; one that does not answer leaves everything as it is.
 * @throws whatever the disk says when it cannot be looked at
 */
export const cleanGone = async (deps: CleanGoneDeps, signal: AbortSignal): Promise<void> => {
  const { kubeletDir, pods, records, files, writer, locks, forget, metrics, logger } = deps
  const [recorded, onDisk, asked] = await Promise.all([records.all(), volumesOnDisk(kubeletDir, files), records.askedPods()])
  const living = new Set([...pods.values()].flatMap(({ metadata }) => metadata.uid ?? []))
  const volumes = new Map<string, Leftover>(onDisk.map((volume) => [volume.volumeId, volume]))
  for (const { volumeId, target, pod } of recorded) volumes.set(volumeId, { volumeId, target, podUid: pod.uid, podName: { namespace: pod.namespace, name: pod.name } })
  const live = createLiveReads(deps)
  let removed = 0
  let forgotten = 0
  try {
    for (const volume of [...volumes.values()].filter(({ podUid }) => !living.has(podUid)).slice(0, MAX_REMOVED)) {
      if (signal.aborted || !(await live.isGone(volume))) continue
      const { volumeId, target, podUid } = volume
      const isRemoved = await attempt(logger, { target, podUid }, () => locks.run(volumeId, signal, () => writer.clear(volumeId, target)))
      if (!isRemoved) continue
      forget(volumeId)
      removed += 1
    }
    for (const podUid of asked.filter((uid) => !living.has(uid)).slice(0, MAX_REMOVED)) {
      if (signal.aborted || !(await live.isGone({ podUid, podName: undefined }))) continue
      if (await attempt(logger, { podUid }, () => records.forgetPod(podUid))) forgotten += 1
    }
  } catch (error) {
    logger.warn({ error: messageOf(error) }, 'whether Pods are gone cannot be read now; what is left of them stays until the next round')
  }
  metrics.cleaned(removed)
  if (removed + forgotten > 0) logger.info({ volumes: removed, pods: forgotten }, 'what was left of Pods that are gone was removed')
}
