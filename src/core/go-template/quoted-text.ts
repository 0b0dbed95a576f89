const ONE_LETTER: ReadonlyMap<string, string> = new Map([
  ['a', '\u0007'],
  ['b', '\b'],
  ['f', '\f'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
  ['v', '\v'],
  ['\\', '\\'],
  ['"', '"'],
])

const OCTAL = /[0-3][0-7]{2}/y
const HEX: ReadonlyMap<string, RegExp> = new Map([
  ['x', /[0-9A-Fa-f]{2}/y],
  ['u', /[0-9A-Fa-f]{4}/y],
  ['U', /[0-9A-Fa-f]{8}/y],
])

const digitsAt = (pattern: RegExp, source: string, position: number): string | undefined => {
  pattern.lastIndex = position
  return pattern.exec(source)?.[0]
}

/** The character of a number; undefined where it is none, or half of one. Bytes above 127 are no text by themselves. */
const characterOf = (code: number, isByte: boolean): string | undefined =>
  code > (isByte ? 0x7f : 0x10ffff) || (code >= 0xd800 && code <= 0xdfff) ? undefined : String.fromCodePoint(code)

/** Reads what follows a backslash. */
const readEscape = (source: string, position: number): { text: string; end: number } | undefined => {
  const letter = source[position] ?? ''
  const single = ONE_LETTER.get(letter)
  if (single !== undefined) return { text: single, end: position + 1 }
  const pattern = HEX.get(letter)
  const start = pattern === undefined ? position : position + 1
  const digits = digitsAt(pattern ?? OCTAL, source, start)
  if (digits === undefined) return undefined
  const text = characterOf(Number.parseInt(digits, pattern === undefined ? 8 : 16), pattern === undefined || letter === 'x')
  return text === undefined ? undefined : { text, end: start + digits.length }
}

/**
 * Reads a text constant of Go that begins at the position: `"…"` with escapes, or raw between back quotes.
 * The end is the position after the closing quote.
 */
export const readQuoted = (source: string, start: number): { text: string; end: number } | { problem: string } => {
  if (source[start] === '`') {
    const end = source.indexOf('`', start + 1)
    return end < 0 ? { problem: 'the text has no closing back quote' } : { text: source.slice(start + 1, end).replaceAll('\r', ''), end: end + 1 }
  }
  const parts: string[] = []
  let position = start + 1
  for (;;) {
    const character = source[position]
    if (character === undefined || character === '\n') return { problem: 'the text has no closing quote on its line' }
    if (character === '"') return { text: parts.join(''), end: position + 1 }
    if (character !== '\\') {
      parts.push(character)
      position += 1
      continue
    }
    const escape = readEscape(source, position + 1)
    if (escape === undefined) return { problem: 'the text has an escape that is not supported; there are \\n, \\t, \\r, \\", \\\\ and the like, \\x, \\u and \\U' }
    parts.push(escape.text)
    position = escape.end
  }
}
