import { test } from 'tap'
import { CsiError } from '../../src/csi/grpc-status.ts'
import { CodedError } from '../../src/errors.ts'
import { ACCESS_REQUESTS, CONFIG_MAPS, CONNECTORS, PODS } from '../../src/kube/resources.ts'
import { callOf, csiWorld, volumeIdOf, type CsiWorld } from '../support/csi-world.ts'
import { HARBOR, MOUNT_POD, requestFor, textOf } from '../support/mount-facts.ts'

const NAMED = `Connector shared/harbor, AccessRequest ${textOf(requestFor(HARBOR))}:`
const WAITS = `UNAVAILABLE: ${NAMED} waiting for ApprovalTask cicd/deploy-prod`
const isBlank = ({ volumes }: CsiWorld): boolean => volumes.targets.size === 0 && volumes.byVolume.size === 0

/** A call that waits for an approval, and has told so. */
const waiting = async (t: Parameters<typeof csiWorld>[0], options?: Parameters<typeof csiWorld>[1]) => {
  const world = await csiWorld(t, options)
  world.request('waiting')
  const mount = world.publish()
  await world.time.advance(2_000)
  return { world, mount }
}

/** How often anything was read or asked. */
const reads = ({ kube }: CsiWorld): number => kube.calls.filter(({ verb }) => verb !== 'watch').length

await test('an approval while waiting answers at once, and nothing is polled before', async (t) => {
  const { world, mount } = await waiting(t)
  const before = reads(world)
  await world.time.advance(8_000)
  t.equal(reads(world), before, 'nobody asked anything for ten seconds')
  world.may(HARBOR, { podPath: true })
  world.request('synced')
  await world.time.advance(0)
  t.equal(mount.outcome, 'OK')
  t.equal(world.kube.openWatches, 2, 'the watch of its requests has ended')
})

await test('without a sign the API server is asked every 15 s, a tenth more or less: a Role given by hand wakes nobody', async (t) => {
  const { world, mount } = await waiting(t)
  const before = world.asked('podPath')
  await world.time.advance(60_000)
  t.equal(world.asked('podPath') - before, 4)
  world.may(HARBOR, { proxy: true })
  await world.time.advance(15_000)
  t.equal(mount.outcome, 'OK')
})

await test('the lag of the API server after a grant: asked again soon, then more and more seldom', async (t) => {
  const { world, mount } = await waiting(t)
  const asked: number[] = []
  const begin = world.time.clock.now()
  world.kube.allowIf((_identity, { verb, subresource }) => {
    if (subresource?.startsWith('proxy/v1') === true) asked.push(world.time.clock.now() - begin)
    return verb === 'get' || asked.length > 3
  })
  world.request('synced')
  await world.time.advance(5_000)
  t.equal(mount.outcome, 'OK')
  t.strictSame(asked, [0, 50, 150, 350, 350], 'the last yes is asked for twice')
})

await test('a Pod that is deleted while it waits: answered at once', async (t) => {
  const ends: Record<string, (world: CsiWorld) => void> = {
    'is being deleted': (world) => void world.pod(MOUNT_POD, { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } }),
    'is gone': (world) => world.kube.drop(PODS, 'cicd', 'build-1'),
    'has ended': (world) => void world.pod(MOUNT_POD, { status: { phase: 'Failed' } }),
  }
  for (const [what, end] of Object.entries(ends)) {
    const { world, mount } = await waiting(t)
    end(world)
    await world.time.advance(0)
    t.equal(mount.outcome, `UNAVAILABLE: Pod cicd/build-1 ${what}; it gets no new mount`)
    t.ok(isBlank(world), what)
    t.equal(world.plugin.waiting(), 0, what)
    t.equal(await world.metric('access_gate_publishes_total', { outcome: 'ended' }), 1, what)
  }
})

await test('a successor of the same name ends the wait of the one before', async (t) => {
  const { world, mount } = await waiting(t)
  world.pod({ ...MOUNT_POD, uid: 'uid-2' })
  await world.time.advance(0)
  t.match(mount.outcome, /^UNAVAILABLE: Pod cicd\/build-1 is gone/)
})

await test('a caller that goes away, and a plugin that stops', async (t) => {
  const { world, mount } = await waiting(t)
  mount.cancel(new CsiError('UNAVAILABLE', 'the plugin is stopping; kubelet asks again'))
  await world.time.advance(0)
  t.equal(mount.outcome, 'UNAVAILABLE: the plugin is stopping; kubelet asks again')
  const second = world.publish()
  await world.time.advance(1_000)
  second.cancel()
  await world.time.advance(0)
  t.equal(second.outcome, 'ABORTED: the caller gave up; kubelet asks again')
  t.equal(world.kube.openWatches, 2)
})

await test('kubelet hears what is waited for ten seconds before its own deadline', async (t) => {
  const { world, mount } = await waiting(t)
  await world.time.advance(107_900)
  t.equal(mount.outcome, undefined)
  await world.time.advance(200)
  t.equal(mount.outcome, WAITS)
  t.equal(await world.metric('access_gate_publishes_total', { outcome: 'waiting' }), 1)
})

await test('without a deadline the wait is as long as with that of kubelet; with a short one there is one look', async (t) => {
  const world = await csiWorld(t)
  world.request('waiting')
  const endless = world.publish(MOUNT_POD, { deadlineMs: Infinity })
  await world.time.advance(109_900)
  t.equal(endless.outcome, undefined)
  await world.time.advance(200)
  t.equal(endless.outcome, WAITS)
  const short = world.publish(MOUNT_POD, { deadlineMs: 5_000 })
  await world.time.advance(0)
  t.equal(short.outcome, WAITS)
  world.may(HARBOR, { proxy: true })
  const allowed = world.publish(MOUNT_POD, { deadlineMs: 5_000 })
  await world.time.advance(0)
  t.equal(allowed.outcome, 'OK')
})

await test('an unmount ends the wait for the same volume', async (t) => {
  const { world, mount } = await waiting(t)
  const unmount = world.unpublish()
  await world.time.advance(0)
  t.equal(mount.outcome, 'ABORTED: the volume is being unmounted')
  t.equal(await unmount, 'OK')
})

await test('an unmount is not held up by a call that waits for its turn to wait', async (t) => {
  const world = await csiWorld(t)
  const first = world.publish()
  await world.time.advance(1_000)
  const second = world.publish()
  const unmount = world.unpublish()
  await world.time.advance(0)
  t.match([first.outcome, second.outcome], [/^ABORTED: the volume is being unmounted/, /^ABORTED: the volume is being unmounted/])
  t.equal(await unmount, 'OK')
  const third = world.publish()
  await world.time.advance(1_000)
  t.equal(third.outcome, undefined, 'one that comes later waits as ever')
})

await test('an unmount that comes before a call has begun to wait ends it as well', async (t) => {
  const world = await csiWorld(t)
  const call = world.publish()
  const unmount = world.unpublish()
  await world.time.advance(0)
  t.match([call.outcome, await unmount], [/^ABORTED: the volume is being unmounted/, 'OK'])
})

await test('overlapping calls for one volume come one after the other; the second looks for itself', async (t) => {
  const { world, mount } = await waiting(t)
  const second = world.publish()
  const third = world.publish()
  await world.time.advance(1_000)
  t.equal(second.outcome, undefined)
  third.cancel()
  await world.time.advance(0)
  t.match(third.outcome, /^ABORTED: another call for this volume is still running/)
  t.equal(mount.outcome, undefined)
  mount.cancel()
  await world.time.advance(0)
  t.match(mount.outcome, /^ABORTED/)
  world.may(HARBOR, { proxy: true })
  await world.time.advance(15_000)
  t.equal(second.outcome, 'OK')
  t.equal(world.files()?.includes('context.token'), true)
})

await test('only so many calls wait; what comes then is told at once, and what is allowed is mounted all the same', async (t) => {
  const world = await csiWorld(t, { maxWaiting: 2 })
  const pods = ['a', 'b', 'c', 'd'].map((name) => ({ namespace: 'cicd', name, uid: `uid-${name}` }))
  for (const pod of pods) world.pod(pod)
  const [first, second, third] = pods.slice(0, 3).map((pod) => world.publish(pod))
  await world.time.advance(2_000)
  t.same([first?.outcome, second?.outcome, third?.outcome], [undefined, undefined, 'UNAVAILABLE: 2 mounts wait on this node already; kubelet asks again'])
  t.equal(await world.metric('access_gate_waiting_mounts'), 2)
  world.may(HARBOR, { proxy: true })
  const allowed = world.publish(pods[3])
  await world.time.advance(0)
  t.equal(allowed.outcome, 'OK')
  first?.cancel()
  await world.time.advance(0)
  t.equal(await world.metric('access_gate_waiting_mounts'), 1)
})

await test('without waiting the answer comes at once, with the request made', async (t) => {
  const world = await csiWorld(t, { wait: false })
  const mount = world.publish()
  await world.time.advance(0)
  t.match(mount.outcome, /^UNAVAILABLE: .*is being made$/)
  t.equal(world.kube.all(ACCESS_REQUESTS).length, 1)
  world.request('waiting')
  const again = world.publish()
  await world.time.advance(0)
  t.equal(again.outcome, WAITS)
  t.equal(world.kube.openWatches, 2, 'nothing is watched')
})

await test('flags: missing at the start they are waited for some seconds, then kubelet is told', async (t) => {
  const world = await csiWorld(t)
  world.may(HARBOR, { proxy: true })
  world.kube.drop(CONFIG_MAPS, 'connectors-system', 'connectors-config')
  await world.time.advance(0)
  const mount = world.publish()
  await world.time.advance(4_900)
  t.equal(mount.outcome, undefined)
  await world.time.advance(200)
  t.match(mount.outcome, /^UNAVAILABLE: ConfigMap connectors-system\/connectors-config is missing/)
  t.match(world.events(), [/^AccessWaiting volume "tools": ConfigMap connectors-system\/connectors-config is missing/])
  const second = world.publish()
  await world.time.advance(1_000)
  world.flags('true')
  await world.time.advance(0)
  t.equal(second.outcome, 'OK')
})

await test('flags: deleted or turned while a call waits', async (t) => {
  const { world, mount } = await waiting(t)
  world.kube.drop(CONFIG_MAPS, 'connectors-system', 'connectors-config')
  world.may(HARBOR, { podPath: true })
  world.request('synced')
  await world.time.advance(1_000)
  t.equal(mount.outcome, undefined, 'nobody knows whether approval is on')
  await world.time.advance(5_000)
  t.match(mount.outcome, /^UNAVAILABLE: ConfigMap/)

  const turned = await waiting(t)
  turned.world.flags('false')
  await turned.world.time.advance(0)
  t.equal(turned.mount.outcome, 'OK', 'approval was turned off: to get the Connector is enough')
})

await test('flags: an API server that says nothing for a minute makes them unknown', async (t) => {
  const world = await csiWorld(t)
  world.may(HARBOR, { proxy: true })
  world.time.freeze(61_000)
  const mount = world.publish()
  await world.time.advance(0)
  t.equal(mount.outcome, undefined)
  await world.time.advance(20_000)
  t.match(mount.outcome, /^OK$|^UNAVAILABLE: nothing was heard of the flags/)
})

await test('an API server that is away is waited for, and told of at the deadline', async (t) => {
  const world = await csiWorld(t)
  world.may(HARBOR, { proxy: true })
  world.kube.fail('allows', undefined, new CodedError('KUBE_UNAVAILABLE', 'connection refused'), { times: 6 })
  const mount = world.publish()
  await world.time.advance(0)
  t.equal(mount.outcome, undefined)
  await world.time.advance(2_000)
  t.equal(mount.outcome, 'OK')
  t.equal(world.lines.messages().filter((line) => line === 'warn a mount cannot be decided now; it is looked at again').length, 1)

  world.kube.fail('get', PODS, new CodedError('KUBE_UNAVAILABLE', 'connection refused'), { times: 1_000 })
  const other = { namespace: 'cicd', name: 'other', uid: 'uid-other' }
  world.pod(other)
  const away = world.publish(other)
  await world.time.advance(111_000)
  t.equal(away.outcome, 'UNAVAILABLE: it is not known whether shared/harbor may be used: connection refused')
  t.equal(world.files(other), undefined)
  const told = 'AccessWaiting volume "tools": it is not known whether shared/harbor may be used: connection refused'
  t.strictSame(world.events(), [told, 'AccessMounted volume "tools": may use shared/harbor; the files are there', told])
})

await test('a permission that is taken back between the first look and the last is not mounted', async (t) => {
  const world = await csiWorld(t)
  let looks = 0
  world.kube.allowIf((_identity, { verb, subresource }) => {
    if (subresource === 'proxy') looks += 1
    return verb === 'get' || (subresource === 'proxy' && looks === 1)
  })
  const mount = world.publish()
  await world.time.advance(1_000)
  t.equal(mount.outcome, undefined)
  t.ok(isBlank(world))
})

await test('a Pod that is deleted between the first look and the last is not mounted', async (t) => {
  const world = await csiWorld(t)
  world.kube.allowIf(() => {
    // As the watch may be late, the last look reads the Pod itself.
    world.kube.drop(PODS, 'cicd', 'build-1')
    return true
  })
  const mount = world.publish()
  await world.time.advance(0)
  t.match(mount.outcome, /^(NOT_FOUND|UNAVAILABLE): Pod cicd\/build-1 /)
  t.ok(isBlank(world))
})

await test('a caller that goes away while the files are written has no volume', async (t) => {
  const world = await csiWorld(t)
  world.may(HARBOR, { proxy: true })
  const mount = world.publish()
  world.volumes.onWritten = () => mount.cancel()
  await world.time.advance(0)
  t.match(mount.outcome, /^ABORTED/)
  t.ok(isBlank(world))
})

await test('a plugin that ends between the files and the OK: the next call goes through the whole gate', async (t) => {
  const world = await csiWorld(t)
  world.may(HARBOR, { proxy: true })
  const mount = world.publish()
  // It never comes back: as far as kubelet knows, the process is gone.
  world.volumes.onWritten = () => new Promise(() => undefined)
  await world.time.advance(0)
  t.equal(mount.outcome, undefined)
  t.equal(world.files()?.length, 5)
  const { kube, volumes, time } = world
  volumes.onWritten = () => undefined
  const restarted = await csiWorld(t, { kube, volumes, time })
  world.may(HARBOR, { proxy: false })
  const again = restarted.publish()
  await time.advance(1_000)
  t.equal(again.outcome, undefined)
  t.ok(isBlank(restarted), 'what was left is gone before anything is waited for')
})

await test('50 Pods at once: one look each, and each is mounted when its own approval comes', async (t) => {
  const world = await csiWorld(t)
  const pods = Array.from({ length: 50 }, (_, index) => ({ namespace: 'cicd', name: `job-${index}`, uid: `uid-job-${index}` }))
  for (const pod of pods) world.pod(pod)
  const granted = new Set<string>()
  world.kube.allowIf((_identity, { verb, subresource = '' }) => verb === 'get' || granted.has(subresource))
  const mounts = pods.map((pod) => world.publish(pod))
  await world.time.advance(5_000)
  t.strictSame(new Set(mounts.map(({ outcome }) => outcome)), new Set([undefined]))
  t.equal(world.kube.all(ACCESS_REQUESTS).length, 50)
  for (const [index, pod] of pods.entries()) {
    if (index % 2 === 0) granted.add(`proxy/v1/pod/cicd/${pod.name}`)
    world.request(index % 2 === 0 ? 'synced' : 'waiting', HARBOR, pod)
  }
  await world.time.advance(0)
  t.strictSame(
    mounts.map(({ outcome }) => outcome),
    pods.map((_, index) => (index % 2 === 0 ? 'OK' : undefined)),
  )
  t.equal(world.volumes.byVolume.size, 25)
})

await test('two volumes of one Pod that name one Connector share its request', async (t) => {
  const world = await csiWorld(t)
  const csi = { driver: 'connectors-csi', readOnly: true, volumeAttributes: { connectors: 'shared/harbor' } }
  world.pod(MOUNT_POD, { spec: { volumes: [{ name: 'one', csi }, { name: 'two', csi }] } })
  const mounts = ['one', 'two'].map((volumeName) => world.publish(MOUNT_POD, { volumeName }))
  await world.time.advance(1_000)
  t.equal(world.kube.calls.filter(({ verb, resource }) => verb === 'create' && resource === 'accessrequests').length, 1)
  t.equal(world.kube.openWatches, 3, 'and one watch')
  world.may(HARBOR, { podPath: true })
  world.request('synced')
  await world.time.advance(0)
  t.strictSame(mounts.map(({ outcome }) => outcome), ['OK', 'OK'])
  t.not(volumeIdOf(MOUNT_POD, 'one'), volumeIdOf(MOUNT_POD, 'two'))
})

await test('a Connector that goes while its approval is awaited fails the call at the next look', async (t) => {
  const { world, mount } = await waiting(t)
  world.kube.drop(CONNECTORS, 'shared', 'harbor')
  await world.time.advance(15_000)
  t.equal(mount.outcome, 'NOT_FOUND: connector "shared/harbor" not found')
})

await test('a call that was cancelled before it began leaves nothing', async (t) => {
  const world = await csiWorld(t)
  world.may(HARBOR, { proxy: true })
  const gone = AbortSignal.abort(new CsiError('ABORTED', 'gone'))
  await t.rejects(world.plugin.publisher.publish(callOf(MOUNT_POD), { deadline: Infinity, signal: gone }), { code: 'ABORTED' })
  t.ok(isBlank(world))
})
