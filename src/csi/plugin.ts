/** The gate at the mount without its sockets: what it watches, what it answers kubelet, and what it removes when Pods are gone. */
import type { Logger } from 'pino'
import type { ConfigMap } from '../api/config-map.ts'
import { FLAGS_CONFIG_MAP, SERVICE_ACCOUNT, serviceAccountUser, SYSTEM_NAMESPACE } from '../api/names.ts'
import type { Pod } from '../api/pod.ts'
import { eventSink } from '../kube/events.ts'
import type { Clock, Permission, Reader, TokenIssuer, Watcher, Writer } from '../kube/ports.ts'
import { createReflector, type Reflector } from '../kube/reflector.ts'
import { CONFIG_MAPS, PODS } from '../kube/resources.ts'
import { sourcesHealth } from '../kube/sources.ts'
import { createStore } from '../kube/store.ts'
import { sleep, type Timers } from '../kube/timers.ts'
import { createFlagsWatch } from './flags-watch.ts'
import { createMakeRequests } from './make-requests.ts'
import { createCsiMetrics, type CsiMetrics } from './metrics.ts'
import { createMountDecision } from './mount-decision.ts'
import type { VolumePublisher } from './node.ts'
import { trimPod } from './node-pods.ts'
import type { CsiOptions } from './options.ts'
import { createPodEvents } from './pod-events.ts'
import { createPublisher } from './publish.ts'
import { createRepublish } from './republish.ts'
import { createRequestWatches } from './request-watch.ts'
import { cleanGone } from './clean-gone.ts'
import { createTokens } from './tokens.ts'
import type { VolumeFiles } from './volume-files.ts'
import { createVolumeLocks } from './volume-locks.ts'
import type { VolumeRecords } from './volume-records.ts'
import { createVolumeWriter } from './volume-writer.ts'
import { createWaitingRoom } from './waiting.ts'

export type CsiPorts = Reader & Pick<Writer, 'create'> & Watcher & Permission & TokenIssuer

export interface PluginEnv {
  files: VolumeFiles
  records: VolumeRecords
  logger: Logger
  clock: Clock
  timers: Timers
  /** A number from 0 up to 1. */
  random: () => number
}

export interface Plugin {
  publisher: VolumePublisher
  metrics: CsiMetrics
  /** Why it should not be relied on; undefined when it may. */
  unready(): string | undefined
  /** How many mount calls wait. */
  waiting(): number
  /** Begins to watch and to clean. To be called once. @returns resolves when flags and Pods were read for the first time, or when it is stopped before */
  start(): Promise<void>
  /** Ends what start began, when no call runs any more; what is on its way to the API server is finished. */
  stop(): Promise<void>
}

/** How often what is left of Pods that are gone is looked for, milliseconds. */
const CLEAN_MS = 3_600_000

type PluginOptions = Pick<CsiOptions, 'kubeletDir' | 'nodeName' | 'wait' | 'tokenApi' | 'maxWaiting'>

export const createPlugin = ({ kubeletDir, nodeName, wait: mayWait, tokenApi, maxWaiting }: PluginOptions, kube: CsiPorts, env: PluginEnv): Plugin => {
  const { files, records, logger, clock, timers, random } = env
  const stopping = new AbortController()
  const { signal } = stopping
  const locks = createVolumeLocks()
  const room = createWaitingRoom(maxWaiting)

  const base = { kube, clock, timers, random, log: logger }
  const pods = createStore<Pod>({ trim: trimPod, log: logger })
  const flagMaps = createStore<ConfigMap>({ log: logger })
  const onNode = { resource: PODS, store: pods, trim: trimPod, fieldSelector: `spec.nodeName=${nodeName}` }
  const ofFlags = { resource: CONFIG_MAPS, store: flagMaps, namespace: SYSTEM_NAMESPACE, fieldSelector: `metadata.name=${FLAGS_CONFIG_MAP}` }
  const podReflector = createReflector({ ...base, ...onNode })
  const flagReflector = createReflector({ ...base, ...ofFlags })
  const sources: { name: string; reflector: Reflector }[] = [
    { name: 'pods', reflector: podReflector },
    { name: 'configmaps', reflector: flagReflector },
  ]

  const volumes = async (): Promise<{ files: number; refused: number }> => {
    const all = await records.all()
    const refused = all.filter(({ kind }) => kind === 'refused').length
    return { files: all.length - refused, refused }
  }
  const health = sourcesHealth(sources, clock)
  const metrics = createCsiMetrics({ volumes, waiting: () => room.size, silence: health.silence })

  const sink = eventSink({ writer: kube, clock, timers, random, log: logger, signal, reportingInstance: nodeName })
  const events = createPodEvents(sink)
  const flags = createFlagsWatch(flagMaps, flagReflector, clock)
  const watches = createRequestWatches(base)
  const tokens = createTokens({ issuer: tokenApi ? kube : undefined, clock })
  const writer = createVolumeWriter({ reader: kube, tokens, files, records })
  const makeRequests = createMakeRequests({ reader: kube, writer: kube, records, logger, metrics })
  const facts = { reader: kube, permission: kube, records, clock, requestedBy: serviceAccountUser(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.csi) }
  const decide = createMountDecision({ ...facts, pods, flags, watches, makeRequests, events, room, logger, timers, random, nodeName, mayWait })
  const republish = createRepublish({ ...facts, records, files, flags, writer, events, metrics, logger, timers, nodeName })
  const publisher = createPublisher({ kubeletDir, locks, records, decide, republish, writer, tokens, events, metrics, logger, clock, timers })

  const forget = (volumeId: string): void => {
    tokens.forget(volumeId)
    events.forget(volumeId)
    republish.forget(volumeId)
  }
  const cleanAgainAndAgain = async (): Promise<void> => {
    if (!(await podReflector.synced)) return
    while (!signal.aborted) {
      try {
        await cleanGone({ kubeletDir, nodeName, reader: kube, pods, records, files, writer, locks, forget, metrics, logger }, signal)
      } catch (error) {
        logger.error({ err: error }, 'what is left of Pods that are gone could not be looked for')
      }
      await sleep(timers, CLEAN_MS, signal)
    }
  }

  let running: Promise<void>[] = []
  return {
    publisher,
    metrics,
    unready: health.unready,
    waiting: () => room.size,
    start: async () => {
      running = [...sources.map(({ reflector }) => reflector.run(signal)), cleanAgainAndAgain()]
      await Promise.all(sources.map(({ reflector }) => reflector.synced))
    },
    stop: async () => {
      stopping.abort()
      await makeRequests.settled()
      await Promise.all([...running, watches.stop(), events.settled()])
      await sink.finish()
    },
  }
}
