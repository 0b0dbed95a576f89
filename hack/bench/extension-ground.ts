/**
 * A control plane with the extension behind its APIServices and auth beside it: each a process of its own, from the bundle, with its
 * own account. A team with one Workspace that is open to all of it, and an OIDC issuer in the benchmark's process.
 */
import { join } from 'node:path'
import { SERVICE_ACCOUNT, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { WORKSPACE_API_VERSION } from '../../src/api/workspace.ts'
import { DEFAULT_EXTENSION_OPTIONS } from '../../src/extension/options.ts'
import { readAnswer } from '../control-plane/api-call.ts'
import { freePort } from '../control-plane/free-port.ts'
import type { ControlPlane } from '../control-plane/start.ts'
import { startOidcIssuer, type OidcIssuer } from '../oidc-issuer/issuer.ts'
import { ROOT } from '../project.ts'
import { applyConnectionManifests } from '../sandbox/manifests.ts'
import { accountOf } from './ground.ts'
import type { Account } from './pod-account.ts'
import type { BenchEnv } from './section.ts'
import { LOOPBACK, startAuth, startRole, type RoleArgs, type RoleProcess } from './servers.ts'

export const TEAM = 'bench-team'
export const WORKSPACE = 'notebook'
export const HOST = 'workspaces.example.com'
export const APP_PATH = `/workspaces/${TEAM}/${WORKSPACE}`
/** Whose visits are counted. */
export const VISITORS = 50
/** As a company's issuer would say them. */
const GROUPS = [TEAM, 'developers', 'everybody-at-example.com']
const CLIENT_ID = 'workspaces'
const NAMESPACE_FILE = join(ROOT, 'manifests/base/100-namespace.yaml')

/** Somebody of the team, as an identity of the issuer becomes one of Kubernetes. */
export const memberOf = (number: number): { user: string; groups: string[]; uid: string } => ({ user: `user-${number}@example.com`, groups: GROUPS, uid: `5f2c0b9e-0000-4000-8000-${String(number).padStart(12, '0')}` })

const issuerUser = (number: number): { name: string; sub: string; groups: string[] } => {
  const { user, groups, uid } = memberOf(number)
  return { name: user, sub: uid, groups }
}

export interface ConnectionGround {
  cluster: ControlPlane
  /** The accounts that the roles run with. */
  accounts: { extension: Account; auth: Account }
  extension: RoleProcess
  extensionPort: number
  auth: RoleProcess
  authPort: number
  issuer: OidcIssuer
  /** One more of them, which serves nobody; the name is for its log. */
  startExtension(name: string): Promise<RoleProcess>
  startAuth(name: string): Promise<RoleProcess>
}

/** The team, its Workspace with about as much in it as real ones hold, and that all of the team may connect. */
const makeTeam = async (cluster: ControlPlane): Promise<void> => {
  const create = async (path: string, object: object): Promise<void> => {
    readAnswer(await cluster.call('POST', path, object), `POST ${path}`)
  }
  await create('/api/v1/namespaces', { metadata: { name: TEAM } })
  await create(`/apis/rbac.authorization.k8s.io/v1/namespaces/${TEAM}/rolebindings`, {
    metadata: { name: 'team-connects' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'access-gate-connect-workspaces' },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'Group', name: TEAM }],
  })
  await create(`/apis/${WORKSPACE_API_VERSION}/namespaces/${TEAM}/workspaces`, {
    apiVersion: WORKSPACE_API_VERSION,
    kind: 'Workspace',
    metadata: { name: WORKSPACE, labels: { 'app.kubernetes.io/part-of': 'bench' }, annotations: { 'workspace.jupyter.org/created-by': memberOf(0).user } },
    spec: {
      displayName: 'A notebook for the team',
      accessType: 'Public',
      ownershipType: 'OwnerOnly',
      desiredStatus: 'Running',
      image: 'registry.example/notebook:1',
      resources: { requests: { cpu: '500m', memory: '2Gi' }, limits: { cpu: '4', memory: '8Gi' } },
      storage: { size: '20Gi', mountPath: '/home/user' },
      env: Array.from({ length: 12 }, (_, index) => ({ name: `SETTING_${index}`, value: `value ${index} of a Workspace as people make them` })),
    },
  })
}

const extensionArgs = (port: number): RoleArgs => ['extension', `--host=${LOOPBACK}`, `--port=${port}`, '--self-signed', '--drain-seconds=0']

const authArgs = (port: number, issuer: OidcIssuer): string[] => [
  `--port=${port}`,
  `--namespace=${SYSTEM_NAMESPACE}`,
  `--oidc-issuer-url=${issuer.url}`,
  `--oidc-client-id=${CLIENT_ID}`,
  '--oidc-allow-http-loopback=true',
  '--shutdown-timeout=4s',
]

/** Manifests applied and both roles up, the extension behind the API server. */
export const openConnectionGround = async (env: BenchEnv): Promise<ConnectionGround> => {
  const cluster = await env.cluster()
  const [extensionPort, authPort] = await Promise.all([freePort(), freePort()])
  await cluster.kubectl(['apply', '-f', NAMESPACE_FILE])
  await applyConnectionManifests(cluster, extensionPort)
  await makeTeam(cluster)
  const accounts = { extension: await accountOf(cluster, SERVICE_ACCOUNT.extension), auth: await accountOf(cluster, SERVICE_ACCOUNT.auth) }
  const extension = await startRole(env, 'extension', accounts.extension, extensionArgs(extensionPort))
  await cluster.kubectl(['wait', '--for=condition=Available', '--timeout=60s', 'apiservice', ...DEFAULT_EXTENSION_OPTIONS.apiServiceNames], { signal: env.signal })
  const issuer = await startOidcIssuer({ users: Array.from({ length: VISITORS }, (_, number) => issuerUser(number)), clientId: CLIENT_ID, redirectUris: [`https://${HOST}/callback`] })
  env.atEnd(() => issuer.stop())
  const auth = await startAuth(env, 'auth', accounts.auth, authArgs(authPort, issuer))
  return {
    cluster,
    accounts,
    extension,
    extensionPort,
    auth,
    authPort,
    issuer,
    startExtension: async (name) => startRole(env, name, accounts.extension, extensionArgs(await freePort())),
    startAuth: async (name) => startAuth(env, name, accounts.auth, authArgs(await freePort(), issuer)),
  }
}
