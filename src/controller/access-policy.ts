import { decideAccessPolicy } from '../core/decide-policy.ts'
import { sameJson } from '../core/json.ts'
import { isCoded } from '../errors.ts'
import type { Clock, Writer } from '../kube/ports.ts'
import { ACCESS_POLICIES } from '../kube/resources.ts'
import type { Caches } from './caches.ts'
import { splitKey } from './requeue.ts'

/**
 * Writes the status of one policy when it says something else than before.
 * @param key `<namespace>/<name>`
 */
export const reconcilePolicy = async ({ writer, caches, clock }: { writer: Writer; caches: Caches; clock: Clock }, key: string): Promise<void> => {
  const { namespace, name } = splitKey(key)
  const policy = caches.policies.get(namespace, name)
  if (policy === undefined || policy.metadata.deletionTimestamp !== undefined) return
  const connectors = [...caches.connectors.byIndex('namespace', namespace)]
  const status = decideAccessPolicy(policy, connectors, clock.now())
  if (sameJson(policy.status, status)) return
  try {
    caches.policies.put(await writer.replaceStatus(ACCESS_POLICIES, { ...policy, apiVersion: ACCESS_POLICIES.apiVersion, kind: ACCESS_POLICIES.kind, status }))
  } catch (error) {
    // Deleted meanwhile: there is no status to write any more.
    if (!isCoded(error, 'KUBE_NOT_FOUND')) throw error
  }
}
