import type { AccessRequest } from '../src/api/access-request.ts'
import { LABEL } from '../src/api/names.ts'
import { labelValue } from '../src/core/request-identity.ts'
import type { Clock, Reader } from '../src/kube/ports.ts'
import { ACCESS_REQUESTS } from '../src/kube/resources.ts'

/** How long a request that was made here counts as possibly unseen, milliseconds. */
const WINDOW_MS = 60_000
/** Below this many of them nothing is listed: all replicas together stay below the cap that core holds. */
const LIST_FROM = 25
/** How long a listed count is used, milliseconds. */
const LIST_MS = 1_000
/** Namespaces that are remembered; the one that was quiet longest is forgotten. */
const MAX_NAMESPACES = 1_000
/** Requests that are remembered for one namespace; more would say nothing more. */
const MAX_REMEMBERED = 200

interface NamespaceRecord {
  /** When each request was made here, oldest first. */
  made: number[]
  /** All that were ever made here. */
  total: number
  /** The last list: when it was asked for, how many had been made here by then, and what it said. */
  listed?: { at: number; total: number; count: Promise<number> }
}

/**
 * How many requests of a workload namespace wait for a Pod that nobody has seen yet. Each replica knows at once what it made itself
 * and by a list what others made, so together they can pass the cap by what the others make within a second.
 */
export interface RequestCap {
  /**
   * Reads only when this replica has made many of late.
   * @returns the count as far as it is known, to be asked for at the moment of the decision: what was made since is in it
   * @throws CodedError KUBE_*
   */
  unseen(namespace: string): Promise<() => number>
  /** To be called for each request before it is made. */
  count(namespace: string): void
}

const unseenIn = (requests: readonly AccessRequest[], namespace: string): number =>
  requests.filter(({ spec, status }) => spec.context.objectRef.namespace === namespace && status?.contextUID === undefined).length

export const createRequestCap = (reader: Reader, clock: Clock): RequestCap => {
  const namespaces = new Map<string, NamespaceRecord>()

  const recordOf = (namespace: string): NamespaceRecord => {
    const now = clock.now()
    const record = namespaces.get(namespace) ?? { made: [], total: 0 }
    record.made = record.made.filter((at) => now - at < WINDOW_MS)
    return record
  }

  const list = async (namespace: string): Promise<number> => {
    const { items } = await reader.list(ACCESS_REQUESTS, { labelSelector: `${LABEL.contextNamespace}=${labelValue(namespace)}` })
    return unseenIn(items, namespace)
  }

  return {
    unseen: async (namespace) => {
      const record = recordOf(namespace)
      if (record.made.length < LIST_FROM) return () => recordOf(namespace).made.length
      const now = clock.now()
      if (record.listed === undefined || now - record.listed.at >= LIST_MS) {
        const count = list(namespace)
        record.listed = { at: now, total: record.total, count }
        count.catch(() => {
          if (record.listed?.count === count) delete record.listed
        })
      }
      const { total, count } = record.listed
      const listed = await count
      return () => listed + record.total - total
    },
    count: (namespace) => {
      const record = recordOf(namespace)
      record.made = [...record.made.slice(1 - MAX_REMEMBERED), clock.now()]
      record.total += 1
      namespaces.delete(namespace)
      namespaces.set(namespace, record)
      const [quietest] = namespaces.keys()
      if (namespaces.size > MAX_NAMESPACES && quietest !== undefined) namespaces.delete(quietest)
    },
  }
}
