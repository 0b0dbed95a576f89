/** The life of a role that serves over TLS: both servers listen, drain at the end, and leave nothing behind. */
import type { Logger } from 'pino'
import type { Timers } from '../kube/timers.ts'
import { listen, type Listener } from '../listen.ts'
import type { CertificateSource } from './certificate-source.ts'
import { MOST_CONNECTIONS } from './connection-bounds.ts'
import { withDeadline } from './deadline.ts'
import { drainAndClose, type Closing, type Drain, type DrainTimes } from './drain.ts'
import { boundConnections, type Boundable } from './most-connections.ts'
import { watchConnections, type Connectable } from './open-connections.ts'

interface Breaking {
  server: { on(event: 'error', told: (error: Error) => void): unknown }
}

export interface ServeRoleDeps {
  /** The role, for logs and errors. */
  name: string
  app: Listener & Closing & Breaking & { server: Connectable & Boundable }
  metricsApp: Listener & Breaking & { close(): PromiseLike<unknown> }
  /** Where the serving certificate comes from. */
  source: CertificateSource
  drain: Drain
  /** Goes on beside the servers from when both listen; ends when it is told so, once no call is answered any more. */
  beside?: (signal: AbortSignal) => Promise<unknown>
  timers: Timers
  logger: Logger
  /** Aborted: as if stop() was called. */
  signal?: AbortSignal | undefined
}

export interface ServeRoleOptions extends DrainTimes {
  host: string
  port: number
  metricsHost: string
  metricsPort: number
}

export interface ServedRole {
  /** `https://<host>:<port>` */
  url: string
  port: number
  metricsPort: number
  /** Rejects when a server breaks by itself. */
  failed: Promise<never>
  /** Drains and closes everything; resolves when nothing of it is left. The same promise for every call. */
  stop(): Promise<void>
}

/** A read of the certificate that hangs does not hold up the end; what becomes of it concerns nobody any more. */
const ignoreLate = (): void => undefined

const urlHost = (host: string): string => (host.includes(':') ? `[${host}]` : host)

/** @throws CodedError CONFIG_INVALID when a port is taken or a certificate file cannot be used; nothing is left running then */
export const serveRole = async (deps: ServeRoleDeps, options: ServeRoleOptions): Promise<ServedRole> => {
  const { name, app, metricsApp, source, drain, beside, timers, logger, signal } = deps
  const connections = watchConnections(app.server)
  const unbound = boundConnections({ server: app.server, connections, timers, logger }, MOST_CONNECTIONS)
  const ended = new AbortController()
  let running: Promise<unknown> = Promise.resolve()
  let stopped: Promise<void> | undefined
  const stopAll = async (): Promise<void> => {
    logger.info(`${name} stopping: serving on until the API server has gone elsewhere`)
    const sourceStopped = source.stop()
    await drainAndClose({ app, connections, drain, timers }, options)
    unbound()
    ended.abort()
    await metricsApp.close()
    await withDeadline(timers, options.closeMs, () => Promise.all([sourceStopped, running]), ignoreLate)
    logger.info(`${name} stopped`)
  }
  const stop = (): Promise<void> => (stopped ??= stopAll())

  const failed = Promise.withResolvers<never>()
  // Whoever waits for it gets the error; nobody has to.
  failed.promise.catch((error: unknown) => logger.error({ err: error }, `a server of the ${name} broke`))
  try {
    await source.start()
    // In this order: whoever asks readyz must not hear yes before calls can be answered.
    const port = await listen(app, `${name} server`, options.host, options.port)
    const metricsPort = await listen(metricsApp, 'metrics server', options.metricsHost, options.metricsPort)
    app.server.on('error', failed.reject)
    metricsApp.server.on('error', failed.reject)
    running = beside?.(ended.signal) ?? running
    const onAbort = (): void => {
      stop().catch(failed.reject)
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    if (signal?.aborted === true) onAbort()
    return { url: `https://${urlHost(options.host)}:${port}`, port, metricsPort, failed: failed.promise, stop }
  } catch (error) {
    unbound()
    ended.abort()
    await Promise.all([app.close(), metricsApp.close(), source.stop()])
    throw error
  }
}
