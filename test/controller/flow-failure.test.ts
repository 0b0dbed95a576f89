/** Calls that fail, and answers that are lost. */
import { test } from 'tap'
import { KubeError } from '../../src/kube/kube-error.ts'
import type { Resource, Writer } from '../../src/kube/ports.ts'
import { ACCESS_POLICIES, ACCESS_REQUESTS, CONFIG_MAPS, CONNECTORS, EVENTS, PODS, ROLE_BINDINGS, ROLES } from '../../src/kube/resources.ts'
import { approvedBy, controllerBench, gatedPod, putScene, TASKS, type Bench } from '../support/controller-bench.ts'
import { settle } from '../support/fake-time.ts'
import type { Verb } from '../support/memory-kube.ts'
import { connectorOf, grantOf, linesOf, policyOf, policySpecOf, taskOf, type Lines } from '../support/request-facts.ts'

const NAME = grantOf().role.metadata.name
const lines = (bench: Bench): Lines => linesOf(bench.request()?.status)
const approve = ({ kube }: Bench): void => {
  kube.put(TASKS, taskOf('deploy', 'approved', { status: approvedBy('alice') }))
}
const unavailable = (text = 'no answer'): KubeError => new KubeError('KUBE_UNAVAILABLE', text)
const creates = (bench: Bench): number => bench.newWrites().filter((write) => write === `create roles/${NAME}`).length

await test('a Role that cannot be written is told with the reason, tried again with backoff, and granted in the end', async (t) => {
  const bench = controllerBench(t)
  putScene(bench)
  const { logs } = await bench.start()
  bench.kube.fail('create', ROLES, new KubeError('KUBE_FORBIDDEN', 'roles is forbidden'), { times: 12 })
  approve(bench)
  await settle()
  t.match(lines(bench), { check: /^True\/Passed /, sync: 'False/SyncFailed AccessPolicy ask: roles is forbidden', ready: 'False/SyncFailed AccessPolicy ask: roles is forbidden' })
  t.strictSame([creates(bench), bench.newEvents()], [1, []], 'one attempt, no grant')
  await bench.time.advance(1_000)
  const more = creates(bench)
  t.ok(more === 4 || more === 5, `${more} more: after 50, 100, 200, 400 and 800 ms, each with jitter`)
  t.match(logs.lines.at(-1), { level: 'warn', object: 'connectors-shared/prod-harbor-build-pod', error: 'AccessPolicy ask: roles is forbidden', failures: more + 1 })
  await bench.time.advance(120_000)
  t.match(lines(bench).ready, /^True\/Synced /)
  t.strictSame([bench.newEvents(), bench.breaches], [['Normal AccessGranted'], []])
})

await test('a RoleBinding that cannot be written leaves no half of a grant unaccounted for', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved' })
  bench.kube.fail('create', ROLE_BINDINGS, unavailable(), { times: 1_000 })
  await bench.start()
  t.match(lines(bench).sync, 'False/SyncFailed AccessPolicy ask: no answer')
  bench.kube.drop(PODS, 'cicd', 'build-pod')
  await settle()
  t.strictSame([bench.roles(), bench.bindings()], [[], []])
})

await test('a reason that is another one each time does not make it spin', async (t) => {
  const bench = controllerBench(t)
  putScene(bench)
  await bench.start()
  for (let attempt = 0; attempt < 200; attempt++) bench.kube.fail('create', ROLES, unavailable(`no answer, id ${attempt}`))
  approve(bench)
  await settle()
  t.equal(creates(bench), 1)
  await bench.time.advance(10_000)
  t.ok(creates(bench) <= 9, 'as often as its backoff allows')
})

await test('a Role that something changes as soon as it is written is told, and not fought over', async (t) => {
  const bench = controllerBench(t)
  putScene(bench)
  const process = bench.process()
  const widen: Writer['create'] = async (resource, object) => {
    const created = await bench.kube.create(resource, object)
    return resource.kind === ROLES.kind ? bench.kube.put(resource, { ...created, rules: [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }] }) : created
  }
  const replace: Writer['replace'] = async (resource, object) =>
    resource.kind === ROLES.kind ? bench.kube.put(resource, { ...object, rules: [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }] }) : bench.kube.replace(resource, object)
  const { logs } = await bench.start('one', Object.assign(process, { create: widen, replace }))
  approve(bench)
  await settle()
  t.equal(lines(bench).sync, `False/SyncFailed AccessPolicy ask: Role and RoleBinding ${NAME} do not stay as they are written: something changes them at once`)
  await bench.time.advance(60_000)
  t.ok(creates(bench) <= 20, 'as often as its backoff allows')
  t.strictSame([bench.newEvents(), logs.lines.filter(({ level }) => level === 'error')], [[], []])
})

/** What ends a grant; none of it has to do with its checks. */
const ENDS: Record<string, (bench: Bench) => void> = {
  'its Pod is gone': ({ kube }) => kube.drop(PODS, 'cicd', 'build-pod'),
  'its Pod has finished': ({ kube }) => void kube.put(PODS, gatedPod({ phase: 'Succeeded' })),
  'its Connector is gone': ({ kube }) => kube.drop(CONNECTORS, 'connectors-shared', 'prod-harbor'),
  'another Connector has the name': ({ kube }) => void kube.put(CONNECTORS, connectorOf({ uid: 'connector-2' })),
}
for (const [name, end] of Object.entries(ENDS)) {
  await test(`a kind of checks that cannot be read any more does not keep a grant alive when ${name}`, async (t) => {
    const bench = controllerBench(t)
    putScene(bench, { task: 'approved', without: ['policy'] })
    const cel = "object.status.state == 'approved' ? 'passed' : 'pending'"
    bench.kube.put(ACCESS_POLICIES, policyOf('ask', policySpecOf([{ name: 'approval', spec: { selector: { objectRef: { apiVersion: TASKS.apiVersion, kind: TASKS.kind, name: 'deploy' } }, state: { cel } } }])))
    await bench.start()
    t.equal(bench.roles().length, 1)
    bench.kube.fail('list', TASKS, unavailable('the conversion webhook is down'), { times: 1_000 })
    end(bench)
    await settle()
    t.strictSame([bench.roles(), bench.bindings()], [[], []])
    t.match(lines(bench).sync, /^True\/PermissionCleanUp /)
  })
}

/** Each write of a grant and of a revoke, once with its answer lost, once refused before it took effect. */
const WRITES: Record<string, { story: 'grant' | 'revoke'; verb: Verb; resource: Resource }> = {
  'the status that says passed': { story: 'grant', verb: 'replaceStatus', resource: ACCESS_REQUESTS },
  'the Role': { story: 'grant', verb: 'create', resource: ROLES },
  'the RoleBinding': { story: 'grant', verb: 'create', resource: ROLE_BINDINGS },
  'the Event': { story: 'grant', verb: 'create', resource: EVENTS },
  'the removal of the RoleBinding': { story: 'revoke', verb: 'remove', resource: ROLE_BINDINGS },
  'the removal of the Role': { story: 'revoke', verb: 'remove', resource: ROLES },
  'the status that says cleaned up': { story: 'revoke', verb: 'replaceStatus', resource: ACCESS_REQUESTS },
}
for (const [name, { story, verb, resource }] of Object.entries(WRITES)) {
  for (const after of [true, false]) {
    await test(`${after ? 'the answer is lost' : 'it fails'}: ${name}; the end is the same`, async (t) => {
      const bench = controllerBench(t)
      putScene(bench, { task: story === 'grant' ? 'pending' : 'approved' })
      await bench.start()
      bench.newEvents()
      bench.kube.fail(verb, resource, unavailable('connection reset'), { after, times: 2 })
      if (story === 'grant') approve(bench)
      else bench.kube.drop(PODS, 'cicd', 'build-pod')
      await bench.time.advance(5_000)
      const isGranted = story === 'grant'
      t.match(lines(bench).sync, isGranted ? /^True\/Synced / : /^True\/PermissionCleanUp the temporary permission was removed/)
      t.strictSame([bench.roles().length, bench.bindings().length, bench.breaches], isGranted ? [1, 1, []] : [0, 0, []])
      const event = isGranted ? 'Normal AccessGranted' : 'Normal AccessRevoked'
      t.strictSame(bench.newEvents(), [event])
      bench.newWrites()
      await bench.time.advance(60_000)
      t.strictSame(bench.newWrites(), [])
    })
  }
}

await test('Events that nobody takes hold nothing up for long, and are in the log', async (t) => {
  const bench = controllerBench(t)
  putScene(bench)
  const { logs } = await bench.start()
  bench.kube.fail('create', EVENTS, unavailable(), { times: 1_000 })
  approve(bench)
  await bench.time.advance(2_500)
  t.match(lines(bench).sync, /^True\/Synced /)
  bench.kube.drop(PODS, 'cicd', 'build-pod')
  await bench.time.advance(2_500)
  t.match(lines(bench).sync, /^True\/PermissionCleanUp /)
  t.strictSame([bench.newEvents(), bench.roles()], [[], []])
  const told = logs.lines.filter(({ reason }) => reason === 'AccessGranted' || reason === 'AccessRevoked').map(({ level, reason, msg }) => [level, reason, String(msg).startsWith('an Event could not')])
  t.strictSame(told, [['info', 'AccessGranted', false], ['warn', 'AccessGranted', true], ['info', 'AccessRevoked', false], ['warn', 'AccessRevoked', true]])
})

await test('an answer that is lost while the finalizer is removed leaves nothing behind', async (t) => {
  for (const after of [true, false]) {
    const bench = controllerBench(t)
    putScene(bench, { task: 'approved' })
    await bench.start()
    bench.kube.fail('mergePatch', ACCESS_REQUESTS, unavailable(), { after })
    await bench.kube.remove(ACCESS_REQUESTS, 'connectors-shared', 'prod-harbor-build-pod')
    await bench.time.advance(5_000)
    t.strictSame([bench.request(), bench.roles(), bench.bindings()], [undefined, [], []])
  }
})

/** Each read that a grant depends on. */
const READS: Record<string, { verb: Verb; resource: Resource }> = {
  'the request': { verb: 'get', resource: ACCESS_REQUESTS },
  'the Pod': { verb: 'get', resource: PODS },
  'the Connector': { verb: 'get', resource: CONNECTORS },
  'the flags': { verb: 'get', resource: CONFIG_MAPS },
  'the ApprovalTasks': { verb: 'list', resource: TASKS },
}
for (const [name, { verb, resource }] of Object.entries(READS)) {
  await test(`nothing is granted while there is no answer about ${name}; then it is`, async (t) => {
    const bench = controllerBench(t)
    putScene(bench)
    await bench.start()
    bench.kube.fail(verb, resource, unavailable(), { times: 5 })
    approve(bench)
    await bench.time.advance(500)
    t.strictSame(bench.roles(), [])
    await bench.time.advance(5_000)
    t.match(lines(bench).ready, /^True\/Synced /)
  })
}

await test('policies that cannot be listed match nothing; then they do', async (t) => {
  const bench = controllerBench(t)
  putScene(bench, { task: 'approved', without: ['request'] })
  await bench.start()
  bench.kube.fail('list', ACCESS_POLICIES, unavailable(), { times: 3 })
  putScene(bench, { without: ['flags', 'templates', 'connector', 'policy', 'pod', 'task'] })
  await settle()
  t.equal(bench.request()?.status, undefined)
  await bench.time.advance(1_000)
  t.match(lines(bench).ready, /^True\/Synced /)
})

await test('watches that break are taken up again, and what happened meanwhile is done', async (t) => {
  const bench = controllerBench(t)
  putScene(bench)
  await bench.start()
  bench.kube.endWatches(unavailable('connection reset'))
  bench.kube.compact()
  approve(bench)
  await bench.time.advance(5_000)
  t.match(lines(bench).ready, /^True\/Synced /)
  bench.kube.endWatches(unavailable('connection reset'))
  bench.kube.drop(PODS, 'cicd', 'build-pod')
  bench.kube.compact()
  await bench.time.advance(5_000)
  t.strictSame(bench.roles(), [])
})

await test('a request that goes while its status is written is forgotten', async (t) => {
  const bench = controllerBench(t)
  putScene(bench)
  const { logs } = await bench.start()
  const release = bench.kube.hold('replaceStatus', ACCESS_REQUESTS)
  approve(bench)
  await settle()
  bench.kube.drop(ACCESS_REQUESTS, 'connectors-shared', 'prod-harbor-build-pod')
  release()
  await bench.time.advance(60_000)
  t.strictSame([bench.roles(), bench.newEvents()], [[], []])
  t.strictSame(logs.lines.filter(({ level }) => level === 'warn' || level === 'error'), [])
})
