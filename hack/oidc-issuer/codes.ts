/** Authorization codes: each is good once, for a minute, for the one who asked for it. */
import { createHash, randomBytes } from 'node:crypto'

/** What a code was made for. */
export interface CodeGrant {
  user: string
  redirectUri: string
  /** Of PKCE, S256. */
  challenge: string
  nonce: string | undefined
}

export interface Codes {
  make(grant: CodeGrant): string
  /** @returns undefined for a code that is unknown, used or too old, or whose redirect URI or verifier is not the one it was made for; it is used up in any case */
  redeem(code: string, redirectUri: string, verifier: string): CodeGrant | undefined
}

const LIFE_MS = 60_000
/** What RFC 7636 lets a verifier be. */
const VERIFIER = /^[\w.~-]{43,128}$/

const s256 = (verifier: string): string => createHash('sha256').update(verifier).digest('base64url')

export const createCodes = (now: () => number): Codes => {
  const open = new Map<string, CodeGrant & { endsAt: number }>()
  return {
    make: (grant) => {
      for (const [code, { endsAt }] of open) if (endsAt <= now()) open.delete(code)
      const code = randomBytes(24).toString('base64url')
      open.set(code, { ...grant, endsAt: now() + LIFE_MS })
      return code
    },
    redeem: (code, redirectUri, verifier) => {
      const found = open.get(code)
      open.delete(code)
      if (found === undefined || found.endsAt <= now() || found.redirectUri !== redirectUri) return undefined
      return VERIFIER.test(verifier) && s256(verifier) === found.challenge ? found : undefined
    },
  }
}
