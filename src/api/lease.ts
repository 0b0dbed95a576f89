import type { KubeObject } from './meta.ts'

/** coordination.k8s.io/v1 Lease, as far as this program reads it. */
export interface Lease extends KubeObject {
  spec?: {
    /** Empty: nobody. */
    holderIdentity?: string
    leaseDurationSeconds?: number
    /** metav1.MicroTime: six digits after the point. */
    acquireTime?: string
    renewTime?: string
    leaseTransitions?: number
  }
}
