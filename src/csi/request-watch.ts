/** The requests that speak of one Pod name, watched for as long as somebody waits for them. */
import type { Logger } from 'pino'
import type { AccessRequest } from '../api/access-request.ts'
import { LABEL } from '../api/names.ts'
import { labelValue, type PodKey } from '../core/request-identity.ts'
import type { Clock, Reader, Watcher } from '../kube/ports.ts'
import { createReflector } from '../kube/reflector.ts'
import { ACCESS_REQUESTS } from '../kube/resources.ts'
import { createStore, storeKey, type Store } from '../kube/store.ts'
import type { Timers } from '../kube/timers.ts'

type PodName = Pick<PodKey, 'namespace' | 'name'>

/** Finds the requests of a Pod name, whatever their uid. Labels are cut and may be taken off: what is found is judged by its spec. */
export const requestSelector = ({ namespace, name }: PodName): string =>
  `${LABEL.contextName}=${labelValue(name)},${LABEL.contextNamespace}=${labelValue(namespace)}`

/** One user's hold on a watch; several volumes of a Pod share one. */
export interface RequestWatch {
  /** undefined while nothing was read yet. */
  requests(): AccessRequest[] | undefined
  /** A writer places what the API server answered. */
  put(request: AccessRequest): void
  /** Called after each change, and when everything was read for the first time. @returns a function that ends it */
  onChange(handler: () => void): () => void
  /** The last one ends the watch. */
  release(): void
}

export interface RequestWatchDeps {
  kube: Pick<Reader, 'list'> & Watcher
  clock: Clock
  timers: Timers
  random: () => number
  log: Pick<Logger, 'warn' | 'debug' | 'error'>
}

/**
 * Seconds that one watch is to last: nobody judges by its silence, since whoever waits asks for the permission itself every 15 s, and a call
 * of kubelet's lasts two minutes. There is one for each Pod that waits, so it is begun anew seldom.
 */
const WATCH_SECONDS = [60, 90] as const

interface Shared {
  store: Store<AccessRequest>
  reflector: ReturnType<typeof createReflector<AccessRequest>>
  running: Promise<void>
  stop: AbortController
  users: number
}

export interface RequestWatches {
  open(pod: PodName): RequestWatch
  readonly size: number
  /** Ends them all; resolves when nothing runs any more. */
  stop(): Promise<void>
}

export const createRequestWatches = ({ kube, clock, timers, random, log }: RequestWatchDeps): RequestWatches => {
  const watches = new Map<string, Shared>()
  const ending = new Set<Promise<void>>()

  const start = (pod: PodName): Shared => {
    const store = createStore<AccessRequest>({ log })
    const reflector = createReflector({ kube, resource: ACCESS_REQUESTS, labelSelector: requestSelector(pod), watchSeconds: WATCH_SECONDS, store, clock, timers, random, log })
    const stop = new AbortController()
    return { store, reflector, running: reflector.run(stop.signal), stop, users: 0 }
  }

  const close = (key: string, shared: Shared): void => {
    watches.delete(key)
    shared.stop.abort()
    ending.add(shared.running)
    void shared.running.finally(() => ending.delete(shared.running))
  }

  return {
    get size() {
      return watches.size
    },
    open: (pod) => {
      const key = storeKey(pod.namespace, pod.name)
      const shared = watches.get(key) ?? start(pod)
      watches.set(key, shared)
      shared.users += 1
      let isOpen = true
      return {
        requests: () => (shared.reflector.hasSynced ? [...shared.store.values()] : undefined),
        put: (request) => shared.store.put(request),
        onChange: (handler) => {
          if (!shared.reflector.hasSynced) void shared.reflector.synced.then(handler)
          return shared.store.onChange(handler)
        },
        release: () => {
          if (!isOpen) return
          isOpen = false
          shared.users -= 1
          if (shared.users === 0) close(key, shared)
        },
      }
    },
    stop: async () => {
      for (const [key, shared] of watches) close(key, shared)
      await Promise.all(ending)
    },
  }
}
