import type { KubeObject } from '../api/meta.ts'
import { FLAGS_CONFIG_MAP } from '../api/names.ts'
import type { CheckObject } from '../core/check.ts'
import { sameJson } from '../core/json.ts'
import { storeKey, type StoreChange } from '../kube/store.ts'
import { ownerKeys, type Caches } from './caches.ts'
import { kindKey, objectCheckKeys } from './check-index.ts'
import type { OwnWrites } from './own-writes.ts'
import { needsWholePod } from './request-facts.ts'

export interface Requeue {
  request: (key: string) => void
  policy: (key: string) => void
}

const withoutVersion = (version: KubeObject): object => ({ ...version, metadata: { ...version.metadata, resourceVersion: undefined } })

/** Whether a change of a trimmed object can matter: something besides its version differs. */
const matters = (change: StoreChange<KubeObject>): boolean => {
  if (change.type !== 'updated') return true
  return !sameJson(withoutVersion(change.old), withoutVersion(change.object))
}

/** A key of the queues in its parts. */
export const splitKey = (key: string): { namespace: string; name: string } => {
  const separator = key.indexOf('/')
  return { namespace: key.slice(0, separator), name: key.slice(separator + 1) }
}

const keyOf = ({ metadata }: KubeObject): string => storeKey(metadata.namespace, metadata.name)

const allOf = (objects: Iterable<KubeObject>, add: (key: string) => void): void => {
  for (const object of objects) add(keyOf(object))
}

/** How check objects and their kinds lead to requests. */
export interface CheckRequeue {
  onCheckObject: (apiVersion: string, kind: string, object: CheckObject, old?: CheckObject) => void
  onCheckKind: (apiVersion: string, kind: string) => void
}

/** Leads every change in the caches to the requests and policies that it touches, and to no others; a reconcile is not led to what it wrote itself. */
export const wireRequeue = (caches: Caches, own: Pick<OwnWrites, 'covers'>, requeue: Requeue): CheckRequeue => {
  const { requests, policies, connectors, pods, configMaps, roles, bindings } = caches
  const policiesBeside = (object: KubeObject): void => allOf(policies.byIndex('namespace', object.metadata.namespace ?? ''), requeue.policy)

  requests.onChange(({ object }) => {
    if (!own.covers(keyOf(object), object.metadata.resourceVersion)) requeue.request(keyOf(object))
  })
  pods.onChange((change) => {
    const isSeen = matters(change)
    // A template or an expression may read what is not in the cache; only the version tells that it may have changed.
    allOf(requests.byIndex('pod', keyOf(change.object)).filter((request) => isSeen || needsWholePod(request)), requeue.request)
  })
  connectors.onChange((change) => {
    if (!matters(change)) return
    const { object } = change
    allOf(requests.byIndex('connector', keyOf(object)), requeue.request)
    policiesBeside(object)
  })
  policies.onChange((change) => {
    const { type, object } = change
    // Our own status writes change nothing that anyone waits for.
    if (type === 'updated' && change.old.metadata.generation === object.metadata.generation) return
    if (type !== 'deleted') requeue.policy(keyOf(object))
    allOf(requests.byIndex('unmatched', object.metadata.namespace ?? ''), requeue.request)
  })
  configMaps.onChange(({ object }) => {
    if (object.metadata.name === FLAGS_CONFIG_MAP) allOf(requests.byIndex('open', 'open'), requeue.request)
    else allOf(requests.byIndex('template', object.metadata.name), requeue.request)
  })
  const onGrant = (change: StoreChange<KubeObject>): void => {
    const versions = change.type === 'updated' ? [change.old, change.object] : [change.object]
    for (const key of new Set(versions.flatMap(ownerKeys))) if (!own.covers(key, change.object.metadata.resourceVersion)) requeue.request(key)
  }
  roles.onChange(onGrant)
  bindings.onChange(onGrant)
  return {
    onCheckObject: (apiVersion, kind, object, old) => {
      const keys = new Set([object, ...(old === undefined ? [] : [old])].flatMap((version) => objectCheckKeys(apiVersion, kind, version)))
      // A request that selects the object and has it on record is told once: a second time it would run twice.
      allOf(new Set([...keys].flatMap((key) => requests.byIndex('check', key))), requeue.request)
    },
    onCheckKind: (apiVersion, kind) => allOf(requests.byIndex('kind', kindKey(apiVersion, kind)), requeue.request),
  }
}
