/** What every implementation of Reader, Writer, Watcher and Discovery must do; run against memory-kube and against the real client. */
import type { Test } from 'tap'
import type { ConfigMap } from '../../src/api/config-map.ts'
import type { KubeObject } from '../../src/api/meta.ts'
import { isCoded } from '../../src/errors.ts'
import type { Discovery, Reader, Resource, Watcher, WatchEvent, WatchOptions, Writer } from '../../src/kube/ports.ts'
import { CONFIG_MAPS } from '../../src/kube/resources.ts'

/** A kind with a status subresource, installed by whoever runs the contract. */
export interface Widget extends KubeObject {
  spec?: { size: number }
  status?: { ready: boolean }
}
export const WIDGETS: Resource<Widget> = { apiVersion: 'contract.access-gate.test/v1', kind: 'Widget', plural: 'widgets', namespaced: true }
const UNSERVED: Resource = { apiVersion: 'contract.access-gate.test/v1', kind: 'Gadget', plural: 'gadgets', namespaced: true }

export interface ContractSubject {
  kube: Reader & Writer & Watcher & Discovery
  /** An empty namespace, fresh for each test. */
  namespace: () => Promise<string>
  /** A resource version that the server has forgotten for Widgets. */
  expiredVersion: () => Promise<string>
}

const configMap = (namespace: string, name: string, labels?: Record<string, string>): ConfigMap => ({
  metadata: { name, namespace, ...(labels === undefined ? {} : { labels }) },
  data: { text: 'one – ünïcödé' },
})
const widget = (namespace: string, name: string, size = 1): Widget => ({
  apiVersion: WIDGETS.apiVersion,
  kind: WIDGETS.kind,
  metadata: { name, namespace },
  spec: { size },
})

/** The code of the error that a call throws; "no error" when it does not. */
const codeOf = async (call: Promise<unknown>): Promise<string> => {
  try {
    await call
    return 'no error'
  } catch (error) {
    return isCoded(error) ? error.code : String(error)
  }
}

/** Reads events, bookmarks aside, until the watch ends or there are so many; gives up after 20 s. */
export const take = async <T extends KubeObject>(kube: Watcher, resource: Resource<T>, options: WatchOptions, count = Number.POSITIVE_INFINITY): Promise<WatchEvent<T>[]> => {
  const controller = new AbortController()
  const timer = setTimeout(() => controller.abort(), 20_000)
  const events: WatchEvent<T>[] = []
  try {
    for await (const event of kube.watch(resource, { signal: controller.signal, ...options })) {
      if (event.type !== 'BOOKMARK') events.push(event)
      if (events.length >= count) break
    }
  } finally {
    clearTimeout(timer)
    controller.abort()
  }
  return events
}
const summary = (events: WatchEvent<KubeObject>[]): string[] => events.map((event) => (event.type === 'BOOKMARK' ? 'BOOKMARK' : `${event.type} ${event.object.metadata.name}`))

const CONTRACT: Record<string, (t: Test, subject: ContractSubject) => Promise<void>> = {
  'an object that is not there reads as undefined': async (t, { kube, namespace }) => {
    t.equal(await kube.get(CONFIG_MAPS, await namespace(), 'nobody'), undefined)
  },

  'a kind that is not served is an error, never "not there"': async (t, { kube, namespace }) => {
    const ns = await namespace()
    t.equal(await codeOf(kube.get(UNSERVED, ns, 'x')), 'KUBE_NOT_FOUND')
    t.equal(await codeOf(kube.list(UNSERVED)), 'KUBE_NOT_FOUND')
    t.equal(await codeOf(kube.remove(UNSERVED, ns, 'x')), 'KUBE_NOT_FOUND')
    t.equal(await codeOf(take(kube, UNSERVED, { namespace: ns, resourceVersion: '1', timeoutSeconds: 60 }, 1)), 'KUBE_NOT_FOUND')
  },

  'create gives uid, resourceVersion and time, and answers with what get reads': async (t, { kube, namespace }) => {
    const ns = await namespace()
    const created = await kube.create(CONFIG_MAPS, configMap(ns, 'a'))
    t.match(created, { apiVersion: 'v1', kind: 'ConfigMap', data: { text: 'one – ünïcödé' }, metadata: { uid: /\S+/, resourceVersion: /^\d+$/, creationTimestamp: /Z$/ } })
    t.same(await kube.get(CONFIG_MAPS, ns, 'a'), created)
  },

  'create of an existing object is a conflict': async (t, { kube, namespace }) => {
    const ns = await namespace()
    await kube.create(CONFIG_MAPS, configMap(ns, 'a'))
    t.equal(await codeOf(kube.create(CONFIG_MAPS, configMap(ns, 'a'))), 'KUBE_CONFLICT')
  },

  'generateName gives each object a name of its own': async (t, { kube, namespace }) => {
    const ns = await namespace()
    const named = (): ConfigMap => ({ metadata: { name: '', generateName: 'made-', namespace: ns } })
    const [one, two] = [await kube.create(CONFIG_MAPS, named()), await kube.create(CONFIG_MAPS, named())]
    t.match(one.metadata.name, /^made-.{5}$/)
    t.match(two.metadata.name, /^made-.{5}$/)
    t.not(one.metadata.name, two.metadata.name)
  },

  'replace with an old resourceVersion is a conflict, and changes nothing': async (t, { kube, namespace }) => {
    const ns = await namespace()
    const first = await kube.create(CONFIG_MAPS, configMap(ns, 'a'))
    const second = await kube.replace(CONFIG_MAPS, { ...first, data: { text: 'two' } })
    t.equal(await codeOf(kube.replace(CONFIG_MAPS, { ...first, data: { text: 'three' } })), 'KUBE_CONFLICT')
    t.same(await kube.get(CONFIG_MAPS, ns, 'a'), second)
  },

  'replace of an object that is gone is not found, of a successor a conflict': async (t, { kube, namespace }) => {
    const ns = await namespace()
    const first = await kube.create(CONFIG_MAPS, configMap(ns, 'a'))
    await kube.remove(CONFIG_MAPS, ns, 'a')
    t.equal(await codeOf(kube.replace(CONFIG_MAPS, { ...configMap(ns, 'a'), data: {} })), 'KUBE_NOT_FOUND')
    await kube.create(CONFIG_MAPS, configMap(ns, 'a'))
    const { resourceVersion: _old, ...metadata } = first.metadata
    t.equal(await codeOf(kube.replace(CONFIG_MAPS, { ...first, metadata })), 'KUBE_CONFLICT')
  },

  'replace without a change keeps the resourceVersion': async (t, { kube, namespace }) => {
    const ns = await namespace()
    const first = await kube.create(CONFIG_MAPS, configMap(ns, 'a'))
    t.same(await kube.replace(CONFIG_MAPS, first), first)
  },

  'status and the rest are written apart; only a change of the rest counts as a generation': async (t, { kube, namespace }) => {
    const ns = await namespace()
    const created = await kube.create(WIDGETS, { ...widget(ns, 'w'), status: { ready: true } })
    t.match(created, { status: undefined, metadata: { generation: 1 } })
    const ready = await kube.replaceStatus(WIDGETS, { ...created, spec: { size: 9 }, status: { ready: true } })
    t.match(ready, { spec: { size: 1 }, status: { ready: true }, metadata: { generation: 1 } })
    const { status: _status, ...grown } = { ...ready, spec: { size: 2 } }
    const replaced = await kube.replace(WIDGETS, grown)
    t.match(replaced, { spec: { size: 2 }, status: { ready: true }, metadata: { generation: 2 } })
    t.equal(await codeOf(kube.replaceStatus(WIDGETS, { ...ready, status: { ready: false } })), 'KUBE_CONFLICT')
    t.equal(await codeOf(kube.replaceStatus(WIDGETS, widget(ns, 'nobody'))), 'KUBE_NOT_FOUND')
  },

  'a merge patch changes what it names, null removes': async (t, { kube, namespace }) => {
    const ns = await namespace()
    const created = await kube.create(CONFIG_MAPS, { ...configMap(ns, 'a'), data: { a: '1', b: '2' } })
    const patched = await kube.mergePatch(CONFIG_MAPS, ns, 'a', { metadata: { labels: { x: 'y' } }, data: { a: null, c: '3' } })
    t.match(patched, { data: { a: undefined, b: '2', c: '3' }, metadata: { labels: { x: 'y' }, uid: created.metadata.uid } })
    t.equal(await codeOf(kube.mergePatch(CONFIG_MAPS, ns, 'a', { metadata: { resourceVersion: created.metadata.resourceVersion }, data: {} })), 'KUBE_CONFLICT')
    t.equal(await codeOf(kube.mergePatch(CONFIG_MAPS, ns, 'nobody', { data: {} })), 'KUBE_NOT_FOUND')
  },

  'remove answers whether there was something; a precondition holds': async (t, { kube, namespace }) => {
    const ns = await namespace()
    const created = await kube.create(CONFIG_MAPS, configMap(ns, 'a'))
    t.equal(await codeOf(kube.remove(CONFIG_MAPS, ns, 'a', { uid: '00000000-0000-4000-8000-000000000000' })), 'KUBE_CONFLICT')
    t.equal(await codeOf(kube.remove(CONFIG_MAPS, ns, 'a', { resourceVersion: '1' })), 'KUBE_CONFLICT')
    t.equal(await kube.remove(CONFIG_MAPS, ns, 'a', { uid: created.metadata.uid ?? '' }), true)
    t.equal(await kube.remove(CONFIG_MAPS, ns, 'a'), false)
  },

  'a finalizer keeps a removed object until it is taken off': async (t, { kube, namespace }) => {
    const ns = await namespace()
    await kube.create(CONFIG_MAPS, { ...configMap(ns, 'a'), metadata: { name: 'a', namespace: ns, finalizers: ['contract.access-gate.test/hold'] } })
    t.equal(await kube.remove(CONFIG_MAPS, ns, 'a'), true)
    const leaving = await kube.get(CONFIG_MAPS, ns, 'a')
    t.match(leaving, { metadata: { deletionTimestamp: /Z$/ } })
    await kube.mergePatch(CONFIG_MAPS, ns, 'a', { metadata: { finalizers: null } })
    t.equal(await kube.get(CONFIG_MAPS, ns, 'a'), undefined)
  },

  'list selects by namespace, labels and fields, and names the kind of each item': async (t, { kube, namespace }) => {
    const [ns, other] = [await namespace(), await namespace()]
    await kube.create(CONFIG_MAPS, configMap(ns, 'red', { colour: 'red', round: '' }))
    await kube.create(CONFIG_MAPS, configMap(ns, 'blue', { colour: 'blue' }))
    await kube.create(CONFIG_MAPS, configMap(other, 'red', { colour: 'red', where: other }))
    const names = async (options: { namespace?: string; labelSelector?: string; fieldSelector?: string }): Promise<string[]> =>
      (await kube.list(CONFIG_MAPS, options)).items.map((item) => `${item.apiVersion} ${item.kind} ${item.metadata.name}`).toSorted()
    t.same(await names({ namespace: ns, labelSelector: 'colour' }), ['v1 ConfigMap blue', 'v1 ConfigMap red'])
    t.same(await names({ namespace: ns, labelSelector: 'colour=red' }), ['v1 ConfigMap red'])
    t.same(await names({ namespace: ns, labelSelector: 'colour!=red,colour' }), ['v1 ConfigMap blue'])
    t.same(await names({ namespace: ns, labelSelector: 'colour in (red, green),round' }), ['v1 ConfigMap red'])
    t.same(await names({ namespace: ns, labelSelector: 'colour notin (red),colour' }), ['v1 ConfigMap blue'])
    t.same(await names({ namespace: ns, labelSelector: 'colour,!round' }), ['v1 ConfigMap blue'])
    t.same(await names({ labelSelector: `where=${other}` }), ['v1 ConfigMap red'])
    t.same(await names({ namespace: ns, fieldSelector: 'metadata.name=blue' }), ['v1 ConfigMap blue'])
  },

  'a watch from a list tells what came after it, in order': async (t, { kube, namespace }) => {
    const ns = await namespace()
    await kube.create(CONFIG_MAPS, configMap(ns, 'before', { mine: 'yes' }))
    const { resourceVersion } = await kube.list(CONFIG_MAPS, { namespace: ns })
    const created = await kube.create(CONFIG_MAPS, configMap(ns, 'a', { mine: 'yes' }))
    const replaced = await kube.replace(CONFIG_MAPS, { ...created, data: { text: 'two' } })
    await kube.remove(CONFIG_MAPS, ns, 'a')
    const events = await take(kube, CONFIG_MAPS, { namespace: ns, resourceVersion, timeoutSeconds: 60, labelSelector: 'mine=yes' }, 3)
    t.same(summary(events), ['ADDED a', 'MODIFIED a', 'DELETED a'])
    t.same(events[1], { type: 'MODIFIED', object: replaced })
    const last = events[2]
    t.match(last, { object: { data: { text: 'two' }, metadata: { uid: created.metadata.uid } } })
    t.ok(last?.type === 'DELETED' && BigInt(last.object.metadata.resourceVersion ?? '0') > BigInt(replaced.metadata.resourceVersion ?? '0'), 'the deletion has its own resource version')
  },

  'an object that leaves or enters a selector is DELETED or ADDED': async (t, { kube, namespace }) => {
    const ns = await namespace()
    const created = await kube.create(CONFIG_MAPS, configMap(ns, 'a', { mine: 'yes' }))
    const resourceVersion = created.metadata.resourceVersion ?? ''
    const left = await kube.mergePatch(CONFIG_MAPS, ns, 'a', { metadata: { labels: { mine: null } } })
    await kube.mergePatch(CONFIG_MAPS, ns, 'a', { data: { text: 'unseen' } })
    await kube.mergePatch(CONFIG_MAPS, ns, 'a', { metadata: { labels: { mine: 'yes' } } })
    const events = await take(kube, CONFIG_MAPS, { namespace: ns, resourceVersion, timeoutSeconds: 60, labelSelector: 'mine=yes' }, 2)
    t.same(summary(events), ['DELETED a', 'ADDED a'])
    t.match(events[0], { object: { metadata: { labels: { mine: 'yes' }, resourceVersion: left.metadata.resourceVersion } } })
  },

  'a watch tells that it is open and what happens while it is, and an abort ends it without an error': async (t, { kube, namespace }) => {
    const ns = await namespace()
    const { resourceVersion } = await kube.list(CONFIG_MAPS, { namespace: ns })
    const controller = new AbortController()
    const { promise: opened, resolve: onOpen } = Promise.withResolvers<void>()
    const watch = kube.watch(CONFIG_MAPS, { namespace: ns, resourceVersion, timeoutSeconds: 60, labelSelector: 'mine', signal: controller.signal, onOpen })[Symbol.asyncIterator]()
    const first = watch.next()
    await opened
    await kube.create(CONFIG_MAPS, configMap(ns, 'a', { mine: '' }))
    t.match(await first, { done: false, value: { type: 'ADDED', object: { metadata: { name: 'a' } } } })
    const second = watch.next()
    controller.abort()
    t.match(await second, { done: true })
  },

  'a watch with an aborted signal ends at once': async (t, { kube }) => {
    t.same(await take(kube, CONFIG_MAPS, { resourceVersion: '1', timeoutSeconds: 60, signal: AbortSignal.abort() }), [])
  },

  'the server ends a watch after its time': async (t, { kube, namespace }) => {
    const ns = await namespace()
    const { resourceVersion } = await kube.list(CONFIG_MAPS, { namespace: ns })
    t.same(await take(kube, CONFIG_MAPS, { namespace: ns, resourceVersion, timeoutSeconds: 1, labelSelector: 'mine' }), [])
  },

  'a watch from a forgotten resource version is expired': async (t, { kube, namespace, expiredVersion }) => {
    const ns = await namespace()
    t.equal(await codeOf(take(kube, WIDGETS, { namespace: ns, resourceVersion: await expiredVersion(), timeoutSeconds: 60 }, 1)), 'KUBE_EXPIRED')
  },

  'discovery knows what is served': async (t, { kube }) => {
    t.same(await kube.resourceFor('v1', 'ConfigMap'), CONFIG_MAPS)
    t.same(await kube.resourceFor(WIDGETS.apiVersion, WIDGETS.kind), WIDGETS)
    t.equal(await kube.resourceFor(WIDGETS.apiVersion, 'Gadget'), undefined)
    t.equal(await kube.resourceFor('nobody.access-gate.test/v1', 'Widget'), undefined)
    t.equal(await kube.resourceFor('../../v1', 'ConfigMap'), undefined)
  },
}

/** Runs the whole contract as subtests. */
export const kubeContract = async (t: Test, subject: ContractSubject): Promise<void> => {
  for (const [sentence, check] of Object.entries(CONTRACT)) await t.test(sentence, (st) => check(st, subject))
}
