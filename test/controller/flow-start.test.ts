/** How a request begins: what is written of it before anybody has approved anything. */
import { test } from 'tap'
import type { AccessRequest } from '../../src/api/access-request.ts'
import { ACCESS_POLICIES, CONFIG_MAPS, PODS } from '../../src/kube/resources.ts'
import { controllerBench, edit, gatedPod, putScene, TASKS, type Bench } from '../support/controller-bench.ts'
import { settle } from '../support/fake-time.ts'
import { grantOf, linesOf, policyOf, policySpecOf, taskOf } from '../support/request-facts.ts'

/** What each status that was written says of the checks, in order. */
const told = ({ kube }: Bench): string[] =>
  kube.writes().flatMap(({ verb, resource, body }) => (resource === 'accessrequests' && verb === 'replaceStatus' ? [linesOf((body as AccessRequest).status).check] : []))
const lists = ({ kube }: Bench): number => kube.calls.filter(({ verb, resource }) => verb === 'list' && resource === TASKS.plural).length

const WAITING = 'Unknown/Pending waiting for ApprovalTask cicd/deploy'
const NONE = 'Unknown/Pending there is no ApprovalTask in namespace cicd with run=run-1 yet'
const READING = 'Unknown/Pending ApprovalTask (openshift-pipelines.org/v1alpha1) is being read'

const withSpec = <T extends object>(task: T, ok: boolean): T => ({ ...task, spec: { ok } })

await test('a request that is stored an instant before its Pod, as admission does it, costs one status write until its approval comes', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { without: ['pod'] })
  await bench.start()
  bench.kube.put(PODS, gatedPod())
  await settle()
  t.equal(lists(bench), 1, 'the list that its watch begins with')
  await bench.time.advance(60_000)
  t.strictSame(told(bench), [WAITING])
})

await test('that nothing is there yet is said once, after it was looked for', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { without: ['task'] })
  await bench.start()
  await bench.time.advance(60_000)
  t.strictSame(told(bench), [NONE])
  bench.kube.put(TASKS, taskOf('deploy', 'pending'))
  await settle()
  t.strictSame(told(bench), [NONE, WAITING])
})

await test('what was approved before counts once it is on record and was read from the API server', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved' })
  await bench.start()
  t.strictSame(told(bench), [
    'Unknown/Pending ApprovalTask cicd/deploy was approved; it is read once more before it counts',
    'True/Passed ApprovalTask cicd/deploy was approved',
    'True/Passed ApprovalTask cicd/deploy was approved',
  ])
  t.strictSame(bench.roles().map(({ metadata }) => metadata.name), [grantOf().role.metadata.name])
  t.strictSame(bench.breaches, [])
})

await test('a kind that is slow to be read for the first time is waited for, and then not', async (t) => {
  const bench = controllerBench(t)
  const release = bench.kube.hold('list', TASKS)
  putScene(bench)
  await bench.start()
  await bench.time.advance(1_999)
  t.strictSame(told(bench), [], 'nothing is said of what is being looked for')
  await bench.time.advance(1)
  t.strictSame(told(bench), [READING])
  release()
  await settle()
  t.strictSame(told(bench), [READING, WAITING])
})

await test('a kind that is read in time is told of at once', async (t) => {
  const bench = controllerBench(t)
  const release = bench.kube.hold('list', TASKS)
  putScene(bench)
  await bench.start()
  await bench.time.advance(500)
  release()
  await settle()
  t.strictSame(told(bench), [WAITING])
})

await test('an expression is asked about the object that is there, before anything is said', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { without: ['policy'] })
  const check = { name: 'approval', spec: { selector: { objectRef: { apiVersion: TASKS.apiVersion, kind: TASKS.kind, name: 'deploy' } }, state: { cel: 'object.spec.ok ? "passed" : "pending"' } } }
  bench.kube.put(ACCESS_POLICIES, policyOf('ask', policySpecOf([check])))
  bench.kube.put(TASKS, withSpec(taskOf('deploy', 'pending'), false))
  await bench.start()
  await bench.time.advance(60_000)
  t.strictSame(told(bench), [WAITING])
  edit(bench, TASKS, 'deploy', (task) => withSpec(task, true))
  await settle()
  t.match(linesOf(bench.request()?.status).ready, /^True\/Synced /)
})

await test('an expression whose template comes late is not asked about what a cache has left of the object', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { without: ['policy'] })
  bench.kube.put(ACCESS_POLICIES, policyOf('ask', policySpecOf([{ name: 'approval', ref: { configMap: { name: 'late' } } }])))
  bench.kube.put(TASKS, withSpec(taskOf('deploy', 'pending'), true))
  await bench.start()
  t.match(told(bench), [/^False\/Failed .*ConfigMap connectors-system\/late is missing/])
  const spec = JSON.stringify({ selector: { objectRef: { apiVersion: TASKS.apiVersion, kind: TASKS.kind, name: 'deploy' } }, state: { cel: 'has(object.spec) && object.spec.ok ? "passed" : "rejected"' } })
  bench.kube.put(CONFIG_MAPS, { metadata: { name: 'late', namespace: 'connectors-system' }, data: { spec } })
  await settle()
  t.match(linesOf(bench.request()?.status).ready, /^True\/Synced /)
})
