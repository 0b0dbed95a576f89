/** Adds a signing key and removes the oldest: run once, by a CronJob. */
import type { Logger } from 'pino'
import { parseGoDuration } from '../core/go-duration.ts'
import { subdomainProblem } from '../core/name-rules.ts'
import { leastKeys, planRotation, readSigningKeys, signingKeyName, type SecretData } from '../core/signing-keys.ts'
import { CodedError } from '../errors.ts'
import type { Clock } from '../kube/ports.ts'
import { changeKeySecret, secretText, withNewKey, type KeySecretPorts, type RandomBytes } from './key-secret.ts'

export interface RotateKeysOptions {
  namespace: string
  secretName: string
  /** How many keys stay at least, the new one included. */
  keep: number
  /** Lifetime of the tokens, milliseconds; where it is known, no key goes that a live token may need. */
  tokenTtlMs?: number
  /** Says what would be done, and writes nothing. */
  dryRun: boolean
}

export interface RotateKeysEnv {
  clock: Clock
  logger: Pick<Logger, 'info' | 'warn'>
  randomBytes: RandomBytes
}

/** What was done, or would be; kids. */
export interface Rotation {
  added: string[]
  removed: string[]
  /** Good keys that are there now. */
  keys: number
}

/** Names of the settings, in the environment and in what is said of them. */
const SETTINGS = ['SECRET_NAME', 'SECRET_NAMESPACE', 'NUMBER_OF_KEYS', 'TOKEN_TTL', 'ROTATION_INTERVAL', 'DRY_RUN'] as const
export type RotateKeysSettings = Readonly<Partial<Record<(typeof SETTINGS)[number], string | undefined>>>

const DEFAULT_KEEP = 6
/** One key cannot keep any token valid over a rotation. */
const LEAST_KEEP = 2
/** More would not fit into a Secret for long. */
const MOST_KEEP = 1000
const TRUE = new Set(['1', 't', 'true'])
const FALSE = new Set(['', '0', 'f', 'false'])

const invalid = (message: string): CodedError => new CodedError('CONFIG_INVALID', message)

const objectName = (setting: string, value: string): string => {
  if (value === '') throw invalid(`${setting} must be set: it says which Secret holds the signing keys`)
  const problem = subdomainProblem(value)
  if (problem !== undefined) throw invalid(`${setting} ${problem}`)
  return value
}

const duration = (setting: string, value: string): number | undefined => {
  if (value === '') return undefined
  const ms = parseGoDuration(value)
  if (ms === undefined || ms <= 0) throw invalid(`${setting} must be a duration such as 15m or 1h30m`)
  return ms
}

const wholeKeys = (value: string): number | undefined => {
  if (value === '') return undefined
  if (!/^\d{1,4}$/.test(value) || Number(value) < LEAST_KEEP || Number(value) > MOST_KEEP) throw invalid(`NUMBER_OF_KEYS must be a whole number from ${LEAST_KEEP} to ${MOST_KEEP}`)
  return Number(value)
}

const yesOrNo = (setting: string, value: string): boolean => {
  if (TRUE.has(value.toLowerCase())) return true
  if (!FALSE.has(value.toLowerCase())) throw invalid(`${setting} must be true or false`)
  return false
}

const keepOf = (number: number | undefined, ttlMs: number | undefined, intervalMs: number | undefined): number => {
  if (ttlMs === undefined && intervalMs === undefined) return number ?? DEFAULT_KEEP
  if (ttlMs === undefined || intervalMs === undefined) throw invalid('TOKEN_TTL and ROTATION_INTERVAL belong together: set both, or NUMBER_OF_KEYS alone')
  const least = leastKeys(ttlMs, intervalMs)
  if (least > MOST_KEEP) throw invalid(`TOKEN_TTL and ROTATION_INTERVAL ask for ${least} keys, and a Secret is to hold ${MOST_KEEP} at most: rotate less often`)
  if (number !== undefined && number < least)
    throw invalid(`NUMBER_OF_KEYS is ${number}, and tokens of this TOKEN_TTL need ${least} keys at this ROTATION_INTERVAL: leave it out, or set it to ${least} or more`)
  return number ?? least
}

/** Reads the settings of the command; an empty one counts as unset. @throws CodedError CONFIG_INVALID */
export const rotateKeysOptions = (settings: RotateKeysSettings): RotateKeysOptions => {
  const value = (setting: (typeof SETTINGS)[number]): string => settings[setting]?.trim() ?? ''
  const ttlMs = duration('TOKEN_TTL', value('TOKEN_TTL'))
  const intervalMs = duration('ROTATION_INTERVAL', value('ROTATION_INTERVAL'))
  return {
    namespace: objectName('SECRET_NAMESPACE', value('SECRET_NAMESPACE')),
    secretName: objectName('SECRET_NAME', value('SECRET_NAME')),
    keep: keepOf(wholeKeys(value('NUMBER_OF_KEYS')), ttlMs, intervalMs),
    ...(ttlMs === undefined ? {} : { tokenTtlMs: ttlMs }),
    dryRun: yesOrNo('DRY_RUN', value('DRY_RUN')),
  }
}

const without = (data: SecretData, kids: readonly string[]): SecretData => {
  const names = new Set(kids.map(signingKeyName))
  return Object.fromEntries(Object.entries(data).filter(([name]) => !names.has(name)))
}

const listed = (kids: readonly string[]): string => (kids.length === 0 ? 'none' : kids.join(', '))

/**
 * Rotates once, and says in one line what was done.
 * @throws CodedError ROTATION_REFUSED, KUBE_*
 */
export const runRotateKeys = async (options: RotateKeysOptions, ports: KeySecretPorts, { clock, logger, randomBytes }: RotateKeysEnv): Promise<Rotation> => {
  const { namespace, secretName: name, keep, tokenTtlMs, dryRun } = options
  const where = { namespace, name }
  const startedAt = Math.floor(clock.now() / 1000)
  let attempts = 0
  let rotation: Rotation = { added: [], removed: [], keys: 0 }
  let problems: string[] = []

  /** Since this run began another one has rotated: that was its work, too. */
  const isDone = (newest: number | undefined): boolean => attempts > 1 && newest !== undefined && newest >= startedAt

  const change = (data: SecretData | undefined): SecretData | undefined => {
    attempts += 1
    const read = readSigningKeys(data)
    problems = read.problems
    rotation = { added: [], removed: [], keys: read.keys.length }
    if (isDone(read.keys.at(-1)?.createdAt)) return undefined
    const plan = planRotation({ data, now: clock.now(), keep, ...(tokenTtlMs === undefined ? {} : { tokenTtlMs }) })
    if ('refuse' in plan) throw new CodedError('ROTATION_REFUSED', `the keys of ${secretText(where)} were not rotated: ${plan.refuse}`)
    rotation = { added: [plan.add], removed: plan.remove, keys: read.keys.length + 1 - plan.remove.length }
    return dryRun ? undefined : without(withNewKey(data, plan.add, randomBytes), plan.remove)
  }

  await changeKeySecret(ports, where, change)
  for (const problem of problems) logger.warn({ object: `${namespace}/${name}`, problem }, 'an entry is no signing key and stays as it is')
  const { added, removed, keys } = rotation
  const told = added.length === 0 ? 'another run rotated the keys at the same time' : `added ${listed(added)}, removed ${listed(removed)}`
  logger.info({ object: `${namespace}/${name}`, added, removed, keys }, `${dryRun ? 'dry run, nothing was written: ' : ''}${told}; keys: ${keys}`)
  return rotation
}
