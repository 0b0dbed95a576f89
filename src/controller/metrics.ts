import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { registerWatchSilence } from '../metrics-server.ts'
import type { Caches } from './caches.ts'
import type { CheckWatches } from './check-watches.ts'

export interface ControllerMetrics {
  register: Registry
  /** Outcome of one reconcile: done, race (tried again at once) or failed (tried again with backoff). */
  reconciles: Counter<'loop' | 'outcome'>
  seconds: Histogram<'loop'>
  /** Grants, refusals, revokes and repairs, by the reason of their Event. */
  notices: Counter<'reason'>
}

export interface Observed {
  caches: Caches
  checks: Pick<CheckWatches, 'sizes'>
  /** Keys that wait in the queues. */
  queued: () => number
  leading: () => boolean
  /** Seconds since the watch that was heard last was heard; by resource. */
  silence: () => Map<string, number>
}

export const createControllerMetrics = (observed: Observed): ControllerMetrics => {
  const register = new Registry()
  const registers = [register]
  register.registerMetric(
    new Gauge({
      name: 'access_gate_leading',
      help: '1 while this replica holds the lease',
      registers: [],
      collect() {
        this.set(observed.leading() ? 1 : 0)
      },
    }),
  )
  register.registerMetric(
    new Gauge({
      name: 'access_gate_queue_length',
      help: 'Requests and policies that wait to be looked at',
      registers: [],
      collect() {
        this.set(observed.queued())
      },
    }),
  )
  register.registerMetric(
    new Gauge({
      name: 'access_gate_cached_objects',
      help: 'Objects in memory, by kind',
      labelNames: ['kind'],
      registers: [],
      collect() {
        this.reset()
        for (const [kind, store] of Object.entries(observed.caches)) this.set({ kind }, store.size)
        for (const [kind, size] of observed.checks.sizes()) this.set({ kind }, size)
      },
    }),
  )
  registerWatchSilence(register, observed.silence)
  return {
    register,
    reconciles: new Counter({ name: 'access_gate_reconciles_total', help: 'Reconciles by their outcome', labelNames: ['loop', 'outcome'], registers }),
    seconds: new Histogram({
      name: 'access_gate_reconcile_seconds',
      help: 'Duration of reconciles',
      labelNames: ['loop'],
      buckets: [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5],
      registers,
    }),
    notices: new Counter({ name: 'access_gate_decisions_total', help: 'Grants, refusals, revokes and repairs, by reason', labelNames: ['reason'], registers }),
  }
}
