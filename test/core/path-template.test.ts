import fc from 'fast-check'
import { test } from 'tap'
import { parsePathTemplate, renderPathTemplate } from '../../src/core/path-template.ts'
import { isCoded } from '../../src/errors.ts'
import { outcome } from '../support/outcome.ts'

const pod = {
  metadata: {
    name: 'build-1',
    namespace: 'cicd',
    generation: 3,
    labels: { 'tekton.dev/pipelineRun': 'run-7', empty: '', "it's": 'quoted', 'a}b': 'brace', 'back\\slash': 'slash', hasOwnProperty: 'own' },
    deletionTimestamp: null,
  },
  spec: { hostNetwork: false, containers: [{ name: 'main' }, { name: 'side' }] },
}

const render = (source: string): string => outcome(() => renderPathTemplate(parsePathTemplate(source), { object: pod }))

const RENDERED: Record<string, { source: string; text: string }> = {
  'plain text stays as it is': { source: 'plain', text: 'plain' },
  'text around a path is kept': { source: 'run-{.object.metadata.name}-x', text: 'run-build-1-x' },
  'several paths are filled in': { source: 'proxy/v1/pod/{.object.metadata.namespace}/{.object.metadata.name}', text: 'proxy/v1/pod/cicd/build-1' },
  'a key in single quotes': { source: "{.object.metadata.labels['tekton.dev/pipelineRun']}", text: 'run-7' },
  'a key in double quotes': { source: '{.object.metadata.labels["tekton.dev/pipelineRun"]}', text: 'run-7' },
  'a key in single quotes with a backslash before the dot': { source: "{.object.metadata.labels['tekton\\.dev/pipelineRun']}", text: 'run-7' },
  'a key in double quotes with a backslash before the dot': { source: '{.object.metadata.labels["tekton\\.dev/pipelineRun"]}', text: 'run-7' },
  'a key without quotes and an escaped dot': { source: '{.object.metadata.labels.tekton\\.dev/pipelineRun}', text: 'run-7' },
  'a quote inside quotes': { source: "{.object.metadata.labels['it\\'s']}", text: 'quoted' },
  'a brace inside quotes': { source: "{.object.metadata.labels['a}b']}", text: 'brace' },
  'a backslash inside quotes': { source: "{.object.metadata.labels['back\\\\slash']}", text: 'slash' },
  'every key in quotes': { source: "{['object']['metadata'][\"name\"]}", text: 'build-1' },
  'an index into a list': { source: '{.object.spec.containers[1].name}', text: 'side' },
  'a number as text': { source: '{.object.metadata.generation}', text: '3' },
  'false as text': { source: '{.object.spec.hostNetwork}', text: 'false' },
  'an own property with the name of a method': { source: '{.object.metadata.labels.hasOwnProperty}', text: 'own' },
  'a missing value': {
    source: "{.object.metadata.annotations['tekton.dev/pipelineRun']}",
    text: "TEMPLATE_VALUE: the Pod has no value at .object.metadata.annotations['tekton.dev/pipelineRun']",
  },
  'a missing value, written with an escaped dot': {
    source: '{.object.metadata.labels.a\\.b/c}',
    text: "TEMPLATE_VALUE: the Pod has no value at .object.metadata.labels['a.b/c']",
  },
  'a null value': { source: '{.object.metadata.deletionTimestamp}', text: 'TEMPLATE_VALUE: the Pod has no value at .object.metadata.deletionTimestamp' },
  'an empty value': { source: 'x-{.object.metadata.labels.empty}', text: 'TEMPLATE_VALUE: the Pod has no value at .object.metadata.labels.empty' },
  'an object': { source: '{.object.metadata.labels}', text: 'TEMPLATE_VALUE: the Pod has an object at .object.metadata.labels, where one value is needed' },
  'a list': { source: '{.object.spec.containers}', text: 'TEMPLATE_VALUE: the Pod has a list at .object.spec.containers, where one value is needed' },
  'an index beyond the list': { source: '{.object.spec.containers[2].name}', text: 'TEMPLATE_VALUE: the Pod has no value at .object.spec.containers[2].name' },
  'the length of a list is no value': { source: '{.object.spec.containers.length}', text: 'TEMPLATE_VALUE: the Pod has no value at .object.spec.containers.length' },
  'a character of a text is no value': { source: '{.object.metadata.name[0]}', text: 'TEMPLATE_VALUE: the Pod has no value at .object.metadata.name[0]' },
  'the prototype is out of reach': { source: '{.object.__proto__.constructor.name}', text: 'TEMPLATE_VALUE: the Pod has no value at .object.__proto__.constructor.name' },
  'the constructor is out of reach': { source: "{.object['constructor'].name}", text: 'TEMPLATE_VALUE: the Pod has no value at .object.constructor.name' },
  'an empty template': { source: '', text: 'TEMPLATE_SYNTAX: a template must not be empty' },
  'a template that is too long': { source: 'a'.repeat(4097), text: 'TEMPLATE_SYNTAX: a template must be at most 4096 characters long; got 4097' },
}

for (const [name, { source, text }] of Object.entries(RENDERED)) {
  await test(name, async (t) => {
    t.equal(render(source), text)
  })
}

const ROOT = 'a path begins with .object and names a field of it, for example {.object.metadata.name}'
const ACCESS = 'expected .key, [\'key\'], [0] or the closing "}"'
const KEY = "expected a key after the dot; keys with other characters are written ['…']"

const REFUSED: Record<string, { source: string; position: number; why: string }> = {
  'empty braces': { source: 'a{}', position: 3, why: ROOT },
  'the object alone': { source: '{.object}', position: 2, why: ROOT },
  'another root': { source: '{.pod.metadata.name}', position: 2, why: ROOT },
  'a brace that is not closed': { source: 'a{.object.metadata.name', position: 2, why: 'the "{" has no closing "}"' },
  'a brace that is not opened': { source: 'a}b', position: 2, why: 'the "}" has no opening "{"' },
  'braces in braces': { source: '{.object.{.object.a}}', position: 10, why: KEY },
  'recursive descent': { source: '{..name}', position: 3, why: KEY },
  'a wildcard': { source: '{.object.spec.containers[*].name}', position: 25, why: ACCESS },
  'a wildcard key': { source: '{.object.*}', position: 10, why: KEY },
  'a filter': { source: '{.object.spec.containers[?(@.name=="a")].name}', position: 25, why: ACCESS },
  'a slice': { source: '{.object.spec.containers[0:1].name}', position: 25, why: ACCESS },
  'a negative index': { source: '{.object.spec.containers[-1].name}', position: 25, why: ACCESS },
  'a function of kubectl': { source: '{range .object.spec.containers}', position: 2, why: ACCESS },
  'a dollar root': { source: '{$.object.metadata.name}', position: 2, why: ACCESS },
  'spaces inside': { source: '{ .object.metadata.name }', position: 2, why: ACCESS },
  'a quote that is not closed': { source: "{.object['a}", position: 9, why: ACCESS },
  'an empty key': { source: "{.object['']}", position: 9, why: 'a key must not be empty' },
  'an unknown escape': { source: "{.object['a\\n']}", position: 9, why: ACCESS },
}

for (const [name, { source, position, why }] of Object.entries(REFUSED)) {
  await test(`refused: ${name}`, async (t) => {
    t.equal(render(source), `TEMPLATE_SYNTAX: cannot read the template ${JSON.stringify(source)} at character ${position}: ${why}`)
  })
}

await test('parsing throws nothing but TEMPLATE_SYNTAX, whatever the text', async (t) => {
  const piece = fc.constantFrom('{', '}', '.object', '.', "['", "']", '["', '"]', '[0]', '\\', '\\.', 'a', '/', '*', ' ', '\n', '__proto__')
  const text = fc.oneof(fc.string({ unit: 'binary' }), fc.array(piece).map((pieces) => pieces.join('')))
  fc.assert(
    fc.property(text, (source) => {
      try {
        return parsePathTemplate(source).source === source
      } catch (error) {
        return isCoded(error, 'TEMPLATE_SYNTAX')
      }
    }),
  )
  t.pass('held')
})

await test('rendering never yields an empty text and throws nothing but TEMPLATE_VALUE', async (t) => {
  const sources = fc.constantFrom('{.object.a}', 'x{.object.a.b}', "{.object['a'][0]}", '{.object.a}{.object.b}', '{.object.__proto__}', '{.object.length}')
  fc.assert(
    fc.property(sources, fc.oneof(fc.jsonValue(), fc.record({ a: fc.jsonValue(), b: fc.jsonValue() })), (source, object) => {
      try {
        return renderPathTemplate(parsePathTemplate(source), { object }) !== ''
      } catch (error) {
        return isCoded(error, 'TEMPLATE_VALUE')
      }
    }),
  )
  t.pass('held')
})
