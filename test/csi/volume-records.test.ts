import { chmod, mkdir, readdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import { openVolumeRecords, type VolumeRecord } from '../../src/csi/volume-records.ts'
import { logLines } from '../support/log-lines.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const record = (volumeId: string, change: Partial<VolumeRecord> = {}): VolumeRecord => ({
  volumeId,
  target: `/var/lib/kubelet/pods/u/volumes/kubernetes.io~csi/${volumeId}/mount`,
  volumeName: 'connectors',
  pod: { namespace: 'team', name: 'build', uid: 'u' },
  kind: 'files',
  started: false,
  ...change,
})

const state = async (t: Test) => {
  const folder = join(await temporaryFolder(t), 'state')
  const { log, lines } = logLines()
  const open = () => openVolumeRecords(folder, log)
  return { folder, lines, open, records: await open() }
}

/** The one file of a folder. */
const onlyFile = async (folder: string): Promise<string> => join(folder, (await readdir(folder))[0] ?? '')

await test('a record is there again after a restart, replaced by the next one, and gone when it is removed', async (t) => {
  const { open, records } = await state(t)
  t.equal(await records.get('a'), undefined)
  await records.put(record('a'))
  await records.put(record('b', { kind: 'refused' }))
  const again = await open()
  t.strictSame(await again.get('a'), record('a'))
  await again.put(record('a', { kind: 'refused' }))
  t.strictSame(await again.get('a'), record('a', { kind: 'refused' }))
  t.strictSame((await again.all()).toSorted((x, y) => x.volumeId.localeCompare(y.volumeId)), [record('a', { kind: 'refused' }), record('b', { kind: 'refused' })])
  await again.remove('a')
  await again.remove('a')
  t.equal(await again.get('a'), undefined)
  t.strictSame(await again.all(), [record('b', { kind: 'refused' })])
})

await test('names from outside are no file names', async (t) => {
  const { folder, records } = await state(t)
  for (const id of ['../../out', '', '.', 'a/b', 'ü'.repeat(500), '\0']) {
    await records.put(record(id, { target: '/t' }))
    t.strictSame(await records.get(id), record(id, { target: '/t' }), JSON.stringify(id))
    await records.addAsked(id, 'team/git')
  }
  for (const each of ['volumes', 'asked']) for (const name of await readdir(join(folder, each))) t.match(name, /^[0-9a-f]{64}\.json$/)
  t.strictSame((await readdir(folder)).toSorted(), ['asked', 'volumes'])
})

await test('nobody but the owner may read any of it, also where the folders were there', async (t) => {
  const { folder, open, records } = await state(t)
  await records.put(record('a'))
  await records.addAsked('u', 'team/git')
  for (const each of ['volumes', 'asked']) {
    await chmod(join(folder, each), 0o755)
    t.equal((await stat(await onlyFile(join(folder, each)))).mode & 0o777, 0o600)
  }
  await open()
  for (const each of ['volumes', 'asked']) t.equal((await stat(join(folder, each))).mode & 0o777, 0o700)
})

const damages: Record<string, (file: string) => Promise<void>> = {
  'an empty record': (file) => writeFile(file, ''),
  'half a record': async (file) => writeFile(file, (await readFile(file, 'utf8')).slice(0, 40)),
  'something that is no record': (file) => writeFile(file, '{"volumeId":7}'),
  'JSON that is no object': (file) => writeFile(file, 'null'),
  'a kind that nobody knows': (file) => writeFile(file, JSON.stringify({ ...record('a'), kind: 'open' })),
  'the record of another volume': (file) => writeFile(file, JSON.stringify(record('b'))),
  'a folder in its place': async (file) => {
    await rename(file, `${file}.moved`)
    await mkdir(file)
  },
}

for (const [sentence, damage] of Object.entries(damages)) {
  await test(`${sentence} counts as none, and the log has it`, async (t) => {
    const { folder, lines, records } = await state(t)
    await records.put(record('a'))
    await damage(await onlyFile(join(folder, 'volumes')))
    t.equal(await records.get('a'), undefined)
    t.strictSame(await records.all(), [])
    t.match(lines, [{ level: 'error', msg: 'the record of a volume cannot be read and is passed over', file: String, reason: String }, { level: 'error' }])
  })
}

await test('a damaged record does not hide the others, and the next one replaces it', async (t) => {
  const { folder, records } = await state(t)
  await records.put(record('a'))
  await writeFile(await onlyFile(join(folder, 'volumes')), '{')
  await records.put(record('b'))
  t.strictSame(await records.all(), [record('b')])
  await records.put(record('a'))
  t.strictSame(await records.get('a'), record('a'))
})

await test('what was half written when the plugin was killed is gone at the next start', async (t) => {
  const { folder, open } = await state(t)
  await writeFile(join(folder, 'volumes', 'x.json.new'), '{')
  await writeFile(join(folder, 'asked', 'y.json.new'), '{')
  t.strictSame(await (await open()).all(), [])
  for (const each of ['volumes', 'asked']) t.strictSame(await readdir(join(folder, each)), [])
})

await test('what a Pod asked for is kept for each Pod, whoever asks at once, until it is forgotten', async (t) => {
  const { open, records } = await state(t)
  t.strictSame(await records.asked('u'), new Set())
  await Promise.all(['team/a', 'team/b', 'team/c', 'team/a'].map((connector) => records.addAsked('u', connector)))
  await records.addAsked('v', 'team/a')
  const again = await open()
  t.strictSame(await again.asked('u'), new Set(['team/a', 'team/b', 'team/c']))
  t.strictSame((await again.askedPods()).toSorted(), ['u', 'v'])
  await again.forgetPod('u')
  await again.forgetPod('u')
  t.strictSame(await again.asked('u'), new Set())
  t.strictSame(await again.askedPods(), ['v'])
})

await test('a disk that takes nothing is one sentence', async (t) => {
  const { folder, records } = await state(t)
  await rename(folder, `${folder}.away`)
  await t.rejects(records.put(record('a')), { name: 'CsiError', code: 'INTERNAL', message: /^the record of a volume cannot be written to \S+: ENOENT.*; look at the node's disk$/ })
})

await test('a request that is being made is none that was asked for, until it is there', async (t) => {
  const { open, records } = await state(t)
  await records.addMaking('u', 'team/a')
  await records.addMaking('u', 'team/b')
  t.strictSame(await (await open()).asked('u'), new Set())
  t.strictSame(await records.askedPods(), ['u'])
  await records.addAsked('u', 'team/a')
  await records.addMaking('u', 'team/a')
  t.strictSame(await (await open()).asked('u'), new Set(['team/a']))
})

await test('a record of what was asked for without word of what is being made is read as well', async (t) => {
  const { folder, records } = await state(t)
  await records.addAsked('u', 'team/a')
  const file = await onlyFile(join(folder, 'asked'))
  await writeFile(file, JSON.stringify({ podUid: 'u', connectors: ['team/a'] }))
  t.strictSame(await records.asked('u'), new Set(['team/a']))
})

const askedDamages: Record<string, (file: string) => Promise<void>> = {
  'an empty file': (file) => writeFile(file, ''),
  'half a file': async (file) => writeFile(file, (await readFile(file, 'utf8')).slice(0, 20)),
  'word of another Pod': (file) => writeFile(file, JSON.stringify({ podUid: 'v', connectors: [], making: [] })),
  'a list that is none': (file) => writeFile(file, JSON.stringify({ podUid: 'u', connectors: ['team/a'], making: 'team/b' })),
  'a folder in its place': async (file) => {
    await rename(file, `${file}.moved`)
    await mkdir(file)
  },
}

for (const [sentence, damage] of Object.entries(askedDamages)) {
  await test(`what a Pod asked for, damaged (${sentence}), never counts as nothing`, async (t) => {
    const { folder, lines, records } = await state(t)
    await records.addAsked('u', 'team/a')
    const file = await onlyFile(join(folder, 'asked'))
    await damage(file)
    const message = `the record of what a Pod asked for cannot be read (${file}); a request that was deleted would be made again, so there is none: start a new Pod, or remove that file from the node`
    const refused = { name: 'CsiError', code: 'FAILED_PRECONDITION', message }
    await t.rejects(records.asked('u'), refused)
    await t.rejects(records.addMaking('u', 'team/b'), refused)
    await t.rejects(records.addAsked('u', 'team/b'), refused)
    t.match(lines[0], { level: 'error', msg: 'the record of what a Pod asked for cannot be read', file, reason: String })
    await records.addAsked('v', 'team/a')
    t.strictSame([await records.asked('v'), await records.askedPods()], [new Set(['team/a']), ['v']], 'other Pods are')
  })
}
