import { writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { t, test } from 'tap'
import { parse, stringify } from 'yaml'
import { SERVICE_ACCOUNT } from '../../src/api/names.ts'
import { codeBlocks } from '../support/doc-blocks.ts'
import { ROOT } from '../support/dockerfile.ts'
import { testControlPlane } from '../support/control-plane.ts'
import { MANIFESTS, manifestOf, type Manifest } from '../support/manifests.ts'
import { kustomize, yamlOf } from '../support/shipped-ground.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const cluster = testControlPlane()

const overlay = async (kustomization: object): Promise<string> => {
  const folder = await temporaryFolder(t)
  await writeFile(join(folder, 'kustomization.yaml'), stringify(kustomization))
  return folder
}

const isDeployment = ({ kind }: Manifest): boolean => kind === 'Deployment'
interface Template {
  template: { metadata: object; spec: { containers: { image: string }[] } }
}
const templateOf = ({ spec }: Manifest): Template['template'] => (spec as Template).template

await test('the folder of the documentation names the image that it says', async (subtest) => {
  const [text = ''] = await codeBlocks('install.md', 'Image', 'yaml')
  const written = parse(text) as { resources: string[]; images: { newName: string; newTag: string }[] }
  const [image] = written.images
  const [build = ''] = await codeBlocks('install.md', 'Image', 'sh')
  subtest.match(build, `docker build -t ${image?.newName}:${image?.newTag} .`)
  for (const form of ['.', 'self-signed']) {
    const folder = await overlay({ ...written, resources: [relative(await temporaryFolder(t), join(MANIFESTS, form))] })
    const { stdout } = await cluster.kubectl(['kustomize', folder])
    const images = [...stdout.matchAll(/^ +(?:- )?image: (.+)$/gm)].map(([, name]) => name)
    subtest.strictSame(images, Array.from({ length: 3 }, () => `${image?.newName}:${image?.newTag}`), form)
  }
})

await test('the policy of the documentation is admitted by the webhook, as a dry run', async (subtest) => {
  const text = (await codeBlocks('install.md', 'See that it works', 'console')).join('')
  const [, command = '', said] = /^\$ kubectl (create .+)\n(.+)$/m.exec(text) ?? []
  const { stdout } = await cluster.kubectl(command.split(' ').map((word) => (word.startsWith('docs/') ? join(ROOT, word) : word)))
  subtest.equal(stdout.trim(), said)
})

await test('the NetworkPolicy of the documentation is one, and is for the Pods of the webhook', async (subtest) => {
  const policy = (await codeBlocks('install.md', 'Only the API server may call the webhooks', 'yaml')).find((text) => text.includes('kind: NetworkPolicy')) ?? ''
  await cluster.kubectl(['create', '--dry-run=server', '-f', '-'], { input: policy })
  const { selector } = manifestOf(await kustomize(cluster, 'base'), 'Deployment', SERVICE_ACCOUNT.webhook)['spec'] as { selector: object }
  subtest.match(parse(policy), { spec: { podSelector: selector } })
})

const isDefinition = (name: string): boolean => name.startsWith('customresourcedefinition')

await test('on the way back to an older version the definitions are left out, and nothing else', async (subtest) => {
  const apply = ['apply', '--server-side', '--force-conflicts', '--dry-run=server', '-o', 'name', '-k', join(MANIFESTS, 'self-signed')]
  const [all, without] = await Promise.all([apply, [...apply, '-l', '!group']].map(async (args) => (await cluster.kubectl(args)).stdout.trim().split('\n')))
  subtest.equal(all?.filter(isDefinition).length, 2)
  subtest.strictSame(without, all?.filter((name) => !isDefinition(name)))
})

for (const form of ['.', 'self-signed']) {
  await test(`the Pods of the form ${form} are admitted where Pod Security enforces "restricted", also with the client CA`, async (subtest) => {
    const namespace = await cluster.namespace('restricted')
    await cluster.kubectl(['label', 'namespace', namespace, 'pod-security.kubernetes.io/enforce=restricted', 'pod-security.kubernetes.io/enforce-version=latest'])
    for (const name of [SERVICE_ACCOUNT.webhook, SERVICE_ACCOUNT.controller]) await cluster.kubectl(['create', 'serviceaccount', name, '-n', namespace])
    const here = await temporaryFolder(t)
    const path = (name: string): string => relative(here, join(MANIFESTS, name))
    const folder = await overlay({ kind: 'Kustomization', resources: [path(form)], components: [path('client-ca')] })
    const { stdout } = await cluster.kubectl(['kustomize', folder])
    const deployments = stdout.split('\n---\n').map((text) => parse(text) as Manifest).filter(isDeployment)
    subtest.equal(deployments.length, 2)
    for (const deployment of deployments) {
      const { metadata, spec } = templateOf(deployment)
      const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { ...metadata, name: deployment.metadata.name, namespace }, spec }
      const create = (object: object) => cluster.kubectl(['create', '--dry-run=server', '-f', '-'], { input: yamlOf([object]), allowFailure: true })
      subtest.match(await create(pod), { code: 0, stderr: '' }, deployment.metadata.name)
      const loose = { ...pod, spec: { ...spec, securityContext: {} } }
      subtest.match(await create(loose), { code: 1, stderr: /violates PodSecurity "restricted:latest"/ }, 'and the level is enforced')
    }
  })
}
