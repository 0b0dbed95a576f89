/** What a role template may grant, and whether the grant is in place. */
import { test } from 'tap'
import type { Role, RoleBinding } from '../../src/api/rbac.ts'
import { ANNOTATION } from '../../src/api/names.ts'
import { buildGrant, grantName, grantNames, grantState, renderRules, strayNames, type ObservedGrants } from '../../src/core/grant.ts'
import { CodedError } from '../../src/errors.ts'
import {
  configMapOf,
  grantOf,
  IN_POD_RULE,
  IN_POD_RULES,
  NO_GRANTS,
  observedOf,
  podOf,
  POD_PATH,
  requestOf,
  snapshotOf,
  templatesOf,
  UNBOUND_RULES,
} from '../support/request-facts.ts'

const UNBOUND = { [ANNOTATION.unbound]: 'true' }
const render = (rules: string, annotations?: Record<string, string>, pod = podOf()) =>
  renderRules('t', templatesOf([configMapOf('t', { rules }, annotations)]), pod)
const ruleOf = (over: object): string => JSON.stringify([{ apiGroups: ['connectors.alauda.io'], resources: [POD_PATH], verbs: ['*'], ...over }])

const RENDERED: Record<string, { rules: string; annotations?: Record<string, string>; is: ReturnType<typeof renderRules> }> = {
  'the path of the Pod, filled in': { rules: IN_POD_RULES, is: { rules: [IN_POD_RULE], unbound: false } },
  'the path of the Pod, written out': { rules: ruleOf({}), is: { rules: [IN_POD_RULE], unbound: false } },
  'the whole proxy, annotated': {
    rules: UNBOUND_RULES,
    annotations: UNBOUND,
    is: { rules: [{ ...IN_POD_RULE, resources: ['connectors/proxy'] }], unbound: true },
  },
  'the path of the Pod, annotated': { rules: IN_POD_RULES, annotations: UNBOUND, is: { rules: [IN_POD_RULE], unbound: false } },
  'several rules': {
    rules: `${IN_POD_RULES}${IN_POD_RULES.replace('"*"', 'get, list')}`,
    is: { rules: [IN_POD_RULE, { ...IN_POD_RULE, verbs: ['get', 'list'] }], unbound: false },
  },
}
for (const [name, { rules, annotations, is }] of Object.entries(RENDERED)) {
  await test(`grants ${name}`, async (t) => {
    t.strictSame(render(rules, annotations), is)
  })
}

const REFUSED: Record<string, { rules: string; annotations?: Record<string, string>; code?: string; message: string | RegExp }> = {
  'the whole proxy without the annotation': {
    rules: UNBOUND_RULES,
    message: 'it grants connectors/proxy to the whole ServiceAccount without the annotation connectors.alauda.io/unbound: "true"',
  },
  'the whole proxy with another value of the annotation': {
    rules: UNBOUND_RULES,
    annotations: { [ANNOTATION.unbound]: 'yes' },
    message: /without the annotation/,
  },
  'the path of another Pod': {
    rules: ruleOf({ resources: ['connectors/proxy/v1/pod/cicd/other'] }),
    message: `it grants "connectors/proxy/v1/pod/cicd/other"; only ${POD_PATH} is granted`,
  },
  'the path of a Pod whose name begins with this one': { rules: ruleOf({ resources: [`${POD_PATH}-2`] }), message: /only .* is granted/ },
  'the path of every Pod': { rules: ruleOf({ resources: ['connectors/proxy/v1/pod/*'] }), message: /only .* is granted/ },
  'every subresource': { rules: ruleOf({ resources: ['connectors/*'] }), annotations: UNBOUND, message: /only .* is granted/ },
  everything: { rules: ruleOf({ resources: ['*'] }), annotations: UNBOUND, message: /only .* is granted/ },
  'the Connector itself': { rules: ruleOf({ resources: ['connectors'] }), annotations: UNBOUND, message: /only .* is granted/ },
  'its own path and one more': { rules: ruleOf({ resources: [POD_PATH, 'secrets'] }), message: /it grants "secrets"/ },
  'no resource': { rules: ruleOf({ resources: [] }), message: 'a rule names no resource' },
  'resources left out': { rules: ruleOf({ resources: undefined }), message: 'a rule names no resource' },
  'another group': { rules: ruleOf({ apiGroups: [''] }), message: 'its apiGroups are [""]; only ["connectors.alauda.io"] is granted' },
  'every group': { rules: ruleOf({ apiGroups: ['*'] }), message: /only \["connectors\.alauda\.io"\]/ },
  'another group besides': { rules: ruleOf({ apiGroups: ['connectors.alauda.io', ''] }), message: /its apiGroups are \["connectors\.alauda\.io",""\]/ },
  'no group': { rules: ruleOf({ apiGroups: [] }), message: /its apiGroups are \[\]/ },
  'groups left out': { rules: ruleOf({ apiGroups: undefined }), message: /its apiGroups are \[\]/ },
  'names of resources': { rules: ruleOf({ resourceNames: ['other'] }), message: 'it sets resourceNames; the controller sets them' },
  'an empty list of names, which means all of them': { rules: ruleOf({ resourceNames: [] }), message: /resourceNames/ },
  'paths that are no resources': { rules: ruleOf({ nonResourceURLs: ['/*'] }), message: 'it names nonResourceURLs' },
  'no verb': { rules: ruleOf({ verbs: [] }), code: 'TEMPLATE_MISSING', message: /verbs/ },
  'a second rule that reaches further': { rules: `${IN_POD_RULES}${UNBOUND_RULES}`, message: /without the annotation/ },
  'a path that the Pod has no value for': {
    rules: ruleOf({ resources: ["connectors/proxy/v1/pod/{.object.metadata.labels['none']}"] }),
    code: 'TEMPLATE_VALUE',
    message: /no value at/,
  },
  'a path that cannot be read': { rules: ruleOf({ resources: ['connectors/proxy/{.object'] }), code: 'TEMPLATE_SYNTAX', message: /closing/ },
  'no rules at all': { rules: '[]', code: 'TEMPLATE_MISSING', message: /1 to 32 rules/ },
}
for (const [name, { rules, annotations, code = 'GRANT_REFUSED', message }] of Object.entries(REFUSED)) {
  await test(`refuses ${name}`, async (t) => {
    try {
      render(rules, annotations)
      t.fail('it was granted')
    } catch (error) {
      t.ok(error instanceof CodedError)
      t.match(error, { code, message: typeof message === 'string' ? `the role template connectors-system/t is refused: ${message}` : message })
    }
  })
}

await test('a Pod whose labels hold the path of another gets nothing by them', async (t) => {
  const pod = podOf({ metadata: { labels: { path: 'other' } } })
  t.throws(() => render(ruleOf({ resources: ['connectors/proxy/v1/pod/cicd/{.object.metadata.labels.path}'] }), undefined, pod), { code: 'GRANT_REFUSED' })
})

await test('a template that is not there is named', async (t) => {
  t.throws(() => renderRules('gone', templatesOf([]), podOf()), { code: 'TEMPLATE_MISSING', message: 'ConfigMap connectors-system/gone is missing' })
})

await test('the Role and RoleBinding of a grant', async (t) => {
  const metadata = {
    name: grantName(requestOf(), 'ask'),
    namespace: 'connectors-shared',
    labels: { 'connectors.alauda.io/accessRequest': 'prod-harbor-build-pod', 'connectors.alauda.io/accessPolicy': 'ask' },
    annotations: {
      'connectors.alauda.io/pod-uid': 'pod-1',
      'connectors.alauda.io/access-request': 'prod-harbor-build-pod',
      'connectors.alauda.io/access-request-uid': 'request-1',
    },
    ownerReferences: [
      { apiVersion: 'connectors.alauda.io/v1alpha1', kind: 'AccessRequest', name: 'prod-harbor-build-pod', uid: 'request-1', controller: true },
    ],
  }
  t.strictSame(buildGrant(requestOf(), 'ask', [IN_POD_RULE], 'pod-1'), {
    policy: 'ask',
    role: {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'Role',
      metadata,
      rules: [{ apiGroups: ['connectors.alauda.io'], resources: [POD_PATH], resourceNames: ['prod-harbor'], verbs: ['*'] }],
    },
    binding: {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'RoleBinding',
      metadata,
      subjects: [{ kind: 'ServiceAccount', name: 'builder', namespace: 'cicd' }],
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: metadata.name },
    },
  })
})

await test('names of grants are bounded, and each is of one request and one policy', async (t) => {
  const long = 'a'.repeat(253)
  const requests = [
    requestOf(),
    requestOf({ metadata: { uid: 'request-2' } }),
    requestOf({ metadata: { name: long } }),
    requestOf({ metadata: { name: `${long.slice(0, 252)}b` } }),
  ]
  const names = requests.flatMap((request) => ['ask', 'scan', long].map((policy) => grantName(request, policy)))
  t.equal(new Set(names).size, names.length)
  for (const name of names) t.match(name, /^[a-z0-9][-a-z0-9]{0,251}[a-z0-9]$/)
  const { labels } = buildGrant(requestOf({ metadata: { name: long } }), long, [IN_POD_RULE], 'pod-1').role.metadata
  for (const value of Object.values(labels ?? {})) t.ok(value.length <= 63)
})

const grant = grantOf()
const withRole = (change: (role: Role) => Role): ObservedGrants => ({ roles: [change(structuredClone(grant.role))], bindings: [grant.binding] })
const withBinding = (change: (binding: RoleBinding) => RoleBinding): ObservedGrants => ({
  roles: [grant.role],
  bindings: [change(structuredClone(grant.binding))],
})
const meta = <T extends Role | RoleBinding>(object: T, metadata: Partial<T['metadata']>): T => ({ ...object, metadata: { ...object.metadata, ...metadata } })

const OBSERVED: Record<string, { observed: ObservedGrants; is: ReturnType<typeof grantState> }> = {
  'both as they were written': { observed: observedOf(grant), is: 'in-place' },
  neither: { observed: NO_GRANTS, is: 'missing' },
  'no Role': { observed: { roles: [], bindings: [grant.binding] }, is: 'missing' },
  'no RoleBinding': { observed: { roles: [grant.role], bindings: [] }, is: 'missing' },
  'those of another policy': { observed: observedOf(grantOf('scan')), is: 'missing' },
  'what the API server and others add': {
    observed: withRole((role) =>
      meta(role, {
        uid: 'x',
        resourceVersion: '5',
        creationTimestamp: 'now',
        labels: { ...role.metadata.labels, more: 'x' },
        annotations: { ...role.metadata.annotations, more: 'x' },
      }),
    ),
    is: 'in-place',
  },
  'a subject with the group left empty': {
    observed: withBinding((binding) => ({ ...binding, subjects: (binding.subjects ?? []).map((subject) => ({ ...subject, apiGroup: '' })) })),
    is: 'in-place',
  },
  'keys in another order': { observed: withRole((role) => ({ ...role, rules: role.rules.map(({ verbs, ...rest }) => ({ verbs, ...rest })) })), is: 'in-place' },
  'a wider rule': {
    observed: withRole((role) => ({ ...role, rules: role.rules.map(({ apiGroups = [], resources = [], verbs }) => ({ apiGroups, resources, verbs })) })),
    is: 'changed',
  },
  'a rule more': {
    observed: withRole((role) => ({ ...role, rules: [...role.rules, { apiGroups: [''], resources: ['secrets'], verbs: ['get'] }] })),
    is: 'changed',
  },
  'no rule': { observed: withRole((role) => ({ ...role, rules: [] })), is: 'changed' },
  'a subject more': {
    observed: withBinding((binding) => ({ ...binding, subjects: [...(binding.subjects ?? []), { kind: 'User', name: 'mallory' }] })),
    is: 'changed',
  },
  'no subject': { observed: withBinding((binding) => ({ ...binding, subjects: [] })), is: 'changed' },
  'another role': {
    observed: withBinding((binding) => ({ ...binding, roleRef: { ...binding.roleRef, kind: 'ClusterRole', name: 'cluster-admin' } })),
    is: 'changed',
  },
  'the label taken off the Role': { observed: withRole((role) => meta(role, { labels: {} })), is: 'changed' },
  'the label taken off the RoleBinding': { observed: withBinding((binding) => meta(binding, { labels: {} })), is: 'changed' },
  'the uid of another Pod on the Role': { observed: withRole((role) => meta(role, { annotations: { [ANNOTATION.podUid]: 'pod-2' } })), is: 'changed' },
  'the uid of another Pod on the RoleBinding': {
    observed: withBinding((binding) => meta(binding, { annotations: { [ANNOTATION.podUid]: 'pod-2' } })),
    is: 'changed',
  },
  'no owner': { observed: withRole((role) => meta(role, { ownerReferences: [] })), is: 'changed' },
  'a Role that is being deleted': { observed: withRole((role) => meta(role, { deletionTimestamp: 'now' })), is: 'changed' },
}
for (const [name, { observed, is }] of Object.entries(OBSERVED)) {
  await test(`a grant of which there is ${name} is ${is}`, async (t) => {
    t.equal(grantState(grant, observed), is)
  })
}

await test('the names of a request are those of its policies and whatever says it is of the request', async (t) => {
  const observed: ObservedGrants = { roles: [grant.role, grantOf('made-up').role], bindings: [grantOf('other').binding] }
  const [ask, scan, madeUp, other] = ['ask', 'scan', 'made-up', 'other'].map((policy) => grantName(requestOf(), policy))
  t.strictSame(grantNames(requestOf(), [snapshotOf(), snapshotOf({ name: 'scan' })], observed), [ask, scan, madeUp, other])
  t.strictSame(strayNames([grant], observed), [madeUp, other])
  t.strictSame(strayNames([grant], observedOf(grant)), [])
})
