import { Counter, Histogram, type Registry } from 'prom-client'
import { createCertificateCounter, type CertificateLoad } from '../serving/certificate-metrics.ts'

export interface ExtensionMetrics {
  /**
   * A review that got as far as its kind.
   * @param verdict of the review, or `refused` when it was never asked, `error` when it has no answer
   * @param seconds from the request's head to the answer
   */
  reviewed(kind: string, verdict: string, seconds: number): void
  /** Any request, by the code of its answer. */
  answered(code: number): void
  certificate(result: CertificateLoad): void
}

/** Seconds: a review is two calls to the API server. */
const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

export const createExtensionMetrics = (register: Registry): ExtensionMetrics => {
  const registers = [register]
  const reviews = new Counter({ name: 'access_gate_reviews_total', help: 'Reviews by kind and verdict.', labelNames: ['kind', 'verdict'], registers })
  const duration = new Histogram({
    name: 'access_gate_review_duration_seconds',
    help: 'Time from the head of a review to its answer.',
    labelNames: ['kind'],
    buckets: BUCKETS,
    registers,
  })
  const requests = new Counter({ name: 'access_gate_extension_requests_total', help: 'Requests to the extension API by the code of the answer.', labelNames: ['code'], registers })
  return {
    reviewed: (kind, verdict, seconds) => {
      reviews.inc({ kind, verdict })
      duration.observe({ kind }, seconds)
    },
    answered: (code) => requests.inc({ code }),
    certificate: createCertificateCounter(register),
  }
}
