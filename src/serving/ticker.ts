import type { Timers } from '../kube/timers.ts'

/** A task that runs again and again, never twice at once. */
export interface Ticker {
  /** No run starts any more; resolves when the one under way has ended. */
  stop(): Promise<void>
}

export interface Pace {
  /** Before the first run, milliseconds. */
  first: number
  /** From the end of one run to the start of the next, milliseconds; up to a tenth is added so that replicas spread. */
  every: () => number
}

/** @param failed told what the task throws; the next run comes all the same */
export const startTicker = (timers: Timers, { first, every }: Pace, task: () => Promise<unknown>, failed: (error: unknown) => void): Ticker => {
  let stopped = false
  let running: Promise<void> = Promise.resolve()
  let cancel: (() => void) | undefined
  const run = async (): Promise<void> => {
    try {
      await task()
    } catch (error) {
      failed(error)
    }
    schedule(every() * (1 + Math.random() / 10))
  }
  const schedule = (ms: number): void => {
    if (stopped) return
    cancel = timers.after(ms, () => {
      running = run()
    })
  }
  schedule(first)
  return {
    stop: async () => {
      stopped = true
      cancel?.()
      await running
    },
  }
}
