import { CONDITION, type AccessRequest } from '../api/access-request.ts'
import { conditionOf, isFinal } from './conditions.ts'
import { parseTime } from './time.ts'

/** Finished requests that are kept for the Pods of one namespace; whoever creates and deletes Pods all day fills no more than this. */
export const MAX_FINISHED = 500
/** A request that ended so recently (milliseconds) stays: what it says of its Role still counts for a successor of its Pod. */
export const FRESHLY_FINISHED_MS = 60_000

/** When it ended, in milliseconds since the epoch; the longest ago when nobody knows. */
const endOf = ({ status }: AccessRequest): number => parseTime(conditionOf(status, CONDITION.accessPermissionSync)?.lastTransitionTime) ?? 0

/**
 * The finished requests that are too many: beyond the newest of each workload namespace, whatever Connectors they were for.
 * @param now milliseconds since the epoch
 */
export const surplusRequests = (requests: Iterable<AccessRequest>, now: number): AccessRequest[] => {
  const finished = new Map<string, AccessRequest[]>()
  for (const request of requests) {
    if (!isFinal(request.status) || request.metadata.deletionTimestamp !== undefined) continue
    const { namespace } = request.spec.context.objectRef
    const known = finished.get(namespace)
    if (known === undefined) finished.set(namespace, [request])
    else known.push(request)
  }
  return [...finished.values()]
    .filter(({ length }) => length > MAX_FINISHED)
    .flatMap((of) => of.toSorted((left, right) => endOf(right) - endOf(left)).slice(MAX_FINISHED))
    .filter((request) => now - endOf(request) >= FRESHLY_FINISHED_MS)
}
