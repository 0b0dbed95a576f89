/** Makes the requests that core asks for: each once for a Pod, whatever fails in between. */
import type { Logger } from 'pino'
import type { AccessRequest } from '../api/access-request.ts'
import type { Mount } from '../core/mount-call.ts'
import { connectorName, isForIdentity } from '../core/request-identity.ts'
import { isCoded } from '../errors.ts'
import type { Reader, Writer } from '../kube/ports.ts'
import { ACCESS_REQUESTS } from '../kube/resources.ts'
import { requestIdentity } from './gate-facts.ts'
import { CsiError } from './grpc-status.ts'
import type { CsiMetrics } from './metrics.ts'
import type { VolumeRecords } from './volume-records.ts'

export interface MakeRequestsDeps {
  reader: Pick<Reader, 'get'>
  writer: Pick<Writer, 'create'>
  records: Pick<VolumeRecords, 'asked' | 'addAsked' | 'addMaking'>
  logger: Logger
  metrics: Pick<CsiMetrics, 'requestMade'>
}

export interface MakeRequests {
  /**
   * That a request was asked for is on record once it is there: gone later, somebody deleted it, and it is not made again. That one is being made is
   * on record before: should the plugin end in between, the next look finds it or it is made then, under the same name. Made one after the other
   * for each Pod, because two of its volumes may name the same Connector.
   * @returns those that are there now
   * @throws CodedError KUBE_* when one could not be made; CsiError FAILED_PRECONDITION when something else has its name
   */
  make(mount: Mount, requests: readonly AccessRequest[]): Promise<AccessRequest[]>
  /** Resolves when none is being made: also those whose caller went away. */
  settled(): Promise<void>
}

export const createMakeRequests = ({ reader, writer, records, logger, metrics }: MakeRequestsDeps): MakeRequests => {
  const lines = new Map<string, Promise<unknown>>()

  /** The one that has the name already. @throws CsiError when it is another Pod's */
  const reuse = async (mount: Mount, { metadata: { namespace = '', name }, spec }: AccessRequest): Promise<AccessRequest | undefined> => {
    const found = await reader.get(ACCESS_REQUESTS, namespace, name)
    if (found === undefined || isForIdentity(found, requestIdentity(mount, { namespace, name: spec.connectorRef.name }))) return found
    throw new CsiError(
      'FAILED_PRECONDITION',
      `AccessRequest ${namespace}/${name} is there and speaks of another Pod, ServiceAccount or Connector than its name; delete it, and it is made anew`,
    )
  }

  const createOrReuse = async (mount: Mount, request: AccessRequest): Promise<AccessRequest | undefined> => {
    const { namespace = '', name } = request.metadata
    const said = { accessRequest: `${namespace}/${name}`, pod: mount.pod, volume: mount.volumeName }
    try {
      const created = await writer.create(ACCESS_REQUESTS, request)
      metrics.requestMade('created')
      logger.info(said, 'access request made')
      return created
    } catch (error) {
      if (!isCoded(error, 'KUBE_CONFLICT')) throw error
      const found = await reuse(mount, request)
      if (found === undefined) return undefined
      metrics.requestMade('reused')
      logger.info(said, 'access request exists already')
      return found
    }
  }

  const makeOne = async (mount: Mount, request: AccessRequest): Promise<AccessRequest[]> => {
    const { uid } = mount.pod
    const connector = connectorName({ namespace: request.metadata.namespace ?? '', name: request.spec.connectorRef.name })
    // Another volume of this Pod was faster.
    if ((await records.asked(uid)).has(connector)) return []
    await records.addMaking(uid, connector)
    const made = await createOrReuse(mount, request)
    await records.addAsked(uid, connector)
    return made === undefined ? [] : [made]
  }

  const makeAll = async (mount: Mount, requests: readonly AccessRequest[]): Promise<AccessRequest[]> => {
    const results = await Promise.allSettled(requests.map((request) => makeOne(mount, request)))
    const [failure] = results.filter((result) => result.status === 'rejected')
    if (failure !== undefined) throw failure.reason
    return results.flatMap((result) => (result.status === 'fulfilled' ? result.value : []))
  }

  return {
    make: async (mount, requests) => {
      if (requests.length === 0) return []
      const { uid } = mount.pod
      const before = lines.get(uid) ?? Promise.resolve()
      // Whatever became of the one before, its own caller heard of it.
      const made = before.then(
        () => makeAll(mount, requests),
        () => makeAll(mount, requests),
      )
      lines.set(uid, made)
      try {
        return await made
      } finally {
        if (lines.get(uid) === made) lines.delete(uid)
      }
    },
    settled: async () => {
      await Promise.allSettled(lines.values())
    },
  }
}
