/** Where the serving certificate comes from. */
export type CertificateOptions =
  | {
      kind: 'files'
      /** PEM, as cert-manager mounts it; read again when it changes. */
      certFile: string
      keyFile: string
    }
  | {
      kind: 'self-signed'
      /** Name of the Service through which the API server calls us. */
      serviceName: string
      /** Name of the Secret in the system namespace that all replicas share. */
      secretName: string
    }

/** How often the parts of a certificate are looked at. */
export interface CertificateTimes {
  /** How often certificate files are looked at, milliseconds. Default 5,000. */
  filesMs: number
  /** How often the shared Secret is read, milliseconds. Default 60,000. */
  secretMs: number
  /** How often it is looked whether the API server still has our CA, milliseconds. Default 8,000. */
  bundleMs: number
}

/** What every role that serves the API server over TLS is told, besides its port. */
export interface ServingOptions extends CertificateTimes {
  /** Address to listen on with TLS. Default: `::`, all addresses. */
  host: string
  /** Address of the plain metrics and health server. Default: `::`. */
  metricsHost: string
  /** Its port; 0 takes a free one. Default 8080. */
  metricsPort: number
  /** Default: self-signed with the names of the shipped manifests. */
  certificate: CertificateOptions
  /** How long the server goes on serving after it was told to stop, milliseconds. Default 10,000. */
  drainMs: number
  /** How long calls in flight may take after that, milliseconds. Default 5,000. */
  closeMs: number
}

export const DEFAULT_SERVING_OPTIONS: Omit<ServingOptions, 'certificate'> = {
  host: '::',
  metricsHost: '::',
  metricsPort: 8080,
  filesMs: 5_000,
  secretMs: 60_000,
  bundleMs: 8_000,
  drainMs: 10_000,
  closeMs: 5_000,
}
