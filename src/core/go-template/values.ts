/** Something that is not there: a field that a map does not have. What it was called in the template says what to look for. */
export class Missing {
  readonly source: string

  constructor(source: string) {
    this.source = source
  }
}

/** What templates work with. Maps are Map, so that no name reaches a prototype. */
export type Value = string | number | boolean | Missing | readonly Value[] | ReadonlyMap<string, Value>

/** Data of Kubernetes objects are not nested deeper. */
const MAX_DEPTH = 64

/** Lists by a guard, since Array.isArray does not narrow read-only lists. */
export const isList = (value: Value): value is readonly Value[] => Array.isArray(value)
export const isMap = (value: Value): value is ReadonlyMap<string, Value> => value instanceof Map

/**
 * JSON data as a template sees them: null is not there, and no text is half a character.
 * What is nested deeper than 64 levels is not there either.
 * @param spend is told of the work, about one for each character and item
 */
export const toValue = (data: unknown, spend: (work: number) => void, depth = 0): Value => {
  spend(typeof data === 'string' ? data.length + 1 : 1)
  if (typeof data === 'string') return data.toWellFormed()
  if (typeof data === 'number' || typeof data === 'boolean') return data
  if (depth >= MAX_DEPTH || typeof data !== 'object' || data === null) return new Missing('null')
  if (Array.isArray(data)) return data.map((item: unknown) => toValue(item, spend, depth + 1))
  const entries = Object.entries(data).filter(([, item]) => item !== undefined && item !== null)
  return new Map(entries.map(([key, item]) => [key.toWellFormed(), toValue(item, spend, depth + 1)]))
}

/** Go's truth: not zero, not empty, not missing. */
export const isTrue = (value: Value): boolean => {
  if (value instanceof Missing) return false
  if (isList(value)) return value.length > 0
  return isMap(value) ? value.size > 0 : value !== '' && value !== 0 && value !== false
}

/** The kind of a value as messages name it, without the value. */
export const kindOf = (value: Value): string => {
  if (value instanceof Missing) return 'nothing'
  if (isList(value)) return 'a list'
  if (isMap(value)) return 'a map'
  return typeof value === 'string' ? 'text' : typeof value === 'number' ? 'a number' : 'true or false'
}

/** A value as it is written out; undefined for a list, a map and nothing. */
export const textOf = (value: Value): string | undefined => (typeof value === 'string' ? value : typeof value === 'number' || typeof value === 'boolean' ? `${value}` : undefined)

const isSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdfff

/** The order of Go, by bytes of UTF-8: that of the characters' numbers. JavaScript's own order differs for pairs of surrogates. */
export const compareText = (left: string, right: string): number => {
  const length = Math.min(left.length, right.length)
  let at = 0
  while (at < length && left.charCodeAt(at) === right.charCodeAt(at)) at += 1
  if (at === length) return left.length - right.length
  const [a, b] = [left.charCodeAt(at), right.charCodeAt(at)]
  if (isSurrogate(a) === isSurrogate(b)) return a - b
  return isSurrogate(a) ? 1 : -1
}

export const sortedKeys = (map: ReadonlyMap<string, Value>): string[] => [...map.keys()].toSorted(compareText)

/** Bytes of a well-formed text in UTF-8. */
export const utf8Length = (text: string): number => {
  let bytes = text.length
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at)
    // A pair of surrogates is two units and four bytes.
    if (unit >= 0x80) bytes += isSurrogate(unit) || unit < 0x800 ? 1 : 2
  }
  return bytes
}
