import { test } from 'tap'
import type { AccessRequest } from '../../src/api/access-request.ts'
import type { KubeObject } from '../../src/api/meta.ts'
import { createCaches, type Caches } from '../../src/controller/caches.ts'
import { objectCheckKeys } from '../../src/controller/check-index.ts'
import type { KindState } from '../../src/controller/check-watches.ts'
import { confirmFacts, gatherFacts, hasUnexplainedGrants, needsWholePod, type ConfirmedFacts, type FactSources } from '../../src/controller/request-facts.ts'
import type { CheckFact, CheckObject } from '../../src/core/check.ts'
import { KubeError } from '../../src/kube/kube-error.ts'
import type { Resource } from '../../src/kube/ports.ts'
import { ACCESS_POLICIES, ACCESS_REQUESTS, CONFIG_MAPS, CONNECTORS, PODS, ROLES } from '../../src/kube/resources.ts'
import { createStore, type Store } from '../../src/kube/store.ts'
import { TASKS } from '../support/controller-bench.ts'
import { logLines } from '../support/log-lines.ts'
import { memoryKube, type MemoryKube } from '../support/memory-kube.ts'
import {
  APPROVAL_TASKS,
  connectorOf,
  grantOf,
  matchedOf,
  NOW,
  podOf,
  policyOf,
  policySpecOf,
  requestOf,
  resolvedCheck,
  snapshotOf,
  statusOf,
  taskOf,
  TEMPLATES,
  type RequestOptions,
} from '../support/request-facts.ts'
import { flagsOf } from '../support/request-world.ts'

interface Ground {
  kube: MemoryKube
  caches: Caches
  sources: FactSources
  request: AccessRequest
  /** Both the API server and the cache have it. */
  both: <T extends KubeObject>(resource: Resource<T>, store: Pick<Store<T>, 'put'>, object: T) => T
  task: (object: CheckObject) => void
  /** Calls as `verb resource/name selector`. */
  calls: () => string[]
}

const ground = (options: RequestOptions = {}, kindState?: KindState): Ground => {
  const kube = memoryKube({ now: () => NOW })
  kube.serve(TASKS)
  const { log } = logLines()
  const caches = createCaches(log)
  const tasks = createStore<CheckObject, 'check'>({ indexes: { check: (object) => objectCheckKeys(TASKS.apiVersion, TASKS.kind, object) }, log })
  const both: Ground['both'] = (resource, store, object) => {
    const stored = kube.put(resource, object)
    store.put(stored)
    return stored
  }
  const request = both(ACCESS_REQUESTS, caches.requests, requestOf(options))
  return {
    kube,
    caches,
    request,
    both,
    sources: { reader: kube, caches, checks: { lookup: () => kindState ?? { state: 'ready', resource: TASKS, store: tasks } } },
    task: (object) => {
      both(TASKS, tasks, object)
    },
    calls: () =>
      kube.calls.map(({ verb, resource, name, body }) => {
        const selector: unknown = typeof body === 'object' && body !== null ? Reflect.get(body, 'labelSelector') : undefined
        return [`${verb} ${resource}${name === undefined ? '' : `/${name}`}`, ...(typeof selector === 'string' ? [selector] : [])].join(' ')
      }),
  }
}
const NOTHING = { confirmed: undefined, deleted: new Set<string>(), grantErrors: new Map<string, string>() }
const names = (objects: readonly KubeObject[]): string[] => objects.map(({ metadata }) => metadata.name).toSorted()
const shownFact = (fact: CheckFact): object => ('unreadable' in fact ? fact : { objects: names(fact.objects), recorded: names(fact.recorded) })
/** A request whose policies and templates are read. */
const MATCHED: RequestOptions = { status: statusOf({}, [snapshotOf()]) }
const fill = ({ both, caches }: Ground): void => {
  both(PODS, caches.pods, podOf())
  both(CONNECTORS, caches.connectors, connectorOf())
  both(ACCESS_POLICIES, caches.policies, policyOf())
  for (const configMap of [flagsOf('true'), ...TEMPLATES]) both(CONFIG_MAPS, caches.configMaps, configMap)
}

await test('with everything in the caches nothing is asked', async (t) => {
  const g = ground(MATCHED)
  fill(g)
  g.task(taskOf('deploy', 'pending'))
  const { role, binding } = grantOf()
  g.caches.roles.put({ ...role, metadata: { ...role.metadata, resourceVersion: '90' } })
  g.caches.bindings.put({ ...binding, metadata: { ...binding.metadata, resourceVersion: '91' } })
  const facts = await gatherFacts(g.sources, g.request, NOTHING)
  t.strictSame(g.calls(), [])
  t.equal(facts.request, g.request)
  t.match(facts, { flags: { state: 'on' }, pod: { state: 'live', pod: { metadata: { uid: 'pod-1' } } }, connector: { metadata: { uid: 'connector-1' } }, confirmed: false, podWatched: true })
  t.strictSame([names(facts.policies), names(facts.grants.roles), names(facts.grants.bindings)], [['ask'], [role.metadata.name], [role.metadata.name]])
  t.strictSame(shownFact(facts.checks('ask', 'approval')), { objects: ['deploy'], recorded: [] })
  t.strictSame(facts.checks('ask', 'no such check'), { unreadable: 'check "no such check" of AccessPolicy ask was not looked for yet', failed: false })
  t.equal(facts.templates('in-pod')?.metadata.name, 'in-pod')
  t.equal(facts.templates('none'), undefined)
})

await test('a template that changes while the rest is read is decided on as it was looked up by', async (t) => {
  const g = ground()
  fill(g)
  const facts = await gatherFacts(g.sources, g.request, NOTHING)
  const before = facts.templates('in-pod')
  const changed = before === undefined ? undefined : { ...before, data: { rules: '[]' }, metadata: { ...before.metadata, resourceVersion: '900' } }
  if (changed !== undefined) g.caches.configMaps.put(changed)
  t.equal(g.caches.configMaps.get('connectors-system', 'in-pod')?.data?.['rules'], '[]')
  t.equal(facts.templates('in-pod'), before)
})

await test('with approval off no kind of checks is looked for, unless the request has policies on record', async (t) => {
  for (const [request, kinds] of [[{}, 0], [MATCHED, 1]] as const) {
    const g = ground(request)
    fill(g)
    g.both(CONFIG_MAPS, g.caches.configMaps, { ...flagsOf('false'), metadata: { ...flagsOf('false').metadata, resourceVersion: '900' } })
    const asked: string[] = []
    const lookup: FactSources['checks']['lookup'] = (apiVersion, kind) => {
      asked.push(kind)
      return g.sources.checks.lookup(apiVersion, kind)
    }
    const facts = await gatherFacts({ ...g.sources, checks: { lookup } }, g.request, NOTHING)
    t.equal(facts.flags.state, 'off')
    t.equal(new Set(asked).size, kinds)
  }
})

type PodCase = { request?: RequestOptions; cached?: Parameters<typeof podOf>[0]; live?: Parameters<typeof podOf>[0]; asked: boolean; fact: object; watched: boolean }
const CEL = { status: statusOf({}, [snapshotOf({ checks: [resolvedCheck('approval', { cel: 'object.x' })] })]) }
const PODS_SEEN: Record<string, PodCase> = {
  'the watch shows it': { cached: {}, live: {}, asked: false, fact: { state: 'live' }, watched: true },
  'the watch shows it finished': { cached: { phase: 'Failed' }, live: { phase: 'Failed' }, asked: false, fact: { state: 'finished' }, watched: true },
  'no watch shows it': { live: {}, asked: true, fact: { state: 'live' }, watched: false },
  'no watch shows it, and there is none': { asked: true, fact: { state: 'missing' }, watched: true },
  'the watch shows an older one of the name': { cached: { metadata: { uid: 'pod-0' } }, live: {}, asked: true, fact: { state: 'live' }, watched: false },
  'the watch still shows one that is replaced': { cached: {}, live: { metadata: { uid: 'pod-2' } }, asked: false, fact: { state: 'live' }, watched: true },
  'the watch shows a successor': { cached: { metadata: { uid: 'pod-2' } }, live: { metadata: { uid: 'pod-2' } }, asked: true, fact: { state: 'replaced', uid: 'pod-2' }, watched: true },
  'templates are still to be filled in from it': { request: { status: statusOf({}, [{ name: 'ask', policySpec: policySpecOf() }]) }, cached: {}, live: {}, asked: true, fact: { state: 'live' }, watched: true },
  'an expression reads it': { request: CEL, cached: {}, live: {}, asked: true, fact: { state: 'live' }, watched: true },
  'the request is bound to none yet: not to one that only the cache shows': { request: { podUid: null }, cached: { metadata: { uid: 'pod-0' } }, live: {}, asked: true, fact: { state: 'live' }, watched: false },
  'the request is bound to none yet, and there is none': { request: { podUid: null }, cached: {}, asked: true, fact: { state: 'missing' }, watched: false },
  'the request without uid was bound before': { request: { podUid: null, ...MATCHED }, cached: {}, live: {}, asked: false, fact: { state: 'live' }, watched: true },
}
for (const [name, { request = MATCHED, cached, live, asked, fact, watched }] of Object.entries(PODS_SEEN)) {
  await test(`the Pod of a request: ${name}`, async (t) => {
    const g = ground(request)
    g.both(CONNECTORS, g.caches.connectors, connectorOf())
    if (live !== undefined) g.kube.put(PODS, podOf(live))
    if (cached !== undefined) g.caches.pods.put({ ...podOf(cached), metadata: { ...podOf(cached).metadata, resourceVersion: '50' } })
    const facts = await gatherFacts(g.sources, g.request, NOTHING)
    t.strictSame(g.calls().filter((call) => call.startsWith('get ')), asked ? ['get pods/build-pod'] : [])
    t.match(facts.pod, fact)
    t.equal(facts.podWatched, watched)
  })
}

await test('a Connector that the cache does not show is asked for; one that is being deleted is none', async (t) => {
  const g = ground(MATCHED)
  g.both(PODS, g.caches.pods, podOf())
  g.kube.put(CONNECTORS, connectorOf())
  t.match((await gatherFacts(g.sources, g.request, NOTHING)).connector, { metadata: { uid: 'connector-1' } })
  t.strictSame(g.calls(), ['get connectors/prod-harbor'])
  g.both(CONNECTORS, g.caches.connectors, connectorOf({ deletionTimestamp: '2026-01-01T00:00:00Z' }))
  t.equal((await gatherFacts(g.sources, g.request, NOTHING)).connector, undefined)
})

await test('what cannot be read is no fact', async (t) => {
  const g = ground(MATCHED)
  for (const resource of [PODS, CONNECTORS]) {
    g.kube.fail('get', resource, new KubeError('KUBE_UNAVAILABLE', 'no answer'))
    await t.rejects(gatherFacts(g.sources, g.request, NOTHING), { code: 'KUBE_UNAVAILABLE' })
  }
})

for (const [name, options] of Object.entries<RequestOptions>({
  'that is final': { status: statusOf({ sync: 'True/PermissionCleanUp gone' }, [snapshotOf()]) },
  'that is being deleted': { ...MATCHED, metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } },
})) {
  await test(`for a request ${name} nothing is asked, and no kind is watched`, async (t) => {
    const g = ground(options)
    const { role } = grantOf()
    g.caches.roles.put({ ...role, metadata: { ...role.metadata, resourceVersion: '90' } })
    const lookedUp: string[] = []
    const lookup = (_apiVersion: string, kind: string): KindState => {
      lookedUp.push(kind)
      return { state: 'waiting', message: '' }
    }
    const facts = await gatherFacts({ ...g.sources, checks: { lookup } }, g.request, NOTHING)
    t.strictSame([g.calls(), lookedUp, names(facts.grants.roles)], [[], [], [role.metadata.name]])
  })
}

const recorded = (name: string, uid = `uid-of-${name}`) => matchedOf(taskOf(name, 'approved', { uid }), 'True/Passed ok')
const CHECKS: Record<string, { checks?: Parameters<typeof snapshotOf>[0]; kindState?: KindState; fact: object }> = {
  'by label': { fact: { objects: ['deploy', 'other'], recorded: [] } },
  'by name': { checks: { checks: [{ name: 'approval', ...APPROVAL_TASKS, objectName: 'stranger' }] }, fact: { objects: ['stranger'], recorded: [] } },
  'by name and label, which does not fit': { checks: { checks: [resolvedCheck('approval', { objectName: 'stranger' })] }, fact: { objects: [], recorded: [] } },
  'by requirement': { checks: { checks: [{ name: 'approval', ...APPROVAL_TASKS, matchExpressions: [{ key: 'run', operator: 'NotIn', values: ['run-1'] }] }] }, fact: { objects: ['stranger'], recorded: [] } },
  'recorded, selected or not': { checks: { matchedChecks: [recorded('deploy'), recorded('stranger')] }, fact: { objects: ['deploy', 'other'], recorded: ['deploy', 'stranger'] } },
  'recorded with another uid': { checks: { matchedChecks: [recorded('stranger', 'older')] }, fact: { objects: ['deploy', 'other'], recorded: [] } },
  'recorded for another check of the policy': { checks: { matchedChecks: [{ ...recorded('stranger'), name: 'scan' }] }, fact: { objects: ['deploy', 'other'], recorded: [] } },
  'of a kind that is waited for': { kindState: { state: 'waiting', message: 'not served yet' }, fact: { unreadable: 'not served yet', failed: false } },
  'of a kind that cannot be read': { kindState: { state: 'failed', message: 'forbidden' }, fact: { unreadable: 'forbidden', failed: true } },
}
for (const [name, { checks = {}, kindState, fact }] of Object.entries(CHECKS)) {
  await test(`check objects ${name}, from the cache and from the API server`, async (t) => {
    const g = ground({ status: statusOf({}, [snapshotOf(checks)]) }, kindState)
    fill(g)
    for (const task of [taskOf('deploy', 'approved'), taskOf('other', 'pending'), taskOf('stranger', 'approved', { labels: { run: 'run-9' } })]) g.task(task)
    g.kube.put(TASKS, { ...taskOf('far', 'rejected', { uid: 'far' }), metadata: { name: 'far', namespace: 'elsewhere', uid: 'far', labels: { run: 'run-1' } } })
    const facts = await gatherFacts(g.sources, g.request, NOTHING)
    t.strictSame(shownFact(facts.checks('ask', 'approval')), fact)
    const live = await confirmFacts(g.sources, g.request)
    t.strictSame('facts' in live ? [...live.facts.checks.values()].map(shownFact) : live, [fact])
  })
}

const confirmed = async (g: Ground): Promise<ConfirmedFacts> => {
  const read = await confirmFacts(g.sources, g.request)
  if (!('facts' in read)) throw new Error('stale')
  g.kube.calls.length = 0
  return read.facts
}

await test('a request that nothing matched yet is confirmed with all policies of its namespace and the templates of those that match', async (t) => {
  const g = ground()
  fill(g)
  g.kube.put(ACCESS_POLICIES, policyOf('elsewhere', policySpecOf(undefined, 'far'), { namespace: 'other' }))
  g.kube.put(ACCESS_POLICIES, policyOf('not-for-us', { ...policySpecOf(undefined, 'whole-account'), connector: { names: ['other'] } }))
  g.kube.put(ACCESS_POLICIES, policyOf('templated', policySpecOf([{ name: 'approval', ref: { configMap: { name: 'run-approval' } } }])))
  const read = await confirmFacts(g.sources, g.request)
  t.strictSame(g.calls(), [
    'get accessrequests/prod-harbor-build-pod',
    'get pods/build-pod',
    'get connectors/prod-harbor',
    'list accesspolicies',
    'get configmaps/connectors-config',
    'get configmaps/in-pod',
    'get configmaps/run-approval',
  ])
  t.strictSame('facts' in read && [names(read.facts.policies), [...read.facts.configMaps.keys()]], [['ask', 'not-for-us', 'templated'], ['connectors-config', 'in-pod', 'run-approval']])
})

await test('a request whose policies and templates are on record is confirmed with its checks', async (t) => {
  const g = ground({ status: statusOf({}, [snapshotOf({ matchedChecks: [recorded('deploy')] })]) })
  fill(g)
  const reads = ['get accessrequests/prod-harbor-build-pod', 'get pods/build-pod', 'get connectors/prod-harbor', 'list approvaltasks run=run-1']
  await confirmFacts(g.sources, g.request)
  t.strictSame(g.calls(), [...reads, 'get approvaltasks/deploy', 'get configmaps/connectors-config'])
  g.task(taskOf('deploy', 'approved'))
  g.kube.calls.length = 0
  await confirmFacts(g.sources, g.request)
  t.strictSame(g.calls(), [...reads, 'get configmaps/connectors-config'], 'what the list has is not asked for again')
})

await test('a request that was matched for another Connector of the name is confirmed with the policies too', async (t) => {
  const g = ground(MATCHED)
  fill(g)
  g.kube.put(CONNECTORS, connectorOf({ uid: 'connector-2' }))
  t.strictSame(names((await confirmed(g)).policies), ['ask'])
})

await test('a request that is no longer the one in the cache is not confirmed', async (t) => {
  const g = ground(MATCHED)
  fill(g)
  const changed = g.kube.put(ACCESS_REQUESTS, { ...g.request, metadata: { ...g.request.metadata, labels: { a: 'b' } } })
  t.strictSame(await confirmFacts(g.sources, g.request), { stale: changed })
  g.kube.drop(ACCESS_REQUESTS, 'connectors-shared', 'prod-harbor-build-pod')
  t.strictSame(await confirmFacts(g.sources, g.request), { stale: undefined })
})

for (const [name, resource, verb] of [
  ['request', ACCESS_REQUESTS, 'get'],
  ['Pod', PODS, 'get'],
  ['Connector', CONNECTORS, 'get'],
  ['flags', CONFIG_MAPS, 'get'],
  ['check objects', TASKS, 'list'],
  ['recorded check object', TASKS, 'get'],
] as const) {
  await test(`nothing is confirmed when there is no answer about the ${name}`, async (t) => {
    const g = ground({ status: statusOf({}, [snapshotOf({ matchedChecks: [recorded('deploy')] })]) })
    fill(g)
    g.kube.fail(verb, resource, new KubeError('KUBE_UNAVAILABLE', 'no answer'))
    await t.rejects(confirmFacts(g.sources, g.request), { code: 'KUBE_UNAVAILABLE' })
  })
}

await test('a kind that may no longer be listed is a fact that says what is missing', async (t) => {
  const g = ground(MATCHED)
  fill(g)
  g.kube.fail('list', TASKS, new KubeError('KUBE_FORBIDDEN', 'no'))
  t.strictSame([...(await confirmed(g)).checks.values()], [
    {
      unreadable: 'the controller may not get, list and watch ApprovalTask (openshift-pipelines.org/v1alpha1): allow it by a ClusterRole labelled connectors.alauda.io/aggregate-to-checks: "true"',
      failed: true,
    },
  ])
})

await test('what was confirmed counts, whatever the caches show', async (t) => {
  const g = ground(MATCHED)
  fill(g)
  g.task(taskOf('deploy', 'approved'))
  g.kube.put(TASKS, taskOf('deploy', 'rejected'))
  g.kube.put(CONFIG_MAPS, flagsOf('false'))
  g.kube.drop(PODS, 'cicd', 'build-pod')
  g.kube.drop(CONNECTORS, 'connectors-shared', 'prod-harbor')
  const facts = await gatherFacts(g.sources, g.request, { ...NOTHING, confirmed: await confirmed(g) })
  t.strictSame(g.calls(), [])
  const check = facts.checks('ask', 'approval')
  t.match(facts, { flags: { state: 'off' }, pod: { state: 'missing' }, connector: undefined, confirmed: true })
  t.strictSame('objects' in check && check.objects.map(({ status }) => status), [{ state: 'rejected' }])
})

await test('a check that became known after the confirmation is not confirmed, unless everything had passed before', async (t) => {
  const g = ground()
  fill(g)
  const before = await confirmed(g)
  const request = { ...g.request, status: statusOf({}, [snapshotOf()]) }
  t.equal((await gatherFacts(g.sources, request, { ...NOTHING, confirmed: before })).confirmed, false)
  const passed = { ...request, status: statusOf({ check: 'True/Passed ok' }, [snapshotOf({ matchedChecks: [recorded('deploy')] })]) }
  t.equal((await gatherFacts(g.sources, passed, { ...NOTHING, confirmed: before })).confirmed, true)
})

await test('grants are those that name the uid of the request, but for what was just deleted', async (t) => {
  const g = ground(MATCHED)
  fill(g)
  const mine = grantOf().role
  const put = (name: string, uid: string): void => {
    g.both(ROLES, g.caches.roles, { ...mine, metadata: { ...mine.metadata, name, ownerReferences: (mine.metadata.ownerReferences ?? []).map((owner) => ({ ...owner, uid })) } })
  }
  put('mine', 'request-1')
  put('also-mine', 'request-1')
  put('of-a-predecessor', 'request-0')
  const facts = await gatherFacts(g.sources, g.request, { ...NOTHING, deleted: new Set(['also-mine']), grantErrors: new Map([['ask', 'no']]) })
  t.strictSame([names(facts.grants.roles), [...facts.grantErrors]], [['mine'], [['ask', 'no']]])
})

const passedStatus = statusOf({ check: 'True/Passed ok' }, [snapshotOf({ matchedChecks: [recorded('deploy')] })])
const { rules: _rules, ...withoutRules } = snapshotOf({ matchedChecks: [recorded('deploy')] })
const EXPLAINED: Record<string, { status: AccessRequest['status']; roles: string[]; unexplained: boolean }> = {
  'no grant': { status: statusOf({}), roles: [], unexplained: false },
  'a grant, and nothing recorded': { status: statusOf({}), roles: [grantOf().role.metadata.name], unexplained: true },
  'a grant, and the checks recorded as waiting': { status: statusOf({}, [snapshotOf()]), roles: [grantOf().role.metadata.name], unexplained: true },
  'a grant, and the checks recorded as passed': { status: passedStatus, roles: [grantOf().role.metadata.name], unexplained: false },
  'a grant before its rules are recorded': { status: statusOf({ check: 'True/Passed ok' }, [withoutRules]), roles: [grantOf().role.metadata.name], unexplained: true },
  'a grant of another policy': { status: passedStatus, roles: [grantOf().role.metadata.name, grantOf('scan').role.metadata.name], unexplained: true },
}
for (const [name, { status, roles, unexplained }] of Object.entries(EXPLAINED)) {
  await test(`whether the status accounts for ${name}`, (t) => {
    const g = ground(status === undefined ? {} : { status })
    const { role } = grantOf()
    for (const [index, roleName] of roles.entries()) g.caches.roles.put({ ...role, metadata: { ...role.metadata, name: roleName, resourceVersion: String(90 + index) } })
    t.equal(hasUnexplainedGrants(g.sources, g.request), unexplained)
    t.end()
  })
}

await test('a whole Pod is read while templates are open and wherever an expression may look at it', (t) => {
  const open = [requestOf({ status: statusOf({}, [withoutRules]) }), requestOf({ status: statusOf({}, [snapshotOf({ checks: [] })]) }), requestOf(CEL)]
  const closed = [requestOf(), requestOf(MATCHED)]
  t.strictSame([open.map(needsWholePod), closed.map(needsWholePod)], [[true, true, true], [false, false]])
  t.end()
})
