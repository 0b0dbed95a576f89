/** What waits and what is mounted while webhook, controller or API server are down, by a real kubelet. */
import { setTimeout as delay } from 'node:timers/promises'
import { t as file, test } from 'tap'
import { ANNOTATION, SERVICE_ACCOUNT, serviceAccountUser, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { announceTests, report, seconds } from '../support/counts.ts'
import { eventually, untilTrue } from '../support/eventually.ts'
import { nodeWorld } from '../support/node-world.ts'

announceTests(file)
const self = await nodeWorld(file)
const { world, cluster, webhook, controller, plugin } = self
await self.connector('harbor')

const WATCHED_MS = 5_000

await test('an approval that comes while the controller is down counts when it is back', async (t) => {
  await controller.end()
  const pod = await self.pod('patient', ['harbor'])
  await self.untilEvent(pod, 'AccessWaiting', 'waiting for the controller')
  await world.task('patient', 'approved')
  await delay(WATCHED_MS)
  t.equal(await self.phase(pod), 'Pending')
  t.equal(await self.onDisk(pod), undefined)
  t.notOk(await world.mayUse('patient', 'harbor'))
  const back = performance.now()
  await controller.restart()
  await self.untilMounted(pod)
  report(t, { 'watched without a controller': seconds(WATCHED_MS), 'mounted meanwhile': 0, 'controller started to files': seconds(performance.now() - back) })
})

await test('a Pod that was admitted while the webhook was down gets its request from the plugin, and waits for that one', async (t) => {
  await webhook.end()
  const pod = await self.pod('unseen', ['harbor'])
  await world.task('unseen', 'pending')
  t.strictSame(await world.requestsOf(pod), [])
  await untilTrue('the plugin has it', async () => (await plugin.metric('access_gate_waiting_mounts')) === 1)
  const event = await self.untilEvent(pod, 'AccessWaiting', 'failed calling webhook')
  t.match(event.message, `it is not known whether ${world.shared}/harbor may be used: `)
  t.equal(await self.onDisk(pod), undefined)
  const back = performance.now()
  await webhook.restart()
  const request = await eventually('the plugin makes the request', async () => (await world.requestsOf(pod))[0])
  const took = performance.now() - back
  t.equal(request.metadata.annotations?.[ANNOTATION.requestedBy], serviceAccountUser(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.csi))
  await self.untilEvent(pod, 'AccessWaiting', 'waiting for ApprovalTask')
  await world.setState('unseen', 'approved')
  await self.untilMounted(pod)
  report(t, { requests: (await world.requestsOf(pod)).length, 'webhook started to request': seconds(took) })
})

await test('while the API server is down nothing is taken from a running Pod, and one that waits is mounted when it is back', async (t) => {
  const mounted = await self.runningPod('keeps-all')
  const waits = await self.waitingPod('waits-on')
  const before = await self.files(mounted)
  await cluster.kill('kube-apiserver')
  await delay(WATCHED_MS)
  t.strictSame(await self.files(mounted), before)
  t.equal(await self.onDisk(waits), undefined)
  t.equal(await plugin.metric('access_gate_waiting_mounts'), 1, 'the call goes on')
  await cluster.restart('kube-apiserver')
  const back = performance.now()
  await eventually('the approval', () => world.setState('waits-on', 'approved').then(() => true, () => undefined))
  await self.untilMounted(waits)
  t.strictSame(await self.files(mounted), before)
  t.equal((await world.requestsOf(waits)).length, 1)
  report(t, { 'without an API server': seconds(WATCHED_MS), 'volumes changed': 0, 'API server back to files': seconds(performance.now() - back) })
})
