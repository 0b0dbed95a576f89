import { readFile } from 'node:fs/promises'
import fc from 'fast-check'
import { test } from 'tap'
import { FUNCTION_NAMES } from '../../src/core/go-template/functions.ts'
import { parseTemplate } from '../../src/core/go-template/parse.ts'
import { newRenderBudget, renderTemplate } from '../../src/core/go-template/render.ts'
import { isCoded } from '../../src/errors.ts'
import { outcome } from '../support/outcome.ts'
import file from './go-template-cases.json' with { type: 'json' }

/** What Go made of a template; see the note in the file. */
interface Case {
  template: string
  text?: string
  error?: string
  stricter?: string
}

const cases: readonly Case[] = file.cases
const render = (source: string, data: unknown = file.data): string => outcome(() => renderTemplate(parseTemplate('f', source), data))
const isRefused = (text: string): boolean => text.startsWith('TEMPLATE_SYNTAX: f, line ') || text.startsWith('TEMPLATE_VALUE: f, line ')

await test("what Go's text/template renders, we render alike", async (t) => {
  const rendered = cases.filter(({ text, stricter }) => text !== undefined && stricter === undefined)
  t.ok(rendered.length > 250)
  for (const { template, text } of rendered) t.equal(render(template), text, template)
})

await test("what Go's text/template refuses, we refuse", async (t) => {
  const refused = cases.filter(({ error }) => error !== undefined)
  t.ok(refused.length > 80)
  for (const { template } of refused) t.ok(isRefused(render(template)), template)
})

await test('what Go renders and the subset leaves out is refused, never rendered in another way', async (t) => {
  const stricter = cases.filter((one) => one.stricter !== undefined)
  t.ok(stricter.length > 50)
  for (const { template, stricter: why } of stricter) t.ok(isRefused(render(template)), `${template}: ${why}`)
})

await test('every function is met in the cases', async (t) => {
  const rendered = cases.filter(({ text, stricter }) => text !== undefined && stricter === undefined).map(({ template }) => template)
  t.strictSame(
    FUNCTION_NAMES.filter((name) => !rendered.some((template) => new RegExp(`\\b${name}\\b`).test(template))),
    [],
  )
})

const ASK = 'ask for it with "if", "with" or "default" where it may be missing'

const SENTENCES: Record<string, { source: string; text: string }> = {
  'a definition': { source: 'a\n{{ define "x" }}{{ end }}', text: 'TEMPLATE_SYNTAX: f, line 2: "define" is not supported' },
  'another template': { source: '{{ template "x" . }}', text: 'TEMPLATE_SYNTAX: f, line 1: "template" is not supported' },
  'a block': { source: '{{ block "x" . }}{{ end }}', text: 'TEMPLATE_SYNTAX: f, line 1: "block" is not supported' },
  'a jump': { source: '{{ range .list }}\n\n{{ break }}{{ end }}', text: 'TEMPLATE_SYNTAX: f, line 3: "break" is not supported' },
  'a function of the environment': { source: '{{ env "HOME" }}', text: 'TEMPLATE_SYNTAX: f, line 1: the function "env" is not supported' },
  'a function that comes second': { source: '{{ .text.csv | sha256sum }}', text: 'TEMPLATE_SYNTAX: f, line 1: the function "sha256sum" is not supported' },
  'too few operands': { source: '{{ trimSuffix "/" }}', text: 'TEMPLATE_SYNTAX: f, line 1: "trimSuffix" takes 2 operands, and here are 1' },
  'too many operands': { source: '{{ 1 | not 2 }}', text: 'TEMPLATE_SYNTAX: f, line 1: "not" takes 1 operand, and here are 2' },
  'nil': { source: '{{ eq .a nil }}', text: 'TEMPLATE_SYNTAX: f, line 1: "nil" is not supported; ask with "empty", "default" or "if"' },
  'an action that does not end': { source: 'a\nb {{ .x', text: 'TEMPLATE_SYNTAX: f, line 2: the "{{" has no closing "}}"' },
  'a block that does not end': { source: '\n{{ if .x }}a', text: 'TEMPLATE_SYNTAX: f, line 2: "if" has no "end"' },
  'an end too many': { source: '{{ end }}', text: 'TEMPLATE_SYNTAX: f, line 1: there is "end" without "if", "with" or "range" before it' },
  'a variable that is not there': { source: '{{ $x }}', text: 'TEMPLATE_SYNTAX: f, line 1: there is no variable $x here; declare it with ":=" before, outside of a block that has ended' },
  'a missing field': { source: 'a\nb\n{{ .connector.spec.adress }}', text: `TEMPLATE_VALUE: f, line 3: there is no value for .connector.spec.adress; ${ASK}` },
  'a missing field that went through a variable': { source: '{{ $x := .connector.nope }}\n{{ $x }}', text: `TEMPLATE_VALUE: f, line 2: there is no value for .connector.nope; ${ASK}` },
  'a missing field in a function': { source: '{{ printf "%s" .nope }}', text: `TEMPLATE_VALUE: f, line 1: there is no value for .nope; ${ASK}` },
  'a missing key': { source: '{{ index .configurations "nope" }}', text: `TEMPLATE_VALUE: f, line 1: there is no value for index .configurations "nope"; ${ASK}` },
  'a list': { source: '{{ .list }}', text: 'TEMPLATE_VALUE: f, line 1: .list is a list, where one value is needed; use "range", "join" or "toJson"' },
  'a field of a text': { source: '{{ .connector.name.x }}', text: 'TEMPLATE_VALUE: f, line 1: .connector.name.x asks for a field of text' },
  'text where a list is needed': { source: '{{ first "a" }}', text: 'TEMPLATE_VALUE: f, line 1: operand 1 of "first" must be a list; it is text' },
  'a verb that is not supported': { source: '{{ printf "%05d" 1 }}', text: 'TEMPLATE_VALUE: f, line 1: "printf" supports %s, %d, %v, %q and %%, without flags or widths' },
}

for (const [name, { source, text }] of Object.entries(SENTENCES)) {
  await test(`refused with one sentence: ${name}`, async (t) => {
    t.equal(render(source), text)
  })
}

await test('only own properties are read, whatever a template calls them', async (t) => {
  for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'length', 'size', 'get']) {
    const missing = `TEMPLATE_VALUE: f, line 1: there is no value for .a.${name}; ${ASK}`
    t.equal(render(`{{ .a.${name} }}`, { a: {} }), missing)
    t.equal(render(`{{ hasKey .a "${name}" }}`, { a: {} }), 'false')
    t.equal(render(`{{ .a.${name} }}`, { a: JSON.parse(`{"${name}": "own"}`) }), 'own')
    t.ok(isRefused(render(`{{ ${name} }}`, {})), 'it is no function either')
  }
})

/** `$x` has 2^times characters. */
const doubled = (times: number): string => `{{ $x := "a" }}${'{{ $x = print $x $x }}'.repeat(times)}`
const NESTED = '{{ range $.many }}'.repeat(9) + '{{ 1 }}' + '{{ end }}'.repeat(9)

const HOSTILE: Record<string, { source: string; why: string }> = {
  'a text that doubles': { source: `${doubled(40)}{{ $x }}`, why: 'would make a text of more than 1048576 characters' },
  'output without end': { source: `${doubled(18)}{{ range .many }}{{ range $.many }}{{ $x }}{{ end }}{{ end }}`, why: 'the file would have more than 1048576 bytes' },
  'loops in loops': { source: NESTED, why: 'the template may take no more than 200000 steps' },
  'loops that do nothing': { source: NESTED.replace('{{ 1 }}', ''), why: 'the template may take no more than 200000 steps' },
  'a replacement that multiplies': { source: `${doubled(18)}{{ replace "a" $x $x }}`, why: 'would make a text of more than 1048576 characters' },
  'a replacement of nothing': { source: `${doubled(18)}{{ replace "" $x $x }}`, why: 'would make a text of more than 1048576 characters' },
  'an indent that multiplies': { source: `{{ $x := "\\n" }}${'{{ $x = print $x $x }}'.repeat(18)}{{ indent 1000 $x }}`, why: 'would make a text of more than 1048576 characters' },
  'a separator that multiplies': { source: `${doubled(18)}{{ join $x (splitList "" $x) }}`, why: 'would make a text of more than 1048576 characters' },
  'comparisons of long texts': { source: `${doubled(18)}{{ range .many }}{{ range $.many }}{{ if eq $x $x }}{{ end }}{{ end }}{{ end }}`, why: 'the template may work on no more than 8388608 characters and items' },
  'a list of lists that doubles': { source: `{{ $x := list 1 }}${'{{ $x = list $x $x }}'.repeat(40)}{{ toJson $x }}`, why: 'the template may work on no more than 8388608 characters and items' },
  'a list nested without end': { source: `{{ $x := list 1 }}{{ range .many }}{{ range $.many }}{{ $x = list $x }}{{ end }}{{ end }}{{ toJson $x }}`, why: '"toJson" takes at most 100 levels' },
  'a list that grows by copies': { source: '{{ $x := list }}{{ range .many }}{{ range $.many }}{{ $x = append $x 1 }}{{ end }}{{ end }}', why: 'the template may work on no more than 8388608 characters and items' },
  'a long range': { source: `${doubled(20)}{{ range splitList "" $x }}{{ end }}`, why: 'the template may take no more than 200000 steps' },
  'a search that starts over at each character': { source: `${doubled(18)}{{ contains (print $x "b" $x) (print $x $x $x) }}`, why: 'the template may work on no more than 8388608 characters and items' },
  'a replacement that starts over at each character': { source: `${doubled(18)}{{ replace (print $x "b" $x) "" (print $x $x $x) }}`, why: 'the template may work on no more than 8388608 characters and items' },
  'a separator that starts over at each character': { source: `${doubled(18)}{{ splitList (print $x "b" $x) (print $x $x $x) }}`, why: 'the template may work on no more than 8388608 characters and items' },
  'blocks in blocks': { source: '{{ if true }}'.repeat(5000), why: 'nested deeper than 100 levels' },
  'parentheses in parentheses': { source: `{{ ${'('.repeat(5000)} }}`, why: 'nested deeper than 100 levels' },
  'an else if without end': { source: `{{ if false }}${'{{ else if false }}'.repeat(5000)}`, why: 'nested deeper than 100 levels' },
  'variables without end': { source: '{{ $x := 1 }}'.repeat(5000), why: 'more than 200 variables at one place' },
  'a format without end': { source: `{{ printf "${'%s'.repeat(50_000)}" }}`, why: '"printf" has fewer operands than its format names' },
  'a text of signs': { source: `{{ ${'|'.repeat(200_000)} }}`, why: 'a value or a function is missing' },
  'a line of actions': { source: `{{ 1 }}`.repeat(30_000) + '{{', why: 'the "{{" has no closing "}}"' },
  'a template that is too long': { source: 'a'.repeat(256 * 1024 + 1), why: 'a template must be at most 262144 characters long; this one has 262145' },
}

for (const [name, { source, why }] of Object.entries(HOSTILE)) {
  await test(`bounded: ${name}`, async (t) => {
    const text = render(source, { many: Array.from({ length: 200 }, (_, at) => at) })
    t.ok(isRefused(text) && text.endsWith(why), text.slice(0, 300))
  })
}

await test('large data are part of the work', async (t) => {
  t.match(render('a', { list: Array.from({ length: 9000 }, () => 'x'.repeat(1000)) }), /the template may work on no more than 8388608 characters and items$/)
})

await test('data that are nested without end are cut, not followed', async (t) => {
  let deep: unknown = 'end'
  for (let level = 0; level < 20_000; level += 1) deep = { a: deep }
  t.equal(render('{{ if .a.a.a }}x{{ end }}', deep), 'x')
})

await test('files that share a budget are bounded together', async (t) => {
  const budget = newRenderBudget('the templates of the volume')
  const template = parseTemplate('f', '{{ range .many }}{{ range $.many }}{{ end }}{{ end }}')
  const data = { many: Array.from({ length: 300 }, (_, at) => at) }
  t.equal(outcome(() => renderTemplate(template, data, budget)), '')
  t.equal(outcome(() => renderTemplate(template, data, budget)), '')
  t.match(outcome(() => renderTemplate(template, data, budget)), /^TEMPLATE_VALUE: .* the templates of the volume may take no more than 200000 steps$/)
})

const isText = (source: string): boolean => !source.includes('{{')

await test('property: a text without actions is rendered as it is', async (t) => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }).filter(isText), (source) => render(source, {}) === source))
  t.equal(render('}} {one} %s $x'), '}} {one} %s $x')
})

const PIECES = ['{{', '}}', '{{-', '-}}', ' ', '\n', '(', ')', '|', ':=', '=', ',', '.', '$', '$x', '.a', '.b.c', '"s"', '`r`', '1', '-3', 'if', 'else', 'end', 'range', 'with', 'true', 'define', 'index', '/*', '*/', "'", '\\', 'text', ...FUNCTION_NAMES]
const pieces = fc.array(fc.constantFrom(...PIECES), { maxLength: 40 }).map((list) => list.join(''))
const spaced = fc.array(fc.constantFrom(...PIECES), { maxLength: 30 }).map((list) => `{{ ${list.join(' ')} }}`)
const values = fc.object({ values: [fc.string(), fc.integer(), fc.boolean(), fc.constant(null)], key: fc.constantFrom('a', 'b', 'c', '__proto__', 'x'), maxDepth: 4 })

await test('property: whatever the template is, it renders or is refused with one line, alike each time', async () => {
  fc.assert(
    fc.property(fc.oneof(pieces, spaced, fc.string()), values, (source, data) => {
      const text = render(source, data)
      return text === render(source, data)
    }),
    { numRuns: 3000 },
  )
  fc.assert(
    fc.property(fc.oneof(pieces, spaced), values, (source, data) => {
      try {
        renderTemplate(parseTemplate('f', source), data)
        return true
      } catch (error) {
        return (isCoded(error, 'TEMPLATE_SYNTAX') || isCoded(error, 'TEMPLATE_VALUE')) && !error.message.includes('\n')
      }
    }),
    { numRuns: 3000 },
  )
})

/** Calls that are well formed, so that functions are reached with operands of every kind. */
const operand = fc.constantFrom('.a', '.b', '.a.b', '.missing', '"k"', '"%s%d"', '""', '0', '3', 'true', '(list 1 "a")', '(dict "k" "v")', '.')
const calls = fc.array(fc.tuple(fc.constantFrom(...FUNCTION_NAMES), fc.array(operand, { maxLength: 4 })), { minLength: 1, maxLength: 3 })

await test('property: every function yields a value or a sentence for whatever it is given, and never quotes it', async () => {
  const secret = 'eyJhbGciOiJ-secret'
  fc.assert(
    fc.property(calls, fc.constantFrom<unknown>(secret, [secret], { b: secret }, 7, null), (list, given) => {
      const source = `{{ ${list.map(([name, operands]) => [name, ...operands].join(' ')).join(' | ')} }}`
      const text = render(source, { a: given, b: { [secret]: secret } })
      return !isRefused(text) || !text.includes(secret)
    }),
    { numRuns: 20_000 },
  )
})

await test('docs/csi.md names every function and no other', async (t) => {
  const docs = await readFile(new URL('../../docs/csi.md', import.meta.url), 'utf8')
  const [, section = ''] = /\n### Functions\n+((?:\|.*\n)+)/.exec(docs) ?? []
  t.strictSame(new Set([...section.matchAll(/`(\w+)`/g)].map(([, name]) => name)), new Set(FUNCTION_NAMES))
})
