import { delimiter, dirname, join } from 'node:path'
import { t, test } from 'tap'
import { applyCertManagerDefinitions } from '../../hack/cert-manager/cert-manager.ts'
import { run, type RunResult } from '../../hack/control-plane/run.ts'
import { startControlPlane } from '../../hack/control-plane/start.ts'
import { startSandbox, type Sandbox } from '../../hack/sandbox/sandbox.ts'
import { API_VERSION, CLEANUP_FINALIZER, GRANT_PREFIX, LABEL, SERVICE_ACCOUNT, serviceAccountUser, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { untilTrue } from '../support/eventually.ts'
import { codeBlocks } from '../support/doc-blocks.ts'
import { ROOT } from '../support/dockerfile.ts'
import { checkedPolicy, gatedWorld, grantedPod, type GatedWorld } from '../support/gated-world.ts'
import type { Manifest } from '../support/manifests.ts'
import { kustomize, yamlOf } from '../support/shipped-ground.ts'

// The Go module of cert-manager may have to be downloaded first.
t.setTimeout(10 * 60_000)

const NAMESPACE_GONE_MS = 60_000
const CONTROLLER = serviceAccountUser(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.controller)

const cluster = await startControlPlane({ log: () => undefined })
t.teardown(() => cluster.stop())

const [listing = '', , lines = ''] = await codeBlocks('install.md', 'Uninstall', 'sh')

/** Lines of the documentation, as somebody would paste them, all of them also after a failure. */
const paste = (input: string, variables: Record<string, string> = {}): Promise<RunResult> => {
  const env = {
    ...process.env,
    ...variables,
    KUBECONFIG: cluster.adminKubeconfig,
    KUBECACHEDIR: join(cluster.description.workDir, 'kubectl-cache'),
    KUBERC: 'off',
    PATH: `${dirname(cluster.binaries.kubectl)}${delimiter}${process.env['PATH'] ?? ''}`,
  }
  return run('/bin/sh', ['-u', '-s'], { cwd: ROOT, env, input })
}

const uninstall = (folder: string): Promise<RunResult> => paste(lines, { FOLDER: `manifests${folder === '' ? '' : `/${folder}`}` })

const OURS = /access-gate|connectors-csi|accessrequest|accesspolic|connectors-use-connectors-proxy|connectors-approvals-in-pipeline/
const KINDS = [
  'clusterroles,clusterrolebindings,customresourcedefinitions',
  'mutatingwebhookconfigurations,validatingwebhookconfigurations,validatingadmissionpolicies,validatingadmissionpolicybindings',
  'csidrivers,roles,rolebindings,serviceaccounts,secrets,configmaps,services,deployments,replicasets,daemonsets,controllerrevisions,pods,poddisruptionbudgets,leases',
].join(',')

/** What is left of access-gate in the cluster. */
const left = async (): Promise<string[]> => {
  const { stdout } = await cluster.kubectl(['get', KINDS, '-A', '-o', 'jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}{"\\n"}{end}'])
  return stdout.split('\n').filter((line) => OURS.test(line) && !line.startsWith(`Pod ${world.work}/`))
}

const namesOf = async (kind: string): Promise<string[]> => (await cluster.kubectl(['get', kind, '-A', '-o', 'name'])).stdout.split('\n').filter((line) => line !== '')

/** Somebody else's: it carries our label, and a name of its own. */
const foreignRole = (namespace: string): object => ({
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'Role',
  metadata: { name: 'not-a-grant', namespace, labels: { [LABEL.accessRequest]: 'anything', [LABEL.accessPolicy]: 'anything' } },
  rules: [],
})

const startOurs = (): Promise<Sandbox> => startSandbox({ cluster, log: () => undefined, logLevel: 'silent' })

const sandbox = await startOurs()
t.teardown(() => sandbox.stop())
const world: GatedWorld = await gatedWorld(t, cluster)

/** A request with the finalizer, and the grant that a controller made for it; neither controller nor webhook is asked. */
const leaveBehind = async (name: string): Promise<void> => {
  const namespace = world.shared
  const metadata = { name: `${GRANT_PREFIX}${name}`, namespace, labels: { [LABEL.accessRequest]: name, [LABEL.accessPolicy]: 'any' } }
  const rbac = { apiVersion: 'rbac.authorization.k8s.io/v1', metadata }
  const spec = { subject: { kind: 'ServiceAccount', name: 'builder', namespace: world.work }, connectorRef: { name: 'harbor' }, context: { objectRef: { name, namespace: world.work } } }
  const request = { apiVersion: API_VERSION, kind: 'AccessRequest', metadata: { name, namespace, finalizers: [CLEANUP_FINALIZER] }, spec }
  const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: metadata.name }
  await cluster.kubectl(['create', '-f', '-'], { input: yamlOf([request]) })
  const grant = [{ ...rbac, kind: 'Role', rules: [] }, { ...rbac, kind: 'RoleBinding', roleRef, subjects: [] }]
  await cluster.kubectl(['create', '--as', CONTROLLER, '--as-group', 'system:masters', '-f', '-'], { input: yamlOf(grant) })
}

await test('with neither controller nor webhook running, live grants and finalizers go with everything else', async (subtest) => {
  await world.connector('harbor')
  await cluster.kubectl(['apply', '-f', '-'], { input: yamlOf([foreignRole(world.shared)]) })
  const { request } = await grantedPod(world, 'granted', 'harbor')
  const { request: stripped } = await grantedPod(world, 'stripped', 'harbor')
  const waiting = await world.requestOf(await world.pod('waiting', ['harbor']))
  await sandbox.stop()
  const { roles } = await world.grantsOf(stripped)
  for (const { metadata } of roles) await cluster.kubectl(['label', 'role', '-n', world.shared, metadata.name, `${LABEL.accessRequest}-`, `${LABEL.accessPolicy}-`])
  await cluster.kubectl(['delete', 'accessrequest', '-n', world.shared, waiting.metadata.name, '--wait=false'])
  subtest.equal((await world.grantsOf(request)).bindings.length, 1)
  subtest.ok(await world.mayUse('granted', 'harbor'))
  const plain = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'plain', namespace: world.work }, spec: { containers: [{ name: 'plain', image: 'registry.example/plain:1' }], volumes: [{ name: 'a', emptyDir: {} }] } }
  await cluster.kubectl(['create', '-f', '-'], { input: yamlOf([plain]) })
  const mounting = ['granted', 'stripped', 'waiting'].map((pod) => `${world.work}/${pod}\n`).join('')
  subtest.match(await paste(listing), { code: 0, stdout: mounting, stderr: '' }, 'the Pods that are to end first')

  const { code, stderr } = await uninstall('self-signed')
  subtest.strictSame({ code, stderr }, { code: 0, stderr: '' })
  subtest.strictSame(await left(), [])
  subtest.notOk(await world.mayUse('granted', 'harbor'))
  subtest.strictSame(await namesOf('roles'), (await namesOf('roles')).filter((name) => !name.includes(GRANT_PREFIX)))
})

await test('Connectors stay, and so does what is shared or of others', async (subtest) => {
  subtest.strictSame(await namesOf('connectors.connectors.alauda.io'), ['connector.connectors.alauda.io/harbor'])
  subtest.ok((await namesOf('customresourcedefinitions')).includes('customresourcedefinition.apiextensions.k8s.io/connectorclasses.connectors.alauda.io'))
  subtest.match(await cluster.kubectl(['get', 'configmap', 'connectors-config', '-n', SYSTEM_NAMESPACE, '-o', 'name']), { stdout: 'configmap/connectors-config\n' })
  subtest.match(await cluster.kubectl(['get', 'role', 'not-a-grant', '-n', world.shared, '-o', 'name']), { stdout: 'role.rbac.authorization.k8s.io/not-a-grant\n' })
  subtest.match(await cluster.kubectl(['get', 'pod', 'granted', '-n', world.work, '-o', 'name']), { stdout: 'pod/granted\n' })
})

await test('once more changes nothing and fails nowhere', async (subtest) => {
  const { code, stderr } = await uninstall('self-signed')
  subtest.strictSame({ code, stderr }, { code: 0, stderr: '' })
  subtest.strictSame(await left(), [])
})

const isWebhook = ({ kind }: Manifest): boolean => kind.endsWith('WebhookConfiguration')

await test('half-installed, with cert-manager: what a controller left behind goes, also past webhooks that nobody serves', async (subtest) => {
  await applyCertManagerDefinitions(cluster)
  const all = await kustomize(cluster, '')
  const part = all.filter((manifest) => !isWebhook(manifest) && !['ClusterRoleBinding', 'Deployment', 'DaemonSet', 'ServiceAccount'].includes(manifest.kind))
  await cluster.kubectl(['apply', '--server-side', '-f', '-'], { input: yamlOf(part) })
  await cluster.kubectl(['wait', '--for=condition=Established', '--timeout=60s', 'crd/accessrequests.connectors.alauda.io'])
  await leaveBehind('left-1')
  await leaveBehind('left-2')
  await cluster.kubectl(['apply', '--server-side', '-f', '-'], { input: yamlOf(all.filter(isWebhook)) })
  const { code, stderr } = await uninstall('')
  subtest.strictSame({ code, stderr }, { code: 0, stderr: '' })
  subtest.strictSame(await left(), [])
  subtest.strictSame(await namesOf('certificates,issuers'), [])
})

await test('while webhook and controller still run, nothing is granted again behind it', async (subtest) => {
  const running = await startOurs()
  subtest.teardown(() => running.stop())
  await world.policy('harbor', checkedPolicy(['harbor']))
  await grantedPod(world, 'granted-again', 'harbor')
  const { code, stderr } = await uninstall('self-signed')
  subtest.strictSame({ code, stderr }, { code: 0, stderr: '' })
  await running.stop()
  subtest.strictSame(await left(), [])
})

await test('namespaces of users can be deleted afterwards', async (subtest) => {
  await cluster.kubectl(['delete', 'namespace', world.shared, world.work, '--timeout=60s'])
  await untilTrue('they are gone', async () => !(await namesOf('namespaces')).some((name) => name.includes(world.shared) || name.includes(world.work)), NAMESPACE_GONE_MS)
  subtest.pass('they are gone')
})
