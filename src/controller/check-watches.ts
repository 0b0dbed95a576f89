import type { Logger } from 'pino'
import type { CheckObject } from '../core/check.ts'
import { isRecord } from '../core/json-shape.ts'
import { isCoded, messageOf } from '../errors.ts'
import type { Clock, Discovery, Reader, Resource, Watcher } from '../kube/ports.ts'
import { createReflector } from '../kube/reflector.ts'
import { createStore, type StoreView } from '../kube/store.ts'
import { sleep, type Timers } from '../kube/timers.ts'
import { kindKey, objectCheckKeys } from './check-index.ts'

/** How soon a kind is asked for again that is not served, or may not be read, in milliseconds. */
const ABSENT_KIND_RETRY_MS = 5_000
/** How long a kind is watched on after the last request that needs it, in milliseconds. */
const UNUSED_KIND_LINGER_MS = 60_000

/** What to tell when the API server refuses to show a kind. */
export const forbiddenKind = (apiVersion: string, kind: string): string =>
  `the controller may not get, list and watch ${kind} (${apiVersion}): allow it by a ClusterRole labelled connectors.alauda.io/aggregate-to-checks: "true"`

/** What is known of a kind of check objects. */
export type KindState =
  | { state: 'ready'; resource: Resource<CheckObject>; store: StoreView<CheckObject, 'check'> }
  /** Not served yet, or being read for the first time: since when (a monotonic time in milliseconds), and a promise for when it is known whether it can be read. */
  | { state: 'waiting'; message: string; firstRead?: { since: number; answered: Promise<void> } }
  /** May not be read, or cannot be a check. */
  | { state: 'failed'; message: string }

/** What is read of the status of a check object that has no expression; see check.ts. */
const READ_STATUS = ['state', 'conditions', 'approversResponse'] as const

/**
 * A check object without what no check reads but an expression; an expression reads the object itself. Whoever may write check
 * objects decides how large they are, not how much memory they take here.
 */
export const trimCheckObject = ({ metadata, status }: CheckObject): CheckObject => {
  const { name, namespace, uid, resourceVersion, labels } = metadata
  const kept = isRecord(status) ? Object.fromEntries(READ_STATUS.map((field) => [field, status[field]])) : undefined
  return {
    metadata: {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      ...(labels === undefined ? {} : { labels }),
    },
    ...(kept === undefined ? {} : { status: kept }),
  }
}

export interface CheckWatchesOptions {
  kube: Discovery & Reader & Watcher
  clock: Clock
  timers: Timers
  /** A number from 0 up to 1. */
  random: () => number
  logger: Logger
  /** A check object came, changed or went; `old` is what it was before. */
  onObject: (apiVersion: string, kind: string, object: CheckObject, old?: CheckObject) => void
  /** A kind can be read from now on, or no longer. */
  onKind: (apiVersion: string, kind: string) => void
}

interface KindWatch {
  state: KindState
  /** Resolves when the kind was read, or it is known why it cannot be. */
  answered: PromiseWithResolvers<void>
  stop: AbortController
  ended: Promise<void>
  unusedSince: number | undefined
}

/** Watches of the kinds that checks name, begun when the first request needs one and ended when none does any more. */
export class CheckWatches {
  readonly #options: CheckWatchesOptions
  readonly #watches = new Map<string, KindWatch>()
  #stopped = false

  constructor(options: CheckWatchesOptions) {
    this.#options = options
  }

  /** What is known of a kind; the first call for it begins the watch. */
  lookup(apiVersion: string, kind: string): KindState {
    const key = kindKey(apiVersion, kind)
    const known = this.#watches.get(key)
    if (known !== undefined) return known.state
    if (this.#stopped) return { state: 'waiting', message: 'the controller is stopping' }
    const stop = new AbortController()
    const answered = Promise.withResolvers<void>()
    const firstRead = { since: this.#options.timers.monotonic(), answered: answered.promise }
    const watch: KindWatch = {
      state: { state: 'waiting', message: `${kind} (${apiVersion}) is being read`, firstRead },
      answered,
      stop,
      ended: Promise.resolve(),
      unusedSince: undefined,
    }
    this.#watches.set(key, watch)
    watch.ended = this.#run(watch, apiVersion, kind)
    return watch.state
  }

  /** Resolves when of every kind that was looked up it is known whether it can be read, and those that can be are read. */
  async answered(): Promise<void> {
    await Promise.all([...this.#watches.values()].map(({ answered }) => answered.promise))
  }

  /** Ends the watches of kinds that were not needed for a while. @param isNeeded for a key as kindKey makes it */
  prune(isNeeded: (key: string) => boolean): void {
    const now = this.#options.timers.monotonic()
    for (const [key, watch] of this.#watches) {
      if (isNeeded(key)) watch.unusedSince = undefined
      else if (watch.unusedSince === undefined) watch.unusedSince = now
      else if (now - watch.unusedSince > UNUSED_KIND_LINGER_MS) {
        watch.stop.abort()
        this.#watches.delete(key)
      }
    }
  }

  /** How many objects are kept in memory, by kind. */
  sizes(): Map<string, number> {
    return new Map([...this.#watches].map(([key, { state }]) => [key, state.state === 'ready' ? state.store.size : 0]))
  }

  async stop(): Promise<void> {
    this.#stopped = true
    for (const { stop } of this.#watches.values()) stop.abort()
    await Promise.all([...this.#watches.values()].map(({ ended }) => ended))
  }

  #set(watch: KindWatch, apiVersion: string, kind: string, state: KindState): void {
    const before = watch.state
    watch.state = state
    watch.answered.resolve()
    if (before.state === state.state && (before.state === 'ready' || (state.state !== 'ready' && before.message === state.message))) return
    const message = state.state === 'ready' ? undefined : state.message
    this.#options.logger.info({ kind, apiVersion, state: state.state, message }, 'the kind of a check changed its state')
    this.#options.onKind(apiVersion, kind)
  }

  async #run(watch: KindWatch, apiVersion: string, kind: string): Promise<void> {
    const { kube, timers } = this.#options
    const { signal } = watch.stop
    while (!signal.aborted) {
      try {
        const resource = await kube.resourceFor(apiVersion, kind)
        if (resource === undefined) this.#set(watch, apiVersion, kind, { state: 'waiting', message: `the cluster does not serve ${kind} (${apiVersion}) yet` })
        else if (!resource.namespaced)
          this.#set(watch, apiVersion, kind, { state: 'failed', message: `${kind} (${apiVersion}) has no namespace and cannot be a check` })
        else await this.#watch(watch, resource)
      } catch (error) {
        this.#set(watch, apiVersion, kind, this.#stateOf(error, apiVersion, kind))
      }
      await sleep(timers, ABSENT_KIND_RETRY_MS, signal)
    }
    watch.answered.resolve()
  }

  #stateOf(error: unknown, apiVersion: string, kind: string): KindState {
    if (isCoded(error, 'KUBE_FORBIDDEN')) return { state: 'failed', message: forbiddenKind(apiVersion, kind) }
    if (isCoded(error, 'KUBE_NOT_FOUND')) return { state: 'waiting', message: `the cluster does not serve ${kind} (${apiVersion}) yet` }
    return { state: 'failed', message: `${kind} (${apiVersion}) cannot be read: ${messageOf(error)}` }
  }

  /** Keeps a store in step until the watch is stopped. @throws CodedError KUBE_FORBIDDEN, KUBE_NOT_FOUND when the kind can no longer be read */
  async #watch(watch: KindWatch, resource: Resource<CheckObject>): Promise<void> {
    const { kube, clock, timers, random, logger, onObject } = this.#options
    const { apiVersion, kind } = resource
    const store = createStore<CheckObject, 'check'>({ indexes: { check: (object) => objectCheckKeys(apiVersion, kind, object) }, trim: trimCheckObject, log: logger })
    store.onChange((change) => onObject(apiVersion, kind, change.object, change.type === 'updated' ? change.old : undefined))
    const attempt = new AbortController()
    let fault: unknown
    // A reflector goes on whatever happens; a kind that is not served or may not be read has to be told instead.
    const noted = (error: unknown): unknown => {
      if (isCoded(error, 'KUBE_FORBIDDEN') || isCoded(error, 'KUBE_NOT_FOUND')) {
        fault = error
        attempt.abort()
      }
      return error
    }
    const observed: Pick<Reader, 'list'> & Watcher = {
      list: async (...args) => {
        try {
          return await kube.list(...args)
        } catch (error) {
          // The first list decides whether anything is known of the kind at all.
          if (watch.state.state !== 'ready' && !watch.stop.signal.aborted) this.#set(watch, apiVersion, kind, this.#stateOf(error, apiVersion, kind))
          throw noted(error)
        }
      },
      watch: async function* (...args) {
        try {
          yield* kube.watch(...args)
        } catch (error) {
          throw noted(error)
        }
      },
    }
    const reflector = createReflector({ kube: observed, resource, store, trim: trimCheckObject, clock, timers, random, log: logger })
    const running = reflector.run(AbortSignal.any([watch.stop.signal, attempt.signal]))
    if (await reflector.synced) this.#set(watch, apiVersion, kind, { state: 'ready', resource, store })
    await running
    if (fault !== undefined) throw fault
  }
}
