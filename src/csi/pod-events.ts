/** What a person reads at the Pod: one Event for each change of what is to be said of a volume, not one for each try. */
import type { Mount } from '../core/mount-call.ts'
import type { EventSink } from '../kube/ports.ts'

export type PodNotice =
  /** The mount waits for something. */
  | 'AccessWaiting'
  /** The files are there. */
  | 'AccessMounted'
  /** The access was refused or taken away, for good. */
  | 'AccessRefused'
  /** The volume cannot be mounted as things are. */
  | 'MountFailed'
  /** The volume is mounted otherwise than it asks for. */
  | 'TokenExpirationIgnored'

const IS_WARNING: Record<PodNotice, boolean> = { AccessWaiting: false, AccessMounted: false, AccessRefused: true, MountFailed: true, TokenExpirationIgnored: true }

export interface PodEvents {
  /** Never waits and never fails. */
  tell(mount: Pick<Mount, 'volumeId' | 'volumeName' | 'pod'>, reason: PodNotice, sentence: string): void
  /** Resolves when nothing that was told is on its way any more. */
  settled(): Promise<void>
  /** The volume is gone. */
  forget(volumeId: string): void
}

/** Of how many volumes the last sentence is remembered; more than one node ever has. What is forgotten is said once more. */
const MAX_REMEMBERED = 2_000

/** One aspect of a volume: a notice on its token says nothing about its access. */
const aspectOf = (volumeId: string, reason: PodNotice): string => `${volumeId} ${reason === 'TokenExpirationIgnored' ? 'token' : 'access'}`

export const createPodEvents = (sink: Pick<EventSink, 'emit'>, maxRemembered = MAX_REMEMBERED): PodEvents => {
  const said = new Map<string, string>()
  const onTheirWay = new Set<Promise<void>>()

  return {
    tell: ({ volumeId, volumeName, pod }, reason, sentence) => {
      const aspect = aspectOf(volumeId, reason)
      const note = `volume "${volumeName}": ${sentence}`
      const now = `${reason} ${note}`
      const isNew = said.get(aspect) !== now
      // Taken out and put in again: the oldest is the one that was not spoken of for longest.
      said.delete(aspect)
      said.set(aspect, now)
      for (const oldest of said.keys()) {
        if (said.size <= maxRemembered) break
        said.delete(oldest)
      }
      if (!isNew) return
      const regarding = { apiVersion: 'v1', kind: 'Pod', namespace: pod.namespace, name: pod.name, uid: pod.uid }
      const sent = sink.emit({ regarding, type: IS_WARNING[reason] ? 'Warning' : 'Normal', reason, action: 'Mount', note })
      onTheirWay.add(sent)
      void sent.finally(() => onTheirWay.delete(sent))
    },
    settled: async () => {
      await Promise.all(onTheirWay)
    },
    forget: (volumeId) => {
      said.delete(`${volumeId} access`)
      said.delete(`${volumeId} token`)
    },
  }
}
