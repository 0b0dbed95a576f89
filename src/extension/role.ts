import { constants, randomBytes, randomUUID } from 'node:crypto'
import type { Server } from 'node:https'
import type { Logger } from 'pino'
import { Registry } from 'prom-client'
import { SYSTEM_NAMESPACE } from '../api/names.ts'
import { createKeyRing, type KeyRing } from '../jwt/key-ring.ts'
import { createTokens } from '../jwt/tokens.ts'
import type { Clock, PathPermission, Permission, Reader, Watcher, Writer } from '../kube/ports.ts'
import { sourcesHealth } from '../kube/sources.ts'
import { systemTimers, type Timers } from '../kube/timers.ts'
import { buildMetricsServer, registerProcessMetrics, registerWatchSilence } from '../metrics-server.ts'
import { caTrust } from '../serving/ca-trust.ts'
import { certificateSource } from '../serving/certificate-source.ts'
import { createDrain } from '../serving/drain.ts'
import { serveRole, type ServedRole } from '../serving/serve-role.ts'
import { createServingTls, type ServingTls } from '../serving/tls.ts'
import { createTurns } from '../serving/turns.ts'
import { apiServiceTargets } from './api-service-trust.ts'
import { createAuthentication } from './authentication.ts'
import { createAuthorization } from './authorization.ts'
import { watchClientTrust, type ClientTrustWatch } from './client-trust.ts'
import { allHealthy, type HealthCheck } from './health.ts'
import { createHandshakes } from './handshakes.ts'
import { createExtensionMetrics } from './metrics.ts'
import type { ExtensionOptions } from './options.ts'
import { reviewKinds } from './reviews/kinds.ts'
import { buildExtensionServer } from './server.ts'
import { tokenReviewer } from './token-review.ts'

export interface ExtensionPorts {
  reader: Reader
  writer: Writer
  watcher: Watcher
  permission: Permission & PathPermission
}

export interface ExtensionEnv {
  logger: Logger
  clock: Clock
  /** Of the program, for /version. */
  version?: string
  /** Default: the system's. */
  timers?: Timers
  /** Aborted: as if stop() was called. */
  signal?: AbortSignal
}

/** The extension role, listening on both ports. */
export interface RunningExtension extends ServedRole {
  /**
   * Resolves when the first certificate is in use (until then handshakes fail), its CA is in the APIServices when it is of our own making,
   * and the configuration of the front proxy was looked for. Whether it is healthy, readyz says.
   */
  ready: Promise<void>
}

/** Each review is two calls to the API server: more at once would only wait there. */
const REVIEWS = { atOnce: 128, waiting: 1_024 }

/**
 * Client certificates are asked for, against no CA until one is known (and never against those that the machine trusts), and no session is
 * resumed: each connection shows its certificate to the CAs of its time.
 */
const servingTls = (server: Pick<Server, 'setSecureContext'>): ServingTls =>
  createServingTls(
    { setSecureContext: (options) => server.setSecureContext({ ca: [], ...options, secureOptions: constants.SSL_OP_NO_TICKET }) },
    { clientCa: false },
  )

interface Checked {
  tls: ServingTls
  trust: ClientTrustWatch
  ring: KeyRing
  clock: Clock
  drain: { readonly draining: boolean }
}

const readyChecks = ({ tls, trust, ring, clock, drain }: Checked): HealthCheck[] => {
  const sources = sourcesHealth([trust.source, ring.source], clock)
  return [
    { name: 'shutdown', health: () => (drain.draining ? 'this replica is shutting down' : undefined) },
    { name: 'serving-certificate', health: () => (tls.loaded ? undefined : 'there is no serving certificate yet') },
    { name: 'front-proxy-configuration', health: () => trust.problem },
    { name: 'watches', health: sources.unready },
    { name: 'signing-keys', health: () => ring.unready() },
  ]
}

/**
 * Starts the extension role.
 * @throws CodedError CONFIG_INVALID when a port is taken or a certificate file cannot be used; nothing is left running then
 */
export const runExtension = async (options: ExtensionOptions, ports: ExtensionPorts, env: ExtensionEnv): Promise<RunningExtension> => {
  const { logger, clock, version = '0.0.0', timers = systemTimers, signal } = env
  const { reader, writer, watcher, permission } = ports
  const register = new Registry()
  registerProcessMetrics(register)
  const metrics = createExtensionMetrics(register)
  const drain = createDrain()
  const watched = { list: reader.list.bind(reader), get: reader.get.bind(reader), watch: watcher.watch.bind(watcher), replace: writer.replace.bind(writer) }
  const common = { clock, timers, random: Math.random, logger }

  const ring = createKeyRing(
    { ...common, kube: watched, randomBytes },
    { secret: { namespace: SYSTEM_NAMESPACE, name: options.jwtSecretName }, newKeyUseDelayMs: options.newKeyUseDelayMs },
  )
  const tokens = createTokens({ ring, clock, issuer: options.jwtIssuer, audience: options.jwtAudience, newId: randomUUID })
  const trust = watchClientTrust({ ...common, kube: watched, use: (caPem) => tls.setClientCa(caPem) }, { clientCertificates: options.authenticateClientCertificates })
  const handshakes = createHandshakes(trust, timers)
  const kinds = reviewKinds({ reader, permission, tokens, clock, timers, logger, options })
  const checks: HealthCheck[] = []
  const app = buildExtensionServer({
    kinds,
    authenticate: createAuthentication({ trust, clock, handshakes, ...(options.authenticateTokens ? { tokens: tokenReviewer(writer) } : {}) }),
    authorize: createAuthorization({ permission, timers }),
    turns: createTurns(REVIEWS),
    drain,
    live: [],
    ready: checks,
    metricsText: async () => ({ text: await register.metrics(), contentType: register.contentType }),
    metrics,
    version: { version },
    timers,
    logger,
  })
  app.server.on('secureConnection', (socket) => handshakes.done(socket))
  const tls = servingTls(app.server)
  checks.push(...readyChecks({ tls, trust, ring, clock, drain }))
  registerWatchSilence(register, sourcesHealth([trust.source, ring.source], clock).silence)
  const metricsApp = buildMetricsServer({ register, live: () => undefined, ready: allHealthy(checks), logger })
  const apiServices = caTrust(apiServiceTargets(ports, options.apiServiceNames), logger)
  const source = certificateSource(options, { ...ports, logger, clock, timers, tls, trust: apiServices, observed: (outcome) => metrics.certificate(outcome) })

  const served = await serveRole(
    { name: 'extension', app, metricsApp, source, drain, beside: (ended) => Promise.all([trust.run(ended), ring.run(ended)]), timers, logger, signal },
    options,
  )
  return { ...served, ready: Promise.all([source.ready, trust.read]).then(() => undefined) }
}
