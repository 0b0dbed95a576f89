/** What becomes of Pods and their volumes while plugin and kubelet are killed, by a real kubelet. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { t as file, test } from 'tap'
import { BUILTIN_FILES } from '../../src/core/builtin-files.ts'
import { ACCESS_REQUESTS, PODS } from '../../src/kube/resources.ts'
import { announceTests, report, seconds } from '../support/counts.ts'
import { untilTrue } from '../support/eventually.ts'
import { untilGone } from '../support/gated-world.ts'
import { terminated } from '../support/node-pods.ts'
import { nodeWorld, type MadePod } from '../support/node-world.ts'

announceTests(file)
const self = await nodeWorld(file)
const { world, plugin, node } = self
const { shared, work, kube } = world
await self.connector('harbor')

const TERMINATES_WITHIN_MS = 10_000
/** Between calls that fail kubelet's pauses double, up to two minutes: the slower the machine, the more calls meet a plugin that was killed. */
const KUBELET_PAUSE_MS = 150_000

const publishes = (outcome: string): Promise<number> => plugin.metric('access_gate_publishes_total', { outcome })
const waitsAgain = async (): Promise<boolean> => (await plugin.metric('access_gate_waiting_mounts')) === 1

const proxyOf = (host: string): string => `http://${host}.${shared}.svc.cluster.local`

/** A change that the files of a volume show at the next republish. */
const untilRefreshed = async (pod: MadePod, url: string): Promise<void> => {
  await self.setProxy('harbor', url)
  await self.nudge(pod)
  await self.untilProxy(pod, url)
}

await test('a Pod that is deleted while it waits is gone within 10 s', async (t) => {
  const pod = await self.waitingPod('given-up')
  const request = await world.requestOf(pod)
  await world.deletePod('given-up')
  const took = await self.untilGone(pod)
  t.ok(took < TERMINATES_WITHIN_MS, `gone after ${seconds(took)}`)
  t.equal(await self.onDisk(pod), undefined)
  t.equal(await plugin.metric('access_gate_waiting_mounts'), 0, 'nobody waits any more')
  await world.setState('given-up', 'approved')
  await untilGone(world, request, 60_000)
  report(t, { 'deletion to gone': seconds(took), grants: 0 })
})

await test('killed or ended while a Pod waits and started again, the plugin goes on to wait, makes no second request and mounts; so it does when kubelet is killed', async (t) => {
  const pod = await self.waitingPod('outlives-plugin')
  const before = await plugin.pid()
  await plugin.kill()
  await plugin.restart()
  t.not(await plugin.pid(), before)
  await untilTrue('kubelet asks again', waitsAgain)
  await plugin.end()
  t.equal(node.endOf('csi'), 'exit code 0', 'asked to end, it does so at once, with a call that waits')
  await plugin.restart()
  await untilTrue('kubelet asks again', waitsAgain)
  await node.kill('kubelet')
  await untilTrue('the call ends with its caller', async () => !(await waitsAgain()))
  await node.restart('kubelet')
  await untilTrue('the next kubelet asks', waitsAgain)
  t.equal(await self.onDisk(pod), undefined)
  const approvedAt = performance.now()
  await world.setState('outlives-plugin', 'approved')
  await self.untilMounted(pod)
  const requests = await world.requestsOf(pod)
  t.equal(requests.length, 1)
  report(t, { 'kills of the plugin': 1, 'ends of the plugin': 1, 'kills of kubelet': 1, requests: requests.length, 'approval to files': seconds(performance.now() - approvedAt) })
})

await test('killed while a volume is mounted, the plugin leaves its files, and renews them once it is back; so does a restart of kubelet', async (t) => {
  const pod = await self.runningPod('keeps-files')
  const before = await self.files(pod)
  await plugin.kill()
  await self.setProxy('harbor', proxyOf('while-down'))
  await self.nudge(pod)
  await self.untilEvent(pod, 'FailedMount', 'connectors-csi')
  t.strictSame(await self.files(pod), before)
  t.equal((await self.onDisk(pod))?.length, BUILTIN_FILES.length)
  t.equal(await self.phase(pod), 'Running')
  await plugin.restart()
  await untilRefreshed(pod, proxyOf('after-plugin'))
  t.equal((await self.records(pod)).volumes, 1)
  const counted = await publishes('republished')
  t.ok(counted >= 1)
  t.equal(await publishes('mounted'), 0, 'it was mounted once, before')
  await node.kill('kubelet')
  await node.restart('kubelet')
  await untilRefreshed(pod, proxyOf('after-kubelet'))
  t.equal(await self.phase(pod), 'Running')
  t.equal((await world.requestsOf(pod)).length, 1)
  const [republished, errors] = [await publishes('republished'), await plugin.metric('access_gate_republish_errors_total')]
  await plugin.end()
  await world.deletePod('keeps-files')
  await untilTrue('its container has ended', async () => JSON.stringify(await kube.get(PODS, work, 'keeps-files')).includes('"terminated"'))
  t.equal((await self.onDisk(pod))?.length, BUILTIN_FILES.length, 'the plugin is down')
  await plugin.restart()
  await self.untilGone(pod)
  t.strictSame([await self.onDisk(pod), (await self.records(pod)).volumes], [undefined, 0])
  report(t, { 'kills of the plugin': 1, 'kills of kubelet': 1, 'republished by the second plugin': republished, 'republish errors': errors })
})

await test('a Pod whose request was deleted while it waits gets no second one, whatever is approved, also after a restart of the plugin', async (t) => {
  const pod = await self.waitingPod('unwanted')
  const request = await world.requestOf(pod)
  await kube.remove(ACCESS_REQUESTS, shared, request.metadata.name)
  const event = await self.untilEvent(pod, 'AccessRefused', 'was deleted')
  t.equal(event.message, `volume "connectors": Connector ${shared}/harbor: the AccessRequest ${shared}/${request.metadata.name} was deleted; a new Pod gets a new one`)
  await world.setState('unwanted', 'approved')
  await untilTrue('kubelet has asked again', async () => (await publishes('failed')) > 1)
  const before = await publishes('failed')
  await plugin.kill()
  await plugin.restart()
  await untilTrue('kubelet has asked the next plugin', async () => (await publishes('failed')) > 0, KUBELET_PAUSE_MS)
  t.strictSame(await world.requestsOf(pod), [])
  t.equal(await self.onDisk(pod), undefined)
  t.equal(await self.phase(pod), 'Pending')
  t.notOk(await world.mayUse('unwanted', 'harbor'))
  report(t, { 'requests after the deletion': 0, 'calls of kubelet after it': before + (await publishes('failed')), 'restarts of the plugin': 1 })
  await world.deletePod('unwanted')
  t.ok((await self.untilGone(pod)) < TERMINATES_WITHIN_MS)
})

await test('killed again and again while Pods are approved and deleted, the plugin shows no container anything but all files, and leaves nothing', async (t) => {
  const names = Array.from({ length: 12 }, (_, index) => `crowd-${index}`)
  const pods = await Promise.all(names.map((name) => self.pod(name, ['harbor'], { args: ['list', '/connectors'] })))
  await untilTrue('all wait', async () => (await plugin.metric('access_gate_waiting_mounts')) === pods.length)
  const approving = (async () => {
    for (const [index, name] of names.entries()) {
      await world.task(name, 'approved')
      if (index % 4 === 3) await world.deletePod(name)
      await delay(150)
    }
  })()
  let kills = 0
  for (; kills < 5; kills += 1) {
    await delay(60 * kills)
    await plugin.kill()
    await plugin.restart()
  }
  await approving
  const kept = pods.filter((_, index) => index % 4 !== 3)
  for (const pod of kept) {
    const message = terminated(await self.untilPhase(pod, 'Succeeded', KUBELET_PAUSE_MS))?.message ?? ''
    const files = message.trimEnd().split('\n').map((line): { path: string } => JSON.parse(line))
    t.strictSame(files.map(({ path }) => path.replace('/connectors/', '')), BUILTIN_FILES.toSorted(), pod.metadata.name)
    t.equal((await world.requestsOf(pod)).length, 1)
    await world.deletePod(pod.metadata.name)
  }
  const folder = join(node.kubeletDir, 'pods')
  const left = async (): Promise<string[]> => {
    const uids = await readdir(folder)
    return pods.filter(({ metadata }) => uids.includes(metadata.uid)).map(({ metadata }) => metadata.name)
  }
  await untilTrue('kubelet has removed all of them', async () => (await left()).length === 0, KUBELET_PAUSE_MS)
  const records = await Promise.all(pods.map((pod) => self.records(pod)))
  t.equal(records.reduce((sum, { volumes }) => sum + volumes, 0), 0)
  report(t, { Pods: pods.length, kills, 'containers that saw all files': kept.length, deleted: pods.length - kept.length, 'folders left': 0, 'records left': 0 })
})
