import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'tap'
import { cacheRoot, fillAtomically } from '../../../hack/control-plane/cache.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

await test('the cache is outside of any checkout, where the platform keeps caches', async (t) => {
  t.equal(cacheRoot({ env: {}, platform: 'linux', home: '/home/me' }), '/home/me/.cache/access-gate/control-plane')
  t.equal(cacheRoot({ env: {}, platform: 'darwin', home: '/Users/me' }), '/Users/me/Library/Caches/access-gate/control-plane')
  t.equal(cacheRoot({ env: { XDG_CACHE_HOME: '/var/c' }, platform: 'darwin', home: '/Users/me' }), '/var/c/access-gate/control-plane')
  t.equal(cacheRoot({ env: {}, platform: 'linux', home: '/home/me' }, 'go-programs'), '/home/me/.cache/access-gate/go-programs')
  t.equal(cacheRoot({ env: { XDG_CACHE_HOME: 'relative' }, platform: 'linux', home: '/home/me' }), '/home/me/.cache/access-gate/control-plane')
})

await test('a filled folder appears at once, with everything in it', async (t) => {
  const root = join(await temporaryFolder(t), 'cache')
  const path = await fillAtomically(root, 'v1', async (folder) => {
    t.notOk(existsSync(join(root, 'v1')))
    await writeFile(join(folder, 'etcd'), 'x')
  })
  t.equal(path, join(root, 'v1'))
  t.strictSame(await readdir(root), ['v1'])
  t.equal(await readFile(join(path, 'etcd'), 'utf8'), 'x')
})

await test('a filling that fails leaves nothing', async (t) => {
  const root = await temporaryFolder(t)
  const filling = fillAtomically(root, 'v1', async (folder) => {
    await writeFile(join(folder, 'etcd'), 'x')
    throw new Error('half way')
  })
  await t.rejects(filling, new Error('half way'))
  t.strictSame(await readdir(root), [])
})

await test('an incomplete folder is replaced, and what a killed process left is removed', async (t) => {
  const root = await temporaryFolder(t)
  await mkdir(join(root, 'v1'))
  await mkdir(join(root, '.partial-abc'))
  await writeFile(join(root, 'v1', 'old'), 'x')
  await fillAtomically(root, 'v1', (folder) => writeFile(join(folder, 'new'), 'x'))
  t.strictSame(await readdir(root), ['v1'])
  t.strictSame(await readdir(join(root, 'v1')), ['new'])
})
