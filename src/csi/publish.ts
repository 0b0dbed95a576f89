/** What happens at NodePublishVolume and NodeUnpublishVolume: one call at a time for each volume. */
import type { Logger } from 'pino'
import { readMountCall, type Mount, type MountCall } from '../core/mount-call.ts'
import { connectorName } from '../core/request-identity.ts'
import { isCoded, messageOf } from '../errors.ts'
import type { Clock } from '../kube/ports.ts'
import type { Timers } from '../kube/timers.ts'
import type { CallContext } from './calls.ts'
import { CsiError } from './grpc-status.ts'
import type { CsiMetrics, PublishOutcome } from './metrics.ts'
import type { DecideMount, Decision } from './mount-decision.ts'
import type { VolumePublisher } from './node.ts'
import type { PodEvents } from './pod-events.ts'
import type { Republish } from './republish.ts'
import type { Tokens } from './tokens.ts'
import type { VolumeLocks } from './volume-locks.ts'
import type { VolumeRecords } from './volume-records.ts'
import type { VolumeContent, VolumeWriter } from './volume-writer.ts'
import { createWait, StillWaiting, WaitEnded, type Wait } from './waiting.ts'

export interface PublisherDeps {
  kubeletDir: string
  locks: VolumeLocks
  records: Pick<VolumeRecords, 'get'>
  decide: DecideMount
  republish: Republish
  writer: VolumeWriter
  tokens: Pick<Tokens, 'notice' | 'forget'>
  events: PodEvents
  metrics: Pick<CsiMetrics, 'published' | 'decidedAfter'>
  logger: Logger
  clock: Clock
  timers: Timers
}

/** Of how many volumes it is remembered when they were asked for first; more than one node ever has. */
const MAX_REMEMBERED = 2_000

const UNMOUNTING = 'the volume is being unmounted'

/** Where kubelet has a volume of ours: nothing outside of it is ever touched. */
const isTarget = (target: string, kubeletDir: string): boolean =>
  target.startsWith(`${kubeletDir}/pods/`) && /^[\w-]+\/volumes\/kubernetes\.io~csi\/[a-z0-9-]+\/mount$/.test(target.slice(`${kubeletDir}/pods/`.length))

const outcomeOf = (error: unknown): PublishOutcome => {
  if (error instanceof StillWaiting) return 'waiting'
  return error instanceof WaitEnded ? 'ended' : 'failed'
}

/** What kubelet is told: an API server that is away, and a disk that takes nothing, may be better later. */
const answerOf = (error: unknown): unknown => {
  if (isCoded(error)) return new CsiError('UNAVAILABLE', error.message, { cause: error })
  return error instanceof CsiError && error.code === 'INTERNAL' ? new CsiError('UNAVAILABLE', error.message, { cause: error }) : error
}

const about = ({ pod, volumeName, attributes }: Mount): Record<string, unknown> => ({
  pod,
  volume: volumeName,
  connectors: attributes.connectors.map(connectorName),
})

export const createPublisher = (deps: PublisherDeps): VolumePublisher => {
  const { kubeletDir, locks, records, decide, republish, writer, tokens, events, metrics, logger, clock, timers } = deps
  const firstAsked = new Map<string, number>()
  /** The calls that may wait, by volume. */
  const waits = new Map<string, Wait>()
  /** Ends the looks at mounted volumes that are under way, by volume. */
  const refreshes = new Map<string, AbortController>()
  /** Calls to unmount that are not over, by volume. */
  const unmounts = new Map<string, number>()

  const remember = (volumeId: string): void => {
    if (firstAsked.has(volumeId)) return
    firstAsked.set(volumeId, timers.monotonic())
    for (const oldest of firstAsked.keys()) {
      if (firstAsked.size <= MAX_REMEMBERED) break
      firstAsked.delete(oldest)
    }
  }

  const onDecided = (mount: Mount, decision: Decision): void => {
    const seconds = (timers.monotonic() - (firstAsked.get(mount.volumeId) ?? timers.monotonic())) / 1000
    firstAsked.delete(mount.volumeId)
    const outcome = decision.kind === 'files' ? 'mounted' : 'refused'
    metrics.published(outcome)
    metrics.decidedAfter(outcome, seconds)
    const said = { ...about(mount), outcome, seconds }
    if (decision.kind === 'files') {
      logger.info(said, 'volume mounted')
      events.tell(mount, 'AccessMounted', `may use ${mount.attributes.connectors.map(connectorName).join(', ')}; the files are there`)
      const notice = tokens.notice(mount)
      if (notice !== undefined) events.tell(mount, 'TokenExpirationIgnored', notice)
    } else {
      const reasons = decision.refusals.map(({ message }) => message).join('; ')
      logger.info({ ...said, reasons }, 'volume refused: it holds the reason alone')
      events.tell(mount, 'AccessRefused', reasons)
    }
  }

  const onFailed = (mount: Mount, error: unknown): void => {
    const outcome = outcomeOf(error)
    metrics.published(outcome)
    const code = error instanceof CsiError ? error.code : 'INTERNAL'
    logger.info({ ...about(mount), outcome, code, reason: messageOf(error) }, 'volume not mounted')
    if (outcome === 'failed' && error instanceof CsiError && error.code !== 'UNAVAILABLE')
      events.tell(mount, error.code === 'PERMISSION_DENIED' ? 'AccessRefused' : 'MountFailed', error.message)
  }

  /** Nothing is left of a mount without an OK. What cannot be removed now is, at the next try or when the Pod is gone. */
  const clear = async ({ volumeId, target, ...mount }: Mount): Promise<boolean> => {
    try {
      await writer.clear(volumeId, target)
      return true
    } catch (error) {
      logger.error({ pod: mount.pod, volume: mount.volumeName, err: error }, 'what is left of a volume could not be removed')
      return false
    }
  }

  /** The whole gate. */
  const mountNow = async (mount: Mount, context: CallContext): Promise<void> => {
    remember(mount.volumeId)
    const wait = createWait({ ...context, clock, timers })
    waits.set(mount.volumeId, wait)
    try {
      const decision = await decide(mount, wait, async () => void (await clear(mount)))
      const content: VolumeContent = decision.kind === 'files' ? await wait.or(writer.render(mount, decision.connectors)) : writer.refusal(decision.refusals)
      await writer.write(mount, content)
      // Who was told nothing has no OK: had the call ended meanwhile, this throws.
      await wait.or(Promise.resolve())
      onDecided(mount, decision)
    } catch (error) {
      const answer = answerOf(error)
      const isClear = await clear(mount)
      onFailed(mount, answer)
      // After an error that is final kubelet forgets the volume, and never asks for it to be unmounted.
      throw isClear ? answer : new CsiError('UNAVAILABLE', messageOf(answer), { cause: answer })
    } finally {
      waits.delete(mount.volumeId)
      wait.close()
    }
  }

  const inTurn = async (mount: Mount, context: CallContext): Promise<void> => {
    const mounted = await republish.recognize(mount)
    // Its call came before the one that is to unmount the volume, and would hold that one up for as long as it waits.
    if (mounted === undefined && unmounts.has(mount.volumeId)) throw new CsiError('ABORTED', UNMOUNTING)
    if (mounted === undefined) return mountNow(mount, context)
    const unmounting = new AbortController()
    refreshes.set(mount.volumeId, unmounting)
    if (unmounts.has(mount.volumeId)) unmounting.abort(new CsiError('ABORTED', UNMOUNTING))
    try {
      await republish.refresh(mount, mounted, AbortSignal.any([context.signal, unmounting.signal]))
    } catch (error) {
      metrics.published('failed')
      throw error
    } finally {
      refreshes.delete(mount.volumeId)
    }
    metrics.published('republished')
  }

  const unmountNow = async (volumeId: string, targetPath: string): Promise<void> => {
    const record = await records.get(volumeId)
    const targets = new Set([record?.target, targetPath].filter((target) => target !== undefined))
    for (const target of targets) if (isTarget(target, kubeletDir)) await writer.clear(volumeId, target)
    tokens.forget(volumeId)
    events.forget(volumeId)
    republish.forget(volumeId)
    firstAsked.delete(volumeId)
    if (record !== undefined) logger.info({ pod: record.pod, volume: record.volumeName }, 'volume unmounted')
  }

  return {
    publish: async (call: MountCall, context) => {
      const reading = readMountCall(call, kubeletDir)
      if (!reading.ok) {
        metrics.published('failed')
        logger.warn({ volumeId: call.volumeId, reason: reading.failure.message }, 'a mount call cannot be understood')
        throw new CsiError(reading.failure.code, reading.failure.message)
      }
      await locks.run(reading.mount.volumeId, context.signal, () => inTurn(reading.mount, context))
    },

    unpublish: async (volumeId, targetPath, { signal }) => {
      waits.get(volumeId)?.end(new WaitEnded('ABORTED', UNMOUNTING))
      refreshes.get(volumeId)?.abort(new CsiError('ABORTED', UNMOUNTING))
      unmounts.set(volumeId, (unmounts.get(volumeId) ?? 0) + 1)
      try {
        await locks.run(volumeId, signal, () => unmountNow(volumeId, targetPath))
      } finally {
        const left = (unmounts.get(volumeId) ?? 1) - 1
        if (left > 0) unmounts.set(volumeId, left)
        else unmounts.delete(volumeId)
      }
    },
  }
}
