/** Volumes in memory, and kubelet's own calls again and again. */
import { readFile, readdir } from 'node:fs/promises'
import { t as file, test } from 'tap'
import { BUILTIN_FILES } from '../../src/core/builtin-files.ts'
import { announceTests, report, seconds } from '../support/counts.ts'
import { untilTrue } from '../support/eventually.ts'
import { nodeWorld, type MadePod } from '../support/node-world.ts'

announceTests(file)
const self = await nodeWorld(file)
const { world, node } = self
const { shared } = world
await self.connector('harbor')
await self.connector('quay')

/** kubelet looks at a Pod that nobody changes once in 60 to 90 s. */
const LOOKS_AGAIN_WITHIN_MS = 240_000

/** What is mounted on the volume, as kubelet sees it. */
const mounts = async (pod: MadePod): Promise<string[]> => {
  const text = await readFile(`/proc/${await node.pidOf('kubelet')}/mounts`, 'utf8')
  return text.split('\n').filter((line) => line.includes(` ${self.volume(pod)} `))
}

const proxyOf = (host: string): string => `http://${host}.${shared}.svc.cluster.local`

const early = await self.runningPod('early', 'quay')
await self.setProxy('quay', proxyOf('moved'))
const moved = performance.now()
await self.plugin.end()
const plugin = await self.startPlugin(['--tmpfs'])

await test('with --tmpfs the files are in memory alone, with SYS_ADMIN and CHOWN and no other capability, and nothing is mounted after the Pod', async (t) => {
  t.match(await readFile(`/proc/${await plugin.pid()}/status`, 'utf8'), /^CapEff:\t0000000000200001$/m)
  const pod = await self.runningPod('memory')
  const mounted = await mounts(pod)
  t.match(mounted, [/^access-gate .* tmpfs rw,nosuid,nodev,noexec/])
  t.equal(mounted.length, 1)
  t.strictSame(await readdir(self.volume(pod)), [], 'outside of the node there is nothing: the disk holds no file')
  const files = await self.files(pod)
  t.strictSame(new Set([...(files?.values() ?? [])].map(({ mode, uid, gid }) => `${mode} ${uid} ${gid}`)), new Set(['0444 0 0']))
  await world.deletePod('memory')
  const took = await self.untilGone(pod)
  t.strictSame([await mounts(pod), await self.onDisk(pod), (await self.records(pod)).volumes], [[], undefined, 0])
  report(t, { 'mounts while it ran': mounted.length, 'files on the disk': 0, 'mounts after it': 0, 'deletion to gone': seconds(took) })
})

await test('a volume in memory outlives a kill of the plugin, follows changes, and turns into the reason when its access is revoked', async (t) => {
  const pod = await self.runningPod('lasting')
  const before = await self.files(pod)
  await plugin.kill()
  t.strictSame(await self.files(pod), before)
  await plugin.restart()
  await self.setProxy('harbor', proxyOf('elsewhere'))
  await self.nudge(pod)
  await self.untilProxy(pod, proxyOf('elsewhere'))
  const mounted = (await mounts(pod)).length
  t.equal(mounted, 1)
  await world.setState('lasting', 'rejected')
  await untilTrue('the grant is gone', async () => !(await world.mayUse('lasting', 'harbor')))
  await self.nudge(pod)
  const files = await self.untilFiles(pod, '.error.json alone', (seen) => seen.has('.error.json') && seen.size === 1)
  t.equal(files.get('.error.json')?.mode, '0444')
  t.equal((await mounts(pod)).length, 1)
  await world.deletePod('lasting')
  await self.untilGone(pod)
  t.strictSame(await mounts(pod), [])
  report(t, { kills: 1, mounts: mounted, 'files after the revoke': files.size })
})

await test('in memory too, files belong to the group of the Pod, and a rejected one finds the reason alone', async (t) => {
  const pod = await self.pod('grouped', ['harbor'], { spec: { securityContext: { fsGroup: 4711, runAsUser: 1000, runAsGroup: 1000 } } })
  await world.task('grouped', 'rejected')
  await self.untilPhase(pod, 'Running')
  const files = await self.untilFiles(pod, '.error.json alone', (seen) => seen.size > 0)
  t.match([...files], [['.error.json', { mode: '0440', uid: 0, gid: 4711, text: /"reason":"AccessRejected"/ }]])
  t.equal(files.size, 1)
  t.equal((await mounts(pod)).length, 1)
  report(t, { files: files.size })
})

await test('kubelet calls again by itself: the files of a volume that was plain before --tmpfs stay plain and follow', async (t) => {
  await self.untilProxy(early, proxyOf('moved'), LOOKS_AGAIN_WITHIN_MS)
  const took = performance.now() - moved
  t.strictSame(await mounts(early), [])
  t.equal((await self.onDisk(early))?.length, BUILTIN_FILES.length)
  await world.deletePod('early')
  await self.untilGone(early)
  t.equal(await self.onDisk(early), undefined)
  report(t, { 'change to files': seconds(took), republished: await plugin.metric('access_gate_publishes_total', { outcome: 'republished' }) })
})
