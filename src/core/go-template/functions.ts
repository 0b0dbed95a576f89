import { COLLECTION_FUNCTIONS } from './collection-functions.ts'
import type { FunctionCall } from './function-call.ts'
import { LOGIC_FUNCTIONS } from './logic-functions.ts'
import { TEXT_FUNCTIONS } from './text-functions.ts'
import type { Value } from './values.ts'

export interface TemplateFunction {
  readonly min: number
  readonly max: number
  /** An operand that is not there is handed over; else it is an error that names it. */
  readonly takesMissing?: boolean
  readonly apply: (call: FunctionCall, operands: readonly Value[]) => Value
}

const FUNCTIONS: ReadonlyMap<string, TemplateFunction> = new Map(Object.entries({ ...LOGIC_FUNCTIONS, ...TEXT_FUNCTIONS, ...COLLECTION_FUNCTIONS }))

/** Functions that stop at the operand that decides; the renderer works them itself. */
const SHORT_CIRCUITS: ReadonlyMap<string, boolean> = new Map([
  ['and', false],
  ['or', true],
])

/** Every function that there is, in the order of the alphabet. */
export const FUNCTION_NAMES: readonly string[] = [...FUNCTIONS.keys(), ...SHORT_CIRCUITS.keys()].toSorted()

/** How many operands a function takes, the one that is piped in among them; undefined for what is no function. */
export const functionArity = (name: string): { min: number; max: number } | undefined => (SHORT_CIRCUITS.has(name) ? { min: 1, max: Infinity } : FUNCTIONS.get(name))

export const functionOf = (name: string): TemplateFunction | undefined => FUNCTIONS.get(name)

/** The truth at which `and` or `or` stops; undefined for other functions. */
export const stopsAt = (name: string): boolean | undefined => SHORT_CIRCUITS.get(name)
