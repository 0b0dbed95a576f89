import { test } from 'tap'
import type { PolicyRule, RoleBinding } from '../../src/api/rbac.ts'
import { manifestOf, readManifests, type Manifest } from '../support/manifests.ts'

interface RoleManifest extends Manifest {
  rules?: PolicyRule[]
}

const isRole = (manifest: Manifest): manifest is RoleManifest => manifest.kind === 'Role' || manifest.kind === 'ClusterRole'

const base = await readManifests('base')
const selfSigned = await readManifests('self-signed')
const tokenApi = await readManifests('csi-token-api')
const roles = [...selfSigned, ...tokenApi].filter(isRole)
const baseRoles = base.filter(isRole)

const GROUP = 'connectors.alauda.io'
const read = ['get', 'list', 'watch']

/** Every right of the shipped roles: this table is what a reviewer has to agree with. */
const rights: Record<string, PolicyRule[] | undefined> = {
  'ClusterRole access-gate-webhook': [
    { apiGroups: [GROUP], resources: ['connectors'], verbs: ['get'] },
    { apiGroups: [GROUP], resources: ['accessrequests'], verbs: ['get', 'list', 'create'] },
    { apiGroups: ['authorization.k8s.io'], resources: ['subjectaccessreviews'], verbs: ['create'] },
  ],
  'Role access-gate-webhook': [{ apiGroups: [''], resources: ['configmaps'], verbs: ['get'] }],
  'ClusterRole access-gate-controller': [
    { apiGroups: [GROUP], resources: ['*'], verbs: ['*'] },
    { apiGroups: ['rbac.authorization.k8s.io'], resources: ['roles', 'rolebindings'], verbs: [...read, 'create', 'update', 'delete'] },
    { apiGroups: [''], resources: ['pods'], verbs: read },
    { apiGroups: ['events.k8s.io'], resources: ['events'], verbs: ['create'] },
  ],
  'Role access-gate-controller': [
    { apiGroups: [''], resources: ['configmaps'], verbs: read },
    { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['create'] },
    { apiGroups: ['coordination.k8s.io'], resources: ['leases'], resourceNames: ['access-gate-controller'], verbs: ['get', 'update'] },
  ],
  'ClusterRole access-gate-csi': [
    { apiGroups: [GROUP], resources: ['connectors', 'connectorclasses'], verbs: ['get'] },
    { apiGroups: [GROUP], resources: ['accessrequests'], verbs: [...read, 'create'] },
    { apiGroups: [''], resources: ['pods'], verbs: read },
    { apiGroups: ['authorization.k8s.io'], resources: ['subjectaccessreviews'], verbs: ['create'] },
    { apiGroups: ['events.k8s.io'], resources: ['events'], verbs: ['create'] },
  ],
  'Role access-gate-csi': [{ apiGroups: [''], resources: ['configmaps'], resourceNames: ['connectors-config'], verbs: read }],
  // Filled in by kube-controller-manager.
  'ClusterRole access-gate-checks': undefined,
  'ClusterRole access-gate-checks-approvaltasks': [{ apiGroups: ['openshift-pipelines.org'], resources: ['approvaltasks'], verbs: read }],
  'ClusterRole access-gate-view': [{ apiGroups: [GROUP], resources: ['accessrequests', 'accesspolicies'], verbs: read }],
  'ClusterRole access-gate-admin': [
    { apiGroups: [GROUP], resources: ['accessrequests'], verbs: ['delete'] },
    { apiGroups: [GROUP], resources: ['accesspolicies'], verbs: ['create', 'update', 'patch', 'delete', 'deletecollection'] },
  ],
  'Role access-gate-webhook-self-signed': [
    { apiGroups: [''], resources: ['secrets'], verbs: ['create'] },
    { apiGroups: [''], resources: ['secrets'], resourceNames: ['access-gate-webhook-tls'], verbs: ['get', 'update'] },
  ],
  'ClusterRole access-gate-webhook-self-signed': [
    {
      apiGroups: ['admissionregistration.k8s.io'],
      resources: ['mutatingwebhookconfigurations', 'validatingwebhookconfigurations'],
      resourceNames: ['access-gate'],
      verbs: ['get', 'update'],
    },
  ],
  'ClusterRole access-gate-csi-token-api': [{ apiGroups: [''], resources: ['serviceaccounts/token'], verbs: ['create'] }],
}

await test('the shipped roles hold these rights and no others', async (t) => {
  t.strictSame(Object.fromEntries(roles.map((role) => [`${role.kind} ${role.metadata.name}`, role.rules])), rights)
})

await test('a wildcard stands in one rule alone: the group that the controller grants from', async (t) => {
  const wild = roles.flatMap(({ metadata, rules = [] }) => rules.filter((rule) => JSON.stringify(rule).includes('"*"')).map((rule) => ({ name: metadata.name, rule })))
  t.strictSame(wild, [{ name: 'access-gate-controller', rule: { apiGroups: [GROUP], resources: ['*'], verbs: ['*'] } }])
})

await test('nobody may escalate, bind or impersonate', async (t) => {
  const verbs = new Set(roles.flatMap(({ rules = [] }) => rules.flatMap((rule) => rule.verbs)))
  t.strictSame(
    ['escalate', 'bind', 'impersonate'].filter((verb) => verbs.has(verb)),
    [],
  )
})

await test('the base reads no Secret', async (t) => {
  t.strictSame(
    baseRoles.filter(({ rules = [] }) => rules.some(({ resources = [] }) => resources.some((resource) => resource.startsWith('secrets')))),
    [],
  )
})

await test('the form that lets the plugin make tokens is the only one that makes any', async (t) => {
  const makers = roles.filter(({ rules = [] }) => rules.some(({ resources = [] }) => resources.includes('serviceaccounts/token')))
  t.strictSame(makers.map(({ metadata }) => metadata.name), ['access-gate-csi-token-api'])
})

await test('what the stock roles of a namespace get never holds a write of a request or of a status', async (t) => {
  const forUsers = baseRoles.filter(({ metadata }) => Object.keys(metadata.labels ?? {}).some((label) => label.startsWith('rbac.authorization.k8s.io/aggregate-to-')))
  const writes = forUsers.flatMap(({ rules = [] }) =>
    rules.filter(({ resources = [], verbs }) => {
      const touchesRequests = resources.includes('accessrequests') && verbs.some((verb) => ![...read, 'delete'].includes(verb))
      return touchesRequests || resources.some((resource) => resource.includes('/'))
    }),
  )
  t.strictSame(forUsers.map(({ metadata }) => metadata.name), ['access-gate-view', 'access-gate-admin'])
  t.strictSame(writes, [])
})

const label = (role: string): string => `rbac.authorization.k8s.io/aggregate-to-${role}`

await test('readers are view, edit and admin; writers of policies are admin alone', async (t) => {
  t.strictSame(manifestOf(base, 'ClusterRole', 'access-gate-view').metadata.labels, { [label('view')]: 'true', [label('edit')]: 'true', [label('admin')]: 'true' })
  t.strictSame(manifestOf(base, 'ClusterRole', 'access-gate-admin').metadata.labels, { [label('admin')]: 'true' })
})

await test('the kinds that can be checks come by label', async (t) => {
  const labels = { 'connectors.alauda.io/aggregate-to-checks': 'true' }
  t.strictSame(manifestOf(base, 'ClusterRole', 'access-gate-checks')['aggregationRule'], { clusterRoleSelectors: [{ matchLabels: labels }] })
  t.strictSame(manifestOf(base, 'ClusterRole', 'access-gate-checks-approvaltasks').metadata.labels, labels)
})

const isBinding = (manifest: Manifest): manifest is Manifest & Pick<RoleBinding, 'subjects' | 'roleRef'> => manifest.kind.endsWith('RoleBinding')

const to = (name: string): object[] => [{ kind: 'ServiceAccount', name: `access-gate-${name}`, namespace: 'connectors-system' }]

await test('every binding binds a shipped role of its own kind and name to one ServiceAccount', async (t) => {
  const bindings = [...selfSigned, ...tokenApi].filter(isBinding).map(({ kind, metadata, roleRef, subjects }) => [
    `${kind.replace('Binding', '')} ${metadata.name}`,
    `${roleRef.kind} ${roleRef.name}`,
    subjects,
  ])
  const wanted = (['webhook', 'webhook', 'controller', 'controller', 'csi', 'csi', 'controller', 'webhook', 'webhook', 'csi'] as const).map(to)
  t.strictSame(bindings.map(([own]) => own), bindings.map(([, ref]) => ref))
  t.strictSame(bindings.map(([own]) => own), [
    'ClusterRole access-gate-webhook',
    'Role access-gate-webhook',
    'ClusterRole access-gate-controller',
    'Role access-gate-controller',
    'ClusterRole access-gate-csi',
    'Role access-gate-csi',
    'ClusterRole access-gate-checks',
    'Role access-gate-webhook-self-signed',
    'ClusterRole access-gate-webhook-self-signed',
    'ClusterRole access-gate-csi-token-api',
  ])
  t.strictSame(bindings.map(([, , subjects]) => subjects), wanted)
})
