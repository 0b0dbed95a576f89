/**
 * A work queue of keys. A key is worked on by one worker at a time; adding it meanwhile makes one more run after. Failing keys wait longer
 * and longer. All waiting keys share one timer.
 */
import type { Logger } from 'pino'
import { retryAfterOf } from '../kube/kube-error.ts'
import { backoffMs, type Timers } from '../kube/timers.ts'
import { DueKeys } from './due-keys.ts'

/** What a run asks for: nothing, or another run after so many milliseconds. Only a rejection counts as a failure. */
export interface RunResult {
  requeueAfterMs?: number
}

export interface QueueOptions {
  /** @throws anything: the key is run again after a backoff */
  process: (key: string) => Promise<RunResult | undefined>
  /** How many keys at a time. */
  concurrency: number
  timers: Timers
  /** A number from 0 up to 1. */
  random: () => number
  /** For logs and metrics. @param failures how many times in a row, from 1 */
  onFailure: (key: string, error: unknown, failures: number, retryInMs: number) => void
  log: Pick<Logger, 'error'>
  /** Backoff of a failing key: base (default 50) doubled with each failure, up to cap (default 30,000), with jitter. */
  baseMs?: number
  capMs?: number
}

export interface WorkQueue {
  /** Runs the key soon. Before start, keys gather; after stop, nothing happens. */
  add(key: string): void
  /** Runs the key after so many milliseconds; of several pending times the earliest counts. */
  addAfter(key: string, ms: number): void
  /** The key has not failed before. A success does so too. */
  forget(key: string): void
  start(): void
  /** No run begins any more. @returns a promise that settles when the running ones are done */
  stop(): Promise<void>
  /** Keys that could run now. */
  readonly ready: number
  /** Keys that wait for their time. */
  readonly waiting: number
  readonly running: number
}

export const createQueue = (options: QueueOptions): WorkQueue => {
  const { process, concurrency, timers, random, onFailure, log, baseMs = 50, capMs = 30_000 } = options
  /** In order of arrival. */
  const ready = new Set<string>()
  const running = new Set<string>()
  /** Keys that were added while they ran. */
  const again = new Set<string>()
  const failures = new Map<string, number>()
  const due = new DueKeys()
  let state: 'new' | 'started' | 'stopped' = 'new'
  let timer: { at: number; cancel: () => void } | undefined
  let drained: (() => void) | undefined

  const add = (key: string): void => {
    if (state === 'stopped') return
    if (running.has(key)) again.add(key)
    else ready.add(key)
    pump()
  }

  const addAfter = (key: string, ms: number): void => {
    if (state === 'stopped') return
    if (ms <= 0) {
      add(key)
      return
    }
    due.add(key, timers.monotonic() + ms)
    arm()
  }

  /** One timer, for the earliest key. */
  const arm = (): void => {
    const at = due.earliest
    if (timer !== undefined && timer.at === at) return
    timer?.cancel()
    timer = undefined
    if (at === undefined || state === 'stopped') return
    timer = {
      at,
      cancel: timers.after(at - timers.monotonic(), () => {
        timer = undefined
        for (const key of due.takeUntil(timers.monotonic())) add(key)
        arm()
      }),
    }
  }

  const pump = (): void => {
    if (state !== 'started') return
    for (const key of ready) {
      if (running.size >= concurrency) return
      ready.delete(key)
      running.add(key)
      void run(key)
    }
  }

  const retry = (key: string, error: unknown): void => {
    const before = failures.get(key) ?? 0
    failures.set(key, before + 1)
    const delayMs = Math.max(backoffMs(before, { baseMs, capMs, random }), Math.min(retryAfterOf(error), capMs))
    addAfter(key, delayMs)
    try {
      onFailure(key, error, before + 1, delayMs)
    } catch (fault) {
      log.error({ err: fault, item: key }, 'the report of a failed run failed itself')
    }
  }

  const run = async (key: string): Promise<void> => {
    // Not within add: whoever adds is done with what it does first.
    await Promise.resolve()
    try {
      const result = await process(key)
      failures.delete(key)
      if (result?.requeueAfterMs !== undefined) addAfter(key, result.requeueAfterMs)
    } catch (error) {
      retry(key, error)
    }
    running.delete(key)
    if (again.delete(key)) add(key)
    pump()
    if (state === 'stopped' && running.size === 0) drained?.()
  }

  return {
    add,
    addAfter,
    forget: (key) => {
      failures.delete(key)
    },
    start: () => {
      if (state === 'new') state = 'started'
      pump()
    },
    stop: () => {
      state = 'stopped'
      timer?.cancel()
      timer = undefined
      ready.clear()
      again.clear()
      due.clear()
      if (running.size === 0) return Promise.resolve()
      return new Promise((resolve) => {
        const before = drained
        drained = () => {
          before?.()
          resolve()
        }
      })
    },
    get ready() {
      return ready.size
    },
    get waiting() {
      return due.size
    },
    get running() {
      return running.size
    },
  }
}
