import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { t, test } from 'tap'
import { parse, stringify } from 'yaml'
import { localise } from '../../hack/sandbox/manifests.ts'
import { SERVICE_ACCOUNT, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { testControlPlane } from '../support/control-plane.ts'
import { codeBlocks } from '../support/doc-blocks.ts'
import { MANIFESTS, manifestOf, parseManifests, type Manifest } from '../support/manifests.ts'
import { kustomize, yamlOf } from '../support/shipped-ground.ts'

const cluster = testControlPlane()

/** What `kubectl kustomize` makes of a folder like that of the documentation. */
const render = async (resources: string[], components: string[] = []): Promise<Manifest[]> => {
  const folder = await mkdtemp(join(tmpdir(), 'access-gate-test-'))
  try {
    const path = (name: string): string => relative(folder, join(MANIFESTS, name))
    const head = { apiVersion: 'kustomize.config.k8s.io/v1beta1', kind: 'Kustomization' }
    await writeFile(join(folder, 'kustomization.yaml'), stringify({ ...head, resources: resources.map(path), components: components.map(path) }))
    return parseManifests((await cluster.kubectl(['kustomize', folder])).stdout)
  } finally {
    await rm(folder, { recursive: true })
  }
}

const idOf = ({ kind, metadata }: Manifest): string => `${kind} ${metadata.name}`
const changed = (from: Manifest[], to: Manifest[]): string[] =>
  to.filter((manifest) => !from.some((other) => JSON.stringify(other) === JSON.stringify(manifest))).map(idOf).toSorted()

const base = await kustomize(cluster, 'extension-base')
const selfSigned = await kustomize(cluster, 'extension-self-signed')
const certManager = await kustomize(cluster, 'extension-cert-manager')
const auth = await kustomize(cluster, 'auth')

const API_SERVICES = ['v1alpha1.access.connectors.alauda.io', 'v1alpha1.connection.workspace.jupyter.org']

interface Pods {
  spec: { template: { metadata: object; spec: { containers: { image: string; args: string[] }[] } } }
}
const podsOf = (manifests: Manifest[], name: string): Manifest & Pods => manifestOf(manifests, 'Deployment', name) as Manifest & Pods
const argsOf = (manifests: Manifest[]): string[] | undefined => podsOf(manifests, SERVICE_ACCOUNT.extension).spec.template.spec.containers[0]?.args

await test('the self-signed form adds rights to its own certificate and APIServices, and the option', async (subtest) => {
  subtest.strictSame(changed(base, selfSigned), [
    'ClusterRole access-gate-extension-self-signed',
    'ClusterRoleBinding access-gate-extension-self-signed',
    'Deployment access-gate-extension',
    'Role access-gate-extension-self-signed',
    'RoleBinding access-gate-extension-self-signed',
  ])
  subtest.strictSame(argsOf(selfSigned), ['extension', '--port=7443', '--metrics-port=8080', '--self-signed'])
})

const MOUNTED = '/etc/access-gate/certificate'

await test('the form for cert-manager adds a certificate, its files, and where the CA of the APIServices comes from', async (subtest) => {
  subtest.strictSame(changed(base, certManager), [
    ...API_SERVICES.map((name) => `APIService ${name}`),
    'Certificate access-gate-extension-ca',
    'Certificate access-gate-extension-certificate',
    'Deployment access-gate-extension',
    'Issuer access-gate-extension-ca',
    'Issuer access-gate-extension-root',
  ])
  subtest.strictSame(argsOf(certManager), ['extension', '--port=7443', '--metrics-port=8080', `--tls-cert-file=${MOUNTED}/tls.crt`, `--tls-key-file=${MOUNTED}/tls.key`])
  for (const name of API_SERVICES)
    subtest.strictSame(manifestOf(certManager, 'APIService', name).metadata.annotations, { 'cert-manager.io/inject-ca-from': `${SYSTEM_NAMESPACE}/access-gate-extension-certificate` })
  subtest.match(manifestOf(certManager, 'Certificate', 'access-gate-extension-certificate'), {
    spec: { secretName: 'access-gate-extension-certificate', dnsNames: [`access-gate-extension.${SYSTEM_NAMESPACE}.svc`, `access-gate-extension.${SYSTEM_NAMESPACE}.svc.cluster.local`] },
  })
})

await test('with tokens of callers it has one right more', async (subtest) => {
  const tokens = await render(['extension-self-signed'], ['extension-token-review'])
  subtest.strictSame(changed(selfSigned, tokens), ['ClusterRole access-gate-extension-token-review', 'ClusterRoleBinding access-gate-extension-token-review', 'Deployment access-gate-extension'])
  subtest.ok(argsOf(tokens)?.includes('--authenticate-tokens'))
})

await test('the folder of the documentation is one, in either form, and nothing of it is there twice', async (subtest) => {
  const [text = ''] = await codeBlocks('install.md', 'Reviews and auth', 'yaml')
  const { resources } = parse(text) as { resources: string[] }
  const folders = resources.map((resource) => resource.replace('../access-gate/manifests', '.'))
  subtest.strictSame(folders, ['.', './extension-cert-manager', './auth'])
  const all = await render(folders)
  subtest.equal(all.length, (await render(['.'])).length + certManager.length + auth.length)
  const other = await render(['self-signed', 'extension-self-signed', 'auth', 'workspace-crds'], ['extension-token-review', 'client-ca', 'csi-tmpfs'])
  subtest.ok(other.some((manifest) => idOf(manifest) === 'Deployment access-gate-auth'))
})

const applied = (manifests: Manifest[]) =>
  cluster.kubectl(['apply', '--server-side', '--dry-run=server', '--validate=strict', '--force-conflicts', '-f', '-'], { input: yamlOf(manifests), allowFailure: true })

await test('the API server takes every object of both forms and of auth, without a warning', async (subtest) => {
  const known = certManager.filter(({ apiVersion }) => !apiVersion.startsWith('cert-manager.io/'))
  for (const manifests of [selfSigned, known, auth]) subtest.match(await applied(manifests), { code: 0, stderr: '' })
})

await test('their Pods are admitted where Pod Security enforces "restricted", those of the jobs too', async (subtest) => {
  const namespace = await cluster.namespace('restricted')
  t.teardown(() => cluster.kubectl(['delete', 'namespace', namespace, '--wait=false']))
  await cluster.kubectl(['label', 'namespace', namespace, 'pod-security.kubernetes.io/enforce=restricted', 'pod-security.kubernetes.io/enforce-version=latest'])
  for (const name of [SERVICE_ACCOUNT.extension, SERVICE_ACCOUNT.auth, SERVICE_ACCOUNT.rotateKeys]) await cluster.kubectl(['create', 'serviceaccount', name, '-n', namespace])
  const templates = [...selfSigned, ...auth].flatMap((manifest) => {
    if (manifest.kind === 'Deployment') return [{ name: manifest.metadata.name, ...(manifest as Manifest & Pods).spec.template }]
    if (manifest.kind === 'CronJob') return [{ name: manifest.metadata.name, ...(manifest['spec'] as { jobTemplate: Pods }).jobTemplate.spec.template }]
    return []
  })
  subtest.equal(templates.length, 4)
  for (const { name, metadata, spec } of templates) {
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { ...metadata, name, namespace }, spec }
    subtest.match(await cluster.kubectl(['create', '--dry-run=server', '-f', '-'], { input: yamlOf([pod]), allowFailure: true }), { code: 0, stderr: '' }, name)
  }
})

await test('the settings of the documentation are a patch of the ConfigMap, and a policy of the network names who may reach auth', async (subtest) => {
  const [text = ''] = await codeBlocks('connections.md', 'Settings', 'yaml')
  const { patches } = parse(text) as { patches: { patch: string }[] }
  const { data } = parse(patches[0]?.patch ?? '') as { data: Record<string, string> }
  subtest.strictSame(Object.keys(data), ['OIDC_ISSUER_URL', 'OIDC_CLIENT_ID', 'TRUSTED_PROXIES', 'ENABLE_LOGIN', 'ENABLE_BEARER_URL_AUTH'])
  subtest.ok(Object.values(data).every((value) => typeof value === 'string'), 'a ConfigMap holds text alone')
})

await test('in the sandbox an APIService leads to a port of this machine, and is otherwise as shipped', async (subtest) => {
  for (const name of API_SERVICES) {
    const shipped = manifestOf(base, 'APIService', name)
    const { service, ...spec } = shipped['spec'] as { service: object }
    subtest.strictSame(localise(shipped, 1234), { ...shipped, spec: { ...spec, service: { ...service, port: 1234 } } })
  }
})

await test('who uninstalls takes the APIServices away first, and every Secret that the manifests do not hold', async (subtest) => {
  const [, , lines = ''] = await codeBlocks('install.md', 'Uninstall', 'sh')
  const [first = ''] = lines.split('\n').filter((line) => line.startsWith('kubectl'))
  for (const name of API_SERVICES) subtest.match(first, name)
  for (const name of ['extension-tls', 'extension-certificate', 'extension-ca', 'auth-oidc']) subtest.match(lines, `secret/access-gate-${name}`)
})
