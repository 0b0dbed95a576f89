/** Time that passes, injected: tests pass a fake one. */
import { performance } from 'node:perf_hooks'
import type { Clock } from './ports.ts'

export interface Timers {
  /** Milliseconds on a clock that never goes back; only differences mean something. */
  monotonic(): number
  /** Calls `run` once after `ms`; the returned function cancels it. A pending call keeps the process alive: cancel it on stop. */
  after(ms: number, run: () => void): () => void
}

/** Longer delays are cut to this by setTimeout's 32 bits; whoever waits longer looks at the clock again. */
const LONGEST_MS = 2 ** 31 - 1

export const systemClock: Clock = { now: () => Date.now() }

export const systemTimers: Timers = {
  monotonic: () => performance.now(),
  after: (ms, run) => {
    const timer = setTimeout(run, Math.min(Math.max(0, ms), LONGEST_MS))
    return () => clearTimeout(timer)
  },
}

/** Resolves after `ms`, or at once when the signal aborts. Never rejects. */
export const sleep = (timers: Timers, ms: number, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal?.aborted) {
      resolve()
      return
    }
    const done = (): void => {
      cancel()
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const cancel = timers.after(ms, done)
    signal?.addEventListener('abort', done, { once: true })
  })

/** The promise's outcome, or the error of `late` when it takes longer than `ms`. What comes after that is dropped, also a rejection. */
export const withDeadline = async <T>(timers: Timers, ms: number, promise: Promise<T>, late: () => Error): Promise<T> => {
  const { promise: expired, reject } = Promise.withResolvers<never>()
  const cancel = timers.after(ms, () => reject(late()))
  try {
    return await Promise.race([promise, expired])
  } finally {
    cancel()
  }
}

export interface BackoffOptions {
  baseMs: number
  capMs: number
  /** A number from 0 up to 1. */
  random: () => number
}

/** `base * 2^failures` up to the cap, with the upper half of it random, so that many waiters spread out. @param failures 0 for the first */
export const backoffMs = (failures: number, { baseMs, capMs, random }: BackoffOptions): number => {
  const full = Math.min(capMs, baseMs * 2 ** Math.min(failures, 40))
  return full / 2 + (full / 2) * random()
}
