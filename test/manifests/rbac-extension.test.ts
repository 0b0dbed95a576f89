import { test } from 'tap'
import type { PolicyRule, RoleBinding } from '../../src/api/rbac.ts'
import { SERVICE_ACCOUNT } from '../../src/api/names.ts'
import { manifestOf, readManifests, type Manifest } from '../support/manifests.ts'

interface RoleManifest extends Manifest {
  rules: PolicyRule[]
}

const isRole = (manifest: Manifest): manifest is RoleManifest => manifest.kind === 'Role' || manifest.kind === 'ClusterRole'
const isBinding = (manifest: Manifest): manifest is Manifest & Pick<RoleBinding, 'subjects' | 'roleRef'> => manifest.kind.endsWith('RoleBinding')

const base = await readManifests('base')
const extension = await readManifests('extension-base')
const selfSigned = await readManifests('extension-self-signed')
const certManager = await readManifests('extension-cert-manager')
const tokenReview = await readManifests('extension-token-review')
const auth = await readManifests('auth')
const all = [...selfSigned, ...tokenReview, ...auth]
const roles = all.filter(isRole)

const REVIEWS = 'connection.workspace.jupyter.org'
const CONNECTOR_REVIEWS = 'access.connectors.alauda.io'
const WORKSPACES = 'workspace.jupyter.org'

const create = (apiGroup: string, ...resources: string[]): PolicyRule => ({ apiGroups: [apiGroup], resources, verbs: ['create'] })
const secrets = (resourceNames: string[], verbs: string[]): PolicyRule => ({ apiGroups: [''], resources: ['secrets'], resourceNames, verbs })

/** Every right of the optional roles: this table is what a reviewer has to agree with. */
const rights: Record<string, PolicyRule[]> = {
  'ClusterRole access-gate-extension': [
    create('authorization.k8s.io', 'subjectaccessreviews'),
    { apiGroups: [WORKSPACES], resources: ['workspaces', 'workspaceaccessstrategies'], verbs: ['get'] },
    { apiGroups: [''], resources: ['pods'], verbs: ['get', 'list'] },
    { apiGroups: ['connectors.alauda.io'], resources: ['connectors'], verbs: ['get'] },
    { apiGroups: ['connectors.alauda.io'], resources: ['accesspolicies', 'accessrequests'], verbs: ['list'] },
  ],
  'Role access-gate-extension': [
    { apiGroups: [''], resources: ['configmaps'], verbs: ['get'] },
    secrets(['access-gate-extension-keys'], ['get', 'list', 'watch', 'update']),
  ],
  'ClusterRole access-gate-extension-edit': [create(CONNECTOR_REVIEWS, 'connectoraccessreviews'), create(REVIEWS, 'workspaceconnections')],
  'ClusterRole access-gate-extension-admin': [create(REVIEWS, 'connectionaccessreviews')],
  'ClusterRole access-gate-connect-workspaces': [create(WORKSPACES, 'workspaces/connection'), create(REVIEWS, 'workspaceconnections')],
  'Role access-gate-rotate-keys': [secrets(['access-gate-extension-keys', 'authmiddleware-secrets'], ['get', 'update'])],
  'Role access-gate-extension-self-signed': [
    { apiGroups: [''], resources: ['secrets'], verbs: ['create'] },
    secrets(['access-gate-extension-tls'], ['get', 'update']),
  ],
  'ClusterRole access-gate-extension-self-signed': [
    {
      apiGroups: ['apiregistration.k8s.io'],
      resources: ['apiservices'],
      resourceNames: ['v1alpha1.connection.workspace.jupyter.org', 'v1alpha1.access.connectors.alauda.io'],
      verbs: ['get', 'update'],
    },
  ],
  'ClusterRole access-gate-extension-token-review': [create('authentication.k8s.io', 'tokenreviews')],
  'ClusterRole access-gate-auth': [create(REVIEWS, 'connectionaccessreviews', 'bearertokenreviews')],
  'Role access-gate-auth': [secrets(['authmiddleware-secrets'], ['get', 'list', 'watch', 'update'])],
}

await test('the optional roles hold these rights and no others', async (t) => {
  t.strictSame(Object.fromEntries(roles.map((role) => [`${role.kind} ${role.metadata.name}`, role.rules])), rights)
})

await test('none of them has a wildcard', async (t) => {
  t.notMatch(JSON.stringify(roles.map((role) => role.rules)), /"\*"/)
})

await test('the form for cert-manager has no right of its own', async (t) => {
  t.strictSame(
    certManager.filter(isRole).map(({ metadata }) => metadata.name),
    extension.filter(isRole).map(({ metadata }) => metadata.name),
  )
})

await test('TokenReviews are asked by the component alone', async (t) => {
  t.strictSame(
    [...base, ...extension, ...auth].filter(isRole).filter(({ rules }) => JSON.stringify(rules ?? []).includes('"tokenreviews"')),
    [],
  )
})

await test('a Secret is read or changed by its name alone, and every named one is shipped or made by its owner', async (t) => {
  const rules = roles.flatMap((role) => role.rules.filter(({ resources = [], verbs }) => resources.includes('secrets') && !verbs.includes('create')))
  const shipped = all.filter(({ kind }) => kind === 'Secret').map(({ metadata }) => metadata.name)
  t.strictSame([...new Set(rules.flatMap(({ resourceNames = [] }) => resourceNames))].toSorted(), [...shipped, 'access-gate-extension-tls'].toSorted())
  t.ok(rules.every(({ resourceNames = [] }) => resourceNames.length > 0))
})

await test('the Secrets of signing keys are shipped empty, so that no apply changes what is in them', async (t) => {
  for (const secret of all.filter(({ kind }) => kind === 'Secret')) t.strictSame(Object.keys(secret).toSorted(), ['apiVersion', 'kind', 'metadata', 'type'], secret.metadata.name)
})

const label = (role: string): string => `rbac.authorization.k8s.io/aggregate-to-${role}`

await test('what others may do is told to admin; what a Pod would get, and one’s own connection, to edit; letting people in is of no stock role', async (t) => {
  t.strictSame(manifestOf(extension, 'ClusterRole', 'access-gate-extension-edit').metadata.labels, { [label('edit')]: 'true', [label('admin')]: 'true' })
  t.strictSame(manifestOf(extension, 'ClusterRole', 'access-gate-extension-admin').metadata.labels, { [label('admin')]: 'true' })
  t.equal(manifestOf(extension, 'ClusterRole', 'access-gate-connect-workspaces').metadata.labels, undefined)
})

const to = (name: string): string[] => [`ServiceAccount connectors-system/${name}`]

await test('every binding binds to one account: a shipped role of its own name, or the reader of Kubernetes’ own', async (t) => {
  const bindings = all.filter(isBinding).map(({ kind, metadata, roleRef, subjects }) => [
    `${kind} ${metadata.namespace ?? ''}/${metadata.name}`,
    `${roleRef.kind} ${roleRef.name}`,
    (subjects ?? []).map((subject) => `${subject.kind} ${subject.namespace ?? ''}/${subject.name}`),
  ])
  t.strictSame(bindings, [
    ['ClusterRoleBinding /access-gate-extension', 'ClusterRole access-gate-extension', to(SERVICE_ACCOUNT.extension)],
    ['RoleBinding connectors-system/access-gate-extension', 'Role access-gate-extension', to(SERVICE_ACCOUNT.extension)],
    ['RoleBinding kube-system/access-gate-extension-authentication-reader', 'Role extension-apiserver-authentication-reader', to(SERVICE_ACCOUNT.extension)],
    ['RoleBinding connectors-system/access-gate-rotate-keys', 'Role access-gate-rotate-keys', to(SERVICE_ACCOUNT.rotateKeys)],
    ['RoleBinding connectors-system/access-gate-extension-self-signed', 'Role access-gate-extension-self-signed', to(SERVICE_ACCOUNT.extension)],
    ['ClusterRoleBinding /access-gate-extension-self-signed', 'ClusterRole access-gate-extension-self-signed', to(SERVICE_ACCOUNT.extension)],
    ['ClusterRoleBinding /access-gate-extension-token-review', 'ClusterRole access-gate-extension-token-review', to(SERVICE_ACCOUNT.extension)],
    ['ClusterRoleBinding /access-gate-auth', 'ClusterRole access-gate-auth', to(SERVICE_ACCOUNT.auth)],
    ['RoleBinding connectors-system/access-gate-auth', 'Role access-gate-auth', to(SERVICE_ACCOUNT.auth)],
  ])
})

await test('none of it is part of what is installed by default', async (t) => {
  t.notMatch(JSON.stringify(base), /access-gate-(extension|auth|rotate-keys)|APIService/)
})
