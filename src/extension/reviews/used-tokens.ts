/** Which tokens were used, remembered by this replica for as long as they would be good. */
import type { Clock } from '../../kube/ports.ts'

/** A token is taken for a moment after its end, since clocks differ; it is remembered for longer, milliseconds. */
const LEEWAY_MS = 60_000
/** Tokens that are remembered at once. */
const CAPACITY = 100_000

export interface UsedTokens {
  isUsed(jti: string): boolean
  /**
   * Uses a token up.
   * @param expiresAt milliseconds since the epoch
   * @returns `full` when no more can be remembered: then nobody could tell a second use, and the token does not count as used
   */
  use(jti: string, expiresAt: number): 'now used' | 'used before' | 'full'
}

export const createUsedTokens = (clock: Clock, capacity: number = CAPACITY): UsedTokens => {
  /** By jti: until when, milliseconds since the epoch. In the order of use, which is nearly that of their ends. */
  const used = new Map<string, number>()

  /** Those at the front. One that stands behind a longer one goes with it, or when room is needed. */
  const forgetOld = (now: number): void => {
    for (const [jti, until] of used) {
      if (until > now) return
      used.delete(jti)
    }
  }
  const makeRoom = (now: number): void => {
    for (const [jti, until] of used) if (until <= now) used.delete(jti)
  }

  return {
    isUsed: (jti) => used.has(jti),
    use: (jti, expiresAt) => {
      const now = clock.now()
      if (used.has(jti)) return 'used before'
      forgetOld(now)
      if (used.size >= capacity) makeRoom(now)
      if (used.size >= capacity) return 'full'
      used.set(jti, expiresAt + LEEWAY_MS)
      return 'now used'
    },
  }
}
