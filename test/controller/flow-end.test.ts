/** How requests end: kept for a day, or deleted by somebody. */
import { test } from 'tap'
import { CLEANUP_FINALIZER } from '../../src/api/names.ts'
import { KubeError } from '../../src/kube/kube-error.ts'
import { ACCESS_REQUESTS, PODS, ROLE_BINDINGS, ROLES } from '../../src/kube/resources.ts'
import { controllerBench, edit, gatedPod, putScene, TASKS, type Bench } from '../support/controller-bench.ts'
import { settle } from '../support/fake-time.ts'
import { grantOf, linesOf, taskOf } from '../support/request-facts.ts'

const NAMESPACE = 'connectors-shared'
const REQUEST = 'prod-harbor-build-pod'
const NAME = grantOf().role.metadata.name
const DAY = 86_400_000
const REVOKED = [`remove rolebindings/${NAME}`, `remove roles/${NAME}`]
const RELEASED = `mergePatch accessrequests/${REQUEST}`

const deleteRequest = async ({ kube }: Bench): Promise<void> => {
  await kube.remove(ACCESS_REQUESTS, NAMESPACE, REQUEST)
  await settle()
}

/** How a request became final. */
const FINISHED: Record<string, { task: string; end: (bench: Bench) => void }> = {
  'granted, and its Pod finished': {
    task: 'approved',
    end: ({ kube }) => {
      kube.put(PODS, gatedPod({ phase: 'Succeeded' }))
    },
  },
  'never granted, and its Pod is gone': { task: 'pending', end: ({ kube }) => kube.drop(PODS, 'cicd', 'build-pod') },
  'rejected': {
    task: 'pending',
    end: ({ kube }) => {
      kube.put(TASKS, taskOf('deploy', 'rejected'))
    },
  },
}
for (const [name, { task, end }] of Object.entries(FINISHED)) {
  await test(`a finished request is kept for 24 h, then deleted: ${name}`, async (t) => {
    const bench = controllerBench(t)
    putScene(bench, { task })
    const { controller } = await bench.start('one')
    await bench.time.advance(10_000)
    end(bench)
    await settle()
    const { status } = bench.request() ?? {}
    await bench.time.advance(60_000)
    await controller.stop()
    bench.newWrites()
    bench.newEvents()
    bench.time.freeze(DAY - 70_000)
    await bench.start('two')
    await bench.time.advance(9_000)
    t.strictSame([bench.newWrites(), bench.request()?.status], [[], status])
    await bench.time.advance(2_000)
    t.equal(bench.request(), undefined)
    t.strictSame(bench.newEvents(), [], 'without a word')
  })
}

await test('a controller that runs on through the day deletes it as well', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'rejected' })
  await bench.start()
  // As when the machine slept: the lease has to be got again.
  bench.time.freeze(DAY)
  await bench.time.advance(15_000)
  t.equal(bench.request(), undefined)
})

const THEIRS = 'example.com/stay'

/** When somebody puts a finalizer on both objects of the grant, and how the end comes. */
const HELD: Record<string, { request: boolean; late: boolean }> = {
  'its Pod ends': { request: false, late: false },
  'its request is deleted': { request: true, late: false },
  'its Pod ends, and the watch tells of the finalizer only then': { request: false, late: true },
}
for (const [name, { request, late }] of Object.entries(HELD)) {
  await test(`a finalizer of somebody else does not keep a grant alive: ${name}`, async (t) => {
    const bench = controllerBench(t)
    putScene(bench, { task: 'approved' })
    const { process } = await bench.start()
    const tell = late ? [process.blind(ROLES), process.blind(ROLE_BINDINGS)] : []
    edit(bench, ROLES, NAME, (role) => ({ ...role, metadata: { ...role.metadata, finalizers: [THEIRS] } }))
    edit(bench, ROLE_BINDINGS, NAME, (binding) => ({ ...binding, metadata: { ...binding.metadata, finalizers: [THEIRS] } }))
    await settle()
    if (request) await deleteRequest(bench)
    else bench.kube.drop(PODS, 'cicd', 'build-pod')
    await settle()
    for (const goOn of tell) goOn()
    await settle()
    t.strictSame([bench.roles(), bench.bindings(), bench.breaches], [[], [], []])
    t.equal(bench.newEvents().filter((event) => event === 'Normal AccessRevoked').length, 1)
  })
}

await test('a finished request that somebody deletes goes at once', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'rejected' })
  await bench.start()
  bench.newWrites()
  bench.newEvents()
  await deleteRequest(bench)
  t.strictSame([bench.request(), bench.newEvents(), bench.newWrites().at(-1)], [undefined, [], RELEASED])
})

await test('a request that is deleted loses its grant, then its finalizer, then it is gone', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved' })
  await bench.start()
  bench.newWrites()
  bench.newEvents()
  await deleteRequest(bench)
  t.strictSame([bench.request(), bench.roles(), bench.bindings()], [undefined, [], []])
  t.strictSame(bench.newWrites(), [`remove accessrequests/${REQUEST}`, ...REVOKED, RELEASED])
  t.strictSame(bench.newEvents(), ['Normal AccessRevoked'])
  await bench.time.advance(60_000)
  t.strictSame(bench.newWrites(), [])
})

await test('a request that is deleted before anything was granted goes without an Event', async (t) => {
  const bench = controllerBench(t)
  putScene(bench)
  await bench.start()
  await deleteRequest(bench)
  t.strictSame([bench.request(), bench.newEvents()], [undefined, []])
})

await test('a request that is deleted while no controller runs loses its grant when one does', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved' })
  const { controller } = await bench.start('one')
  await controller.stop()
  await deleteRequest(bench)
  t.equal(bench.roles().length, 1)
  await bench.start('two')
  await bench.time.advance(2_000)
  t.strictSame([bench.request(), bench.roles(), bench.bindings()], [undefined, [], []])
})

await test('the finalizer stays as long as a grant cannot be deleted', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved' })
  await bench.start()
  bench.kube.fail('remove', ROLE_BINDINGS, new KubeError('KUBE_UNAVAILABLE', 'no answer'), { times: 6 })
  await deleteRequest(bench)
  t.strictSame([bench.request()?.metadata.finalizers, bench.bindings().length], [[CLEANUP_FINALIZER], 1])
  await bench.time.advance(30_000)
  t.strictSame([bench.request(), bench.bindings()], [undefined, []])
})

await test("others' finalizers stay, and keep nothing of the grant alive", async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved', request: { metadata: { finalizers: ['theirs', CLEANUP_FINALIZER] } } })
  await bench.start()
  await deleteRequest(bench)
  t.strictSame([bench.request()?.metadata.finalizers, bench.roles(), bench.bindings()], [['theirs'], [], []])
  bench.newWrites()
  bench.kube.put(TASKS, taskOf('deploy', 'approved', { labels: { run: 'run-1', touched: 'yes' } }))
  await bench.time.advance(60_000)
  t.strictSame([bench.newWrites(), bench.roles()], [[], []])
})

await test('a finalizer that is taken off a granted request is put back', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved' })
  await bench.start()
  edit(bench, ACCESS_REQUESTS, REQUEST, (request) => ({ ...request, metadata: { ...request.metadata, finalizers: [] } }))
  await settle()
  t.strictSame(bench.request()?.metadata.finalizers, [CLEANUP_FINALIZER])
})

await test('a request that is deleted and made again is another one', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved' })
  await bench.start()
  await deleteRequest(bench)
  putScene(bench, { without: ['flags', 'templates', 'connector', 'policy', 'pod', 'task'], request: { metadata: { uid: 'request-2' } } })
  await settle()
  t.match(linesOf(bench.request()?.status).ready, /^True\/Synced /)
  t.strictSame(bench.roles().map(({ metadata }) => metadata.ownerReferences?.[0]?.uid), ['request-2'])
  t.not(bench.roles()[0]?.metadata.name, NAME)
})
