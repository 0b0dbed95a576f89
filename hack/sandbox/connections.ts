/** What `--extension` adds to the sandbox: the extension behind the API server, auth, an OIDC issuer, and a team with Workspaces. */
import { fileURLToPath } from 'node:url'
import { SERVICE_ACCOUNT, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { readAuthOptions } from '../../src/auth/options.ts'
import { runAuth, type RunningAuth } from '../../src/auth/role.ts'
import { DEFAULT_EXTENSION_OPTIONS } from '../../src/extension/options.ts'
import { runExtension, type RunningExtension } from '../../src/extension/role.ts'
import type { KubeClient } from '../../src/kube/client.ts'
import { systemClock } from '../../src/kube/timers.ts'
import { createLogger } from '../../src/log.ts'
import type { ClusterAccess } from '../control-plane/cluster-access.ts'
import { freePort } from '../control-plane/free-port.ts'
import { startOidcIssuer, type OidcIssuer } from '../oidc-issuer/issuer.ts'
import { clusterUntil, unlessAborted } from './ending.ts'
import { applyConnectionManifests } from './manifests.ts'
import { clientFor, type SandboxOptions } from './sandbox.ts'

const LOOPBACK = '127.0.0.1'
const CLIENT_ID = 'workspaces'
const UP_WITHIN = '--timeout=60s'
/** A sign-in by a proxy: the ID token of the issuer is good for as long as anybody tries things here. */
const ID_TOKEN_SECONDS = 24 * 60 * 60

/** Where a browser would find the Workspaces, were a reverse proxy there. */
export const WORKSPACES_HOST = 'workspaces.example.com'
export const TEAM = 'team-alice'

/** Both may connect to Workspaces of the team, and one of the two is Alice's own. */
const USERS = [
  { name: 'alice', sub: 'uid-of-alice', groups: [TEAM] },
  { name: 'bob', sub: 'uid-of-bob', groups: [TEAM] },
]

const WORKSPACES = fileURLToPath(new URL('workspaces.yaml', import.meta.url))
const AVAILABLE = { type: 'Available', status: 'True', reason: 'Ready', message: 'it runs', lastTransitionTime: '2026-01-01T00:00:00Z' }

export interface Connections {
  extension: RunningExtension
  auth: RunningAuth
  /** `http://<host>:<port>` of auth */
  authUrl: string
  issuer: OidcIssuer
  /** An ID token of the issuer, for as long as the sandbox runs. */
  idToken(user: string): Promise<string>
  /** More calls change nothing. */
  stop(): Promise<void>
}

/** The Workspaces of the team, as their own controller would leave them, and who may connect there. */
const applyWorkspaces = async (cluster: ClusterAccess): Promise<void> => {
  await cluster.kubectl(['apply', '--server-side', '--force-conflicts', '-f', WORKSPACES])
  for (const workspace of ['alice-workspace', 'shared-workspace'])
    await cluster.kubectl(['patch', 'workspace', workspace, '-n', TEAM, '--subresource=status', '--type=merge', '-p', JSON.stringify({ status: { conditions: [AVAILABLE] } })])
}

/**
 * Applies the optional manifests and runs both roles in this process, each with the rights of its own account.
 * @throws Error when a part does not come up, the signal's reason when that ended it; what was started is stopped then
 */
export const startConnections = async (options: SandboxOptions): Promise<Connections> => {
  const { log, logLevel = 'warn', signal = new AbortController().signal } = options
  const cluster = clusterUntil(signal, options.cluster)
  const logger = createLogger({ level: logLevel, destination: process.stderr })
  const port = await freePort()
  await applyConnectionManifests(cluster, port)
  await applyWorkspaces(cluster)
  const stops: (() => Promise<void>)[] = []
  let stopped: Promise<void> | undefined
  /** Data that is kept would hold APIServices that nobody answers for, and no namespace would go any more. */
  const withdraw = (): Promise<unknown> =>
    options.cluster.kubectl(['delete', 'apiservice', '--ignore-not-found', '--wait=false', '--request-timeout=5s', ...DEFAULT_EXTENSION_OPTIONS.apiServiceNames], { allowFailure: true })
  const stopAll = async (): Promise<void> => {
    try {
      await withdraw()
    } finally {
      for (const stopPart of stops.toReversed()) await stopPart()
    }
  }
  const stop = (): Promise<void> => (stopped ??= stopAll())
  const client = async (name: string): Promise<KubeClient> => {
    const made = await clientFor(cluster, name)
    stops.push(async () => made.close())
    return made
  }
  try {
    const extensionKube = await client(SERVICE_ACCOUNT.extension)
    const extension = await runExtension(
      { ...DEFAULT_EXTENSION_OPTIONS, host: LOOPBACK, port, metricsHost: LOOPBACK, metricsPort: 0, drainMs: 0, bundleMs: 2_000 },
      { reader: extensionKube, writer: extensionKube, watcher: extensionKube, permission: extensionKube },
      { logger: logger.child({ role: 'extension' }), clock: systemClock },
    )
    stops.push(() => extension.stop())
    await unlessAborted(signal, extension.ready)
    // kubectl finds a kind only once the API server counts its group among those that it serves.
    await cluster.kubectl(['wait', '--for=condition=Available', UP_WITHIN, 'apiservice', ...DEFAULT_EXTENSION_OPTIONS.apiServiceNames])
    log(`extension up: ${extension.url}, metrics on http://${LOOPBACK}:${extension.metricsPort}/metrics`)

    const issuer = await startOidcIssuer({ users: USERS, clientId: CLIENT_ID, redirectUris: [`https://${WORKSPACES_HOST}/callback`] })
    stops.push(() => issuer.stop())
    const authKube = await client(SERVICE_ACCOUNT.auth)
    const settings = {
      PORT: '0',
      METRICS_ADDR: `${LOOPBACK}:0`,
      PROBE_ADDR: `${LOOPBACK}:0`,
      NAMESPACE: SYSTEM_NAMESPACE,
      SHUTDOWN_TIMEOUT: '2s',
      OIDC_ISSUER_URL: issuer.url,
      OIDC_CLIENT_ID: CLIENT_ID,
      OIDC_ALLOW_HTTP_LOOPBACK: 'true',
      ENABLE_BEARER_URL_AUTH: 'true',
      ENABLE_LOGIN: 'true',
    }
    const auth = await runAuth({ ...readAuthOptions(settings), host: LOOPBACK }, authKube, { logger: logger.child({ role: 'auth' }), clock: systemClock })
    stops.push(() => auth.stop())
    await unlessAborted(signal, auth.ready)
    const authUrl = `http://${LOOPBACK}:${auth.port}`
    log(`auth up: ${authUrl}, metrics on http://${LOOPBACK}:${auth.metricsPort}/metrics; OIDC issuer: ${issuer.url}`)
    const idToken = (user: string): Promise<string> => issuer.idToken(user, { exp: Math.floor(Date.now() / 1000) + ID_TOKEN_SECONDS })
    return { extension, auth, authUrl, issuer, idToken, stop }
  } catch (error) {
    await stop()
    // What was in progress failed because it was stopped.
    signal.throwIfAborted()
    throw error
  }
}
