import type { AccessRequest, AccessRequestStatus } from '../api/access-request.ts'
import { CLEANUP_FINALIZER } from '../api/names.ts'
import type { Role, RoleBinding } from '../api/rbac.ts'
import type { Effect } from '../core/effects.ts'
import type { Grant } from '../core/grant.ts'
import { sameJson } from '../core/json.ts'
import { CodedError, isCoded, messageOf } from '../errors.ts'
import type { Reader, Resource, Writer } from '../kube/ports.ts'
import { ACCESS_REQUESTS, ROLE_BINDINGS, ROLES } from '../kube/resources.ts'
import type { Caches } from './caches.ts'

export interface ApplyPorts {
  reader: Reader
  writer: Writer
  caches: Caches
}

/** Creates what is missing and corrects what differs; an object that someone else made under the name is taken over. */
const applyObject = async <T extends Role | RoleBinding>({ reader, writer }: ApplyPorts, resource: Resource<T>, wanted: T): Promise<T> => {
  try {
    return await writer.create(resource, wanted)
  } catch (error) {
    if (!isCoded(error, 'KUBE_CONFLICT')) throw error
  }
  const { namespace, name } = wanted.metadata
  const found = await reader.get(resource, namespace, name)
  if (found === undefined) throw new CodedError('KUBE_CONFLICT', `${resource.kind} ${namespace ?? ''}/${name} came and went while it was written`)
  // The role that a binding refers to cannot be changed: such a binding is replaced as a whole.
  if ('roleRef' in wanted && 'roleRef' in found && !sameJson(wanted.roleRef, found.roleRef)) {
    await writer.remove(resource, namespace, name, found.metadata.uid === undefined ? {} : { uid: found.metadata.uid })
    return writer.create(resource, wanted)
  }
  const { uid, resourceVersion } = found.metadata
  return writer.replace(resource, {
    ...wanted,
    metadata: { ...wanted.metadata, ...(uid === undefined ? {} : { uid }), ...(resourceVersion === undefined ? {} : { resourceVersion }) },
  })
}

const applyGrant = async (ports: ApplyPorts, { role, binding }: Grant): Promise<void> => {
  ports.caches.roles.put(await applyObject(ports, ROLES, role))
  ports.caches.bindings.put(await applyObject(ports, ROLE_BINDINGS, binding))
}

/** The binding first: from then on nothing is allowed any more. */
export const deleteGrant = async ({ writer }: Pick<ApplyPorts, 'writer'>, namespace: string, name: string): Promise<void> => {
  await writer.remove(ROLE_BINDINGS, namespace, name)
  await writer.remove(ROLES, namespace, name)
}

const writeStatus = async ({ writer, caches }: ApplyPorts, request: AccessRequest, status: AccessRequestStatus): Promise<void> => {
  const { apiVersion, kind } = ACCESS_REQUESTS
  caches.requests.put(await writer.replaceStatus(ACCESS_REQUESTS, { ...request, apiVersion, kind, status }))
}

const setFinalizer = async ({ writer, caches }: ApplyPorts, { metadata }: AccessRequest, present: boolean): Promise<void> => {
  const others = (metadata.finalizers ?? []).filter((finalizer) => finalizer !== CLEANUP_FINALIZER)
  const patch = { metadata: { resourceVersion: metadata.resourceVersion, finalizers: present ? [...others, CLEANUP_FINALIZER] : others } }
  const patched = await writer.mergePatch(ACCESS_REQUESTS, metadata.namespace, metadata.name, patch)
  // Without its last finalizer a deleted request is gone; the watch says so.
  if (present) caches.requests.put(patched)
}

const deleteRequest = async ({ writer }: ApplyPorts, { metadata }: AccessRequest): Promise<void> => {
  await writer.remove(ACCESS_REQUESTS, metadata.namespace, metadata.name, {
    ...(metadata.uid === undefined ? {} : { uid: metadata.uid }),
    ...(metadata.resourceVersion === undefined ? {} : { resourceVersion: metadata.resourceVersion }),
  })
}

/** What came of the effects, for the next decision in the same reconcile. */
export interface Outcome {
  /** Facts are to be read from the API server itself. */
  confirm: boolean
  /** Names of grants that are gone for sure; the watch may not say so yet. */
  deleted: string[]
  /** Why a policy's grant could not be written. */
  grantErrors: Map<string, string>
  /** The request itself is gone, or on its way. */
  over: boolean
}

/**
 * Applies the effects in their order. A grant that cannot be written is an outcome that the status tells;
 * any other failure ends here, and the reconcile is tried again from the start.
 * @param notify takes a notice at once and never throws
 * @throws CodedError KUBE_CONFLICT when the request is no longer the one that was decided on; KUBE_*; NOT_LEADER
 */
export const applyEffects = async (
  ports: ApplyPorts,
  request: AccessRequest,
  effects: readonly Effect[],
  notify: (notice: Extract<Effect, { type: 'notice' }>['notice']) => void,
): Promise<Outcome> => {
  const outcome: Outcome = { confirm: false, deleted: [], grantErrors: new Map(), over: false }
  const namespace = request.metadata.namespace ?? ''
  for (const effect of effects) {
    switch (effect.type) {
      case 'confirm':
        outcome.confirm = true
        break
      case 'notice':
        notify(effect.notice)
        break
      case 'delete-grants':
        await Promise.all(effect.names.map((name) => deleteGrant(ports, namespace, name)))
        outcome.deleted.push(...effect.names)
        break
      case 'apply-grant':
        try {
          await applyGrant(ports, effect.grant)
        } catch (error) {
          if (isCoded(error, 'NOT_LEADER')) throw error
          outcome.grantErrors.set(effect.grant.policy, messageOf(error))
        }
        break
      case 'write-status':
        await writeStatus(ports, request, effect.status)
        break
      case 'add-finalizer':
        await setFinalizer(ports, request, true)
        break
      case 'remove-finalizer':
        await setFinalizer(ports, request, false)
        outcome.over = true
        break
      case 'delete-request':
        await deleteRequest(ports, request)
        outcome.over = true
        break
      default:
        effect satisfies never
    }
  }
  return outcome
}
