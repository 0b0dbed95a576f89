import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'tap'
import { BUILD_VERSION, GO_MODULE_FOLDER } from '../../../hack/control-plane/programs.ts'
import { machineProblem } from '../../../hack/node/programs.ts'
import { namespacedIds } from '../../../hack/node/namespaces.ts'

const NODE = join(import.meta.dirname, '..', '..', '..', 'hack', 'node')

await test('a node needs Linux and root', (t) => {
  t.equal(machineProblem('linux', 0), undefined)
  t.match(machineProblem('linux', 1000), /^no node: kubelet and containerd need root; /)
  t.match(machineProblem('darwin', 0), /^no node: kubelet and containerd run on Linux alone, and this is darwin; /)
  t.match(machineProblem('win32', undefined), /run on Linux alone/)
  t.end()
})

const versionsIn = async (folder: string): Promise<string[]> => {
  const text = await readFile(join(folder, 'go.mod'), 'utf8')
  return text.match(/k8s\.io\/kubernetes v\S+|=> k8s\.io\/api v\S+/g) ?? []
}

await test('kubelet is built from the same release as the control plane', async (t) => {
  const versions = await versionsIn(join(NODE, 'kubelet'))
  t.strictSame(versions, await versionsIn(GO_MODULE_FOLDER))
  t.strictSame(versions[0], `k8s.io/kubernetes ${BUILD_VERSION}`)
})

await test('of a process in namespaces, the last id is its own', (t) => {
  t.strictSame(namespacedIds('Name:\tkubelet\nNStgid:\t812\t7\nNSpid:\t812\t7\nNSpgid:\t812\t7\n'), [812, 7])
  t.strictSame(namespacedIds('Name:\tinit\nNSpid:\t1\n'), [1])
  t.strictSame(namespacedIds(''), [])
  t.end()
})
