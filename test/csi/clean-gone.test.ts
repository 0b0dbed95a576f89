import { mkdir, readdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import type { Pod } from '../../src/api/pod.ts'
import { cleanGone, type CleanGoneDeps } from '../../src/csi/clean-gone.ts'
import { plainFiles } from '../../src/csi/volume-files.ts'
import { createVolumeLocks } from '../../src/csi/volume-locks.ts'
import { openVolumeRecords } from '../../src/csi/volume-records.ts'
import { createVolumeWriter } from '../../src/csi/volume-writer.ts'
import { CodedError } from '../../src/errors.ts'
import { PODS } from '../../src/kube/resources.ts'
import { createStore } from '../../src/kube/store.ts'
import { untilTrue } from '../support/eventually.ts'
import { csiWorld, targetOf, volumeIdOf } from '../support/csi-world.ts'
import { logLines } from '../support/log-lines.ts'
import { memoryKube } from '../support/memory-kube.ts'
import { memoryVolumes } from '../support/memory-volumes.ts'
import { mountOf } from '../support/mount-facts.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const NODE = 'node-1'
const AWAY = new CodedError('KUBE_UNAVAILABLE', 'connection refused')
const NEVER = new AbortController().signal

/** A node's disk with volumes on it, and the plugin's records. */
const node = async (t: Test) => {
  const folder = await temporaryFolder(t)
  const kubeletDir = join(folder, 'kubelet')
  const kube = memoryKube()
  const { log, lines, messages } = logLines()
  const records = await openVolumeRecords(join(folder, 'state'), log)
  const tokens = { tokenFor: () => Promise.reject(new Error('no token is needed')) }
  const writer = createVolumeWriter({ reader: kube, tokens, files: plainFiles, records })
  const pods = createStore<Pod>({ log })
  const cleaned: number[] = []
  const forgotten: string[] = []
  const deps: CleanGoneDeps = { kubeletDir, nodeName: NODE, reader: kube, pods, records, files: plainFiles, writer, locks: createVolumeLocks(), forget: (volumeId) => forgotten.push(volumeId), metrics: { cleaned: (count) => cleaned.push(count) }, logger: log }

  const volumesOf = (uid: string): string => join(kubeletDir, 'pods', uid, 'volumes', 'kubernetes.io~csi')
  return {
    deps,
    kube,
    records,
    lines,
    messages,
    cleaned,
    forgotten,
    /** A Pod of this node; the watch knows it unless told otherwise. */
    pod: (uid: string, { name = uid, isKnown = true } = {}): void => {
      const pod = kube.put(PODS, { metadata: { namespace: 'cicd', name, uid }, spec: { nodeName: NODE } })
      if (isKnown) pods.put(pod)
    },
    /** A volume as kubelet and the plugin leave it. */
    volume: async (uid: string, { driver = 'connectors-csi', isRecorded = true, name = uid, volumeName = 'tools' } = {}): Promise<void> => {
      const target = join(volumesOf(uid), volumeName, 'mount')
      await mkdir(join(volumesOf(uid), volumeName), { recursive: true })
      const volumeId = `csi-${uid}`
      await writeFile(join(volumesOf(uid), volumeName, 'vol_data.json'), JSON.stringify({ driverName: driver, volumeHandle: volumeId, specVolID: volumeName, volumeLifecycleMode: 'Ephemeral' }))
      if (isRecorded) await writer.write({ ...mountOf([]), volumeId, target, volumeName, pod: { namespace: 'cicd', name, uid } }, { kind: 'files', files: new Map([['context.token', 't']]) })
      else await plainFiles.write(target, new Map([['context.token', 't']]), undefined)
    },
    files: async (uid: string, volumeName = 'tools'): Promise<string[] | undefined> => {
      const names = await plainFiles.look(join(volumesOf(uid), volumeName, 'mount'))
      return names && [...names]
    },
    left: (uid: string): Promise<string[]> => readdir(volumesOf(uid)),
  }
}

await test('volumes, records and what was asked of Pods that are gone are removed; what lives and what is not ours stays', async (t) => {
  const world = await node(t)
  world.pod('living')
  await world.volume('living')
  await world.volume('gone')
  // The plugin ended between the files and the record.
  await world.volume('half', { isRecorded: false })
  await world.volume('foreign', { driver: 'other-csi', isRecorded: false })
  for (const uid of ['living', 'gone', 'half']) await world.records.addAsked(uid, 'shared/harbor')
  await cleanGone(world.deps, NEVER)
  t.strictSame(await world.files('living'), ['context.token'])
  t.equal(await world.files('gone'), undefined)
  t.equal(await world.files('half'), undefined)
  t.strictSame(await world.files('foreign'), ['context.token'])
  t.strictSame(await world.left('gone'), ['tools'], 'what kubelet keeps is for kubelet to remove')
  t.strictSame((await world.records.all()).map(({ volumeId }) => volumeId), ['csi-living'])
  t.strictSame(await world.records.askedPods(), ['living'])
  t.strictSame(world.messages(), ['info what was left of Pods that are gone was removed'])
  t.match(world.lines, [{ volumes: 2, pods: 2 }])
  t.strictSame(world.cleaned, [2])
  t.strictSame(world.forgotten.toSorted(), ['csi-gone', 'csi-half'])
  await cleanGone(world.deps, NEVER)
  t.equal(world.lines.length, 1, 'with nothing to do nothing is said')
})

await test('what a plugin that was killed left beside a target is removed as well', async (t) => {
  const world = await node(t)
  await world.volume('gone', { isRecorded: false })
  const volume = join(world.deps.kubeletDir, 'pods', 'gone', 'volumes', 'kubernetes.io~csi', 'tools')
  await rename(join(volume, 'mount'), join(volume, '.access-gate-new-mount'))
  await cleanGone(world.deps, NEVER)
  t.strictSame(await readdir(volume), ['vol_data.json'])
})

await test('a record that cannot be removed keeps no file there', async (t) => {
  const world = await node(t)
  await world.volume('gone')
  const records = { ...world.records, remove: () => Promise.reject(new Error('the state folder is read-only')) }
  const tokens = { tokenFor: () => Promise.reject(new Error('no token is needed')) }
  await cleanGone({ ...world.deps, writer: createVolumeWriter({ reader: world.kube, tokens, files: plainFiles, records }) }, NEVER)
  t.equal(await world.files('gone'), undefined)
  t.strictSame(world.messages(), ['warn what is left of a Pod that is gone could not be removed'])
  await cleanGone(world.deps, NEVER)
  t.strictSame(await world.records.all(), [])
})

await test('a Pod that the watch does not know yet lives', async (t) => {
  const world = await node(t)
  world.pod('new', { isKnown: false })
  world.pod('newer', { isKnown: false })
  await world.volume('new')
  await world.volume('newer', { isRecorded: false })
  await world.records.addAsked('new', 'shared/harbor')
  await cleanGone(world.deps, NEVER)
  t.strictSame(await world.files('new'), ['context.token'])
  t.strictSame(await world.files('newer'), ['context.token'])
  t.strictSame(await world.records.askedPods(), ['new'])
})

await test('a successor of the same name is another Pod', async (t) => {
  const world = await node(t)
  world.pod('second', { name: 'build' })
  await world.volume('first', { name: 'build' })
  await cleanGone(world.deps, NEVER)
  t.equal(await world.files('first'), undefined)
})

await test('an API server that is away: everything stays', async (t) => {
  const world = await node(t)
  await world.volume('gone')
  await world.volume('half', { isRecorded: false })
  await world.records.addAsked('gone', 'shared/harbor')
  for (const verb of ['get', 'list'] as const) world.kube.fail(verb, PODS, AWAY, { times: 100 })
  await cleanGone(world.deps, NEVER)
  t.strictSame(await world.files('gone'), ['context.token'])
  t.strictSame(await world.files('half'), ['context.token'])
  t.strictSame(await world.records.askedPods(), ['gone'])
  t.strictSame(world.messages(), ['warn whether Pods are gone cannot be read now; what is left of them stays until the next round'])
})

await test('one volume that cannot be removed holds up no other', async (t) => {
  const world = await node(t)
  await world.volume('a')
  await world.volume('b')
  const { writer } = world.deps
  const clear = (volumeId: string, target: string): Promise<void> => (volumeId === 'csi-a' ? Promise.reject(new Error('busy')) : writer.clear(volumeId, target))
  await cleanGone({ ...world.deps, writer: { clear } }, NEVER)
  t.strictSame(await world.files('a'), ['context.token'])
  t.equal(await world.files('b'), undefined)
  t.equal(world.messages().filter((line) => line.startsWith('warn')).length, 1)
})

await test('a node without Pods, and files of kubelet that are not whole', async (t) => {
  const world = await node(t)
  await cleanGone(world.deps, NEVER)
  const folder = join(world.deps.kubeletDir, 'pods', 'odd', 'volumes', 'kubernetes.io~csi', 'tools')
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'vol_data.json'), '{"driverName": "conn')
  await writeFile(join(world.deps.kubeletDir, 'pods', 'a-file'), '')
  await cleanGone(world.deps, NEVER)
  t.strictSame(world.messages(), [])
})

await test('the plugin looks at its start and once an hour', async (t) => {
  const volumes = memoryVolumes()
  const pod = { namespace: 'cicd', name: 'gone', uid: 'uid-gone' }
  const leave = (): void => {
    volumes.targets.set(targetOf(pod), new Map([['context.token', 't']]))
    volumes.byVolume.set(volumeIdOf(pod), { volumeId: volumeIdOf(pod), target: targetOf(pod), volumeName: 'tools', pod, kind: 'files', started: true })
  }
  leave()
  const world = await csiWorld(t, { volumes })
  // The disk that is looked at is a real one, so it takes real time.
  const untilCleaned = (times: number): Promise<void> => untilTrue(`cleaned ${times} times`, () => world.lines.messages().length === times)
  await untilCleaned(1)
  t.strictSame([volumes.targets.size, volumes.byVolume.size], [0, 0])
  t.equal(await world.metric('access_gate_volumes_cleaned_total'), 1)
  leave()
  await world.time.advance(3_599_000)
  t.equal(volumes.targets.size, 1)
  await world.time.advance(2_000)
  await untilCleaned(2)
  t.equal(volumes.targets.size, 0)
})
