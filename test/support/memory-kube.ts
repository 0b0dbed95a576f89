/**
 * An API server's store in memory: resource versions, conflicts, finalizers, selectors and watches, and nothing else (no admission,
 * no defaulting, no garbage collection, no authorization). The same contract tests (kube-contract.ts) run against it and a real one.
 */
import { isDeepStrictEqual } from 'node:util'
import type { AccessQuestion, Identity } from '../../src/api/access-review.ts'
import type { KubeObject } from '../../src/api/meta.ts'
import { CodedError } from '../../src/errors.ts'
import type {
  Discovery,
  EventRecord,
  EventSink,
  List,
  ListOptions,
  Permission,
  Precondition,
  Reader,
  Resource,
  Watcher,
  WatchEvent,
  WatchOptions,
  Writer,
} from '../../src/kube/ports.ts'
import * as resources from '../../src/kube/resources.ts'
import type { Timers } from '../../src/kube/timers.ts'
import { absent, conflict, copy, inNamespace, keyOf, keyOfObject, kindKey, merged, notServed, pick, place, received, refuseAll, selected, timestamp, withoutMeta, type Stored } from './memory-objects.ts'
import { watchChannel } from './memory-watch.ts'

export type Verb = 'get' | 'list' | 'create' | 'replace' | 'replaceStatus' | 'mergePatch' | 'remove' | 'watch' | 'allows' | 'resourceFor' | 'emit'

export interface Call {
  verb: Verb
  /** The plural; empty for allows, resourceFor and emit. */
  resource: string
  namespace?: string
  name?: string
  /** What was sent: the object, patch, precondition, options or question. */
  body?: unknown
}

export interface FaultOptions {
  /** How many calls fail; 1 when left out. */
  times?: number
  /** true: the call takes effect and its answer is lost. */
  after?: boolean
}

export interface MemoryKube extends Reader, Writer, Watcher, Discovery, Permission, EventSink {
  /** Every call of a port since the start, in order. The test's own put, drop and so on are not in it. */
  readonly calls: Call[]
  /** The writes among the calls (create, replace, replaceStatus, mergePatch, remove). */
  writes(): Call[]
  readonly events: EventRecord[]
  /** Puts a whole object, status included, whether it exists or not; one with another uid is a successor: DELETED, then ADDED. Returns what was stored. */
  put<T extends KubeObject>(resource: Resource<T>, object: T): T
  /** Deletes at once, whatever the finalizers. */
  drop(resource: Resource, namespace: string | undefined, name: string): void
  /** All objects of a kind. */
  all<T extends KubeObject>(resource: Resource<T>, namespace?: string): T[]
  /** The answer to `allows`; everything is refused until one is given. */
  allowIf(answer: (identity: Identity, question: AccessQuestion) => boolean): void
  /** Serves a kind besides those of src/kube/resources.ts. */
  serve(resource: Resource): void
  /** As when its CRD is not installed: get, list, watch and create answer KUBE_NOT_FOUND. */
  unserve(resource: Resource): void
  /** The next call of this verb (for this resource, or for any when undefined) fails. */
  fail(verb: Verb, resource: Resource | undefined, error: Error, options?: FaultOptions): void
  /** Calls of this verb wait until the returned function is called. */
  hold(verb: Verb, resource?: Resource): () => void
  /** Forgets the history: watches from an older resource version answer KUBE_EXPIRED. */
  compact(): void
  /** Ends every open watch, as a server's timeout does; with an error, as a cut connection does. */
  endWatches(error?: Error): void
  /** Sends a bookmark on every open watch. */
  bookmark(): void
  readonly openWatches: number
}

interface Change {
  version: number
  resource: string
  old: Stored | undefined
  now: Stored | undefined
}
interface OpenWatch {
  take(change: Change): void
  bookmark(): void
  end(error?: Error): void
}

/** Real time, which keeps no process alive. */
const afterRealTime: Timers['after'] = (ms, run) => {
  const timer = setTimeout(run, ms)
  timer.unref()
  return () => clearTimeout(timer)
}

/** @param options.after ends watches when their time is over; pass the fake one where time is fake */
export const memoryKube = (options: { now?: () => number; after?: Timers['after'] } = {}): MemoryKube => {
  const now = options.now ?? Date.now
  const startTimer = options.after ?? afterRealTime
  const objects = new Map<string, Map<string, Stored>>()
  const served = new Map<string, Resource>()
  for (const resource of Object.values(resources)) if ('plural' in resource) served.set(kindKey(resource), resource)
  let history: Change[] = []
  let version = 0
  let compactedTo = 0
  let names = 0
  const watches = new Set<OpenWatch>()
  const faults: { verb: Verb; resource: string | undefined; error: Error; left: number; after: boolean }[] = []
  const holds: { verb: Verb; resource: string | undefined; released: Promise<void> }[] = []
  const calls: Call[] = []
  const events: EventRecord[] = []
  let answer: (identity: Identity, question: AccessQuestion) => boolean = refuseAll

  const kind = (resource: Resource): Map<string, Stored> => {
    const key = kindKey(resource)
    const found = objects.get(key) ?? new Map<string, Stored>()
    objects.set(key, found)
    return found
  }

  const commit = (resource: Resource, old: Stored | undefined, next: Stored | undefined): Stored => {
    version += 1
    const subject = next ?? old
    if (subject === undefined) throw new Error('nothing to commit')
    const stored: Stored = { ...subject, metadata: { ...subject.metadata, resourceVersion: String(version) } }
    const key = keyOfObject(resource, stored.metadata)
    if (next === undefined) kind(resource).delete(key)
    else kind(resource).set(key, stored)
    const change: Change = { version, resource: kindKey(resource), old, now: next && stored }
    history.push(change)
    for (const watch of watches) watch.take(change)
    return stored
  }

  const takeFault = (verb: Verb, resource: Resource | undefined, after: boolean): void => {
    const wanted = resource && kindKey(resource)
    const index = faults.findIndex((fault) => fault.verb === verb && fault.after === after && (fault.resource === undefined || fault.resource === wanted))
    const fault = faults[index]
    if (fault === undefined) return
    fault.left -= 1
    if (fault.left <= 0) faults.splice(index, 1)
    throw fault.error
  }

  /** What surrounds every call: recording, holds, faults, kinds that are not served. */
  const call = async <R>(entry: Omit<Call, 'resource'>, resource: Resource | undefined, effect: () => R): Promise<R> => {
    calls.push({ ...entry, resource: resource?.plural ?? '', ...(entry.body === undefined ? {} : { body: structuredClone(entry.body) }) })
    await Promise.resolve()
    for (const hold of holds.filter((h) => h.verb === entry.verb && (h.resource === undefined || h.resource === (resource && kindKey(resource))))) await hold.released
    takeFault(entry.verb, resource, false)
    if (resource !== undefined && !served.has(kindKey(resource))) throw notServed(resource)
    const result = effect()
    takeFault(entry.verb, resource, true)
    return result
  }

  const live = (resource: Resource, namespace: string | undefined, name: string): Stored => {
    const found = kind(resource).get(keyOf(resource.namespaced ? namespace : undefined, name))
    if (found === undefined) throw absent(resource, name)
    return found
  }

  /** The rules that every write of an existing object shares. */
  const update = (resource: Resource, sent: Stored, part: 'main' | 'status'): Stored => {
    const old = live(resource, sent.metadata.namespace, sent.metadata.name)
    const { resourceVersion, uid } = sent.metadata
    if (uid !== undefined && uid !== old.metadata.uid) throw conflict(resource, old.metadata.name, `has uid ${old.metadata.uid}, not ${uid}`)
    if (resourceVersion !== undefined && resourceVersion !== '' && resourceVersion !== old.metadata.resourceVersion)
      throw conflict(resource, old.metadata.name, 'has been modified; read it again')
    const base: Stored = part === 'status' ? { ...old, status: sent['status'] } : { ...sent, status: old['status'] }
    const { deletionTimestamp: _sent, ...meta } = part === 'status' ? old.metadata : sent.metadata
    const next: Stored = {
      ...base,
      apiVersion: resource.apiVersion,
      kind: resource.kind,
      metadata: {
        ...meta,
        ...pick(old.metadata, ['uid', 'creationTimestamp', 'deletionTimestamp', 'generation', 'resourceVersion']),
      },
    }
    if (next['status'] === undefined) delete next['status']
    if (isDeepStrictEqual(next, old)) return old
    if (!isDeepStrictEqual(withoutMeta(next), withoutMeta(old))) next.metadata.generation = (old.metadata.generation ?? 0) + 1
    if (next.metadata.deletionTimestamp !== undefined && (next.metadata.finalizers ?? []).length === 0) return commit(resource, next, undefined)
    return commit(resource, old, next)
  }

  const born = (resource: Resource, object: Stored): Stored => {
    names += 1
    const { generateName } = object.metadata
    const name = object.metadata.name || (generateName === undefined ? '' : `${generateName}${String(names).padStart(5, '0')}`)
    if (name === '') throw new CodedError('KUBE_INVALID', `${resource.kind} is invalid: metadata.name: name or generateName is required`)
    const { deletionTimestamp: _sent, ...meta } = object.metadata
    return {
      ...object,
      apiVersion: resource.apiVersion,
      kind: resource.kind,
      metadata: {
        ...meta,
        name,
        uid: `uid-${String(names).padStart(6, '0')}`,
        generation: 1,
        creationTimestamp: timestamp(now()),
      },
    }
  }


  return {
    calls,
    events,
    writes: () => calls.filter(({ verb }) => ['create', 'replace', 'replaceStatus', 'mergePatch', 'remove'].includes(verb)),

    get: <T extends KubeObject>(resource: Resource<T>, namespace: string | undefined, name: string) =>
      call({ verb: 'get', ...place(namespace, name) }, resource, () => {
        const found = kind(resource).get(keyOf(resource.namespaced ? namespace : undefined, name))
        return found && copy(resource, found)
      }),

    list: <T extends KubeObject>(resource: Resource<T>, listOptions: ListOptions = {}): Promise<List<T>> => {
      const { signal: _signal, ...body } = listOptions
      return call({ verb: 'list', ...inNamespace(listOptions.namespace), body }, resource, () => ({
        items: [...kind(resource).values()].filter(selected(resource, listOptions)).map((object) => copy(resource, object)),
        resourceVersion: String(version),
      }))
    },

    create: <T extends KubeObject>(resource: Resource<T>, object: T) =>
      call({ verb: 'create', ...place(object.metadata.namespace, object.metadata.name), body: object }, resource, () => {
        const next = born(resource, received(object))
        delete next['status']
        if (kind(resource).has(keyOfObject(resource, next.metadata))) throw conflict(resource, next.metadata.name, 'already exists')
        return copy(resource, commit(resource, undefined, next))
      }),

    replace: <T extends KubeObject>(resource: Resource<T>, object: T) =>
      call({ verb: 'replace', ...place(object.metadata.namespace, object.metadata.name), body: object }, resource, () =>
        copy(resource, update(resource, received(object), 'main')),
      ),

    replaceStatus: <T extends KubeObject>(resource: Resource<T>, object: T) =>
      call({ verb: 'replaceStatus', ...place(object.metadata.namespace, object.metadata.name), body: object }, resource, () =>
        copy(resource, update(resource, received(object), 'status')),
      ),

    mergePatch: <T extends KubeObject>(resource: Resource<T>, namespace: string | undefined, name: string, patch: object) =>
      call({ verb: 'mergePatch', ...place(namespace, name), body: patch }, resource, () => {
        const result: Stored = JSON.parse(JSON.stringify(merged(live(resource, namespace, name), patch)))
        return copy(resource, update(resource, result, 'main'))
      }),

    remove: (resource: Resource, namespace: string | undefined, name: string, precondition: Precondition = {}) =>
      call({ verb: 'remove', ...place(namespace, name), body: precondition }, resource, () => {
        const old = kind(resource).get(keyOf(resource.namespaced ? namespace : undefined, name))
        if (old === undefined) return false
        for (const field of ['uid', 'resourceVersion'] as const) {
          if (precondition[field] !== undefined && precondition[field] !== old.metadata[field])
            throw conflict(resource, name, `has ${field} ${old.metadata[field]}, not ${precondition[field]}`)
        }
        if ((old.metadata.finalizers ?? []).length === 0) commit(resource, old, undefined)
        else if (old.metadata.deletionTimestamp === undefined) {
          const deletionTimestamp = timestamp(now())
          commit(resource, old, { ...old, metadata: { ...old.metadata, deletionTimestamp, generation: (old.metadata.generation ?? 0) + 1 } })
        }
        return true
      }),

    watch: <T extends KubeObject>(resource: Resource<T>, watchOptions: WatchOptions): AsyncIterable<WatchEvent<T>> => ({
      [Symbol.asyncIterator]: () => {
        const { signal, onOpen, ...body } = watchOptions
        const matches = selected(resource, watchOptions)
        const stop = (): void => open.end()
        const channel = watchChannel<T>(() => {
          cancelEnd()
          signal?.removeEventListener('abort', stop)
          watches.delete(open)
        })
        const open: OpenWatch = {
          take: (change) => {
            if (change.resource !== kindKey(resource)) return
            const before = change.old !== undefined && matches(change.old)
            if (change.now !== undefined && matches(change.now)) channel.push({ type: before ? 'MODIFIED' : 'ADDED', object: copy(resource, change.now) })
            else if (before && change.old !== undefined) {
              const metadata = { ...change.old.metadata, resourceVersion: String(change.version) }
              channel.push({ type: 'DELETED', object: copy(resource, { ...change.old, metadata }) })
            }
          },
          bookmark: () => channel.push({ type: 'BOOKMARK', resourceVersion: String(version) }),
          end: (error) => {
            channel.end(error)
            watches.delete(open)
          },
        }
        const cancelEnd = startTimer(watchOptions.timeoutSeconds * 1000, stop)
        const start = call({ verb: 'watch', ...inNamespace(body.namespace), body }, resource, () => {
          if (signal?.aborted) {
            stop()
            return
          }
          const from = Number(watchOptions.resourceVersion || 0)
          if (from !== 0 && from < compactedTo) throw new CodedError('KUBE_EXPIRED', `too old resource version: ${from} (${compactedTo})`)
          onOpen?.()
          if (from === 0) for (const object of kind(resource).values()) open.take({ version, resource: kindKey(resource), old: undefined, now: object })
          else for (const change of history) if (change.version > from) open.take(change)
          signal?.addEventListener('abort', stop, { once: true })
          if (!channel.ended) watches.add(open)
        })
        start.catch((error: unknown) => open.end(error instanceof Error ? error : new Error(String(error))))
        return channel.iterator
      },
    }),

    resourceFor: (apiVersion, kindName) =>
      call({ verb: 'resourceFor', name: kindName, body: apiVersion }, undefined, () =>
        [...served.values()].find((resource) => resource.apiVersion === apiVersion && resource.kind === kindName),
      ),

    allows: (identity, question) => call({ verb: 'allows', body: { identity, question } }, undefined, () => answer(identity, question)),

    emit: (event) =>
      call({ verb: 'emit', name: event.reason, body: event }, undefined, () => {
        events.push(event)
      }),

    put: <T extends KubeObject>(resource: Resource<T>, object: T) => {
      const sent = received(object)
      const found = kind(resource).get(keyOfObject(resource, sent.metadata))
      const isSuccessor = found !== undefined && sent.metadata.uid !== undefined && sent.metadata.uid !== found.metadata.uid
      if (isSuccessor) commit(resource, found, undefined)
      const old = isSuccessor ? undefined : found
      if (old === undefined) {
        const next = born(resource, sent)
        return copy(resource, commit(resource, undefined, { ...next, metadata: { ...next.metadata, ...sent.metadata, name: next.metadata.name } }))
      }
      const next: Stored = { ...sent, apiVersion: resource.apiVersion, kind: resource.kind }
      next.metadata = { ...pick(old.metadata, ['uid', 'creationTimestamp', 'generation']), ...sent.metadata }
      if (!isDeepStrictEqual(withoutMeta(next), withoutMeta(old))) next.metadata.generation = (old.metadata.generation ?? 0) + 1
      return copy(resource, commit(resource, old, next))
    },
    drop: (resource, namespace, name) => {
      commit(resource, live(resource, namespace, name), undefined)
    },
    all: <T extends KubeObject>(resource: Resource<T>, namespace?: string) =>
      [...kind(resource).values()].filter((object) => namespace === undefined || object.metadata.namespace === namespace).map((object) => copy(resource, object)),
    allowIf: (given) => {
      answer = given
    },
    serve: (resource) => {
      served.set(kindKey(resource), resource)
    },
    unserve: (resource) => {
      served.delete(kindKey(resource))
    },
    fail: (verb, resource, error, { times = 1, after = false } = {}) => {
      faults.push({ verb, resource: resource && kindKey(resource), error, left: times, after })
    },
    hold: (verb, resource) => {
      const { promise, resolve } = Promise.withResolvers<void>()
      const entry = { verb, resource: resource && kindKey(resource), released: promise }
      holds.push(entry)
      return () => {
        holds.splice(holds.indexOf(entry), 1)
        resolve()
      }
    },
    compact: () => {
      compactedTo = version
      history = []
    },
    endWatches: (error) => {
      for (const watch of watches) watch.end(error)
    },
    bookmark: () => {
      for (const watch of watches) watch.bookmark()
    },
    get openWatches() {
      return watches.size
    },
  }
}
