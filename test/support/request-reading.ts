/** What a request says of itself, in short. */
import type { AccessRequest } from '../../src/api/access-request.ts'
import type { ConditionStatus } from '../../src/api/meta.ts'
import { ACCESS_REQUESTS } from '../../src/kube/resources.ts'
import type { Reader } from '../../src/kube/ports.ts'
import { eventually } from './eventually.ts'

/** `status/reason` by the type of the condition, for example `Unknown/Pending`. */
export type Reading = Record<string, `${ConditionStatus}/${string}`>

export const readingOf = ({ status }: AccessRequest): Reading =>
  Object.fromEntries((status?.conditions ?? []).map((condition) => [condition.type, `${condition.status}/${condition.reason}`] as const))

export const messageOf = ({ status }: AccessRequest, type: string): string => status?.conditions?.find((condition) => condition.type === type)?.message ?? ''

export interface Expected {
  /** The conditions that must read so; others may read as they like. */
  reads: Reading
  /** Words in the message of a condition, by its type. */
  says?: Record<string, string>
}

const isAsExpected = (request: AccessRequest, { reads, says = {} }: Expected): boolean => {
  const reading = readingOf(request)
  return (
    Object.entries(reads).every(([type, value]) => reading[type] === value) &&
    Object.entries(says).every(([type, words]) => messageOf(request, type).includes(words))
  )
}

/** Waits until a request reads as expected. @throws Error with what it says at last */
export const untilReads = async (reader: Reader, { namespace, name }: { namespace: string; name: string }, expected: Expected, boundMs?: number): Promise<AccessRequest> => {
  let last: AccessRequest | undefined
  return eventually(
    `AccessRequest ${namespace}/${name} reads ${JSON.stringify(expected)}`,
    async () => {
      last = await reader.get(ACCESS_REQUESTS, namespace, name)
      return last !== undefined && isAsExpected(last, expected) ? last : undefined
    },
    boundMs,
    () => last?.status?.conditions?.map(({ type, status, reason, message }) => `${type} ${status}/${reason}: ${message}`) ?? 'no status',
  )
}

/** Waits until all requests of a namespace are as they should be. @throws Error with how many are not, and what some of them say */
export const untilAllRequests = async (reader: Reader, namespace: string, what: string, isSo: (request: AccessRequest) => boolean, boundMs?: number): Promise<void> => {
  let others: AccessRequest[] = []
  await eventually(
    `all requests of ${namespace} are ${what}`,
    async () => {
      others = (await reader.list(ACCESS_REQUESTS, { namespace })).items.filter((request) => !isSo(request))
      return others.length === 0 ? true : undefined
    },
    boundMs,
    () => [`${others.length} are not`, ...others.slice(0, 3).map(({ metadata, status }) => [metadata.name, ...(status?.conditions ?? []).map(({ type, status: is, reason, message }) => `${type} ${is}/${reason}: ${message}`)])],
  )
}

/** Pod, Connector and policies were looked at: a request that is only stored reads Unknown/Pending everywhere. */
const WAITING: Reading = { ContextObjectValid: 'True/Active', AccessPolicyMatched: 'True/Matched', AccessCheckReady: 'Unknown/Pending', AccessPermissionSync: 'Unknown/Pending', Ready: 'Unknown/Pending' }
const USABLE: Reading = { AccessCheckReady: 'True/Passed', AccessPermissionSync: 'True/Synced', Ready: 'True/Synced' }

/** The readings that nearly every test waits for. */
export const READS = { waiting: WAITING, usable: USABLE } as const
