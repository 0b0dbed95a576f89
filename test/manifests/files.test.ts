import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'tap'
import { parse } from 'yaml'
import { MANIFESTS, readManifests } from '../support/manifests.ts'

const entries = await readdir(MANIFESTS, { withFileTypes: true })
const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)

await test('beside the folders there is the kustomization of the form for cert-manager alone', async (t) => {
  t.strictSame(entries.filter((entry) => !entry.isDirectory()).map(({ name }) => name), ['kustomization.yaml'])
  t.match(parse(await readFile(join(MANIFESTS, 'kustomization.yaml'), 'utf8')), { resources: ['cert-manager'] })
})

for (const folder of folders) {
  const files = (await readdir(join(MANIFESTS, folder))).filter((file) => file !== 'kustomization.yaml')

  await test(`${folder}: every file is numbered by its place in the installation and listed in that order`, async (t) => {
    const { resources = [] }: { resources?: string[] } = parse(await readFile(join(MANIFESTS, folder, 'kustomization.yaml'), 'utf8'))
    const own = resources.filter((resource) => !resource.startsWith('../'))
    const numbers = own.map((file) => Number(/^([1-8]00)-[a-z-]+\.yaml$/.exec(file)?.[1]))
    t.strictSame(own.toSorted(), files.toSorted())
    t.strictSame(numbers, numbers.toSorted((a, b) => a - b))
  })

  await test(`${folder}: no two objects are the same, and all with a namespace are in that of the components, but for one that reads in kube-system`, async (t) => {
    const manifests = await readManifests(folder)
    const ids = manifests.map(({ apiVersion, kind, metadata }) => `${apiVersion} ${kind} ${metadata.namespace ?? ''}/${metadata.name}`)
    t.strictSame(ids, [...new Set(ids)])
    const elsewhere = manifests.filter(({ metadata }) => ![undefined, 'connectors-system'].includes(metadata.namespace))
    t.strictSame(
      elsewhere.map(({ kind, metadata }) => `${kind} ${metadata.namespace}/${metadata.name}`),
      manifests.some(({ kind }) => kind === 'APIService') ? ['RoleBinding kube-system/access-gate-extension-authentication-reader'] : [],
    )
  })
}
