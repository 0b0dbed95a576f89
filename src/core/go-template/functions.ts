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

export type FunctionSet = ReadonlyMap<string, TemplateFunction>

/** What templates of files may call. */
export const FILE_FUNCTIONS: FunctionSet = new Map(Object.entries({ ...LOGIC_FUNCTIONS, ...TEXT_FUNCTIONS, ...COLLECTION_FUNCTIONS }))

/** Functions that stop at the operand that decides; the renderer works them itself. */
const SHORT_CIRCUITS: ReadonlyMap<string, boolean> = new Map([
  ['and', false],
  ['or', true],
])

/** Every function of templates of files, in the order of the alphabet. */
export const FUNCTION_NAMES: readonly string[] = [...FILE_FUNCTIONS.keys(), ...SHORT_CIRCUITS.keys()].toSorted()

/** How many operands a function takes, the one that is piped in among them; undefined for what is no function. */
export const functionArity = (functions: FunctionSet, name: string): { min: number; max: number } | undefined =>
  SHORT_CIRCUITS.has(name) ? { min: 1, max: Infinity } : functions.get(name)

/** The truth at which `and` or `or` stops; undefined for other functions. */
export const stopsAt = (name: string): boolean | undefined => SHORT_CIRCUITS.get(name)
