import { test } from 'tap'
import { CsiError } from '../../src/csi/grpc-status.ts'
import { CodedError } from '../../src/errors.ts'
import { ACCESS_REQUESTS } from '../../src/kube/resources.ts'
import { csiWorld, type CsiWorld } from '../support/csi-world.ts'
import { memoryVolumes } from '../support/memory-volumes.ts'
import { earlierRequest, HARBOR, MOUNT_POD, requestFor, STAGE, syncedAt } from '../support/mount-facts.ts'

const NAME = requestFor(HARBOR).metadata.name
const DELETED = new RegExp(`^PERMISSION_DENIED: .*the AccessRequest shared/${NAME} was deleted; a new Pod gets a new one$`)

const creations = ({ kube }: CsiWorld): number => kube.calls.filter(({ verb, resource }) => verb === 'create' && resource === 'accessrequests').length
const isBlank = ({ volumes }: CsiWorld): boolean => volumes.targets.size === 0 && volumes.byVolume.size === 0

/** A status as it is when it was written at this moment of the test. */
const secondsAgo = (world: CsiWorld, seconds: number): string => new Date(world.time.clock.now() - seconds * 1000).toISOString().replace(/\.\d+Z$/, 'Z')

await test('a request that an administrator deletes while a call waits: refused at once, and never made again', async (t) => {
  const world = await csiWorld(t)
  const mount = world.publish()
  await world.time.advance(2_000)
  t.equal(creations(world), 1)
  world.kube.drop(ACCESS_REQUESTS, 'shared', NAME)
  await world.time.advance(0)
  t.match(mount.outcome, DELETED)
  t.match(world.events().at(-1), /^AccessRefused volume "tools": .*was deleted/)
  const again = world.publish()
  await world.time.advance(0)
  t.match(again.outcome, DELETED)
  t.equal(creations(world), 1)
  t.ok(isBlank(world))
})

await test('a request that is deleted before the next call, and after a restart of the plugin', async (t) => {
  const world = await csiWorld(t)
  // Made by the hook: the plugin saw it, and that counts.
  world.request('waiting')
  const mount = world.publish()
  await world.time.advance(1_000)
  mount.cancel()
  await world.time.advance(0)
  world.kube.drop(ACCESS_REQUESTS, 'shared', NAME)
  const { kube, volumes, time } = world
  const restarted = await csiWorld(t, { kube, volumes, time })
  const again = restarted.publish()
  await time.advance(0)
  t.match(again.outcome, DELETED)
  t.equal(creations(restarted), 0)
})

await test('what was asked for cannot be read: no request is made, nothing is mounted, and kubelet hears why', async (t) => {
  for (const allowed of [false, true]) {
    const world = await csiWorld(t)
    if (allowed) world.may(HARBOR, { podPath: true })
    world.volumes.fail('asked', new CsiError('FAILED_PRECONDITION', 'the record cannot be read'), 100)
    const mount = world.publish()
    await world.time.advance(2_000)
    t.equal(mount.outcome, 'FAILED_PRECONDITION: the record cannot be read')
    t.equal(creations(world), 0)
    t.ok(isBlank(world))
  }
})

await test('a request whose labels somebody took off is still found by its name', async (t) => {
  const world = await csiWorld(t)
  const mount = world.publish()
  await world.time.advance(2_000)
  const request = requestFor(HARBOR, STAGE.synced)
  world.may(HARBOR, { podPath: true })
  world.kube.put(ACCESS_REQUESTS, { ...request, metadata: { ...request.metadata, labels: {} } })
  await world.time.advance(0)
  t.equal(mount.outcome, 'OK')
  t.equal(creations(world), 1)
})

await test('a request without our labels is found when its name is taken', async (t) => {
  const world = await csiWorld(t)
  const request = requestFor(HARBOR, STAGE.waiting)
  world.kube.put(ACCESS_REQUESTS, { ...request, metadata: { ...request.metadata, labels: {} } })
  const mount = world.publish()
  await world.time.advance(2_000)
  t.equal(mount.outcome, undefined)
  t.equal(await world.metric('access_gate_requests_made_total', { result: 'reused' }), 1)
  t.match(world.events(), [/waiting for ApprovalTask cicd\/deploy-prod$/])
})

await test('the name of the request taken by another Pod: said clearly, and asked anew once it is gone', async (t) => {
  const world = await csiWorld(t)
  const foreign = earlierRequest(HARBOR)
  world.kube.put(ACCESS_REQUESTS, { ...foreign, metadata: { ...foreign.metadata, name: NAME } })
  const mount = world.publish()
  await world.time.advance(0)
  t.equal(mount.outcome, `FAILED_PRECONDITION: AccessRequest shared/${NAME} is there and speaks of another Pod, ServiceAccount or Connector than its name; delete it, and it is made anew`)
  world.kube.drop(ACCESS_REQUESTS, 'shared', NAME)
  const again = world.publish()
  await world.time.advance(2_000)
  t.equal(again.outcome, undefined)
  t.match(world.kube.all(ACCESS_REQUESTS), [{ metadata: { name: NAME }, spec: { context: { objectRef: { uid: 'uid-1' } } } }])
})

await test('a request that could not be made is made later; one whose answer was lost is not made twice', async (t) => {
  for (const after of [false, true]) {
    const world = await csiWorld(t)
    world.kube.fail('create', ACCESS_REQUESTS, new CodedError('KUBE_UNAVAILABLE', 'the API server did not answer'), { after })
    const mount = world.publish()
    await world.time.advance(5_000)
    t.equal(mount.outcome, undefined)
    t.equal(world.kube.all(ACCESS_REQUESTS).length, 1)
    world.may(HARBOR, { podPath: true })
    world.request('synced')
    await world.time.advance(0)
    t.equal(mount.outcome, 'OK')
  }
})

await test('that a request is being made is on record before, and that it is there after', async (t) => {
  const world = await csiWorld(t)
  const release = world.kube.hold('create', ACCESS_REQUESTS)
  const mount = world.publish()
  await world.time.advance(0)
  t.strictSame([...(world.volumes.makingOf.get(MOUNT_POD.uid) ?? [])], ['shared/harbor'])
  t.equal(world.volumes.askedOf.size, 0)
  t.equal(world.kube.all(ACCESS_REQUESTS).length, 0)
  release()
  await world.time.advance(0)
  t.strictSame([...(world.volumes.askedOf.get(MOUNT_POD.uid) ?? [])], ['shared/harbor'])
  mount.cancel()
  await world.time.advance(0)
})

await test('a plugin that is killed before its request was sent: the next one makes it', async (t) => {
  const world = await csiWorld(t)
  const release = world.kube.hold('create', ACCESS_REQUESTS)
  const killed = world.publish()
  await world.time.advance(0)
  // As it is on the disk at that moment: the rest of the first one is another process's affair.
  const { kube, volumes, time } = world
  t.strictSame([volumes.makingOf.size, volumes.askedOf.size], [1, 0])
  killed.cancel()
  const left = memoryVolumes()
  for (const [uid, connectors] of volumes.makingOf) left.makingOf.set(uid, new Set(connectors))
  const restarted = await csiWorld(t, { kube, volumes: left, time })
  const again = restarted.publish()
  await time.advance(0)
  release()
  await time.advance(2_000)
  t.equal(again.outcome, undefined)
  t.equal(kube.all(ACCESS_REQUESTS).length, 1)
})

await test('a predecessor whose request lost its labels is still a predecessor', async (t) => {
  const world = await csiWorld(t)
  const hidden = earlierRequest(HARBOR, STAGE.synced)
  world.kube.put(ACCESS_REQUESTS, { ...hidden, metadata: { ...hidden.metadata, labels: {} } })
  world.may(HARBOR, { podPath: true })
  const mount = world.publish()
  await world.time.advance(60_000)
  t.equal(mount.outcome, undefined)
  t.equal(creations(world), 1)
  t.ok(isBlank(world))
})

await test('a plugin that stops while a request is being made finishes it', async (t) => {
  const world = await csiWorld(t)
  const release = world.kube.hold('create', ACCESS_REQUESTS)
  const mount = world.publish()
  await world.time.advance(0)
  mount.cancel()
  await world.time.advance(0)
  t.match(mount.outcome, /^ABORTED/, 'the caller does not wait for it')
  let isStopped = false
  const stopped = world.plugin.stop().finally(() => {
    isStopped = true
  })
  await world.time.advance(1_000)
  t.notOk(isStopped)
  release()
  await world.time.advance(5_000)
  await stopped
  t.equal(world.kube.all(ACCESS_REQUESTS).length, 1)
})

await test('a Role by hand on the path of the Pod is seen twice, two seconds apart', async (t) => {
  const world = await csiWorld(t)
  world.may(HARBOR, { podPath: true })
  const mount = world.publish()
  await world.time.advance(1_900)
  t.equal(mount.outcome, undefined)
  await world.time.advance(200)
  t.equal(mount.outcome, 'OK')
  t.equal(creations(world), 0)

  const gone = await csiWorld(t)
  gone.may(HARBOR, { podPath: true })
  const second = gone.publish()
  await gone.time.advance(1_000)
  gone.may(HARBOR, { podPath: false })
  await gone.time.advance(5_000)
  t.equal(second.outcome, undefined, 'what was seen may have been what is left of a Role in the cache of the API server')
  t.equal(creations(gone), 1)
})

await test('a Role by hand is taken without waiting too', async (t) => {
  const world = await csiWorld(t, { wait: false })
  world.may(HARBOR, { podPath: true })
  const mount = world.publish()
  await world.time.advance(2_100)
  t.equal(mount.outcome, 'OK')
})

await test('the API server knows a grant before the status says so: the status ends the two seconds', async (t) => {
  const world = await csiWorld(t)
  world.request('waiting')
  const mount = world.publish()
  await world.time.advance(2_000)
  world.may(HARBOR, { podPath: true })
  world.request('passed')
  await world.time.advance(100)
  t.equal(mount.outcome, undefined)
  world.request('synced')
  await world.time.advance(0)
  t.equal(mount.outcome, 'OK')
})

await test('a predecessor of the same name: its grant is not this Pod’s', async (t) => {
  const world = await csiWorld(t)
  world.kube.put(ACCESS_REQUESTS, earlierRequest(HARBOR, STAGE.synced))
  world.may(HARBOR, { podPath: true })
  const mount = world.publish()
  await world.time.advance(60_000)
  t.equal(mount.outcome, undefined)
  t.equal(creations(world), 1)
  const cleaned = (seconds: number): void => {
    world.kube.put(ACCESS_REQUESTS, earlierRequest(HARBOR, syncedAt(STAGE.ended, secondsAgo(world, seconds))))
  }
  cleaned(1)
  await world.time.advance(1_000)
  t.equal(mount.outcome, undefined, 'cleaned up lately: the API server may still honour its Role')
  await world.time.advance(45_000)
  t.equal(mount.outcome, 'OK', 'cleaned up long ago: whatever allows it now is meant for this Pod')
})

await test('a predecessor that was cleaned up lately does not hold up a Pod with a grant of its own', async (t) => {
  const world = await csiWorld(t)
  world.kube.put(ACCESS_REQUESTS, earlierRequest(HARBOR, syncedAt(STAGE.ended, secondsAgo(world, 5))))
  world.may(HARBOR, { podPath: true })
  const mount = world.publish()
  await world.time.advance(3_000)
  t.equal(mount.outcome, undefined)
  world.request('synced')
  await world.time.advance(0)
  t.equal(mount.outcome, 'OK')
})
