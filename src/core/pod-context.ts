import type { AccessRequest } from '../api/access-request.ts'
import type { Pod } from '../api/pod.ts'
import { namesConnector } from './gated-volume.ts'

/**
 * The Pod of a request, as it is now:
 * - `live`: there, not finished, and the one that the request is bound to (or the first one seen)
 * - `finished`: the bound one, Succeeded or Failed
 * - `missing`: no Pod of that name, or none that is live while the request is not bound to one
 * - `replaced`: another Pod has the name
 */
export type PodFact = { state: 'live'; pod: Pod } | { state: 'finished'; pod: Pod } | { state: 'missing' } | { state: 'replaced'; uid: string }

/** The uid that the request is for: given in the spec, or recorded when a live Pod was first seen. */
export const boundUid = (request: AccessRequest): string | undefined => request.spec.context.objectRef.uid ?? request.status?.contextUID

export const isFinished = (pod: Pod): boolean => pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed'

/** @param pod what the API server has under the Pod's name; undefined only when it answered that there is none */
export const podFact = (request: AccessRequest, pod: Pod | undefined): PodFact => {
  if (pod === undefined) return { state: 'missing' }
  const uid = boundUid(request)
  if (uid === undefined) return isFinished(pod) ? { state: 'missing' } : { state: 'live', pod }
  if (pod.metadata.uid !== uid) return { state: 'replaced', uid: pod.metadata.uid ?? '' }
  return isFinished(pod) ? { state: 'finished', pod } : { state: 'live', pod }
}

/** Why this live Pod can never be granted what the request asks for; undefined when nothing speaks against it. */
export const podMismatch = (request: AccessRequest, pod: Pod): string | undefined => {
  const { subject, connectorRef, context } = request.spec
  const { namespace, name } = context.objectRef
  const serviceAccount = pod.spec?.serviceAccountName ?? 'default'
  if (subject.kind !== 'ServiceAccount' || subject.namespace !== namespace || subject.name !== serviceAccount)
    return `Pod ${namespace}/${name} runs as ServiceAccount "${serviceAccount}"; the request is for ${subject.kind} "${subject.namespace ?? ''}/${subject.name}"`
  const connector = { namespace: request.metadata.namespace ?? '', name: connectorRef.name }
  if (!namesConnector(pod, namespace, connector))
    return `Pod ${namespace}/${name} has no connectors-csi volume that names Connector ${connector.namespace}/${connector.name}`
  return undefined
}
