/** The control plane that `npm test` started for this run, as integration tests use it. */
import { readFileSync } from 'node:fs'
import { createClusterAccess, type ClusterAccess, type ClusterDescription } from '../../hack/control-plane/cluster-access.ts'

export interface TestControlPlane extends ClusterAccess {
  server: string
  caPem: string
  /** The administrator's token. */
  adminToken: string
  adminKubeconfig: string
  /** false: no garbage collection, no namespace deletion. */
  hasControllerManager: boolean
}

/** @throws Error when the test was not started by `npm test` */
export const testControlPlane = (): TestControlPlane => {
  const file = process.env['ACCESS_GATE_TEST_CONTROL_PLANE']
  if (file === undefined) throw new Error('this test needs a control plane: run it with "npm test -- <file>", which starts one')
  const description: ClusterDescription = JSON.parse(readFileSync(file, 'utf8'))
  const { server, caPem, adminToken, adminKubeconfig, hasControllerManager } = description
  return { ...createClusterAccess(description), server, caPem, adminToken, adminKubeconfig, hasControllerManager }
}
