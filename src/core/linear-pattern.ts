/**
 * Regular expressions of administrators: in RE2's grammar, as in Go, and by its method, so that the time of a search grows with the text and
 * never explodes. There is no lookaround and no back reference. Not for patterns of anybody else: to compile one can take seconds and
 * hundreds of megabytes, which is seen only afterwards.
 */
import { RE2JS } from 're2js'
import { CodedError, messageOf } from '../errors.ts'

const MAX_LENGTH = 1000
/** Steps of the compiled pattern, of which each can be tried at each character. */
const MAX_STEPS = 1000

export interface LinearPattern {
  readonly source: string
  /** How many parts in parentheses it takes. */
  readonly groups: number
  /** What its first group takes where it is first found; undefined when it is not found, or when the group takes no part in it. */
  firstGroup(text: string): string | undefined
}

const refused = (rule: string, cause?: unknown): CodedError => new CodedError('PATTERN_SYNTAX', rule, { cause })

/** The library begins each message the same way. */
const reasonOf = (error: unknown): string => messageOf(error).replace(/^error parsing regexp: /, '')

/** @throws CodedError PATTERN_SYNTAX whose message goes on after the name of the pattern: `is no regular expression: …` */
export const compileLinear = (source: string): LinearPattern => {
  if (source.length > MAX_LENGTH) throw refused(`must be at most ${MAX_LENGTH} characters long; got ${source.length}`)
  let compiled: RE2JS
  try {
    compiled = RE2JS.compile(source)
  } catch (error) {
    throw refused(`is no regular expression (RE2): ${reasonOf(error)}`, error)
  }
  const [groups, steps] = [compiled.groupCount(), compiled.programSize()]
  if (steps > MAX_STEPS) throw refused(`is too large: it takes ${steps} steps, at most ${MAX_STEPS} are allowed; repeat fewer times`)
  return {
    source,
    groups,
    // Asked for groups, the library makes no automaton as it searches: that could grow by megabytes.
    firstGroup: (text) => {
      const matcher = compiled.matcher(text)
      return groups > 0 && matcher.find() ? (matcher.group(1) ?? undefined) : undefined
    },
  }
}
