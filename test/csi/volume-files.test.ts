import { chmod, chown, link, lstat, mkdir, open, readdir, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import { plainFiles } from '../../src/csi/volume-files.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

/** A volume as kubelet prepares it: the parent of the target is there, the target is not. */
const volume = async (t: Test) => {
  const outside = await temporaryFolder(t)
  const parent = join(outside, 'volume')
  await mkdir(parent)
  await writeFile(join(outside, 'precious'), 'kept')
  return { outside, parent, target: join(parent, 'mount') }
}

const filesOf = (files: Record<string, string>): ReadonlyMap<string, string> => new Map(Object.entries(files))

/** What a reader sees: names and contents. */
const contentOf = async (folder: string): Promise<Record<string, string>> => {
  const names = (await readdir(folder)).toSorted()
  return Object.fromEntries(await Promise.all(names.map(async (name): Promise<[string, string]> => [name, await readFile(join(folder, name), 'utf8')])))
}

const modeOf = async (path: string): Promise<string> => ((await lstat(path)).mode & 0o7777).toString(8)

const FILES = filesOf({ '.env': 'A=1\n', 'http.proxy': 'http://proxy', 'ca.crt': '', 'ünïcode': 'ü'.repeat(10_000) })

await test('a volume that is not there appears with all its files, which everybody may read and nobody write', async (t) => {
  const { parent, target } = await volume(t)
  t.equal(await plainFiles.look(target), undefined)
  await plainFiles.write(target, FILES, undefined)
  t.strictSame(await contentOf(target), Object.fromEntries(FILES))
  t.equal(await modeOf(target), '755')
  for (const name of FILES.keys()) t.equal(await modeOf(join(target, name)), '444')
  t.strictSame(await readdir(parent), ['mount'])
  t.strictSame(await plainFiles.look(target), [...FILES.keys()].toSorted())
})

await test('a volume may hold no file at all', async (t) => {
  const { target } = await volume(t)
  await plainFiles.write(target, new Map(), undefined)
  t.strictSame(await plainFiles.look(target), [])
})

const ownGroup = process.getgid?.() ?? 0

for (const [who, group] of [
  ['its own group', ownGroup],
  ['a group that it is no member of', 54_321],
] as const) {
  await test(`with ${who} the files are that group's alone`, async (t) => {
    const { target } = await volume(t)
    if (group !== ownGroup && process.getuid?.() !== 0) {
      await t.rejects(plainFiles.write(target, FILES, group), { code: 'INTERNAL', message: /give the plugin the capability CHOWN/ })
      t.equal(await plainFiles.look(target), undefined)
      return
    }
    await plainFiles.write(target, FILES, group)
    for (const path of [target, ...[...FILES.keys()].map((name) => join(target, name))]) t.equal((await lstat(path)).gid, group)
    t.equal(await modeOf(target), '750')
    t.equal(await modeOf(join(target, '.env')), '440')

    await plainFiles.write(target, FILES, undefined)
    t.equal(await modeOf(target), '755')
    t.equal(await modeOf(join(target, '.env')), '444')
    await plainFiles.write(target, FILES, group)
    t.equal(await modeOf(join(target, '.env')), '440')
  })
}

await test('a later write replaces what changed, leaves what did not, and removes what does not belong', async (t) => {
  const { target } = await volume(t)
  await plainFiles.write(target, filesOf({ same: '1', changed: '1', gone: '1' }), undefined)
  const before = { folder: await stat(target), same: await stat(join(target, 'same')) }
  const reader = await open(join(target, 'changed'))
  await plainFiles.write(target, filesOf({ same: '1', changed: '2', added: '3' }), undefined)
  t.strictSame(await contentOf(target), { same: '1', changed: '2', added: '3' })
  t.equal((await stat(target)).ino, before.folder.ino, 'a container keeps its mount of the folder')
  t.equal((await stat(join(target, 'same'))).ino, before.same.ino)
  t.equal(await reader.readFile('utf8'), '1', 'who had a file open reads what it was')
  await reader.close()
})

await test('an empty folder is filled as it is: a container may have it mounted', async (t) => {
  const { target } = await volume(t)
  await mkdir(target)
  const { ino } = await stat(target)
  await plainFiles.write(target, FILES, undefined)
  t.strictSame(await contentOf(target), Object.fromEntries(FILES))
  t.equal((await stat(target)).ino, ino)
})

/** What somebody, or a plugin that was killed, left in a volume that holds `a: old`. */
const leftovers: Record<string, (place: { outside: string; parent: string; target: string }) => Promise<unknown>> = {
  'a file that was half written': ({ target }) => writeFile(join(target, '.access-gate-new-0'), 'half'),
  'a folder beside the target that was half filled': async ({ parent }) => {
    await mkdir(join(parent, '.access-gate-new-mount'))
    await writeFile(join(parent, '.access-gate-new-mount', 'a'), 'half')
  },
  'a link in the place of a file': async ({ target, outside }) => {
    await rm(join(target, 'a'), { force: true })
    await symlink(join(outside, 'precious'), join(target, 'a'))
  },
  'a link in the place of a half-written file': ({ target, outside }) => symlink(join(outside, 'precious'), join(target, '.access-gate-new-0')),
  'a link in the place of the folder beside it': ({ parent, outside }) => symlink(outside, join(parent, '.access-gate-new-mount')),
  'a link to a folder': ({ target, outside }) => symlink(outside, join(target, 'more')),
  'a second name of a file elsewhere': async ({ target, outside }) => {
    await rm(join(target, 'a'), { force: true })
    await link(join(outside, 'precious'), join(target, 'a'))
  },
  'a folder in the place of a file': async ({ target, outside }) => {
    await rm(join(target, 'a'), { force: true })
    await mkdir(join(target, 'a', 'deep'), { recursive: true })
    await symlink(outside, join(target, 'a', 'deep', 'link'))
  },
  'a file of the same content that everybody may write': async ({ target }) => {
    await rm(join(target, 'a'), { force: true })
    await writeFile(join(target, 'a'), 'new')
    await chmod(join(target, 'a'), 0o666)
  },
  'a folder that everybody may write': ({ target }) => chmod(target, 0o777),
}

for (const [sentence, leave] of Object.entries(leftovers)) {
  await test(`${sentence} is repaired by the next write, and nothing elsewhere is touched`, async (t) => {
    const place = await volume(t)
    await plainFiles.write(place.target, filesOf({ a: 'old' }), undefined)
    await leave(place)
    await plainFiles.write(place.target, filesOf({ a: 'new', b: 'new' }), undefined)
    t.strictSame(await contentOf(place.target), { a: 'new', b: 'new' })
    t.ok((await lstat(join(place.target, 'a'))).isFile())
    t.equal(await modeOf(join(place.target, 'a')), '444')
    t.equal(await modeOf(place.target), '755')
    t.strictSame(await readdir(place.parent), ['mount'])
    t.equal(await readFile(join(place.outside, 'precious'), 'utf8'), 'kept')
    t.not(await modeOf(join(place.outside, 'precious')), '444')
  })

  await test(`${sentence} is removed with the volume, and nothing elsewhere is touched`, async (t) => {
    const place = await volume(t)
    await plainFiles.write(place.target, filesOf({ a: 'old' }), undefined)
    await leave(place)
    await plainFiles.remove(place.target)
    t.strictSame(await readdir(place.parent), [])
    t.equal(await readFile(join(place.outside, 'precious'), 'utf8'), 'kept')
    await plainFiles.remove(place.target)
  })
}

await test('a half-written file is no file of the volume', async (t) => {
  const { target } = await volume(t)
  await plainFiles.write(target, filesOf({ a: '1' }), undefined)
  await writeFile(join(target, '.access-gate-new-3'), 'half')
  t.strictSame(await plainFiles.look(target), ['a'])
})

await test('a link or a file in the place of the target is not written through, is no volume, and is removed as itself', async (t) => {
  const { outside, parent, target } = await volume(t)
  await symlink(outside, target)
  await t.rejects(plainFiles.write(target, FILES, undefined), { name: 'CsiError', code: 'INTERNAL', message: `the files of the volume cannot be written to ${target}: it is no folder; remove it on the node` })
  t.equal(await plainFiles.look(target), undefined)
  t.equal(await readlink(target), outside)
  await plainFiles.remove(target)
  t.strictSame(await readdir(parent), [])
  t.strictSame((await readdir(outside)).toSorted(), ['precious', 'volume'])

  await writeFile(target, 'file')
  await t.rejects(plainFiles.write(target, FILES, undefined), { code: 'INTERNAL' })
  t.equal(await plainFiles.look(target), undefined)
  await plainFiles.remove(target)
  t.strictSame(await readdir(parent), [])
})

for (const name of ['', '.', '..', '../precious', 'a/b', '/etc/x', 'a\0b', 'x'.repeat(256), '.access-gate-new-0'])
  await test(`the name ${JSON.stringify(name.slice(0, 20))} is refused before anything is written`, async (t) => {
    const { parent, outside, target } = await volume(t)
    await t.rejects(plainFiles.write(target, filesOf({ fine: '1', [name]: 'x' }), undefined), { name: 'CsiError', code: 'INTERNAL', message: /^a volume cannot hold a file of the name "/ })
    t.strictSame(await readdir(parent), [])
    t.equal(await readFile(join(outside, 'precious'), 'utf8'), 'kept')
  })

for (const target of ['', '/', 'relative/mount', '/a/../b', '/a//b', '/a/.', '/a/b/', '/a\0b'])
  await test(`the target ${JSON.stringify(target)} is refused by every call`, async (t) => {
    const refusal = { name: 'CsiError', code: 'INVALID_ARGUMENT', message: /^the target must be the absolute path of a folder/ }
    await t.rejects(plainFiles.write(target, FILES, undefined), refusal)
    await t.rejects(plainFiles.look(target), refusal)
    await t.rejects(plainFiles.remove(target), refusal)
  })

await test('a parent that is gone is an error of a write, and none of a remove', async (t) => {
  const { outside } = await volume(t)
  const target = join(outside, 'nowhere', 'mount')
  await t.rejects(plainFiles.write(target, FILES, undefined), { code: 'INTERNAL', message: new RegExp(`^the files of the volume cannot be written to ${target}: ENOENT`) })
  t.equal(await plainFiles.look(target), undefined)
  await plainFiles.remove(target)
})

await test('neighbours of the target stay', async (t) => {
  const { parent, target } = await volume(t)
  await writeFile(join(parent, 'vol_data.json'), '{}')
  await mkdir(join(parent, 'mount2'))
  await plainFiles.write(target, FILES, undefined)
  await plainFiles.remove(target)
  t.strictSame((await readdir(parent)).toSorted(), ['mount2', 'vol_data.json'])
})

await test('whoever looks after a write sees all of it, whichever volume is written meanwhile', async (t) => {
  const outside = await temporaryFolder(t)
  const targets = Array.from({ length: 20 }, (_, index) => join(outside, `mount-${index}`))
  for (const round of [1, 2, 3]) {
    const files = filesOf({ a: `${round}`, [`only-${round}`]: 'x' })
    await Promise.all(
      targets.map(async (target) => {
        await plainFiles.write(target, files, undefined)
        t.strictSame(await contentOf(target), Object.fromEntries(files))
      }),
    )
  }
})

if (process.getuid?.() === 0)
  await test('a file of another owner is replaced by ours', async (t) => {
    const { target } = await volume(t)
    await plainFiles.write(target, filesOf({ a: 'same' }), undefined)
    await chown(join(target, 'a'), 1234, 1234)
    await plainFiles.write(target, filesOf({ a: 'same' }), undefined)
    t.equal((await stat(join(target, 'a'))).uid, 0)
  })
