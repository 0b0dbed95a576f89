/** Tokens over a ring of plain keys, and tokens as an attacker would make them. */
import { createHmac } from 'node:crypto'
import { SigningKey } from '../../src/core/signing-keys.ts'
import type { KeyRing } from '../../src/jwt/key-ring.ts'
import { createTokens, type TokenClaims, type Tokens } from '../../src/jwt/tokens.ts'
import type { Clock } from '../../src/kube/ports.ts'

export const START = Date.parse('2026-01-02T03:04:05Z')
export const ISSUER = 'workspaces-auth'
export const AUDIENCE = 'workspace-users'

export const keyBytes = (fill: number): Uint8Array => new Uint8Array(48).fill(fill)

export interface MemoryRing extends Pick<KeyRing, 'signingKey' | 'keyFor' | 'generation'> {
  add(kid: string, secret: Uint8Array): void
  remove(kid: string): void
}

/** Signs with the key that was added last. */
export const memoryRing = (...kids: string[]): MemoryRing => {
  let keys: SigningKey[] = []
  let generation = 0
  const ring: MemoryRing = {
    get generation() {
      return generation
    },
    signingKey: () => keys.at(-1),
    keyFor: (kid) => keys.find((key) => key.kid === kid),
    add: (kid, secret) => {
      keys = [...keys, new SigningKey(kid, secret)]
      generation += 1
    },
    remove: (kid) => {
      keys = keys.filter((key) => key.kid !== kid)
      generation += 1
    },
  }
  for (const [index, kid] of kids.entries()) ring.add(kid, keyBytes(index + 1))
  return ring
}

export const SESSION: TokenClaims = {
  user: 'alice',
  groups: ['team-alice', 'system:authenticated'],
  uid: 'u-1',
  extra: { 'example.com/key': ['a', 'b'] },
  path: '/workspaces/team-alice/app',
  domain: 'ex.test:8443',
  namespace: 'team-alice',
  type: 'session',
}

export interface TokenBench {
  ring: MemoryRing
  clock: Clock
  tokens: Tokens
  /** The same keys and clock, as another part of the system. */
  other: (issuer: string, audience: string) => Tokens
  moveTo: (ms: number) => void
}

/** Keys of kid 100 and 200, the latter signs. */
export const tokenBench = (): TokenBench => {
  let now = START
  let ids = 0
  const ring = memoryRing('100', '200')
  const clock = { now: () => now }
  const other = (issuer: string, audience: string): Tokens =>
    createTokens({
      ring,
      clock,
      issuer,
      audience,
      newId: () => {
        ids += 1
        return `id-${ids}`
      },
    })
  return {
    ring,
    clock,
    tokens: other(ISSUER, AUDIENCE),
    other,
    moveTo: (ms) => {
      now = ms
    },
  }
}

const part = (value: unknown): string => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

/** Header and payload (as JSON, or as the text that is given), signed with an HMAC of these bytes. */
export const forged = (header: unknown, payload: unknown, secret: Uint8Array = keyBytes(2), hash = 'sha384'): string => {
  const signed = `${part(header)}.${part(payload)}`
  return `${signed}.${createHmac(hash, secret).update(signed).digest('base64url')}`
}

const SECONDS = START / 1000
export const GOOD_HEADER = { alg: 'HS384', kid: '200', typ: 'JWT' }
export const GOOD_PAYLOAD = { iss: ISSUER, aud: [AUDIENCE], sub: 'alice', iat: SECONDS, nbf: SECONDS, exp: SECONDS + 3600, jti: 'id', User: 'alice', Path: '/workspaces/ns/app', Domain: 'ex.test', TokenType: 'session' }
