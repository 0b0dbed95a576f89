/**
 * An indexed copy of the objects of one kind, fed by a stream (a list, then a watch) and by what writers got back.
 * The stream is the truth; what a writer puts is only ahead of it. Two facts carry everything here: an object's resource version
 * grows with every write, and a stream at version S has told everything that happened up to S.
 */
import type { Logger } from 'pino'
import type { KubeObject } from '../api/meta.ts'

export type StoreChange<T> = { type: 'added'; object: T } | { type: 'updated'; object: T; old: T } | { type: 'deleted'; object: T }

export interface StoreView<T extends KubeObject, I extends string = never> {
  get(namespace: string | undefined, name: string): T | undefined
  /** The objects whose index function named this value; in no order. */
  byIndex(index: I, value: string): T[]
  values(): IterableIterator<T>
  readonly size: number
  /** Called after each change, in order. What a handler throws is logged. @returns a function that ends it */
  onChange(handler: (change: StoreChange<T>) => void): () => void
}

/** Objects are shared with every reader: treat them as read-only. */
export interface Store<T extends KubeObject, I extends string = never> extends StoreView<T, I> {
  /** A writer places what the API server answered. Ignored when the stream has told something newer, also a deletion. */
  put(object: T): void
  /** An event of the stream. */
  apply(event: { type: 'ADDED' | 'MODIFIED' | 'DELETED'; object: T }): void
  /** The stream has told everything up to this version (a bookmark). */
  passed(resourceVersion: string): void
  /** The stream begins anew with everything there is. */
  replaceAll(objects: readonly T[], resourceVersion: string): void
}

export interface StoreOptions<T extends KubeObject, I extends string> {
  /** From an object to the values under which byIndex finds it. */
  indexes?: Record<I, (object: T) => readonly string[]>
  /** Drops what nobody reads, to save memory; gets a copy that it may change. metadata.managedFields are always dropped. */
  trim?: (object: T) => T
  log: Pick<Logger, 'error'>
}

interface Entry<T> {
  object: T
  version: bigint | undefined
}

export const storeKey = (namespace: string | undefined, name: string): string => `${namespace ?? ''}/${name}`
const keyOf = ({ metadata }: KubeObject): string => storeKey(metadata.namespace, metadata.name)

/** undefined for a version that is no number: it compares with nothing. */
const parseVersion = (text: string | undefined): bigint | undefined => (text !== undefined && /^\d+$/.test(text) ? BigInt(text) : undefined)
const atMost = (a: bigint | undefined, b: bigint | undefined): boolean => a !== undefined && b !== undefined && a <= b
const below = (a: bigint | undefined, b: bigint | undefined): boolean => a !== undefined && b !== undefined && a < b

/** A copy without what is half of an object, and nobody reads. Not by deleting: that makes a slow object, several times as large. */
export const withoutManagedFields = <T extends KubeObject>(object: T): T => {
  const { managedFields: _unread, ...metadata }: T['metadata'] & { managedFields?: unknown } = object.metadata
  return { ...object, metadata }
}

export const createStore = <T extends KubeObject, I extends string = never>({ indexes, trim, log }: StoreOptions<T, I>): Store<T, I> => {
  const entries = new Map<string, Entry<T>>()
  const indexFunctions = Object.entries<(object: T) => readonly string[]>(indexes ?? {})
  const indexed = new Map(indexFunctions.map(([name]) => [name, new Map<string, Set<string>>()]))
  const handlers = new Set<(change: StoreChange<T>) => void>()
  /** Keys of what writers put and the stream did not confirm yet: few, as the stream soon passes them. */
  const ahead = new Set<string>()
  /** The stream has told everything up to here. */
  let seen: bigint | undefined

  /** Changes not yet told; a handler that changes the store adds to it, so that all handlers see one order. */
  const untold: StoreChange<T>[] = []
  let isTelling = false
  const tellEach = (change: StoreChange<T>): void => {
    for (const handler of handlers) {
      try {
        handler(change)
      } catch (error) {
        log.error({ err: error, change: change.type, object: keyOf(change.object) }, 'a handler of a store failed')
      }
    }
  }
  const tell = (change: StoreChange<T>): void => {
    untold.push(change)
    if (isTelling) return
    isTelling = true
    for (let next = untold.shift(); next !== undefined; next = untold.shift()) tellEach(next)
    isTelling = false
  }

  const clean = (raw: T): T => {
    const copy = withoutManagedFields(raw)
    try {
      return trim === undefined ? copy : trim(copy)
    } catch (error) {
      log.error({ err: error, object: keyOf(raw) }, 'the trim of a store failed')
      return copy
    }
  }

  const eachIndexValue = (object: T, take: (byValue: Map<string, Set<string>>, value: string) => void): void => {
    for (const [name, valuesOf] of indexFunctions) {
      const byValue = indexed.get(name) ?? new Map<string, Set<string>>()
      try {
        for (const value of valuesOf(object)) take(byValue, value)
      } catch (error) {
        log.error({ err: error, index: name, object: keyOf(object) }, 'an index of a store failed')
      }
    }
  }
  /** The values are worked out again, not kept: ten thousand objects would keep as many lists. */
  const unindex = (key: string, { object }: Entry<T>): void =>
    eachIndexValue(object, (byValue, value) => {
      const keys = byValue.get(value)
      keys?.delete(key)
      if (keys?.size === 0) byValue.delete(value)
    })
  const index = (key: string, { object }: Entry<T>): void =>
    eachIndexValue(object, (byValue, value) => {
      const keys = byValue.get(value) ?? new Set()
      keys.add(key)
      byValue.set(value, keys)
    })

  const drop = (key: string, last?: T): void => {
    const entry = entries.get(key)
    if (entry === undefined) return
    entries.delete(key)
    ahead.delete(key)
    unindex(key, entry)
    tell({ type: 'deleted', object: last ?? entry.object })
  }

  const set = (raw: T, version: bigint | undefined, isAhead: boolean): void => {
    const object = clean(raw)
    const key = keyOf(object)
    const old = entries.get(key)
    // Another object of the same name: the end of the first was not told, or not yet.
    const isSuccessor = old !== undefined && old.object.metadata.uid !== object.metadata.uid
    if (isSuccessor) drop(key)
    else if (old !== undefined) unindex(key, old)
    const entry = { object, version }
    entries.set(key, entry)
    index(key, entry)
    if (isAhead) ahead.add(key)
    else ahead.delete(key)
    tell(old === undefined || isSuccessor ? { type: 'added', object } : { type: 'updated', object, old: old.object })
  }

  /** The stream told everything up to `version`: what a writer put before that and the stream did not confirm is not there. */
  const advance = (version: bigint | undefined): void => {
    if (version === undefined || atMost(version, seen)) return
    seen = version
    for (const key of ahead) if (atMost(entries.get(key)?.version, seen)) drop(key)
  }

  /** An object as the stream tells it; one that the store has in the same or a newer version stays. */
  const upsert = (object: T): void => {
    const key = keyOf(object)
    const version = parseVersion(object.metadata.resourceVersion)
    const entry = entries.get(key)
    if (entry === undefined || !atMost(version, entry.version)) set(object, version, false)
    else if (atMost(entry.version, version)) ahead.delete(key)
  }

  return {
    get: (namespace, name) => entries.get(storeKey(namespace, name))?.object,
    byIndex: (name, value) => {
      const byValue = indexed.get(name)
      if (byValue === undefined) throw new Error(`the store has no index ${JSON.stringify(name)}`)
      return [...(byValue.get(value) ?? [])].flatMap((key) => entries.get(key)?.object ?? [])
    },
    *values() {
      for (const { object } of entries.values()) yield object
    },
    get size() {
      return entries.size
    },
    onChange: (handler) => {
      handlers.add(handler)
      return () => {
        handlers.delete(handler)
      }
    },

    put: (object) => {
      const key = keyOf(object)
      const version = parseVersion(object.metadata.resourceVersion)
      const entry = entries.get(key)
      if (entry !== undefined && atMost(version, entry.version)) return
      // Not here though the stream is past it: deleted since, or not selected.
      if (entry === undefined && atMost(version, seen)) return
      set(object, version, !atMost(version, seen))
    },

    apply: ({ type, object }) => {
      const version = parseVersion(object.metadata.resourceVersion)
      if (type === 'DELETED') {
        const key = keyOf(object)
        // A writer's newer answer is about a successor, or about the object after it left and entered the selector.
        if (!below(version, entries.get(key)?.version)) drop(key, clean(object))
      } else upsert(object)
      advance(version)
    },

    passed: (resourceVersion) => advance(parseVersion(resourceVersion)),

    replaceAll: (objects, resourceVersion) => {
      const version = parseVersion(resourceVersion)
      // A list older than what was told: the server was restored from a backup. Then nothing that we have counts.
      const isRestored = below(version, seen)
      if (isRestored) {
        ahead.clear()
        for (const entry of entries.values()) entry.version = undefined
      }
      const listed = new Set(objects.map(keyOf))
      for (const [key, entry] of entries) {
        const isNewer = !isRestored && version !== undefined && below(version, entry.version)
        if (!listed.has(key) && !isNewer) drop(key)
      }
      for (const object of objects) upsert(object)
      seen = version
      for (const key of ahead) if (atMost(entries.get(key)?.version, seen)) drop(key)
    },
  }
}
