/** Signs and checks our tokens: JWTs of HS384, by the keys of a ring. */
import { errors, jwtVerify, SignJWT, type CryptoKey, type JWTHeaderParameters } from 'jose'
import { isKid, type SigningKey } from '../core/signing-keys.ts'
import { CodedError } from '../errors.ts'
import type { Clock } from '../kube/ports.ts'
import type { KeyRing } from './key-ring.ts'
import { isPayload, readClaims, writeClaims, type TokenClaims, type VerifiedToken } from './token-claims.ts'

export type { TokenClaims, VerifiedToken } from './token-claims.ts'

/** Why a token is none, for a log: never a part of it. */
export type TokenFault = 'expired' | 'signature' | 'kid' | 'malformed' | 'claims'
export type TokenReading = { ok: true; token: VerifiedToken } | { ok: false; why: TokenFault }

export interface TokenTimes {
  ttlMs: number
  /** When the user signed in, milliseconds since the epoch; left out: now. The token is valid from now in any case. */
  issuedAt?: number
}

export interface Tokens {
  /** @throws CodedError JWT_NO_KEY when there is no key; JWT_CLAIMS for claims that no token can carry */
  sign(claims: TokenClaims, times: TokenTimes): Promise<string>
  /** Never rejects because of a token. Of what type it is, and for which path and host, is for the caller to check. */
  verify(token: string): Promise<TokenReading>
}

export interface TokensDeps {
  ring: Pick<KeyRing, 'signingKey' | 'keyFor'>
  clock: Clock
  issuer: string
  audience: string
  /** Makes the id (jti) of a token: never the same twice. */
  newId: () => string
}

const ALGORITHM = 'HS384'
/** What the clocks of two replicas may differ by, seconds. */
const LEEWAY_S = 5
/** Characters. Longer ones fit into no header of a request. */
export const MAX_TOKEN_LENGTH = 16_384
/** Three parts of base64url; 48 bytes of signature are 64 characters, all of whose bits count. */
const COMPACT = /^[\w-]+\.[\w-]+\.[\w-]{64}$/

const fault = (why: TokenFault): TokenReading => ({ ok: false, why })

/** The token names no key that is in use. */
class UnknownKey extends errors.JOSEError {}

/** undefined for what is no fault of the token. */
const faultOf = (error: unknown): TokenFault | undefined => {
  if (error instanceof UnknownKey) return 'kid'
  if (error instanceof errors.JWTExpired) return 'expired'
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'signature'
  if (error instanceof errors.JWTClaimValidationFailed) return 'claims'
  return error instanceof errors.JOSEError ? 'malformed' : undefined
}

/** Imported once: that costs as much as checking a signature, and jose does it again for every token that it is given bytes for. */
const imported = new WeakMap<SigningKey, Promise<CryptoKey>>()
const importedKey = (key: SigningKey): Promise<CryptoKey> => {
  const known = imported.get(key)
  if (known !== undefined) return known
  const promise = crypto.subtle.importKey('raw', new Uint8Array(key.secret), { name: 'HMAC', hash: 'SHA-384' }, false, ['sign', 'verify'])
  imported.set(key, promise)
  return promise
}

export const createTokens = ({ ring, clock, issuer, audience, newId }: TokensDeps): Tokens => {
  const keyOf = ({ kid }: JWTHeaderParameters): Promise<CryptoKey> => {
    const key = isKid(kid) ? ring.keyFor(kid) : undefined
    if (key === undefined) throw new UnknownKey('no such key')
    return importedKey(key)
  }
  const expected = { algorithms: [ALGORITHM], typ: 'JWT', issuer, audience, clockTolerance: LEEWAY_S, requiredClaims: ['exp', 'nbf', 'iat'] }

  return {
    sign: async (claims, { ttlMs, issuedAt }) => {
      const key = ring.signingKey()
      if (key === undefined) throw new CodedError('JWT_NO_KEY', 'there is no key to sign a token with: look at what readyz says of the signing keys')
      const now = clock.now()
      const nbf = Math.floor(now / 1000)
      const iat = issuedAt === undefined ? nbf : Math.floor(issuedAt / 1000)
      const payload = { iss: issuer, aud: [audience], iat, nbf, exp: Math.floor((now + ttlMs) / 1000), jti: newId(), ...writeClaims(claims) }
      if (!isPayload(payload)) throw new CodedError('JWT_CLAIMS', 'a token cannot be made of these claims: a user name is missing, or a time is out of range')
      const token = await new SignJWT(payload).setProtectedHeader({ alg: ALGORITHM, kid: key.kid, typ: 'JWT' }).sign(await importedKey(key))
      if (token.length > MAX_TOKEN_LENGTH)
        throw new CodedError('JWT_CLAIMS', `the token would be longer than ${MAX_TOKEN_LENGTH} characters: the user has too many groups or extra attributes`)
      return token
    },

    verify: async (token) => {
      if (token.length > MAX_TOKEN_LENGTH || !COMPACT.test(token)) return fault('malformed')
      try {
        const { payload } = await jwtVerify(token, keyOf, { ...expected, currentDate: new Date(clock.now()) })
        return isPayload(payload) ? { ok: true, token: readClaims(payload) } : fault('claims')
      } catch (error) {
        const why = faultOf(error)
        if (why === undefined) throw error
        return fault(why)
      }
    },
  }
}
