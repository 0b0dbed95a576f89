/** Two replicas and one lease: one writes, and another goes on when it ends, however it ends. */
import { test } from 'tap'
import type { Resource } from '../../src/kube/ports.ts'
import { ACCESS_REQUESTS, LEASES, PODS, ROLE_BINDINGS, ROLES } from '../../src/kube/resources.ts'
import { approvedBy, controllerBench, edit, gatedPod, putScene, TASKS, type Bench } from '../support/controller-bench.ts'
import { settle } from '../support/fake-time.ts'
import type { Verb } from '../support/memory-kube.ts'
import { linesOf, requestOf, taskOf } from '../support/request-facts.ts'

const ready = (bench: Bench): string => linesOf(bench.request()?.status).ready
const approve = ({ kube }: Bench): void => {
  kube.put(TASKS, taskOf('deploy', 'approved', { status: approvedBy('alice') }))
}
const holder = ({ kube }: Bench): string | undefined => kube.all(LEASES)[0]?.spec?.holderIdentity

await test('of two replicas only the one that leads writes', async (t) => {
  const bench = controllerBench(t)
  putScene(bench)
  const one = await bench.start('one')
  const two = await bench.start('two')
  approve(bench)
  await bench.time.advance(60_000)
  bench.kube.drop(PODS, 'cicd', 'build-pod')
  await bench.time.advance(60_000)
  t.match(linesOf(bench.request()?.status).sync, /^True\/PermissionCleanUp /)
  t.strictSame([one.controller.leading(), two.controller.leading(), two.process.writes, holder(bench)], [true, false, 0, 'one'])
  t.ok(one.process.writes > 6)
})

/** Where the leader is when its lease runs out unnoticed: in this call. */
const MOMENTS: Record<string, { verb: Verb; resource: Resource }> = {
  'it confirms the facts': { verb: 'get', resource: PODS },
  'it writes that the checks have passed': { verb: 'replaceStatus', resource: ACCESS_REQUESTS },
  'it creates the Role': { verb: 'create', resource: ROLES },
  'it creates the RoleBinding, before the Event': { verb: 'create', resource: ROLE_BINDINGS },
}
for (const [name, { verb, resource }] of Object.entries(MOMENTS)) {
  await test(`a leader that was stopped for longer than its lease while ${name} sends nothing after that call; another goes on`, async (t) => {
    const bench = controllerBench(t)
    putScene(bench)
    const one = await bench.start('one')
    const two = await bench.start('two')
    const release = bench.kube.hold(verb, resource)
    approve(bench)
    await settle()
    const calls = bench.kube.writes().length
    bench.time.freeze(7_001)
    release()
    await settle()
    t.equal(one.controller.leading(), false)
    const late = bench.kube.writes().slice(calls)
    t.strictSame(late.map(({ verb: sent, resource: of, name: what }) => `${sent} ${of}/${what ?? ''}`), [], 'what was under way had been sent before')
    t.strictSame(bench.newEvents(), [])
    one.process.die()
    await bench.time.advance(13_000)
    t.equal(two.controller.leading(), true)
    t.match(ready(bench), /^True\/Synced /)
    t.strictSame([bench.newEvents(), bench.breaches, holder(bench)], [['Normal AccessGranted'], [], 'two'])
  })
}

await test('a leader whose lease another holds stops at its next renewal', async (t) => {
  const bench = controllerBench(t)
  putScene(bench)
  const one = await bench.start('one')
  edit(bench, LEASES, 'access-gate-controller', (lease) => ({ ...lease, spec: { ...lease.spec, holderIdentity: 'thief' } }))
  await bench.time.advance(2_000)
  t.equal(one.controller.leading(), false)
  bench.newWrites()
  approve(bench)
  await bench.time.advance(5_000)
  t.strictSame([bench.newWrites(), bench.newEvents()], [[], []])
  await bench.time.advance(10_000)
  t.equal(one.controller.leading(), true, 'the thief never renewed')
  t.match(ready(bench), /^True\/Synced /)
})

await test('an orderly stop finishes what is under way and hands over within 2 s', async (t) => {
  const bench = controllerBench(t)
  putScene(bench)
  const one = await bench.start('one')
  const two = await bench.start('two')
  const release = bench.kube.hold('create', ROLES)
  approve(bench)
  await settle()
  const stopped = one.controller.stop()
  await settle()
  t.strictSame([bench.bindings(), holder(bench)], [[], 'one'])
  release()
  await stopped
  t.match(ready(bench), /^True\/Synced /)
  t.strictSame([holder(bench), bench.newEvents()], ['', ['Normal AccessGranted']])
  bench.newWrites()
  await bench.time.advance(2_000)
  t.strictSame([two.controller.leading(), bench.newWrites()], [true, []], 'and the other has nothing left to do')
  bench.kube.drop(PODS, 'cicd', 'build-pod')
  await settle()
  t.strictSame([bench.roles(), two.process.writes > 0], [[], true])
})

await test('a grant whose Pod ends while the leader is dead is gone within 20 s', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved' })
  const one = await bench.start('one')
  await bench.start('two')
  await bench.time.advance(5_000)
  one.process.die()
  bench.kube.drop(PODS, 'cicd', 'build-pod')
  await bench.time.advance(20_000)
  t.strictSame([bench.roles(), bench.bindings()], [[], []])
})

await test('a follower knows the kinds of checks of requests that came after it, and writes nothing when it takes over', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { without: ['request', 'pod'] })
  const one = await bench.start('one')
  const two = await bench.start('two')
  bench.kube.put(PODS, gatedPod())
  bench.kube.put(ACCESS_REQUESTS, requestOf())
  await bench.time.advance(1_000)
  t.equal(ready(bench), 'Unknown/Pending waiting for ApprovalTask cicd/deploy')
  // From here on a first read would take its time.
  const release = bench.kube.hold('list', TASKS)
  t.teardown(release)
  await one.controller.stop()
  bench.newWrites()
  await bench.time.advance(10_000)
  t.strictSame([two.controller.leading(), bench.newWrites()], [true, []])
})

await test('a controller asks for the lease when the kinds of checks are read, so that no status says meanwhile that they are not', async (t) => {
  const bench = controllerBench(t)
  putScene(bench)
  const one = await bench.start('one')
  await one.controller.stop()
  bench.newWrites()
  const release = bench.kube.hold('list', TASKS)
  const two = await bench.start('two')
  await bench.time.advance(9_000)
  t.strictSame([two.controller.leading(), bench.newWrites()], [false, []])
  release()
  await bench.time.advance(1_000)
  t.strictSame([two.controller.leading(), bench.newWrites()], [true, []])
})

await test('a kind that cannot be read to an end holds it up for 10 s, no longer', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved' })
  const one = await bench.start('one')
  await one.controller.stop()
  const release = bench.kube.hold('list', TASKS)
  const two = await bench.start('two')
  await bench.time.advance(9_999)
  t.equal(two.controller.leading(), false)
  await bench.time.advance(1)
  t.equal(two.controller.leading(), true)
  bench.kube.drop(PODS, 'cicd', 'build-pod')
  await settle()
  t.strictSame(bench.roles(), [], 'what has ended is revoked all the same')
  release()
})
