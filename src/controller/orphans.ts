import type { Logger } from 'pino'
import type { KubeObject } from '../api/meta.ts'
import { ANNOTATION, LABEL } from '../api/names.ts'
import type { EventRecord, EventSink, Reader, Writer } from '../kube/ports.ts'
import { ACCESS_REQUESTS, ROLE_BINDINGS, ROLES } from '../kube/resources.ts'
import { storeKey } from '../kube/store.ts'
import { deleteObserved } from './apply-effects.ts'
import { isOwnedBy, type Caches } from './caches.ts'

export interface OrphanPorts {
  reader: Reader
  writer: Writer
  events: EventSink
  caches: Caches
  logger: Logger
  /** Counts a revoke. */
  onNotice: (reason: string) => void
}

const REASON = 'AccessRevoked'

const orphansOf = <T extends KubeObject>(objects: readonly T[], owner: string | undefined): T[] => objects.filter((object) => !isOwnedBy(object, owner))

/**
 * Deletes grants that say they belong to a request that is gone, as when somebody took the finalizer off it. An event tells of each,
 * beside the Role or RoleBinding, since there is no request any more.
 * @param uid of the request that the cache has under that name; its own grants are no orphans
 */
export const sweepOrphans = async (ports: OrphanPorts, namespace: string, name: string, uid: string | undefined): Promise<void> => {
  const { reader, writer, events, caches, logger, onNotice } = ports
  const key = storeKey(namespace, name)
  const found = { roles: orphansOf(caches.roles.byIndex('owner', key), uid), bindings: orphansOf(caches.bindings.byIndex('owner', key), uid) }
  if (found.roles.length + found.bindings.length === 0) return
  // A grant may be newer than what the cache knows of its request.
  const live = await reader.get(ACCESS_REQUESTS, namespace, name)
  const roles = orphansOf(found.roles, live?.metadata.uid)
  const bindings = orphansOf(found.bindings, live?.metadata.uid)
  const told: EventRecord[] = []
  try {
    for (const orphan of new Set([...bindings, ...roles].map(({ metadata }) => metadata.name))) {
      const role = roles.find(({ metadata }) => metadata.name === orphan)
      const binding = bindings.find(({ metadata }) => metadata.name === orphan)
      await deleteObserved({ reader, writer }, role, binding)
      const [object, kind] = binding === undefined ? [role, ROLES] : [binding, ROLE_BINDINGS]
      const { annotations, labels, uid: objectUid } = object?.metadata ?? {}
      const note = `${kind.kind} ${namespace}/${orphan} was deleted: AccessRequest ${key}, which it says it belongs to, is gone`
      logger.warn({ accessRequest: key, role: orphan, podUid: annotations?.[ANNOTATION.podUid], policies: labels?.[LABEL.accessPolicy], reason: REASON }, note)
      onNotice(REASON)
      const regarding = { apiVersion: kind.apiVersion, kind: kind.kind, namespace, name: orphan, uid: objectUid ?? '' }
      told.push({ type: 'Warning', reason: REASON, action: 'Revoke', note, regarding })
    }
  } finally {
    // No deletion waits for an Event, and none that was done goes untold when a later one fails.
    await Promise.all(told.map((event) => events.emit(event)))
  }
}
