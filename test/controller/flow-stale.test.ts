/** Caches that are behind: nothing is granted from what only they show, and nothing that only they do not know of is taken away. */
import { test } from 'tap'
import type { Resource } from '../../src/kube/ports.ts'
import { ACCESS_POLICIES, ACCESS_REQUESTS, CONFIG_MAPS, CONNECTORS, PODS, ROLE_BINDINGS, ROLES } from '../../src/kube/resources.ts'
import { approvedBy, controllerBench, edit, gatedPod, putScene, TASKS, type Bench } from '../support/controller-bench.ts'
import { settle } from '../support/fake-time.ts'
import { CONNECTOR_TEXT, configMapOf, connectorOf, grantOf, inlineCheck, linesOf, POD_TEXT, policyOf, policySpecOf, statusOf, taskOf, UNBOUND_RULES, type Lines } from '../support/request-facts.ts'
import { flagsOf } from '../support/request-world.ts'

const NAMESPACE = 'connectors-shared'
const REQUEST = 'prod-harbor-build-pod'
const NAME = grantOf().role.metadata.name
const lines = (bench: Bench): Lines => linesOf(bench.request()?.status)
const approve = ({ kube }: Bench): void => {
  kube.put(TASKS, taskOf('deploy', 'approved', { status: approvedBy('alice') }))
}
const requestWrites = (bench: Bench): string[] => bench.newWrites().filter((write) => !write.includes('accesspolicies'))

/** What changes for the API server alone, just before the approval arrives; the caches show it as it was. */
const UNSEEN: Record<string, { resource: Resource; change: (bench: Bench) => void; says: Partial<Lines> }> = {
  'the approval was taken back': {
    resource: TASKS,
    change: ({ kube }) => {
      kube.put(TASKS, taskOf('deploy', 'pending'))
    },
    says: { check: 'Unknown/Pending waiting for ApprovalTask cicd/deploy' },
  },
  'it was rejected': {
    resource: TASKS,
    change: ({ kube }) => {
      kube.put(TASKS, taskOf('deploy', 'rejected'))
    },
    says: { check: 'False/Rejected ApprovalTask cicd/deploy was rejected' },
  },
  'a second ApprovalTask is pending': {
    resource: TASKS,
    change: ({ kube }) => {
      kube.put(TASKS, taskOf('second', 'pending'))
    },
    says: { check: 'Unknown/Pending waiting for ApprovalTask cicd/second' },
  },
  'the Pod is gone': { resource: PODS, change: ({ kube }) => kube.drop(PODS, 'cicd', 'build-pod'), says: { ready: `False/NotFound ${POD_TEXT} is gone` } },
  'another Pod has the name': {
    resource: PODS,
    change: ({ kube }) => {
      kube.put(PODS, gatedPod({ metadata: { uid: 'pod-2' } }))
    },
    says: { ready: `False/Replaced ${POD_TEXT} was replaced by another of the same name (uid pod-2)` },
  },
  'the Pod has finished': {
    resource: PODS,
    change: ({ kube }) => {
      kube.put(PODS, gatedPod({ phase: 'Succeeded' }))
    },
    says: { ready: `False/Completed ${POD_TEXT} has finished (Succeeded)` },
  },
  'the Pod is to be deleted': {
    resource: PODS,
    change: ({ kube }) => {
      kube.put(PODS, gatedPod({ metadata: { deletionTimestamp: '2026-01-01T00:00:00Z', finalizers: ['x'] } }))
    },
    says: { check: 'Unknown/Pending the checks have passed, but no grant is started for a terminating Pod' },
  },
  'the Connector is gone': { resource: CONNECTORS, change: ({ kube }) => kube.drop(CONNECTORS, NAMESPACE, 'prod-harbor'), says: { ready: `False/NotFound ${CONNECTOR_TEXT} does not exist` } },
  'the Connector is being deleted': {
    resource: CONNECTORS,
    change: ({ kube }) => {
      kube.put(CONNECTORS, connectorOf({ deletionTimestamp: '2026-01-01T00:00:00Z', finalizers: ['x'] }))
    },
    says: { ready: `False/NotFound ${CONNECTOR_TEXT} does not exist` },
  },
  'another Connector has the name': {
    resource: CONNECTORS,
    change: ({ kube }) => {
      kube.put(CONNECTORS, connectorOf({ uid: 'connector-2' }))
      kube.drop(ACCESS_POLICIES, NAMESPACE, 'ask')
    },
    says: { policy: `False/NoMatched no AccessPolicy in namespace ${NAMESPACE} grants ${CONNECTOR_TEXT} after checks` },
  },
  'approval was turned off': {
    resource: CONFIG_MAPS,
    change: ({ kube }) => {
      kube.put(CONFIG_MAPS, flagsOf('false'))
    },
    says: { check: 'Unknown/Pending approval is off: ConfigMap connectors-system/connectors-config says enable-connectors-approval: "false"' },
  },
  'the flags are gone': {
    resource: CONFIG_MAPS,
    change: ({ kube }) => kube.drop(CONFIG_MAPS, 'connectors-system', 'connectors-config'),
    says: { check: 'Unknown/Pending ConfigMap connectors-system/connectors-config is missing or cannot be read, so nobody knows whether approval is on' },
  },
}
for (const [name, { resource, change, says }] of Object.entries(UNSEEN)) {
  await test(`an approval is not granted when, unseen by the caches, ${name}`, async (t) => {
    const bench = controllerBench(t)
    putScene(bench)
    const { process } = await bench.start()
    let see: () => void
    if (resource === TASKS) {
      // The cache has the approval; the change comes before it is confirmed.
      const release = bench.kube.hold('list', TASKS)
      approve(bench)
      await settle()
      see = process.blind(TASKS)
      change(bench)
      release()
    } else {
      see = process.blind(resource)
      change(bench)
      approve(bench)
    }
    await settle()
    t.strictSame([bench.roles(), bench.bindings(), bench.breaches], [[], [], []])
    t.match(lines(bench), says)
    await bench.time.advance(30_000)
    bench.newWrites()
    see()
    await bench.time.advance(5_000)
    t.match(lines(bench), says, 'and it stays so when the caches see it')
    t.strictSame([bench.roles(), requestWrites(bench)], [[], []])
  })
}

await test('policies and templates are taken from the API server, whatever the caches show', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved', without: ['request'] })
  const { process } = await bench.start()
  process.blind(CONFIG_MAPS)
  process.blind(ACCESS_POLICIES)
  bench.kube.put(CONFIG_MAPS, configMapOf('in-pod', { rules: UNBOUND_RULES }))
  bench.kube.put(ACCESS_POLICIES, policyOf('ask', policySpecOf([inlineCheck('approval', { params: [{ name: 'approvers', value: ['alice'] }] })])))
  bench.kube.put(ACCESS_POLICIES, policyOf('second', policySpecOf(undefined, 'whole-account')))
  putScene(bench, { without: ['flags', 'templates', 'connector', 'policy', 'pod', 'task'] })
  await settle()
  t.strictSame([bench.request()?.status?.policies?.map(({ name, checks, rules }) => [name, checks?.[0]?.approvers, rules === undefined]), bench.roles()], [
    [
      ['ask', ['alice'], true],
      ['second', undefined, false],
    ],
    [],
  ])
  t.match(lines(bench), { check: /False\/Rejected ApprovalTask cicd\/deploy was approved by nobody it names/ })
})

await test('a request that changed behind the back of the cache is read again, and what it says now is done', async (t) => {
  const bench = controllerBench(t)
  putScene(bench)
  const { process, logs } = await bench.start()
  process.blind(ACCESS_REQUESTS)
  edit(bench, ACCESS_REQUESTS, REQUEST, (request) => ({ ...request, metadata: { ...request.metadata, labels: { edited: 'yes' } } }))
  bench.newWrites()
  approve(bench)
  await settle()
  t.match(lines(bench).ready, /^True\/Synced /)
  t.strictSame([bench.request()?.metadata.labels, requestWrites(bench).length], [{ edited: 'yes' }, 4])
  t.strictSame(logs.lines.filter(({ level }) => level === 'warn' || level === 'error'), [])
})

await test('a status that is refused because the request changed meanwhile is decided anew', async (t) => {
  const bench = controllerBench(t)
  putScene(bench)
  const { logs } = await bench.start()
  const release = bench.kube.hold('replaceStatus', ACCESS_REQUESTS)
  approve(bench)
  await settle()
  edit(bench, ACCESS_REQUESTS, REQUEST, (request) => ({ ...request, metadata: { ...request.metadata, labels: { edited: 'yes' } } }))
  release()
  await settle()
  t.ok(logs.messages().includes('debug looking again'))
  t.match(lines(bench).ready, /^True\/Synced /)
  t.strictSame(bench.breaches, [])
  t.strictSame(logs.lines.filter(({ level }) => level === 'warn' || level === 'error'), [], 'a race is no failure')
})

const finalBy = (bench: Bench): void => {
  edit(bench, ACCESS_REQUESTS, REQUEST, (request) => ({ ...request, status: statusOf({ ...linesOf(request.status), sync: 'True/PermissionCleanUp by another' }, request.status?.policies ?? []) }))
}
/** How far the request was, as the cache shows it, when another writer made it final. */
const BEFORE_FINAL: Record<string, { task: string; happens: (bench: Bench) => void }> = {
  'and an approval arrives': { task: 'pending', happens: approve },
  'and its Role was removed': {
    task: 'approved',
    happens: ({ kube }) => {
      kube.drop(ROLE_BINDINGS, NAMESPACE, NAME)
      kube.drop(ROLES, NAMESPACE, NAME)
    },
  },
  'and its RoleBinding was edited': { task: 'approved', happens: (bench) => edit(bench, ROLE_BINDINGS, NAME, (binding) => ({ ...binding, subjects: [] })) },
}
for (const [name, { task, happens }] of Object.entries(BEFORE_FINAL)) {
  await test(`a request that another writer made final gets no Role, though the cache shows the older one, ${name}`, async (t) => {
    const bench = controllerBench(t)
    putScene(bench, { task })
    const { process } = await bench.start()
    const see = process.blind(ACCESS_REQUESTS)
    finalBy(bench)
    bench.newWrites()
    happens(bench)
    await bench.time.advance(10_000)
    t.strictSame(requestWrites(bench).filter((write) => !write.startsWith('remove ')), [])
    t.strictSame([bench.bindings(), bench.roles()], [[], []])
    see()
    await bench.time.advance(10_000)
    t.strictSame([bench.newWrites(), lines(bench).sync], [[], 'True/PermissionCleanUp by another'])
  })
}

await test('a request that was replaced by another of the name gets nothing on the word of the first', async (t) => {
  const bench = controllerBench(t)
  putScene(bench)
  const { process } = await bench.start()
  const see = process.blind(ACCESS_REQUESTS)
  bench.kube.drop(ACCESS_REQUESTS, NAMESPACE, REQUEST)
  putScene(bench, { without: ['flags', 'templates', 'connector', 'policy', 'pod', 'task'], request: { metadata: { uid: 'request-2' }, spec: { subject: { kind: 'ServiceAccount', name: 'other', namespace: 'cicd' } } } })
  bench.newWrites()
  approve(bench)
  await bench.time.advance(10_000)
  t.strictSame([bench.newWrites(), bench.roles()], [[], []])
  see()
  await bench.time.advance(31_000)
  t.match(lines(bench).pod, /^False\/NotFound Pod cicd\/build-pod runs as ServiceAccount "builder"/)
  t.strictSame(bench.roles(), [])
})

await test('a new leader whose cache does not know of the pass yet leaves the grant alone', async (t) => {
  const bench = controllerBench(t)
  putScene(bench)
  const one = await bench.start('one')
  const two = await bench.start('two')
  const see = two.process.blind(ACCESS_REQUESTS)
  approve(bench)
  await settle()
  t.equal(bench.roles().length, 1)
  // So that nothing but the status tells of the pass.
  bench.kube.drop(TASKS, 'cicd', 'deploy')
  await one.controller.stop()
  bench.newWrites()
  await bench.time.advance(3_000)
  t.equal(two.controller.leading(), true)
  t.strictSame([bench.newWrites(), bench.roles().length], [[], 1])
  see()
  await bench.time.advance(3_000)
  t.strictSame([bench.newWrites(), bench.roles().length], [[], 1])
})

await test('a Role that waits under the name of the grant goes, and the grant is made once', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved' })
  bench.kube.put(ROLES, { ...grantOf().role, rules: [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }] })
  const { logs } = await bench.start()
  t.match(lines(bench).ready, /^True\/Synced /)
  t.strictSame(requestWrites(bench).filter((write) => write.includes('role')), [`remove roles/${NAME}`, `create roles/${NAME}`, `create rolebindings/${NAME}`])
  t.match(bench.roles(), [grantOf().role])
  t.strictSame(logs.lines.filter(({ level }) => level === 'warn' || level === 'error'), [])
})

/** What holds the controller up between its look at the Pod and the Role, for longer than the facts count. */
const DELAYS = {
  'the status that says so takes its time': { verb: 'replaceStatus', resource: ACCESS_REQUESTS },
  'the last of the facts takes its time': { verb: 'get', resource: CONFIG_MAPS },
} as const
for (const [name, { verb, resource }] of Object.entries(DELAYS)) {
  await test(`facts that are old by the time of the Role are confirmed again: ${name}`, async (t) => {
    const bench = controllerBench(t)
    putScene(bench)
    const { process } = await bench.start()
    const release = bench.kube.hold(verb, resource)
    approve(bench)
    await settle()
    process.blind(PODS)
    bench.kube.drop(PODS, 'cicd', 'build-pod')
    await bench.time.advance(5_001)
    release()
    await settle()
    t.strictSame([requestWrites(bench).filter((write) => write.startsWith('create')), lines(bench).ready], [[], `False/NotFound ${POD_TEXT} is gone`])
  })
}
