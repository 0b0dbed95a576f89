/** The Pods of this node, as far as the plugin follows them: who is there, and who is ending. */
import type { Pod } from '../api/pod.ts'
import type { PodKey } from '../core/request-identity.ts'
import { bareMetadata } from '../kube/bare-metadata.ts'
import type { StoreView } from '../kube/store.ts'

/** A Pod without what nobody reads here; what a mount is judged by is always read live. */
export const trimPod = ({ metadata, status }: Pod): Pod => ({
  metadata: bareMetadata(metadata),
  ...(status?.phase === undefined ? {} : { status: { phase: status.phase } }),
})

/** Why nobody needs the Pod's volumes any more; undefined while somebody may. */
export const podEnd = ({ metadata: { namespace = '', name, deletionTimestamp }, status }: Pod): string | undefined => {
  if (deletionTimestamp !== undefined) return `Pod ${namespace}/${name} is being deleted`
  return status?.phase === 'Succeeded' || status?.phase === 'Failed' ? `Pod ${namespace}/${name} has ended` : undefined
}

/** Some container of the Pod was started once: what it needs was mounted. */
export const wasStarted = ({ status }: Pod): boolean =>
  [status?.initContainerStatuses, status?.containerStatuses, status?.ephemeralContainerStatuses].some((statuses) =>
    (statuses ?? []).some(({ containerID = '' }) => containerID !== ''),
  )

/**
 * Calls back once when the Pod ends, at once when it is ending already. A Pod that the store does not know yet is not one that ended.
 * @returns a function that ends it
 */
export const onPodEnd = (pods: StoreView<Pod>, pod: PodKey, ended: (why: string) => void): (() => void) => {
  let isTold = false
  const tell = (why: string | undefined): void => {
    if (why === undefined || isTold) return
    isTold = true
    ended(why)
  }
  const known = pods.get(pod.namespace, pod.name)
  const stop = pods.onChange(({ type, object }) => {
    if (object.metadata.uid !== pod.uid) return
    tell(type === 'deleted' ? `Pod ${pod.namespace}/${pod.name} is gone` : podEnd(object))
  })
  if (known?.metadata.uid === pod.uid) tell(podEnd(known))
  return stop
}
