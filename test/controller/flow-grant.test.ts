/** From the request to the grant and back, write by write. */
import { test } from 'tap'
import { ACCESS_POLICIES, ACCESS_REQUESTS, CONFIG_MAPS, CONNECTORS, PODS } from '../../src/kube/resources.ts'
import { approvedBy, controllerBench, edit, gatedPod, putScene, TASKS, type Bench } from '../support/controller-bench.ts'
import { settle } from '../support/fake-time.ts'
import { CONNECTOR_TEXT, connectorOf, grantOf, inlineCheck, linesOf, POD_TEXT, policyOf, policySpecOf, requestOf, taskOf, type Lines } from '../support/request-facts.ts'
import { flagsOf } from '../support/request-world.ts'

const REQUEST = 'prod-harbor-build-pod'
const STATUS = `replaceStatus accessrequests/${REQUEST}`
const GRANT = grantOf()
const NAME = GRANT.role.metadata.name
const GRANTING = [STATUS, `create roles/${NAME}`, `create rolebindings/${NAME}`, STATUS]
const REVOKING = [`remove rolebindings/${NAME}`, `remove roles/${NAME}`, STATUS]

const lines = (bench: Bench): Lines => linesOf(bench.request()?.status)
const approve = ({ kube }: Bench, ...users: string[]): void => {
  kube.put(TASKS, taskOf('deploy', 'approved', { status: approvedBy(...users) }))
}
/** The statuses that were written for the request, in order: whether the checks had passed, and how far the grant was. */
const story = ({ kube }: Bench): string[] =>
  kube.writes().flatMap(({ verb, resource, body }) => {
    if (resource === 'roles' || resource === 'rolebindings') return [`${verb} ${resource}`]
    if (resource !== 'accessrequests' || verb !== 'replaceStatus') return []
    const { check, sync } = linesOf((body as ReturnType<typeof requestOf>).status)
    return [`${check.split(' ')[0] ?? ''} ${sync.split(' ')[0] ?? ''}`]
  })

await test('a Pod gets its grant when its ApprovalTask is approved, and loses it when it ends', async (t) => {
  const bench = controllerBench(t)
  putScene(bench)
  const { controller } = await bench.start()
  t.equal(controller.leading(), true)
  const waiting: Lines = {
    pod: `True/Active ${POD_TEXT} is active`,
    connector: `True/Resolved ${CONNECTOR_TEXT} is there`,
    policy: 'True/Matched matched by AccessPolicy ask',
    check: 'Unknown/Pending waiting for ApprovalTask cicd/deploy',
    sync: 'Unknown/Pending waiting for the checks',
    ready: 'Unknown/Pending waiting for ApprovalTask cicd/deploy',
  }
  t.strictSame([lines(bench), bench.roles(), bench.newEvents()], [waiting, [], []])
  bench.newWrites()

  approve(bench, 'alice')
  await settle()
  const inPlace = `True/Synced Role and RoleBinding ${NAME} are in place` as const
  t.strictSame(lines(bench), { ...waiting, check: 'True/Passed ApprovalTask cicd/deploy was approved by alice', sync: inPlace, ready: inPlace })
  t.strictSame([bench.newWrites(), bench.newEvents()], [GRANTING, ['Normal AccessGranted']])
  t.match(bench.roles(), [GRANT.role])
  t.match(bench.bindings(), [GRANT.binding])

  await bench.time.advance(600_000)
  t.strictSame(bench.newWrites(), [], 'a settled request causes no further write')

  bench.kube.drop(PODS, 'cicd', 'build-pod')
  await settle()
  t.strictSame([bench.newWrites(), bench.newEvents()], [REVOKING, ['Normal AccessRevoked']])
  t.strictSame([bench.roles(), bench.bindings()], [[], []])
  t.match(lines(bench), {
    pod: `False/NotFound ${POD_TEXT} is gone`,
    check: 'True/Passed ApprovalTask cicd/deploy was approved by alice',
    sync: `True/PermissionCleanUp the temporary permission was removed: ${POD_TEXT} is gone`,
    ready: `False/NotFound ${POD_TEXT} is gone`,
  })
  t.strictSame(story(bench).slice(-7), ['True/Passed Unknown/Pending', 'create roles', 'create rolebindings', 'True/Passed True/Synced', 'remove rolebindings', 'remove roles', 'True/Passed True/PermissionCleanUp'])

  await bench.time.advance(600_000)
  t.strictSame([bench.newWrites(), bench.breaches], [[], []])
})

await test('an approval that is there before the request is granted in one go', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved' })
  await bench.start()
  t.match(lines(bench), { ready: `True/Synced Role and RoleBinding ${NAME} are in place` })
  t.strictSame(bench.breaches, [])
})

type Step = (bench: Bench) => void
const podIs =
  (options: Parameters<typeof gatedPod>[0]): Step =>
  ({ kube }) => {
    kube.put(PODS, gatedPod(options))
  }
const taskIs =
  (state: string): Step =>
  ({ kube }) => {
    kube.put(TASKS, taskOf('deploy', state))
  }
/** What ends a grant, and what is said of it. */
const ENDS: Record<string, { end: Step; says: Partial<Lines> }> = {
  'the Pod succeeds': { end: podIs({ phase: 'Succeeded' }), says: { ready: `False/Completed ${POD_TEXT} has finished (Succeeded)` } },
  'the Pod fails': { end: podIs({ phase: 'Failed' }), says: { ready: `False/Completed ${POD_TEXT} has finished (Failed)` } },
  'another Pod of the name comes': { end: podIs({ metadata: { uid: 'pod-2' } }), says: { ready: `False/Replaced ${POD_TEXT} was replaced by another of the same name (uid pod-2)` } },
  'the Connector goes': { end: ({ kube }) => kube.drop(CONNECTORS, 'connectors-shared', 'prod-harbor'), says: { ready: `False/NotFound ${CONNECTOR_TEXT} is gone` } },
  'the Connector is being deleted': {
    end: ({ kube }) => kube.put(CONNECTORS, connectorOf({ deletionTimestamp: '2026-01-01T00:00:00Z', finalizers: ['x'] })),
    says: { ready: `False/NotFound ${CONNECTOR_TEXT} is gone` },
  },
  'another Connector of the name comes': { end: ({ kube }) => kube.put(CONNECTORS, connectorOf({ uid: 'connector-2' })), says: { ready: `False/NotFound ${CONNECTOR_TEXT} was replaced by another of the same name` } },
  'the approval turns to a rejection': { end: taskIs('rejected'), says: { check: 'False/Rejected ApprovalTask cicd/deploy was rejected' } },
}
for (const [name, { end, says }] of Object.entries(ENDS)) {
  await test(`a grant ends for good when ${name}`, async (t) => {
    const bench = controllerBench(t)
    putScene(bench, { task: 'approved' })
    await bench.start()
    bench.newWrites()
    bench.newEvents()
    end(bench)
    await settle()
    t.match(lines(bench), says)
    t.match(lines(bench).sync, /^True\/PermissionCleanUp /)
    t.strictSame(bench.newWrites().filter((write) => !write.includes('accesspolicies')), REVOKING)
    t.strictSame(bench.newEvents(), name.includes('rejection') ? ['Warning AccessRejected', 'Normal AccessRevoked'] : ['Normal AccessRevoked'])
    // Everything is in order again, and nothing revives it.
    for (const revive of [taskIs('approved'), podIs({}), ({ kube }: Bench) => kube.put(CONNECTORS, connectorOf())]) revive(bench)
    await bench.time.advance(60_000)
    t.strictSame([bench.newWrites().filter((write) => !write.includes('accesspolicies')), bench.roles()], [[], []])
  })
}

/** What changes nothing in a grant. */
const INDIFFERENT: Record<string, Step> = {
  'the ApprovalTask is deleted': ({ kube }) => kube.drop(TASKS, 'cicd', 'deploy'),
  'the ApprovalTask is pending again': taskIs('pending'),
  'another ApprovalTask of the run is rejected': ({ kube }) => kube.put(TASKS, taskOf('late', 'rejected')),
  'the policy is edited': ({ kube }) => kube.put(ACCESS_POLICIES, policyOf('ask', policySpecOf([inlineCheck('other')], 'whole-account'))),
  'the policy is deleted': ({ kube }) => kube.drop(ACCESS_POLICIES, 'connectors-shared', 'ask'),
  'a second policy comes': ({ kube }) => kube.put(ACCESS_POLICIES, policyOf('second')),
  'the role template is edited': (bench) => edit(bench, CONFIG_MAPS, 'in-pod', (configMap) => ({ ...configMap, data: { rules: '[]' } })),
  'approval is turned off': ({ kube }) => kube.put(CONFIG_MAPS, flagsOf('false')),
  'the flags are deleted': ({ kube }) => kube.drop(CONFIG_MAPS, 'connectors-system', 'connectors-config'),
  'the Pod is to be deleted, and is still there': podIs({ metadata: { deletionTimestamp: '2026-01-01T00:00:00Z', finalizers: ['x'] } }),
  'the Pod gets a new annotation': podIs({ metadata: { annotations: { a: 'b' } } }),
}
for (const [name, change] of Object.entries(INDIFFERENT)) {
  await test(`a grant stays when ${name}`, async (t) => {
    const bench = controllerBench(t)
    putScene(bench, { task: 'approved' })
    await bench.start()
    bench.newWrites()
    change(bench)
    await bench.time.advance(120_000)
    t.match([bench.roles(), bench.bindings()], [[GRANT.role], [GRANT.binding]])
    t.match(lines(bench).ready, /^True\/Synced /)
    const writes = bench.newWrites().filter((write) => !write.includes('accesspolicies'))
    t.strictSame(writes, name.includes('to be deleted') ? [STATUS] : [])
  })
}

await test('a Connector that is replaced before anything was granted is matched anew', async (t) => {
  const bench = controllerBench(t)
  putScene(bench)
  await bench.start()
  bench.kube.put(CONNECTORS, connectorOf({ uid: 'connector-2' }))
  await settle()
  t.strictSame([bench.request()?.status?.connectorUID, lines(bench).check], ['connector-2', 'Unknown/Pending waiting for ApprovalTask cicd/deploy'])
  approve(bench)
  await settle()
  t.match(lines(bench).ready, /^True\/Synced /)
})

await test('two policies: both have to pass, and each gets its Role', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved' })
  bench.kube.put(ACCESS_POLICIES, policyOf('scan', policySpecOf([{ name: 'scan', spec: { selector: { objectRef: { apiVersion: TASKS.apiVersion, kind: TASKS.kind, name: 'scan' } } } }], 'whole-account')))
  await bench.start()
  t.match(lines(bench), { check: 'Unknown/Pending there is no ApprovalTask cicd/scan yet', sync: 'Unknown/Pending waiting for the checks' })
  t.strictSame(bench.roles(), [])
  bench.newEvents()
  bench.kube.put(TASKS, taskOf('scan', 'passed', { labels: {} }))
  await settle()
  t.strictSame(bench.roles().map(({ metadata, rules }) => [metadata.labels?.['connectors.alauda.io/accessPolicy'], rules[0]?.resources]), [
    ['ask', ['connectors/proxy/v1/pod/cicd/build-pod']],
    ['scan', ['connectors/proxy']],
  ])
  t.strictSame(bench.newEvents(), ['Normal AccessGranted', 'Warning UnboundGrant'])
  bench.kube.put(TASKS, taskOf('scan', 'denied', { labels: {} }))
  await settle()
  t.strictSame([bench.roles(), bench.bindings(), bench.breaches], [[], [], []])
})

await test('a request without finalizer gets it before anything is granted', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved', request: { metadata: { finalizers: [] } } })
  await bench.start()
  const writes = bench.newWrites()
  t.ok(writes.indexOf(`mergePatch accessrequests/${REQUEST}`) < writes.indexOf(`create roles/${NAME}`) && writes.includes(`mergePatch accessrequests/${REQUEST}`))
  t.match(lines(bench).ready, /^True\/Synced /)
})

await test('with approval off nothing is evaluated; turned on, it goes on', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved', without: ['flags'] })
  await bench.start()
  t.match(lines(bench), { check: /^Unknown\/Pending ConfigMap connectors-system\/connectors-config is missing/ })
  bench.kube.put(CONFIG_MAPS, flagsOf('false'))
  await settle()
  t.match(lines(bench), { check: /^Unknown\/Pending approval is off/ })
  t.strictSame([bench.roles(), bench.request()?.status?.policies], [[], undefined])
  bench.kube.put(CONFIG_MAPS, flagsOf('true'))
  await settle()
  t.match(lines(bench).ready, /^True\/Synced /)
})

await test('what a request waits for wakes it: its policy, its templates, its Connector, its ApprovalTask', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { without: ['policy', 'templates', 'connector', 'task'] })
  await bench.start()
  t.equal(lines(bench).ready, `False/NotFound ${CONNECTOR_TEXT} does not exist`)
  bench.kube.put(CONNECTORS, connectorOf())
  await settle()
  t.equal(lines(bench).ready, `False/NoMatched no AccessPolicy in namespace connectors-shared grants ${CONNECTOR_TEXT} after checks`)
  bench.kube.put(ACCESS_POLICIES, policyOf('ask', policySpecOf([{ name: 'approval', ref: { configMap: { name: 'run-approval' } } }])))
  await settle()
  t.equal(lines(bench).check, 'False/Failed check "approval" of AccessPolicy ask cannot be evaluated: ConfigMap connectors-system/run-approval is missing')
  t.equal(lines(bench).sync, 'False/SyncFailed AccessPolicy ask: ConfigMap connectors-system/in-pod is missing')
  putScene(bench, { without: ['policy', 'connector', 'pod', 'request', 'task', 'flags'] })
  await settle()
  t.equal(lines(bench).ready, 'Unknown/Pending there is no ApprovalTask in namespace cicd with run=run-1 yet')
  taskIs('approved')(bench)
  await settle()
  t.match(lines(bench).ready, /^True\/Synced /)
  t.strictSame(bench.breaches, [])
})

await test('a request that comes while the controller leads is taken up at once', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved', without: ['request'] })
  await bench.start()
  await bench.time.advance(300_000)
  bench.kube.put(ACCESS_REQUESTS, requestOf({ metadata: { creationTimestamp: new Date(bench.time.clock.now()).toISOString() } }))
  await settle()
  t.match(lines(bench).ready, /^True\/Synced /)
})
