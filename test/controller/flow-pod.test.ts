/** The Pod of a request: seen, unseen, of another make, finished, gone. */
import { test } from 'tap'
import { KubeError } from '../../src/kube/kube-error.ts'
import { ACCESS_POLICIES, PODS, ROLE_BINDINGS } from '../../src/kube/resources.ts'
import { controllerBench, gatedPod, putScene, TASKS, type Bench } from '../support/controller-bench.ts'
import { settle } from '../support/fake-time.ts'
import { APPROVAL_TASKS, linesOf, POD_TEXT, podOf, policyOf, policySpecOf, taskOf, type Lines } from '../support/request-facts.ts'

const lines = (bench: Bench): Lines => linesOf(bench.request()?.status)
const podGets = ({ kube }: Bench): number => kube.calls.filter(({ verb, resource }) => verb === 'get' && resource === 'pods').length
const approve = ({ kube }: Bench): void => {
  kube.put(TASKS, taskOf('deploy', 'approved'))
}

await test('a Pod that loses its label is not gone: it is asked for every 4 s, and its end ends the grant', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved' })
  await bench.start()
  bench.newWrites()
  await bench.time.advance(60_000)
  const before = podGets(bench)
  bench.kube.put(PODS, podOf())
  await settle()
  t.equal(podGets(bench) - before, 1, 'at once')
  await bench.time.advance(60_000)
  t.equal(podGets(bench) - before, 16, 'and every 4 s')
  t.strictSame([bench.newWrites(), bench.roles().length], [[], 1])
  bench.kube.drop(PODS, 'cicd', 'build-pod')
  await bench.time.advance(4_000)
  t.strictSame([lines(bench).ready, bench.roles()], [`False/NotFound ${POD_TEXT} is gone`, []])
  const after = podGets(bench)
  await bench.time.advance(60_000)
  t.equal(podGets(bench), after, 'not asked for any more')
})

await test('a Pod that gets its label back is not asked for any more', async (t) => {
  const bench = controllerBench(t)
  putScene(bench)
  await bench.start()
  bench.kube.put(PODS, podOf())
  await settle()
  bench.kube.put(PODS, gatedPod())
  await bench.time.advance(8_000)
  const before = podGets(bench)
  await bench.time.advance(60_000)
  t.equal(podGets(bench), before)
})

await test('the end of a Pod without label is noticed in time also while one of two grants cannot be written', async (t) => {
  const bench = controllerBench(t)
  putScene(bench)
  bench.kube.put(ACCESS_POLICIES, policyOf('scan', policySpecOf(undefined, 'whole-account')))
  await bench.start()
  bench.kube.fail('create', ROLE_BINDINGS, new KubeError('KUBE_UNAVAILABLE', 'no answer'), { times: 1_000 })
  approve(bench)
  await settle()
  bench.kube.put(PODS, podOf())
  await bench.time.advance(60_000)
  const before = podGets(bench)
  await bench.time.advance(60_000)
  t.ok(podGets(bench) - before >= 15, 'its Pod is asked for every 4 s, however long the backoff is by now')
  t.match(lines(bench).sync, /^False\/SyncFailed /)
  bench.kube.drop(PODS, 'cicd', 'build-pod')
  await bench.time.advance(4_000)
  t.strictSame([lines(bench).ready, bench.roles()], [`False/NotFound ${POD_TEXT} is gone`, []])
})

await test('a request that is there before its Pod waits for it, and goes on when it comes', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved', without: ['pod'] })
  await bench.start()
  await bench.time.advance(1_999)
  t.strictSame(bench.newWrites(), ['replaceStatus accesspolicies/ask'], 'mostly it comes an instant later, so nothing is written of it at first')
  await bench.time.advance(1)
  t.equal(lines(bench).ready, `Unknown/Pending ${POD_TEXT} with uid pod-1 is not there yet`)
  await bench.time.advance(57_000)
  bench.kube.put(PODS, gatedPod())
  await settle()
  t.match(lines(bench).ready, /^True\/Synced /)
})

await test('a Pod that no watch shows is found within 4 s', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved', without: ['pod'] })
  await bench.start()
  bench.kube.put(PODS, podOf())
  await bench.time.advance(4_000)
  t.match(lines(bench).ready, /^True\/Synced /)
})

await test('a request whose Pod was never seen is deleted after 60 s, and an Event says so', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { without: ['pod'] })
  const { logs } = await bench.start()
  await bench.time.advance(59_999)
  t.type(bench.request(), 'object')
  bench.newWrites()
  await bench.time.advance(1)
  t.equal(bench.request(), undefined)
  t.strictSame(bench.newEvents(), ['Warning PodNeverSeen'])
  t.strictSame(bench.newWrites(), ['remove accessrequests/prod-harbor-build-pod', 'mergePatch accessrequests/prod-harbor-build-pod'])
  t.match(logs.lines.filter(({ level }) => level === 'warn'), [{ msg: `${POD_TEXT} with uid pod-1 never came; the request is deleted`, podUid: 'pod-1', reason: 'PodNeverSeen' }])
})

await test('a predecessor of the name does not stand for the Pod', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved', without: ['pod'] })
  bench.kube.put(PODS, gatedPod({ metadata: { uid: 'pod-0' } }))
  await bench.start()
  await bench.time.advance(2_000)
  t.equal(lines(bench).ready, `Unknown/Pending ${POD_TEXT} with uid pod-1 is not there yet`)
  bench.kube.put(PODS, gatedPod())
  await settle()
  t.match(lines(bench).ready, /^True\/Synced /)
  t.strictSame(bench.roles().map(({ metadata }) => metadata.annotations?.['connectors.alauda.io/pod-uid']), ['pod-1'])
})

await test('a request without uid stays open to the first live Pod of the name, and is bound to it', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved', without: ['pod'], request: { podUid: null } })
  bench.kube.put(PODS, gatedPod({ metadata: { uid: 'pod-0' }, phase: 'Succeeded' }))
  await bench.start()
  await bench.time.advance(600_000)
  t.equal(lines(bench).ready, `False/NotFound there is no live ${POD_TEXT} yet`)
  bench.kube.put(PODS, gatedPod())
  await settle()
  t.match(lines(bench).ready, /^True\/Synced /)
  t.equal(bench.request()?.status?.contextUID, 'pod-1')
  bench.kube.put(PODS, gatedPod({ metadata: { uid: 'pod-2' } }))
  await settle()
  t.strictSame([bench.roles(), bench.request()?.status?.contextUID], [[], 'pod-1'])
})

await test('a request without uid finds a Pod that no watch shows within 30 s', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved', without: ['pod'], request: { podUid: null } })
  await bench.start()
  bench.kube.put(PODS, podOf())
  await bench.time.advance(30_000)
  t.match(lines(bench).ready, /^True\/Synced /)
})

await test('a request without uid is not bound to a Pod that only the cache still shows', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { without: ['request', 'pod', 'policy'] })
  bench.kube.put(PODS, gatedPod({ metadata: { uid: 'pod-0' } }))
  const { process } = await bench.start()
  process.blind(PODS)
  bench.kube.put(PODS, gatedPod())
  putScene(bench, { without: ['flags', 'templates', 'connector', 'policy', 'pod', 'task'], request: { podUid: null } })
  await settle()
  t.equal(bench.request()?.status?.contextUID, 'pod-1')
})

const MISMATCHES: Record<string, { pod: Parameters<typeof gatedPod>[0]; says: string }> = {
  'runs as another ServiceAccount': { pod: { serviceAccountName: 'other' }, says: `${POD_TEXT} runs as ServiceAccount "other"; the request is for ServiceAccount "cicd/builder"` },
  'has no volume for the Connector': { pod: { connectors: 'connectors-shared/other' }, says: `${POD_TEXT} has no connectors-csi volume that names Connector connectors-shared/prod-harbor` },
}
for (const [name, { pod, says }] of Object.entries(MISMATCHES)) {
  await test(`nothing is granted to a Pod that ${name}`, async (t) => {
    const bench = controllerBench(t)
    putScene(bench, { task: 'approved', without: ['pod'] })
    bench.kube.put(PODS, gatedPod(pod))
    await bench.start()
    await bench.time.advance(60_000)
    t.strictSame([lines(bench).ready, bench.roles()], [`False/NotFound ${says}`, []])
    bench.kube.drop(PODS, 'cicd', 'build-pod')
    await settle()
    t.match(lines(bench).sync, /^True\/PermissionCleanUp nothing was granted/)
  })
}

await test('a Pod that finishes before its approval gets nothing from a late one', async (t) => {
  const bench = controllerBench(t)
  putScene(bench)
  await bench.start()
  bench.kube.put(PODS, gatedPod({ phase: 'Failed' }))
  await settle()
  t.match(lines(bench), { ready: `False/Completed ${POD_TEXT} has finished (Failed)`, sync: `True/PermissionCleanUp nothing was granted: ${POD_TEXT} has finished (Failed)` })
  bench.newWrites()
  approve(bench)
  await bench.time.advance(60_000)
  t.strictSame([bench.newWrites(), bench.roles(), bench.newEvents()], [[], [], []])
})

await test('no grant is started for a terminating Pod; it ends without one', async (t) => {
  const bench = controllerBench(t)
  putScene(bench)
  await bench.start()
  bench.kube.put(PODS, gatedPod({ metadata: { deletionTimestamp: '2026-01-01T00:00:00Z', finalizers: ['x'] } }))
  approve(bench)
  await settle()
  t.strictSame([lines(bench).check, bench.roles()], ['Unknown/Pending the checks have passed, but no grant is started for a terminating Pod', []])
  bench.kube.drop(PODS, 'cicd', 'build-pod')
  await settle()
  t.match(lines(bench).sync, /^True\/PermissionCleanUp nothing was granted/)
})

await test('what an expression reads of a Pod wakes its request, whatever it is', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { without: ['policy', 'pod'] })
  const cel = "'example.com/approved' in context.metadata.annotations ? 'passed' : 'pending'"
  bench.kube.put(ACCESS_POLICIES, policyOf('ask', policySpecOf([{ name: 'approval', spec: { selector: { objectRef: { ...APPROVAL_TASKS, name: 'deploy' } }, state: { cel } } }])))
  bench.kube.put(PODS, gatedPod({ metadata: { annotations: { a: 'b' } } }))
  await bench.start()
  t.equal(lines(bench).check, 'Unknown/Pending waiting for ApprovalTask cicd/deploy')
  bench.kube.put(PODS, gatedPod({ metadata: { annotations: { 'example.com/approved': 'yes' } } }))
  await settle()
  t.match(lines(bench).ready, /^True\/Synced /)
})

await test('the API server not answering about a Pod ends nothing', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved' })
  await bench.start()
  bench.kube.fail('get', PODS, new KubeError('KUBE_UNAVAILABLE', 'no answer'), { times: 8 })
  bench.kube.put(PODS, podOf())
  await bench.time.advance(1_000)
  t.match(lines(bench).ready, /^True\/Synced /)
  bench.kube.drop(PODS, 'cicd', 'build-pod')
  await bench.time.advance(120_000)
  t.strictSame(bench.roles(), [])
})
