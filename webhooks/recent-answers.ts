/**
 * Answers of the API server that one Pod after the other asks for: many Pods of one ServiceAccount are created at once, and each would
 * ask the same about its Connector. Only an answer that leads to asking for access is kept, and only for a moment: what it spoils at
 * worst is a request that was not needed any more, and the mount asks everything anew.
 */
import { createRecentMap } from '../src/core/recent-map.ts'
import type { Timers } from '../src/kube/timers.ts'

/** How long an answer is kept, milliseconds from the question. */
const KEEP_MS = 1_000
/** Answers that are kept at most; the half of them that was asked for last always is. */
const MAX_KEPT = 2_000

export interface RecentAnswers {
  /**
   * @param key what is asked, about whom
   * @param kept the answer that is kept; the other one is asked for again
   * @throws what `ask` throws; a failure is never kept
   */
  answer(key: string, kept: boolean, ask: () => Promise<boolean>): Promise<boolean>
}

export const createRecentAnswers = (timers: Timers): RecentAnswers => {
  const answers = createRecentMap<{ until: number; answer: Promise<boolean> }>(MAX_KEPT)

  const forget = (key: string, answer: Promise<boolean>): void => {
    if (answers.get(key)?.answer === answer) answers.delete(key)
  }

  const settle = async (key: string, kept: boolean, answer: Promise<boolean>): Promise<void> => {
    try {
      if ((await answer) === kept) return
    } catch {
      // Whoever asked is told.
    }
    forget(key, answer)
  }

  const askNow = (key: string, kept: boolean, ask: () => Promise<boolean>): Promise<boolean> => {
    const answer = ask()
    answers.set(key, { until: timers.monotonic() + KEEP_MS, answer })
    void settle(key, kept, answer)
    return answer
  }

  return {
    answer: (key, kept, ask) => {
      const known = answers.get(key)
      return known !== undefined && timers.monotonic() < known.until ? known.answer : askNow(key, kept, ask)
    },
  }
}
