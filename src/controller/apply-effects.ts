import type { AccessRequest, AccessRequestStatus } from '../api/access-request.ts'
import type { KubeObject } from '../api/meta.ts'
import { CLEANUP_FINALIZER } from '../api/names.ts'
import type { Role, RoleBinding } from '../api/rbac.ts'
import type { Effect, Notice } from '../core/effects.ts'
import { grantName, type Grant } from '../core/grant.ts'
import { sameJson } from '../core/json.ts'
import { CodedError, isCoded, messageOf } from '../errors.ts'
import type { Reader, Resource, Writer } from '../kube/ports.ts'
import { ACCESS_REQUESTS, ROLE_BINDINGS, ROLES } from '../kube/resources.ts'
import { storeKey } from '../kube/store.ts'
import { isOwnedBy, type Caches } from './caches.ts'
import type { OwnWrites } from './own-writes.ts'

export interface ApplyPorts {
  reader: Reader
  writer: Writer
  caches: Caches
  own: OwnWrites
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

const keyOf = ({ metadata }: AccessRequest): string => storeKey(metadata.namespace, metadata.name)

const applyGrant = async (ports: ApplyPorts, request: AccessRequest, { role, binding }: Grant): Promise<void> => {
  const { caches, own } = ports
  await own.write(keyOf(request), () => applyObject(ports, ROLES, role), (applied) => caches.roles.put(applied))
  await own.write(keyOf(request), () => applyObject(ports, ROLE_BINDINGS, binding), (applied) => caches.bindings.put(applied))
}

const uidOf = ({ metadata }: KubeObject): { uid?: string } => (metadata.uid === undefined ? {} : { uid: metadata.uid })

/**
 * Deletes a Role or RoleBinding, also where somebody put a finalizer on it: what waits to be deleted is honoured as before.
 * @param known as the cache has it; of a finalizer that it does not show yet the watch tells, and then this runs again
 */
const removeWhole = async <T extends Role | RoleBinding>(
  { reader, writer }: Pick<ApplyPorts, 'reader' | 'writer'>,
  resource: Resource<T>,
  { namespace, name }: { namespace?: string; name: string },
  known: T | undefined,
  precondition: { uid?: string } = {},
): Promise<void> => {
  await writer.remove(resource, namespace, name, precondition)
  if ((known?.metadata.finalizers ?? []).length === 0) return
  const left = await reader.get(resource, namespace, name)
  if (left?.metadata.deletionTimestamp === undefined) return
  // Of any version, so that nobody holds this up by changing it over and over; the uid keeps it from being made anew.
  const { resourceVersion: _, ...metadata } = left.metadata
  await writer.replace(resource, { ...left, metadata: { ...metadata, finalizers: [] } })
}

/** Deletes exactly these objects, and nothing that only has the name of one. The binding first: from then on nothing is allowed any more. */
export const deleteObserved = async (ports: Pick<ApplyPorts, 'reader' | 'writer'>, role: Role | undefined, binding: RoleBinding | undefined): Promise<void> => {
  if (binding !== undefined) await removeWhole(ports, ROLE_BINDINGS, binding.metadata, binding, uidOf(binding))
  if (role !== undefined) await removeWhole(ports, ROLES, role.metadata, role, uidOf(role))
}

/**
 * Under the name of one of the request's own grants both objects go, whether a cache shows them or not. Under any other name
 * only what says that it belongs to the request: its namesake of the other kind may be somebody else's.
 */
const deleteGrant = async (ports: ApplyPorts, request: AccessRequest, name: string): Promise<void> => {
  const { namespace = '' } = request.metadata
  const role = ports.caches.roles.get(namespace, name)
  const binding = ports.caches.bindings.get(namespace, name)
  if ((request.status?.policies ?? []).some((policy) => grantName(request, policy.name) === name)) {
    await removeWhole(ports, ROLE_BINDINGS, { namespace, name }, binding)
    await removeWhole(ports, ROLES, { namespace, name }, role)
    return
  }
  const ours = <T extends KubeObject>(object: T | undefined): T | undefined => (object !== undefined && isOwnedBy(object, request.metadata.uid) ? object : undefined)
  await deleteObserved(ports, ours(role), ours(binding))
}

const writeStatus = async ({ writer, caches, own }: ApplyPorts, request: AccessRequest, status: AccessRequestStatus): Promise<void> => {
  const { apiVersion, kind } = ACCESS_REQUESTS
  await own.write(keyOf(request), () => writer.replaceStatus(ACCESS_REQUESTS, { ...request, apiVersion, kind, status }), (written) => caches.requests.put(written))
}

/** Without its last finalizer a deleted request is gone; then the watch says so, and the answer is not placed in the cache. */
const setFinalizer = async ({ writer, caches, own }: ApplyPorts, request: AccessRequest, present: boolean): Promise<void> => {
  const { metadata } = request
  const others = (metadata.finalizers ?? []).filter((finalizer) => finalizer !== CLEANUP_FINALIZER)
  const patch = { metadata: { resourceVersion: metadata.resourceVersion, finalizers: present ? [...others, CLEANUP_FINALIZER] : others } }
  const write = (): Promise<AccessRequest> => writer.mergePatch(ACCESS_REQUESTS, metadata.namespace, metadata.name, patch)
  if (present) await own.write(keyOf(request), write, (patched) => caches.requests.put(patched))
  else await write()
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
  /** Names of grants that are in place for sure, also where they were deleted before. */
  applied: string[]
  /** Why a policy's grant could not be written. */
  grantErrors: Map<string, string>
  /** The request itself is gone, or on its way. */
  over: boolean
}

/** What surrounds the effects of one decision. */
export interface Surroundings {
  /** Takes a notice at once and never throws. */
  notify: (notice: Notice) => void
  /** Resolves when the notices so far are sent, as far as they can be; never rejects. */
  told: () => Promise<void>
  /** Names of grants that this reconcile has written before. */
  written: ReadonlySet<string>
}

/**
 * Applies the effects in their order. A grant that cannot be written is an outcome that the status tells;
 * any other failure ends here, and the reconcile is tried again from the start.
 * @throws CodedError KUBE_CONFLICT when the request is no longer the one that was decided on; KUBE_*; NOT_LEADER
 */
export const applyEffects = async (
  ports: ApplyPorts,
  request: AccessRequest,
  effects: readonly Effect[],
  { notify, told, written }: Surroundings,
): Promise<Outcome> => {
  const outcome: Outcome = { confirm: false, deleted: [], applied: [], grantErrors: new Map(), over: false }
  for (const effect of effects) {
    switch (effect.type) {
      case 'confirm':
        outcome.confirm = true
        break
      case 'notice':
        notify(effect.notice)
        break
      case 'delete-grants':
        await Promise.all(effect.names.map((name) => deleteGrant(ports, request, name)))
        outcome.deleted.push(...effect.names)
        break
      case 'apply-grant':
        // Somebody changes what is written, such as a mutating webhook: writing it over and over would not end.
        if (written.has(effect.grant.role.metadata.name)) {
          outcome.grantErrors.set(effect.grant.policy, `Role and RoleBinding ${effect.grant.role.metadata.name} do not stay as they are written: something changes them at once`)
          break
        }
        try {
          await applyGrant(ports, request, effect.grant)
          outcome.applied.push(effect.grant.role.metadata.name)
        } catch (error) {
          if (isCoded(error, 'NOT_LEADER')) throw error
          outcome.grantErrors.set(effect.grant.policy, messageOf(error))
        }
        break
      // Behind one of these three nobody decides the same again: a notice that was not sent by then would be lost in a crash.
      case 'write-status':
        await told()
        await writeStatus(ports, request, effect.status)
        break
      case 'add-finalizer':
        await setFinalizer(ports, request, true)
        break
      case 'remove-finalizer':
        await told()
        await setFinalizer(ports, request, false)
        outcome.over = true
        break
      case 'delete-request':
        await told()
        await deleteRequest(ports, request)
        outcome.over = true
        break
      default:
        effect satisfies never
    }
  }
  return outcome
}
