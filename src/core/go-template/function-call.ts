import type { CodedError } from '../../errors.ts'
import { isList, isMap, kindOf, Missing, textOf, type Value } from './values.ts'

/** What a function knows of its place in the template, and what it may use up. */
export interface FunctionCall {
  readonly name: string
  /** The call as it is written, for what it does not find. */
  readonly source: string
  error(what: string): CodedError
  /**
   * Counts work, about one for each character or item.
   * @throws CodedError when the template has used up its share
   */
  spend(work: number): void
}

/** Characters of one text. */
export const MAX_TEXT = 1024 * 1024

const at = (call: FunctionCall, position: number): string => `operand ${position + 1} of "${call.name}"`

const wrongKind = (call: FunctionCall, position: number, wanted: string, value: Value): CodedError => call.error(`${at(call, position)} must be ${wanted}; it is ${kindOf(value)}`)

/** Operands by position; the parser counted them, so one that is not there cannot be met. */
export const operand = (operands: readonly Value[], position: number): Value => operands[position] ?? new Missing(`operand ${position + 1}`)

/** @throws CodedError when the operand is no text; likewise below */
export const textOperand = (call: FunctionCall, operands: readonly Value[], position: number): string => {
  const value = operand(operands, position)
  if (typeof value !== 'string') throw wrongKind(call, position, 'text', value)
  return value
}

export const wholeOperand = (call: FunctionCall, operands: readonly Value[], position: number, max: number): number => {
  const value = operand(operands, position)
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max) throw call.error(`${at(call, position)} must be a whole number from 0 to ${max}`)
  return value
}

export const listOperand = (call: FunctionCall, operands: readonly Value[], position: number): readonly Value[] => {
  const value = operand(operands, position)
  if (!isList(value)) throw wrongKind(call, position, 'a list', value)
  return value
}

export const mapOperand = (call: FunctionCall, operands: readonly Value[], position: number): ReadonlyMap<string, Value> => {
  const value = operand(operands, position)
  if (!isMap(value)) throw wrongKind(call, position, 'a map', value)
  return value
}

/** Text, a number, true or false as text. */
export const scalarOperand = (call: FunctionCall, operands: readonly Value[], position: number): string => {
  const value = operand(operands, position)
  const text = textOf(value)
  if (text === undefined) throw wrongKind(call, position, 'one value', value)
  return text
}

/** @throws CodedError when a text of this many characters would be too long; else counts it */
export const expectLength = (call: FunctionCall, length: number): void => {
  if (length > MAX_TEXT) throw call.error(`"${call.name}" would make a text of more than ${MAX_TEXT} characters`)
  call.spend(length)
}
