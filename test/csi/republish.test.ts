import { test, type Test } from 'tap'
import { CodedError } from '../../src/errors.ts'
import { ACCESS_REQUESTS, CONFIG_MAPS, CONNECTORS, PODS } from '../../src/kube/resources.ts'
import { csiWorld, targetOf, type CsiWorld, type CsiWorldOptions } from '../support/csi-world.ts'
import { earlierRequest, HARBOR, MOUNT_POD, STAGE } from '../support/mount-facts.ts'

const STARTED = { status: { phase: 'Running', containerStatuses: [{ containerID: 'containerd://1' }] } }
const AWAY = new CodedError('KUBE_UNAVAILABLE', 'connection refused')

/** A volume that a running Pod uses, granted by a request. */
const mounted = async (t: Pick<Test, 'teardown'>, options?: CsiWorldOptions): Promise<CsiWorld> => {
  const world = await csiWorld(t, options)
  world.may(HARBOR, { podPath: true })
  world.request('synced')
  const mount = world.publish()
  await world.time.advance(0)
  if (mount.outcome !== 'OK') throw new Error(`not mounted: ${mount.outcome}`)
  world.pod(MOUNT_POD, STARTED)
  // Past the time in which a no may be the lag of the API server; kubelet has called since.
  await world.time.advance(60_000)
  world.publish()
  await world.time.advance(0)
  world.volumes.written.length = 0
  return world
}

/** One call of kubelet for the volume, to its end. */
const again = async (world: CsiWorld, options?: Parameters<CsiWorld['publish']>[1]): Promise<string | undefined> => {
  const call = world.publish(MOUNT_POD, options)
  await world.time.advance(3_000)
  return call.outcome
}

const snapshot = (world: CsiWorld): string => JSON.stringify([...(world.volumes.targets.get(targetOf(MOUNT_POD)) ?? [])])

await test('nothing has changed: nothing is written, nothing is made, nothing is said', async (t) => {
  const world = await mounted(t)
  const before = world.events()
  const writes = world.kube.writes().length
  t.equal(await again(world), 'OK')
  t.strictSame(world.volumes.written, [])
  t.strictSame(world.events(), before)
  t.equal(world.kube.writes().length, writes)
  t.equal(await world.metric('access_gate_publishes_total', { outcome: 'republished' }), 2)
})

await test('a renewed token replaces what holds it, and nothing else', async (t) => {
  const world = await mounted(t)
  t.equal(await again(world, { tokens: { 'connectors-proxy': 'token-two' } }), 'OK')
  t.equal(world.content('context.token'), 'token-two')
  t.strictSame(world.volumes.written.toSorted(), ['.env', 'context.token', 'http.proxy', 'https.proxy'])
})

await test('a Connector whose proxy moved', async (t) => {
  const world = await mounted(t)
  world.kube.put(CONNECTORS, {
    metadata: { ...HARBOR },
    spec: { connectorClassName: 'harbor', address: 'https://harbor.example.com' },
    status: { proxy: { httpAddress: { url: 'http://elsewhere' } } },
  })
  t.equal(await again(world), 'OK')
  t.equal(world.content('connector.status.proxyAddress'), 'http://elsewhere')
})

/** Faults at a volume that is in use: it stays as it is, and kubelet hears OK. */
const faults: Record<string, { break: (world: CsiWorld) => void; counted: boolean }> = {
  'the API server is away': { break: ({ kube }) => kube.fail('get', PODS, AWAY), counted: true },
  'the permission cannot be asked': { break: ({ kube }) => kube.fail('allows', undefined, AWAY), counted: true },
  'the requests cannot be read': { break: ({ kube }) => kube.fail('list', ACCESS_REQUESTS, AWAY), counted: true },
  'the Connector cannot be read': { break: ({ kube }) => kube.fail('get', CONNECTORS, AWAY), counted: true },
  'the Connector lost the address of its proxy': {
    break: ({ kube }) => kube.put(CONNECTORS, { metadata: { ...HARBOR }, spec: { connectorClassName: 'harbor', address: 'https://harbor.example.com' } }),
    counted: true,
  },
  'the disk takes nothing': { break: ({ volumes }) => volumes.fail('write', new Error('no space')), counted: true },
  'the flags are gone': { break: ({ kube }) => kube.drop(CONFIG_MAPS, 'connectors-system', 'connectors-config'), counted: false },
  'the Pod is being deleted': { break: (world) => void world.pod(MOUNT_POD, { ...STARTED, metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } }), counted: false },
  'a permission that is gone for a moment': {
    break: (world) => {
      world.may(HARBOR, { podPath: false })
      world.time.timers.after(1_000, () => world.may(HARBOR, { podPath: true }))
    },
    counted: false,
  },
}

for (const [what, { break: breakIt, counted }] of Object.entries(faults)) {
  await test(`${what}: the volume stays as it is`, async (t) => {
    const world = await mounted(t)
    const before = snapshot(world)
    breakIt(world)
    await world.time.advance(0)
    t.equal(await again(world), 'OK')
    t.equal(snapshot(world), before)
    t.equal(await world.metric('access_gate_republish_errors_total'), counted ? 1 : 0)
    t.strictSame(world.events().filter((event) => !event.startsWith('AccessMounted')), [])
  })
}

await test('a call that does not agree with the live Pod changes nothing', async (t) => {
  const world = await mounted(t)
  const before = snapshot(world)
  world.connector({ namespace: 'shared', name: 'secret' })
  world.may({ namespace: 'shared', name: 'secret' }, { proxy: true })
  t.equal(await again(world, { attributes: { connectors: 'shared/secret' } }), 'OK')
  t.equal(snapshot(world), before)
})

const revokes: Record<string, { revoke: (world: CsiWorld) => void; reason: RegExp }> = {
  'the request is deleted': {
    revoke: (world) => {
      for (const { metadata } of world.kube.all(ACCESS_REQUESTS)) world.kube.drop(ACCESS_REQUESTS, metadata.namespace, metadata.name)
    },
    reason: /was deleted; a new Pod gets a new one/,
  },
  'the request is rejected later': { revoke: (world) => world.request('rejected'), reason: /ApprovalTask cicd\/deploy-prod was rejected/ },
  'its request has ended': { revoke: (world) => world.request('ended'), reason: /has ended/ },
  'the Role by hand is gone, and its request waits': { revoke: (world) => world.request('waiting'), reason: /access to Connector shared\/harbor was revoked/ },
  'the Connector is gone': { revoke: ({ kube }) => kube.drop(CONNECTORS, 'shared', 'harbor'), reason: /connector "shared\/harbor" not found/ },
}

for (const [what, { revoke, reason }] of Object.entries(revokes)) {
  await test(`access is revoked, ${what}: the files are replaced by the reason`, async (t) => {
    const world = await mounted(t)
    world.may(HARBOR, { podPath: false })
    revoke(world)
    const creations = world.kube.calls.filter(({ verb, resource }) => verb === 'create' && resource === 'accessrequests').length
    const call = world.publish()
    await world.time.advance(1_900)
    t.ok(world.files()?.includes('context.token'), 'a no is heard twice')
    await world.time.advance(200)
    t.equal(call.outcome, 'OK')
    t.strictSame(world.files(), ['.error.json'])
    t.match(JSON.parse(world.content('.error.json')), { code: 7, details: [{ reason: 'AccessRevoked', metadata: { connector: 'shared/harbor' } }] })
    t.match(JSON.parse(world.content('.error.json')).message, reason)
    t.equal(world.events().at(-1), 'AccessRefused volume "tools": access to shared/harbor was revoked; the files were replaced by .error.json')
    t.match([...world.volumes.byVolume.values()], [{ kind: 'refused' }])
    t.equal(world.kube.calls.filter(({ verb, resource }) => verb === 'create' && resource === 'accessrequests').length, creations, 'no request is made')
    t.ok(world.lines.messages().includes('warn access was revoked: the files of a volume were replaced by the reason'))
    const said = world.events().length
    t.equal(await again(world), 'OK')
    t.equal(world.events().length, said, 'said once')
  })
}

await test('a no against a request that is granted has to be heard at two calls in a row', async (t) => {
  const world = await mounted(t)
  const before = snapshot(world)
  const isRefused = (): boolean => world.files()?.join(' ') === '.error.json'
  const callAfter = async (ms: number): Promise<void> => {
    await world.time.advance(ms)
    t.equal(await again(world), 'OK')
  }
  world.may(HARBOR, { podPath: false })
  await callAfter(60_000)
  t.equal(snapshot(world), before, 'once is not enough')
  world.may(HARBOR, { podPath: true })
  await callAfter(60_000)
  world.may(HARBOR, { podPath: false })
  await callAfter(60_000)
  t.equal(snapshot(world), before, 'a yes in between counts')
  await callAfter(1_000)
  t.equal(snapshot(world), before, 'nor are two calls within seconds')
  await callAfter(10_000)
  t.ok(isRefused(), 'the next one is')
  t.match(JSON.parse(world.content('.error.json')), { details: [{ reason: 'AccessRevoked', metadata: { connector: 'shared/harbor' } }] })
  t.strictSame(world.events().filter((event) => event.startsWith('AccessRefused')).length, 1)
})

await test('a call that could not ask is no answer: the next no counts with the one before', async (t) => {
  const world = await mounted(t)
  world.may(HARBOR, { podPath: false })
  await again(world)
  world.kube.fail('allows', undefined, AWAY)
  await world.time.advance(30_000)
  await again(world)
  t.not(world.files()?.join(' '), '.error.json')
  await again(world)
  t.strictSame(world.files(), ['.error.json'])
})

await test('access that is given again brings the files back', async (t) => {
  const world = await mounted(t)
  world.may(HARBOR, { podPath: false })
  world.request('waiting')
  t.equal(await again(world), 'OK')
  t.strictSame(world.files(), ['.error.json'])
  t.equal(await again(world), 'OK')
  t.strictSame(world.files(), ['.error.json'])
  world.may(HARBOR, { proxy: true })
  t.equal(await again(world), 'OK')
  t.ok(world.files()?.includes('context.token'))
  t.notOk(world.files()?.includes('.error.json'))
  t.equal(world.events().at(-1), 'AccessMounted volume "tools": access to shared/harbor was given again; the files are there')
})

await test('after a restart of the plugin a volume in use is still one', async (t) => {
  const { kube, volumes, time } = await mounted(t)
  const restarted = await csiWorld(t, { kube, volumes, time })
  kube.fail('get', PODS, AWAY)
  const before = snapshot(restarted)
  t.equal(await again(restarted), 'OK')
  t.equal(snapshot(restarted), before)
})

/** Mounted, and kubelet has not started a container since: its OK may have been lost. */
const unstarted: Record<string, { change: (world: CsiWorld) => void; outcome: string | RegExp; files: 'left' | 'refused' }> = {
  'all is as before': { change: () => undefined, outcome: 'OK', files: 'left' },
  'the Pod cannot be read': { change: ({ kube }) => kube.fail('get', PODS, AWAY), outcome: /^UNAVAILABLE: the Pod cannot be read now/, files: 'left' },
  'the permission cannot be asked': { change: ({ kube }) => kube.fail('allows', undefined, AWAY), outcome: /^UNAVAILABLE: /, files: 'left' },
  'the flags are gone': { change: ({ kube }) => kube.drop(CONFIG_MAPS, 'connectors-system', 'connectors-config'), outcome: /^UNAVAILABLE: it is not clear now/, files: 'left' },
  'the Pod is being deleted': { change: (world) => void world.pod(MOUNT_POD, { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } }), outcome: /^UNAVAILABLE: /, files: 'left' },
  'the request was rejected': {
    change: (world) => {
      world.may(HARBOR, { podPath: false })
      world.request('rejected')
    },
    outcome: 'OK',
    files: 'refused',
  },
}

for (const [what, { change, outcome, files }] of Object.entries(unstarted)) {
  await test(`a mounted volume before the first container starts, and ${what}: the files are ${files === 'left' ? 'left as they are' : 'replaced by the reason'}`, async (t) => {
    const world = await csiWorld(t)
    world.may(HARBOR, { podPath: true })
    world.request('synced')
    world.publish()
    await world.time.advance(60_000)
    const before = snapshot(world)
    change(world)
    await world.time.advance(0)
    t.match(await again(world), outcome)
    if (files === 'left') t.equal(snapshot(world), before)
    else t.strictSame(world.files(), ['.error.json'])
  })
}

await test('a call that is given up leaves a mounted volume as it is, before the first container starts', async (t) => {
  const world = await csiWorld(t)
  world.may(HARBOR, { podPath: true })
  world.request('synced')
  world.publish()
  await world.time.advance(60_000)
  const before = snapshot(world)
  world.may(HARBOR, { podPath: false })
  const call = world.publish()
  await world.time.advance(500)
  call.cancel()
  await world.time.advance(3_000)
  t.match(call.outcome, /^UNAVAILABLE: /)
  t.equal(snapshot(world), before)
})

await test('an unmount ends the look at a mounted volume that is under way, whatever it waits for, and nothing comes back', async (t) => {
  const cases: Record<string, (world: CsiWorld) => () => void> = {
    'the API server does not answer': ({ kube }) => kube.hold('allows'),
    'a no is to be heard again': (world) => {
      world.may(HARBOR, { podPath: false })
      return () => undefined
    },
  }
  for (const [what, holdUp] of Object.entries(cases)) {
    const world = await mounted(t)
    const goOn = holdUp(world)
    const call = world.publish()
    await world.time.advance(100)
    t.equal(call.outcome, undefined, what)
    const unmount = world.unpublish()
    await world.time.advance(0)
    t.equal(await unmount, 'OK', what)
    t.equal(call.outcome, 'OK', what)
    goOn()
    await world.time.advance(10_000)
    t.strictSame([world.files(), world.volumes.byVolume.size], [undefined, 0], what)
    t.equal(await world.metric('access_gate_republish_errors_total'), 0, what)
  }
})

await test('a state folder that takes nothing takes no volume from a Pod that just started', async (t) => {
  const world = await csiWorld(t)
  world.may(HARBOR, { podPath: true })
  world.request('synced')
  world.publish()
  await world.time.advance(60_000)
  world.pod(MOUNT_POD, STARTED)
  const before = snapshot(world)
  world.volumes.fail('put', new Error('the disk is read-only'))
  world.kube.fail('allows', undefined, AWAY)
  t.equal(await again(world), 'OK')
  t.equal(snapshot(world), before)
})

await test('a refused volume gets no files by the grant of an earlier Pod whose request lost its labels', async (t) => {
  const world = await csiWorld(t)
  world.request('rejected')
  world.publish()
  await world.time.advance(0)
  t.strictSame(world.files(), ['.error.json'])
  world.pod(MOUNT_POD, STARTED)
  // Of its own request nothing is left, on the API server or on record.
  for (const { metadata } of world.kube.all(ACCESS_REQUESTS)) world.kube.drop(ACCESS_REQUESTS, metadata.namespace, metadata.name)
  world.volumes.askedOf.clear()
  const earlier = earlierRequest(HARBOR, STAGE.synced)
  world.kube.put(ACCESS_REQUESTS, { ...earlier, metadata: { ...earlier.metadata, labels: {} } })
  world.may(HARBOR, { podPath: true })
  t.equal(await again(world), 'OK')
  t.strictSame(world.files(), ['.error.json'])
})

await test('what is not mounted whole goes through the whole gate', async (t) => {
  const cases: Record<string, (world: CsiWorld) => void> = {
    'nothing is on the disk': ({ volumes }) => volumes.targets.clear(),
    'nothing is on record': ({ volumes }) => volumes.byVolume.clear(),
  }
  for (const [what, change] of Object.entries(cases)) {
    const world = await mounted(t)
    world.may(HARBOR, { podPath: false })
    change(world)
    const call = world.publish()
    await world.time.advance(10_000)
    t.equal(call.outcome, undefined, what)
    t.strictSame([world.files(), world.volumes.byVolume.size], [undefined, 0], what)
  }
})

await test('the volume of an init container is in use as well', async (t) => {
  const world = await mounted(t)
  world.pod(MOUNT_POD, { status: { phase: 'Pending', initContainerStatuses: [{ containerID: 'containerd://0' }], containerStatuses: [{}] } })
  world.kube.fail('allows', undefined, AWAY)
  t.equal(await again(world), 'OK')
})

await test('an unmount leaves nothing, however often it comes', async (t) => {
  const world = await mounted(t)
  for (const _ of [1, 2]) {
    const unmount = world.unpublish()
    await world.time.advance(0)
    t.equal(await unmount, 'OK')
    t.strictSame([world.files(), world.volumes.byVolume.size], [undefined, 0])
  }
  world.volumes.targets.set('/etc', new Map([['passwd', '']]))
  const stranger = world.plugin.publisher.unpublish('csi-unknown', '/etc', { deadline: Infinity, signal: new AbortController().signal })
  await stranger
  t.ok(world.volumes.targets.has('/etc'), 'what is no volume of ours is not touched')
})
