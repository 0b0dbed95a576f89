import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'

export interface ControllerOptions {
  /** Address of the plain metrics and health server. Default: `::`, all addresses. */
  metricsHost: string
  /** Its port; 0 takes a free one. Default 8080. */
  metricsPort: number
  /** How many requests are worked on at once. Default 16: most of a grant is waiting, as the API server takes its time over who may create a Role. */
  workers: number
  /** Name of the Lease in the system namespace that the replicas share. Default `access-gate-controller`. */
  leaseName: string
  /** Who this replica is, in the Lease and in Events; unique among all there ever are. Default: the host's name and something random. */
  identity: string
}

export const defaultControllerOptions = (): ControllerOptions => ({
  metricsHost: '::',
  metricsPort: 8080,
  workers: 16,
  leaseName: 'access-gate-controller',
  identity: `${hostname()}-${randomBytes(4).toString('hex')}`,
})
