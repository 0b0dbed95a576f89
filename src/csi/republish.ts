/** A volume that was mounted before: looked at again on each call of kubelet, never taken away by an error. */
import type { Logger } from 'pino'
import type { Pod } from '../api/pod.ts'
import { podProblem, type Mount } from '../core/mount-call.ts'
import { decideRemount, type GateFacts } from '../core/mount-gate.ts'
import { connectorName } from '../core/request-identity.ts'
import { messageOf } from '../errors.ts'
import type { Reader } from '../kube/ports.ts'
import { PODS } from '../kube/resources.ts'
import { sleep, type Timers } from '../kube/timers.ts'
import type { FlagsWatch } from './flags-watch.ts'
import { gatherFacts, listAllRequests, listRequests, type GateFactDeps } from './gate-facts.ts'
import { CsiError } from './grpc-status.ts'
import type { CsiMetrics } from './metrics.ts'
import { wasStarted } from './node-pods.ts'
import type { PodEvents } from './pod-events.ts'
import type { VolumeFiles } from './volume-files.ts'
import type { VolumeRecord, VolumeRecords } from './volume-records.ts'
import type { VolumeContent, VolumeWriter } from './volume-writer.ts'

export interface RepublishDeps extends GateFactDeps {
  reader: Pick<Reader, 'get' | 'list'>
  records: Pick<VolumeRecords, 'get' | 'put' | 'asked' | 'addAsked'>
  files: Pick<VolumeFiles, 'look'>
  flags: FlagsWatch
  writer: VolumeWriter
  events: Pick<PodEvents, 'tell'>
  metrics: Pick<CsiMetrics, 'republishFailed'>
  logger: Logger
  timers: Timers
  nodeName: string
}

/** A volume that is whole on the disk, for this very Pod. */
export interface Mounted {
  record: VolumeRecord
  /** undefined: it could not be read. */
  pod: Pod | undefined
}

export interface Republish {
  /** @returns undefined for a call that has to go through the whole gate: nothing was mounted, or the Pod is another one by now */
  recognize(mount: Mount): Promise<Mounted | undefined>
  /**
   * Brings the files up to date, or leaves them as they are: a container that kubelet starts at this moment may have them already. For a
   * Pod with a container that was ever started it never rejects, since kubelet may take a volume away that a call failed for.
   * @throws CsiError UNAVAILABLE when no container was started yet, so that the OK may never have reached kubelet, and the files do not
   * stand on a yes of the API server
   * @param signal ends it at once, with the volume as it is, unless it is being written
   */
  refresh(mount: Mount, mounted: Mounted, signal: AbortSignal): Promise<void>
  /** The volume is gone. */
  forget(volumeId: string): void
}

/** What is read for a call that is over is dropped. @throws CsiError ABORTED */
const unlessOver = async <T>(signal: AbortSignal, reading: Promise<T>): Promise<T> => {
  const over = Promise.withResolvers<never>()
  const onAbort = (): void => over.reject(new CsiError('ABORTED', 'the call is over; the volume stays as it is', { cause: signal.reason }))
  signal.addEventListener('abort', onAbort, { once: true })
  if (signal.aborted) onAbort()
  try {
    return await Promise.race([over.promise, reading])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/** A no has to be heard twice, this far apart (milliseconds), before files are taken away: RBAC caches lag. */
const REVOKE_MS = 2_000
/**
 * A no against the Pod's own request, which says that it is granted, has to be heard at two calls of kubelet in a row, and so far apart
 * (milliseconds): an API server that just started may know no Role for longer. kubelet calls about once in a minute.
 */
const DOUBTFUL_MS = 10_000

export const createRepublish = (deps: RepublishDeps): Republish => {
  const { reader, records, files, flags, writer, events, metrics, logger, timers, nodeName } = deps

  /** Of each volume whose last call heard a doubtful no: when the first one in a row was heard, monotonic milliseconds. A restart counts anew. */
  const doubted = new Map<string, number>()

  /** @returns whether the no counts by now */
  const countsNow = (volumeId: string, isDoubtful: boolean): boolean => {
    if (!isDoubtful) return true
    const now = timers.monotonic()
    const since = doubted.get(volumeId)
    if (since === undefined) doubted.set(volumeId, now)
    return since !== undefined && now - since >= DOUBTFUL_MS
  }

  const failed = (mount: Mount, error: unknown): void => {
    metrics.republishFailed()
    logger.warn({ pod: mount.pod, volume: mount.volumeName, err: error }, 'a mounted volume could not be looked at again; it stays as it is')
  }

  /** The live Pod when it is the one of the call; undefined for one that is gone. @throws CodedError KUBE_* */
  const livePod = async ({ pod: { namespace, name, uid } }: Mount): Promise<Pod | undefined> => {
    const pod = await reader.get(PODS, namespace, name)
    return pod?.metadata.uid === uid ? pod : undefined
  }

  const gather = (mount: Mount, list = listRequests): Promise<GateFacts> => gatherFacts(deps, mount, flags.now(), list(reader, mount))

  /** What cannot be written is said, and counts all the same: the Pod runs. */
  const remember = async (mount: Mount, record: VolumeRecord): Promise<VolumeRecord> => {
    const started = { ...record, started: true }
    try {
      await records.put(started)
    } catch (error) {
      failed(mount, error)
    }
    return started
  }

  /** What the volume shall hold; undefined: what it holds now, for no yes or no is clear. @throws CsiError, CodedError KUBE_* */
  const contentNow = async (mount: Mount, kind: VolumeRecord['kind'], signal: AbortSignal): Promise<VolumeContent | undefined> => {
    let facts = await gather(mount)
    let answer = decideRemount(facts, kind)
    if ('refusals' in answer) {
      await sleep(timers, REVOKE_MS, signal)
      if (signal.aborted) return undefined
      facts = await gather(mount)
      answer = decideRemount(facts, kind)
    }
    if ('refusals' in answer) return countsNow(mount.volumeId, answer.isDoubtful) ? writer.refusal(answer.refusals) : undefined
    doubted.delete(mount.volumeId)
    // As at the first mount: labels may have been taken off the request that explains a yes.
    if ('files' in answer && kind === 'refused') {
      facts = await gather(mount, listAllRequests)
      answer = decideRemount(facts, kind)
    }
    return 'files' in answer
      ? writer.render(
          mount,
          facts.connectors.flatMap(({ found }) => found ?? []),
        )
      : undefined
  }

  const tell = (mount: Mount, { kind }: VolumeContent): void => {
    const said = { pod: mount.pod, volume: mount.volumeName, connectors: mount.attributes.connectors.map(connectorName) }
    const names = said.connectors.join(', ')
    if (kind === 'refused') {
      logger.warn(said, 'access was revoked: the files of a volume were replaced by the reason')
      events.tell(mount, 'AccessRefused', `access to ${names} was revoked; the files were replaced by .error.json`)
    } else {
      logger.info(said, 'access was given again: a volume has its files')
      events.tell(mount, 'AccessMounted', `access to ${names} was given again; the files are there`)
    }
  }

  /** @returns why the volume is left as it is; undefined when it holds what it shall. @throws CsiError, CodedError KUBE_*; whatever the disk says */
  const bringUpToDate = async (mount: Mount, { record, pod }: Mounted, signal: AbortSignal): Promise<string | undefined> => {
    // Counted when it could not be read.
    if (pod === undefined) return 'the Pod cannot be read now; kubelet asks again'
    const problem = podProblem(mount, pod, nodeName)
    if (problem !== undefined) return problem.message
    // Nothing is written after that: an unmount comes next.
    const content = await unlessOver(signal, contentNow(mount, record.kind, signal))
    if (content === undefined) return record.kind === 'files' ? 'it is not clear now whether the volume may stay mounted; kubelet asks again' : undefined
    await writer.write(mount, content)
    doubted.delete(mount.volumeId)
    if (content.kind !== record.kind) tell(mount, content)
    return undefined
  }

  return {
    recognize: async (mount) => {
      const record = await records.get(mount.volumeId)
      if (record === undefined || record.target !== mount.target || record.pod.uid !== mount.pod.uid) return undefined
      const names = await files.look(mount.target)
      if (names === undefined || names.length === 0) return undefined
      try {
        const pod = await livePod(mount)
        if (pod === undefined) return undefined
        if (record.started || !wasStarted(pod)) return { record, pod }
        return { record: await remember(mount, record), pod }
      } catch (error) {
        failed(mount, error)
        return { record, pod: undefined }
      }
    },

    refresh: async (mount, mounted, signal) => {
      let left: string | undefined
      try {
        left = await bringUpToDate(mount, mounted, signal)
      } catch (error) {
        if (!signal.aborted) failed(mount, error)
        left = messageOf(error)
      }
      if (left === undefined) return
      logger.debug({ pod: mount.pod, volume: mount.volumeName, reason: left }, 'a mounted volume stays as it is')
      if (!mounted.record.started) throw new CsiError('UNAVAILABLE', left)
    },

    forget: (volumeId) => void doubted.delete(volumeId),
  }
}
