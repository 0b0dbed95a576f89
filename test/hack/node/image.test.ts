import { createHash } from 'node:crypto'
import { readFile, readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import { run } from '../../../hack/control-plane/run.ts'
import { packImage, type ImageFacts } from '../../../hack/node/image.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

const FACTS: ImageFacts = {
  name: 'example.invalid/thing:1',
  programName: 'thing',
  // Longer than a block of the archive, and no multiple of one.
  program: Buffer.from('#!/bin/sh\n'.repeat(100)),
  architecture: 'amd64',
  defaultArguments: ['pause'],
}

const unpack = async (t: Test, archive: Buffer): Promise<string> => {
  const folder = await temporaryFolder(t)
  await writeFile(join(folder, 'archive.tar'), archive)
  const { code, stderr } = await run('tar', ['-xf', 'archive.tar'], { cwd: folder })
  t.equal(stderr, '')
  t.equal(code, 0)
  return folder
}

const readJson = async (file: string): Promise<Record<string, unknown>> => JSON.parse(await readFile(file, 'utf8'))

interface Descriptor {
  digest: string
  size: number
}

await test('the archive is an OCI layout: each blob is what its name says, and the descriptors lead from one to the next', async (t) => {
  const folder = await unpack(t, packImage(FACTS))
  t.strictSame(await readJson(join(folder, 'oci-layout')), { imageLayoutVersion: '1.0.0' })
  const blobOf = async ({ digest, size }: Descriptor): Promise<Buffer> => {
    const content = await readFile(join(folder, 'blobs', digest.replace(':', '/')))
    t.equal(`sha256:${createHash('sha256').update(content).digest('hex')}`, digest)
    t.equal(content.length, size)
    return content
  }
  const index = (await readJson(join(folder, 'index.json'))) as { manifests: (Descriptor & { annotations: object })[] }
  t.equal(index.manifests.length, 1)
  t.strictSame(index.manifests[0]?.annotations, { 'io.containerd.image.name': 'example.invalid/thing:1' })
  const manifest: { config: Descriptor; layers: Descriptor[] } = JSON.parse(String(await blobOf(index.manifests[0] ?? { digest: '', size: 0 })))
  const [layer = { digest: '', size: 0 }] = manifest.layers
  t.strictSame(JSON.parse(String(await blobOf(manifest.config))), {
    architecture: 'amd64',
    os: 'linux',
    config: { Entrypoint: ['/thing'], Cmd: ['pause'] },
    rootfs: { type: 'layers', diff_ids: [layer.digest] },
  })
  const root = await unpack(t, await blobOf(layer))
  t.strictSame((await readdir(root)).filter((name) => name !== 'archive.tar'), ['thing'])
  t.strictSame(await readFile(join(root, 'thing')), FACTS.program)
  t.equal((await stat(join(root, 'thing'))).mode & 0o777, 0o755)
})

await test('the same program is the same image, another one is another', (t) => {
  t.strictSame(packImage(FACTS), packImage({ ...FACTS }))
  t.notSame(packImage(FACTS), packImage({ ...FACTS, program: Buffer.from('other') }))
  t.end()
})
