/** Keeps finished requests from filling the cluster: what is beyond the newest of each workload namespace is deleted before its day is over. */
import type { Logger } from 'pino'
import { surplusRequests } from '../core/surplus-requests.ts'
import { isCoded } from '../errors.ts'
import type { Clock, Writer } from '../kube/ports.ts'
import { ACCESS_REQUESTS } from '../kube/resources.ts'
import { sleep, type Timers } from '../kube/timers.ts'
import type { Caches } from './caches.ts'

export interface TidyPorts {
  writer: Pick<Writer, 'remove'>
  caches: Pick<Caches, 'requests'>
  clock: Clock
  timers: Timers
  logger: Pick<Logger, 'info' | 'warn'>
}

const EVERY_MS = 60_000
/** At once, so that requests that wait are not held up; the rest has its turn a minute later. */
const MOST_AT_ONCE = 1_000

const tidy = async ({ writer, caches, clock, logger }: TidyPorts, signal: AbortSignal): Promise<void> => {
  const surplus = surplusRequests(caches.requests.values(), clock.now()).slice(0, MOST_AT_ONCE)
  let deleted = 0
  for (const { metadata } of surplus) {
    if (signal.aborted) return
    const { namespace, name, uid } = metadata
    try {
      if (await writer.remove(ACCESS_REQUESTS, namespace, name, uid === undefined ? {} : { uid })) deleted += 1
    } catch (error) {
      // Another one of that name by now.
      if (isCoded(error, 'KUBE_CONFLICT')) continue
      logger.warn({ accessRequest: `${namespace ?? ''}/${name}`, err: error }, 'a finished access request that is one too many could not be deleted; tried again in a minute')
      return
    }
  }
  if (deleted > 0) logger.info({ deleted }, 'finished access requests were deleted: their workload namespaces had too many')
}

/** Looks once a minute until the signal aborts; never rejects. */
export const tidyFinished = async (ports: TidyPorts, signal: AbortSignal): Promise<void> => {
  while (!signal.aborted) {
    await sleep(ports.timers, EVERY_MS, signal)
    if (!signal.aborted) await tidy(ports, signal)
  }
}
