import type { CodedError } from '../../errors.ts'
import { expectLength, type FunctionCall } from './function-call.ts'
import { stopsAt } from './functions.ts'
import type { Call, Command, Node, Operand, PathRoot, Pipeline, Place, Template } from './nodes.ts'
import { valueError } from './template-error.ts'
import { isList, isMap, isTrue, kindOf, Missing, sortedKeys, textOf, toValue, utf8Length, type Value } from './values.ts'

/** Bytes of one file, in UTF-8. */
export const MAX_FILE = 1024 * 1024
/** Nodes and calls. */
const MAX_STEPS = 200_000
/** Characters and items that are read or made. */
const MAX_WORK = 8 * 1024 * 1024

/** What templates have used up; one of it for all files of a volume bounds them together. */
export interface RenderBudget {
  /** What messages name as too much, such as `the templates of the volume`. */
  readonly of: string
  steps: number
  work: number
}

export const newRenderBudget = (of: string): RenderBudget => ({ of, steps: 0, work: 0 })

const OF_ONE = 'the template'

/** A part of what was rendered: text of the template itself, or a value that was filled in. */
export interface RenderedPart {
  kind: 'text' | 'value'
  text: string
}

class Renderer {
  readonly #template: Template
  readonly #root: Value
  readonly #budget: RenderBudget
  readonly #output: RenderedPart[] = []
  #size = 0
  /** Variables in scope, the innermost last. */
  #variables: { name: string; value: Value }[] = []

  /** @param data JSON data; reading it is part of the work */
  constructor(template: Template, data: unknown, budget: RenderBudget) {
    this.#template = template
    this.#budget = budget
    this.#spend(1, template.size)
    this.#root = toValue(data, (work) => this.#spend(1, work))
  }

  render(): readonly RenderedPart[] {
    this.#walk(this.#template.nodes, this.#root)
    return this.#output
  }

  #error(line: number, what: string): CodedError {
    return valueError(this.#template.name, line, what)
  }

  #missing(line: number, source: string): CodedError {
    return this.#error(line, `there is no value for ${source}; ask for it with "if", "with" or "default" where it may be missing`)
  }

  #spend(line: number, work: number): void {
    this.#budget.work += work
    if (this.#budget.work > MAX_WORK) throw this.#error(line, `${this.#budget.of} may work on no more than ${MAX_WORK} characters and items`)
  }

  #step(line: number): void {
    this.#budget.steps += 1
    if (this.#budget.steps > MAX_STEPS) throw this.#error(line, `${this.#budget.of} may take no more than ${MAX_STEPS} steps`)
  }

  #write(line: number, kind: RenderedPart['kind'], text: string): void {
    this.#size += utf8Length(text)
    if (this.#size > MAX_FILE) throw this.#error(line, `the file would have more than ${MAX_FILE} bytes`)
    this.#output.push({ kind, text })
  }

  #walk(nodes: readonly Node[], dot: Value): void {
    const mark = this.#variables.length
    for (const node of nodes) {
      if (node.kind === 'text') this.#write(node.line, 'text', node.text)
      else if (node.kind === 'output') this.#walkOutput(node.pipeline, dot)
      else if (node.kind === 'range') this.#walkRange(node.pipeline, node, dot)
      else this.#walkChoice(node.pipeline, node, dot)
    }
    this.#variables.length = mark
  }

  #walkOutput(pipeline: Pipeline, dot: Value): void {
    const value = this.#pipelineValue(pipeline, dot)
    if (pipeline.variables.length > 0) return
    const { line, source } = pipeline.place
    if (value instanceof Missing) throw this.#missing(line, value.source)
    const text = textOf(value)
    if (text === undefined) throw this.#error(line, `${source} is ${kindOf(value)}, where one value is needed; use "range", "join" or "toJson"`)
    this.#write(line, 'value', text)
  }

  #walkChoice(pipeline: Pipeline, node: Node & { kind: 'if' | 'with' | 'range' }, dot: Value): void {
    const mark = this.#variables.length
    const value = this.#pipelineValue(pipeline, dot)
    if (isTrue(value)) this.#walk(node.body, node.kind === 'with' ? value : dot)
    else this.#walk(node.otherwise, dot)
    this.#variables.length = mark
  }

  /** What a range goes through: keys and items. A list that is not there is empty, as in Go. */
  #entriesOf(pipeline: Pipeline, value: Value): (readonly [string | number, Value])[] {
    if (value instanceof Missing) return []
    if (isList(value)) return value.map((item, position) => [position, item])
    if (isMap(value)) return sortedKeys(value).map((key) => [key, value.get(key) ?? new Missing(key)])
    throw this.#error(pipeline.place.line, `"range" goes through a list or a map; ${pipeline.place.source} is ${kindOf(value)}`)
  }

  #walkRange(pipeline: Pipeline, node: Node & { kind: 'if' | 'with' | 'range' }, dot: Value): void {
    const { line } = pipeline.place
    const mark = this.#variables.length
    // As in Go the variables hold the list itself where nothing is gone through.
    const value = this.#pipelineValue(pipeline, dot)
    if (isList(value)) this.#spend(line, value.length)
    const entries = this.#entriesOf(pipeline, value)
    const names = pipeline.variables
    const inner = this.#variables.length
    for (const [key, item] of entries) {
      this.#step(line)
      // One variable is the item; of two the first is the key.
      const values = names.length === 2 ? [key, item] : [item]
      for (const [at, name] of names.entries()) this.#setVariable(name, values[at] ?? item, pipeline.isDeclared)
      this.#walk(node.body, item)
      this.#variables.length = inner
    }
    if (entries.length === 0) this.#walk(node.otherwise, dot)
    this.#variables.length = mark
  }

  #setVariable(name: string, value: Value, isDeclared: boolean): void {
    const known = isDeclared ? undefined : this.#variables.findLast((variable) => variable.name === name)
    if (known === undefined) this.#variables.push({ name, value })
    else known.value = value
  }

  #pipelineValue(pipeline: Pipeline, dot: Value): Value {
    const value = this.#commandsValue(pipeline, dot)
    for (const name of pipeline.variables) this.#setVariable(name, value, pipeline.isDeclared)
    return value
  }

  #commandsValue(pipeline: Pipeline, dot: Value): Value {
    const [first, ...others] = pipeline.commands
    return others.reduce((value, command) => this.#commandValue(command, dot, value), this.#commandValue(first, dot, undefined))
  }

  #commandValue(command: Command, dot: Value, piped: Value | undefined): Value {
    return command.kind === 'operand' ? this.#operandValue(command.operand, dot) : this.#callValue(command, dot, piped)
  }

  #callValue(call: Call, dot: Value, piped: Value | undefined): Value {
    const { line, source } = call.place
    this.#step(line)
    const stop = stopsAt(call.name)
    if (stop !== undefined) return this.#shortCircuit(call, dot, piped, stop)
    const known = this.#template.functions.get(call.name)
    if (known === undefined) throw this.#error(line, `the function "${call.name}" is not supported`)
    const values = call.operands.map((operand) => this.#operandValue(operand, dot))
    if (piped !== undefined) values.push(piped)
    for (const value of values) {
      if (value instanceof Missing && known.takesMissing !== true) throw this.#missing(line, value.source)
      this.#spend(line, typeof value === 'string' ? value.length + 1 : 1)
    }
    const context: FunctionCall = { name: call.name, source, error: (what) => this.#error(line, what), spend: (work) => this.#spend(line, work) }
    const result = known.apply(context, values)
    if (typeof result === 'string') expectLength(context, result.length)
    return result
  }

  /** `and` yields the first operand that is false, `or` the first that is true, else the last; what follows is not looked at. */
  #shortCircuit(call: Call, dot: Value, piped: Value | undefined, stop: boolean): Value {
    let value: Value = new Missing(call.place.source)
    for (const operand of call.operands) {
      value = this.#operandValue(operand, dot)
      if (isTrue(value) === stop) return value
    }
    return piped ?? value
  }

  #operandValue(operand: Operand, dot: Value): Value {
    this.#step(operand.place.line)
    if (operand.kind === 'literal') return operand.value
    return operand.fields.reduce<Value>((from, field) => this.#fieldValue(operand.place, from, field), this.#rootValue(operand.root, dot))
  }

  #rootValue(root: PathRoot, dot: Value): Value {
    if (root.kind === 'dot') return dot
    if (root.kind === 'pipeline') return this.#pipelineValue(root.pipeline, dot)
    if (root.kind === 'call') return this.#callValue(root.command, dot, undefined)
    if (root.name === '$') return this.#root
    return this.#variables.findLast(({ name }) => name === root.name)?.value ?? new Missing(root.name)
  }

  /** A field of a map; of what is missing every field is missing, as in Go. */
  #fieldValue(place: Place, from: Value, field: string): Value {
    if (from instanceof Missing) return new Missing(place.source)
    if (!isMap(from)) throw this.#error(place.line, `${place.source} asks for a field of ${kindOf(from)}`)
    return from.get(field) ?? new Missing(place.source)
  }
}

/**
 * Fills in a template. Lists and maps come in their order and in that of their keys, so the same data yield the same text.
 * @param data JSON data; only own properties are seen
 * @throws CodedError TEMPLATE_VALUE, one sentence that names the template, the line and the path, and quotes no value
 */
export const renderTemplate = (template: Template, data: unknown, budget: RenderBudget = newRenderBudget(OF_ONE)): string =>
  renderParts(template, data, budget)
    .map(({ text }) => text)
    .join('')

/** The same in parts, for whoever has to know what came from where. */
export const renderParts = (template: Template, data: unknown, budget: RenderBudget = newRenderBudget(OF_ONE)): readonly RenderedPart[] => new Renderer(template, data, budget).render()
