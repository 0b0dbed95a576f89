import { Counter, Histogram, type Registry } from 'prom-client'

export type ReviewKind = 'access' | 'token'
/** `yes` and `no` are answers; `failed`: there was none; `crowded`: it was not even asked. */
export type ReviewResult = 'yes' | 'no' | 'failed' | 'crowded'
/** `kept`: the access is still there and the session too old to be prolonged. */
export type RefreshResult = 'renewed' | 'kept' | 'denied' | 'failed'

export interface AuthMetrics {
  answered(route: string, code: number): void
  /** @param seconds from the question to the answer; left out for what was not asked */
  reviewed(kind: ReviewKind, result: ReviewResult, seconds?: number): void
  refreshed(result: RefreshResult): void
}

export const createAuthMetrics = (register: Registry): AuthMetrics => {
  const registers = [register]
  /** Counted by hand: a counter of the library looks up its labels at each request. */
  const answers = new Map<string, Map<number, number>>()
  register.registerMetric(
    new Counter({
      name: 'access_gate_auth_requests_total',
      help: 'Requests by route and status code.',
      labelNames: ['route', 'code'],
      registers: [],
      collect() {
        this.reset()
        for (const [route, codes] of answers) for (const [code, count] of codes) this.inc({ route, code }, count)
      },
    }),
  )
  const reviews = new Counter({
    name: 'access_gate_auth_reviews_total',
    help: 'Questions to the extension API, by kind (access or token) and result; users who ask the same at the same time count once.',
    labelNames: ['kind', 'result'],
    registers,
  })
  const seconds = new Histogram({
    name: 'access_gate_auth_review_seconds',
    help: 'Time from a question to the extension API to its answer.',
    labelNames: ['kind'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    registers,
  })
  const refreshes = new Counter({
    name: 'access_gate_auth_refreshes_total',
    help: 'Sessions near their end whose user was asked about again, by what became of them.',
    labelNames: ['result'],
    registers,
  })
  return {
    answered: (route, code) => {
      let codes = answers.get(route)
      if (codes === undefined) answers.set(route, (codes = new Map()))
      codes.set(code, (codes.get(code) ?? 0) + 1)
    },
    reviewed: (kind, result, took) => {
      reviews.inc({ kind, result })
      if (took !== undefined) seconds.observe({ kind }, took)
    },
    refreshed: (result) => refreshes.inc({ result }),
  }
}
