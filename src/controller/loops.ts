import type { Logger } from 'pino'
import { isCoded, messageOf } from '../errors.ts'
import type { Timers } from '../kube/timers.ts'
import { isRace, reconcileRequest, type ReconcileDependencies } from './access-request.ts'
import { reconcilePolicy } from './access-policy.ts'
import { ownerKeys } from './caches.ts'
import type { ControllerMetrics } from './metrics.ts'
import { createQueue, type RunResult, type WorkQueue } from './queue.ts'
import type { Requeue } from './requeue.ts'

export interface LoopsOptions {
  reconcile: Omit<ReconcileDependencies, 'lookAgain'>
  metrics: Pick<ControllerMetrics, 'reconciles' | 'seconds'>
  workers: number
  timers: Timers
  /** A number from 0 up to 1. */
  random: () => number
  logger: Logger
}

/** The two loops of a leader. Outside of a term everything that is added is dropped: a term begins by looking at everything. */
export interface Loops extends Requeue {
  /** Works until the signal aborts; resolves when nothing is under way any more. */
  run(signal: AbortSignal): Promise<void>
  /** Keys that could be worked on now. */
  queued(): number
}

export const createLoops = ({ reconcile, metrics, workers, timers, random, logger }: LoopsOptions): Loops => {
  let term: { requests: WorkQueue; policies: WorkQueue } | undefined

  const measured =
    (loop: string, work: (key: string) => Promise<RunResult | undefined>) =>
    async (key: string): Promise<RunResult | undefined> => {
      const stop = metrics.seconds.startTimer({ loop })
      try {
        const result = await work(key)
        metrics.reconciles.inc({ loop, outcome: 'done' })
        return result
      } catch (error) {
        metrics.reconciles.inc({ loop, outcome: isRace(error) ? 'race' : 'failed' })
        throw error
      } finally {
        stop()
      }
    }

  const queue = (loop: string, work: (key: string) => Promise<RunResult | undefined>): WorkQueue =>
    createQueue({
      process: measured(loop, work),
      concurrency: workers,
      timers,
      random,
      log: logger,
      onFailure: (key, error, failures, retryInMs) => {
        const fields = { loop, object: key, failures, retryInMs: Math.round(retryInMs), error: messageOf(error) }
        if (isRace(error) || isCoded(error, 'NOT_LEADER')) logger.debug(fields, 'looking again')
        else if (isCoded(error)) logger.warn(fields, 'it failed and is tried again')
        else logger.error({ ...fields, err: error }, 'it failed unexpectedly and is tried again')
      },
    })

  return {
    request: (key) => term?.requests.add(key),
    policy: (key) => term?.policies.add(key),
    queued: () => (term === undefined ? 0 : term.requests.ready + term.policies.ready),
    run: async (signal) => {
      if (signal.aborted) return
      const { caches } = reconcile
      const requests: WorkQueue = queue('access-request', (key) => reconcileRequest({ ...reconcile, lookAgain: (again, ms) => requests.addAfter(again, ms) }, key))
      const policies = queue('access-policy', async (key) => {
        await reconcilePolicy(reconcile, key)
        return undefined
      })
      term = { requests, policies }
      for (const { metadata } of caches.requests.values()) requests.add(`${metadata.namespace ?? ''}/${metadata.name}`)
      // Also what belongs to requests that are gone.
      for (const store of [caches.roles, caches.bindings]) for (const object of store.values()) for (const key of ownerKeys(object)) requests.add(key)
      for (const { metadata } of caches.policies.values()) policies.add(`${metadata.namespace ?? ''}/${metadata.name}`)
      requests.start()
      policies.start()
      const { promise: over, resolve } = Promise.withResolvers<void>()
      signal.addEventListener('abort', () => resolve(), { once: true })
      await over
      term = undefined
      await Promise.all([requests.stop(), policies.stop()])
    },
  }
}
