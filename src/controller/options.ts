import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { SYSTEM_NAMESPACE } from '../api/names.ts'

export interface ControllerOptions {
  /** Address of the plain metrics and health server. Default: `::`, all addresses. */
  metricsHost: string
  /** Its port; 0 takes a free one. Default 8080. */
  metricsPort: number
  /** How many requests are worked on at once. Default 8. */
  workers: number
  /** Name of the Lease in the system namespace that the replicas share. Default `access-gate-controller`. */
  leaseName: string
  /** Where flags, templates and the lease are. Default `connectors-system`. */
  systemNamespace: string
  /** Who this replica is, in the Lease and in Events; unique among all there ever are. Default: the host's name and something random. */
  identity: string
}

export const defaultControllerOptions = (): ControllerOptions => ({
  metricsHost: '::',
  metricsPort: 8080,
  workers: 8,
  leaseName: 'access-gate-controller',
  systemNamespace: SYSTEM_NAMESPACE,
  identity: `${hostname()}-${randomBytes(4).toString('hex')}`,
})
