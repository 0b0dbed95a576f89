import { test } from 'tap'
import { SERVICE_ACCOUNT, serviceAccountUser, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { testControlPlane } from '../support/control-plane.ts'
import { rightsIn } from '../support/rights.ts'
import { applyShippedGround, kustomize, yamlOf } from '../support/shipped-ground.ts'

const cluster = testControlPlane()
const { may, untilAllowed, answers } = rightsIn(cluster)

/** Who may do what. Without the APIServices: while nobody serves them, no namespace of any test would go. */
const RIGHTS = new Set(['ServiceAccount', 'Role', 'RoleBinding', 'ClusterRole', 'ClusterRoleBinding', 'Secret'])

await applyShippedGround(cluster)
const manifests = [...(await kustomize(cluster, 'extension-self-signed')), ...(await kustomize(cluster, 'auth'))].filter(({ kind }) => RIGHTS.has(kind))
await cluster.kubectl(['apply', '--server-side', '--force-conflicts', '-f', '-'], { input: yamlOf(manifests) })

const extension = serviceAccountUser(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.extension)
const auth = serviceAccountUser(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.auth)
const rotateKeys = serviceAccountUser(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.rotateKeys)

const REVIEWS = 'connection.workspace.jupyter.org'
const CONNECTOR_REVIEWS = 'access.connectors.alauda.io'
const WORKSPACES = 'workspace.jupyter.org'

const accounts: { user: string; namespace: string; first: string; may: Record<string, boolean> }[] = [
  {
    user: extension,
    namespace: 'default',
    first: `get ${WORKSPACES}:workspaces`,
    may: {
      'create authorization.k8s.io:subjectaccessreviews': true,
      'create authentication.k8s.io:tokenreviews': false,
      [`get ${WORKSPACES}:workspaces`]: true,
      [`list ${WORKSPACES}:workspaces`]: false,
      [`update ${WORKSPACES}:workspaces`]: false,
      [`get ${WORKSPACES}:workspaceaccessstrategies`]: true,
      'get core:pods': true,
      'list core:pods': true,
      'watch core:pods': false,
      'create core:pods': false,
      'get connectors': true,
      'list accesspolicies': true,
      'list accessrequests': true,
      'create accessrequests': false,
      'get core:secrets': false,
      'get core:configmaps': false,
      'update apiregistration.k8s.io:apiservices v1alpha1.access.connectors.alauda.io': true,
      'update apiregistration.k8s.io:apiservices v1.apps': false,
      'create apiregistration.k8s.io:apiservices': false,
    },
  },
  {
    user: extension,
    namespace: SYSTEM_NAMESPACE,
    first: 'get core:configmaps',
    may: {
      'get core:configmaps': true,
      'update core:configmaps': false,
      'watch core:secrets access-gate-extension-keys': true,
      'update core:secrets access-gate-extension-keys': true,
      'delete core:secrets access-gate-extension-keys': false,
      'get core:secrets access-gate-extension-tls': true,
      'get core:secrets access-gate-webhook-tls': false,
      'get core:secrets authmiddleware-secrets': false,
      'list core:secrets': false,
    },
  },
  {
    user: extension,
    namespace: 'kube-system',
    first: 'watch core:configmaps extension-apiserver-authentication',
    may: { 'watch core:configmaps extension-apiserver-authentication': true, 'get core:configmaps other': false, 'get core:secrets other': false },
  },
  {
    user: auth,
    namespace: 'default',
    first: `create ${REVIEWS}:connectionaccessreviews`,
    may: {
      [`create ${REVIEWS}:connectionaccessreviews`]: true,
      [`create ${REVIEWS}:bearertokenreviews`]: true,
      [`create ${REVIEWS}:workspaceconnections`]: false,
      [`get ${WORKSPACES}:workspaces`]: false,
      'create authorization.k8s.io:subjectaccessreviews': false,
      'get core:pods': false,
    },
  },
  {
    user: auth,
    namespace: SYSTEM_NAMESPACE,
    first: 'get core:secrets authmiddleware-secrets',
    may: {
      'get core:secrets authmiddleware-secrets': true,
      'update core:secrets authmiddleware-secrets': true,
      'get core:secrets access-gate-extension-keys': false,
      'create core:secrets': false,
      'get core:configmaps': false,
    },
  },
  {
    user: rotateKeys,
    namespace: SYSTEM_NAMESPACE,
    first: 'update core:secrets authmiddleware-secrets',
    may: {
      'get core:secrets authmiddleware-secrets': true,
      'update core:secrets access-gate-extension-keys': true,
      'list core:secrets': false,
      'create core:secrets': false,
      'get core:secrets access-gate-extension-tls': false,
    },
  },
]

for (const { user, namespace, first, may: expected } of accounts) {
  await test(`${user} in ${namespace}`, async (t) => {
    await untilAllowed(user, first, namespace)
    t.strictSame(await answers(user, expected, namespace), expected)
  })
}

const stockRoles: Record<string, { first: string; may: Record<string, boolean> }> = {
  edit: {
    first: `create ${CONNECTOR_REVIEWS}:connectoraccessreviews`,
    may: {
      [`create ${CONNECTOR_REVIEWS}:connectoraccessreviews`]: true,
      [`create ${REVIEWS}:workspaceconnections`]: true,
      [`create ${REVIEWS}:connectionaccessreviews`]: false,
      [`create ${REVIEWS}:bearertokenreviews`]: false,
      [`create ${WORKSPACES}:workspaces/connection`]: false,
    },
  },
  admin: {
    first: `create ${REVIEWS}:connectionaccessreviews`,
    may: {
      [`create ${CONNECTOR_REVIEWS}:connectoraccessreviews`]: true,
      [`create ${REVIEWS}:workspaceconnections`]: true,
      [`create ${REVIEWS}:connectionaccessreviews`]: true,
      [`create ${REVIEWS}:bearertokenreviews`]: false,
      [`create ${WORKSPACES}:workspaces/connection`]: false,
    },
  },
  'access-gate-connect-workspaces': {
    first: `create ${WORKSPACES}:workspaces/connection`,
    may: {
      [`create ${WORKSPACES}:workspaces/connection`]: true,
      [`create ${REVIEWS}:workspaceconnections`]: true,
      [`create ${REVIEWS}:connectionaccessreviews`]: false,
      [`get ${WORKSPACES}:workspaces`]: false,
    },
  },
}

for (const [role, { first, may: expected }] of Object.entries(stockRoles)) {
  await test(`who holds the role ${role} in a namespace`, async (t) => {
    const namespace = await cluster.namespace('team')
    t.teardown(() => cluster.kubectl(['delete', 'namespace', namespace, '--wait=false']))
    const user = `ann-${namespace}`
    await cluster.kubectl(['create', 'rolebinding', 'ann', '--clusterrole', role, '--user', user, '-n', namespace])
    await untilAllowed(user, first, namespace)
    t.strictSame(await answers(user, expected, namespace), expected)
    t.equal(await may(user, first, 'default'), false, 'there alone')
  })
}
