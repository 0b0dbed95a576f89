/** Workspaces, their access strategies and Pods, as their own project would leave them, and who may connect. */
import type { KubeObject } from '../../src/api/meta.ts'
import { AVAILABLE, CREATED_BY, WORKSPACE_API_VERSION, WORKSPACE_NAME_LABEL, type Workspace, type WorkspaceAccessStrategy } from '../../src/api/workspace.ts'
import type { ControlPlane } from '../../hack/control-plane/start.ts'
import { readAnswer } from '../../hack/control-plane/api-call.ts'
import { yamlOf } from './shipped-ground.ts'

type Object = KubeObject & { apiVersion: string; kind: string }

export interface WorkspaceShape {
  /** null: nobody is written down; left out: alice. */
  owner?: string | null
  spec?: Workspace['spec']
  /** Of the condition Available; default True. */
  available?: 'True' | 'False' | 'none'
}

const workspaceObject = (namespace: string, name: string, { owner = 'alice', spec = {} }: WorkspaceShape = {}): Object => ({
  apiVersion: WORKSPACE_API_VERSION,
  kind: 'Workspace',
  metadata: { name, namespace, ...(owner === null ? {} : { annotations: { [CREATED_BY]: owner } }) },
  spec,
} as Object)

export const strategyObject = (namespace: string, name: string, spec: NonNullable<WorkspaceAccessStrategy['spec']>): Object =>
  ({ apiVersion: WORKSPACE_API_VERSION, kind: 'WorkspaceAccessStrategy', metadata: { name, namespace }, spec }) as Object

export const workspacePod = (namespace: string, name: string, workspace: string): Object =>
  ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels: { [WORKSPACE_NAME_LABEL]: workspace } },
    spec: { containers: [{ name: 'main', image: 'registry.example/notebook:1' }] },
  }) as Object

/** Whoever it is bound to may connect to Workspaces of the namespace. */
export const mayConnect = (namespace: string, name: string, subjects: readonly { kind: 'User' | 'Group'; name: string }[]): Object =>
  ({
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'RoleBinding',
    metadata: { name, namespace },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'access-gate-connect-workspaces' },
    subjects: subjects.map((subject) => ({ apiGroup: 'rbac.authorization.k8s.io', ...subject })),
  }) as Object

export const createObjects = (cluster: Pick<ControlPlane, 'kubectl'>, objects: readonly object[]): Promise<unknown> => cluster.kubectl(['create', '-f', '-'], { input: yamlOf(objects) })

/** Makes Workspaces and says of each whether it is available. */
export const createWorkspaces = async (cluster: Pick<ControlPlane, 'kubectl' | 'call'>, namespace: string, shapes: Readonly<Record<string, WorkspaceShape>>): Promise<void> => {
  await createObjects(cluster, Object.entries(shapes).map(([name, shape]) => workspaceObject(namespace, name, shape)))
  for (const [name, { available = 'True' }] of Object.entries(shapes)) {
    if (available === 'none') continue
    const condition = { type: AVAILABLE, status: available, reason: 'Ready', message: '', lastTransitionTime: '2026-01-02T03:04:05Z' }
    const path = `/apis/${WORKSPACE_API_VERSION}/namespaces/${namespace}/workspaces/${name}/status`
    readAnswer(await cluster.call('PATCH', path, { status: { conditions: [condition] } }, 'application/merge-patch+json'), `status of ${name}`)
  }
}
