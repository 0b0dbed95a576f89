/** The client of the API server: who we are comes from a kubeconfig or from the Pod's own ServiceAccount, the connections are ours. */
import { CodedError } from '../errors.ts'
import { kubeApi, type KubeApi } from './api.ts'
import { connectionReviews } from './connection-reviews.ts'
import { credentialSource, type Connection } from './credentials.ts'
import { discovery } from './discovery.ts'
import { inClusterConnection, NO_CONFIGURATION, type InClusterOptions } from './in-cluster.ts'
import { permission } from './permission.ts'
import type { ConnectionReviewer, Discovery, PathPermission, Permission, TokenIssuer } from './ports.ts'
import { systemTimers, type Timers } from './timers.ts'
import { tokenIssuer } from './token-issuer.ts'
import { createTransport } from './transport.ts'

export interface ClientOptions {
  /** Path of a kubeconfig, or several as KUBECONFIG joins them. */
  kubeconfig?: string
  /** Which context of the kubeconfig; left out: its current one. */
  context?: string
  /** The ServiceAccount to use when no kubeconfig is given. */
  inCluster?: InClusterOptions
  userAgent: string
  /** For the whole of one request, and for the head of a watch. Default 10,000. */
  requestTimeoutMs?: number
  /** Default: the system's. */
  timers?: Timers
}

export interface KubeClient extends KubeApi, Discovery, Permission, PathPermission, TokenIssuer, ConnectionReviewer {
  /** Where the API server is, for messages. */
  readonly server: string
  /** Closes all connections; later calls fail. */
  close(): void
}

const REFRESH_MS = 10_000
/** A plugin may ask a person or a server. */
const CREDENTIAL_TIMEOUT_MS = 30_000

const connectionOf = async ({ kubeconfig = '', context, inCluster }: ClientOptions): Promise<Connection> => {
  if (kubeconfig !== '') {
    const { kubeconfigConnection } = await import('./kubeconfig.ts')
    return kubeconfigConnection({ kubeconfig, ...(context === undefined ? {} : { context }) })
  }
  if (inCluster !== undefined) return inClusterConnection(inCluster)
  throw new CodedError('CONFIG_INVALID', NO_CONFIGURATION)
}

/** @throws CodedError CONFIG_INVALID when there is no usable configuration. Connects at the first call. */
export const createClient = async (options: ClientOptions): Promise<KubeClient> => {
  const timers = options.timers ?? systemTimers
  const { server, dynamic, load } = await connectionOf(options)
  const source = credentialSource({ load, dynamic, maxAgeMs: REFRESH_MS, timeoutMs: CREDENTIAL_TIMEOUT_MS, timers })
  const transport = createTransport({ server, source, userAgent: options.userAgent, requestTimeoutMs: options.requestTimeoutMs ?? 10_000, timers })
  const api = kubeApi(transport)
  return { ...api, ...discovery(api, timers), ...permission(api), ...tokenIssuer(api), ...connectionReviews(api), server: server.href, close: () => transport.close() }
}
