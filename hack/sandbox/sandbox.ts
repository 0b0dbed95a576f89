/** A control plane with access-gate in it: manifests applied, webhook and controller running with their own ServiceAccounts. */
import { defaultControllerOptions } from '../../src/controller/options.ts'
import { runController, type RunningController } from '../../src/controller/role.ts'
import { SERVICE_ACCOUNT, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { createClient, type KubeClient } from '../../src/kube/client.ts'
import { systemClock } from '../../src/kube/timers.ts'
import { createLogger } from '../../src/log.ts'
import { DEFAULT_WEBHOOK_OPTIONS } from '../../webhooks/options.ts'
import { runWebhook, type RunningWebhook } from '../../webhooks/role.ts'
import { waitFor, type ClusterAccess } from '../control-plane/cluster-access.ts'
import { freePort } from '../control-plane/free-port.ts'
import { clusterUntil, unlessAborted } from './ending.ts'
import { applyManifests } from './manifests.ts'

const LOOPBACK = '127.0.0.1'
/** Longer than any run of the sandbox; the API server's default is at most a day. */
const TOKEN_SECONDS = 24 * 60 * 60
const UP_WITHIN_MS = 120_000

export interface SandboxOptions {
  cluster: ClusterAccess
  /** Told one line when a part is up. */
  log: (line: string) => void
  /** Which lines of the roles are shown, on standard error. Default `warn`. */
  logLevel?: 'debug' | 'info' | 'warn' | 'error' | 'silent'
  /** Ends a start; what is up stays until `stop`. */
  signal?: AbortSignal
}

/** The roles of access-gate on this machine. */
export interface Sandbox {
  webhook: RunningWebhook
  controller: RunningController
  /** More calls change nothing. */
  stop(): Promise<void>
}

/** A role's own account: what the manifests do not allow it fails here as well. */
export const clientFor = async (cluster: ClusterAccess, name: string): Promise<KubeClient> => {
  const token = await cluster.serviceAccountToken(SYSTEM_NAMESPACE, name, { seconds: TOKEN_SECONDS })
  return createClient({ kubeconfig: await cluster.kubeconfigFor({ name, token }), userAgent: `access-gate sandbox ${name}` })
}

/** Asks until the API server reaches the webhook: a dry run of a bad request must be refused by it, or by the rules before it. */
export const waitForAdmission = (cluster: ClusterAccess): Promise<void> =>
  waitFor('the admission webhook', UP_WITHIN_MS, async () => {
    const path = `/apis/connectors.alauda.io/v1alpha1/namespaces/${SYSTEM_NAMESPACE}/accessrequests?dryRun=All`
    const answer = await cluster.call('POST', path, {
      apiVersion: 'connectors.alauda.io/v1alpha1',
      kind: 'AccessRequest',
      metadata: { name: 'is-the-webhook-there' },
      spec: { subject: { kind: 'User', name: 'nobody' }, connectorRef: { name: 'none' }, context: { objectRef: { name: 'none', namespace: 'none' } } },
    })
    return answer.status === 422 && answer.text.includes('spec.subject.kind')
  })

/**
 * Applies the shipped manifests and runs webhook and controller in this process.
 * @throws Error when a part does not come up, the signal's reason when that ended it; what was started is stopped then
 */
export const startSandbox = async (options: SandboxOptions): Promise<Sandbox> => {
  const { log, logLevel = 'warn', signal = new AbortController().signal } = options
  const cluster = clusterUntil(signal, options.cluster)
  const logger = createLogger({ level: logLevel, destination: process.stderr })
  const port = await freePort()
  await applyManifests(cluster, port)
  log('manifests applied')
  const clients = await Promise.all([clientFor(cluster, SERVICE_ACCOUNT.webhook), clientFor(cluster, SERVICE_ACCOUNT.controller)])
  const [webhookKube, controllerKube] = clients
  const stops: (() => Promise<void>)[] = []
  let stopped: Promise<void> | undefined
  const stopAll = async (): Promise<void> => {
    for (const stopPart of stops.toReversed()) await stopPart()
    for (const client of clients) client.close()
  }
  const stop = (): Promise<void> => (stopped ??= stopAll())
  try {
    const webhook = await runWebhook(
      { ...DEFAULT_WEBHOOK_OPTIONS, host: LOOPBACK, port, metricsHost: LOOPBACK, metricsPort: 0, drainMs: 0, bundleMs: 2_000 },
      { reader: webhookKube, writer: webhookKube, permission: webhookKube },
      { logger: logger.child({ role: 'webhook' }), clock: systemClock },
    )
    stops.push(() => webhook.stop())
    await unlessAborted(signal, webhook.ready)
    await waitForAdmission(cluster)
    log(`webhook up: ${webhook.url}, metrics on http://${LOOPBACK}:${webhook.metricsPort}/metrics`)
    const controller = await runController({ ...defaultControllerOptions(), metricsHost: LOOPBACK, metricsPort: 0 }, controllerKube, {
      logger: logger.child({ role: 'controller' }),
      clock: systemClock,
    })
    stops.push(() => controller.stop())
    await unlessAborted(signal, controller.ready)
    await waitFor('the controller as leader', UP_WITHIN_MS, async () => {
      signal.throwIfAborted()
      return controller.leading()
    })
    log(`controller up, metrics on http://${LOOPBACK}:${controller.metricsPort}/metrics`)
    return { webhook, controller, stop }
  } catch (error) {
    await stop()
    // What was in progress failed because it was stopped.
    signal.throwIfAborted()
    throw error
  }
}
