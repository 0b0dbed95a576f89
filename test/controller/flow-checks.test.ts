/** Check objects: their kinds come and go, may be read or not, and what they say is recorded. */
import { test } from 'tap'
import type { CheckRule } from '../../src/api/access-policy.ts'
import type { CheckObject } from '../../src/core/check.ts'
import { KubeError } from '../../src/kube/kube-error.ts'
import type { Resource } from '../../src/kube/ports.ts'
import { ACCESS_POLICIES, CONFIG_MAPS, ROLES } from '../../src/kube/resources.ts'
import { approvedBy, controllerBench, putScene, TASKS, type Bench } from '../support/controller-bench.ts'
import { settle } from '../support/fake-time.ts'
import { configMapOf, inlineCheck, linesOf, policyOf, policySpecOf, taskOf, type Lines } from '../support/request-facts.ts'

const lines = (bench: Bench): Lines => linesOf(bench.request()?.status)
const SCANS: Resource<CheckObject> = { apiVersion: 'example.com/v1', kind: 'Scan', plural: 'scans', namespaced: true }
const scanCheck: CheckRule = { name: 'scan', spec: { selector: { objectRef: { apiVersion: SCANS.apiVersion, kind: SCANS.kind, name: '{.object.metadata.name}' } } } }
const scanOf = (status: object): CheckObject => ({ apiVersion: SCANS.apiVersion, kind: SCANS.kind, metadata: { name: 'build-pod', namespace: 'cicd', uid: 'scan-1' }, status })
const useScans = ({ kube }: Bench): void => {
  kube.put(ACCESS_POLICIES, policyOf('ask', policySpecOf([scanCheck])))
}
const READY = /^True\/Synced /
const FORBIDDEN = 'False/Failed the controller may not get, list and watch ApprovalTask (openshift-pipelines.org/v1alpha1): allow it by a ClusterRole labelled connectors.alauda.io/aggregate-to-checks: "true"'
const forbidden = (): KubeError => new KubeError('KUBE_FORBIDDEN', 'approvaltasks is forbidden')

await test('a kind that is not installed is waited for and picked up when it is', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { without: ['policy'] })
  useScans(bench)
  await bench.start()
  t.equal(lines(bench).check, 'Unknown/Pending the cluster does not serve Scan (example.com/v1) yet')
  bench.newWrites()
  await bench.time.advance(600_000)
  t.strictSame(bench.newWrites(), [])
  bench.kube.serve(SCANS)
  await bench.time.advance(5_000)
  t.equal(lines(bench).check, 'Unknown/Pending there is no Scan cicd/build-pod yet')
  bench.kube.put(SCANS, scanOf({ conditions: [{ type: 'Succeeded', status: 'True' }] }))
  await settle()
  t.match(lines(bench).ready, READY)
})

await test('a kind that the controller may not read is an error that names the label to set, and read on once it may', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved' })
  bench.kube.fail('list', TASKS, forbidden(), { times: 4 })
  await bench.start()
  t.strictSame([lines(bench).check, bench.roles()], [FORBIDDEN, []])
  await bench.time.advance(20_000)
  t.match(lines(bench).ready, READY)
})

await test('a right that is taken back while the watch goes on is told as soon as an approval would need it', async (t) => {
  const bench = controllerBench(t)
  putScene(bench)
  await bench.start()
  bench.kube.fail('list', TASKS, forbidden(), { times: 2 })
  bench.kube.put(TASKS, taskOf('deploy', 'approved'))
  await settle()
  t.strictSame([lines(bench).check, bench.roles()], [FORBIDDEN, []])
  await bench.time.advance(120_000)
  t.match(lines(bench).ready, READY)
})

await test('a kind without namespaces cannot be a check', async (t) => {
  const bench = controllerBench(t)
  bench.kube.serve({ ...SCANS, namespaced: false })
  putScene(bench, { without: ['policy'] })
  useScans(bench)
  await bench.start()
  t.equal(lines(bench).check, 'False/Failed Scan (example.com/v1) has no namespace and cannot be a check')
})

await test('a kind is watched only while a request needs it', async (t) => {
  const bench = controllerBench(t)
  bench.kube.serve(SCANS)
  putScene(bench, { without: ['policy', 'request'] })
  useScans(bench)
  await bench.start()
  const scanCalls = (): string[] => bench.kube.calls.filter(({ resource, name }) => resource === 'scans' || name === 'Scan').map(({ verb }) => verb)
  const idle = bench.kube.openWatches
  t.strictSame(scanCalls(), [], 'not before')
  putScene(bench, { without: ['flags', 'templates', 'connector', 'policy', 'pod', 'task'] })
  await settle()
  t.strictSame([scanCalls(), bench.kube.openWatches], [['resourceFor', 'list', 'watch'], idle + 1])
  bench.kube.put(SCANS, scanOf({ state: 'rejected' }))
  await settle()
  t.match(lines(bench).check, /^False\/Rejected /)
  await bench.time.advance(60_000)
  t.equal(bench.kube.openWatches, idle + 1, 'for a while')
  await bench.time.advance(61_000)
  t.equal(bench.kube.openWatches, idle)
})

await test('an approval counts only with approvers that the policy accepts', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { without: ['policy'] })
  bench.kube.put(ACCESS_POLICIES, policyOf('ask', policySpecOf([inlineCheck('approval', { params: [{ name: 'approvers', value: ['alice', 'bob'] }, { name: 'numberOfApprovalsRequired', value: 2 }] })])))
  await bench.start()
  bench.kube.put(TASKS, taskOf('deploy', 'approved', { status: approvedBy('alice', 'eve') }))
  await settle()
  t.match(lines(bench), {
    check: 'False/Rejected ApprovalTask cicd/deploy was approved by alice, eve; 2 approval(s) of alice, bob are required',
    sync: /^True\/PermissionCleanUp nothing was granted/,
  })
  t.strictSame(bench.roles(), [])
})

await test('a check object that gets the label counts; a pending one that loses it no longer does', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { without: ['task'] })
  await bench.start()
  bench.kube.put(TASKS, taskOf('deploy', 'approved', { labels: {} }))
  bench.kube.put(TASKS, taskOf('second', 'pending'))
  await settle()
  t.equal(lines(bench).check, 'Unknown/Pending waiting for ApprovalTask cicd/second')
  bench.kube.put(TASKS, taskOf('second', 'pending', { labels: {} }))
  await settle()
  t.equal(lines(bench).check, 'Unknown/Pending there is no ApprovalTask in namespace cicd with run=run-1 yet')
  bench.kube.put(TASKS, taskOf('deploy', 'approved'))
  await settle()
  t.match(lines(bench).ready, READY)
})

await test('a pass that was recorded survives its object, a wait does not', async (t) => {
  const bench = controllerBench(t)
  bench.kube.serve(SCANS)
  putScene(bench, { task: 'approved', without: ['policy'] })
  bench.kube.put(ACCESS_POLICIES, policyOf('ask', policySpecOf([inlineCheck(), scanCheck])))
  await bench.start()
  bench.kube.drop(TASKS, 'cicd', 'deploy')
  await settle()
  t.equal(lines(bench).check, 'Unknown/Pending there is no Scan cicd/build-pod yet')
  bench.kube.put(SCANS, scanOf({ state: 'passed' }))
  await settle()
  t.match(lines(bench).ready, READY)
})

await test('an expression that fails is tried again, and never a pass', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { without: ['policy'] })
  bench.kube.put(ACCESS_POLICIES, policyOf('ask', policySpecOf([{ name: 'approval', spec: { selector: { objectRef: { apiVersion: TASKS.apiVersion, kind: TASKS.kind, name: 'deploy' } }, state: { cel: 'object.status.verdict' } } }])))
  await bench.start()
  t.match(lines(bench).check, /^False\/Failed ApprovalTask cicd\/deploy cannot be evaluated: /)
  bench.kube.put(TASKS, taskOf('deploy', 'pending', { status: { verdict: 'passed' } }))
  await settle()
  t.match(lines(bench).ready, READY)
})

await test('a template is taken once, and a later edit changes nothing', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { without: ['policy'] })
  bench.kube.put(ACCESS_POLICIES, policyOf('ask', policySpecOf([{ name: 'approval', ref: { configMap: { name: 'run-approval' } } }])))
  await bench.start()
  bench.kube.put(CONFIG_MAPS, configMapOf('run-approval', { spec: 'selector: { objectRef: { apiVersion: example.com/v1, kind: Scan, name: other } }' }))
  bench.kube.put(CONFIG_MAPS, configMapOf('in-pod', { rules: 'nonsense' }))
  bench.kube.put(TASKS, taskOf('deploy', 'approved'))
  await settle()
  t.match(lines(bench).ready, READY)
  t.equal(bench.kube.all(ROLES).length, 1)
})

await test('a role template that reaches too far is refused until it is mended', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved', without: ['templates'] })
  bench.kube.put(CONFIG_MAPS, configMapOf('in-pod', { rules: '[{ apiGroups: [""], resources: [secrets], verbs: [get] }]' }))
  await bench.start()
  t.strictSame([lines(bench).sync, bench.roles()], ['False/SyncFailed AccessPolicy ask: the role template connectors-system/in-pod is refused: its apiGroups are [""]; only ["connectors.alauda.io"] is granted', []])
  putScene(bench, { without: ['flags', 'connector', 'policy', 'pod', 'request', 'task'] })
  await settle()
  t.match(lines(bench).ready, READY)
})
