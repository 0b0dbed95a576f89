import { execFile } from 'node:child_process'
import { lstat, mkdir, open, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { test, type Test } from 'tap'
import { createTmpfsFiles, mountsOn, systemMounts, type CommandResult, type MountCommands } from '../../src/csi/tmpfs.ts'
import { plainFiles } from '../../src/csi/volume-files.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const MOUNTINFO = [
  '22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw',
  '36 22 0:40 / /pods/a/mount rw,nosuid shared:7 master:3 - tmpfs access-gate rw,size=16384k',
  '37 36 0:41 / /pods/a/mount rw - ext4 /dev/sdb rw',
  '38 22 0:42 / /pods/with\\040space\\134 rw - tmpfs access-gate rw',
  '39 22 0:43 / /pods/a/mount2 rw - tmpfs other\\040one rw',
  '',
].join('\n')

const readings: Record<string, { path: string; mounts: string[] }> = {
  'two on top of each other': { path: '/pods/a/mount', mounts: ['tmpfs access-gate', 'ext4 /dev/sdb'] },
  'a path with characters that are escaped': { path: '/pods/with space\\', mounts: ['tmpfs access-gate'] },
  'a source with one': { path: '/pods/a/mount2', mounts: ['tmpfs other one'] },
  'a folder above mounts': { path: '/pods/a', mounts: [] },
  'the root': { path: '/', mounts: ['ext4 /dev/sda1'] },
}

for (const [sentence, { path, mounts }] of Object.entries(readings))
  await test(`what is mounted is read: ${sentence}`, (t) => {
    t.strictSame(mountsOn(MOUNTINFO, path).map(({ type, source }) => `${type} ${source}`), mounts)
    t.end()
  })

/** A system that answers each command as the table says, and shows the mounts that it is told. */
const pretended = (results: readonly CommandResult[], mountInfo = '') => {
  const asked: string[] = []
  const left = [...results]
  const commands: MountCommands = {
    run: (command, args) => {
      asked.push([command, ...args].join(' '))
      return Promise.resolve(left.shift() ?? { code: 0, output: '' })
    },
    mountInfo: () => Promise.resolve(mountInfo),
  }
  return { asked, files: createTmpfsFiles(commands) }
}

const refusals: Record<string, { results: CommandResult[]; message: RegExp }> = {
  'a mount without the capability': {
    results: Array.from({ length: 2 }, () => ({ code: 32, output: 'mount: /t: permission denied.' })),
    message: /^a tmpfs cannot be mounted on \S+ \(mount: \/t: permission denied\.\): that takes the capability SYS_ADMIN; give it to the plugin, or run it without --tmpfs$/,
  },
  'an image without the command': {
    results: [{ code: undefined, output: 'spawn mount ENOENT' }],
    message: /: the command mount cannot be run \(spawn mount ENOENT\); use an image that has it, or run the plugin without --tmpfs$/,
  },
  'anything else that mount says': {
    results: Array.from({ length: 2 }, () => ({ code: 32, output: 'mount: /t: wrong fs type' })),
    message: /^a tmpfs cannot be mounted on \S+: mount: \/t: wrong fs type; look at the node$/,
  },
}

for (const [sentence, { results, message }] of Object.entries(refusals))
  await test(`${sentence} is one clear sentence, and nothing is written to the disk`, async (t) => {
    const target = join(await temporaryFolder(t), 'mount')
    const { files, asked } = pretended(results)
    await t.rejects(files.write(target, new Map([['a', 'secret']]), undefined), { name: 'CsiError', code: 'INTERNAL', message })
    t.strictSame(await readdir(target), [])
    t.equal(asked[0], `mount -t tmpfs -o size=16m,mode=0755,nosuid,nodev,noexec,noswap access-gate ${target}`)
    t.equal(await files.look(target), undefined)
  })

await test('a kernel that knows no noswap gets a mount without it', async (t) => {
  const target = join(await temporaryFolder(t), 'mount')
  const { files, asked } = pretended([{ code: 32, output: 'mount: wrong option' }])
  await files.write(target, new Map(), undefined)
  t.strictSame(asked, ['noswap ', ''].map((extra) => `mount -t tmpfs -o size=16m,mode=0755,nosuid,nodev,noexec${extra === '' ? '' : ',noswap'} access-gate ${target}`))
})

await test("what is mounted there and is not ours is not used, and not unmounted", async (t) => {
  const target = join(await temporaryFolder(t), 'mount')
  await mkdir(target)
  for (const line of [`36 22 0:40 / ${target} rw - ext4 /dev/sdb rw`, `36 22 0:40 / ${target} rw - tmpfs tmpfs rw`]) {
    const { files, asked } = pretended([], line)
    const message = new RegExp(`^\\S+ \\((ext4|tmpfs)\\) is mounted on ${target}; unmount it on the node$`)
    await t.rejects(files.write(target, new Map(), undefined), { code: 'INTERNAL', message })
    await t.rejects(files.look(target), { code: 'INTERNAL', message })
    await t.rejects(files.remove(target), { code: 'INTERNAL', message })
    t.strictSame(asked, [])
  }
})

await test('a mount that cannot be undone is an error', async (t) => {
  const target = join(await temporaryFolder(t), 'mount')
  await mkdir(target)
  const { files, asked } = pretended([{ code: 32, output: 'busy' }, { code: 32, output: 'not permitted' }], `36 22 0:40 / ${target} rw - tmpfs access-gate rw`)
  await t.rejects(files.remove(target), { code: 'INTERNAL', message: `the tmpfs on ${target} cannot be unmounted: not permitted; unmount it on the node` })
  t.strictSame(asked, [`umount ${target}`, `umount -l ${target}`])
})

let mayMount = false

await test('this machine lets the test mount; where it does not, the output says so, and CI fails', async (t) => {
  const target = join(await temporaryFolder(t), 'mount')
  const files = createTmpfsFiles()
  try {
    await files.write(target, new Map(), undefined)
    await files.remove(target)
    mayMount = true
    t.pass('it does')
  } catch (error) {
    const why = `THE REAL TMPFS IS NOT TESTED HERE: ${String(error)}`
    process.stderr.write(`${why}\n`)
    if (process.env['CI'] === 'true') t.fail(`${why}. Run CI as root with the capability SYS_ADMIN`)
    else t.comment(why)
  }
})

const volume = async (t: Test) => {
  const parent = await temporaryFolder(t)
  const target = join(parent, 'mount point')
  const layers = async (): Promise<number> => mountsOn(await systemMounts.mountInfo(), target).length
  t.teardown(async () => {
    while ((await layers()) > 0) await systemMounts.run('umount', ['-l', target])
  })
  return { parent, target, layers, files: createTmpfsFiles() }
}

const contentOf = async (folder: string): Promise<Record<string, string>> => {
  const names = (await readdir(folder)).toSorted()
  return Object.fromEntries(await Promise.all(names.map(async (name): Promise<[string, string]> => [name, await readFile(join(folder, name), 'utf8')])))
}

if (mayMount) {
  await test('a volume is a tmpfs of its own, mounted once however often it is written', async (t) => {
    const { parent, target, files, layers } = await volume(t)
    t.equal(await files.look(target), undefined)
    await files.write(target, new Map([['a', '1'], ['b', '1']]), 54_321)
    await files.write(target, new Map([['a', '2'], ['c', '3']]), 54_321)
    t.equal(await layers(), 1)
    t.strictSame(await contentOf(target), { a: '2', c: '3' })
    t.strictSame(await files.look(target), ['a', 'c'])
    const { mode, gid } = await lstat(target)
    t.strictSame([mode & 0o7777, gid, (await lstat(join(target, 'a'))).mode & 0o7777], [0o750, 54_321, 0o440])
    const options = (await systemMounts.mountInfo()).split('\n').find((line) => line.includes(parent)) ?? ''
    for (const option of ['nosuid', 'nodev', 'noexec', 'size=16384k']) t.ok(options.includes(option), option)

    await files.remove(target)
    t.equal(await layers(), 0)
    t.strictSame(await readdir(parent), [], 'and nothing was below it on the disk')
    await files.remove(target)
  })

  await test('more than it may hold is an error that leaves what was there', async (t) => {
    const { target, files } = await volume(t)
    await files.write(target, new Map([['a', '1']]), undefined)
    await t.rejects(files.write(target, new Map([['a', '2'], ['big', 'x'.repeat(17 * 1024 * 1024)]]), undefined), { code: 'INTERNAL', message: /ENOSPC.*disk is full$/ })
    t.strictSame(await contentOf(target), { a: '1' })
    await files.write(target, new Map([['a', '3']]), undefined)
    t.strictSame(await contentOf(target), { a: '3' })
  })

  await test('a restart of the node leaves an empty folder, which is no volume until it is written', async (t) => {
    const { target, files, layers } = await volume(t)
    await mkdir(target)
    t.equal(await files.look(target), undefined)
    await files.write(target, new Map([['a', '1']]), undefined)
    t.equal(await layers(), 1)
    t.strictSame(await files.look(target), ['a'])
  })

  await test('a volume in use is unmounted all the same, and holds nothing any more', async (t) => {
    const { parent, target, files, layers } = await volume(t)
    await files.write(target, new Map([['a', 'secret']]), undefined)
    const inUse = await open(target)
    await files.remove(target)
    t.equal(await layers(), 0)
    t.strictSame(await readdir(parent), [])
    t.strictSame(await readdir(`/proc/self/fd/${inUse.fd}`), [])
    await inUse.close()
  })

  await test('what was mounted twice is unmounted twice', async (t) => {
    const { parent, target, files, layers } = await volume(t)
    await files.write(target, new Map(), undefined)
    await promisify(execFile)('mount', ['-t', 'tmpfs', 'access-gate', target])
    t.equal(await layers(), 2)
    await files.remove(target)
    t.strictSame([await layers(), await readdir(parent)], [0, []])
  })

  await test('a plain volume from before stays the one that its Pod has, and a plain plugin keeps up a mounted one', async (t) => {
    const { parent, target, files, layers } = await volume(t)
    await plainFiles.write(target, new Map([['a', 'plain']]), undefined)
    t.strictSame(await files.look(target), ['a'])
    await files.write(target, new Map([['a', 'plain 2']]), undefined)
    t.equal(await layers(), 0)
    await files.remove(target)
    t.strictSame(await readdir(parent), [])

    await files.write(target, new Map([['a', 'mounted']]), undefined)
    t.strictSame(await plainFiles.look(target), ['a'])
    await plainFiles.write(target, new Map([['a', 'mounted 2']]), undefined)
    t.strictSame([await layers(), await contentOf(target)], [1, { a: 'mounted 2' }])
    await t.rejects(plainFiles.remove(target), { code: 'INTERNAL', message: /EBUSY.*; something is mounted on it; unmount it on the node$/ })
    await files.remove(target)
    t.strictSame(await readdir(parent), [])
  })

  await test('nothing is mounted through a link', async (t) => {
    const { parent, target, files } = await volume(t)
    await mkdir(join(parent, 'elsewhere'))
    await writeFile(join(parent, 'elsewhere', 'precious'), 'kept')
    await symlink(join(parent, 'elsewhere'), target)
    await t.rejects(files.write(target, new Map([['a', '1']]), undefined), { code: 'INTERNAL', message: /it is no folder/ })
    t.equal(mountsOn(await systemMounts.mountInfo(), join(parent, 'elsewhere')).length, 0)
    await files.remove(target)
    t.strictSame(await contentOf(join(parent, 'elsewhere')), { precious: 'kept' })
  })
}
