/** Remembers tokens that were found good: most requests then need no signature to be worked out. */
import { createRecentMap } from '../core/recent-map.ts'
import type { Clock } from '../kube/ports.ts'
import type { KeyRing } from './key-ring.ts'
import type { TokenReading, Tokens } from './tokens.ts'

/** Characters. Longer ones fit into no cookie, and are checked each time. */
const MAX_REMEMBERED = 4096

interface Remembered {
  reading: TokenReading
  /** When it was checked, milliseconds since the epoch. */
  from: number
  /** When it expires, milliseconds since the epoch. */
  until: number
}

/** A copy that does not keep alive the text (a Cookie header) it was cut from. */
const detached = (text: string): string => Buffer.from(text, 'latin1').toString('latin1')

/**
 * The same answers as `tokens` gives, some of them from memory. Only what was good is remembered, to its expiry at most; nothing
 * any more when the set of keys has changed. A clock that was set back makes it check again, for the sake of `nbf`.
 * @param capacity how many tokens at most; those not seen for longest make room
 */
export const rememberVerified = (tokens: Tokens, ring: Pick<KeyRing, 'generation'>, clock: Clock, capacity: number): Tokens => {
  const remembered = createRecentMap<Remembered>(capacity)
  let generation = ring.generation

  const forgetOldKeys = (): void => {
    if (generation === ring.generation) return
    generation = ring.generation
    remembered.clear()
  }

  const remember = (token: string, reading: TokenReading, from: number): void => {
    if (!reading.ok || token.length > MAX_REMEMBERED) return
    remembered.set(detached(token), { reading, from, until: reading.token.expiresAt })
  }

  const check = async (token: string): Promise<TokenReading> => {
    const [asked, from] = [generation, clock.now()]
    const reading = await tokens.verify(token)
    forgetOldKeys()
    // Keys that changed meanwhile may be the ones it was checked with.
    if (generation === asked) remember(token, reading, from)
    return reading
  }

  return {
    sign: (claims, times) => tokens.sign(claims, times),
    verify: (token) => {
      forgetOldKeys()
      const known = remembered.get(token)
      const now = clock.now()
      if (known !== undefined && known.from <= now && now < known.until) return Promise.resolve(known.reading)
      if (known !== undefined) remembered.delete(token)
      return check(token)
    },
  }
}
