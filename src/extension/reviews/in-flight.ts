/** Many ask the same at the same moment, when a page is opened that makes many requests. They share one answer, and nothing is kept of it. */
import type { Clock } from '../../kube/ports.ts'

/**
 * How long after it was first asked a question is still joined, milliseconds. The auth middleware shares a yes for 0.9 s after it asked, so
 * with this nobody hears a yes that is more than a second old.
 */
const JOIN_MS = 100

export interface InFlight<T> {
  /** @param key of the whole question, see question-key.ts; short, for V8 hashes a long name of a property by its length alone. @throws what `ask` throws, for all who share it */
  share(key: string, ask: () => Promise<T>): Promise<T>
}

interface Question<T> {
  since: number
  answer: Promise<T>
}

export const createInFlight = <T>(clock: Clock): InFlight<T> => {
  // No Map: one whose entries come and go grows and shrinks all the time, each old table points to the next, and so what was ever in one of them
  // stays until the old generation is collected. Half of each review did.
  const asked: Record<string, Question<T> | undefined> = Object.create(null)

  return {
    share: async (key, ask) => {
      const since = clock.now()
      const known = asked[key]
      const age = known === undefined ? Number.NaN : since - known.since
      if (known !== undefined && age >= 0 && age < JOIN_MS) return known.answer
      const question: Question<T> = { since, answer: ask() }
      asked[key] = question
      try {
        return await question.answer
      } finally {
        if (asked[key] === question) Reflect.deleteProperty(asked, key)
      }
    },
  }
}
