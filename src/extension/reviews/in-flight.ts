/** Many ask the same at the same moment, when a page is opened that makes many requests. They share one answer, and nothing is kept of it. */
import type { Clock } from '../../kube/ports.ts'

/**
 * How long after it was first asked a question is still joined, milliseconds. The auth middleware shares a yes for 0.9 s after it asked, so
 * with this nobody hears a yes that is more than a second old.
 */
const JOIN_MS = 100

export interface InFlight<T> {
  /** @param key the whole question, so written that no two questions have the same. @throws what `ask` throws, for all who share it */
  share(key: string, ask: () => Promise<T>): Promise<T>
}

export const createInFlight = <T>(clock: Clock): InFlight<T> => {
  const asked = new Map<string, { since: number; answer: Promise<T> }>()

  return {
    share: async (key, ask) => {
      const since = clock.now()
      const known = asked.get(key)
      const age = known === undefined ? Number.NaN : since - known.since
      if (known !== undefined && age >= 0 && age < JOIN_MS) return known.answer
      const entry = { since, answer: ask() }
      asked.set(key, entry)
      try {
        return await entry.answer
      } finally {
        if (asked.get(key) === entry) asked.delete(key)
      }
    },
  }
}
