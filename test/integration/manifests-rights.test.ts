import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'tap'
import { FLAG, SERVICE_ACCOUNT, serviceAccountUser, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { testControlPlane } from '../support/control-plane.ts'
import { MANIFESTS, manifestOf } from '../support/manifests.ts'
import { rightsIn } from '../support/rights.ts'
import { applyShippedGround, kustomize, yamlOf } from '../support/shipped-ground.ts'

const cluster = testControlPlane()
await applyShippedGround(cluster)

const webhook = serviceAccountUser(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.webhook)
const controller = serviceAccountUser(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.controller)

const { may: can, untilAllowed, answers } = rightsIn(cluster)

const accounts: { user: string; namespace: string; may: Record<string, boolean> }[] = [
  {
    user: webhook,
    namespace: 'default',
    may: {
      'create accessrequests': true,
      'list accesspolicies': false,
      'get connectors': true,
      'update accessrequests': false,
      'delete accessrequests': false,
      'patch accessrequests/status': false,
      'get connectors/proxy': false,
      'create authorization.k8s.io:subjectaccessreviews': true,
      'get core:configmaps': false,
      'list core:pods': false,
      'create rbac.authorization.k8s.io:roles': false,
      'get core:secrets': false,
      'update admissionregistration.k8s.io:validatingwebhookconfigurations access-gate': true,
      'update admissionregistration.k8s.io:validatingwebhookconfigurations other': false,
    },
  },
  {
    user: webhook,
    namespace: SYSTEM_NAMESPACE,
    may: {
      'get core:configmaps': true,
      'watch core:configmaps': false,
      'create core:secrets': true,
      'get core:secrets access-gate-webhook-tls': true,
      'get core:secrets other': false,
      'list core:secrets': false,
    },
  },
  {
    user: controller,
    namespace: 'default',
    may: {
      'update accessrequests/status': true,
      'create rbac.authorization.k8s.io:roles': true,
      'escalate rbac.authorization.k8s.io:roles': false,
      'bind rbac.authorization.k8s.io:roles': false,
      'create rbac.authorization.k8s.io:clusterroles': false,
      'watch core:pods': true,
      'delete core:pods': false,
      'create events.k8s.io:events': true,
      'get core:configmaps': false,
      'get core:secrets': false,
      'update coordination.k8s.io:leases access-gate-controller': false,
    },
  },
  {
    user: controller,
    namespace: SYSTEM_NAMESPACE,
    may: {
      'watch core:configmaps': true,
      'get core:secrets': false,
      'create coordination.k8s.io:leases': true,
      'update coordination.k8s.io:leases access-gate-controller': true,
      'update coordination.k8s.io:leases other': false,
    },
  },
]

await untilAllowed(webhook, 'list accessrequests', 'default')
await untilAllowed(controller, 'list accessrequests', 'default')
await untilAllowed(controller, 'watch core:configmaps', SYSTEM_NAMESPACE)

for (const { user, namespace, may } of accounts) {
  await test(`${user} in ${namespace}`, async (t) => {
    t.strictSame(await answers(user, may, namespace), may)
  })
}

await test('the check kinds that come by label are read by the controller', async (t) => {
  await untilAllowed(controller, 'watch openshift-pipelines.org:approvaltasks', 'default')
  t.equal(await can(controller, 'update openshift-pipelines.org:approvaltasks', 'default'), false)
})

const rules = (resource: string, group: string): object[] => [{ apiGroups: [group], resources: [resource], resourceNames: ['harbor'], verbs: ['*'] }]

await test('the controller grants the path of one Pod, and the API server lets it grant nothing else', async (t) => {
  const namespace = await cluster.namespace('shared')
  t.teardown(() => cluster.kubectl(['delete', 'namespace', namespace, '--wait=false']))
  const kubeconfig = await cluster.kubeconfigFor({ name: 'controller', token: await cluster.serviceAccountToken(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.controller) })
  const rbac = (kind: string, name: string, fields: object): object => ({ apiVersion: 'rbac.authorization.k8s.io/v1', kind, metadata: { name, namespace }, ...fields })
  const create = (...objects: object[]) => cluster.kubectl(['create', '-f', '-'], { input: yamlOf(objects), kubeconfig, allowFailure: true })
  const bound = (name: string): object =>
    rbac('RoleBinding', name, {
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name },
      subjects: [{ kind: 'ServiceAccount', name: 'builder', namespace: 'cicd' }],
    })

  const grant = await create(rbac('Role', 'grant', { rules: rules('connectors/proxy/v1/pod/cicd/build-1', 'connectors.alauda.io') }), bound('grant'))
  t.equal(grant.code, 0, grant.stderr)
  t.match(await create(rbac('Role', 'too-much', { rules: rules('secrets', '') })), { code: 1, stderr: /attempting to grant RBAC permissions not currently held/ })
})

const stockRoles: Record<string, Record<string, boolean>> = {
  view: {
    'watch accessrequests': true,
    'list accesspolicies': true,
    'delete accessrequests': false,
    'create accesspolicies': false,
  },
  edit: {
    'watch accessrequests': true,
    'get accesspolicies': true,
    'create accessrequests': false,
    'delete accessrequests': false,
    'update accesspolicies': false,
  },
  admin: {
    'list accessrequests': true,
    'delete accessrequests': true,
    'create accessrequests': false,
    'update accessrequests': false,
    'patch accessrequests': false,
    'update accessrequests/status': false,
    'create accesspolicies': true,
    'patch accesspolicies': true,
    'deletecollection accesspolicies': true,
    'update accesspolicies/status': false,
  },
}

for (const [role, may] of Object.entries(stockRoles)) {
  await test(`who holds the stock role ${role} in a namespace`, async (t) => {
    const namespace = await cluster.namespace('team')
    t.teardown(() => cluster.kubectl(['delete', 'namespace', namespace, '--wait=false']))
    const user = `ann-${namespace}`
    await cluster.kubectl(['create', 'rolebinding', 'ann', '--clusterrole', role, '--user', user, '-n', namespace])
    await untilAllowed(user, role === 'admin' ? 'delete accessrequests' : 'watch accessrequests', namespace)
    t.strictSame(await answers(user, may, namespace), may)
  })
}

await test('an upgrade leaves a flag that someone turned as it is', async (t) => {
  const namespace = await cluster.namespace('upgrade')
  t.teardown(() => cluster.kubectl(['delete', 'namespace', namespace, '--wait=false']))
  const shipped = await readFile(join(MANIFESTS, 'base/500-config-flags.yaml'), 'utf8')
  const input = shipped.replace(`namespace: ${SYSTEM_NAMESPACE}`, `namespace: ${namespace}`)
  const upgrade = (...options: string[]) => cluster.kubectl(['apply', '--server-side', ...options, '-f', '-'], { input, allowFailure: true })
  const flag = async (): Promise<string> => (await cluster.kubectl(['get', 'configmap', 'connectors-config', '-n', namespace, '-o', `jsonpath={.data.${FLAG.approval}}`])).stdout

  t.match(await upgrade(), { code: 0 })
  t.match(await upgrade(), { code: 0 }, 'an upgrade without a change is no conflict')
  await cluster.kubectl(['patch', 'configmap', 'connectors-config', '-n', namespace, '-p', JSON.stringify({ data: { [FLAG.approval]: 'false' } })])
  t.match(await upgrade(), { code: 1, stderr: new RegExp(`conflict.*${FLAG.approval}`) })
  t.equal(await flag(), 'false')
  const without = await upgrade('-l', 'connectors.alauda.io/install!=once')
  t.match(without, { stderr: 'error: no objects passed to apply\n' }, 'left out by its label')
  t.equal(await flag(), 'false')
})

await test('the overlay for self-signed certificates changes the webhook alone', async (t) => {
  const [base, overlay] = await Promise.all([kustomize(cluster, 'base'), kustomize(cluster, 'self-signed')])
  const ids = (manifests: typeof base): string[] => manifests.map(({ kind, metadata }) => `${kind} ${metadata.name}`)
  const added = overlay.filter((manifest) => !base.some((other) => JSON.stringify(other) === JSON.stringify(manifest)))
  t.strictSame(ids(added).toSorted(), [
    'ClusterRole access-gate-webhook-self-signed',
    'ClusterRoleBinding access-gate-webhook-self-signed',
    'Deployment access-gate-webhook',
    'Role access-gate-webhook-self-signed',
    'RoleBinding access-gate-webhook-self-signed',
  ])
  t.match(manifestOf(overlay, 'Deployment', 'access-gate-webhook'), {
    spec: { template: { spec: { containers: [{ image: 'access-gate:0.1.0', args: ['webhook', '--port=8443', '--metrics-port=8080', '--self-signed'] }] } } },
  })
})

await test('the API server takes every shipped object, without a warning', async (t) => {
  for (const folder of ['self-signed', 'connectors-crds']) {
    const applied = await cluster.kubectl(['apply', '--server-side', '--dry-run=server', '--field-manager=dry-run', '--force-conflicts', '-k', join(MANIFESTS, folder)])
    t.equal(applied.stderr, '', folder)
  }
})
