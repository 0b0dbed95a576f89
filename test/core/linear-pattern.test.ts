import fc from 'fast-check'
import { test } from 'tap'
import { compileLinear } from '../../src/core/linear-pattern.ts'
import { outcome } from '../support/outcome.ts'

const FIRST_GROUPS: Record<string, [source: string, text: string, expected: string | undefined]> = {
  'a group': ['^/w/([^/]+)', '/w/team/x', 'team'],
  'a group anywhere': ['(b+)', 'aabba', 'bb'],
  'a pattern that is not found': ['^(a)', 'ba', undefined],
  'a group that takes no part': ['^a|(b)', 'a', undefined],
  'a group that takes nothing': ['a()', 'a', ''],
  'a pattern without a group': ['a', 'a', undefined],
  'a name, as in Go': ['(?P<ns>[a-z]+)-', 'x-team-a', 'x'],
  'a flag, as in Go': ['(?i)^(TEAM)', 'team', 'team'],
  'the end of the text, as in Go': ['(a)\\z', 'a\n', undefined],
  'a class of Unicode': ['^(\\p{Greek}+)', 'αβc', 'αβ'],
  'a character beyond the first plane': ['^(.)$', '😀', '😀'],
}

await test('what the first group takes', async (t) => {
  for (const [sentence, [source, text, expected]] of Object.entries(FIRST_GROUPS)) t.equal(compileLinear(source).firstGroup(text), expected, sentence)
})

const REFUSED: Record<string, [source: string, message: string]> = {
  'half a group': ['(', 'is no regular expression (RE2): missing closing ): `(`'],
  'a look ahead': ['a(?=b)', 'is no regular expression (RE2): invalid or unsupported Perl syntax: `(?=`'],
  'a look back': ['(?<=a)b', 'is no regular expression (RE2): invalid named capture: `(?<=a)b`'],
  'a back reference': ['(a)\\1', 'is no regular expression (RE2): invalid escape sequence: `\\1`'],
  'one repetition too many': ['a{1001}', 'is no regular expression (RE2): invalid repeat count: `{1001}`'],
  'repetitions of repetitions': ['((a{100}){100}){100}', 'is no regular expression (RE2): invalid repeat count: `{100}`'],
  'many repetitions': ['a{900}b{900}', 'is too large: it takes 1802 steps, at most 1000 are allowed; repeat fewer times'],
  'a long one': ['a'.repeat(1001), 'must be at most 1000 characters long; got 1001'],
}

await test('what is refused', async (t) => {
  for (const [sentence, [source, message]] of Object.entries(REFUSED)) t.equal(outcome(() => compileLinear(source).source), `PATTERN_SYNTAX: ${message}`, sentence)
})

/** These never end elsewhere: each doubles with every character. */
const EXPLOSIVE = ['^(a+)+$', '^(a|a)*$', '^(.*)*x$', '^(a*)*$', '(a?){100}a{100}$', '^((a|aa)+)+$']

await test('a pattern that explodes elsewhere comes to an end', async (t) => {
  for (const source of EXPLOSIVE) t.equal(compileLinear(`(${source})`).firstGroup(`${'a'.repeat(16_000)}!`), undefined, source)
})

await test('what both grammars have means the same in both', async (t) => {
  const piece = fc.constantFrom('a', 'b', '/', '-', '.', '[^/]', '[a-c]', '(?:a|b)', '(a)', '(b|/)', '\\d', '\\w', '^', '$')
  const source = fc.array(fc.tuple(piece, fc.constantFrom('', '*', '+', '?', '{1,2}')), { minLength: 1, maxLength: 6 })
  const simple = source.map((pieces) => pieces.map(([what, often]) => (what === '^' || what === '$' ? what : what + often)).join(''))
  const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '/', '-', '1', 'é'), maxLength: 12 })
  fc.assert(
    fc.property(simple, text, (pattern, where) => {
      const whole = `(${pattern})`
      t.strictSame([whole, where, compileLinear(whole).firstGroup(where)], [whole, where, new RegExp(whole, 'u').exec(where)?.[1]])
    }),
    { numRuns: 1000, seed: 20_260_102 },
  )
})
