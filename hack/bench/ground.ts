/** A control plane with access-gate installed as in the manifests: its webhook is a process of its own, from the bundle, with its own account. */
import { SERVICE_ACCOUNT, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { readAnswer } from '../control-plane/api-call.ts'
import { freePort } from '../control-plane/free-port.ts'
import type { ControlPlane } from '../control-plane/start.ts'
import { applyManifests, applySamples } from '../sandbox/manifests.ts'
import { waitForAdmission } from '../sandbox/sandbox.ts'
import type { Account } from './pod-account.ts'
import type { BenchEnv } from './section.ts'
import { LOOPBACK, startRole, type RoleArgs } from './servers.ts'

const TOKEN_SECONDS = 24 * 60 * 60
/** From samples.yaml: any ServiceAccount may see it here, and none may use it. */
export const CONNECTOR = { namespace: 'connectors-shared', name: 'prod-harbor' } as const
const SEE_CONNECTOR = 'see-prod-harbor'

export interface Ground {
  cluster: ControlPlane
  /** The account that the webhook runs with. */
  webhook: Account
  /** Where the webhook listens that the API server calls. */
  webhookPort: number
}

export const accountOf = async (cluster: ControlPlane, name: string): Promise<Account> => {
  const token = await cluster.serviceAccountToken(SYSTEM_NAMESPACE, name, { seconds: TOKEN_SECONDS })
  return { token, server: cluster.server, caPem: cluster.caPem }
}

export const selfSignedArgs = (port: number): RoleArgs => ['webhook', `--host=${LOOPBACK}`, `--port=${port}`, '--self-signed', '--drain-seconds=0']

const create = async (cluster: ControlPlane, path: string, object: object): Promise<void> => {
  readAnswer(await cluster.call('POST', path, object), `POST ${path}`)
}

const letEveryAccountSeeConnector = (cluster: ControlPlane): Promise<void> =>
  create(cluster, `/apis/rbac.authorization.k8s.io/v1/namespaces/${CONNECTOR.namespace}/rolebindings`, {
    metadata: { name: 'bench-sees-prod-harbor' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: SEE_CONNECTOR },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'Group', name: 'system:serviceaccounts' }],
  })

/** Manifests and samples applied, one webhook up and reached by the API server; no controller. */
export const openGround = async (env: BenchEnv): Promise<Ground> => {
  const cluster = await env.cluster()
  const webhookPort = await freePort()
  await applyManifests(cluster, webhookPort)
  const webhook = await accountOf(cluster, SERVICE_ACCOUNT.webhook)
  await startRole(env, 'installed-webhook', webhook, selfSignedArgs(webhookPort))
  await waitForAdmission(cluster)
  await applySamples(cluster)
  await letEveryAccountSeeConnector(cluster)
  return { cluster, webhook, webhookPort }
}
