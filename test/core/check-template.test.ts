import { test } from 'tap'
import { Value } from 'typebox/value'
import { CheckRuleSpecSchema } from '../../src/api/access-policy.ts'
import { readCheckTemplate } from '../../src/core/check-template.ts'
import { outcome } from '../support/outcome.ts'

const read = (data: Record<string, string> | undefined): unknown =>
  outcome(() => readCheckTemplate({ metadata: { name: 'in-pipeline', namespace: 'connectors-system' }, ...(data === undefined ? {} : { data }) }))

const lines = (...text: string[]): Record<string, string> => ({ spec: text.join('\n') })
const REF = ['selector:', '  objectRef:', '    apiVersion: openshift-pipelines.org/v1alpha1', '    kind: ApprovalTask']
const objectRef = { apiVersion: 'openshift-pipelines.org/v1alpha1', kind: 'ApprovalTask' }
const RUN = `{.object.metadata.labels["tekton\\.dev/pipelineRun"]}`
const UNUSABLE = 'TEMPLATE_MISSING: the template ConfigMap connectors-system/in-pipeline cannot be used:'

const CASES: Record<string, { data: Record<string, string> | undefined; result: unknown }> = {
  'labels and an expression': {
    data: lines(...REF, '  matchLabels:', `    tekton.dev/pipelineRun: '${RUN}'`, 'state:', '  cel: |-', '    object.status.state == "approved" ? "passed" : "pending"'),
    result: { selector: { objectRef, matchLabels: { 'tekton.dev/pipelineRun': RUN } }, state: { cel: 'object.status.state == "approved" ? "passed" : "pending"' } },
  },
  'the older key labels': {
    data: lines(...REF, '  labels:', '    a: b'),
    result: { selector: { objectRef, matchLabels: { a: 'b' } } },
  },
  'both keys': {
    data: lines(...REF, '  labels: {a: b}', '  matchLabels: {a: b}'),
    result: `${UNUSABLE} spec.selector: has an unknown key "labels"; there are objectRef, matchLabels, matchExpressions`,
  },
  'a misspelt key': {
    data: lines(...REF, '  matchLables: {a: b}', '  matchLabels: {a: b}'),
    result: `${UNUSABLE} spec.selector: has an unknown key "matchLables"; there are objectRef, matchLabels, matchExpressions`,
  },
  'no data': { data: undefined, result: `${UNUSABLE} it has no key "spec"` },
  'another key': { data: { rules: '[]' }, result: `${UNUSABLE} it has no key "spec"` },
  'an empty text': { data: { spec: '' }, result: `${UNUSABLE} spec: must be an object; got null` },
  'a list': { data: { spec: '- a' }, result: `${UNUSABLE} spec: must be an object; got a list` },
  'no object kind': {
    data: lines('selector:', '  matchLabels: {a: b}'),
    result: `${UNUSABLE} spec.selector.objectRef: is required`,
  },
  'a Secret, and rego': {
    data: lines('selector:', '  objectRef: {apiVersion: v1, kind: Secret, name: a}', 'state: {rego: "package check"}'),
    result:
      `${UNUSABLE} spec.selector.objectRef.kind: must not be Secret: the controller reads no Secrets; use a kind of its own for a check; ` +
      'spec.state.rego: is not supported; write state.cel, an expression over object and context that yields "passed", "rejected" or "pending"',
  },
  'a label value that is a number in YAML': { data: lines(...REF, '  matchLabels: {a: 5}'), result: `${UNUSABLE} spec.selector.matchLabels["a"]: must be text; got 5` },
}

for (const [name, { data, result }] of Object.entries(CASES)) {
  await test(name, async (t) => {
    t.strictSame(read(data), result)
  })
}

await test('a label key with a line end hides nothing of what it holds', async (t) => {
  t.match(read(lines(...REF, '  matchLabels: {"a\\nb": 5}')), /spec\.selector\.matchLabels\["a\\nb"\]: must be text; got 5$/)
  t.notOk(Value.Check(CheckRuleSpecSchema, { selector: { objectRef, matchLabels: { 'a\nb': 5 } } }), 'nor does the schema alone let it by')
  t.ok(Value.Check(CheckRuleSpecSchema, { selector: { objectRef, matchLabels: { 'a\nb': 'c' } } }))
})

await test('text that is no YAML', async (t) => {
  t.match(read(lines('selector: [')), /^TEMPLATE_MISSING: the template ConfigMap connectors-system\/in-pipeline cannot be used: its key "spec" is not YAML: /)
  t.match(read(lines('a: 1', 'a: 2')), /its key "spec" is not YAML: /)
})

await test('YAML that blows up by aliases is refused', async (t) => {
  const levels = Array.from({ length: 12 }, (_, index) => `l${index + 1}: &l${index + 1} [${Array.from({ length: 9 }, () => `*l${index}`).join(', ')}]`)
  t.match(read(lines('l0: &l0 [x, x]', ...levels)), /its key "spec" is not YAML: /)
})
