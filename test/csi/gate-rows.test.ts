import { test } from 'tap'
import { CodedError } from '../../src/errors.ts'
import { ACCESS_REQUESTS, CONNECTORS } from '../../src/kube/resources.ts'
import { csiWorld, TOKEN, type CsiWorld } from '../support/csi-world.ts'
import { GIT, HARBOR, MOUNT_POD, requestFor, textOf, USER, type Stage } from '../support/mount-facts.ts'

const BUILT_IN = ['.env', 'connector.status.proxyAddress', 'context.token', 'http.proxy', 'https.proxy']
const NAMED = `Connector shared/harbor, AccessRequest ${textOf(requestFor(HARBOR))}:`
const LACKING = `${USER} may use neither connectors/proxy nor connectors/proxy/v1/pod/cicd/build-1 (verb "*") of Connector shared/harbor`
const TWO = { attributes: { connectors: 'shared/harbor,git' } }

const requestNames = (world: CsiWorld): string[] => world.kube.all(ACCESS_REQUESTS).map(textOf)

/** Nothing is left of a mount without an OK, on the disk or on record. */
const isBlank = ({ volumes }: CsiWorld): boolean => volumes.targets.size === 0 && volumes.byVolume.size === 0

await test('row 1: allowed for every Connector: mounted at once, and nothing is asked for', async (t) => {
  const world = await csiWorld(t)
  world.may(HARBOR, { proxy: true })
  const mount = world.publish()
  await world.time.advance(0)
  t.equal(mount.outcome, 'OK')
  t.strictSame(world.files(), BUILT_IN)
  t.equal(world.content('context.token'), TOKEN)
  t.strictSame(requestNames(world), [])
  t.strictSame(world.events(), ['AccessMounted volume "tools": may use shared/harbor; the files are there'])
  t.match([...world.volumes.byVolume.values()], [{ kind: 'files', volumeName: 'tools', pod: MOUNT_POD }])
  t.equal(await world.metric('access_gate_publishes_total', { outcome: 'mounted' }), 1)
  t.match(world.lines.lines.find(({ msg }) => msg === 'volume mounted'), { level: 'info', pod: MOUNT_POD, volume: 'tools', connectors: ['shared/harbor'], outcome: 'mounted' })
})

await test('rows 2, 3 and 5: a request is made and waited for; granted, the API server is asked until it knows', async (t) => {
  const world = await csiWorld(t)
  const mount = world.publish()
  await world.time.advance(3_000)
  t.equal(mount.outcome, undefined)
  t.strictSame(world.kube.all(ACCESS_REQUESTS).map(({ metadata, spec }) => ({ labels: metadata.labels, annotations: metadata.annotations, spec })), [
    (({ metadata, spec }) => ({ labels: metadata.labels, annotations: metadata.annotations, spec }))(requestFor(HARBOR)),
  ])
  t.strictSame(world.events(), [`AccessWaiting volume "tools": ${NAMED} waiting for the controller, which has not looked at it yet`])
  world.request('synced')
  await world.time.advance(300)
  t.equal(mount.outcome, undefined, 'the truth is what the API server says')
  world.may(HARBOR, { podPath: true })
  await world.time.advance(1_100)
  t.equal(mount.outcome, 'OK')
  t.strictSame(world.files(), BUILT_IN)
  t.equal(await world.metric('access_gate_requests_made_total', { result: 'created' }), 1)
})

/** What a pending, refused or failed request makes of a mount call: its outcome at the deadline, and what is in the volume. */
const stages: Record<string, { stage: Stage; outcome: string; files?: string[]; event: string }> = {
  'row 3: pending': {
    stage: 'waiting',
    outcome: `UNAVAILABLE: ${NAMED} waiting for ApprovalTask cicd/deploy-prod`,
    event: `AccessWaiting volume "tools": ${NAMED} waiting for ApprovalTask cicd/deploy-prod`,
  },
  'row 4: rejected': {
    stage: 'rejected',
    outcome: 'OK',
    files: ['.error.json'],
    event: 'AccessRefused volume "tools": access to Connector shared/harbor was rejected: ApprovalTask cicd/deploy-prod was rejected',
  },
  'row 5: granted, and the API server does not know it': {
    stage: 'synced',
    outcome: `UNAVAILABLE: ${NAMED} granted; waiting for the API server to know it`,
    event: `AccessWaiting volume "tools": ${NAMED} granted; waiting for the API server to know it`,
  },
  'row 6: no policy matches': {
    stage: 'no policy',
    outcome: `FAILED_PRECONDITION: ${NAMED} no AccessPolicy in namespace shared grants Connector shared/harbor after checks; ${LACKING}`,
    event: `AccessWaiting volume "tools": ${NAMED} no AccessPolicy in namespace shared grants Connector shared/harbor after checks; ${LACKING}`,
  },
  'row 7: a check failed': {
    stage: 'failed',
    outcome: `UNAVAILABLE: ${NAMED} ApprovalTask cicd/x cannot be evaluated: no such key`,
    event: `AccessWaiting volume "tools": ${NAMED} ApprovalTask cicd/x cannot be evaluated: no such key`,
  },
  'row 7: the grant failed': {
    stage: 'sync failed',
    outcome: `UNAVAILABLE: ${NAMED} AccessPolicy ask: forbidden`,
    event: `AccessWaiting volume "tools": ${NAMED} AccessPolicy ask: forbidden`,
  },
}

for (const [what, { stage, outcome, files, event }] of Object.entries(stages)) {
  await test(what, async (t) => {
    const world = await csiWorld(t)
    world.request(stage)
    const mount = world.publish()
    await world.time.advance(110_000)
    t.equal(mount.outcome, outcome)
    t.strictSame(world.files(), files)
    t.strictSame(world.events(), [event])
    t.equal(isBlank(world), files === undefined)
    t.equal(requestNames(world).length, 1)
  })
}

await test('row 4: what a refused Pod finds is a google.rpc.Status, and no token', async (t) => {
  const world = await csiWorld(t)
  world.request('rejected')
  const mount = world.publish()
  await world.time.advance(0)
  t.equal(mount.outcome, 'OK')
  t.strictSame(JSON.parse(world.content('.error.json')), {
    code: 7,
    message: 'access to Connector shared/harbor was rejected: ApprovalTask cicd/deploy-prod was rejected',
    details: [
      {
        '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
        reason: 'AccessRejected',
        domain: 'connectors.alauda.io',
        metadata: { connector: 'shared/harbor', accessRequest: textOf(requestFor(HARBOR)) },
      },
    ],
  })
  t.match([...world.volumes.byVolume.values()], [{ kind: 'refused' }])
})

await test('row 6: a policy that comes later mounts it all the same', async (t) => {
  const world = await csiWorld(t)
  world.request('no policy')
  const mount = world.publish()
  await world.time.advance(5_000)
  t.equal(mount.outcome, undefined)
  world.may(HARBOR, { podPath: true })
  world.request('synced')
  await world.time.advance(0)
  t.equal(mount.outcome, 'OK')
})

await test('row 8: a Connector that is missing fails the call at once', async (t) => {
  const world = await csiWorld(t)
  world.may(HARBOR, { proxy: true })
  world.kube.drop(CONNECTORS, 'shared', 'harbor')
  const mount = world.publish()
  await world.time.advance(0)
  t.equal(mount.outcome, 'NOT_FOUND: connector "shared/harbor" not found')
  t.ok(isBlank(world))
  t.strictSame(world.events(), ['MountFailed volume "tools": connector "shared/harbor" not found'])
})

await test('what cannot be removed after an error that is final: kubelet is to ask again, and so to unmount it some day', async (t) => {
  const world = await csiWorld(t)
  world.kube.drop(CONNECTORS, 'shared', 'harbor')
  world.volumes.fail('remove', new Error('the disk is read-only'))
  const mount = world.publish()
  await world.time.advance(0)
  t.equal(mount.outcome, 'UNAVAILABLE: connector "shared/harbor" not found')
  t.ok(world.lines.messages().includes('error what is left of a volume could not be removed'))
})

await test('row 8: a configuration that is missing fails the call', async (t) => {
  const world = await csiWorld(t)
  const volume = { attributes: { connectors: 'shared/harbor', 'configuration.names': 'npmrc' } }
  world.pod(MOUNT_POD, volume)
  world.may(HARBOR, { proxy: true })
  const mount = world.publish(MOUNT_POD, volume)
  await world.time.advance(0)
  t.match(mount.outcome, /^NOT_FOUND: /)
  t.ok(isBlank(world))
})

await test('a Connector that the Pod may not even see: no request', async (t) => {
  const world = await csiWorld(t)
  world.may(HARBOR, { get: false })
  const mount = world.publish()
  await world.time.advance(0)
  const why = `${USER} may not get Connector shared/harbor; give it a Role with the verb get on connectors "harbor" in namespace shared`
  t.equal(mount.outcome, `PERMISSION_DENIED: ${why}`)
  t.strictSame(requestNames(world), [])
  t.strictSame(world.events(), [`AccessRefused volume "tools": ${why}`])
})

const twoConnectors = async (t: Parameters<typeof csiWorld>[0]): Promise<CsiWorld> => {
  const world = await csiWorld(t)
  world.flags('true', 'true', { 'enable-multi-connector': 'true' })
  world.connector(GIT)
  world.pod(MOUNT_POD, TWO)
  return world
}

await test('row 9: two Connectors, both must be permitted; each has a request of its own', async (t) => {
  const world = await twoConnectors(t)
  const mount = world.publish(MOUNT_POD, TWO)
  await world.time.advance(2_000)
  t.strictSame(requestNames(world).toSorted(), [textOf(requestFor(GIT)), textOf(requestFor(HARBOR))].toSorted())
  world.may(GIT, { podPath: true })
  world.request('synced', GIT)
  await world.time.advance(20_000)
  t.equal(mount.outcome, undefined)
  world.may(HARBOR, { podPath: true })
  world.request('synced', HARBOR)
  await world.time.advance(0)
  t.equal(mount.outcome, 'OK')
  t.strictSame(world.files(), BUILT_IN)
})

await test('row 9: two Connectors, a rejection of one wins', async (t) => {
  const world = await twoConnectors(t)
  const mount = world.publish(MOUNT_POD, TWO)
  await world.time.advance(2_000)
  world.may(GIT, { podPath: true })
  world.request('synced', GIT)
  world.request('rejected', HARBOR)
  await world.time.advance(0)
  t.equal(mount.outcome, 'OK')
  t.strictSame(world.files(), ['.error.json'])
})

await test('two Connectors in one volume need their flag', async (t) => {
  const world = await twoConnectors(t)
  world.flags('true')
  const mount = world.publish(MOUNT_POD, TWO)
  await world.time.advance(0)
  t.match(mount.outcome, /^INVALID_ARGUMENT: volume "tools" names 2 Connectors; name one, or set enable-multi-connector: "true"/)
})

const flagRows: Record<string, { flags: [string, string]; proxy?: boolean; outcome: RegExp }> = {
  'off and off: to get the Connector is enough': { flags: ['false', 'false'], outcome: /^OK$/ },
  'off and on, allowed to proxy': { flags: ['false', 'true'], proxy: true, outcome: /^OK$/ },
  'off and on, not allowed to proxy': { flags: ['false', 'true'], outcome: /^PERMISSION_DENIED: .* may use neither connectors\/proxy nor / },
  'on and off: as if both were off': { flags: ['true', 'false'], outcome: /^OK$/ },
}

for (const [what, { flags, proxy = false, outcome }] of Object.entries(flagRows)) {
  await test(`flags ${what}; no request is made`, async (t) => {
    const world = await csiWorld(t)
    world.flags(...flags)
    world.may(HARBOR, { proxy })
    const mount = world.publish()
    await world.time.advance(0)
    t.match(mount.outcome, outcome)
    t.strictSame(requestNames(world), [])
  })
}

await test('the Pod itself decides what is mounted, not who calls', async (t) => {
  const other = { ...MOUNT_POD, uid: 'uid-9' }
  const cases: Record<string, { pod?: typeof MOUNT_POD; options?: Parameters<CsiWorld['publish']>[1]; outcome: RegExp }> = {
    'another uid': { pod: other, outcome: /^FAILED_PRECONDITION: Pod cicd\/build-1 has uid "uid-1"/ },
    'another ServiceAccount': { options: { context: { 'csi.storage.k8s.io/serviceAccount.name': 'admin' } }, outcome: /^FAILED_PRECONDITION: .*ServiceAccount "builder"/ },
    'other attributes': { options: { attributes: { connectors: 'shared/secret' } }, outcome: /^FAILED_PRECONDITION: .*other attributes/ },
    'another volume': { options: { volumeName: 'other' }, outcome: /^FAILED_PRECONDITION: .*has no connectors-csi volume "other"/ },
    'a Pod that is not there': { pod: { ...MOUNT_POD, name: 'build-2' }, outcome: /^NOT_FOUND: Pod cicd\/build-2 not found$/ },
    'attributes that are none': { options: { attributes: { connectors: '' } }, outcome: /^INVALID_ARGUMENT: connectors or connector.name is required$/ },
  }
  for (const [what, { pod, options, outcome }] of Object.entries(cases)) {
    const world = await csiWorld(t)
    world.may(HARBOR, { proxy: true })
    const mount = world.publish(pod, options)
    await world.time.advance(0)
    t.match(mount.outcome, outcome, what)
    t.ok(isBlank(world), what)
    t.strictSame(requestNames(world), [], what)
  }
})

await test('a disk that takes no files: unavailable, and nothing is left', async (t) => {
  const faults: Record<string, 'write' | 'put'> = { 'the files': 'write', 'the record': 'put' }
  for (const [what, method] of Object.entries(faults)) {
    const world = await csiWorld(t)
    world.may(HARBOR, { proxy: true })
    world.volumes.fail(method, new CodedError('KUBE_UNAVAILABLE', 'the disk is full'))
    const mount = world.publish()
    await world.time.advance(0)
    t.equal(mount.outcome, 'UNAVAILABLE: the disk is full', what)
    t.ok(isBlank(world), what)
    const again = world.publish()
    await world.time.advance(0)
    t.equal(again.outcome, 'OK', what)
  }
})

await test('nothing secret is logged, said in an Event or recorded', async (t) => {
  const world = await csiWorld(t)
  world.may(HARBOR, { proxy: true })
  const mount = world.publish()
  await world.time.advance(0)
  t.equal(mount.outcome, 'OK')
  const told = JSON.stringify([world.lines.lines, world.events(), [...world.volumes.byVolume.values()], world.kube.calls])
  t.notMatch(told, TOKEN)
})
