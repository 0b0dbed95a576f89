import type { KubeObject } from './meta.ts'

/** An APIService, as far as this program changes it. */
export interface ApiService extends KubeObject {
  spec?: {
    group?: string
    version?: string
    service?: { namespace: string; name: string; port?: number }
    /** base64 of the PEM certificates that the API server trusts for this server. */
    caBundle?: string
    /** Excludes caBundle. */
    insecureSkipTLSVerify?: boolean
  }
}
