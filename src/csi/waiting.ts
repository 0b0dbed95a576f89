/** Waiting inside a mount call: what ends it, what wakes it, and how often it looks again when nothing does. */
import type { Clock } from '../kube/ports.ts'
import { sleep, type Timers } from '../kube/timers.ts'
import { CsiError, type CsiCode } from './grpc-status.ts'

/** kubelet hears what was waited for this long before it would give up by itself, milliseconds. */
const MARGIN_MS = 10_000
/** For a caller that names no deadline, milliseconds: kubelet's own. */
const NO_DEADLINE_MS = 120_000
/** After an approval the API server's authorizer follows within milliseconds, or a second or two when it is busy. */
const SOON = { firstMs: 50, capMs: 1_000 }
/** A Role that somebody gives by hand wakes nobody. */
const SELDOM_MS = 15_000
/** Signs may come in a storm; looks follow each other no faster than this, milliseconds. */
const LEAST_MS = 50
/** Of each pause this part is random, up or down, so that many waiters spread. */
const JITTER = 0.1

/** How long until the next look when nothing wakes the waiter before. */
export interface Pace {
  /** @param soon the answer is expected to change by itself at any moment */
  next(soon: boolean): number
}

/** @param random a number from 0 up to 1 */
export const createPace = (random: () => number): Pace => {
  let looks = 0
  return {
    next: (soon) => {
      const full = soon ? Math.min(SOON.capMs, SOON.firstMs * 2 ** looks) : SELDOM_MS
      looks = soon ? looks + 1 : 0
      return full * (1 + JITTER * (2 * random() - 1))
    },
  }
}

/** One mount call that may wait. */
export interface Wait {
  /** Something changed: the next sleep is over, or the one that comes. */
  wake(): void
  /** Nothing is left to wait for: whatever the call awaits fails with this. The first end counts. */
  end(why: WaitEnded): void
  /** The outcome of the work, unless the wait ends before. What comes of the work then is dropped. @throws WaitEnded */
  or<T>(work: Promise<T>): Promise<T>
  /**
   * Until something wakes it or `ms` are over. Who is woken again and again sleeps for LEAST_MS all the same.
   * @returns false when the time that the caller gives is used up, at once when it was before
   * @throws WaitEnded
   */
  sleep(ms: number): Promise<boolean>
  /** Releases what listens. */
  close(): void
}

export interface WaitOptions {
  /** Of the call, milliseconds since the epoch; not finite: the caller has none. */
  deadline: number
  /** Aborted: the caller is gone or the plugin stops; a reason that is a CsiError is what the call ends with. */
  signal: AbortSignal
  clock: Clock
  timers: Timers
}

/** The wait ended before anything was decided. */
export class WaitEnded extends CsiError {
  constructor(code: CsiCode, message: string) {
    super(code, message)
    this.name = 'WaitEnded'
  }
}

/** The caller's time is used up, or it is not to be waited at all. */
export class StillWaiting extends CsiError {
  constructor(code: CsiCode, message: string) {
    super(code, message)
    this.name = 'StillWaiting'
  }
}

export const createWait = ({ deadline, signal, clock, timers }: WaitOptions): Wait => {
  const ended = Promise.withResolvers<never>()
  // Whoever waits gets it; nobody has to.
  ended.promise.catch(() => undefined)
  const givenUpAt = timers.monotonic() + (Number.isFinite(deadline) ? deadline - clock.now() : NO_DEADLINE_MS) - MARGIN_MS
  let isAwake = false
  /** When it was woken last, monotonic milliseconds. */
  let wokenAt = Number.NEGATIVE_INFINITY
  let nap: AbortController | undefined

  const end = (why: WaitEnded): void => ended.reject(why)
  const onAbort = (): void => {
    const reason: unknown = signal.reason
    end(reason instanceof CsiError ? new WaitEnded(reason.code, reason.message) : new WaitEnded('ABORTED', 'the caller gave up; kubelet asks again'))
  }
  signal.addEventListener('abort', onAbort, { once: true })
  if (signal.aborted) onAbort()

  const or = <T>(work: Promise<T>): Promise<T> => Promise.race([ended.promise, work])
  return {
    wake: () => {
      isAwake = true
      nap?.abort()
    },
    end,
    or,
    sleep: async (ms) => {
      const left = givenUpAt - timers.monotonic()
      if (left <= 0) return false
      if (!isAwake) {
        const mine = new AbortController()
        nap = mine
        try {
          await or(sleep(timers, Math.min(ms, left), mine.signal))
        } finally {
          mine.abort()
        }
      }
      if (isAwake) {
        const early = wokenAt + LEAST_MS - timers.monotonic()
        if (early > 0) await or(sleep(timers, early, signal))
        wokenAt = timers.monotonic()
      }
      // One that was woken looks once more, however late it is.
      const goesOn = isAwake || timers.monotonic() < givenUpAt
      isAwake = false
      return goesOn
    },
    close: () => signal.removeEventListener('abort', onAbort),
  }
}

/** How many calls may wait at once. */
export interface WaitingRoom {
  readonly size: number
  /** @returns the way out @throws StillWaiting UNAVAILABLE when it is full */
  enter(): () => void
}

export const createWaitingRoom = (places: number): WaitingRoom => {
  let size = 0
  return {
    get size() {
      return size
    },
    enter: () => {
      if (size >= places) throw new StillWaiting('UNAVAILABLE', `${places} mounts wait on this node already; kubelet asks again`)
      size += 1
      let isIn = true
      return () => {
        if (isIn) size -= 1
        isIn = false
      }
    },
  }
}
