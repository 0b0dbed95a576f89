import { CodedError } from '../../errors.ts'

const MAX_SOURCE = 80

/** A piece of a template as a message shows it: on one line and short. */
export const shownSource = (text: string): string => {
  const short = text.length > 2 * MAX_SOURCE ? text.slice(0, 2 * MAX_SOURCE) : text
  const line = short.split(/\s/).filter((word) => word !== '').join(' ')
  return line.length > MAX_SOURCE || short.length < text.length ? `${line.slice(0, MAX_SOURCE)}…` : line
}

/** A template that cannot be read. */
export const syntaxError = (name: string, line: number, what: string): CodedError => new CodedError('TEMPLATE_SYNTAX', `${name}, line ${line}: ${what}`)

/** A template that can be read and not rendered with these values. No message holds a value, since one of them is the token. */
export const valueError = (name: string, line: number, what: string): CodedError => new CodedError('TEMPLATE_VALUE', `${name}, line ${line}: ${what}`)
