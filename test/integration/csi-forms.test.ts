import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { t, test } from 'tap'
import { parse, stringify } from 'yaml'
import { CSI_DRIVER, SERVICE_ACCOUNT } from '../../src/api/names.ts'
import { testControlPlane } from '../support/control-plane.ts'
import { codeBlocks } from '../support/doc-blocks.ts'
import { MANIFESTS, manifestOf, parseManifests, type Manifest } from '../support/manifests.ts'
import { applyShippedGround, kustomize, yamlOf } from '../support/shipped-ground.ts'

const cluster = testControlPlane()
await applyShippedGround(cluster)

/** What `kubectl kustomize` makes of a folder like that of the documentation: a form, components, and more. */
const render = async (form: string, components: string[] = [], more: object = {}): Promise<Manifest[]> => {
  const folder = await mkdtemp(join(tmpdir(), 'access-gate-test-'))
  try {
    const path = (name: string): string => relative(folder, join(MANIFESTS, name))
    const head = { apiVersion: 'kustomize.config.k8s.io/v1beta1', kind: 'Kustomization' }
    await writeFile(join(folder, 'kustomization.yaml'), stringify({ ...head, ...more, resources: [path(form)], components: components.map(path) }))
    return parseManifests((await cluster.kubectl(['kustomize', folder])).stdout)
  } finally {
    await rm(folder, { recursive: true })
  }
}

interface Template {
  spec: { template: { metadata: object; spec: { containers: { args: string[]; securityContext: object; volumeMounts: object[] }[] } } }
}
const pluginOf = (manifests: Manifest[]): Manifest & Template => manifestOf(manifests, 'DaemonSet', SERVICE_ACCOUNT.csi) as Manifest & Template
const containerOf = (manifests: Manifest[]) => pluginOf(manifests).spec.template.spec.containers[0]

const idOf = ({ kind, metadata }: Manifest): string => `${kind} ${metadata.name}`
const changed = (from: Manifest[], to: Manifest[]): string[] =>
  to.filter((manifest) => !from.some((other) => JSON.stringify(other) === JSON.stringify(manifest))).map(idOf).toSorted()

/** As whoever installed what is there, so that a form that holds less takes away what it does not hold. */
const dryRun = (objects: object[]) =>
  cluster.kubectl(['apply', '--server-side', '--dry-run=server', '--force-conflicts', '-f', '-'], { input: yamlOf(objects), allowFailure: true })

/** The definitions of cert-manager are not here; its objects have tests of their own. */
const known = (manifests: Manifest[]): Manifest[] => manifests.filter(({ apiVersion }) => !apiVersion.startsWith('cert-manager.io/'))

for (const form of ['cert-manager', 'self-signed']) {
  const plain = await render(form)

  await test(`${form}: the plugin is part of the installation`, async (subtest) => {
    subtest.strictSame(plain.map(idOf).filter((id) => /csi/.test(id)).toSorted(), [
      'CSIDriver connectors-csi',
      'ClusterRole access-gate-csi',
      'ClusterRoleBinding access-gate-csi',
      'DaemonSet access-gate-csi',
      'Role access-gate-csi',
      'RoleBinding access-gate-csi',
      'ServiceAccount access-gate-csi',
    ])
  })

  await test(`${form}: with tmpfs the plugin is privileged and mounts for the node to see, and nothing else is different`, async (subtest) => {
    const tmpfs = await render(form, ['csi-tmpfs'])
    subtest.strictSame(changed(plain, tmpfs), ['DaemonSet access-gate-csi'])
    subtest.strictSame(containerOf(tmpfs)?.args, ['csi', '--metrics-port=8080', '--tmpfs'])
    subtest.strictSame(containerOf(tmpfs)?.securityContext, { privileged: true, readOnlyRootFilesystem: true })
    subtest.strictSame(
      containerOf(tmpfs)?.volumeMounts,
      containerOf(plain)?.volumeMounts.map((mount) => ('name' in mount && mount.name === 'pods' ? { ...mount, mountPropagation: 'Bidirectional' } : mount)),
    )
    const [was, is] = [plain, tmpfs].map((manifests) => ({ ...pluginOf(manifests).spec.template.spec, containers: [] }))
    subtest.strictSame(is, was)
  })

  await test(`${form}: with tokens of its own the plugin has one right more, and a policy on it`, async (subtest) => {
    const tokens = await render(form, ['csi-token-api'])
    subtest.strictSame(changed(plain, tokens), [
      'ClusterRole access-gate-csi-token-api',
      'ClusterRoleBinding access-gate-csi-token-api',
      'DaemonSet access-gate-csi',
      'ValidatingAdmissionPolicy access-gate-csi-tokens',
      'ValidatingAdmissionPolicyBinding access-gate-csi-tokens',
    ])
    subtest.strictSame(containerOf(tokens)?.args, ['csi', '--metrics-port=8080', '--token-api'])
    subtest.strictSame(containerOf(tokens)?.securityContext, containerOf(plain)?.securityContext)
  })

  await test(`${form}: with tokens apart from the attributes of the volume, the driver alone is different`, async (subtest) => {
    const secrets = await render(form, ['csi-token-secrets'])
    subtest.strictSame(changed(plain, secrets), [`CSIDriver ${CSI_DRIVER}`])
    const [was, is] = [plain, secrets].map((manifests) => manifestOf(manifests, 'CSIDriver', CSI_DRIVER))
    subtest.strictSame(is, { ...was, spec: { ...(was?.['spec'] as object), serviceAccountTokenInSecrets: true } })
  })

  await test(`${form}: all components go together, and the API server takes what comes out, without a warning`, async (subtest) => {
    const all = await render(form, ['csi-tmpfs', 'csi-token-secrets', 'csi-token-api', 'client-ca'])
    subtest.strictSame(containerOf(all)?.args, ['csi', '--metrics-port=8080', '--tmpfs', '--token-api'])
    for (const manifests of [plain, all]) subtest.match(await dryRun(known(manifests)), { code: 0, stderr: '' })
  })
}

const base = await kustomize(cluster, 'base')

/** The Pod that a DaemonSet makes. */
const podOf = (manifests: Manifest[], namespace: string): object => {
  const { metadata, spec } = pluginOf(manifests).spec.template
  return { apiVersion: 'v1', kind: 'Pod', metadata: { ...metadata, name: 'plugin', namespace }, spec }
}

const podSecurity = async (level: string): Promise<string> => {
  const namespace = await cluster.namespace(level)
  t.teardown(() => cluster.kubectl(['delete', 'namespace', namespace, '--wait=false']))
  await cluster.kubectl(['label', 'namespace', namespace, `pod-security.kubernetes.io/enforce=${level}`, 'pod-security.kubernetes.io/enforce-version=latest'])
  await cluster.kubectl(['create', 'serviceaccount', SERVICE_ACCOUNT.csi, '-n', namespace])
  return namespace
}

const create = (object: object) => cluster.kubectl(['create', '--dry-run=server', '-f', '-'], { input: yamlOf([object]), allowFailure: true })

await test('the folders of kubelet are all that keeps the plugin from the Pod Security level "baseline"', async (subtest) => {
  const namespace = await podSecurity('baseline')
  const { code, stderr } = await create(podOf(base, namespace))
  subtest.equal(code, 1)
  subtest.equal(stderr.replace(/^.*?(violates)/s, '$1').trim(), 'violates PodSecurity "baseline:latest": hostPath volumes (volumes "plugin", "registration", "pods")')
})

await test('at the level "privileged" it is admitted, with tmpfs too', async (subtest) => {
  const namespace = await podSecurity('privileged')
  for (const manifests of [base, await render('base', ['csi-tmpfs'])]) subtest.match(await create(podOf(manifests, namespace)), { code: 0, stderr: '' })
})

await test('Kubernetes gives the mount propagation that tmpfs needs to privileged containers alone', async (subtest) => {
  const daemonSet = pluginOf(await render('base', ['csi-tmpfs']))
  for (const container of daemonSet.spec.template.spec.containers) container.securityContext = { capabilities: { add: ['SYS_ADMIN'] } }
  subtest.match(await dryRun([daemonSet]), { code: 1, stderr: /Bidirectional mount propagation is available only to privileged containers/ })
})

await test('the patch of the documentation for another root of kubelet', async (subtest) => {
  const patch = parse((await codeBlocks('install.md', 'The plugin', 'yaml')).find((block) => block.includes('--kubelet-dir')) ?? '') as object
  for (const components of [[], ['csi-tmpfs']]) {
    const elsewhere = await render('base', components, patch)
    subtest.strictSame(changed(base, elsewhere), ['DaemonSet access-gate-csi'])
    subtest.notMatch(JSON.stringify(pluginOf(elsewhere)), '/var/lib/kubelet')
    subtest.match(await dryRun([pluginOf(elsewhere)]), { code: 0, stderr: '' })
  }
})

await test('the components of the documentation are those that there are', async (subtest) => {
  const blocks = await codeBlocks('install.md', 'The plugin', 'yaml')
  const { components } = parse(blocks.find((block) => block.includes('components:')) ?? '') as { components: string[] }
  const there = (await readdir(MANIFESTS)).filter((name) => name.startsWith('csi-')).map((name) => `../access-gate/manifests/${name}`)
  subtest.strictSame(components.toSorted(), there.toSorted())
})

await test('an API server refuses an object with a field that it does not know, so the base has none that is newer than the oldest supported one', async (subtest) => {
  const driver = manifestOf(base, 'CSIDriver', CSI_DRIVER)
  const newer = { ...driver, spec: { ...(driver['spec'] as object), notYetKnown: true } }
  subtest.match(await dryRun([newer]), { code: 1, stderr: /notYetKnown/ })
})
