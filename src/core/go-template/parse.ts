import { FILE_FUNCTIONS, functionArity, type FunctionSet } from './functions.ts'
import { readTokens, type Token } from './lexer.ts'
import type { Call, Command, Node, Operand, PathRoot, Pipeline, Place, Template } from './nodes.ts'
import { shownSource, syntaxError } from './template-error.ts'

/** Characters of one template. */
export const MAX_TEMPLATE = 256 * 1024
/** Blocks within blocks and parentheses within parentheses; each "else if" counts. */
const MAX_DEPTH = 100
/** That may be named at one place. */
const MAX_VARIABLES = 200

const REFUSED_WORDS: readonly string[] = ['define', 'template', 'block', 'break', 'continue']
const BLOCKS = ['if', 'with', 'range'] as const
type BlockKind = (typeof BLOCKS)[number]

type Stop = { word: 'end' } | { word: 'else' } | { word: 'text end' }

const blockKind = (name: string): BlockKind | undefined => BLOCKS.find((kind) => kind === name)

class Parser {
  readonly #name: string
  readonly #source: string
  readonly #functions: FunctionSet
  readonly #tokens: readonly Token[]
  #next = 0
  #depth = 0
  /** Variables that may be named here, the innermost last. */
  #variables = ['$']

  constructor(name: string, source: string, functions: FunctionSet) {
    this.#name = name
    this.#functions = functions
    this.#source = source
    this.#tokens = readTokens(name, source)
  }

  parse(): Node[] {
    const { nodes, stop } = this.#readNodes()
    if (stop.word !== 'text end') throw this.#fail(`there is "${stop.word}" without "if", "with" or "range" before it`)
    return nodes
  }

  /** Speaks of the token before the next one. */
  #fail(what: string): Error {
    const at = this.#tokens[Math.max(0, this.#next - 1)]
    return syntaxError(this.#name, at?.line ?? 1, what)
  }

  #peek(): Token | undefined {
    return this.#tokens[this.#next]
  }

  /** Within an action there is always a next token: the lexer saw its end. */
  #take(): Token {
    const token = this.#tokens[this.#next]
    if (token === undefined) throw this.#fail('the action has no end')
    this.#next += 1
    return token
  }

  #isSign(token: Token | undefined, sign: string): boolean {
    return token?.kind === 'sign' && token.sign === sign
  }

  #placeFrom(first: Token): Place {
    const last = this.#tokens[this.#next - 1] ?? first
    return { line: first.line, source: shownSource(this.#source.slice(first.start, last.end)) }
  }

  /** Runs within one more level of nesting; what is declared there ends there. */
  #nested<T>(read: () => T): T {
    this.#depth += 1
    if (this.#depth > MAX_DEPTH) throw this.#fail(`nested deeper than ${MAX_DEPTH} levels`)
    const variables = this.#variables.length
    const result = read()
    this.#variables.length = variables
    this.#depth -= 1
    return result
  }

  #readNodes(): { nodes: Node[]; stop: Stop } {
    const nodes: Node[] = []
    for (let token = this.#peek(); token !== undefined; token = this.#peek()) {
      this.#next += 1
      if (token.kind === 'text') {
        nodes.push({ kind: 'text', line: token.line, text: token.text })
        continue
      }
      const first = this.#peek()
      if (first?.kind !== 'word') {
        nodes.push({ kind: 'output', pipeline: this.#readPipeline('close') })
        continue
      }
      if (first.name === 'end') {
        this.#next += 1
        this.#expectClose('"end"')
        return { nodes, stop: { word: 'end' } }
      }
      if (first.name === 'else') {
        this.#next += 1
        return { nodes, stop: { word: 'else' } }
      }
      const kind = blockKind(first.name)
      if (kind !== undefined) this.#next += 1
      nodes.push(kind === undefined ? { kind: 'output', pipeline: this.#readPipeline('close') } : this.#readBlock(kind))
    }
    return { nodes, stop: { word: 'text end' } }
  }

  #expectClose(after: string): void {
    if (this.#take().kind !== 'close') throw this.#fail(`"}}" must follow ${after}`)
  }

  #readBlock(kind: BlockKind): Node {
    return this.#nested(() => {
      const pipeline = this.#readPipeline('close', kind === 'range')
      const { nodes: body, stop } = this.#nested(() => this.#readNodes())
      if (stop.word === 'text end') throw syntaxError(this.#name, pipeline.place.line, `"${kind}" has no "end"`)
      return { kind, pipeline, body, otherwise: stop.word === 'else' ? this.#readElse(kind, pipeline.place.line) : [] }
    })
  }

  /** After "else": its own nodes up to the end, or one more block that shares the end. */
  #readElse(kind: BlockKind, line: number): Node[] {
    const word = this.#peek()
    if (word?.kind === 'word') {
      this.#next += 1
      const chained = blockKind(word.name)
      if (chained === undefined || chained === 'range' || chained !== kind) throw this.#fail(`"else ${word.name}" is not supported after "${kind}"; close the block and write another`)
      return [this.#readBlock(chained)]
    }
    this.#expectClose('"else"')
    const { nodes, stop } = this.#nested(() => this.#readNodes())
    if (stop.word === 'text end') throw syntaxError(this.#name, line, `"${kind}" has no "end"`)
    if (stop.word === 'else') throw this.#fail('there are two "else" in one block')
    return nodes
  }

  #readVariables(isRange: boolean): { variables: string[]; isDeclared: boolean } {
    const none = { variables: [], isDeclared: false }
    const first = this.#peek()
    if (first?.kind !== 'variable') return none
    const after = this.#tokens[this.#next + 1]
    const variables = [first.name]
    let sign = after
    if (this.#isSign(after, ',')) {
      const second = this.#tokens[this.#next + 2]
      if (!isRange || second?.kind !== 'variable') throw this.#fail('two variables are for "range" alone: range $key, $value := …')
      variables.push(second.name)
      sign = this.#tokens[this.#next + 3]
    }
    const isDeclared = this.#isSign(sign, ':=')
    if (!isDeclared && !this.#isSign(sign, '=')) {
      if (variables.length > 1) throw this.#fail('":=" must follow the two variables of "range"')
      return none
    }
    this.#next += 2 * variables.length
    for (const name of variables) {
      if (name === '$') throw this.#fail('"$" is the data of the template and cannot be set; name the variable, for example $value')
      if (!isDeclared) this.#expectVariable(name)
    }
    return { variables, isDeclared }
  }

  #expectVariable(name: string): void {
    if (!this.#variables.includes(name)) throw this.#fail(`there is no variable ${shownSource(name)} here; declare it with ":=" before, outside of a block that has ended`)
  }

  /** Up to the end of the action, or the closing parenthesis, which is read as well. */
  #readPipeline(end: 'close' | 'parenthesis', isRange = false): Pipeline {
    const first = this.#peek()
    const { variables, isDeclared } = this.#readVariables(isRange)
    if (variables.length > 0 && end === 'parenthesis') throw this.#fail('a variable cannot be set within parentheses')
    const commands: [Command, ...Command[]] = [this.#readCommand(false)]
    while (this.#isSign(this.#peek(), '|')) {
      this.#next += 1
      commands.push(this.#readCommand(true))
    }
    const place = this.#placeFrom(first ?? this.#take())
    const last = this.#take()
    const isEnd = end === 'close' ? last.kind === 'close' : this.#isSign(last, ')')
    if (!isEnd) throw this.#fail(this.#unexpected(last, end))
    if (isDeclared) this.#variables.push(...variables)
    if (this.#variables.length > MAX_VARIABLES) throw this.#fail(`more than ${MAX_VARIABLES} variables at one place`)
    return { place, variables, isDeclared, commands }
  }

  #unexpected(token: Token, end: 'close' | 'parenthesis'): string {
    if (token.kind === 'close') return 'a parenthesis is not closed'
    const text = JSON.stringify(shownSource(this.#source.slice(token.start, token.end)))
    return `${text} cannot stand here; ${end === 'close' ? 'operands are separated by spaces, functions by "|"' : 'a parenthesis is not closed'}`
  }

  #readCommand(isPiped: boolean): Command {
    const first = this.#peek()
    if (first?.kind === 'word' && first.name !== 'true' && first.name !== 'false') {
      return this.#readCall(isPiped, true)
    }
    const operand = this.#readOperand()
    if (operand === undefined) throw this.#fail('a value or a function is missing')
    if (isPiped) throw this.#fail(`${JSON.stringify(operand.place.source)} is no function, and only a function can follow "|"`)
    const next = this.#peek()
    if (next !== undefined && this.#beginsOperand(next)) throw this.#fail(`${JSON.stringify(operand.place.source)} is no function and takes no operands`)
    return { kind: 'operand', operand }
  }

  #beginsOperand(token: Token): boolean {
    return token.kind !== 'close' && token.kind !== 'text' && token.kind !== 'open' && (token.kind !== 'sign' || token.sign === '(')
  }

  /** A function; with operands where it is the head of a command, without where it is an operand itself. */
  #readCall(isPiped: boolean, isHead: boolean): Call {
    const head = this.#take()
    if (head.kind !== 'word') throw this.#fail('a function is missing')
    const arity = functionArity(this.#functions, head.name)
    if (arity === undefined) throw this.#fail(this.#strangerText(head.name))
    const operands: Operand[] = []
    if (isHead) {
      for (let operand = this.#readOperand(true); operand !== undefined; operand = this.#readOperand(true)) operands.push(operand)
    }
    const count = operands.length + (isPiped ? 1 : 0)
    if (count < arity.min || count > arity.max) {
      const wanted = arity.min === arity.max ? `${arity.min}` : arity.max === Infinity ? `at least ${arity.min}` : `${arity.min} to ${arity.max}`
      throw this.#fail(`"${head.name}" takes ${wanted} operand${wanted === '1' || wanted.endsWith(' 1') ? '' : 's'}, and here are ${count}`)
    }
    return { kind: 'call', place: this.#placeFrom(head), name: head.name, operands }
  }

  #strangerText(name: string): string {
    if (REFUSED_WORDS.includes(name)) return `"${name}" is not supported`
    if (name === 'nil') return '"nil" is not supported; ask with "empty", "default" or "if"'
    return `the function "${shownSource(name)}" is not supported`
  }

  /** @param spaced whether a space must stand before it */
  #readOperand(spaced = false): Operand | undefined {
    const token = this.#peek()
    if (token === undefined || !this.#beginsOperand(token)) return undefined
    if (spaced && !token.spaced) throw this.#fail('operands are separated by spaces')
    if (token.kind === 'word') {
      if (token.name === 'true' || token.name === 'false') {
        this.#next += 1
        return { kind: 'literal', place: this.#placeFrom(token), value: token.name === 'true' }
      }
      const command = this.#readCall(false, false)
      if (this.#hasField()) throw this.#fail(`write (${command.name}) in parentheses to read a field of it`)
      return { kind: 'path', place: command.place, root: { kind: 'call', command }, fields: [] }
    }
    this.#next += 1
    if (token.kind === 'literal') {
      if (this.#hasField()) throw this.#fail('a constant has no fields')
      return { kind: 'literal', place: this.#placeFrom(token), value: token.value }
    }
    const { root, fields } = this.#readRoot(token)
    while (this.#hasField()) {
      const field = this.#take()
      if (field.kind === 'field') fields.push(field.name)
    }
    return { kind: 'path', place: this.#placeFrom(token), root, fields }
  }

  #readRoot(token: Token): { root: PathRoot; fields: string[] } {
    if (token.kind === 'field') return { root: { kind: 'dot' }, fields: [token.name] }
    if (token.kind === 'dot') {
      if (this.#hasField()) throw this.#fail('two dots in a row are no path')
      return { root: { kind: 'dot' }, fields: [] }
    }
    if (token.kind === 'variable') {
      this.#expectVariable(token.name)
      return { root: { kind: 'variable', name: token.name }, fields: [] }
    }
    return { root: { kind: 'pipeline', pipeline: this.#nested(() => this.#readPipeline('parenthesis')) }, fields: [] }
  }

  #hasField(): boolean {
    const next = this.#peek()
    return next?.kind === 'field' && !next.spaced
  }
}

/**
 * Reads a template of the subset that docs/csi.md describes.
 * @param name what messages call it, for example `settings.xml`
 * @param functions what it may call
 * @throws CodedError TEMPLATE_SYNTAX, one sentence that names the template, the line and what is not supported
 */
export const parseTemplate = (name: string, source: string, functions: FunctionSet = FILE_FUNCTIONS): Template => {
  if (source.length > MAX_TEMPLATE) throw syntaxError(name, 1, `a template must be at most ${MAX_TEMPLATE} characters long; this one has ${source.length}`)
  return { name, nodes: new Parser(name, source.toWellFormed(), functions).parse(), functions, size: source.length }
}
