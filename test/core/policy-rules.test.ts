import fc from 'fast-check'
import { test } from 'tap'
import type { AccessPolicySpec } from '../../src/api/access-policy.ts'
import { policyProblems, policyWarnings, readCheckParams } from '../../src/core/policy-rules.ts'
import { problemText } from '../../src/core/problem.ts'
import { outcome } from '../support/outcome.ts'

type Loose = Record<string, unknown>
const roleTemplate = { ref: { configMap: { name: 'connectors-use-connectors-proxy-in-pod' } } }
const objectRef = { apiVersion: 'openshift-pipelines.org/v1alpha1', kind: 'ApprovalTask' }
const matchLabels = { 'tekton.dev/pipelineRun': `{.object.metadata.labels['tekton.dev/pipelineRun']}` }
const inline = { selector: { objectRef, matchLabels } }
const CHECKS = 'spec.checkGrantedPermission.spec.checks'

const withChecks = (checks: unknown, template: unknown = roleTemplate): AccessPolicySpec => ({ checkGrantedPermission: { spec: { checks, roleTemplate: template } } }) as AccessPolicySpec
const withCheck = (check: Loose): AccessPolicySpec => withChecks([{ name: 'release', ...check }])
const withSelector = (selector: Loose): AccessPolicySpec => withCheck({ spec: { selector: { objectRef, matchLabels, ...selector } } })
const withRef = (ref: Loose): AccessPolicySpec => withSelector({ objectRef: { ...objectRef, ...ref } })
const withState = (state: unknown): AccessPolicySpec => withCheck({ spec: { ...inline, state } })
const withParams = (params: unknown): AccessPolicySpec => withCheck({ spec: inline, params })
const withAccounts = (serviceAccounts: unknown): AccessPolicySpec => ({ defaultPermission: { roleTemplate, bindingTemplate: { serviceAccounts } } }) as AccessPolicySpec

const NAME_RULE = 'must be lower case letters, digits, "-" and ".", beginning and ending with a letter or digit'
const BOTH = 'must have either names or labels (matchLabels, matchExpressions), not both'
const APPROVERS = 'must be a list of user names or "group:<name>" with at least one of them'

const CASES: Record<string, { spec: unknown; problems: string[] }> = {
  'an empty policy': { spec: {}, problems: [] },
  'a policy for all Connectors': { spec: { connector: {} }, problems: [] },
  'an inline check': { spec: withCheck({ spec: inline }), problems: [] },
  'a check by reference, with params': {
    spec: withCheck({ ref: { configMap: { name: 'in-pipeline' } }, params: [{ name: 'approvers', value: ['alice', 'group:leads'] }, { name: 'numberOfApprovalsRequired', value: '2' }] }),
    problems: [],
  },
  'a check by the name of an object': { spec: withCheck({ spec: { selector: { objectRef: { ...objectRef, name: 'release-{.object.metadata.name}' } } } }), problems: [] },
  'a default permission': { spec: withAccounts([{ names: ['builder'], namespaceSelector: { matchLabels: { team: 'a' } } }, { names: [''], namespaceSelector: {} }, {}]), problems: [] },

  'no spec': { spec: undefined, problems: ['spec: is required'] },
  'a spec that is text': { spec: 'all', problems: ['spec: must be an object; got "all"'] },
  'names and labels of Connectors': { spec: { connector: { names: ['a'], matchLabels: { b: 'c' } } }, problems: [`spec.connector: ${BOTH}`] },
  'names with empty labels': { spec: { connector: { names: ['a'], matchLabels: {}, matchExpressions: [] } }, problems: [] },
  'a Connector name that cannot be': { spec: { connector: { names: ['ok', 'A'] } }, problems: [`spec.connector.names[1]: ${NAME_RULE}; got "A"`] },
  'names that are text': { spec: { connector: { names: 'a' } }, problems: ['spec.connector.names: must be a list of names; got "a"'] },
  'a selector that is a list': { spec: { connector: [] }, problems: ['spec.connector: must be an object; got a list'] },
  'an unknown operator': {
    spec: { connector: { matchExpressions: [{ key: 'a', operator: 'Gt', values: ['1'] }] } },
    problems: ['spec.connector.matchExpressions[0].operator: must be In, NotIn, Exists or DoesNotExist; got "Gt"'],
  },
  'a template in a selector of Connectors': {
    spec: { connector: { matchLabels: { a: '{.object.metadata.name}' } } },
    problems: ['spec.connector.matchLabels["a"]: must be a label value: letters, digits, "-", "_" and ".", beginning and ending with a letter or digit; got "{.object.metadata.name}"'],
  },

  'no checks': { spec: withChecks(undefined), problems: [`${CHECKS}: is required`] },
  'an empty list of checks': { spec: withChecks([]), problems: [`${CHECKS}: must have at least one check: without a check nothing may be granted`] },
  'checks that are an object': { spec: withChecks({}), problems: [`${CHECKS}: must be a list; got an object`] },
  'a block without spec': { spec: { checkGrantedPermission: {} }, problems: ['spec.checkGrantedPermission.spec: is required'] },
  'no role template': {
    spec: withChecks([{ name: 'a', spec: inline }], null),
    problems: ['spec.checkGrantedPermission.spec.roleTemplate: is required'],
  },
  'a role template without a ConfigMap': {
    spec: withChecks([{ name: 'a', spec: inline }], { ref: {} }),
    problems: ['spec.checkGrantedPermission.spec.roleTemplate.ref.configMap: is required'],
  },
  'a ConfigMap name that cannot be': {
    spec: withChecks([{ name: 'a', spec: inline }], { ref: { configMap: { name: '../x' } } }),
    problems: [`spec.checkGrantedPermission.spec.roleTemplate.ref.configMap.name: ${NAME_RULE}; got "../x"`],
  },
  'names of checks that are missing, blank, too long or used twice': {
    spec: withChecks([{ spec: inline }, { name: ' ', spec: inline }, { name: 'a'.repeat(254), spec: inline }, { name: 'b', spec: inline }, { name: 'b', spec: inline }, { name: 1, spec: inline }]),
    problems: [
      `${CHECKS}[0].name: is required`,
      `${CHECKS}[1].name: must not be empty`,
      `${CHECKS}[2].name: must be at most 253 characters long; got 254`,
      `${CHECKS}[4].name: must be unique within the policy; got "b" twice`,
      `${CHECKS}[5].name: must be text; got 1`,
    ],
  },
  'neither ref nor spec': { spec: withCheck({}), problems: [`${CHECKS}[0]: must have exactly one of ref and spec; got neither`] },
  'both ref and spec': {
    spec: withCheck({ ref: { configMap: { name: 'in-pipeline' } }, spec: inline }),
    problems: [`${CHECKS}[0]: must have exactly one of ref and spec; got both`],
  },
  'a check that is null': { spec: withChecks([null]), problems: [`${CHECKS}[0]: is required`] },

  'no selector': { spec: withCheck({ spec: {} }), problems: [`${CHECKS}[0].spec.selector: is required`] },
  'no kind and no version': {
    spec: withSelector({ objectRef: {} }),
    problems: [
      `${CHECKS}[0].spec.selector.objectRef.apiVersion: is required, for example openshift-pipelines.org/v1alpha1`,
      `${CHECKS}[0].spec.selector.objectRef.kind: is required, for example ApprovalTask`,
    ],
  },
  'a version that cannot be': {
    spec: withRef({ apiVersion: 'a/b/c' }),
    problems: [`${CHECKS}[0].spec.selector.objectRef.apiVersion: must be a version, or a group and a version such as openshift-pipelines.org/v1alpha1; got "a/b/c"`],
  },
  'a kind that cannot be': { spec: withRef({ kind: 'a/b' }), problems: [`${CHECKS}[0].spec.selector.objectRef.kind: must be a kind, for example ApprovalTask; got "a/b"`] },
  'a Secret': {
    spec: withRef({ apiVersion: 'v1', kind: 'Secret' }),
    problems: [`${CHECKS}[0].spec.selector.objectRef.kind: must not be Secret: the controller reads no Secrets; use a kind of its own for a check`],
  },
  'a secret of another version and spelling': {
    spec: withRef({ apiVersion: 'v2', kind: 'secret' }),
    problems: [`${CHECKS}[0].spec.selector.objectRef.kind: must not be Secret: the controller reads no Secrets; use a kind of its own for a check`],
  },
  'a Secret of another group is another kind': { spec: withRef({ apiVersion: 'example.com/v1', kind: 'Secret' }), problems: [] },
  'another namespace': {
    spec: withRef({ namespace: 'other' }),
    problems: [`${CHECKS}[0].spec.selector.objectRef.namespace: must be left out: check objects are looked up in the namespace of the Pod; got "other"`],
  },
  'an empty namespace': { spec: withRef({ namespace: '' }), problems: [] },
  'a name that leaves its path': {
    spec: withRef({ name: '../other' }),
    problems: [`${CHECKS}[0].spec.selector.objectRef.name: must be the name of an object; got "../other"`],
  },
  'a name template with a slash': {
    spec: withRef({ name: 'x/{.object.metadata.name}' }),
    problems: [`${CHECKS}[0].spec.selector.objectRef.name: holds characters that cannot be part of it: "x/"`],
  },
  'an empty name': { spec: withRef({ name: '' }), problems: [`${CHECKS}[0].spec.selector.objectRef.name: must not be empty`] },
  'a check that would match everything': {
    spec: withCheck({ spec: { selector: { objectRef, matchLabels: {}, matchExpressions: [] } } }),
    problems: [`${CHECKS}[0].spec.selector: must have objectRef.name, matchLabels or matchExpressions: without them every object of the kind in the namespace would be the check`],
  },
  'a template that cannot be read': {
    spec: withSelector({ matchLabels: { run: '{.object.metadata.labels[*]}' } }),
    problems: [
      `${CHECKS}[0].spec.selector.matchLabels["run"]: cannot read the template "{.object.metadata.labels[*]}" at character 25: expected .key, ['key'], [0] or the closing "}"`,
    ],
  },
  'a template beside characters that no label has': {
    spec: withSelector({ matchLabels: { run: 'a b {.object.metadata.name}' } }),
    problems: [`${CHECKS}[0].spec.selector.matchLabels["run"]: holds characters that cannot be part of it: "a b "`],
  },
  'an empty label value would match what has no run': { spec: withSelector({ matchLabels: { run: '' } }), problems: [`${CHECKS}[0].spec.selector.matchLabels["run"]: must not be empty`] },
  'templates in expressions': {
    spec: withSelector({ matchExpressions: [{ key: 'run', operator: 'In', values: ['{.object.metadata.name}', '{'] }] }),
    problems: [
      `${CHECKS}[0].spec.selector.matchExpressions[0].values[1]: cannot read the template "{" at character 1: the "{" has no closing "}"`,
    ],
  },
  'an unknown key': {
    spec: withSelector({ labels: { a: 'b' } }),
    problems: [`${CHECKS}[0].spec.selector: has an unknown key "labels"; there are objectRef, matchLabels, matchExpressions`],
  },

  'an expression': { spec: withState({ cel: 'object.status.phase == "Done" ? "passed" : "pending"' }), problems: [] },
  'an expression that does not compile': {
    spec: withState({ cel: 'obj.status == 1 ? "passed" : "pending"' }),
    problems: [`${CHECKS}[0].spec.state.cel: the expression is refused at character 1: Unknown variable: obj; there are object (the check object) and context (the Pod)`],
  },
  'an expression that is a number': { spec: withState({ cel: 1 }), problems: [`${CHECKS}[0].spec.state.cel: must be text; got 1`] },
  'rego': {
    spec: withState({ rego: '' }),
    problems: [`${CHECKS}[0].spec.state.rego: is not supported; write state.cel, an expression over object and context that yields "passed", "rejected" or "pending"`],
  },
  'a state that is text': { spec: withState('passed'), problems: [`${CHECKS}[0].spec.state: must be an object; got "passed"`] },

  'params of another name': { spec: withParams([{ name: 'approver', value: ['a'] }]), problems: [`${CHECKS}[0].params[0].name: must be approvers or numberOfApprovalsRequired; got "approver"`] },
  'params twice': {
    spec: withParams([{ name: 'approvers', value: ['a'] }, { name: 'approvers', value: ['b'] }]),
    problems: [`${CHECKS}[0].params[1].name: must be unique within the check; got "approvers" twice`],
  },
  'approvers that are text': { spec: withParams([{ name: 'approvers', value: 'alice' }]), problems: [`${CHECKS}[0].params[0].value: ${APPROVERS}; got "alice"`] },
  'no approvers': { spec: withParams([{ name: 'approvers', value: [] }]), problems: [`${CHECKS}[0].params[0].value: ${APPROVERS}; got a list`] },
  'approvers that are nobody': {
    spec: withParams([{ name: 'approvers', value: ['alice', '', ' bob', 'group:', 1] }]),
    problems: [
      `${CHECKS}[0].params[0].value[1]: must be a user name or "group:<name>", without spaces around it; got ""`,
      `${CHECKS}[0].params[0].value[2]: must be a user name or "group:<name>", without spaces around it; got " bob"`,
      `${CHECKS}[0].params[0].value[3]: must name the group after "group:"`,
      `${CHECKS}[0].params[0].value[4]: must be text; got 1`,
    ],
  },
  'too many approvers': {
    spec: withParams([{ name: 'approvers', value: Array.from({ length: 101 }, (_, index) => `u${index}`) }]),
    problems: [`${CHECKS}[0].params[0].value: must have at most 100 entries; got 101`],
  },
  'a number of approvals that is none': {
    spec: withParams([{ name: 'numberOfApprovalsRequired', value: 0 }]),
    problems: [`${CHECKS}[0].params[0].value: must be a whole number of at least 1; got 0`],
  },
  'a number of approvals that is no number': {
    spec: withParams([{ name: 'numberOfApprovalsRequired', value: '1.5' }]),
    problems: [`${CHECKS}[0].params[0].value: must be a whole number of at least 1; got "1.5"`],
  },
  'params of a kind that says nothing about approvers': {
    spec: withCheck({ spec: { selector: { objectRef: { apiVersion: 'v1', kind: 'ConfigMap', name: 'a' } } }, params: [{ name: 'numberOfApprovalsRequired', value: 1 }] }),
    problems: [`${CHECKS}[0].params: must be left out: only an ApprovalTask says who approved; the kind here is "ConfigMap"`],
  },
  'params that are an object': { spec: withParams({}), problems: [`${CHECKS}[0].params: must be a list; got an object`] },

  'no ServiceAccounts': { spec: withAccounts([]), problems: ['spec.defaultPermission.bindingTemplate.serviceAccounts: must have at least one entry'] },
  'a default permission without anything': {
    spec: { defaultPermission: {} },
    problems: ['spec.defaultPermission.roleTemplate: is required', 'spec.defaultPermission.bindingTemplate: is required'],
  },
  'names and labels of namespaces': {
    spec: withAccounts([{ namespaceSelector: { names: ['a'], matchExpressions: [{ key: 'b', operator: 'Exists' }] } }]),
    problems: [`spec.defaultPermission.bindingTemplate.serviceAccounts[0].namespaceSelector: ${BOTH}`],
  },
  'names that cannot be': {
    spec: withAccounts([{ names: ['', 'b'], namespaceSelector: { names: ['a.b'] } }]),
    problems: [
      'spec.defaultPermission.bindingTemplate.serviceAccounts[0].names[0]: must not be empty',
      'spec.defaultPermission.bindingTemplate.serviceAccounts[0].namespaceSelector.names[0]: must be lower case letters, digits and "-", beginning and ending with a letter or digit; got "a.b"',
    ],
  },
}

for (const [name, { spec, problems }] of Object.entries(CASES)) {
  await test(name, async (t) => {
    t.strictSame(policyProblems(spec as AccessPolicySpec).map(problemText), problems)
  })
}

await test('of many problems the first twenty are told', async (t) => {
  const names = Array.from({ length: 100_000 }, () => 'A')
  const problems = policyProblems({ connector: { names } })
  t.equal(problems.length, 21)
  t.strictSame(problems.at(-1), { path: 'spec', message: 'has 99980 more problems that are not shown' })
})

await test('of many checks the first thirty-two are looked at', async (t) => {
  const checks = Array.from({ length: 5000 }, (_, index) => ({ name: `c${index}`, spec: { ...inline, state: { cel: 'object.status.x ? "passed" : "pending"' } } }))
  t.strictSame(policyProblems(withChecks(checks)).map(problemText), [`${CHECKS}: must have at most 32 checks; got 5000`])
})

await test('problems never throw, whatever the policy', async (t) => {
  const any = fc.jsonValue()
  const selector = fc.oneof(any, fc.record({ names: any, matchLabels: any, matchExpressions: fc.oneof(any, fc.array(fc.record({ key: any, operator: fc.constantFrom('In', 'Exists', 1), values: any }))) }, { requiredKeys: [] }))
  const checkSpec = fc.record({ selector: fc.oneof(selector, fc.record({ objectRef: fc.oneof(any, fc.record({ apiVersion: any, kind: any, name: any, namespace: any })) })), state: fc.oneof(any, fc.record({ cel: any })) }, { requiredKeys: [] })
  const check = fc.record({ name: any, ref: any, spec: fc.oneof(any, checkSpec), params: fc.oneof(any, fc.array(fc.record({ name: fc.constantFrom('approvers', 'x'), value: any }))) }, { requiredKeys: [] })
  const spec = fc.record(
    {
      connector: selector,
      defaultPermission: fc.oneof(any, fc.record({ roleTemplate: any, bindingTemplate: fc.oneof(any, fc.record({ serviceAccounts: fc.oneof(any, fc.array(fc.record({ names: any, namespaceSelector: selector }))) })) })),
      checkGrantedPermission: fc.oneof(any, fc.record({ spec: fc.oneof(any, fc.record({ checks: fc.oneof(any, fc.array(fc.oneof(any, check))), roleTemplate: any })) })),
    },
    { requiredKeys: [] },
  )
  fc.assert(fc.property(fc.oneof(any, spec), (value) => policyProblems(value as unknown as AccessPolicySpec).length <= 21))
  t.pass('held')
})

await test('warnings: a policy without effect', async (t) => {
  t.strictSame(policyWarnings({ connector: {} }), ['this policy has no effect: it has neither defaultPermission nor checkGrantedPermission'])
})

await test('warnings: a default permission', async (t) => {
  t.strictSame(policyWarnings(withAccounts([{}])), ['spec.defaultPermission is not in effect yet: it is accepted and grants nothing'])
})

await test('warnings: the role template', async (t) => {
  const spec = withCheck({ spec: inline })
  const template = { metadata: { name: 'connectors-use-connectors-proxy-in-pod' } }
  t.strictSame(policyWarnings(spec, template), [])
  t.strictSame(policyWarnings(spec), [
    'ConfigMap connectors-system/connectors-use-connectors-proxy-in-pod, the role template of this policy, was not found; nothing can be granted until it is there',
  ])
  t.strictSame(policyWarnings(spec, { metadata: { ...template.metadata, annotations: { 'connectors.alauda.io/unbound': 'true' } } }), [
    'the role template connectors-system/connectors-use-connectors-proxy-in-pod is not bound to one Pod: once approved, every Pod of the ServiceAccount may use the Connector until the approved Pod ends',
  ])
})

const PARAMS: Record<string, { params: { name: string; value: unknown }[] | undefined; result: unknown }> = {
  'none': { params: undefined, result: {} },
  'an empty list': { params: [], result: {} },
  'approvers without duplicates': { params: [{ name: 'approvers', value: ['a', 'group:g', 'a'] }], result: { approvers: ['a', 'group:g'] } },
  'a number as number': { params: [{ name: 'numberOfApprovalsRequired', value: 2 }], result: { approvalsRequired: 2 } },
  'a number as text': {
    params: [{ name: 'numberOfApprovalsRequired', value: '12' }, { name: 'approvers', value: ['a'] }],
    result: { approvers: ['a'], approvalsRequired: 12 },
  },
  'what was not held to the rules': {
    params: [{ name: 'approvers', value: [] }, { name: 'x', value: 1 }],
    result: `TEMPLATE_VALUE: params[0].value: ${APPROVERS}; got a list; params[1].name: must be approvers or numberOfApprovalsRequired; got "x"`,
  },
}

for (const [name, { params, result }] of Object.entries(PARAMS)) {
  await test(`params: ${name}`, async (t) => {
    t.strictSame(outcome(() => readCheckParams(params)), result)
  })
}
