import { operand, type FunctionCall } from './function-call.ts'
import { compareText, isList, isMap, isTrue, kindOf, Missing, type Value } from './values.ts'

type LogicFunction = (call: FunctionCall, operands: readonly Value[]) => Value

/** What can be compared; nothing equals only nothing, so a condition may ask for a field that is not there. */
const isSame = (call: FunctionCall, left: Value, right: Value): boolean => {
  for (const value of [left, right]) {
    if (isList(value) || isMap(value)) throw call.error(`"${call.name}" compares single values; one of them is ${kindOf(value)}`)
  }
  if (left instanceof Missing || right instanceof Missing) return left instanceof Missing && right instanceof Missing
  if (typeof left !== typeof right) throw call.error(`"${call.name}" compares values of one kind; here are ${kindOf(left)} and ${kindOf(right)}`)
  return left === right
}

const equals: LogicFunction = (call, operands) => operands.slice(1).some((right) => isSame(call, operand(operands, 0), right))

const ordered =
  (isRight: (order: number) => boolean): LogicFunction =>
  (call, operands) => {
    const [left, right] = [operand(operands, 0), operand(operands, 1)]
    if (typeof left === 'number' && typeof right === 'number') return isRight(left - right)
    if (typeof left === 'string' && typeof right === 'string') return isRight(compareText(left, right))
    throw call.error(`"${call.name}" orders two numbers or two texts; here are ${kindOf(left)} and ${kindOf(right)}`)
  }

const ternary: LogicFunction = (call, operands) => {
  const test = operand(operands, 2)
  if (typeof test !== 'boolean') throw call.error(`the last operand of "ternary" must be true or false; it is ${kindOf(test)}`)
  return operand(operands, test ? 0 : 1)
}

const fallback: LogicFunction = (_, operands) => (isTrue(operand(operands, 1)) ? operand(operands, 1) : operand(operands, 0))
const coalesce: LogicFunction = (call, operands) => operands.find(isTrue) ?? new Missing(call.source)

/** Conditions and choices. `takesMissing`: an operand that is not there is an answer here, and an error everywhere else. */
export const LOGIC_FUNCTIONS: Record<string, { min: number; max: number; takesMissing?: boolean; apply: LogicFunction }> = {
  eq: { min: 2, max: Infinity, takesMissing: true, apply: equals },
  ne: { min: 2, max: 2, takesMissing: true, apply: (call, operands) => !isSame(call, operand(operands, 0), operand(operands, 1)) },
  lt: { min: 2, max: 2, apply: ordered((order) => order < 0) },
  le: { min: 2, max: 2, apply: ordered((order) => order <= 0) },
  gt: { min: 2, max: 2, apply: ordered((order) => order > 0) },
  ge: { min: 2, max: 2, apply: ordered((order) => order >= 0) },
  not: { min: 1, max: 1, takesMissing: true, apply: (_, operands) => !isTrue(operand(operands, 0)) },
  default: { min: 2, max: 2, takesMissing: true, apply: fallback },
  empty: { min: 1, max: 1, takesMissing: true, apply: (_, operands) => !isTrue(operand(operands, 0)) },
  coalesce: { min: 1, max: Infinity, takesMissing: true, apply: coalesce },
  ternary: { min: 3, max: 3, apply: ternary },
}
