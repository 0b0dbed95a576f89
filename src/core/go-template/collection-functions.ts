import { fromBase64, toBase64 } from './base64.ts'
import { expectLength, listOperand, mapOperand, operand, textOperand, wholeOperand, type FunctionCall } from './function-call.ts'
import { print } from './text-functions.ts'
import { parseUrl, queryEscaped } from './url-text.ts'
import { toJson } from './value-json.ts'
import { isList, isMap, kindOf, Missing, utf8Length, type Value } from './values.ts'

type CollectionFunction = (call: FunctionCall, operands: readonly Value[]) => Value

const MAX_INDEX = 1_000_000

const missing = (call: FunctionCall): Missing => new Missing(call.source)

/** Bytes of a text, items of a list, entries of a map. */
const len: CollectionFunction = (call, operands) => {
  const value = operand(operands, 0)
  if (typeof value === 'string') return utf8Length(value)
  if (isList(value)) return value.length
  if (isMap(value)) return value.size
  throw call.error(`"len" takes text, a list or a map; this is ${kindOf(value)}`)
}

/** A key that a map does not have yields nothing; a position that a list does not have is an error, as in Go. */
const index: CollectionFunction = (call, operands) =>
  operands.slice(1).reduce<Value>((from, _, at) => {
    const position = at + 1
    if (isMap(from)) return from.get(textOperand(call, operands, position)) ?? missing(call)
    if (!isList(from)) throw call.error(`"index" takes a list or a map; here is ${kindOf(from)}`)
    const item = from[wholeOperand(call, operands, position, MAX_INDEX)]
    if (item === undefined) throw call.error(`"index": the list has only ${from.length} items`)
    return item
  }, operand(operands, 0))

const dict: CollectionFunction = (call, operands) => {
  if (operands.length % 2 !== 0) throw call.error('"dict" takes keys and values in turn; the last value is missing')
  return new Map(operands.flatMap((_, position): [string, Value][] => (position % 2 === 0 ? [[textOperand(call, operands, position), operand(operands, position + 1)]] : [])))
}

const append: CollectionFunction = (call, operands) => {
  const list = listOperand(call, operands, 0)
  call.spend(list.length)
  return [...list, operand(operands, 1)]
}

const urlParse: CollectionFunction = (call, operands) => {
  const parts = parseUrl(textOperand(call, operands, 0))
  if (parts === undefined) throw call.error('"urlParse": the text is no address that can be read')
  return new Map(Object.entries(parts))
}

const decodeBase64: CollectionFunction = (call, operands) => {
  const text = fromBase64(textOperand(call, operands, 0))
  if (text === undefined) throw call.error('"b64dec": the text is not base64 of UTF-8 text')
  return text
}

const MAX_ESCAPED = 9

const escapeQuery: CollectionFunction = (call, operands) => {
  const text = print(call, operands)
  expectLength(call, text.length)
  call.spend(text.length * MAX_ESCAPED)
  return queryEscaped(text)
}

/** Lists, maps, encodings and addresses. */
export const COLLECTION_FUNCTIONS: Record<string, { min: number; max: number; apply: CollectionFunction }> = {
  len: { min: 1, max: 1, apply: len },
  index: { min: 1, max: Infinity, apply: index },
  list: { min: 0, max: Infinity, apply: (_, operands) => [...operands] },
  dict: { min: 0, max: Infinity, apply: dict },
  append: { min: 2, max: 2, apply: append },
  first: { min: 1, max: 1, apply: (call, operands) => listOperand(call, operands, 0).at(0) ?? missing(call) },
  last: { min: 1, max: 1, apply: (call, operands) => listOperand(call, operands, 0).at(-1) ?? missing(call) },
  hasKey: { min: 2, max: 2, apply: (call, operands) => mapOperand(call, operands, 0).has(textOperand(call, operands, 1)) },
  toJson: { min: 1, max: 1, apply: (call, operands) => toJson(call, operand(operands, 0)) },
  b64enc: { min: 1, max: 1, apply: (call, operands) => toBase64(textOperand(call, operands, 0)) },
  b64dec: { min: 1, max: 1, apply: decodeBase64 },
  urlquery: { min: 1, max: Infinity, apply: escapeQuery },
  urlParse: { min: 1, max: 1, apply: urlParse },
}
