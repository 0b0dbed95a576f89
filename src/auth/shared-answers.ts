/**
 * A page that is opened makes many requests at once, and many people open theirs when the day begins: whoever asks the same within a
 * moment gets the same answer. What anybody hears is never older than a second, so that is how late a withdrawn access is noticed.
 */
import { createRecentMap } from '../core/recent-map.ts'
import type { Timers } from '../kube/timers.ts'

/** How long after it was asked an answer is given to others, milliseconds: a second less the way to the API server. */
export const SHARED_MS = 900
/** Answers that are there at most; the half of them that was asked for last always is. What is forgotten while it is under way may be asked twice. */
const MAX_SHARED = 10_000

export interface SharedAnswers<T> {
  /**
   * @param key the whole question, so written that no two questions have the same
   * @throws what `ask` throws, for all who share it
   */
  answer(key: string, ask: () => Promise<T>): Promise<T>
}

/** @param lasts whether an answer is given to those who come after it; every other one is for those alone who waited for it */
export const createSharedAnswers = <T>(timers: Pick<Timers, 'monotonic'>, lasts: (answer: T) => boolean): SharedAnswers<T> => {
  const shared = createRecentMap<{ askedAt: number; answer: Promise<T> }>(MAX_SHARED)

  return {
    answer: async (key, ask) => {
      const now = timers.monotonic()
      const known = shared.get(key)
      if (known !== undefined && now - known.askedAt < SHARED_MS) return known.answer
      const entry = { askedAt: now, answer: ask() }
      shared.set(key, entry)
      let isLasting = false
      try {
        const answer = await entry.answer
        isLasting = lasts(answer)
        return answer
      } finally {
        if (!isLasting && shared.get(key) === entry) shared.delete(key)
      }
    },
  }
}
