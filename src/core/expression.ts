import { Environment, EvaluationError, ParseError, TypeError as CelTypeError, type ParseResult } from '@marcbachmann/cel-js'
import { CodedError, isCoded, messageOf } from '../errors.ts'
import { Meter, metered, RefusedExpression } from './expression-meter.ts'
import { isRecord, shown } from './json-shape.ts'

export type CheckState = 'passed' | 'rejected' | 'pending'

/**
 * Reads the state of a check object.
 * @throws CodedError EXPRESSION_VALUE when the evaluation fails, takes too long or yields anything but a state
 */
export type StateExpression = (input: { object: unknown; context: unknown }) => CheckState

const MAX_LENGTH = 4096
/** Deeper than any Kubernetes object that people write. */
const MAX_DATA_DEPTH = 64

const STATES: ReadonlySet<unknown> = new Set<CheckState>(['passed', 'rejected', 'pending'])
const isState = (value: unknown): value is CheckState => STATES.has(value)

const language = new Environment({ limits: { maxAstNodes: 2000, maxDepth: 64, maxListElements: 200, maxMapEntries: 200 } })
  .registerVariable('object', 'map')
  .registerVariable('context', 'map')
/** The rewritten source is longer and deeper than what was written. */
const meteredLanguage = language.clone({ limits: { maxAstNodes: 10_000, maxDepth: 250 } })

/** The library writes whole types into its messages. */
const MAX_REASON = 300
const short = (text: string): string => (text.length > MAX_REASON ? `${text.slice(0, MAX_REASON)}…` : text)

const refused = (reason: string, position: number | undefined, cause?: unknown): CodedError =>
  new CodedError('EXPRESSION_SYNTAX', `the expression is refused${position === undefined ? '' : ` at character ${position + 1}`}: ${short(reason)}`, { cause })

const asRefused = (error: unknown): CodedError => {
  if (isCoded(error)) return error
  if (error instanceof RefusedExpression) return refused(error.message, error.position, error)
  if (!(error instanceof ParseError || error instanceof CelTypeError)) return refused(messageOf(error), undefined, error)
  const hint = error.code === 'unknown_variable' ? '; there are object (the check object) and context (the Pod)' : ''
  return refused(error.summary + hint, error.range?.start, error)
}

/** Parses and type-checks. */
const checked = (environment: Environment, source: string): { parsed: ParseResult; type: string } => {
  const parsed = environment.parse(source)
  const { valid, type, error } = parsed.check()
  if (!valid || type === undefined) throw error ?? refused('it has no type', undefined)
  return { parsed, type }
}

/**
 * JSON as CEL sees it: a copy that shares nothing with the input. Whole numbers are int and others double, as in
 * Kubernetes; objects are maps without a prototype.
 */
const toCel = (value: unknown, depth = 0): unknown => {
  if (depth > MAX_DATA_DEPTH) throw new CodedError('EXPRESSION_VALUE', `the check object is nested deeper than ${MAX_DATA_DEPTH} levels`)
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value
  if (Array.isArray(value)) return value.map((item) => toCel(item, depth + 1))
  if (!isRecord(value)) return value ?? null
  const entries = Object.entries(value).filter(([, item]) => item !== undefined)
  return new Map(entries.map(([key, item]) => [key, toCel(item, depth + 1)]))
}

const asFailed = (error: unknown): CodedError => {
  if (isCoded(error, 'EXPRESSION_VALUE')) return error
  if (!(error instanceof EvaluationError)) return new CodedError('EXPRESSION_VALUE', `the expression failed: ${short(messageOf(error))}`, { cause: error })
  const hint = error.code === 'no_such_key' ? '; ask has() before reading a field that may be missing' : ''
  return new CodedError('EXPRESSION_VALUE', `the expression failed: ${short(error.summary)}${hint}`, { cause: error })
}

/**
 * Compiles a CEL expression over `object` (the check object) and `context` (the Pod).
 * @throws CodedError EXPRESSION_SYNTAX with the position: it does not parse or type-check, names an undeclared variable,
 *   uses a function whose cost cannot be bounded, or can never yield a text
 */
export const compileStateExpression = (source: string): StateExpression => {
  if (source.trim() === '') throw refused('it is empty', undefined)
  if (source.length > MAX_LENGTH) throw refused(`it must be at most ${MAX_LENGTH} characters long; got ${source.length}`, undefined)
  const meter = new Meter()
  let run: ParseResult
  try {
    const { parsed, type } = checked(language, source)
    if (type !== 'string' && type !== 'dyn') throw refused(`it must yield "passed", "rejected" or "pending", and yields a value of type ${type}`, undefined)
    run = checked(meter.register(meteredLanguage.clone()), metered(parsed.ast)).parsed
  } catch (error) {
    throw asRefused(error)
  }
  return ({ object, context }) => {
    let value: unknown
    meter.reset()
    try {
      value = run({ object: toCel(object), context: toCel(context) })
      meter.assertLeft()
    } catch (error) {
      throw asFailed(error)
    }
    if (isState(value)) return value
    throw new CodedError('EXPRESSION_VALUE', `the expression must yield "passed", "rejected" or "pending"; got ${shown(value)}`)
  }
}
