import jsonPatch from 'fast-json-patch'
import type { AdmissionRequest } from '../src/api/admission-review.ts'
import { LABEL } from '../src/api/names.ts'
import type { Pod } from '../src/api/pod.ts'
import { gatedVolumes, type GatedVolumes } from '../src/core/gated-volume.ts'
import { isRecord } from '../src/core/json-shape.ts'
import { allowed, ALLOWED, patched, type Answer } from './answer.ts'
import { POD_RESOURCE, type Hook } from './hook.ts'
import type { PodAdmission } from './pod-admission.ts'

/** There on CREATE and UPDATE alone, an object as the wire made sure. */
const isPod = (object: unknown): object is Pod => isRecord(object)

/** A well-formed volume of ours names a Connector and another one is a problem: without either, the Pod does not concern us. */
const concernsUs = ({ connectors, problems }: GatedVolumes): boolean => connectors.length > 0 || problems.length > 0

/** Sets the label by which the controller watches gated Pods alone. No I/O; a Pod without our volume passes untouched. */
export const mutatePod: Hook = {
  path: '/mutate/pod',
  name: 'mutate-pod',
  resource: POD_RESOURCE,
  answer: ({ operation, namespace, object }) => {
    if (operation !== 'CREATE' || !isPod(object) || !concernsUs(gatedVolumes(object, namespace ?? ''))) return ALLOWED
    const { metadata }: { metadata?: unknown } = object
    if (!isRecord(metadata)) return ALLOWED
    const before = { metadata: 'labels' in metadata ? { labels: metadata['labels'] } : {} }
    const after = { metadata: { labels: { ...(isRecord(metadata['labels']) ? metadata['labels'] : {}), [LABEL.gated]: 'true' } } }
    return patched(jsonPatch.compare(before, after))
  },
}

const NO_IDENTITY = 'the name or uid of the Pod is not known yet; the access requests will be made at the mount'

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')

/**
 * Makes the Pod's access requests now, so that its checks are looked for before the volume is mounted. Runs when the name and
 * the uid are final, also for generated names. It always answers yes; what it could not do, the mount does.
 */
export const validatePod = (admission: PodAdmission): Hook => {
  const answer = ({ operation, namespace, object, userInfo, dryRun }: AdmissionRequest): Answer | Promise<Answer> => {
    if (operation !== 'CREATE' || !isPod(object)) return ALLOWED
    const { metadata }: { metadata?: unknown } = object
    const { name, uid, namespace: written } = isRecord(metadata) ? metadata : {}
    const pod = { namespace: namespace ?? textOf(written), name: textOf(name), uid: textOf(uid) }
    const volumes = gatedVolumes(object, pod.namespace)
    if (!concernsUs(volumes)) return ALLOWED
    if (pod.namespace === '' || pod.name === '' || pod.uid === '') return allowed([...volumes.problems, NO_IDENTITY])
    const { serviceAccountName }: { serviceAccountName?: unknown } = isRecord(object.spec) ? object.spec : {}
    const asked = { pod, volumes, serviceAccount: textOf(serviceAccountName) || 'default', requestedBy: userInfo.username, dryRun }
    return admission.admit(asked).then(allowed)
  }
  return { path: '/validate/pod', name: 'validate-pod', resource: POD_RESOURCE, answer }
}
