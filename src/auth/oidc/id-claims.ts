/** Who an ID token is about. Only of tokens whose signature, issuer, audience and times were found good. */
import { AUTHENTICATED, isReservedName } from '../../core/system-names.ts'

/** What is believed of the user. */
export interface IdClaims {
  /** As the issuer knows the user; never changes. */
  subject: string
  /** With its prefix. */
  username: string
  /** With their prefix. */
  groups: readonly string[]
  /** When the ID token ends, milliseconds since the epoch. */
  expiresAt: number
}

export interface ClaimRules {
  /** Put before the user's name; '' or '-' for nothing. */
  usernamePrefix: string
  /** Put before each group; '' or '-' for nothing. */
  groupsPrefix: string
  /** Whether everyone who signs in is in `system:authenticated`, as for the API server's own users. */
  addAuthenticatedGroup: boolean
}

export type ClaimsReading = { ok: true; claims: IdClaims } | { ok: false; why: string }

/** Characters; longer names are none that a person has. */
const MAX_NAME = 512
const CONTROL = /\p{Cc}/u

const prefixOf = (prefix: string): string => (prefix === '-' ? '' : prefix)

/** @returns a sentence for a prefix that would make names of Kubernetes' own */
export const prefixProblem = (prefix: string): string | undefined => {
  if (isReservedName(prefix)) return 'must not begin with "system:": such names are those of Kubernetes itself'
  return CONTROL.test(prefix) ? 'must hold no control character' : undefined
}

const isName = (value: unknown): value is string => typeof value === 'string' && value !== '' && value.length <= MAX_NAME && !CONTROL.test(value)

/** Both ways: a prefix may be what makes a name a reserved one, or what hides it. */
const isReserved = (name: string, prefix: string): boolean => isReservedName(name) || isReservedName(`${prefix}${name}`)

const readGroups = (value: unknown, prefix: string, addAuthenticated: boolean): string[] | { why: string } => {
  if (value !== undefined && value !== null && !Array.isArray(value)) return { why: 'groups is no list' }
  const groups = new Set<string>()
  for (const name of value ?? []) {
    // A group without a name grants nothing, with a prefix before it, it might.
    if (name === '') continue
    if (name === AUTHENTICATED && addAuthenticated) continue
    if (!isName(name)) return { why: 'groups holds something that is no name' }
    if (isReserved(name, prefix)) return { why: 'groups holds a name that begins with "system:"' }
    groups.add(`${prefix}${name}`)
  }
  if (addAuthenticated) groups.add(AUTHENTICATED)
  return [...groups]
}

const refuse = (why: string): ClaimsReading => ({ ok: false, why })

/** @param payload of a verified token */
export const readIdClaims = (payload: Readonly<Record<string, unknown>>, rules: ClaimRules): ClaimsReading => {
  const { sub, preferred_username: name, groups: given, exp } = payload
  if (typeof exp !== 'number') return refuse('exp is missing')
  if (!isName(sub)) return refuse('sub is missing or no name')
  if (!isName(name)) return refuse('preferred_username is missing or no name')
  const prefix = prefixOf(rules.usernamePrefix)
  if (isReserved(name, prefix)) return refuse('preferred_username begins with "system:"')
  const groups = readGroups(given, prefixOf(rules.groupsPrefix), rules.addAuthenticatedGroup)
  return Array.isArray(groups) ? { ok: true, claims: { subject: sub, username: `${prefix}${name}`, groups, expiresAt: exp * 1000 } } : refuse(groups.why)
}
