/** Reading settings that come as text, from the environment or as options. What is wrong is said in one sentence that names the setting. */
import { isIP } from 'node:net'
import { parseGoDuration } from '../core/go-duration.ts'
import { shown } from '../core/json-shape.ts'
import { compileLinear, type LinearPattern } from '../core/linear-pattern.ts'
import { CodedError, messageOf } from '../errors.ts'

export interface Address {
  host: string
  port: number
}

/** The option of the same name: `JWT_ISSUER` is `--jwt-issuer`. */
export const optionOf = (variable: string): string => `--${variable.toLowerCase().replaceAll('_', '-')}`

export const badSetting = (variable: string, rule: string): CodedError => new CodedError('CONFIG_INVALID', `${variable} (${optionOf(variable)}) ${rule}`)

const TRUE: ReadonlySet<string> = new Set(['1', 't', 'T', 'true', 'TRUE', 'True'])
const FALSE: ReadonlySet<string> = new Set(['0', 'f', 'F', 'false', 'FALSE', 'False'])
const ALL_ADDRESSES = '::'

/** @returns undefined for text that is no port */
const portOf = (text: string): number | undefined => (/^\d{1,5}$/.test(text) && Number(text) <= 65_535 ? Number(text) : undefined)

export interface SettingReader<Variable extends string> {
  /** undefined when it is unset or empty. */
  given(variable: Variable): string | undefined
  /** The value, else the default. */
  text(variable: Variable): string
  /** @throws CodedError CONFIG_INVALID when there is none */
  required(variable: Variable, why: string): string
  flag(variable: Variable): boolean
  /** Milliseconds. @param least in milliseconds */
  duration(variable: Variable, least: number): number
  wholeNumber(variable: Variable, least: number, most: number): number
  port(variable: Variable): number
  /** `host:port`, `:port` on all addresses, `[v6]:port`. */
  address(variable: Variable): Address
  choice<T extends string>(variable: Variable, choices: readonly T[]): T
  /** A regular expression with exactly one group. */
  pattern(variable: Variable, fallback: string): LinearPattern
  list(variable: Variable): string[]
}

/** @param defaults text as it would be given. @throws CodedError CONFIG_INVALID, by each reader */
export const settingReader = <Variable extends string>(
  values: Readonly<Partial<Record<Variable, string | undefined>>>,
  defaults: Readonly<Partial<Record<Variable, string | undefined>>>,
): SettingReader<Variable> => {
  const given = (variable: Variable): string | undefined => {
    const value = values[variable]?.trim()
    return value === '' ? undefined : value
  }
  const text = (variable: Variable): string => given(variable) ?? defaults[variable] ?? ''
  const refuse = (variable: Variable, rule: string): CodedError => badSetting(variable, `${rule}; got ${shown(text(variable))}`)

  return {
    given,
    text,
    required: (variable, why) => {
      const value = text(variable)
      if (value === '') throw badSetting(variable, `must be set: ${why}`)
      return value
    },
    flag: (variable) => {
      const value = text(variable)
      if (TRUE.has(value)) return true
      if (FALSE.has(value)) return false
      throw refuse(variable, 'must be true or false')
    },
    duration: (variable, least) => {
      const value = text(variable)
      const ms = value === '0' ? 0 : parseGoDuration(value)
      if (ms === undefined) throw refuse(variable, 'must be a duration with its unit, such as 30s or 1h30m')
      if (ms < least) throw refuse(variable, least <= 1 ? 'must be longer than nothing' : `must be at least ${least / 1000}s`)
      return ms
    },
    wholeNumber: (variable, least, most) => {
      const value = text(variable)
      if (!/^\d{1,9}$/.test(value) || Number(value) < least || Number(value) > most) throw refuse(variable, `must be a whole number from ${least} to ${most}`)
      return Number(value)
    },
    port: (variable) => {
      const port = portOf(text(variable))
      if (port === undefined) throw refuse(variable, 'must be a port from 0 to 65535')
      return port
    },
    address: (variable) => {
      const found = /^(?:\[([^\]]+)\]|([^:]*)):(\d+)$/.exec(text(variable))
      const port = portOf(found?.[3] ?? '')
      const [, v6, name = ''] = found ?? []
      if (port === undefined || (v6 !== undefined && isIP(v6) !== 6)) throw refuse(variable, 'must be an address to listen on, such as :9090 or 127.0.0.1:9090')
      return { host: v6 ?? (name === '' ? ALL_ADDRESSES : name), port }
    },
    choice: (variable, choices) => {
      const value = text(variable).toLowerCase()
      const found = choices.find((choice) => choice === value)
      if (found === undefined) throw refuse(variable, `must be one of ${choices.join(', ')}`)
      return found
    },
    pattern: (variable, fallback) => {
      const source = given(variable) ?? fallback
      let pattern: LinearPattern
      try {
        pattern = compileLinear(source)
      } catch (error) {
        throw badSetting(variable, messageOf(error))
      }
      if (pattern.groups !== 1) throw badSetting(variable, `must have exactly one group in parentheses, the part that is taken; got ${pattern.groups} in ${shown(source)}`)
      return pattern
    },
    list: (variable) =>
      text(variable)
        .split(',')
        .map((item) => item.trim())
        .filter((item) => item !== ''),
  }
}
