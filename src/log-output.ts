/**
 * Where the lines of the log go. A write for each costs a request a tenth of its time, so those that come close together are written together.
 * A reader that stands still holds up nobody: what it does not take waits, up to a bound.
 */
import { writeSync } from 'node:fs'
import { errorCode } from './errors.ts'
import { systemTimers, type Timers } from './kube/timers.ts'

export interface LineOutput {
  write(line: string): void
  /** Writes all that waits, and waits for a reader that lives, for a bounded time. */
  flushSync(): void
}

export interface LineOutputDeps {
  /** @returns how many bytes were taken, of one or more. @throws an error with the code EAGAIN while none is */
  take: (bytes: Buffer) => number
  /** Stands still for so long, milliseconds. */
  pause: (ms: number) => void
  timers: Timers
}

/** Lines within it go together, milliseconds: too short for anybody who reads along. */
const TOGETHER_MS = 20
/** Until a reader that took nothing is tried again, milliseconds. */
const RETRY_MS = 100
/** Characters that do not wait for more. */
const ENOUGH = 16 * 1024
/** Characters that wait at most; lines beyond it are dropped and counted. */
const MOST = 4 * 1024 * 1024
/** At the end, milliseconds: how long a reader may stand still, and how often it is tried. */
const LAST_MS = 1_000
const PAUSE_MS = 10

export const createLineOutput = ({ take, pause, timers }: LineOutputDeps): LineOutput => {
  /** What was begun, and could not be taken whole. */
  let rest: Buffer = Buffer.alloc(0)
  let waiting = ''
  let dropped = 0
  let wroteAt = Number.NEGATIVE_INFINITY
  let cancel: (() => void) | undefined

  const next = (): Buffer => {
    if (rest.length > 0 || waiting === '') return rest
    const note = dropped === 0 ? '' : `${JSON.stringify({ level: 'warn', dropped, msg: 'lines of the log are missing here: nobody took them' })}\n`
    rest = Buffer.from(waiting + note)
    waiting = ''
    dropped = 0
    return rest
  }

  /** @returns whether all is written, or given up because nobody can take it */
  const drain = (): boolean => {
    wroteAt = timers.monotonic()
    try {
      for (let bytes = next(); bytes.length > 0; bytes = next()) {
        const taken = take(bytes)
        if (taken === 0) return false
        rest = bytes.subarray(taken)
      }
      return true
    } catch (error) {
      if (errorCode(error) === 'EAGAIN') return false
      // The reader is gone, or the disk is full: the log cannot say so, and the work goes on.
      rest = Buffer.alloc(0)
      waiting = ''
      return true
    }
  }

  const stopWaiting = (): void => {
    cancel?.()
    cancel = undefined
  }

  const drainLater = (ms: number): void => {
    cancel ??= timers.after(ms, () => {
      cancel = undefined
      if (!drain()) drainLater(RETRY_MS)
    })
  }

  return {
    write: (line) => {
      if (waiting.length + line.length > MOST) {
        dropped += 1
        return
      }
      waiting += line
      // Nothing was written for a while: a line that comes alone is there at once, should the process end hard.
      const isAlone = cancel === undefined && timers.monotonic() - wroteAt >= TOGETHER_MS
      const isEnough = waiting.length > ENOUGH && rest.length === 0
      if (!isAlone && !isEnough) return drainLater(TOGETHER_MS)
      stopWaiting()
      if (!drain()) drainLater(RETRY_MS)
    },
    flushSync: () => {
      stopWaiting()
      const end = timers.monotonic() + LAST_MS
      while (!drain() && timers.monotonic() < end) pause(PAUSE_MS)
    },
  }
}

const NEVER = new Int32Array(new SharedArrayBuffer(4))

/** Standard output, to its last line when the process ends by itself. */
export const standardOutput = (): LineOutput => {
  const { fd } = process.stdout
  const output = createLineOutput({ take: (bytes) => writeSync(fd, bytes), pause: (ms) => void Atomics.wait(NEVER, 0, 0, ms), timers: systemTimers })
  process.on('exit', () => output.flushSync())
  return output
}
