import { test } from 'tap'
import { readRoleTemplate } from '../../src/core/role-template.ts'
import { outcome } from '../support/outcome.ts'

const RULES = [
  '- apiGroups: [connectors.alauda.io]',
  '  resources: ["connectors/proxy/v1/pod/{.object.metadata.namespace}/{.object.metadata.name}"]',
  '  verbs: ["*"]',
].join('\n')
const rules = [
  { apiGroups: ['connectors.alauda.io'], resources: ['connectors/proxy/v1/pod/{.object.metadata.namespace}/{.object.metadata.name}'], verbs: ['*'] },
]

const read = (data: Record<string, string>, annotations?: Record<string, string>): unknown =>
  outcome(() => readRoleTemplate({ metadata: { name: 'in-pod', ...(annotations === undefined ? {} : { annotations }) }, data }))

await test('the rules of a template', async (t) => {
  t.strictSame(read({ rules: RULES }), { rules, unbound: false })
})

await test('the other spelling of the key', async (t) => {
  t.strictSame(read({ ruls: RULES }), { rules, unbound: false })
})

await test('only "true" makes a template unbound', async (t) => {
  t.strictSame(read({ rules: RULES }, { 'connectors.alauda.io/unbound': 'true' }), { rules, unbound: true })
  t.strictSame(read({ rules: RULES }, { 'connectors.alauda.io/unbound': 'yes' }), { rules, unbound: false })
})

const UNUSABLE = 'TEMPLATE_MISSING: the template ConfigMap connectors-system/in-pod cannot be used:'
const SHAPE = `${UNUSABLE} its key "rules" must be a list of 1 to 32 rules with verbs, resources and apiGroups as lists of text`

const REFUSED: Record<string, { data: Record<string, string>; begins: string }> = {
  'no key': { data: { spec: '' }, begins: `${UNUSABLE} it has no key "rules"` },
  'no YAML': { data: { rules: '[' }, begins: `${UNUSABLE} its key "rules" is not YAML: ` },
  'no list': { data: { rules: 'verbs: ["*"]' }, begins: SHAPE },
  'an empty list': { data: { rules: '[]' }, begins: SHAPE },
  'a rule without verbs': { data: { rules: '- resources: [a]' }, begins: SHAPE },
  'verbs that are text': { data: { rules: '- verbs: "*"' }, begins: SHAPE },
  'an unknown key': { data: { rules: '- verbs: ["*"]\n  resource: [a]' }, begins: SHAPE },
  'too many rules': { data: { rules: '- verbs: ["*"]\n'.repeat(33) }, begins: SHAPE },
}

for (const [name, { data, begins }] of Object.entries(REFUSED)) {
  await test(`refused: ${name}`, async (t) => {
    const result = read(data)
    t.equal(typeof result === 'string' && result.startsWith(begins), true, String(result))
  })
}
