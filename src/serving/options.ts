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

export const DEFAULT_CERTIFICATE_TIMES: CertificateTimes = { filesMs: 5_000, secretMs: 60_000, bundleMs: 8_000 }
