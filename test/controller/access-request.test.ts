/** One reconcile at a time: what it asks, what it asks for, and how it ends. */
import { test } from 'tap'
import type { KubeObject } from '../../src/api/meta.ts'
import { isRace, reconcileRequest, type ReconcileDependencies } from '../../src/controller/access-request.ts'
import { createCaches } from '../../src/controller/caches.ts'
import { objectCheckKeys } from '../../src/controller/check-index.ts'
import { OwnWrites } from '../../src/controller/own-writes.ts'
import type { RunResult } from '../../src/controller/queue.ts'
import type { CheckObject } from '../../src/core/check.ts'
import { CodedError, ERRORS, isCoded, type ErrorCode } from '../../src/errors.ts'
import { KubeError } from '../../src/kube/kube-error.ts'
import type { EventRecord, Resource, Writer } from '../../src/kube/ports.ts'
import { ACCESS_POLICIES, ACCESS_REQUESTS, CONFIG_MAPS, CONNECTORS, PODS, ROLE_BINDINGS, ROLES } from '../../src/kube/resources.ts'
import { createStore, type Store } from '../../src/kube/store.ts'
import { gatedPod, TASKS } from '../support/controller-bench.ts'
import { fakeTime, settle, type FakeTime } from '../support/fake-time.ts'
import { logLines } from '../support/log-lines.ts'
import { memoryKube, type MemoryKube } from '../support/memory-kube.ts'
import { connectorOf, linesOf, NOW, podOf, policyOf, policySpecOf, requestOf, TEMPLATES, taskOf, type Lines, type RequestOptions } from '../support/request-facts.ts'
import { flagsOf } from '../support/request-world.ts'

const KEY = 'connectors-shared/prod-harbor-build-pod'

interface Ground {
  kube: MemoryKube
  time: FakeTime
  deps: ReconcileDependencies
  /** The caches show what the API server has. */
  catchUp(): Promise<void>
  reconcile(more?: Partial<ReconcileDependencies>): Promise<RunResult>
  lines(): Lines
  readonly again: [key: string, ms: number][]
  readonly notices: string[]
}

interface Options {
  request?: RequestOptions
  task?: string
}

const ground = async (without: readonly ('pod' | 'policy' | 'connector' | 'request')[] = [], { request = {}, task = 'pending' }: Options = {}): Promise<Ground> => {
  const time = fakeTime(NOW)
  const kube = memoryKube({ now: () => time.clock.now() })
  kube.serve(TASKS)
  const { log } = logLines()
  const caches = createCaches(log)
  const tasks = createStore<CheckObject, 'check'>({ indexes: { check: (object) => objectCheckKeys(TASKS.apiVersion, TASKS.kind, object) }, log })
  kube.put(CONFIG_MAPS, flagsOf('true'))
  kube.put(TASKS, taskOf('deploy', task))
  for (const template of TEMPLATES) kube.put(CONFIG_MAPS, template)
  if (!without.includes('connector')) kube.put(CONNECTORS, connectorOf())
  if (!without.includes('policy')) kube.put(ACCESS_POLICIES, policyOf())
  if (!without.includes('pod')) kube.put(PODS, gatedPod())
  if (!without.includes('request')) kube.put(ACCESS_REQUESTS, requestOf(request))
  const again: Ground['again'] = []
  const notices: string[] = []
  const deps: ReconcileDependencies = {
    reader: kube,
    writer: kube,
    events: kube,
    caches,
    checks: { lookup: () => ({ state: 'ready', resource: TASKS, store: tasks }) },
    own: new OwnWrites(() => undefined),
    clock: time.clock,
    timers: time.timers,
    logger: log,
    onNotice: (reason) => notices.push(reason),
    lookAgain: (key, ms) => again.push([key, ms]),
  }
  const catchUp = async (): Promise<void> => {
    const fill = async <T extends KubeObject>(resource: Resource<T>, store: Pick<Store<T>, 'replaceAll'>): Promise<void> => {
      const { items, resourceVersion } = await kube.list(resource)
      store.replaceAll(items, resourceVersion)
    }
    await fill(ACCESS_REQUESTS, caches.requests)
    await fill(ACCESS_POLICIES, caches.policies)
    await fill(CONNECTORS, caches.connectors)
    await fill(PODS, caches.pods)
    await fill(CONFIG_MAPS, caches.configMaps)
    await fill(ROLES, caches.roles)
    await fill(ROLE_BINDINGS, caches.bindings)
    await fill(TASKS, tasks)
    kube.calls.length = 0
  }
  await catchUp()
  return { kube, time, deps, catchUp, reconcile: (more = {}) => reconcileRequest({ ...deps, ...more }, KEY), lines: () => linesOf(kube.all(ACCESS_REQUESTS)[0]?.status), again, notices }
}

await test('a settled request costs no call at all', async (t) => {
  for (const task of ['pending', 'approved', 'rejected']) {
    const g = await ground([], { task })
    await g.reconcile()
    await g.catchUp()
    await g.reconcile()
    t.strictSame(g.kube.calls, [], task)
  }
})

await test('a request that is not there costs no call', async (t) => {
  const g = await ground(['request'])
  t.strictSame([await g.reconcile(), g.kube.calls], [{}, []])
})

/** When a request is to be looked at again though nothing happens. */
const LATER: Record<string, { without?: Parameters<typeof ground>[0]; options?: Options; prepare?: (g: Ground) => void; after: RunResult }> = {
  'waiting for its check: when something happens': { after: {} },
  'granted: when something happens': { options: { task: 'approved' }, after: {} },
  'its Pod is in no watch: every 4 s': { prepare: ({ kube }) => kube.put(PODS, podOf()), without: ['pod'], after: { requeueAfterMs: 4_000 } },
  'it is new, and its Pod is not there: after 2 s': { without: ['pod'], after: { requeueAfterMs: 2_000 } },
  'its Pod was never seen: every 4 s': {
    without: ['pod'],
    options: { request: { metadata: { creationTimestamp: new Date(NOW - 10_000).toISOString() } } },
    after: { requeueAfterMs: 4_000 },
  },
  'its Pod was never seen, and the minute is nearly over: at its end': {
    without: ['pod'],
    options: { request: { metadata: { creationTimestamp: new Date(NOW - 58_500).toISOString() } } },
    after: { requeueAfterMs: 1_500 },
  },
  'without uid and without a Pod: every 30 s': { without: ['pod'], options: { request: { podUid: null } }, after: { requeueAfterMs: 30_000 } },
  'a check template is missing: every minute': {
    prepare: ({ kube }) => kube.put(ACCESS_POLICIES, policyOf('ask', policySpecOf([{ name: 'approval', ref: { configMap: { name: 'late' } } }]))),
    after: { requeueAfterMs: 60_000 },
  },
  'rejected: when its day is over': { options: { task: 'rejected' }, after: { requeueAfterMs: 86_400_000 } },
  'no policy: when something happens': { without: ['policy'], after: {} },
  'no Connector: when something happens': { without: ['connector'], after: {} },
}
for (const [name, { without, options, prepare, after }] of Object.entries(LATER)) {
  await test(`a request is looked at again: ${name}`, async (t) => {
    const g = await ground(without, options)
    prepare?.(g)
    if (!name.includes('no watch')) await g.catchUp()
    t.strictSame(await g.reconcile(), after)
    t.strictSame([await g.reconcile(), g.again], [after, []], 'and the same again when it is')
  })
}

await test('a request whose Connector was replaced before anything was granted is matched anew in one go', async (t) => {
  const g = await ground()
  await g.reconcile()
  g.kube.drop(CONNECTORS, 'connectors-shared', 'prod-harbor')
  g.kube.put(CONNECTORS, connectorOf({ uid: 'connector-2' }))
  g.kube.put(ACCESS_POLICIES, policyOf('second'))
  await g.catchUp()
  await g.reconcile()
  const [request] = g.kube.all(ACCESS_REQUESTS)
  t.strictSame([request?.status?.connectorUID, request?.status?.policies?.map(({ name }) => name), g.lines().check], ['connector-2', ['ask', 'second'], 'Unknown/Pending waiting for ApprovalTask cicd/deploy; waiting for ApprovalTask cicd/deploy'])
})

await test('a grant that cannot be written is a failure for the queue to try again', async (t) => {
  const g = await ground([], { task: 'approved' })
  g.kube.fail('create', ROLES, new KubeError('KUBE_FORBIDDEN', 'no'), { times: 2 })
  await t.rejects(g.reconcile(), { code: 'KUBE_UNAVAILABLE', message: 'AccessPolicy ask: no' })
  t.strictSame(g.again, [], 'its Pod is watched')
  await g.catchUp()
  await t.rejects(g.reconcile(), { code: 'KUBE_UNAVAILABLE', message: 'AccessPolicy ask: no' })
  t.strictSame(g.kube.writes().map(({ verb, resource }) => `${verb} ${resource}`), ['create roles'], 'nothing new to say')
})

await test('while a grant cannot be written, a Pod in no watch is asked for as often as ever', async (t) => {
  const g = await ground(['pod'], { task: 'approved' })
  g.kube.put(PODS, podOf())
  g.kube.fail('create', ROLES, new KubeError('KUBE_FORBIDDEN', 'no'))
  await t.rejects(g.reconcile(), { code: 'KUBE_UNAVAILABLE' })
  t.strictSame(g.again, [[KEY, 4_000]])
})

await test('a request that is gone, of which the cache does not know yet, is a race', async (t) => {
  const g = await ground([], { task: 'approved' })
  g.kube.drop(ACCESS_REQUESTS, 'connectors-shared', 'prod-harbor-build-pod')
  await t.rejects(g.reconcile(), { code: 'STALE_FACTS', message: 'AccessRequest connectors-shared/prod-harbor-build-pod is gone; the cache does not know it yet' })
})

await test('a request that never comes to rest is a defect that is told, not a race', async (t) => {
  const g = await ground()
  /** As an API server would whose definition of the kind knows less. */
  const replaceStatus: Writer['replaceStatus'] = async (resource, object) => {
    const written = await g.kube.replaceStatus(resource, object)
    const pruned = { ...written, status: { ...Reflect.get(written, 'status'), observedGeneration: undefined } }
    return g.kube.put(resource, pruned)
  }
  const error: unknown = await g.reconcile({ writer: { ...g.kube, replaceStatus } }).catch((fault: unknown) => fault)
  t.match(error, { message: 'AccessRequest connectors-shared/prod-harbor-build-pod did not settle within 16 steps' })
  t.equal(isRace(error), false)
})

for (const isRefused of [false, true]) {
  await test(`a reconcile ends when its Events are sent, also when ${isRefused ? 'the status after them is refused' : 'all went well'}`, async (t) => {
    const g = await ground()
    await g.reconcile()
    g.kube.put(TASKS, taskOf('deploy', 'rejected'))
    await g.catchUp()
    if (isRefused) g.kube.fail('replaceStatus', ACCESS_REQUESTS, new KubeError('KUBE_CONFLICT', 'changed'))
    const sent: string[] = []
    const emit = async ({ reason }: EventRecord): Promise<void> => {
      await settle()
      sent.push(reason)
    }
    const end = await g.reconcile({ events: { emit } }).then(
      () => 'done',
      (error: unknown) => (isCoded(error) ? error.code : error),
    )
    t.strictSame([end, sent, g.notices], [isRefused ? 'KUBE_CONFLICT' : 'done', ['AccessRejected'], ['AccessRejected']])
  })
}

await test('what only says "look again" is a race, nothing else', (t) => {
  const races = (Object.keys(ERRORS) as ErrorCode[]).filter((code) => isRace(new CodedError(code, '')))
  t.strictSame([races, isRace(new Error(''))], [['KUBE_NOT_FOUND', 'KUBE_CONFLICT', 'STALE_FACTS'], false])
  t.end()
})
