import { Registry } from 'prom-client'
import type { Logger } from 'pino'
import type { Clock, Permission, Reader, Writer } from '../src/kube/ports.ts'
import { systemTimers, type Timers } from '../src/kube/timers.ts'
import { buildMetricsServer, registerProcessMetrics } from '../src/metrics-server.ts'
import { validateAccessPolicy } from './access-policy.ts'
import { mutateAccessRequest, validateAccessRequest } from './access-request.ts'
import { validateAccessRequestStatus } from './access-request-status.ts'
import { webhookCaTargets } from './ca-bundle.ts'
import { caTrust } from '../src/serving/ca-trust.ts'
import { certificateSource } from '../src/serving/certificate-source.ts'
import { createDrain } from '../src/serving/drain.ts'
import type { Hook } from './hook.ts'
import { createHookMetrics, type HookMetrics } from './metrics.ts'
import type { WebhookOptions } from './options.ts'
import { mutatePod, validatePod } from './pod.ts'
import { createPodAdmission } from './pod-admission.ts'
import { createRequestCap } from './request-cap.ts'
import { buildWebhookServer } from './server.ts'
import { serveRole, type ServedRole } from '../src/serving/serve-role.ts'
import { createServingTls } from '../src/serving/tls.ts'
import { createTurns } from '../src/serving/turns.ts'

export interface WebhookPorts {
  reader: Reader
  writer: Writer
  permission: Permission
}

export interface WebhookEnv {
  logger: Logger
  clock: Clock
  /** Default: the system's. */
  timers?: Timers
  /** Aborted: as if stop() was called. */
  signal?: AbortSignal
}

/** A process that answers at all is alive: there is nothing here that a restart would mend. */
const live = (): undefined => undefined

/** The webhook role, listening on both ports. */
export interface RunningWebhook extends ServedRole {
  /**
   * Resolves when the first certificate is in use (until then handshakes fail and readyz says so) and, when it is of our own
   * making, its CA is in the webhook configurations.
   */
  ready: Promise<void>
}

type HookDeps = WebhookPorts & { logger: Logger; clock: Clock; timers: Timers; metrics: HookMetrics }

/** All hooks of the shipped webhook configurations. */
export const createHooks = (options: WebhookOptions, deps: HookDeps): Hook[] => {
  const { podDeadlineMs, podsAtOnce, podsWaiting, policyReadMs } = options
  const cap = createRequestCap(deps.reader, deps.clock)
  const turns = createTurns({ atOnce: podsAtOnce, waiting: podsWaiting })
  return [
    mutateAccessRequest,
    validateAccessRequest,
    validateAccessRequestStatus,
    validateAccessPolicy({ ...deps, readMs: policyReadMs }),
    mutatePod,
    validatePod(createPodAdmission({ ...deps, cap, turns, deadlineMs: podDeadlineMs })),
  ]
}

/**
 * Starts the webhook role.
 * @throws CodedError CONFIG_INVALID when a port is taken or a certificate file cannot be used; nothing is left running then
 */
export const runWebhook = async (options: WebhookOptions, ports: WebhookPorts, env: WebhookEnv): Promise<RunningWebhook> => {
  const { logger, clock, timers = systemTimers, signal } = env
  const register = new Registry()
  registerProcessMetrics(register)
  const metrics = createHookMetrics(register)
  const drain = createDrain()
  const ready = (): string | undefined => {
    if (drain.draining) return 'this replica is shutting down'
    return tls.loaded ? undefined : 'there is no serving certificate yet'
  }
  const requireClientCertificate = options.clientCaFile !== undefined
  const hooks = createHooks(options, { ...ports, logger, clock, timers, metrics })
  const app = buildWebhookServer({ hooks, drain, live, ready, metrics, logger, requireClientCertificate })
  const tls = createServingTls(app.server, { clientCa: requireClientCertificate })
  const metricsApp = buildMetricsServer({ register, live, ready, logger })
  const trust = caTrust(webhookCaTargets(ports, options.configurationName), logger)
  const source = certificateSource(options, { ...ports, logger, clock, timers, tls, trust, observed: (outcome) => metrics.certificate(outcome) })

  const served = await serveRole({ name: 'webhook', app, metricsApp, source, drain, timers, logger, signal }, options)
  return { ...served, ready: source.ready }
}
