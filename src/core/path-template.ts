import { CodedError } from '../errors.ts'
import { isRecord, shown } from './json-shape.ts'

/**
 * Text with values of the Pod in braces: `run-{.object.metadata.labels['tekton.dev/pipelineRun']}`.
 * A part is literal text, or the keys of a path from the root (`object`) on.
 */
export interface PathTemplate {
  readonly source: string
  readonly parts: readonly (string | readonly string[])[]
}

const MAX_LENGTH = 4096
const PLAIN_KEY = /^[A-Za-z_][A-Za-z0-9_-]*$/
const INDEX = /^(0|[1-9][0-9]{0,8})$/

/** What may follow a dot without quotes; a dot inside the key is written `\.`. */
const KEY = /(?:[A-Za-z0-9_/-]|\\\.)+/y
const INDEX_ACCESS = /\[(0|[1-9][0-9]{0,8})\]/y
/** A quoted key; the backslash may stand before a dot, a quote or a backslash, as people carry over from kubectl. */
const QUOTED_ACCESS = /\[(?:'((?:[^'\\]|\\[.'"\\])*)'|"((?:[^"\\]|\\[.'"\\])*)")\]/y

const unescaped = (key: string): string => key.replaceAll(/\\(.)/g, '$1')

const syntaxError = (source: string, position: number, what: string): CodedError => {
  const quoted = JSON.stringify(source.length > 120 ? `${source.slice(0, 120)}…` : source)
  return new CodedError('TEMPLATE_SYNTAX', `cannot read the template ${quoted} at character ${position + 1}: ${what}`)
}

/** Reads one access (`.key`, `[0]`, `['key']`) at the position. */
const readAccess = (source: string, position: number): { key: string; end: number } => {
  if (source[position] === '.') {
    KEY.lastIndex = position + 1
    const key = KEY.exec(source)?.[0]
    if (key === undefined) throw syntaxError(source, position + 1, 'expected a key after the dot; keys with other characters are written [\'…\']')
    return { key: unescaped(key), end: position + 1 + key.length }
  }
  for (const pattern of [INDEX_ACCESS, QUOTED_ACCESS]) {
    pattern.lastIndex = position
    const match = pattern.exec(source)
    if (match === null) continue
    const key = unescaped(match[1] ?? match[2] ?? '')
    if (key === '') throw syntaxError(source, position, 'a key must not be empty')
    return { key, end: position + match[0].length }
  }
  throw syntaxError(source, position, 'expected .key, [\'key\'], [0] or the closing "}"')
}

const readPath = (source: string, start: number): { path: string[]; end: number } => {
  const path: string[] = []
  let position = start
  while (source[position] !== '}') {
    if (position >= source.length) throw syntaxError(source, start - 1, 'the "{" has no closing "}"')
    const { key, end } = readAccess(source, position)
    path.push(key)
    position = end
  }
  if (path.length < 2 || path[0] !== 'object') throw syntaxError(source, start, 'a path begins with .object and names a field of it, for example {.object.metadata.name}')
  return { path, end: position + 1 }
}

/**
 * Reads a template. A path is a chain of `.key`, `['key']`, `["key"]` and `[0]` from `.object` on; wildcards, filters,
 * slices and recursive descent are refused, because a template must name one value.
 * @throws CodedError TEMPLATE_SYNTAX with the position
 */
export const parsePathTemplate = (source: string): PathTemplate => {
  if (source === '') throw new CodedError('TEMPLATE_SYNTAX', 'a template must not be empty')
  if (source.length > MAX_LENGTH) throw new CodedError('TEMPLATE_SYNTAX', `a template must be at most ${MAX_LENGTH} characters long; got ${source.length}`)
  const parts: (string | readonly string[])[] = []
  let position = 0
  while (position < source.length) {
    const next = /[{}]/.exec(source.slice(position))
    const end = next === null ? source.length : position + next.index
    if (end > position) parts.push(source.slice(position, end))
    if (next === null) break
    if (next[0] === '}') throw syntaxError(source, end, 'the "}" has no opening "{"')
    const read = readPath(source, end + 1)
    parts.push(read.path)
    position = read.end
  }
  return { source, parts }
}

const step = (value: unknown, key: string): unknown => {
  if (Array.isArray(value)) return INDEX.test(key) ? value[Number(key)] : undefined
  return isRecord(value) && Object.hasOwn(value, key) ? value[key] : undefined
}

const pathText = (path: readonly string[]): string =>
  path.map((key) => (PLAIN_KEY.test(key) ? `.${key}` : INDEX.test(key) ? `[${key}]` : `['${key}']`)).join('')

const renderPath = (path: readonly string[], data: { object: unknown }): string => {
  const value = path.reduce<unknown>(step, data)
  if (value === undefined || value === null || value === '') throw new CodedError('TEMPLATE_VALUE', `the Pod has no value at ${pathText(path)}`)
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'boolean') return `${value}`
  throw new CodedError('TEMPLATE_VALUE', `the Pod has ${shown(value)} at ${pathText(path)}, where one value is needed`)
}

/**
 * Fills in a template; the result is never empty. Only own properties of plain data are read.
 * @throws CodedError TEMPLATE_VALUE naming the path when a value is missing, empty, a list or an object
 */
export const renderPathTemplate = (template: PathTemplate, data: { object: unknown }): string =>
  template.parts.map((part) => (typeof part === 'string' ? part : renderPath(part, data))).join('')
