/** The keys that tokens are signed with, as a Secret holds them: `jwt-signing-key-<unix seconds>`, the digits being the key's id. */
import { bytesFromBase64 } from './go-template/base64.ts'
import { shown } from './json-shape.ts'

const PREFIX = 'jwt-signing-key-'
/** Without leading zeros, so that no two names are the same number; short enough to be exact as one. */
const KID = /^[1-9]\d{0,14}$/
/** Bytes. Ours have 48; a shorter one than this would be the weakest part of a signature. */
const MIN_BYTES = 32
/** How long after a newer key was made (milliseconds) the one before it may still sign somewhere: until all replicas know of the newer one, with room for clocks. */
const OVERLAP_MS = 60_000

/** One key. Its secret is private to the class: it is in no log line, no inspection and no JSON of it. */
export class SigningKey {
  readonly kid: string
  /** Unix seconds: the kid as a number. */
  readonly createdAt: number
  readonly #secret: Uint8Array

  constructor(kid: string, secret: Uint8Array) {
    this.kid = kid
    this.createdAt = Number(kid)
    this.#secret = secret
  }

  get secret(): Uint8Array {
    return this.#secret
  }

  /** Whether the other is the same key, not only of the same name. */
  equals(other: SigningKey): boolean {
    const mine = this.#secret
    return this.kid === other.kid && mine.length === other.secret.length && other.secret.every((byte, index) => byte === mine[index])
  }
}

/** Values of a Secret, in base64, by their names. */
export type SecretData = Readonly<Record<string, string>>

export interface SigningKeys {
  /** Newest last, compared as numbers. */
  keys: SigningKey[]
  /** One sentence for each entry that looks like a key and cannot be used; never its value. */
  problems: string[]
}

export const isKid = (text: unknown): text is string => typeof text === 'string' && KID.test(text)
export const signingKeyName = (kid: string): string => `${PREFIX}${kid}`

const readKey = (name: string, value: string): SigningKey | string => {
  const ignored = (why: string): string => `the entry ${shown(name)} is left out: ${why}`
  const kid = name.slice(PREFIX.length)
  if (!isKid(kid)) return ignored(`its name must end in unix seconds, as in ${PREFIX}1767323045`)
  const secret = bytesFromBase64(value)
  if (secret === undefined) return ignored('its value is no base64')
  return secret.length < MIN_BYTES ? ignored(`a key must have at least ${MIN_BYTES} bytes, it has ${secret.length}`) : new SigningKey(kid, secret)
}

/** Entries of other names are none of ours and are passed over. */
export const readSigningKeys = (data: SecretData | undefined): SigningKeys => {
  const result: SigningKeys = { keys: [], problems: [] }
  for (const [name, value] of Object.entries(data ?? {})) {
    if (!name.startsWith(PREFIX)) continue
    const read = readKey(name, value)
    if (typeof read === 'string') result.problems.push(read)
    else result.keys.push(read)
  }
  result.keys.sort((a, b) => a.createdAt - b.createdAt)
  return result
}

export interface RotationFacts {
  data: SecretData | undefined
  /** Milliseconds since the epoch. */
  now: number
  /** How many keys there are at least to be afterwards, the new one included, as far as there were so many. */
  keep: number
  /** Lifetime of the tokens, milliseconds, where it is known: a key that a live token may need then stays, also beyond `keep`. */
  tokenTtlMs?: number
}

export type RotationPlan = { add: string; remove: string[] } | { refuse: string }

/** The fewest keys that keep every token valid to its end: those that were made during its lifetime, and the one it was signed with. */
export const leastKeys = (tokenTtlMs: number, intervalMs: number): number => Math.ceil(tokenTtlMs / intervalMs) + 1

/** What a rotation changes: kids. Nothing that is no good key of ours is removed. */
export const planRotation = ({ data, now, keep, tokenTtlMs = 0 }: RotationFacts): RotationPlan => {
  const { keys } = readSigningKeys(data)
  const seconds = Math.floor(now / 1000)
  const add = String(seconds)
  if (Object.hasOwn(data ?? {}, signingKeyName(add))) return { refuse: 'there is an entry of this very second already; a second later it can be done' }
  const newest = keys.at(-1)
  if (newest !== undefined && newest.createdAt > seconds)
    return { refuse: `the newest key, ${signingKeyName(newest.kid)}, is dated in the future, so a new one would not be used; set the clock right, or remove that entry` }
  const surplus = keys.slice(0, Math.max(0, keys.length + 1 - keep))
  const isNeeded = (index: number): boolean => ((keys[index + 1]?.createdAt ?? seconds) * 1000) + OVERLAP_MS + tokenTtlMs > now
  const remove = tokenTtlMs > 0 ? surplus.filter((_key, index) => !isNeeded(index)) : surplus
  return { add, remove: remove.map(({ kid }) => kid) }
}
