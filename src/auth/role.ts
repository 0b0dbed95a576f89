import { randomBytes, randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { Registry } from 'prom-client'
import { isCoded, messageOf } from '../errors.ts'
import { createKeyRing, type KeyRing, type KeyRingDeps } from '../jwt/key-ring.ts'
import type { Clock, ConnectionReviewer } from '../kube/ports.ts'
import { sourcesHealth } from '../kube/sources.ts'
import { sleep, systemTimers, type Timers } from '../kube/timers.ts'
import { listen } from '../listen.ts'
import { buildMetricsServer, registerProcessMetrics, registerWatchSilence } from '../metrics-server.ts'
import { createDrain, drainAndClose } from '../serving/drain.ts'
import { watchConnections, type OpenConnections } from '../serving/open-connections.ts'
import { buildAuthApp, type AuthAppDeps } from './app.ts'
import { createIdTokens, type DiscoveredIdTokens } from './oidc/id-tokens.ts'
import { createLogin } from './oidc/login.ts'
import type { AuthOptions } from './options.ts'

/** The client implements it all. */
export type AuthPorts = KeyRingDeps['kube'] & ConnectionReviewer

export interface AuthEnv {
  logger: Logger
  clock: Clock
  /** Default: the system's. */
  timers?: Timers
}

/** The auth role, listening on its three ports. */
export interface RunningAuth {
  port: number
  metricsPort: number
  probePort: number
  /** Resolves when readyz says yes for the first time, or when it is stopped before. */
  ready: Promise<void>
  /** Rejects when a server breaks by itself. */
  failed: Promise<never>
  /** Ends within SHUTDOWN_TIMEOUT. The same promise for every call. */
  stop(): Promise<void>
}

/** A process that answers at all is alive: there is nothing here that a restart would mend. */
const live = (): undefined => undefined

/** The part of SHUTDOWN_TIMEOUT that it serves on in, until the proxy has gone elsewhere; and how long that is at most, milliseconds. */
const DRAIN_PART = 0.25
const DRAIN_MS = 5_000
/** Of what is left after that, for calls in flight. The rest is for closing. */
const CLOSE_PART = 0.8
/** How often it is looked whether everything is there, until it is. */
const READY_POLL_MS = 100

/** What cannot get better by itself ends the start; what may is tried again by the ring. */
const firstKey = async (ring: KeyRing, logger: Logger): Promise<void> => {
  try {
    await ring.ensureFirstKey()
  } catch (error) {
    if (isCoded(error, 'KUBE_NOT_FOUND') || isCoded(error, 'KUBE_FORBIDDEN')) throw error
    logger.warn({ error: messageOf(error) }, 'the signing keys could not be read yet; it is tried again')
  }
}

/**
 * Starts the auth role.
 * @throws CodedError CONFIG_INVALID when a port is taken or the OIDC issuer is not there in time; KUBE_NOT_FOUND, KUBE_FORBIDDEN when the
 * Secret with the signing keys cannot be had. Nothing is left running then
 */
export const runAuth = async (options: AuthOptions, ports: AuthPorts, env: AuthEnv): Promise<RunningAuth> => {
  const { logger, clock, timers = systemTimers } = env
  for (const warning of options.warnings) logger.warn(warning)
  const { oidc, jwt, shutdownTimeoutMs } = options
  const register = new Registry()
  registerProcessMetrics(register)
  const drain = createDrain()
  const ended = new AbortController()
  const ring = createKeyRing({ kube: ports, clock, timers, random: Math.random, randomBytes, logger }, { secret: { namespace: options.namespace, name: jwt.secretName }, newKeyUseDelayMs: jwt.newKeyUseDelayMs })
  const health = sourcesHealth([ring.source], clock)
  registerWatchSilence(register, health.silence)

  const loginWith = (found: DiscoveredIdTokens | undefined): AuthAppDeps['login'] =>
    options.enableLogin && oidc !== undefined && found !== undefined
      ? (sessions) => createLogin({ ...oidc, cookieSecure: options.cookie.secure }, { idTokens: found, sessions, ring, clock, logger })
      : undefined
  let idTokens: DiscoveredIdTokens | undefined
  let isServing = false
  const unready = (): string | undefined => {
    if (drain.draining) return 'this replica is shutting down'
    if (oidc !== undefined && idTokens?.ready !== true) return 'the OIDC issuer was not reached yet'
    return ring.unready() ?? (isServing ? undefined : 'it does not listen yet')
  }
  const becomeReady = async (): Promise<void> => {
    while (unready() !== undefined && !ended.signal.aborted) await sleep(timers, READY_POLL_MS, ended.signal)
  }
  const metricsApp = buildMetricsServer({ register, live, ready: unready, logger })
  const probeApp = buildMetricsServer({ register, live, ready: unready, logger })
  let app: FastifyInstance | undefined
  let connections: OpenConnections | undefined
  let running: Promise<void> = Promise.resolve()

  const closeAll = async (): Promise<void> => {
    ended.abort()
    await Promise.all([app?.close(), metricsApp.close(), probeApp.close(), running])
  }

  const stopAll = async (): Promise<void> => {
    logger.info('auth stopping: serving on until the proxy has gone elsewhere')
    const drainMs = Math.min(DRAIN_MS, shutdownTimeoutMs * DRAIN_PART)
    const closeMs = (shutdownTimeoutMs - drainMs) * CLOSE_PART
    if (app !== undefined && connections !== undefined) await drainAndClose({ app, connections, drain, timers }, { drainMs, closeMs })
    await closeAll()
    logger.info('auth stopped')
  }
  let stopped: Promise<void> | undefined
  const stop = (): Promise<void> => (stopped ??= stopAll())

  const failed = Promise.withResolvers<never>()
  // Whoever waits for it gets the error; nobody has to.
  failed.promise.catch((error: unknown) => logger.error({ err: error }, 'a server of auth broke'))
  try {
    // Probes are answered from the start: the issuer may take its time.
    const probePort = await listen(probeApp, 'probe server', options.probe.host, options.probe.port)
    const metricsPort = await listen(metricsApp, 'metrics server', options.metrics.host, options.metrics.port)
    await firstKey(ring, logger)
    running = ring.run(ended.signal)
    if (oidc !== undefined) idTokens = await createIdTokens(oidc, { clock, timers, logger, signal: ended.signal })
    app = buildAuthApp(options, { reviewer: ports, ring, idTokens, login: loginWith(idTokens), drain, register, timers, clock, logger, random: Math.random, newId: randomUUID })
    connections = watchConnections(app.server, false)
    const port = await listen(app, 'auth server', options.host, options.port)
    isServing = true
    for (const { server } of [app, metricsApp, probeApp]) server.on('error', failed.reject)
    return { port, metricsPort, probePort, ready: becomeReady(), failed: failed.promise, stop }
  } catch (error) {
    await closeAll()
    throw error
  }
}
