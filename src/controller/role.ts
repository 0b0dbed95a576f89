import type { Logger } from 'pino'
import type { AccessRequest } from '../api/access-request.ts'
import { LABEL, SYSTEM_NAMESPACE } from '../api/names.ts'
import { eventSink } from '../kube/events.ts'
import { leaderOnly } from '../kube/leader-only.ts'
import { createLease } from '../kube/lease.ts'
import type { Clock, Discovery, Reader, Watcher, Writer } from '../kube/ports.ts'
import { createReflector, type Reflector } from '../kube/reflector.ts'
import { ACCESS_POLICIES, ACCESS_REQUESTS, CONFIG_MAPS, CONNECTORS, PODS, ROLE_BINDINGS, ROLES } from '../kube/resources.ts'
import { sourcesHealth } from '../kube/sources.ts'
import { sleep, systemTimers, type Timers } from '../kube/timers.ts'
import { listen } from '../listen.ts'
import { buildMetricsServer, registerProcessMetrics } from '../metrics-server.ts'
import { createCaches, trimConnector, trimPod, type Caches } from './caches.ts'
import { openChecks } from './check-index.ts'
import { CheckWatches } from './check-watches.ts'
import { createLoops } from './loops.ts'
import { createControllerMetrics } from './metrics.ts'
import type { ControllerOptions } from './options.ts'
import { OwnWrites } from './own-writes.ts'
import { wireRequeue } from './requeue.ts'
import { tidyFinished } from './tidy-finished.ts'

export type ControllerPorts = Reader & Writer & Watcher & Discovery

export interface ControllerEnv {
  logger: Logger
  clock: Clock
  /** Default: the system's. */
  timers?: Timers
}

/** The controller role. */
export interface RunningController {
  metricsPort: number
  /** Resolves when everything was read for the first time; it asks for the lease soon after. */
  ready: Promise<void>
  leading(): boolean
  /** Rejects when the metrics server breaks by itself. */
  failed: Promise<never>
  /** Finishes what is under way, gives the lease back and closes everything. The same promise for every call. */
  stop(): Promise<void>
}

/** How often kinds of check objects that nobody needs any more are looked for, in milliseconds. */
const PRUNE_MS = 30_000
/** How long the first read of the kinds of check objects may hold up asking for the lease, in milliseconds. */
const FIRST_READ_MS = 10_000

interface Source {
  name: string
  reflector: Reflector
}

const createSources = (kube: ControllerPorts, caches: Caches, env: { clock: Clock; timers: Timers; logger: Logger }): Source[] => {
  const base = { kube, clock: env.clock, timers: env.timers, random: Math.random, log: env.logger }
  const granted = { labelSelector: LABEL.accessRequest }
  return [
    { name: 'accessrequests', reflector: createReflector({ ...base, resource: ACCESS_REQUESTS, store: caches.requests }) },
    { name: 'accesspolicies', reflector: createReflector({ ...base, resource: ACCESS_POLICIES, store: caches.policies }) },
    { name: 'connectors', reflector: createReflector({ ...base, resource: CONNECTORS, store: caches.connectors, trim: trimConnector }) },
    { name: 'pods', reflector: createReflector({ ...base, resource: PODS, store: caches.pods, trim: trimPod, labelSelector: `${LABEL.gated}=true` }) },
    { name: 'configmaps', reflector: createReflector({ ...base, resource: CONFIG_MAPS, store: caches.configMaps, namespace: SYSTEM_NAMESPACE }) },
    { name: 'roles', reflector: createReflector({ ...base, resource: ROLES, store: caches.roles, ...granted }) },
    { name: 'rolebindings', reflector: createReflector({ ...base, resource: ROLE_BINDINGS, store: caches.bindings, ...granted }) },
  ]
}

/** Reads the kinds of check objects that requests need, from now on: a follower too, so that it can go on at once. */
const followKinds = (caches: Caches, checks: CheckWatches): void => {
  const follow = (request: AccessRequest): void => {
    for (const { apiVersion, kind } of openChecks(request)) checks.lookup(apiVersion, kind)
  }
  for (const request of caches.requests.values()) follow(request)
  caches.requests.onChange(({ type, object }) => {
    if (type !== 'deleted') follow(object)
  })
}

/** Resolves with the promise, but after so many milliseconds or when the signal aborts at the latest. */
const atMost = async (ms: number, promise: Promise<void>, timers: Timers, signal: AbortSignal): Promise<void> => {
  const waiting = new AbortController()
  await Promise.race([promise, sleep(timers, ms, AbortSignal.any([signal, waiting.signal]))])
  waiting.abort()
}

/**
 * Starts the controller role.
 * @throws CodedError CONFIG_INVALID when the metrics port is taken; nothing is left running then
 */
export const runController = async (options: ControllerOptions, kube: ControllerPorts, env: ControllerEnv): Promise<RunningController> => {
  const { logger, clock, timers = systemTimers } = env
  const stopping = new AbortController()
  const caches = createCaches(logger)
  const lease = createLease({
    kube,
    namespace: SYSTEM_NAMESPACE,
    name: options.leaseName,
    identity: options.identity,
    clock,
    timers,
    random: Math.random,
    log: logger,
  })
  const checks: CheckWatches = new CheckWatches({
    kube,
    clock,
    timers,
    random: Math.random,
    logger,
    onObject: (apiVersion, kind, object, old) => wired.onCheckObject(apiVersion, kind, object, old),
    onKind: (apiVersion, kind) => wired.onCheckKind(apiVersion, kind),
  })
  const sources = createSources(kube, caches, { clock, timers, logger })
  const health = sourcesHealth(sources, clock)
  const metrics = createControllerMetrics({ caches, checks, queued: () => loops.queued(), leading: () => lease.held(), silence: health.silence })
  registerProcessMetrics(metrics.register)
  const writer = leaderOnly(kube, lease)
  const own: OwnWrites = new OwnWrites((key) => loops.request(key))
  const events = eventSink({ writer, clock, timers, random: Math.random, log: logger, signal: stopping.signal, reportingInstance: options.identity })
  const loops = createLoops({
    reconcile: {
      reader: kube,
      writer,
      events,
      caches,
      checks,
      own,
      clock,
      timers,
      logger,
      onNotice: (reason) => metrics.notices.inc({ reason }),
    },
    metrics,
    workers: options.workers,
    timers,
    random: Math.random,
    logger,
  })
  const wired = wireRequeue(caches, own, loops)

  const metricsApp = buildMetricsServer({ register: metrics.register, live: () => undefined, ready: health.unready, logger })
  const metricsPort = await listen(metricsApp, 'metrics server', options.metricsHost, options.metricsPort)
  const failed = Promise.withResolvers<never>()
  failed.promise.catch((error: unknown) => logger.error({ err: error }, 'the metrics server of the controller broke'))
  metricsApp.server.on('error', failed.reject)

  let cancelPrune: (() => void) | undefined
  const prune = (): void => {
    cancelPrune = timers.after(PRUNE_MS, () => {
      checks.prune((key) => caches.requests.byIndex('kind', key).length > 0)
      prune()
    })
  }
  prune()
  const reflecting = sources.map(({ reflector }) => reflector.run(stopping.signal))
  const synced = Promise.all(sources.map(({ reflector }) => reflector.synced))
  const term = async (signal: AbortSignal): Promise<void> => {
    await Promise.all([loops.run(signal), tidyFinished({ writer, caches, clock, timers, logger }, signal)])
    await events.finish()
  }
  const lead = async (): Promise<void> => {
    const all = await synced
    if (!all.every(Boolean)) return
    logger.info({ requests: caches.requests.size, pods: caches.pods.size }, 'everything was read, asking for the lease')
    followKinds(caches, checks)
    // A leader that has not read them yet would write into every status that it has not.
    await atMost(FIRST_READ_MS, checks.answered(), timers, stopping.signal)
    await lease.run({ onStartedLeading: term, signal: stopping.signal })
  }
  const leadership = lead()

  const stopAll = async (): Promise<void> => {
    logger.info('controller stopping')
    stopping.abort()
    cancelPrune?.()
    await Promise.all([leadership, ...reflecting])
    await checks.stop()
    await metricsApp.close()
    logger.info('controller stopped')
  }
  const waitSynced = async (): Promise<void> => {
    await synced
  }
  const ready = waitSynced()
  let stopped: Promise<void> | undefined
  return {
    metricsPort,
    ready,
    leading: () => lease.held(),
    failed: failed.promise,
    stop: () => (stopped ??= stopAll()),
  }
}
