import fc from 'fast-check'
import { test } from 'tap'
import { compileStateExpression } from '../../src/core/expression.ts'
import { isCoded } from '../../src/errors.ts'
import { outcome } from '../support/outcome.ts'

const object = {
  metadata: { name: 'release', labels: { 'tekton.dev/pipelineRun': 'run-7' } },
  status: {
    phase: 'Approved',
    result: 'rejected',
    count: 3,
    ratio: 2.5,
    nothing: null,
    big: 9_007_199_254_740_992,
    at: '2026-01-02T03:04:05Z',
    numbers: Array.from({ length: 2000 }, (_, index) => index),
    text: 'a'.repeat(400_000),
    conditions: [{ type: 'Ready', status: 'True' }, { type: 'Other' }],
  },
}
const context = { metadata: { name: 'build-1', labels: { 'tekton.dev/pipelineRun': 'run-7' } } }

const evaluate = (source: string): string => outcome(() => compileStateExpression(source)({ object, context }))
const state = (condition: string): string => evaluate(`${condition} ? "passed" : "pending"`)

const CONDITIONS: Record<string, { condition: string; result: string }> = {
  'a field that is equal': { condition: 'object.status.phase == "Approved"', result: 'passed' },
  'a field that differs': { condition: 'object.status.phase != "Approved"', result: 'pending' },
  'a whole number compares with a literal': { condition: 'object.status.count >= 2', result: 'passed' },
  'a whole number equals an int': { condition: 'object.status.count == 3', result: 'passed' },
  'a whole number equals a double': { condition: 'object.status.count == 3.0', result: 'passed' },
  'a whole number adds up': { condition: 'object.status.count + 1 == 4', result: 'passed' },
  'a fraction compares with an int': { condition: 'object.status.ratio > 2', result: 'passed' },
  'a number beyond 2^53 is a double': { condition: 'object.status.big > 9000000000000000.0', result: 'passed' },
  'a number is no text': { condition: 'object.status.count == "3"', result: 'pending' },
  'a null field is there': { condition: 'has(object.status.nothing) && object.status.nothing == null', result: 'passed' },
  'a field that is missing, with has': { condition: 'has(object.status.missing) && object.status.missing == 1', result: 'pending' },
  'labels of object and Pod': {
    condition: 'object.metadata.labels["tekton.dev/pipelineRun"] == context.metadata.labels["tekton.dev/pipelineRun"]',
    result: 'passed',
  },
  'a condition in a list': { condition: 'object.status.conditions.exists(c, c.type == "Ready" && c.status == "True")', result: 'passed' },
  'all of a list': { condition: 'object.status.conditions.all(c, c.type == "Ready")', result: 'pending' },
  'exactly one of a list': { condition: 'object.status.conditions.exists_one(c, c.type == "Ready")', result: 'passed' },
  'the size of what was filtered and mapped': { condition: 'size(object.status.numbers.filter(n, n < 3).map(n, n * 2)) == 3', result: 'passed' },
  'a bound value': { condition: 'cel.bind(n, object.status.count, n > 2 && n < 4)', result: 'passed' },
  'membership in a list and in a map': { condition: '2 in [1, 2] && "name" in object.metadata', result: 'passed' },
  'text functions': { condition: 'object.metadata.name.split("e").join("-") == "r-l-as-" && object.metadata.name.upperAscii().startsWith("REL")', result: 'passed' },
  'negation': { condition: '!(-object.status.count > 0)', result: 'passed' },
  'a time and a duration': { condition: 'timestamp(object.status.at) + duration("24h") > timestamp("2026-01-03T00:00:00Z")', result: 'passed' },
  'brackets keep their meaning': { condition: '1 - (2 - 3) == 2 && 2 * (3 + 4) == 14 && !(true && (false || false))', result: 'passed' },
  'a condition in a condition': { condition: '(object.status.count > 5 ? false : (object.status.count > 2 ? true : false))', result: 'passed' },
  'literals of every kind': { condition: '[1.5, -2.0][1] == -2.0 && [1u, 2u][0] == 1u && [true, false][0] && r"\\d" == "\\\\d" && dyn(null) == null', result: 'passed' },
  'a map literal': { condition: '{"a": 1}["a"] == 1', result: 'passed' },
  'a missing field': {
    condition: 'object.status.missing == 1',
    result: 'EXPRESSION_VALUE: the expression failed: No such key: missing; ask has() before reading a field that may be missing',
  },
  'the prototype is out of reach': {
    condition: 'object.__proto__ == 1',
    result: 'EXPRESSION_VALUE: the expression failed: No such key: __proto__; ask has() before reading a field that may be missing',
  },
  'the constructor is out of reach': {
    condition: 'object["constructor"] == 1',
    result: 'EXPRESSION_VALUE: the expression failed: No such key: constructor; ask has() before reading a field that may be missing',
  },
  'a list that is too short': {
    condition: 'object.status.conditions[2].type == "Ready"',
    result: 'EXPRESSION_VALUE: the expression failed: No such key: index out of bounds, index 2 >= size 2',
  },
  'a text in place of a truth value': {
    condition: 'object.status.phase',
    result: "EXPRESSION_VALUE: the expression failed: Ternary condition must be bool, got 'string'",
  },
}

for (const [name, { condition, result }] of Object.entries(CONDITIONS)) {
  await test(name, async (t) => {
    t.equal(state(condition), result)
  })
}

await test('a field may hold the state itself', async (t) => {
  t.equal(evaluate('object.status.result'), 'rejected')
})

await test('anything but a state is an error, never a pass', async (t) => {
  t.equal(evaluate('object.status.phase'), 'EXPRESSION_VALUE: the expression must yield "passed", "rejected" or "pending"; got "Approved"')
  t.equal(evaluate('object.status.count'), 'EXPRESSION_VALUE: the expression must yield "passed", "rejected" or "pending"; got 3')
  t.equal(evaluate('object.status.nothing'), 'EXPRESSION_VALUE: the expression must yield "passed", "rejected" or "pending"; got null')
  t.equal(evaluate('"PASSED"'), 'EXPRESSION_VALUE: the expression must yield "passed", "rejected" or "pending"; got "PASSED"')
})

const YIELDS = 'it must yield "passed", "rejected" or "pending", and yields a value of type'
const VARIABLES = 'there are object (the check object) and context (the Pod)'
const METHODS =
  'there are size, startsWith, endsWith, contains, lowerAscii, upperAscii, trim, indexOf, lastIndexOf, substring, split, join, all, exists, exists_one, map, filter and cel.bind'

const REFUSED: Record<string, { source: string; message: string }> = {
  'nothing': { source: ' \n', message: 'the expression is refused: it is empty' },
  'a source that is too long': { source: `"${'a'.repeat(4096)}"`, message: 'the expression is refused: it must be at most 4096 characters long; got 4098' },
  'a truth value': { source: 'object.a == 1', message: `the expression is refused: ${YIELDS} bool` },
  'a whole object': { source: 'object', message: `the expression is refused: ${YIELDS} map` },
  'half an expression': { source: '"passed" +', message: 'the expression is refused at character 11: Unexpected token: EOF' },
  'an undeclared variable': { source: 'request.a == 1 ? "passed" : "pending"', message: `the expression is refused at character 1: Unknown variable: request; ${VARIABLES}` },
  'branches of two types': {
    source: 'true ? "passed" : 1',
    message: "the expression is refused at character 1: Ternary branches must have the same type, got 'string' and 'int'",
  },
  'a regular expression': {
    source: 'object.a.matches("(a+)+$") ? "passed" : "pending"',
    message: 'the expression is refused at character 1: matches is not supported, because a pattern can run for hours; use ==, startsWith, endsWith or contains',
  },
  'a duration from the object': { source: 'duration(object.a) == duration("1h") ? "passed" : "pending"', message: 'the expression is refused at character 1: duration takes a literal, for example duration("24h")' },
  'bytes': { source: 'b"{}".json().a == 1 ? "passed" : "pending"', message: `the expression is refused at character 1: the method json is not supported; ${METHODS}` },
  'a function that is not there': {
    source: 'type(object.a) == int ? "passed" : "pending"',
    message: 'the expression is refused at character 1: the function type is not supported; there are has, size, string, int, uint, double, bool, dyn, timestamp, duration',
  },
  'our own macro': { source: 'meter(object) == 1 ? "passed" : "pending"', message: "the expression is refused at character 1: found no matching overload for 'meter(map<dyn, dyn>)'" },
  'brackets too deep': { source: `${'('.repeat(100)}"passed"${')'.repeat(100)}`, message: 'the expression is refused at character 65: Exceeded maxDepth (64)' },
}

for (const [name, { source, message }] of Object.entries(REFUSED)) {
  await test(`refused: ${name}`, async (t) => {
    t.equal(outcome(() => typeof compileStateExpression(source)), `EXPRESSION_SYNTAX: ${message}`)
  })
}

const TOO_LONG = 'EXPRESSION_VALUE: the expression takes more than 100000 steps on this check object; make it shorter, or loop over a smaller list'

const COSTLY: Record<string, string> = {
  'a loop in a loop': 'object.status.numbers.exists(a, object.status.numbers.exists(b, a + b < 0))',
  'a loop in a loop whose error another branch would hide': 'object.status.numbers.exists(a, object.status.numbers.exists(b, a + b < 0)) || true',
  'loops over a list that was passed on': '[object.status.numbers].exists(l, l.exists(a, l.exists(b, l.exists(c, false))))',
  'loops over a bound list': 'cel.bind(l, object.status.numbers, l.exists(a, l.exists(b, false)))',
  'a list that doubles': `[object.status.numbers]${'.map(l, l + l)'.repeat(30)}.size() > 0`,
  'a text that doubles': `[object.status.text]${'.map(s, s + s)'.repeat(30)}.size() > 0`,
  'a comparison of shared structures': `[[object, object]]${'.map(l, [l, l])'.repeat(24)} == [[object, object]]${'.map(l, [l, l])'.repeat(24)}`,
  'a membership of a large object in every round': 'object.status.numbers.exists(n, object in [context, context])',
  'a text that is searched in every round': 'object.status.numbers.exists(n, object.status.text.contains("b"))',
  'a text that is split in every round': 'object.status.numbers.exists(n, object.status.text.split("").size() == 0)',
}

for (const [name, condition] of Object.entries(COSTLY)) {
  await test(`ends by its budget: ${name}`, async (t) => {
    t.equal(state(condition), TOO_LONG)
  })
}

await test('the deepest expression that is accepted is accepted with the charges in it', async (t) => {
  t.equal(state(`${'!('.repeat(58)}object.status.count == 3${')'.repeat(58)}`), 'passed')
  t.equal(state(Array.from({ length: 120 }, (_, index) => `object.status.count == ${index}`).join(' || ')), 'passed')
})

await test('the budget is full again for the next evaluation', async (t) => {
  const expression = compileStateExpression('object.l.exists(a, object.l.exists(b, a + b < 0)) ? "passed" : "pending"')
  t.equal(outcome(() => expression({ object: { l: object.status.numbers }, context })), TOO_LONG)
  t.equal(outcome(() => expression({ object: { l: [1, -2] }, context })), 'passed')
})

await test('an object that is nested too deep is an error', async (t) => {
  const deep = Array.from({ length: 70 }).reduce<unknown>((inner) => [inner], 'x')
  t.equal(
    outcome(() => compileStateExpression('object.a == 1 ? "passed" : "pending"')({ object: { a: deep }, context })),
    'EXPRESSION_VALUE: the check object is nested deeper than 64 levels',
  )
})

await test('an object that is no map is an error', async (t) => {
  const expression = compileStateExpression('has(object.a) ? "passed" : "pending"')
  for (const wrong of [undefined, null, 'text', 3, []]) {
    t.match(outcome(() => expression({ object: wrong, context })), /^EXPRESSION_VALUE: the expression failed: /)
  }
})

await test('the input is never changed', async (t) => {
  const frozen = structuredClone(object)
  evaluate('object.status.numbers.map(n, n + 1).filter(n, n > 2).size() > 0 ? "passed" : "pending"')
  t.strictSame(object, frozen)
})

await test('a compiled expression yields a state or EXPRESSION_VALUE, whatever the object', async (t) => {
  const sources = fc.constantFrom(
    'object.a == context.a ? "passed" : "pending"',
    'object.a.exists(x, x.b > 1) ? "passed" : "rejected"',
    'has(object.a) && object.a in [1, 2] ? "passed" : "pending"',
    'object.a',
    'object.a + object.b == "x" ? "passed" : "pending"',
  )
  fc.assert(
    fc.property(sources, fc.jsonValue(), fc.record({ a: fc.jsonValue(), b: fc.jsonValue() }, { requiredKeys: [] }), (source, left, right) => {
      const expression = compileStateExpression(source)
      return [left, right].every((value) => {
        try {
          return ['passed', 'rejected', 'pending'].includes(expression({ object: value, context: right }))
        } catch (error) {
          return isCoded(error, 'EXPRESSION_VALUE')
        }
      })
    }),
  )
  t.pass('held')
})

await test('a text literal means the text that was written', async (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      const source = `object.text == ${JSON.stringify(text)} ? "passed" : "pending"`
      return compileStateExpression(source)({ object: { text }, context }) === 'passed'
    }),
  )
  t.pass('held')
})

await test('compiling throws nothing but EXPRESSION_SYNTAX, whatever the source', async (t) => {
  const piece = fc.constantFrom('object', 'context', '.a', '[', ']', '(', ')', '"passed"', '==', '?', ':', '&&', 'exists', '.map(x, x)', 'x', '1', '{', '}', ',', 'has(', 'cel.bind(', '!', '-', ' in ')
  const source = fc.oneof(fc.string({ unit: 'binary' }), fc.array(piece).map((pieces) => pieces.join(' ')))
  fc.assert(
    fc.property(source, (text) => {
      try {
        return typeof compileStateExpression(text) === 'function'
      } catch (error) {
        return isCoded(error, 'EXPRESSION_SYNTAX')
      }
    }),
  )
  t.pass('held')
})
