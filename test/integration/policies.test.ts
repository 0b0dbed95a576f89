import { t, test } from 'tap'
import { parse, stringify } from 'yaml'
import type { AccessPolicy, AccessPolicySpec, CheckRule } from '../../src/api/access-policy.ts'
import { API_VERSION } from '../../src/api/names.ts'
import { ACCESS_POLICIES } from '../../src/kube/resources.ts'
import { testControlPlane } from '../support/control-plane.ts'
import { eventually } from '../support/eventually.ts'
import { checkedPolicy, gatedWorld, IN_POD_TEMPLATE, PIPELINE_CHECK, taskCheck } from '../support/gated-world.ts'

const cluster = testControlPlane()
const world = await gatedWorld(t, cluster)
const { kube, shared } = world
await world.connector('harbor', 'none')

const apply = (name: string, spec: object) =>
  world.kubectl(['apply', '-f', '-'], { input: stringify({ apiVersion: API_VERSION, kind: 'AccessPolicy', metadata: { name, namespace: shared }, spec }) })

const roleTemplate = (name: string) => ({ ref: { configMap: { name } } })
const everyone = { roleTemplate: roleTemplate('connectors-use-connectors-proxy'), bindingTemplate: { serviceAccounts: [{ names: [], namespaceSelector: {} }] } }

t.jobs = 4

const admitted: Record<string, { spec: AccessPolicySpec; warnings: string[] }> = {
  'a policy with a check': { spec: checkedPolicy(['harbor']), warnings: [] },
  'a policy with nothing in it': { spec: {}, warnings: ['this policy has no effect: it has neither defaultPermission nor checkGrantedPermission'] },
  'a default permission': { spec: { defaultPermission: everyone }, warnings: ['spec.defaultPermission is not in effect yet: it is accepted and grants nothing'] },
  'a role template that is not there': {
    spec: checkedPolicy(['harbor'], undefined, 'none'),
    warnings: ['ConfigMap connectors-system/none, the role template of this policy, was not found; nothing can be granted until it is there'],
  },
  'a check template that is not there': {
    spec: checkedPolicy(['harbor'], [{ name: 'a', ref: { configMap: { name: 'none' } } }]),
    warnings: ['ConfigMap connectors-system/none does not exist: the policy grants nothing until it does'],
  },
  'a role template that reaches beyond the Pod': {
    spec: checkedPolicy(['harbor'], undefined, 'connectors-use-connectors-proxy'),
    warnings: ['the role template connectors-system/connectors-use-connectors-proxy is not bound to one Pod: once approved, every Pod of the ServiceAccount may use the Connector until the approved Pod ends'],
  },
  'an expression': { spec: checkedPolicy(['harbor'], [taskCheck('a', 'b', { cel: 'object.status.state == "done" ? "passed" : "pending"' })]), warnings: [] },
  'approvers': { spec: checkedPolicy(['harbor'], [{ ...PIPELINE_CHECK, params: [{ name: 'approvers', value: ['alice', 'group:release'] }, { name: 'numberOfApprovalsRequired', value: 2 }] }]), warnings: [] },
}

const index = (title: string): string => title.replaceAll(/[^a-z]+/g, '-')

await Promise.all(
  Object.entries(admitted).map(([title, { spec, warnings }]) =>
    test(`AccessPolicy: ${title} is admitted ${warnings.length === 0 ? 'without a word' : 'with a warning'}`, async (subtest) => {
      const { code, stderr } = await apply(index(title), spec)
      subtest.equal(code, 0, stderr)
      subtest.strictSame(stderr.split('\n').filter((line) => line !== ''), warnings.map((warning) => `Warning: ${warning}`))
    }),
  ),
)

const withCheck = (check: object): object => ({ checkGrantedPermission: { spec: { checks: [check], roleTemplate: roleTemplate(IN_POD_TEMPLATE) } } })
const inline = (more: object = {}, selector: object = {}): object => ({
  name: 'a',
  spec: { selector: { objectRef: { apiVersion: 'v1', kind: 'ConfigMap', name: 'b' }, ...selector }, ...more },
})
const CHECK = 'spec.checkGrantedPermission.spec.checks[0]'

const refused: Record<string, { spec: object; says: string[] }> = {
  'names together with labels': { spec: { ...checkedPolicy(['harbor']), connector: { names: ['harbor'], matchLabels: { a: 'b' } } }, says: ['spec.connector: must have either names or labels'] },
  'a check that is neither written nor referred to': { spec: withCheck({ name: 'a' }), says: [`${CHECK}: must have exactly one of ref and spec; got neither`] },
  'a check that is both': { spec: withCheck({ ...inline(), ref: { configMap: { name: 'c' } } }), says: [`${CHECK}: must have exactly one of ref and spec; got both`] },
  'two checks of one name': { spec: checkedPolicy(['harbor'], [PIPELINE_CHECK, PIPELINE_CHECK]), says: ['checks[1].name: must be unique within the policy'] },
  'a Secret as a check': { spec: withCheck(inline({}, { objectRef: { apiVersion: 'v1', kind: 'Secret', name: 'b' } })), says: [`${CHECK}.spec.selector.objectRef.kind`] },
  'rego': { spec: withCheck(inline({ state: { rego: 'package check' } })), says: [`${CHECK}.spec.state.rego`, 'state.cel'] },
  'an expression that does not parse': { spec: withCheck(inline({ state: { cel: 'object.' } })), says: [`${CHECK}.spec.state.cel`] },
  'an expression over something that is not there': { spec: withCheck(inline({ state: { cel: 'pod.status == "a" ? "passed" : "pending"' } })), says: [`${CHECK}.spec.state.cel`, 'there are object (the check object) and context (the Pod)'] },
  'an expression that cannot be a state': { spec: withCheck(inline({ state: { cel: 'true' } })), says: [`${CHECK}.spec.state.cel`, 'yields a value of type bool'] },
  'a label template that does not parse': {
    spec: withCheck({ name: 'a', spec: { selector: { objectRef: { apiVersion: 'v1', kind: 'ConfigMap' }, matchLabels: { run: '{.object.metadata' } } } }),
    says: [`${CHECK}.spec.selector.matchLabels`],
  },
  'a parameter that is misspelt': { spec: checkedPolicy(['harbor'], [{ ...PIPELINE_CHECK, params: [{ name: 'approver', value: ['alice'] }] }]), says: [`${CHECK}.params[0].name`] },
  'several mistakes at once': {
    spec: { connector: { names: ['harbor'], matchLabels: { a: 'b' } }, ...withCheck(inline({ state: { cel: 'true' } }, { objectRef: { apiVersion: 'v1', kind: 'Secret', name: 'b' } })) },
    says: ['spec.connector: must have either names or labels', `${CHECK}.spec.selector.objectRef.kind`, `${CHECK}.spec.state.cel`],
  },
  'no check at all, by the schema': { spec: { checkGrantedPermission: { spec: { checks: [], roleTemplate: roleTemplate(IN_POD_TEMPLATE) } } }, says: ['should have at least 1 items'] },
  'a field that is not known, by the schema': { spec: { conector: {} }, says: ['unknown field "spec.conector"'] },
}

await Promise.all(
  Object.entries(refused).map(([title, { spec, says }]) =>
    test(`AccessPolicy: ${title} is refused`, async (subtest) => {
      const { code, stderr } = await apply(index(title), spec)
      subtest.equal(code, 1)
      for (const words of says) subtest.match(stderr, words)
      subtest.equal(await kube.get(ACCESS_POLICIES, shared, index(title)), undefined)
    }),
  ),
)

await test('AccessPolicy: an edit is judged as a new one is', async (subtest) => {
  subtest.match(await apply('edited', checkedPolicy(['harbor'])), { code: 0, stderr: '' })
  const bad: CheckRule[] = [taskCheck('a', 'b', { cel: 'true' })]
  const { code, stderr } = await apply('edited', checkedPolicy(['harbor'], bad))
  subtest.equal(code, 1)
  subtest.match(stderr, `${CHECK}.spec.state.cel`)
  subtest.match(await world.kubectl(['label', 'accesspolicy', 'edited', '-n', shared, 'team=a']), { code: 0 })
})

await test('AccessPolicy: the status says which Connectors are selected, and follows them', async (subtest) => {
  await world.policy('by-name', checkedPolicy(['harbor', 'git']))
  const matched = async (): Promise<string[] | undefined> => {
    const { stdout } = await cluster.kubectl(['get', 'apol', 'by-name', '-n', shared, '-o', 'yaml'])
    const { status }: AccessPolicy = parse(stdout)
    return status?.matchedConnectors?.map(({ name }) => name)
  }
  const until = (names: string[]): Promise<string[]> =>
    eventually(`the policy selects ${names.join(', ')}`, async () => {
      const found = await matched()
      return JSON.stringify(found) === JSON.stringify(names) ? found : undefined
    })
  subtest.strictSame(await until(['harbor']), ['harbor'])
  await world.connector('git', 'none')
  subtest.strictSame(await until(['git', 'harbor']), ['git', 'harbor'])
  await cluster.kubectl(['delete', 'connectors', 'git', '-n', shared])
  subtest.strictSame(await until(['harbor']), ['harbor'])
})
