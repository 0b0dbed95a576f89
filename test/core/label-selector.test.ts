import fc from 'fast-check'
import { test } from 'tap'
import type { LabelRequirement, LabelSelector } from '../../src/api/meta.ts'
import { selectorMatches, selectorProblems } from '../../src/core/label-selector.ts'

const one = (requirement: object): LabelSelector => ({ matchExpressions: [requirement as LabelRequirement] })

const MATCHES: Record<string, { selector: LabelSelector; labels: Record<string, string> | undefined; matches: boolean }> = {
  'an empty selector matches everything': { selector: {}, labels: { a: '1' }, matches: true },
  'an empty selector matches what has no labels': { selector: { matchLabels: {}, matchExpressions: [] }, labels: undefined, matches: true },
  'every label must be there': { selector: { matchLabels: { a: '1', b: '2' } }, labels: { a: '1' }, matches: false },
  'labels with these values match': { selector: { matchLabels: { a: '1' } }, labels: { a: '1', b: '2' }, matches: true },
  'another value does not match': { selector: { matchLabels: { a: '1' } }, labels: { a: '2' }, matches: false },
  'an empty value is not a missing label': { selector: { matchLabels: { a: '' } }, labels: {}, matches: false },
  'In matches one of the values': { selector: one({ key: 'a', operator: 'In', values: ['1', '2'] }), labels: { a: '2' }, matches: true },
  'In does not match a missing label': { selector: one({ key: 'a', operator: 'In', values: ['1'] }), labels: {}, matches: false },
  'In without values matches nothing': { selector: one({ key: 'a', operator: 'In' }), labels: { a: '1' }, matches: false },
  'NotIn matches a missing label': { selector: one({ key: 'a', operator: 'NotIn', values: ['1'] }), labels: {}, matches: true },
  'NotIn does not match one of the values': { selector: one({ key: 'a', operator: 'NotIn', values: ['1'] }), labels: { a: '1' }, matches: false },
  'NotIn without values matches nothing': { selector: one({ key: 'a', operator: 'NotIn', values: [] }), labels: {}, matches: false },
  'Exists matches any value': { selector: one({ key: 'a', operator: 'Exists' }), labels: { a: '' }, matches: true },
  'Exists with values matches nothing': { selector: one({ key: 'a', operator: 'Exists', values: ['1'] }), labels: { a: '1' }, matches: false },
  'DoesNotExist matches a missing label': { selector: one({ key: 'a', operator: 'DoesNotExist' }), labels: {}, matches: true },
  'DoesNotExist does not match a label': { selector: one({ key: 'a', operator: 'DoesNotExist' }), labels: { a: '' }, matches: false },
  'an unknown operator matches nothing': { selector: one({ key: 'a', operator: 'Like', values: ['1'] }), labels: { a: '1' }, matches: false },
  'labels and expressions must both hold': {
    selector: { matchLabels: { a: '1' }, matchExpressions: [{ key: 'b', operator: 'Exists' }] },
    labels: { a: '1' },
    matches: false,
  },
  'a name of the prototype is no label': { selector: one({ key: 'constructor', operator: 'Exists' }), labels: {}, matches: false },
}

for (const [name, { selector, labels, matches }] of Object.entries(MATCHES)) {
  await test(name, async (t) => {
    t.equal(selectorMatches(selector, labels), matches)
  })
}

const PROBLEMS: Record<string, { selector: unknown; problems: string[] }> = {
  'a good selector': {
    selector: { matchLabels: { 'tekton.dev/run': 'a', b: '' }, matchExpressions: [{ key: 'a', operator: 'In', values: ['x'] }, { key: 'b', operator: 'Exists', values: [] }] },
    problems: [],
  },
  'labels that are a list': { selector: { matchLabels: ['a'] }, problems: ['s.matchLabels: must be a map of labels; got a list'] },
  'a label value that is a number': { selector: { matchLabels: { a: 1 } }, problems: ['s.matchLabels["a"]: must be text; got 1'] },
  'a label key and value that cannot be': {
    selector: { matchLabels: { 'a b': '-' } },
    problems: [
      's.matchLabels["a b"]: must be a label key: a name of letters, digits, "-", "_" and ".", with an optional DNS prefix and "/" before it; got "a b"',
      's.matchLabels["a b"]: must be a label value: letters, digits, "-", "_" and ".", beginning and ending with a letter or digit; got "-"',
    ],
  },
  'expressions that are no list': { selector: { matchExpressions: {} }, problems: ['s.matchExpressions: must be a list; got an object'] },
  'an expression that is text': { selector: { matchExpressions: ['a=b'] }, problems: ['s.matchExpressions[0]: must be an object with key and operator; got "a=b"'] },
  'an unknown operator': {
    selector: { matchExpressions: [{ key: 'a', operator: 'Gt', values: ['1'] }] },
    problems: ['s.matchExpressions[0].operator: must be In, NotIn, Exists or DoesNotExist; got "Gt"'],
  },
  'a missing key and missing values': {
    selector: { matchExpressions: [{ operator: 'In' }] },
    problems: ['s.matchExpressions[0].key: is required', 's.matchExpressions[0].values: must not be empty with operator In'],
  },
  'values with Exists': {
    selector: { matchExpressions: [{ key: 'a', operator: 'Exists', values: ['1'] }] },
    problems: ['s.matchExpressions[0].values: must be empty with operator Exists'],
  },
  'values that are text': { selector: { matchExpressions: [{ key: 'a', operator: 'In', values: '1' }] }, problems: ['s.matchExpressions[0].values: must be a list; got "1"'] },
  'a value that is an object': {
    selector: { matchExpressions: [{ key: 'a', operator: 'NotIn', values: ['ok', {}] }] },
    problems: ['s.matchExpressions[0].values[1]: must be text; got an object'],
  },
}

for (const [name, { selector, problems }] of Object.entries(PROBLEMS)) {
  await test(`problems of a selector: ${name}`, async (t) => {
    t.strictSame(
      selectorProblems(selector as LabelSelector, 's').map(({ path, message }) => `${path}: ${message}`),
      problems,
    )
  })
}

await test('an expression and its opposite never both match, nor both fail', async (t) => {
  const values = fc.array(fc.constantFrom('1', '2', '3'), { minLength: 1 })
  const labels = fc.dictionary(fc.constantFrom('a', 'b'), fc.constantFrom('1', '2', '3', ''))
  fc.assert(
    fc.property(values, labels, (list, present) => {
      const asked = (operator: string, some?: string[]): boolean => selectorMatches(one({ key: 'a', operator, ...(some ? { values: some } : {}) }), present)
      return asked('In', list) !== asked('NotIn', list) && asked('Exists') !== asked('DoesNotExist')
    }),
  )
  t.pass('held')
})
