import type { FunctionCall } from './function-call.ts'
import { isList, isMap, Missing, sortedKeys, utf8Length, type Value } from './values.ts'

/** Levels of what is written as JSON. */
const MAX_DEPTH = 100

const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['<', '\\u003c'],
  ['>', '\\u003e'],
  ['&', '\\u0026'],
  ['\u2028', '\\u2028'],
  ['\u2029', '\\u2029'],
])

const jsonText = (text: string): string => JSON.stringify(text).replaceAll(/[<>&\u2028\u2029]/g, (character) => ESCAPES.get(character) ?? character)

/** JSON as Go's encoder writes it: keys in order, no white space, "<", ">" and "&" escaped. */
export const toJson = (call: FunctionCall, value: Value, depth = 0): string => {
  if (depth > MAX_DEPTH) throw call.error(`"toJson" takes at most ${MAX_DEPTH} levels`)
  call.spend(4)
  if (value instanceof Missing) return 'null'
  if (isList(value)) return `[${value.map((item) => toJson(call, item, depth + 1)).join(',')}]`
  if (isMap(value)) return `{${sortedKeys(value).map((key) => `${jsonText(key)}:${toJson(call, value.get(key) ?? new Missing(key), depth + 1)}`).join(',')}}`
  if (typeof value !== 'string') return `${value}`
  call.spend(utf8Length(value))
  return jsonText(value)
}
