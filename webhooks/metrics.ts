import { Counter, Histogram, type Registry } from 'prom-client'
import { createCertificateCounter, type CertificateLoad } from '../src/serving/certificate-metrics.ts'

/** How an admission request ended: `malformed` was no question at all, `crashed` a fault of ours. */
export type HookOutcome = 'allowed' | 'patched' | 'denied' | 'malformed' | 'crashed'

export interface HookMetrics {
  /** @param seconds from the parsed request to the answer; left out for what never reached the hook or crashed in it */
  answered(hook: string, outcome: HookOutcome, seconds?: number): void
  /** An access request of a Pod that is being created. */
  requestMade(result: 'created' | 'reused'): void
  /** A hook that could not do its work and answered all the same. */
  failed(hook: string, reason: 'error' | 'late' | 'crowded'): void
  certificate(result: CertificateLoad): void
}

/** Seconds; a hook that only decides takes well under a millisecond, one that reads some ten. */
const BUCKETS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]

export const createHookMetrics = (register: Registry): HookMetrics => {
  const registers = [register]
  const requests = new Counter({
    name: 'access_gate_admission_requests_total',
    help: 'Admission requests by hook and outcome.',
    labelNames: ['hook', 'outcome'],
    registers,
  })
  const duration = new Histogram({
    name: 'access_gate_admission_duration_seconds',
    help: 'Time from the parsed admission request to the answer.',
    labelNames: ['hook'],
    buckets: BUCKETS,
    registers,
  })
  const made = new Counter({
    name: 'access_gate_requests_made_total',
    help: 'Access requests of Pods at their admission: created, or reused because they existed.',
    labelNames: ['result'],
    registers,
  })
  const failures = new Counter({
    name: 'access_gate_hook_failures_total',
    help: 'Work of a hook that failed, took too long or found no turn; the object was admitted all the same.',
    labelNames: ['hook', 'reason'],
    registers,
  })
  return {
    answered: (hook, outcome, seconds) => {
      requests.inc({ hook, outcome })
      if (seconds !== undefined) duration.observe({ hook }, seconds)
    },
    requestMade: (result) => made.inc({ result }),
    failed: (hook, reason) => failures.inc({ hook, reason }),
    certificate: createCertificateCounter(register),
  }
}
