/** Remembers tokens that were found good: most requests then need no signature to be worked out. */
import { hash } from 'node:crypto'
import { createRecentMap } from '../core/recent-map.ts'
import type { Clock } from '../kube/ports.ts'
import type { KeyRing } from './key-ring.ts'
import type { TokenReading, Tokens } from './tokens.ts'

/** Characters. Longer ones fit into no cookie, and are checked each time. */
const MAX_REMEMBERED = 4096

interface Remembered {
  reading: TokenReading
  /** Length of the token: as claims it takes about as many bytes, or half as many again. */
  characters: number
  /** When it was checked, milliseconds since the epoch. */
  from: number
  /** When it expires, milliseconds since the epoch. */
  until: number
}

/** What a token is known by. A Map takes longer to look up a text of this length than this takes, and would keep the text. */
const digestOf = (token: string): string => hash('sha256', token, 'base64')

/**
 * The same answers as `tokens` gives, some of them from memory. Only what was good is remembered, to its expiry at most; nothing
 * any more when the set of keys has changed. A clock that was set back makes it check again, for the sake of `nbf`.
 * @param maxCharacters of all tokens that are remembered together; those not seen for longest make room
 */
export const rememberVerified = (tokens: Tokens, ring: Pick<KeyRing, 'generation'>, clock: Clock, maxCharacters: number): Tokens => {
  const remembered = createRecentMap<Remembered>(maxCharacters, ({ characters }) => characters)
  let generation = ring.generation

  const forgetOldKeys = (): void => {
    if (generation === ring.generation) return
    generation = ring.generation
    remembered.clear()
  }

  const check = async (token: string, digest: string): Promise<TokenReading> => {
    const [asked, from] = [generation, clock.now()]
    const reading = await tokens.verify(token)
    forgetOldKeys()
    // Keys that changed meanwhile may be the ones it was checked with.
    if (reading.ok && generation === asked) remembered.set(digest, { reading, characters: token.length, from, until: reading.token.expiresAt })
    return reading
  }

  return {
    sign: (claims, times) => tokens.sign(claims, times),
    verify: (token) => {
      if (token.length > MAX_REMEMBERED) return tokens.verify(token)
      forgetOldKeys()
      const digest = digestOf(token)
      const known = remembered.get(digest)
      const now = clock.now()
      if (known !== undefined && known.from <= now && now < known.until) return Promise.resolve(known.reading)
      if (known !== undefined) remembered.delete(digest)
      return check(token, digest)
    },
  }
}
