import { DEFAULT_SERVING_OPTIONS, type ServingOptions } from '../serving/options.ts'

export interface ExtensionOptions extends ServingOptions {
  /** TLS port; 0 takes a free one. Default 7443. */
  port: number
  /** The APIServices whose caBundle is kept when the certificate is self-signed. */
  apiServiceNames: readonly string[]
  /** Whether callers may show a certificate of the cluster's client CA, besides the front proxy. Default false. */
  authenticateClientCertificates: boolean
  /** Whether callers may show a bearer token, which a TokenReview is asked about. Default false. */
  authenticateTokens: boolean
  /** API group of the resource that a subject must be allowed to create. Default `workspace.jupyter.org`. */
  reviewGroup: string
  /** That resource. Default `workspaces/connection`. */
  reviewResource: 'workspaces/connection' | 'workspaceconnections'
  /** Whether system:authenticated is added to the groups of a subject. Default false: what was sent is what is asked. */
  reviewAuthenticatedGroup: boolean
  /** The Secret with signing keys, in the system namespace. */
  jwtSecretName: string
  jwtIssuer: string
  jwtAudience: string
  /** How long a token of ours is good, milliseconds. Default five minutes. */
  tokenTtlMs: number
  /** How old a key must be before tokens are signed with it, milliseconds; other replicas have it by then. Default 5,000. */
  newKeyUseDelayMs: number
  /** URL of each connection plugin, by name. */
  pluginEndpoints: ReadonlyMap<string, string>
}

export const DEFAULT_EXTENSION_OPTIONS: ExtensionOptions = {
  ...DEFAULT_SERVING_OPTIONS,
  port: 7443,
  certificate: { kind: 'self-signed', serviceName: 'access-gate-extension', secretName: 'access-gate-extension-tls' },
  apiServiceNames: ['v1alpha1.connection.workspace.jupyter.org', 'v1alpha1.access.connectors.alauda.io'],
  authenticateClientCertificates: false,
  authenticateTokens: false,
  reviewGroup: 'workspace.jupyter.org',
  reviewResource: 'workspaces/connection',
  reviewAuthenticatedGroup: false,
  jwtSecretName: 'access-gate-extension-keys',
  jwtIssuer: 'workspaces-controller',
  jwtAudience: 'workspaces-controller',
  tokenTtlMs: 5 * 60_000,
  newKeyUseDelayMs: 5_000,
  pluginEndpoints: new Map(),
}
