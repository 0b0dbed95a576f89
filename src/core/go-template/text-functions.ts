import { expectLength, operand, scalarOperand, textOperand, wholeOperand, type FunctionCall } from './function-call.ts'
import { isList, kindOf, textOf, type Value } from './values.ts'

type TextFunction = (call: FunctionCall, operands: readonly Value[]) => Value

/** What Go's TrimSpace takes for white space. */
const SPACE = /[\t\n\v\f\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/

const trimmed = (text: string): string => {
  let start = 0
  let end = text.length
  while (start < end && SPACE.test(text.charAt(start))) start += 1
  while (end > start && SPACE.test(text.charAt(end - 1))) end -= 1
  return text.slice(start, end)
}

/** JavaScript makes two characters of it in lower case, Go one. */
const DOTTED_I = '\u0130'

/** Go maps each character to one; where JavaScript makes several of it, the character stays as it is. */
const eachCharacter = (text: string, change: (character: string) => string): string =>
  Array.from(text, (character) => {
    const changed = change(character)
    return Array.from(changed).length === 1 ? changed : character
  }).join('')

/** Characters compared that count as one of work. */
const COMPARED = 16

/** Looking for a part takes, at worst, as many comparisons as the one has characters for each of the other. */
const spendSearch = (call: FunctionCall, text: string, part: string): void => {
  if (part.length <= text.length) call.spend(Math.ceil((text.length * part.length) / COMPARED))
}

const countOf = (text: string, part: string): number => {
  let count = 0
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length)) count += 1
  return count
}

const replaceAll = (call: FunctionCall, text: string, old: string, next: string): string => {
  if (old === '') {
    const characters = Array.from(text)
    expectLength(call, text.length + next.length * (characters.length + 1))
    return next + characters.map((character) => character + next).join('')
  }
  spendSearch(call, text, old)
  expectLength(call, text.length + countOf(text, old) * (next.length - old.length))
  return text.split(old).join(next)
}

const MAX_INDENT = 1000

const indent = (call: FunctionCall, operands: readonly Value[]): string => {
  const padding = ' '.repeat(wholeOperand(call, operands, 0, MAX_INDENT))
  return padding + replaceAll(call, textOperand(call, operands, 1), '\n', `\n${padding}`)
}

const PRINTABLE = /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u
const NAMED: ReadonlyMap<string, string> = new Map([
  ['\u0007', '\\a'],
  ['\b', '\\b'],
  ['\f', '\\f'],
  ['\n', '\\n'],
  ['\r', '\\r'],
  ['\t', '\\t'],
  ['\v', '\\v'],
  ['\\', '\\\\'],
  ['"', '\\"'],
])

const escaped = (character: string): string => {
  if (PRINTABLE.test(character)) return character
  const code = character.codePointAt(0) ?? 0
  if (code < 0x20 || code === 0x7f) return `\\x${code.toString(16).padStart(2, '0')}`
  return code > 0xffff ? `\\U${code.toString(16).padStart(8, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`
}

/** A text as Go source, in double quotes. */
export const quoted = (text: string): string => `"${Array.from(text, (character) => NAMED.get(character) ?? escaped(character)).join('')}"`

/** Text, or what else is one value, each within quotes and separated by spaces. */
const eachQuoted =
  (quote: (text: string) => string): TextFunction =>
  (call, operands) =>
    operands.map((_, position) => quote(scalarOperand(call, operands, position))).join(' ')

const join = (call: FunctionCall, operands: readonly Value[]): string => {
  const separator = textOperand(call, operands, 0)
  const given = operands[1]
  const items = given !== undefined && isList(given) ? given : operands.slice(1)
  const texts = items.map((item) => {
    const text = textOf(item)
    if (text === undefined) throw call.error(`"join" takes a list of single values; one of them is ${kindOf(item)}`)
    return text
  })
  expectLength(call, texts.reduce((sum, text) => sum + text.length, 0) + separator.length * Math.max(0, texts.length - 1))
  return texts.join(separator)
}

/** Go's Sprint: a space between two operands of which neither is text. */
export const print = (call: FunctionCall, operands: readonly Value[]): string =>
  operands
    .map((value, position) => {
      const before = operands[position - 1]
      const spaced = before !== undefined && typeof before !== 'string' && typeof value !== 'string'
      return `${spaced ? ' ' : ''}${scalarOperand(call, operands, position)}`
    })
    .join('')

type Verb = (call: FunctionCall, operands: readonly Value[], position: number) => string

const wholeText: Verb = (call, operands, position) => {
  const value = operand(operands, position)
  if (typeof value !== 'number' || !Number.isInteger(value)) throw call.error(`"%d" of "printf" takes a whole number; operand ${position + 1} is ${kindOf(value)}`)
  return `${value}`
}

const VERBS: ReadonlyMap<string, Verb> = new Map<string, Verb>([
  ['s', textOperand],
  ['v', scalarOperand],
  ['q', (call, operands, position) => quoted(textOperand(call, operands, position))],
  ['d', wholeText],
])

/** %s, %d, %v, %q and %% without flags or widths; as many operands as the format names. */
const printf = (call: FunctionCall, operands: readonly Value[]): string => {
  const format = textOperand(call, operands, 0)
  const parts: string[] = []
  let position = 1
  let start = 0
  for (let sign = format.indexOf('%'); sign >= 0; sign = format.indexOf('%', start)) {
    parts.push(format.slice(start, sign))
    start = sign + 2
    const letter = format.charAt(sign + 1)
    if (letter === '%') {
      parts.push('%')
      continue
    }
    const verb = VERBS.get(letter)
    if (verb === undefined) throw call.error('"printf" supports %s, %d, %v, %q and %%, without flags or widths')
    if (position >= operands.length) throw call.error('"printf" has fewer operands than its format names')
    parts.push(verb(call, operands, position))
    position += 1
  }
  parts.push(format.slice(start))
  if (position < operands.length) throw call.error('"printf" has more operands than its format names')
  return parts.join('')
}

/** Functions of text to text. */
export const TEXT_FUNCTIONS: Record<string, { min: number; max: number; apply: TextFunction }> = {
  print: { min: 0, max: Infinity, apply: print },
  printf: { min: 1, max: Infinity, apply: printf },
  quote: { min: 1, max: Infinity, apply: eachQuoted(quoted) },
  squote: { min: 1, max: Infinity, apply: eachQuoted((text) => `'${text}'`) },
  lower: { min: 1, max: 1, apply: (call, operands) => eachCharacter(textOperand(call, operands, 0), (character) => (character === DOTTED_I ? 'i' : character.toLowerCase())) },
  upper: { min: 1, max: 1, apply: (call, operands) => eachCharacter(textOperand(call, operands, 0), (character) => character.toUpperCase()) },
  trim: { min: 1, max: 1, apply: (call, operands) => trimmed(textOperand(call, operands, 0)) },
  trimPrefix: {
    min: 2,
    max: 2,
    apply: (call, operands) => {
      const [prefix, text] = [textOperand(call, operands, 0), textOperand(call, operands, 1)]
      return text.startsWith(prefix) ? text.slice(prefix.length) : text
    },
  },
  trimSuffix: {
    min: 2,
    max: 2,
    apply: (call, operands) => {
      const [suffix, text] = [textOperand(call, operands, 0), textOperand(call, operands, 1)]
      return text.endsWith(suffix) ? text.slice(0, text.length - suffix.length) : text
    },
  },
  hasPrefix: { min: 2, max: 2, apply: (call, operands) => textOperand(call, operands, 1).startsWith(textOperand(call, operands, 0)) },
  hasSuffix: { min: 2, max: 2, apply: (call, operands) => textOperand(call, operands, 1).endsWith(textOperand(call, operands, 0)) },
  contains: {
    min: 2,
    max: 2,
    apply: (call, operands) => {
      const [part, text] = [textOperand(call, operands, 0), textOperand(call, operands, 1)]
      spendSearch(call, text, part)
      return text.includes(part)
    },
  },
  replace: { min: 3, max: 3, apply: (call, operands) => replaceAll(call, textOperand(call, operands, 2), textOperand(call, operands, 0), textOperand(call, operands, 1)) },
  splitList: {
    min: 2,
    max: 2,
    apply: (call, operands) => {
      const [separator, text] = [textOperand(call, operands, 0), textOperand(call, operands, 1)]
      spendSearch(call, text, separator)
      return separator === '' ? Array.from(text) : text.split(separator)
    },
  },
  join: { min: 2, max: 2, apply: join },
  indent: { min: 2, max: 2, apply: indent },
  nindent: { min: 2, max: 2, apply: (call, operands) => `\n${indent(call, operands)}` },
}
