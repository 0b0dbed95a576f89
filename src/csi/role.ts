import path from 'node:path'
import type { Logger } from 'pino'
import { CSI_DRIVER } from '../api/names.ts'
import { CodedError, messageOf } from '../errors.ts'
import type { Clock } from '../kube/ports.ts'
import { systemTimers, type Timers } from '../kube/timers.ts'
import { listen } from '../listen.ts'
import { buildMetricsServer, registerProcessMetrics, type Health } from '../metrics-server.ts'
import type { CsiOptions } from './options.ts'
import { createPlugin, type CsiPorts } from './plugin.ts'
import { serveCsi } from './serve.ts'
import { createTmpfsFiles } from './tmpfs.ts'
import { plainFiles } from './volume-files.ts'
import { openVolumeRecords, type VolumeRecords } from './volume-records.ts'

export interface CsiEnv {
  logger: Logger
  clock: Clock
  /** Of the program, for GetPluginInfo. */
  version: string
  /** Default: the system's. */
  timers?: Timers
}

/** The CSI role, serving on its sockets. */
export interface RunningCsi {
  metricsPort: number
  /** Resolves when flags and Pods were read for the first time, or when it is stopped before. */
  ready: Promise<void>
  /** Rejects when a server breaks by itself. */
  failed: Promise<never>
  /** Answers the calls that wait, finishes what is under way and closes everything. The same promise for every call. */
  stop(): Promise<void>
}

/** kubelet finds the registration socket within seconds. From then on, milliseconds, a plugin that it has not asked for is not ready. */
const ASKED_WITHIN_MS = 60_000

/** A start that lasts is no reason for another start. */
const notServingYet: Health = () => undefined

const openRecords = async (stateDir: string, logger: Logger): Promise<VolumeRecords> => {
  try {
    return await openVolumeRecords(stateDir, logger)
  } catch (error) {
    throw new CodedError('CONFIG_INVALID', `the folder ${stateDir} (--state-dir) cannot be used: ${messageOf(error)}`, { cause: error })
  }
}

/**
 * Starts the CSI role.
 * @throws CodedError CONFIG_INVALID when a port, a socket or a folder cannot be used; nothing is left running then
 */
export const runCsi = async (options: CsiOptions, kube: CsiPorts, env: CsiEnv): Promise<RunningCsi> => {
  const { logger, clock, version, timers = systemTimers } = env
  const { endpoint, kubeletEndpoint, nodeName } = options
  const records = await openRecords(options.stateDir, logger)
  const files = options.tmpfs ? createTmpfsFiles() : plainFiles
  const plugin = createPlugin(options, kube, { files, records, logger, clock, timers, random: Math.random })
  const { metrics, publisher } = plugin
  registerProcessMetrics(metrics.register)
  const startedAt = timers.monotonic()
  let isTakenIn: boolean | undefined
  const unregistered = (): string | undefined => {
    if (isTakenIn === false) return 'kubelet did not take in the plugin; its log has the reason'
    return isTakenIn === undefined && timers.monotonic() - startedAt > ASKED_WITHIN_MS ? 'kubelet has not asked for the plugin; look at --registration-dir' : undefined
  }
  let live = notServingYet
  const unready = (): string | undefined => plugin.unready() ?? live() ?? unregistered()

  const metricsApp = buildMetricsServer({ register: metrics.register, live: () => live(), ready: unready, logger })
  const metricsPort = await listen(metricsApp, 'metrics server', options.metricsHost, options.metricsPort)
  const registrationSocket = path.join(options.registrationDir, `${CSI_DRIVER}-reg.sock`)
  const served = { endpoint, registrationSocket, kubeletEndpoint, nodeName, version }
  const registered = (ok: boolean): void => {
    isTakenIn = ok
    metrics.registered(ok)
  }
  const server = await serveCsi({ ...served, publisher, ready: () => plugin.unready(), logger, metrics: { ...metrics, registered } }).catch(async (error: unknown) => {
    await metricsApp.close()
    throw error
  })
  live = server.live
  const ready = plugin.start()
  const broken = Promise.withResolvers<never>()
  metricsApp.server.on('error', broken.reject)
  const failed = Promise.race([broken.promise, server.failed])
  failed.catch((error: unknown) => logger.error({ err: error }, 'a server of the CSI plugin broke'))

  const stopAll = async (): Promise<void> => {
    logger.info({ waiting: plugin.waiting() }, 'CSI plugin stopping')
    await server.stop()
    await plugin.stop()
    await metricsApp.close()
    logger.info('CSI plugin stopped')
  }
  let stopped: Promise<void> | undefined
  return { metricsPort, ready, failed, stop: () => (stopped ??= stopAll()) }
}
