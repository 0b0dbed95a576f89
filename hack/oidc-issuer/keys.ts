/** The issuer's signing keys: one signs, the one before it is still published so that its tokens stay good. */
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK, type JWTPayload } from 'jose'

export type Algorithm = 'RS256' | 'ES256'

interface Key {
  kid: string
  privateKey: CryptoKey
  published: JWK
}

export interface IssuerKeySet {
  /** What /jwks answers. */
  published(): { keys: JWK[] }
  sign(payload: JWTPayload): Promise<string>
  /** A new key signs from now on. @param keepPrevious whether the one before it stays published; keys before that one never do */
  rotate(keepPrevious: boolean): Promise<void>
}

const makeKey = async (algorithm: Algorithm): Promise<Key> => {
  const { privateKey, publicKey } = await generateKeyPair(algorithm)
  const jwk = await exportJWK(publicKey)
  const kid = await calculateJwkThumbprint(jwk)
  return { kid, privateKey, published: { ...jwk, kid, alg: algorithm, use: 'sig' } }
}

export const createKeySet = async (algorithm: Algorithm): Promise<IssuerKeySet> => {
  let current = await makeKey(algorithm)
  let previous: Key | undefined
  return {
    published: () => ({ keys: [current, ...(previous === undefined ? [] : [previous])].map(({ published }) => published) }),
    sign: (payload) => new SignJWT(payload).setProtectedHeader({ alg: algorithm, kid: current.kid, typ: 'JWT' }).sign(current.privateKey),
    rotate: async (keepPrevious) => {
      const next = await makeKey(algorithm)
      previous = keepPrevious ? current : undefined
      current = next
    },
  }
}
