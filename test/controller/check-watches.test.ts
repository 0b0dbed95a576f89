import { test, type Test } from 'tap'
import type { KubeObject } from '../../src/api/meta.ts'
import type { CheckObject } from '../../src/core/check.ts'
import { CheckWatches, trimCheckObject, type KindState } from '../../src/controller/check-watches.ts'
import { KubeError } from '../../src/kube/kube-error.ts'
import type { Resource } from '../../src/kube/ports.ts'
import { TASKS } from '../support/controller-bench.ts'
import { fakeTime, settle, type FakeTime } from '../support/fake-time.ts'
import { logLines } from '../support/log-lines.ts'
import { memoryKube, type MemoryKube } from '../support/memory-kube.ts'
import { NOW, taskOf } from '../support/request-facts.ts'

const { apiVersion, kind } = TASKS
const NOT_SERVED = 'waiting the cluster does not serve ApprovalTask (openshift-pipelines.org/v1alpha1) yet'
const FORBIDDEN =
  'failed the controller may not get, list and watch ApprovalTask (openshift-pipelines.org/v1alpha1): allow it by a ClusterRole labelled connectors.alauda.io/aggregate-to-checks: "true"'
const BEING_READ = 'waiting ApprovalTask (openshift-pipelines.org/v1alpha1) is being read'

interface Bench {
  kube: MemoryKube
  time: FakeTime
  checks: CheckWatches
  /** What was told, in order: `kind <kind>` or `object <name> <state>, was <state>`. */
  told: string[]
}

const stateOf = ({ status }: CheckObject): string => JSON.stringify(status)

const bench = (t: Test, isServed = true): Bench => {
  const time = fakeTime(NOW)
  const kube = memoryKube({ now: () => time.clock.now() })
  if (isServed) kube.serve(TASKS)
  const told: string[] = []
  const checks = new CheckWatches({
    kube,
    clock: time.clock,
    timers: time.timers,
    random: () => 0.5,
    logger: logLines().log,
    onObject: (_apiVersion, _kind, object, old) => told.push(`object ${object.metadata.name} ${stateOf(object)}${old === undefined ? '' : `, was ${stateOf(old)}`}`),
    onKind: (_apiVersion, name) => told.push(`kind ${name}`),
  })
  t.teardown(() => checks.stop())
  return { kube, time, checks, told }
}
/** A state as one line; `ready` with the names of the objects. */
const shown = (state: KindState): string => (state.state === 'ready' ? `ready ${[...state.store.values()].map(({ metadata }) => metadata.name).join(',')}` : `${state.state} ${state.message}`)
const look = ({ checks }: Bench): string => shown(checks.lookup(apiVersion, kind))
const forbidden = (): KubeError => new KubeError('KUBE_FORBIDDEN', 'approvaltasks is forbidden')

await test('the first look begins the watch, and one watch serves all', async (t) => {
  const b = bench(t)
  b.kube.put(TASKS, taskOf('deploy', 'pending'))
  t.equal(look(b), BEING_READ)
  t.equal(look(b), BEING_READ)
  await b.checks.answered()
  await settle()
  t.equal(look(b), 'ready deploy')
  t.same(b.told, ['object deploy {"state":"pending"}', 'kind ApprovalTask'])
  b.kube.put(TASKS, taskOf('deploy', 'approved'))
  b.kube.drop(TASKS, 'cicd', 'deploy')
  await settle()
  t.same(b.told.slice(2), ['object deploy {"state":"approved"}, was {"state":"pending"}', 'object deploy {"state":"approved"}'])
  t.equal(b.kube.openWatches, 1)
  t.strictSame([...b.checks.sizes()], [['openshift-pipelines.org/v1alpha1/ApprovalTask', 0]])
})

await test('an object is found under what a check requires of it', async (t) => {
  const b = bench(t)
  b.kube.put(TASKS, taskOf('deploy', 'pending'))
  b.kube.put(TASKS, taskOf('other', 'pending', { labels: { run: 'run-2' } }))
  look(b)
  await settle()
  const state = b.checks.lookup(apiVersion, kind)
  t.strictSame(
    state.state === 'ready' ? state.store.byIndex('check', 'openshift-pipelines.org/v1alpha1/ApprovalTask|cicd|label:run=run-1').map(({ metadata }) => metadata.name) : state,
    ['deploy'],
  )
})

await test('a kind that is not served is waited for and picked up within 5 s', async (t) => {
  const b = bench(t, false)
  look(b)
  await b.checks.answered()
  t.equal(look(b), NOT_SERVED)
  await b.time.advance(60_000)
  t.equal(look(b), NOT_SERVED)
  t.same(b.told, ['kind ApprovalTask'], 'told once')
  b.kube.serve(TASKS)
  b.kube.put(TASKS, taskOf('deploy', 'pending'))
  await b.time.advance(5_000)
  t.equal(look(b), 'ready deploy')
  t.same(b.told.slice(1), ['object deploy {"state":"pending"}', 'kind ApprovalTask'])
})

await test('a kind whose definition is removed is waited for again, with nothing left of its objects', async (t) => {
  const b = bench(t)
  b.kube.put(TASKS, taskOf('deploy', 'approved'))
  look(b)
  await settle()
  b.kube.unserve(TASKS)
  b.kube.endWatches()
  await b.time.advance(10_000)
  t.equal(look(b), NOT_SERVED)
  b.kube.drop(TASKS, 'cicd', 'deploy')
  b.kube.serve(TASKS)
  await b.time.advance(5_000)
  t.equal(look(b), 'ready ')
})

await test('a kind that may not be read is said to be so, and picked up when it may', async (t) => {
  const b = bench(t)
  b.kube.fail('list', TASKS, forbidden(), { times: 3 })
  look(b)
  await b.checks.answered()
  t.equal(look(b), FORBIDDEN)
  await b.time.advance(9_999)
  t.equal(look(b), FORBIDDEN)
  await b.time.advance(5_001)
  t.equal(look(b), 'ready ')
  t.same(b.told, ['kind ApprovalTask', 'kind ApprovalTask'])
})

await test('a right that is taken back is noticed when the watch ends', async (t) => {
  const b = bench(t)
  look(b)
  await settle()
  b.kube.fail('watch', TASKS, forbidden(), { times: 100 })
  b.kube.fail('list', TASKS, forbidden(), { times: 100 })
  b.kube.endWatches()
  await b.time.advance(5_000)
  t.equal(look(b), FORBIDDEN)
})

await test('a kind without namespaces cannot be a check', async (t) => {
  const b = bench(t, false)
  const clusterWide: Resource = { ...TASKS, namespaced: false }
  b.kube.serve(clusterWide)
  look(b)
  await b.checks.answered()
  t.equal(look(b), 'failed ApprovalTask (openshift-pipelines.org/v1alpha1) has no namespace and cannot be a check')
  t.equal(b.kube.openWatches, 0)
})

await test('an API server that does not answer to discovery is told, and asked again', async (t) => {
  const b = bench(t)
  b.kube.fail('resourceFor', undefined, new KubeError('KUBE_UNAVAILABLE', 'no answer'))
  look(b)
  await b.checks.answered()
  t.equal(look(b), 'failed ApprovalTask (openshift-pipelines.org/v1alpha1) cannot be read: no answer')
  await b.time.advance(5_000)
  t.equal(look(b), 'ready ')
})

await test('a list that fails for another reason is told with that reason, and tried again', async (t) => {
  const b = bench(t)
  b.kube.fail('list', TASKS, new KubeError('KUBE_UNAVAILABLE', 'no answer'), { times: 2 })
  look(b)
  await settle()
  t.same([look(b), b.told], ['failed ApprovalTask (openshift-pipelines.org/v1alpha1) cannot be read: no answer', ['kind ApprovalTask']])
  await b.time.advance(5_000)
  t.same([look(b), b.told], ['ready ', ['kind ApprovalTask', 'kind ApprovalTask']])
})

await test('a watch that breaks goes on, and what is known stays in use', async (t) => {
  const b = bench(t)
  b.kube.put(TASKS, taskOf('deploy', 'pending'))
  look(b)
  await settle()
  b.kube.endWatches(new KubeError('KUBE_UNAVAILABLE', 'connection reset'))
  await settle()
  t.equal(look(b), 'ready deploy')
  b.kube.put(TASKS, taskOf('deploy', 'approved'))
  await b.time.advance(5_000)
  t.same(b.told.slice(-1), ['object deploy {"state":"approved"}, was {"state":"pending"}'])
})

await test('a kind that nobody needs any more is watched on for a minute, then let go', async (t) => {
  const b = bench(t)
  look(b)
  await settle()
  const prune = (isNeeded: boolean): void => b.checks.prune((key) => isNeeded && key === 'openshift-pipelines.org/v1alpha1/ApprovalTask')
  prune(false)
  await b.time.advance(60_000)
  prune(false)
  t.equal(b.kube.openWatches, 1, 'not yet')
  prune(true)
  await b.time.advance(60_001)
  prune(false)
  await b.time.advance(60_000)
  prune(false)
  t.equal(b.kube.openWatches, 1, 'needed in between: the minute begins anew')
  await b.time.advance(1)
  prune(false)
  await settle()
  t.same([b.kube.openWatches, [...b.checks.sizes()]], [0, []])
  t.equal(look(b), BEING_READ, 'the next one begins it again')
  await settle()
  t.equal(look(b), 'ready ')
})

await test('stop ends every watch and leaves no timer', async (t) => {
  const b = bench(t)
  look(b)
  b.checks.lookup('example.com/v1', 'Scan')
  await settle()
  await b.checks.stop()
  t.same([b.kube.openWatches, b.time.pendingTimers], [0, 0])
  t.equal(shown(b.checks.lookup('example.com/v1', 'Other')), 'waiting the controller is stopping')
  await b.checks.answered()
})

await test('stop ends also a first read that does not come to an end', async (t) => {
  const b = bench(t)
  const release = b.kube.hold('resourceFor')
  look(b)
  const stopped = b.checks.stop()
  release()
  await stopped
  await b.checks.answered()
  t.equal(b.kube.openWatches, 0)
})

await test('of a check object is kept what a check without an expression reads, and no more', (t) => {
  const status = { state: 'pending', conditions: [], approversResponse: [], large: 'x' }
  const metadata = { name: 'a', namespace: 'ns', uid: 'u', resourceVersion: '1', labels: { run: '1' }, annotations: { large: 'x' } }
  const object: KubeObject & { spec: object; status: object } = { metadata, spec: { large: 'x' }, status }
  t.same(trimCheckObject(object), {
    metadata: { name: 'a', namespace: 'ns', uid: 'u', resourceVersion: '1', labels: { run: '1' } },
    status: { state: 'pending', conditions: [], approversResponse: [] },
  })
  t.same(trimCheckObject({ metadata: { name: 'a' }, status: 'odd' }), { metadata: { name: 'a' } })
  t.end()
})
