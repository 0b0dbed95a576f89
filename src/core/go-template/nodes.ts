import type { FunctionSet } from './functions.ts'

/** What a template says, as the parser leaves it: names are known, functions exist and have the number of operands that they take. */

/** Where something stands in the template, for messages. The text is the template's own, never a value. */
export interface Place {
  line: number
  /** Cut to a length that fits a message. */
  source: string
}

export type Operand =
  | { kind: 'literal'; place: Place; value: string | number | boolean }
  /** `.a.b`, `$x.a`, `(…).a`: the fields of what the root yields. */
  | { kind: 'path'; place: Place; root: PathRoot; fields: readonly string[] }

export type PathRoot = { kind: 'dot' } | { kind: 'variable'; name: string } | { kind: 'pipeline'; pipeline: Pipeline } | { kind: 'call'; command: Call }

export interface Call {
  kind: 'call'
  place: Place
  name: string
  operands: readonly Operand[]
}

export type Command = Call | { kind: 'operand'; operand: Operand }

export interface Pipeline {
  place: Place
  /** Variables that get the value: `:=` declares them, `=` changes one that is there. */
  variables: readonly string[]
  isDeclared: boolean
  /** At least one; the value of each is the last operand of the next. */
  commands: readonly [Command, ...Command[]]
}

export type Node =
  | { kind: 'text'; line: number; text: string }
  | { kind: 'output'; pipeline: Pipeline }
  | { kind: 'if' | 'with' | 'range'; pipeline: Pipeline; body: readonly Node[]; otherwise: readonly Node[] }

export interface Template {
  /** As messages call it: the file's name. */
  readonly name: string
  readonly nodes: readonly Node[]
  /** What it may call. */
  readonly functions: FunctionSet
  /** Characters of the source; reading it is part of the work of rendering. */
  readonly size: number
}
