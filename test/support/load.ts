/** Callers that go on until a test has seen enough, and an exact count of what became of their calls. */
import { setTimeout as delay } from 'node:timers/promises'

export interface Load {
  readonly answered: number
  /** What went wrong, one sentence for each call that failed. */
  readonly failed: readonly string[]
  /** No call begins any more; resolves when the last one has ended. */
  stop(): Promise<void>
}

/**
 * @param callers how many call at once, each one call after the other
 * @param everyMs between the beginnings of two calls of one caller; it waits for the answer in any case
 * @param call one call; undefined when it was answered as it should be, else what was wrong; what it throws is a failure
 */
export const startLoad = (callers: number, everyMs: number, call: (caller: number, turn: number) => Promise<string | undefined>): Load => {
  let answered = 0
  const ending = new AbortController()
  const failed: string[] = []
  const run = async (caller: number): Promise<void> => {
    for (let turn = 0; !ending.signal.aborted; turn += 1) {
      const pause = delay(everyMs)
      try {
        const wrong = await call(caller, turn)
        if (wrong === undefined) answered += 1
        else failed.push(wrong)
      } catch (error) {
        failed.push(error instanceof Error && 'code' in error ? `${String(error.code)}: ${error.message}` : String(error))
      }
      await pause
    }
  }
  const all = Promise.all(Array.from({ length: callers }, (_, caller) => run(caller)))
  return {
    get answered() {
      return answered
    },
    failed,
    stop: async () => {
      ending.abort()
      await all
    },
  }
}
