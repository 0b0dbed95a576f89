/** What a browser carries between /login and /callback, encrypted so that it can neither be read nor made by anybody else. */
import { hkdfSync } from 'node:crypto'
import { EncryptJWT, errors, jwtDecrypt } from 'jose'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { isKid, type SigningKey } from '../../core/signing-keys.ts'
import type { KeyRing } from '../../jwt/key-ring.ts'
import type { Clock } from '../../kube/ports.ts'

/** A sign-in that has begun. */
export interface PendingLogin {
  /** Comes back with the issuer's answer. */
  state: string
  /** Comes back within the ID token. */
  nonce: string
  /** Of PKCE: only who knows it can use the code. */
  verifier: string
  /** Scheme and host at which it began. */
  origin: string
  /** Path and query to return to. */
  location: string
  /** Milliseconds since the epoch. */
  expiresAt: number
}

export interface LoginSeal {
  /** @returns undefined while there is no key */
  seal(login: PendingLogin): Promise<string | undefined>
  /** @returns undefined for whatever was not sealed here, or has expired */
  open(sealed: string): Promise<PendingLogin | undefined>
}

/** Makes the derived key one of its own: a session token is never good as a sealed login, nor the other way round. */
const PURPOSE = 'access-gate login cookie 1'
const METHOD = { alg: 'dir', enc: 'A256GCM' } as const
const KEY_BYTES = 32

const text = Type.String()
const payload = Compile(Type.Object({ state: text, nonce: text, verifier: text, origin: text, location: text, exp: Type.Number() }))

const derived = new WeakMap<SigningKey, Uint8Array>()
/** No second secret is needed: the keys for session tokens are there on every replica, and rotated. */
const derivedKey = (key: SigningKey): Uint8Array => {
  const known = derived.get(key)
  if (known !== undefined) return known
  const made = new Uint8Array(hkdfSync('sha256', key.secret, new Uint8Array(), PURPOSE, KEY_BYTES))
  derived.set(key, made)
  return made
}

export const createLoginSeal = ({ ring, clock }: { ring: Pick<KeyRing, 'signingKey' | 'keyFor'>; clock: Clock }): LoginSeal => {
  const keyOf = ({ kid }: { kid?: string }): Uint8Array => {
    const key = isKid(kid) ? ring.keyFor(kid) : undefined
    if (key === undefined) throw new errors.JWEDecryptionFailed('no such key')
    return derivedKey(key)
  }
  return {
    seal: async ({ expiresAt, ...login }) => {
      const key = ring.signingKey()
      if (key === undefined) return undefined
      return new EncryptJWT({ ...login, exp: Math.floor(expiresAt / 1000) }).setProtectedHeader({ ...METHOD, kid: key.kid }).encrypt(derivedKey(key))
    },

    open: async (sealed) => {
      try {
        const options = { keyManagementAlgorithms: [METHOD.alg], contentEncryptionAlgorithms: [METHOD.enc], requiredClaims: ['exp'], currentDate: new Date(clock.now()) }
        const { payload: opened } = await jwtDecrypt(sealed, keyOf, options)
        if (!payload.Check(opened)) return undefined
        const { state, nonce, verifier, origin, location, exp } = opened
        return { state, nonce, verifier, origin, location, expiresAt: exp * 1000 }
      } catch (error) {
        if (error instanceof errors.JOSEError) return undefined
        throw error
      }
    },
  }
}
