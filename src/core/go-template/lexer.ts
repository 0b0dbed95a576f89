import { readQuoted } from './quoted-text.ts'
import { shownSource, syntaxError } from './template-error.ts'

/** A piece of a template. `spaced`: white space stands before it; start and end are positions in the source. */
export type Token = { line: number; start: number; end: number; spaced: boolean } & TokenBody

type TokenBody =
  /** Text between actions, trimmed where a marker says so; never empty. */
  | { kind: 'text'; text: string }
  | { kind: 'open' | 'close' | 'dot' }
  | { kind: 'word' | 'field' | 'variable'; name: string }
  | { kind: 'literal'; value: string | number }
  | { kind: 'sign'; sign: '(' | ')' | '|' | ',' | ':=' | '=' }

const SPACE = /[ \t\r\n]*/y
const WORD = /[\p{L}_][\p{L}\p{Nd}_]*/uy
const NUMBER = /[+-]?(?:0|[1-9][0-9]{0,14})(?![\p{L}\p{Nd}_.])/uy
const SIGN = /:=|[()|,=]/y
const SPACES = ' \t\r\n'

const isSpace = (text: string | undefined): boolean => text !== undefined && text !== '' && SPACES.includes(text)

const trimmedStart = (text: string): string => {
  let start = 0
  while (isSpace(text[start])) start += 1
  return text.slice(start)
}

const trimmedEnd = (text: string): string => {
  let end = text.length
  while (end > 0 && isSpace(text[end - 1])) end -= 1
  return text.slice(0, end)
}

const matchAt = (pattern: RegExp, source: string, position: number): string | undefined => {
  pattern.lastIndex = position
  return pattern.exec(source)?.[0]
}

/** One reading of one source; positions only grow, so the work is in proportion to the length. */
class Lexer {
  readonly #name: string
  readonly #source: string
  #position = 0
  #line = 1
  /** Where the line ends that was last counted. */
  #lineEnd: number
  readonly tokens: Token[] = []

  constructor(name: string, source: string) {
    this.#name = name
    this.#source = source
    this.#lineEnd = this.#endOfLine(0)
  }

  read(): Token[] {
    let trimNext = false
    while (this.#position < this.#source.length) {
      const open = this.#source.indexOf('{{', this.#position)
      const end = open < 0 ? this.#source.length : open
      const trimsBefore = open >= 0 && this.#source[open + 2] === '-' && isSpace(this.#source[open + 3])
      const start = this.#position
      const whole = this.#source.slice(start, end)
      const left = trimNext ? trimmedStart(whole) : whole
      const text = trimsBefore ? trimmedEnd(left) : left
      if (text !== '') this.#add(start, end, false, { kind: 'text', text })
      this.#position = end
      if (open < 0) break
      this.#position = open + (trimsBefore ? 4 : 2)
      trimNext = this.#source.startsWith('/*', this.#position) ? this.#skipComment(open) : this.#readAction(open)
    }
    return this.tokens
  }

  #endOfLine(start: number): number {
    const end = this.#source.indexOf('\n', start)
    return end < 0 ? this.#source.length : end
  }

  #lineAt(position: number): number {
    while (this.#lineEnd < position) {
      this.#line += 1
      this.#lineEnd = this.#endOfLine(this.#lineEnd + 1)
    }
    return this.#line
  }

  #add(start: number, end: number, spaced: boolean, body: TokenBody): void {
    this.tokens.push({ line: this.#lineAt(start), start, end, spaced, ...body })
  }

  #fail(position: number, what: string): Error {
    return syntaxError(this.#name, this.#lineAt(position), what)
  }

  /** The end of an action at the position: how long it is, and whether it trims what follows. */
  #closeAt(position: number): { length: number; trims: boolean } | undefined {
    if (this.#source.startsWith('}}', position)) return { length: 2, trims: false }
    return isSpace(this.#source[position]) && this.#source.startsWith('-}}', position + 1) ? { length: 4, trims: true } : undefined
  }

  #skipComment(open: number): boolean {
    const end = this.#source.indexOf('*/', this.#position + 2)
    if (end < 0) throw this.#fail(open, 'the comment has no closing "*/"')
    const close = this.#closeAt(end + 2)
    if (close === undefined) throw this.#fail(end, 'a comment fills its action alone: "}}" or " -}}" must follow "*/"')
    this.#position = end + 2 + close.length
    return close.trims
  }

  #readAction(open: number): boolean {
    this.#add(open, this.#position, false, { kind: 'open' })
    for (;;) {
      const before = this.#position
      const spaces = matchAt(SPACE, this.#source, before) ?? ''
      const next = before + spaces.length
      const close = this.#closeAt(next) ?? (spaces === '' ? undefined : this.#closeAt(next - 1))
      if (close !== undefined) {
        this.#position = (this.#source.startsWith('}}', next) ? next : next - 1) + close.length
        this.#add(next, this.#position, spaces !== '', { kind: 'close' })
        return close.trims
      }
      if (next >= this.#source.length) throw this.#fail(open, 'the "{{" has no closing "}}"')
      this.#position = next
      this.#readToken(next, spaces !== '')
    }
  }

  #take(start: number, length: number, spaced: boolean, body: TokenBody): void {
    this.#position = start + length
    this.#add(start, this.#position, spaced, body)
  }

  #readToken(start: number, spaced: boolean): void {
    const first = this.#source[start] ?? ''
    if (first === '"' || first === '`') return this.#readText(start, spaced)
    if (first === '.' || first === '$') {
      const name = matchAt(WORD, this.#source, start + 1)
      if (first === '$') return this.#take(start, 1 + (name ?? '').length, spaced, { kind: 'variable', name: `$${name ?? ''}` })
      if (name === undefined) return this.#take(start, 1, spaced, { kind: 'dot' })
      return this.#take(start, 1 + name.length, spaced, { kind: 'field', name })
    }
    const sign = matchAt(SIGN, this.#source, start)
    if (sign === '(' || sign === ')' || sign === '|' || sign === ',' || sign === ':=' || sign === '=') {
      return this.#take(start, sign.length, spaced, { kind: 'sign', sign })
    }
    const word = matchAt(WORD, this.#source, start)
    if (word !== undefined) return this.#take(start, word.length, spaced, { kind: 'word', name: word })
    const number = matchAt(NUMBER, this.#source, start)
    if (number !== undefined) return this.#take(start, number.length, spaced, { kind: 'literal', value: Number(number) })
    throw this.#fail(start, this.#strangerText(start, first))
  }

  #strangerText(start: number, first: string): string {
    if ('+-0123456789'.includes(first)) return 'only whole numbers of at most 15 digits are supported, written in decimal and without a leading zero'
    if (first === "'") return 'character constants are not supported; write text in double quotes'
    return `${JSON.stringify(shownSource(String.fromCodePoint(this.#source.codePointAt(start) ?? 0)))} is not supported within an action`
  }

  #readText(start: number, spaced: boolean): void {
    const quoted = readQuoted(this.#source, start)
    if ('problem' in quoted) throw this.#fail(start, quoted.problem)
    this.#take(start, quoted.end - start, spaced, { kind: 'literal', value: quoted.text })
  }
}

/**
 * The tokens of a template, with trim markers applied and comments left out.
 * @throws CodedError TEMPLATE_SYNTAX that names the line
 */
export const readTokens = (name: string, source: string): Token[] => new Lexer(name, source).read()
