/** Time that moves only when a test says so. */
import { setImmediate } from 'node:timers/promises'
import type { Clock } from '../../src/kube/ports.ts'
import type { Timers } from '../../src/kube/timers.ts'

export interface FakeTime {
  readonly clock: Clock
  readonly timers: Timers
  /** Moves both clocks on and runs what falls due, each at its time, letting promises settle in between. */
  advance(ms: number): Promise<void>
  /** Moves the clocks on without running anything, as for a process that is stopped. */
  freeze(ms: number): void
  /** Moves the wall clock alone. */
  stepWallClock(ms: number): void
  readonly pendingTimers: number
}

/** Lets everything that waits for promises alone go on. */
export const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 4; turn += 1) await setImmediate()
}

export const fakeTime = (startMs = Date.parse('2026-01-02T03:04:05Z')): FakeTime => {
  let monotonic = 1_000
  let wall = startMs
  let order = 0
  const pending = new Map<number, { at: number; run: () => void }>()

  const earliest = (): [number, { at: number; run: () => void }] | undefined => {
    const sorted = [...pending].toSorted(([a, x], [b, y]) => x.at - y.at || a - b)
    return sorted[0]
  }
  const moveTo = (at: number): void => {
    wall += Math.max(0, at - monotonic)
    monotonic = Math.max(monotonic, at)
  }

  return {
    clock: { now: () => wall },
    timers: {
      monotonic: () => monotonic,
      after: (ms, run) => {
        order += 1
        const id = order
        pending.set(id, { at: monotonic + Math.max(0, ms), run })
        return () => {
          pending.delete(id)
        }
      },
    },
    advance: async (ms) => {
      const end = monotonic + ms
      await settle()
      for (let next = earliest(); next !== undefined && next[1].at <= end; next = earliest()) {
        const [id, { at, run }] = next
        pending.delete(id)
        moveTo(at)
        run()
        await settle()
      }
      moveTo(end)
    },
    freeze: (ms) => moveTo(monotonic + ms),
    stepWallClock: (ms) => {
      wall += ms
    },
    get pendingTimers() {
      return pending.size
    },
  }
}
