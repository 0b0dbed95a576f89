/** Keeps a store in step with the API server: lists, watches, and begins again after whatever happens, until it is stopped. */
import type { Logger } from 'pino'
import type { KubeObject } from '../api/meta.ts'
import { isCoded, messageOf } from '../errors.ts'
import { KubeError, retryAfterOf } from './kube-error.ts'
import type { Clock, Reader, Resource, Watcher } from './ports.ts'
import { withoutManagedFields, type Store } from './store.ts'
import { backoffMs, sleep, type Timers } from './timers.ts'

export interface ReflectorOptions<T extends KubeObject> {
  kube: Pick<Reader, 'list'> & Watcher
  resource: Resource<T>
  /** Left out: all namespaces. */
  namespace?: string
  labelSelector?: string
  fieldSelector?: string
  store: Pick<Store<T>, 'apply' | 'passed' | 'replaceAll'>
  /** How long a watch is asked to last, seconds from and to; left out: 10 to 14. Longer is cheaper, and its silence says less for that long. */
  watchSeconds?: readonly [number, number]
  /** What the store keeps of each object; left out: all of it. The same as the store's, applied to a list page by page. */
  trim?: (object: T) => T
  clock: Clock
  timers: Timers
  /** A number from 0 up to 1. */
  random: () => number
  log: Pick<Logger, 'warn' | 'debug'>
}

export interface Reflector {
  /** Runs until the signal aborts; never rejects. To be called once. */
  run(signal: AbortSignal): Promise<void>
  /** true once the first list is in the store; false when it was stopped before. */
  readonly synced: Promise<boolean>
  readonly hasSynced: boolean
  /**
   * When the API server said something last, in milliseconds since the epoch; undefined before the first list. While it answers, that
   * is never long ago: every watch ends in its time at the latest.
   */
  readonly lastContact: number | undefined
  /** Whether the API server has said nothing for longer than this. */
  stale(now: number, maxAgeMs: number): boolean
}

/** Capped low: what is revoked waits for this, and a few watches are no burden for an API server that recovers. */
const BACKOFF = { baseMs: 1_000, capMs: 10_000 }
/** A server that asks for more time gets it, up to this. */
const LONGEST_PAUSE_MS = 30_000
/** A watch that lasted so long was sound; what ended it is a first failure again. */
const HEALTHY_MS = 5_000
/** One that the server ends sooner than this is as good as refused. */
const TOO_SHORT_MS = 1_000
/** After so many failures in a row the version to go on from is doubted too. */
const RELIST_AFTER = 3
/**
 * How long the API server is asked to keep a watch, in seconds. A watch without events says nothing at all, maybe not even a bookmark:
 * none comes when nothing of its kind was written anywhere since it began. So its end is the sign of life. The next one goes on from the
 * same version, which costs one request and tells nothing twice. A revocation may wait for this on a connection that is silently dead.
 */
const WATCH_SECONDS = [10, 14] as const
/** A watch that the server has not ended so long after its time, and that tells nothing any more, is taken for dead; in milliseconds. */
const OVERDUE_MS = 5_000

export const createReflector = <T extends KubeObject>(options: ReflectorOptions<T>): Reflector => {
  const { kube, resource, store, clock, timers, random, log, watchSeconds: [shortestWatch, longestWatch] = WATCH_SECONDS } = options
  const selection = {
    ...(options.namespace === undefined ? {} : { namespace: options.namespace }),
    ...(options.labelSelector === undefined ? {} : { labelSelector: options.labelSelector }),
    ...(options.fieldSelector === undefined ? {} : { fieldSelector: options.fieldSelector }),
  }
  const { promise: synced, resolve: resolveSynced } = Promise.withResolvers<boolean>()
  let hasSynced = false
  let lastContact: number | undefined
  /** Where to go on from; undefined: list first. */
  let version: string | undefined
  let failures = 0
  /** How many watches in a row the server did not end in their time. */
  let overdue = 0
  let lastComplaint: string | undefined

  const contact = (): void => {
    lastContact = clock.now()
  }

  const keep = (object: T): T => {
    const slim = withoutManagedFields(object)
    return options.trim === undefined ? slim : options.trim(slim)
  }

  const list = async (signal: AbortSignal): Promise<void> => {
    // Without a resourceVersion: the newest there is, never what a cache of the API server remembers.
    const { items, resourceVersion } = await kube.list(resource, { ...selection, signal }, keep)
    if (signal.aborted) return
    store.replaceAll(items, resourceVersion)
    version = resourceVersion
    contact()
    hasSynced = true
    resolveSynced(true)
  }

  /** @returns whether it ended as it should */
  const watch = async (from: string, signal: AbortSignal, onOpen: () => void): Promise<boolean> => {
    const timeoutSeconds = Math.round(shortestWatch + random() * (longestWatch - shortestWatch))
    const cut = new AbortController()
    const stop = (): void => cut.abort()
    let heardAt = timers.monotonic()
    let endsAt = heardAt + timeoutSeconds * 1000
    let isOverdue = false
    // One that still tells something is not dead, only slow to end.
    const judge = (): void => {
      const left = Math.max(endsAt, heardAt) + OVERDUE_MS - timers.monotonic()
      if (left > 0) cancel = timers.after(left, judge)
      else {
        isOverdue = true
        stop()
      }
    }
    let cancel = timers.after(timeoutSeconds * 1000 + OVERDUE_MS, judge)
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop, { once: true })
    // The server counts from here: a slow one may have taken as long to begin as a dead watch is given to end.
    const opened = (): void => {
      heardAt = timers.monotonic()
      endsAt = heardAt + timeoutSeconds * 1000
      contact()
      onOpen()
    }
    try {
      for await (const event of kube.watch(resource, { ...selection, resourceVersion: from, timeoutSeconds, signal: cut.signal, onOpen: opened })) {
        heardAt = timers.monotonic()
        contact()
        if (event.type === 'BOOKMARK') {
          store.passed(event.resourceVersion)
          version = event.resourceVersion
        } else {
          store.apply(event)
          version = event.object.metadata.resourceVersion ?? version
        }
      }
    } finally {
      cancel()
      signal.removeEventListener('abort', stop)
    }
    if (!isOverdue && !signal.aborted) contact()
    return !isOverdue
  }

  const complain = (error: unknown, delayMs: number): void => {
    const message = messageOf(error)
    const fields = { resource: resource.plural, failures, retryInMs: Math.round(delayMs), error: message }
    if (message === lastComplaint) log.debug(fields, 'the watch failed again')
    else log.warn(fields, 'the watch failed, it begins again')
    lastComplaint = message
  }

  const wasHealthy = (watchedSince: number | undefined): boolean => watchedSince !== undefined && timers.monotonic() - watchedSince >= HEALTHY_MS

  const recover = async (error: unknown, signal: AbortSignal): Promise<void> => {
    failures += 1
    if (isCoded(error, 'KUBE_EXPIRED') || isCoded(error, 'KUBE_INVALID') || failures % RELIST_AFTER === 0) version = undefined
    const delayMs = Math.max(backoffMs(failures - 1, { ...BACKOFF, random }), Math.min(retryAfterOf(error), LONGEST_PAUSE_MS))
    complain(error, delayMs)
    await sleep(timers, delayMs, signal)
  }

  /** Goes on over a new connection after a watch that the server did not end. @throws CodedError KUBE_EXPIRED at the second in a row: then a list has to tell */
  const mistrust = (): void => {
    overdue += 1
    const message = `the watch of ${resource.plural} was not ended in its time: its connection may be dead`
    if (overdue > 1) throw new KubeError('KUBE_EXPIRED', message)
    log.debug({ resource: resource.plural }, message)
  }

  /** Lists if need be, then watches until that ends. */
  const round = async (signal: AbortSignal): Promise<void> => {
    const watched: { since: number | undefined } = { since: undefined }
    try {
      if (version === undefined) await list(signal)
      if (version === undefined || signal.aborted) return
      const isEnded = await watch(version, signal, () => {
        watched.since = timers.monotonic()
      })
      if (!isEnded) {
        watched.since = undefined
        return mistrust()
      }
      overdue = 0
      const isRefused = !signal.aborted && (watched.since === undefined || timers.monotonic() - watched.since < TOO_SHORT_MS)
      if (isRefused) throw new KubeError('KUBE_UNAVAILABLE', `the watch of ${resource.plural} ended at once`)
    } finally {
      if (wasHealthy(watched.since)) {
        failures = 0
        lastComplaint = undefined
      }
    }
  }

  return {
    synced,
    get hasSynced() {
      return hasSynced
    },
    get lastContact() {
      return lastContact
    },
    stale: (now, maxAgeMs) => lastContact === undefined || now - lastContact > maxAgeMs,
    run: async (signal) => {
      while (!signal.aborted) {
        try {
          await round(signal)
        } catch (error) {
          if (!signal.aborted) await recover(error, signal)
        }
      }
      resolveSynced(false)
    },
  }
}
