/** Roles and RoleBindings that somebody else touches. */
import { test } from 'tap'
import { API_VERSION, LABEL } from '../../src/api/names.ts'
import type { Role, RoleBinding } from '../../src/api/rbac.ts'
import { ACCESS_REQUESTS, EVENTS, PODS, ROLE_BINDINGS, ROLES } from '../../src/kube/resources.ts'
import { controllerBench, edit, putScene, TASKS, type Bench } from '../support/controller-bench.ts'
import { settle } from '../support/fake-time.ts'
import { grantOf, linesOf, requestOf, taskOf } from '../support/request-facts.ts'

const NAMESPACE = 'connectors-shared'
const GRANT = grantOf()
const NAME = GRANT.role.metadata.name
const STATUS = 'replaceStatus accessrequests/prod-harbor-build-pod'

const ready = (bench: Bench): string => linesOf(bench.request()?.status).ready
const editRole = (bench: Bench, change: (role: Role) => Role): void => edit(bench, ROLES, NAME, change)
const editBinding = (bench: Bench, change: (binding: RoleBinding) => RoleBinding): void => edit(bench, ROLE_BINDINGS, NAME, change)

/** What somebody does to a grant, and how it is put right. */
const DAMAGE: Record<string, { does: (bench: Bench) => void; writes: string[] }> = {
  'the Role is deleted': { does: ({ kube }) => kube.drop(ROLES, NAMESPACE, NAME), writes: [`create roles/${NAME}`, `create rolebindings/${NAME}`, `replace rolebindings/${NAME}`] },
  'the RoleBinding is deleted': { does: ({ kube }) => kube.drop(ROLE_BINDINGS, NAMESPACE, NAME), writes: [`create roles/${NAME}`, `replace roles/${NAME}`, `create rolebindings/${NAME}`] },
  'the rules are widened': {
    does: (bench) => editRole(bench, (role) => ({ ...role, rules: [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }] })),
    writes: [`create roles/${NAME}`, `replace roles/${NAME}`, `create rolebindings/${NAME}`, `replace rolebindings/${NAME}`],
  },
  'a subject is added': {
    does: (bench) => editBinding(bench, (binding) => ({ ...binding, subjects: [...(binding.subjects ?? []), { kind: 'User', name: 'eve' }] })),
    writes: [`create roles/${NAME}`, `replace roles/${NAME}`, `create rolebindings/${NAME}`, `replace rolebindings/${NAME}`],
  },
  'the RoleBinding is made to refer to another Role': {
    does: (bench) => editBinding(bench, (binding) => ({ ...binding, roleRef: { ...binding.roleRef, name: 'admin' } })),
    writes: [`create roles/${NAME}`, `replace roles/${NAME}`, `create rolebindings/${NAME}`, `remove rolebindings/${NAME}`, `create rolebindings/${NAME}`],
  },
  'the label by which it is watched is removed': {
    does: (bench) => editRole(bench, (role) => ({ ...role, metadata: { ...role.metadata, labels: {} } })),
    writes: [`create roles/${NAME}`, `replace roles/${NAME}`, `create rolebindings/${NAME}`, `replace rolebindings/${NAME}`],
  },
  'the owner is removed': {
    does: (bench) => editBinding(bench, (binding) => ({ ...binding, metadata: { ...binding.metadata, ownerReferences: [] } })),
    writes: [`create roles/${NAME}`, `replace roles/${NAME}`, `create rolebindings/${NAME}`, `replace rolebindings/${NAME}`],
  },
}
for (const [name, { does, writes }] of Object.entries(DAMAGE)) {
  await test(`a grant is put back in place, and an Event says so, when ${name}`, async (t) => {
    const bench = controllerBench(t)
    putScene(bench, { task: 'approved' })
    await bench.start()
    bench.newWrites()
    bench.newEvents()
    does(bench)
    await settle()
    t.match([bench.roles(), bench.bindings()], [[GRANT.role], [GRANT.binding]])
    t.strictSame([bench.roles()[0]?.rules, bench.bindings()[0]?.subjects, bench.bindings()[0]?.roleRef], [GRANT.role.rules, GRANT.binding.subjects, GRANT.binding.roleRef])
    t.strictSame([bench.newWrites(), bench.newEvents()], [writes, ['Warning AccessRepaired']])
    t.match(ready(bench), /^True\/Synced /)
    await bench.time.advance(120_000)
    t.strictSame([bench.newWrites(), bench.breaches], [[], []])
  })
}

await test('a label or annotation that others add to a grant is theirs', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved' })
  await bench.start()
  bench.newWrites()
  editRole(bench, (role) => ({ ...role, metadata: { ...role.metadata, labels: { ...role.metadata.labels, team: 'a' }, annotations: { ...role.metadata.annotations, note: 'b' } } }))
  await bench.time.advance(60_000)
  t.strictSame(bench.newWrites(), [])
})

await test('a grant is not put back when its Pod is gone, however quickly', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved' })
  const { process } = await bench.start()
  process.blind(PODS)
  bench.kube.drop(PODS, 'cicd', 'build-pod')
  bench.kube.drop(ROLES, NAMESPACE, NAME)
  await settle()
  t.strictSame([bench.roles(), bench.bindings()], [[], []])
  t.match(linesOf(bench.request()?.status).sync, /^True\/PermissionCleanUp /)
})

await test('a Role that somebody else made under the name is taken over', async (t) => {
  const bench = controllerBench(t)
  putScene(bench)
  bench.kube.put(ROLES, { metadata: { name: NAME, namespace: NAMESPACE }, rules: [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }] })
  await bench.start()
  bench.newWrites()
  bench.kube.put(TASKS, taskOf('deploy', 'approved'))
  await settle()
  t.match(ready(bench), /^True\/Synced /)
  t.strictSame(bench.newWrites(), [STATUS, `create roles/${NAME}`, `replace roles/${NAME}`, `create rolebindings/${NAME}`, STATUS])
  t.strictSame(bench.roles()[0]?.rules, GRANT.role.rules)
})

const stray = (name: string, uid = 'request-1', request = 'prod-harbor-build-pod'): Role => ({
  ...GRANT.role,
  metadata: { name, namespace: NAMESPACE, labels: { [LABEL.accessRequest]: 'x' }, ownerReferences: [{ apiVersion: API_VERSION, kind: 'AccessRequest', name: request, uid }] },
  rules: [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }],
})
const strayBinding = (name: string, uid?: string, request?: string): RoleBinding => ({ ...GRANT.binding, metadata: stray(name, uid, request).metadata })

for (const [stage, task] of Object.entries({ 'before anything has passed': 'pending', 'beside the grant': 'approved' })) {
  await test(`a Role and RoleBinding that say they belong to the request go, ${stage}`, async (t) => {
    const bench = controllerBench(t)
    putScene(bench, { task })
    await bench.start()
    const before = [bench.roles().length, bench.bindings().length]
    bench.newWrites()
    bench.kube.put(ROLES, stray('stray'))
    bench.kube.put(ROLE_BINDINGS, strayBinding('stray'))
    bench.kube.put(ROLE_BINDINGS, { ...GRANT.binding, metadata: { name: 'other', namespace: NAMESPACE } })
    bench.kube.put(ROLES, stray('other'))
    await settle()
    t.strictSame([bench.roles().length, bench.bindings().map(({ metadata }) => metadata.name).filter((name) => name !== NAME)], [before[0], ['other']], 'but for a namesake that does not')
    const writes = bench.newWrites()
    t.strictSame(writes.filter((write) => write.includes('stray')).toSorted(), ['remove rolebindings/stray', 'remove roles/stray'])
    t.ok(writes.indexOf('remove rolebindings/stray') < writes.indexOf('remove roles/stray'))
  })
}

await test('a Role that says it belongs to a final request goes', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'rejected' })
  await bench.start()
  bench.kube.put(ROLES, stray('stray'))
  bench.kube.put(ROLES, stray(NAME))
  await settle()
  t.strictSame(bench.roles(), [])
})

await test('grants of a request that is gone are deleted, with an Event and a line in the log', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved' })
  const { logs } = await bench.start()
  bench.newWrites()
  bench.newEvents()
  // Somebody took the finalizer off and deleted it.
  bench.kube.drop(ACCESS_REQUESTS, NAMESPACE, 'prod-harbor-build-pod')
  await settle()
  t.strictSame([bench.roles(), bench.bindings()], [[], []])
  t.strictSame([bench.newWrites(), bench.newEvents()], [[`remove rolebindings/${NAME}`, `remove roles/${NAME}`], ['Warning AccessRevoked']])
  const note = `RoleBinding ${NAMESPACE}/${NAME} was deleted: AccessRequest ${NAMESPACE}/prod-harbor-build-pod, which it says it belongs to, is gone`
  t.match(bench.kube.all(EVENTS).at(-1), { reason: 'AccessRevoked', action: 'Revoke', note, regarding: { kind: 'RoleBinding', name: NAME, namespace: NAMESPACE } })
  t.match(logs.lines.filter(({ level }) => level === 'warn'), [{ accessRequest: `${NAMESPACE}/prod-harbor-build-pod`, role: NAME, podUid: 'pod-1', policies: 'ask', reason: 'AccessRevoked', msg: note }])
})

await test('grants of a request that went while no controller ran are deleted by the next', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved' })
  const { controller } = await bench.start()
  await controller.stop()
  bench.kube.drop(ACCESS_REQUESTS, NAMESPACE, 'prod-harbor-build-pod')
  // Its successor has the name and another uid.
  bench.kube.put(ACCESS_REQUESTS, requestOf({ metadata: { uid: 'request-2' } }))
  bench.kube.put(TASKS, taskOf('deploy', 'pending'))
  await bench.start('two')
  await bench.time.advance(2_000)
  t.strictSame([bench.roles(), bench.bindings()], [[], []])
  t.equal(ready(bench), 'Unknown/Pending waiting for ApprovalTask cicd/deploy')
})

await test('a stray namesake of an orphan stays', async (t) => {
  const bench = controllerBench(t)
  bench.kube.put(ROLES, stray('team', 'gone', 'gone'))
  bench.kube.put(ROLE_BINDINGS, { ...GRANT.binding, metadata: { name: 'team', namespace: NAMESPACE } })
  await bench.start()
  t.strictSame([bench.roles(), bench.bindings().map(({ metadata }) => metadata.name), bench.newWrites()], [[], ['team'], ['remove roles/team']])
})

await test('a grant whose request the cache does not know yet stays', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { without: ['request'] })
  const { process } = await bench.start()
  const see = process.blind(ACCESS_REQUESTS)
  putScene(bench, { without: ['flags', 'templates', 'connector', 'policy', 'pod', 'task'] })
  bench.newWrites()
  bench.kube.put(ROLES, GRANT.role)
  bench.kube.put(ROLE_BINDINGS, GRANT.binding)
  await bench.time.advance(30_000)
  t.strictSame([bench.newWrites(), bench.roles().length], [[], 1])
  see()
  await settle()
  t.strictSame(bench.roles(), [], 'and goes when the request says that nothing has passed')
})
