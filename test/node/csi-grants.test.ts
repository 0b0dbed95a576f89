/** Whose permission counts, and when it is asked for: Pods, flags and approvals come, go and change, by a real kubelet. */
import { setTimeout as delay } from 'node:timers/promises'
import { t as file, test } from 'tap'
import { readAnswer } from '../../hack/control-plane/api-call.ts'
import { ANNOTATION, FLAGS_CONFIG_MAP, SERVICE_ACCOUNT, serviceAccountUser, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { BUILTIN_FILES } from '../../src/core/builtin-files.ts'
import { ACCESS_REQUESTS, CONFIG_MAPS } from '../../src/kube/resources.ts'
import { announceTests, report, seconds } from '../support/counts.ts'
import { untilTrue } from '../support/eventually.ts'
import { untilGone } from '../support/gated-world.ts'
import { nodeWorld } from '../support/node-world.ts'

announceTests(file)
const self = await nodeWorld(file)
const { world, cluster, controller, plugin } = self
const { shared, kube } = world
await self.connector('harbor')

const WATCHED_MS = 5_000

/** How many questions about permissions the API server has answered. */
const reviews = async (): Promise<number> => {
  const text = readAnswer(await cluster.call('GET', '/metrics'), 'metrics of the API server')
  const lines = text.split('\n').filter((line) => line.startsWith('apiserver_request_total{') && line.includes('resource="subjectaccessreviews"'))
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
}

const publishes = (outcome: string): Promise<number> => plugin.metric('access_gate_publishes_total', { outcome })

await test("a Pod of a granted Pod's name is not mounted by its predecessor's grant, and starts with its own", async (t) => {
  const first = await self.runningPod('same-name')
  const old = await world.requestOf(first)
  await controller.end()
  await world.deletePod('same-name')
  await self.untilGone(first)
  const second = await self.pod('same-name', ['harbor'])
  t.not(second.metadata.uid, first.metadata.uid)
  t.ok(await world.mayUse('same-name', 'harbor'), 'the API server itself would let it in')
  const own = await world.requestOf(second)
  t.not(own.metadata.name, old.metadata.name)
  await self.untilEvent(second, 'AccessWaiting', own.metadata.name)
  const before = await reviews()
  const begin = performance.now()
  let looks = 0
  while (performance.now() - begin < WATCHED_MS) {
    looks += 1
    const known = await reviews()
    // Each change of a request is a reason to ask again.
    await kube.mergePatch(ACCESS_REQUESTS, shared, own.metadata.name, { metadata: { annotations: { 'example.com/look': `${looks}` } } })
    await untilTrue('the plugin has asked again', async () => (await reviews()) > known)
    await delay(300)
    t.equal(await self.onDisk(second), undefined)
    t.equal(await self.phase(second), 'Pending')
  }
  const asked = (await reviews()) - before
  t.ok(asked >= looks, `the plugin asked ${asked} times`)
  t.ok(await world.mayUse('same-name', 'harbor'), 'still')
  await controller.restart()
  await self.untilMounted(second)
  t.strictSame((await world.grantsOf(old)).roles, [])
  const { roles } = await world.grantsOf(own)
  t.strictSame(roles.map(({ metadata }) => metadata.annotations?.[ANNOTATION.podUid]), [second.metadata.uid])
  report(t, { 'watched with the grant of the predecessor': seconds(WATCHED_MS), 'permission questions': asked, 'looks at the disk': looks, 'mounted by it': 0, 'own grants at the end': roles.length })
})

await test('without the ConfigMap of the flags a new Pod waits and says so, and a mounted volume stays as it is', async (t) => {
  const mounted = await self.runningPod('before-flags')
  const seen = await self.files(mounted)
  const flags = await kube.get(CONFIG_MAPS, SYSTEM_NAMESPACE, FLAGS_CONFIG_MAP)
  if (flags === undefined) throw new Error('there are no flags')
  await kube.remove(CONFIG_MAPS, SYSTEM_NAMESPACE, FLAGS_CONFIG_MAP)
  const pod = await self.pod('without-flags', ['harbor'])
  const sentence = `ConfigMap ${SYSTEM_NAMESPACE}/${FLAGS_CONFIG_MAP} is missing or cannot be read, so nobody knows whether approval is on`
  t.equal((await self.untilEvent(pod, 'AccessWaiting', sentence)).message, `volume "connectors": ${sentence}`)
  t.match((await self.untilEvent(pod, 'FailedMount', sentence)).message, 'code = Unavailable')
  t.strictSame(await world.requestsOf(pod), [], 'nothing is asked for')
  await world.task('without-flags', 'approved')
  const republished = await publishes('republished')
  await self.nudge(mounted)
  await untilTrue('it was looked at again', async () => (await publishes('republished')) > republished)
  t.strictSame(await self.files(mounted), seen)
  t.equal(await self.phase(pod), 'Pending')
  const { name, namespace, labels, annotations } = flags.metadata
  await kube.create(CONFIG_MAPS, { ...flags, metadata: { name, ...(namespace && { namespace }), ...(labels && { labels }), ...(annotations && { annotations }) } })
  const back = performance.now()
  await self.untilMounted(pod)
  t.equal((await world.requestOf(pod)).metadata.annotations?.[ANNOTATION.requestedBy], serviceAccountUser(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.csi))
  report(t, { 'requests without flags': 0, 'mounted volumes changed': 0, 'flags back to files': seconds(performance.now() - back) })
})

const revokes: [how: string, name: string, revoke: (name: string, request: string) => Promise<unknown>][] = [
  ['whose approval is taken back', 'revoked', (name) => world.setState(name, 'rejected')],
  ['whose request is deleted', 'deleted', (_name, request) => kube.remove(ACCESS_REQUESTS, shared, request)],
]
for (const [how, name, revoke] of revokes)
  await test(`a running Pod ${how} loses its files at the next republish`, async (t) => {
    const pod = await self.runningPod(name)
    const request = await world.requestOf(pod)
    await revoke(name, request.metadata.name)
    await untilGone(world, request, 60_000)
    const begin = performance.now()
    await self.nudge(pod)
    const files = await self.untilFiles(pod, '.error.json alone', (seen) => seen.has('.error.json') && seen.size === 1)
    const took = performance.now() - begin
    t.equal(files.get('.error.json')?.mode, '0444')
    t.match(JSON.parse(files.get('.error.json')?.text ?? ''), { code: 7, details: [{ reason: 'AccessRevoked', metadata: { connector: `${shared}/harbor`, accessRequest: `${shared}/${request.metadata.name}` } }] })
    t.strictSame(await self.onDisk(pod), ['.error.json'])
    await self.untilEvent(pod, 'AccessRefused', 'revoked')
    t.equal(await self.phase(pod), 'Running')
    report(t, { files: files.size, 'republish to .error.json': seconds(took), volumes: await plugin.metric('access_gate_volumes', { kind: 'refused' }) })
  })

await test('a Pod that was deleted by force and made again at once under its name starts with its own grant', async (t) => {
  const first = await self.runningPod('forced')
  const old = await world.requestOf(first)
  await cluster.kubectl(['delete', 'pod', 'forced', '-n', world.work, '--force', '--grace-period=0'])
  const second = await self.pod('forced', ['harbor'])
  await self.untilMounted(second)
  const own = await world.requestOf(second)
  t.not(own.metadata.name, old.metadata.name)
  const { roles } = await world.grantsOf(own)
  t.strictSame(roles.map(({ metadata }) => metadata.annotations?.[ANNOTATION.podUid]), [second.metadata.uid])
  t.equal((await self.files(second))?.size, BUILTIN_FILES.length)
  await untilTrue('kubelet has taken off the volume of the first', async () => (await self.onDisk(first)) === undefined)
  report(t, { requests: 2, 'own grants': roles.length })
})
