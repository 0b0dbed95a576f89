import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { registerWatchSilence } from '../metrics-server.ts'
import type { CallMetrics } from './calls.ts'
import type { RegistrationMetrics } from './registration.ts'

/**
 * How a mount call ended: `mounted`, `refused` (the volume says why), `waiting` (not decided in time), `failed` (nothing to wait for),
 * `ended` (the Pod or the caller went away, or the plugin stopped), `republished` (a mounted volume was looked at again).
 */
export type PublishOutcome = 'mounted' | 'refused' | 'waiting' | 'failed' | 'ended' | 'republished'

export interface CsiMetrics extends CallMetrics, RegistrationMetrics {
  register: Registry
  published(outcome: PublishOutcome): void
  /** A volume was mounted or refused so many seconds after it was asked for first. */
  decidedAfter(outcome: 'mounted' | 'refused', seconds: number): void
  requestMade(result: 'created' | 'reused'): void
  /** A mounted volume could not be looked at again; it stays as it is. */
  republishFailed(): void
  /** Volumes of Pods that are gone, removed. */
  cleaned(volumes: number): void
}

export interface CsiObserved {
  /** Volumes on record, by what they hold. */
  volumes: () => Promise<{ files: number; refused: number }>
  /** Mount calls that wait. */
  waiting: () => number
  /** Seconds since the watch that was heard last was heard; by resource. */
  silence: () => Map<string, number>
}

/** Seconds: from what is allowed already, over an approval given at once, to one given the next day. */
const BUCKETS = [0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14_400, 86_400]

export const createCsiMetrics = ({ volumes, waiting, silence }: CsiObserved): CsiMetrics => {
  const register = new Registry()
  const registers = [register]
  register.registerMetric(
    new Gauge({
      name: 'access_gate_volumes',
      help: 'Volumes of this node, by what they hold: files, or the reason of a refusal',
      labelNames: ['kind'],
      registers: [],
      async collect() {
        for (const [kind, count] of Object.entries(await volumes())) this.set({ kind }, count)
      },
    }),
  )
  register.registerMetric(
    new Gauge({
      name: 'access_gate_waiting_mounts',
      help: 'Mount calls that wait for a decision now',
      registers: [],
      collect() {
        this.set(waiting())
      },
    }),
  )
  registerWatchSilence(register, silence)
  const publishes = new Counter({ name: 'access_gate_publishes_total', help: 'Mount calls of kubelet, by how they ended', labelNames: ['outcome'], registers })
  const decided = new Histogram({
    name: 'access_gate_mount_seconds',
    help: "From a volume's first mount call to the one that mounted it or showed the refusal",
    labelNames: ['outcome'],
    buckets: BUCKETS,
    registers,
  })
  const made = new Counter({
    name: 'access_gate_requests_made_total',
    help: 'Access requests of Pods at the mount: created, or reused because they existed',
    labelNames: ['result'],
    registers,
  })
  const republishErrors = new Counter({
    name: 'access_gate_republish_errors_total',
    help: 'Looks at mounted volumes that failed and left them as they are',
    registers,
  })
  const cleanedVolumes = new Counter({ name: 'access_gate_volumes_cleaned_total', help: 'Volumes removed because their Pod was gone', registers })
  const calls = new Histogram({
    name: 'access_gate_csi_call_seconds',
    help: 'Calls over the sockets, by method and gRPC code; a mount call may wait inside',
    labelNames: ['method', 'code'],
    buckets: [0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 120],
    registers,
  })
  const isRegistered = new Gauge({ name: 'access_gate_csi_registered', help: '1 once kubelet took in the plugin, 0 when it refused', registers })
  return {
    register,
    answered: (method, code, seconds) => calls.observe({ method, code }, seconds),
    registered: (ok) => isRegistered.set(ok ? 1 : 0),
    published: (outcome) => publishes.inc({ outcome }),
    decidedAfter: (outcome, seconds) => decided.observe({ outcome }, seconds),
    requestMade: (result) => made.inc({ result }),
    republishFailed: () => republishErrors.inc(),
    cleaned: (count) => cleanedVolumes.inc(count),
  }
}
