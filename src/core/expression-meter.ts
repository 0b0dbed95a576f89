/**
 * Keeps an expression cheap, whoever wrote it and whatever the check object holds.
 * CEL always ends, yet nested loops and doubling lists can run for hours, and the library limits only what is
 * written in the source. So every step is charged against a budget, by rewriting `a.b == c` to
 * `meterDeep(meter(a).b) == meterDeep(c)`, where both are macros of our own. Functions whose cost cannot be charged
 * (regular expressions with backtracking, free-form durations, bytes) are refused when the expression is compiled.
 */
import type { ASTNode, Environment } from '@marcbachmann/cel-js'
import { CodedError } from '../errors.ts'

/** Steps of one evaluation; a step costs well under a microsecond. */
const BUDGET = 100_000
/** Characters of text that cost as much as one step. */
const CHARACTERS_PER_STEP = 16

const LOOPS = new Set(['all', 'exists', 'exists_one', 'map', 'filter'])
const FUNCTIONS = new Set(['has', 'size', 'string', 'int', 'uint', 'double', 'bool', 'dyn', 'timestamp', 'duration'])
const TEXT_METHODS = ['size', 'startsWith', 'endsWith', 'contains', 'lowerAscii', 'upperAscii', 'trim', 'indexOf', 'lastIndexOf', 'substring', 'split', 'join']
const METHODS = new Set([...TEXT_METHODS, ...LOOPS])
const MAX_DURATION_LENGTH = 32

/** An expression that is written with something that is not supported. */
export class RefusedExpression extends Error {
  /** Where in the source, from 0 on. */
  readonly position: number

  constructor(position: number, message: string) {
    super(message)
    this.position = position
  }
}

const refuse = (node: ASTNode, message: string): never => {
  throw new RefusedExpression(node.start, message)
}

/** As the author wrote it: names and literals stay as they are. */
const written = (node: ASTNode): string => node.input.slice(node.start, node.end)

const meter = (node: ASTNode): string => (node.op === 'value' ? written(node) : `meter(${metered(node)})`)
const meterDeep = (node: ASTNode): string => (node.op === 'value' ? written(node) : `meterDeep(${metered(node)})`)
const list = (nodes: readonly ASTNode[]): string => nodes.map(meter).join(', ')

const callText = (node: ASTNode, name: string, args: readonly ASTNode[]): string => {
  if (!FUNCTIONS.has(name)) refuse(node, `the function ${name} is not supported; there are ${[...FUNCTIONS].join(', ')}`)
  if (name === 'has') return `has(${args.map((arg) => written(arg)).join(', ')})`
  const [first] = args
  const isShortLiteral = first?.op === 'value' && typeof first.args === 'string' && first.args.length <= MAX_DURATION_LENGTH
  if (name === 'duration' && !isShortLiteral) refuse(node, 'duration takes a literal, for example duration("24h")')
  return `${name}(${list(args)})`
}

const methodText = (node: ASTNode, name: string, receiver: ASTNode, args: readonly ASTNode[]): string => {
  const [variable, ...rest] = args
  if (name === 'bind' && receiver.op === 'id' && receiver.args === 'cel' && variable !== undefined) {
    return `cel.bind(${[written(variable), ...rest.map(meter)].join(', ')})`
  }
  if (name === 'matches') refuse(node, 'matches is not supported, because a pattern can run for hours; use ==, startsWith, endsWith or contains')
  if (!METHODS.has(name)) refuse(node, `the method ${name} is not supported; there are ${[...METHODS].join(', ')} and cel.bind`)
  if (LOOPS.has(name) && variable !== undefined) return `${meter(receiver)}.${name}(${[written(variable), ...rest.map(meter)].join(', ')})`
  return `${name === 'join' ? meterDeep(receiver) : meter(receiver)}.${name}(${list(args)})`
}

/** The source of an expression with the charges in it. @throws RefusedExpression for what is not supported */
export const metered = (node: ASTNode): string => {
  switch (node.op) {
    case 'value':
      return written(node)
    case 'id':
      return node.args
    case '.':
      return `${meter(node.args[0])}.${node.args[1]}`
    case '[]':
      return `${meter(node.args[0])}[${meter(node.args[1])}]`
    case 'call':
      return callText(node, ...node.args)
    case 'rcall':
      return methodText(node, ...node.args)
    case 'list':
      return `[${list(node.args)}]`
    case 'map':
      return `{${node.args.map(([key, value]) => `${meter(key)}: ${meter(value)}`).join(', ')}}`
    case '?:':
      return `${meter(node.args[0])} ? ${meter(node.args[1])} : ${meter(node.args[2])}`
    case '!_':
      return `!${meter(node.args)}`
    case '-_':
      return `-${meter(node.args)}`
    case '==':
    case '!=':
    case 'in':
      return `${meterDeep(node.args[0])} ${node.op} ${meterDeep(node.args[1])}`
    case '||':
    case '&&':
    case '+':
    case '-':
    case '*':
    case '/':
    case '%':
    case '<':
    case '<=':
    case '>':
    case '>=':
      return `${meter(node.args[0])} ${node.op} ${meter(node.args[1])}`
    case '.?':
    case '[?]':
      return refuse(node, 'optional access is not supported; use has()')
    default:
      node satisfies never
      throw new RefusedExpression(0, 'the expression holds something unknown')
  }
}

/** What the library passes to the hooks of a macro, as far as they are used here. */
interface Runner {
  run(node: ASTNode, scope: unknown): unknown
}
interface Checker {
  check(node: ASTNode, scope: unknown): unknown
}

/** A macro of one argument that evaluates to the argument, after the value was weighed. */
const weighing = (weigh: (value: unknown) => void) => (call: { args: [ASTNode] }) => ({
  node: call.args[0],
  typeCheck: (checker: Checker, self: { node: ASTNode }, scope: unknown) => checker.check(self.node, scope),
  evaluate: (runner: Runner, self: { node: ASTNode }, scope: unknown) => {
    const value = runner.run(self.node, scope)
    weigh(value)
    return value
  },
})

const exhausted = (): CodedError =>
  new CodedError('EXPRESSION_VALUE', `the expression takes more than ${BUDGET} steps on this check object; make it shorter, or loop over a smaller list`)

/** The budget of one expression, filled up by `reset` before each evaluation. */
export class Meter {
  #left = BUDGET

  reset(): void {
    this.#left = BUDGET
  }

  /** CEL's `||` and `exists` go on after an error, so the end of the budget is looked at once more after the evaluation. @throws CodedError EXPRESSION_VALUE */
  assertLeft(): void {
    if (this.#left < 0) throw exhausted()
  }

  /** Adds the macros that the rewritten source calls. */
  register(environment: Environment): Environment {
    return environment
      .registerFunction('meter(ast): dyn', weighing((value) => this.#chargeShallow(value)))
      .registerFunction('meterDeep(ast): dyn', weighing((value) => this.#chargeDeep(value)))
  }

  #charge(steps: number): void {
    this.#left -= steps
    this.assertLeft()
  }

  #chargeShallow(value: unknown): void {
    if (typeof value === 'string') this.#charge(1 + value.length / CHARACTERS_PER_STEP)
    else if (Array.isArray(value)) this.#charge(1 + value.length)
    else if (value instanceof Map) this.#charge(1 + value.size)
    else this.#charge(1)
  }

  /** For operations that look into a value: what is in it is charged before they begin. */
  #chargeDeep(value: unknown): void {
    this.#chargeShallow(value)
    if (Array.isArray(value)) for (const item of value) this.#chargeDeep(item)
    else if (value instanceof Map) for (const item of value.values()) this.#chargeDeep(item)
    else if (typeof value === 'object' && value !== null) for (const item of Object.values(value)) this.#chargeDeep(item)
  }
}
