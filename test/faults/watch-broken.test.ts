/** The controller's watches fail in every way that a network and an API server know, kind by kind, while Pods are approved and end. */
import { t, test, type Test } from 'tap'
import type { AccessRequest } from '../../src/api/access-request.ts'
import { LABEL, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import type { Role, RoleBinding } from '../../src/api/rbac.ts'
import type { Resource } from '../../src/kube/ports.ts'
import { ACCESS_POLICIES, ACCESS_REQUESTS, CONFIG_MAPS, ROLE_BINDINGS, ROLES } from '../../src/kube/resources.ts'
import type { Fate } from '../support/api-proxy.ts'
import { report, seconds } from '../support/counts.ts'
import { eventually, untilTrue } from '../support/eventually.ts'
import { faultWorld } from '../support/fault-world.ts'
import { checkedPolicy, RUN, untilGone } from '../support/gated-world.ts'
import { watchGrantHistory } from '../support/grant-history.ts'
import type { OpenWatch } from '../support/relayed-watch.ts'
import { messageOf } from '../support/request-reading.ts'

/** Far longer than anything takes that is not stuck. */
const BOUND_MS = 90_000
const CHECK_TEMPLATE = 'connectors-approvals-in-pipeline'

const fault = await faultWorld(t, { throughProxy: true })
const { cluster, world, roles, proxy, judge, makeRequest: makePod, decide, endPod, untilUsable, untilOver } = fault
if (proxy === undefined) throw new Error('there is no proxy')
const { kube, shared } = world
const history = await watchGrantHistory(kube, shared)

const watchesOf = (kind: string): OpenWatch[] => proxy.watches().filter(({ call }) => call.resource === kind && call.userAgent.endsWith(' controller'))

/** A Pod with a grant that stays through all faults, so that the controller has something to put back. */
const witness = await makePod('witness')
await decide('witness', 'approved')
await untilUsable(['witness'])

const untilPutBack = async <T extends Role | RoleBinding>(resource: Resource<T>): Promise<void> => {
  const mine = async (): Promise<T | undefined> => {
    const { items } = await kube.list(resource, { namespace: shared, labelSelector: LABEL.accessRequest })
    return items.find(({ metadata }) => metadata.name.includes('-witness-'))
  }
  const before = await mine()
  if (before === undefined) throw new Error(`the witness has no ${resource.kind}`)
  await kube.remove(resource, shared, before.metadata.name)
  await eventually(`${resource.kind} ${before.metadata.name} is put back`, async () => {
    const now = await mine()
    return now === undefined || now.metadata.uid === before.metadata.uid ? undefined : now
  }, BOUND_MS)
}

let made = 0
const nextName = (): string => `seen-${made++}`
const checksSay = async ({ metadata }: AccessRequest, words: string): Promise<boolean> => {
  const request = await kube.get(ACCESS_REQUESTS, shared, metadata.name)
  return request !== undefined && messageOf(request, 'AccessCheckReady').includes(words)
}

/**
 * For each kind that the controller watches: something that happens to it, and what shows that the controller has seen it.
 * What has to be there before is made first; the returned function does the rest.
 */
const KINDS: Record<string, () => Promise<() => Promise<unknown>>> = {
  pods: async () => {
    const pod = await makePod(nextName())
    const request = await world.requestOf(pod)
    await decide(pod.metadata.name, 'approved')
    await untilUsable([pod.metadata.name], BOUND_MS)
    return async () => {
      await endPod(pod, 'deleted')
      await untilGone(world, request, BOUND_MS)
    }
  },
  approvaltasks: async () => {
    const pod = await makePod(nextName())
    const request = await world.requestOf(pod)
    await untilTrue('it waits', () => checksSay(request, RUN), BOUND_MS)
    return async () => {
      await decide(pod.metadata.name, 'approved')
      await untilUsable([pod.metadata.name], BOUND_MS)
      await endPod(pod, 'Succeeded')
    }
  },
  accessrequests: async () => async () => {
    const pod = await makePod(nextName())
    const request = await world.requestOf(pod)
    const isLookedAt = async (): Promise<boolean> => ((await kube.get(ACCESS_REQUESTS, shared, request.metadata.name))?.status?.conditions ?? []).length > 0
    await untilTrue('a new request is looked at', isLookedAt, BOUND_MS)
    await endPod(pod, 'deleted')
  },
  accesspolicies: async () => async () => {
    const { metadata } = await world.policy(nextName(), checkedPolicy(['none']))
    await untilTrue('a new policy has a status', async () => (await kube.get(ACCESS_POLICIES, shared, metadata.name))?.status !== undefined, BOUND_MS)
  },
  connectors: async () => {
    const name = nextName()
    await world.policy(name, checkedPolicy([name]))
    return async () => {
      await world.connector(name, 'none')
      const isMatched = async (): Promise<boolean> => ((await kube.get(ACCESS_POLICIES, shared, name))?.status?.matchedConnectors ?? []).length === 1
      await untilTrue('a new Connector is matched', isMatched, BOUND_MS)
    }
  },
  configmaps: async () => {
    const name = nextName()
    const template = await kube.get(CONFIG_MAPS, SYSTEM_NAMESPACE, CHECK_TEMPLATE)
    await world.connector(name, checkedPolicy([name], [{ name: 'approval', ref: { configMap: { name } } }]))
    const pod = await makePod(name, name)
    const request = await world.requestOf(pod)
    await untilTrue('it waits for its template', () => checksSay(request, name), BOUND_MS)
    return async () => {
      await world.create(CONFIG_MAPS, { metadata: { name, namespace: SYSTEM_NAMESPACE }, data: template?.data ?? {} })
      await untilTrue('the template is read', () => checksSay(request, RUN), BOUND_MS)
      await endPod(pod, 'Failed')
    }
  },
  roles: async () => () => untilPutBack(ROLES),
  rolebindings: async () => () => untilPutBack(ROLE_BINDINGS),
}

/** How the watches of some kinds fail. */
interface Break {
  /** How often each kind fails. */
  times: number
  /** @returns how often each kind has failed, as it is at any time */
  begin: (kinds: readonly string[]) => ReadonlyMap<string, number>
}

const ANSWERS = 2

/** The next lists or watches of each kind get this, twice. What is open now is cut. */
const answering = (of: 'watch' | 'list', fate: Fate): Break => ({
  times: ANSWERS,
  begin: (kinds) => {
    const failed = new Map(kinds.map((kind) => [kind, 0]))
    proxy.rule(({ resource, isWatch, method, name, userAgent }) => {
      const times = failed.get(resource) ?? ANSWERS
      if (times === ANSWERS || method !== 'GET' || name !== '' || !userAgent.endsWith(' controller')) return 'pass'
      // A watch that is too old makes it list.
      if (isWatch && of === 'list') return { status: 410 }
      if (isWatch !== (of === 'watch')) return 'pass'
      failed.set(resource, times + 1)
      return fate
    })
    for (const watch of kinds.flatMap(watchesOf)) watch.cut()
    return failed
  },
})

const each = (run: (watch: OpenWatch) => void): Break => ({
  times: 1,
  begin: (kinds) => {
    const failed = new Map<string, number>()
    for (const watch of kinds.flatMap(watchesOf)) {
      run(watch)
      failed.set(watch.call.resource, (failed.get(watch.call.resource) ?? 0) + 1)
    }
    return failed
  },
})

const ALL = Object.keys(KINDS)
const cut = each((watch) => watch.cut())

/** Broken for all kinds at once; the first one is broken for each kind alone as well. */
const FAULTS: Record<string, Break> = {
  'watches are cut': cut,
  'watches end with an ERROR event 410': each((watch) => watch.fail(410)),
  'watches end with an ERROR event 500': each((watch) => watch.fail(500)),
  'watches are answered 410': answering('watch', { status: 410 }),
  'watches are answered 429 with Retry-After': answering('watch', { status: 429, retryAfterSeconds: 1 }),
  'watches are answered 500': answering('watch', { status: 500 }),
  'watches are cut before they begin': answering('watch', 'cut-before'),
  'lists are answered 500': answering('list', { status: 500 }),
  'lists are answered 429 with Retry-After': answering('list', { status: 429, retryAfterSeconds: 1 }),
  'events trickle in, a piece at a time': each((watch) => watch.trickle(5, 300)),
  'watches say nothing any more': each((watch) => watch.silence()),
}

interface Passage {
  /** Milliseconds by kind. */
  took: Record<string, number>
  /** How often each kind has failed. */
  failed: Record<string, number>
}

/** Breaks the watches, changes something of these kinds meanwhile, and waits for what must come of it, and until each kind has failed as often as it should. */
const through = async ({ times, begin }: Break, kinds: readonly string[]): Promise<Passage> => {
  const seen = await Promise.all(kinds.map(async (kind) => [kind, await KINDS[kind]?.()] as const))
  await untilTrue(`${kinds.join(', ')} are watched`, () => kinds.every((kind) => watchesOf(kind).length === 1), BOUND_MS)
  const broken = kinds.flatMap(watchesOf)
  const began = performance.now()
  const failed = begin(kinds)
  const took: Record<string, number> = {}
  await Promise.all(
    seen.map(async ([kind, run]) => {
      await run?.()
      took[kind] = performance.now() - began
    }),
  )
  const hasFailed = (kind: string): boolean => failed.get(kind) === times
  await eventually(`each kind has failed ${times} times`, () => (kinds.every(hasFailed) ? true : undefined), BOUND_MS, () => kinds.filter((kind) => !hasFailed(kind)))
  proxy.rule()
  await untilTrue('none of the broken watches is left', () => !proxy.watches().some((watch) => broken.includes(watch)), BOUND_MS)
  return { took, failed: Object.fromEntries(failed) }
}

const timesEach = (kinds: readonly string[], times: number): Record<string, number> => Object.fromEntries(kinds.map((kind) => [kind, times]))

/** A watch that came to its regular end was sound: what fails after it is a first failure, after a short wait. */
const untilSound = async (): Promise<void> => {
  const numbers = new Map(ALL.map((kind) => [kind, watchesOf(kind)[0]?.call.number ?? 0]))
  const isSound = (kind: string): boolean => watchesOf(kind).some(({ call }) => call.number > (numbers.get(kind) ?? 0))
  await untilTrue('each watch has ended once and begun again', () => ALL.every(isSound), BOUND_MS)
}

const told = (subtest: Test, { took, failed }: Passage): void =>
  report(subtest, {
    kinds: Object.keys(took).length,
    failures: Object.values(failed).reduce((sum, times) => sum + times, 0),
    ...Object.fromEntries(Object.entries(took).map(([kind, ms]) => [kind, seconds(ms)])),
  })

await test('a watch is cut, kind by kind: the controller sees what happens meanwhile', async (subtest) => {
  const all: Passage = { took: {}, failed: {} }
  for (const kind of ALL) {
    const { took, failed } = await through(cut, [kind])
    Object.assign(all.took, took)
    Object.assign(all.failed, failed)
  }
  told(subtest, all)
  subtest.strictSame(Object.keys(all.took), ALL)
  subtest.strictSame(all.failed, timesEach(ALL, cut.times))
})

for (const [title, breakage] of Object.entries(FAULTS))
  await test(`${title}, all kinds at once: the controller sees what happens meanwhile`, async (subtest) => {
    await untilSound()
    const passage = await through(breakage, ALL)
    told(subtest, passage)
    subtest.strictSame(Object.keys(passage.took).toSorted(), ALL.toSorted())
    subtest.same(passage.failed, timesEach(ALL, breakage.times))
    subtest.equal(roles.controller.ended(), undefined)
  })

await test('after all of it: no grant before its checks had passed, none twice but those that were put back, none left; one watch for each kind', async (subtest) => {
  await endPod(witness, 'deleted')
  await untilOver()
  await untilTrue('each kind has one watch', () => ALL.every((kind) => watchesOf(kind).length === 1), BOUND_MS)
  subtest.strictSame(proxy.watches().map(({ call }) => call.resource).toSorted(), ALL.toSorted())
  const { versions, grants, unchecked, left } = await history.end()
  const { requests, granted, open, unapproved, toldTwice, untold, grantedTwice } = await judge.verdict()
  report(subtest, { requests, granted, 'Roles and RoleBindings': grants, 'versions of requests': versions })
  subtest.strictSame({ unchecked, left, open, unapproved, toldTwice, untold }, { unchecked: [], left: [], open: [], unapproved: [], toldTwice: [], untold: [] })
  // What the test itself deleted was made again, on purpose: of one request alone.
  subtest.ok(grantedTwice.every((name) => name.includes('-witness-')), grantedTwice.join(', '))
  subtest.strictSame(roles.controller.complaints.filter(({ level }) => level !== 'warn'), [])
  subtest.equal((await cluster.call('GET', '/readyz')).status, 200)
})
