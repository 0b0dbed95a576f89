/** What kubelet is for the API server: the user system:node:<name> in the group system:nodes, with the rights of a kubelet. */
import { writeFile } from 'node:fs/promises'
import type { ClusterAccess, ClusterDescription } from '../control-plane/cluster-access.ts'
import { renderKubeconfig } from '../control-plane/kubeconfig.ts'

const NAMESPACE = 'kube-system'
const GROUP = 'system:nodes'
/** Longer than any run of a node. */
const TOKEN_SECONDS = 24 * 60 * 60
const RBAC = 'rbac.authorization.k8s.io'

export const nodeUser = (nodeName: string): string => `system:node:${nodeName}`

/**
 * The control plane has RBAC alone, and no way to take a new user in while it runs: a ServiceAccount may impersonate the one user and group,
 * and the group has the ClusterRole of kubelets, which the Node authorizer would narrow to this node's own objects.
 */
const accountObjects = (nodeName: string): object[] => {
  const name = `kubelet-${nodeName}`
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace: NAMESPACE } },
    {
      apiVersion: `${RBAC}/v1`,
      kind: 'ClusterRole',
      metadata: { name },
      rules: [
        { apiGroups: [''], resources: ['users'], resourceNames: [nodeUser(nodeName)], verbs: ['impersonate'] },
        { apiGroups: [''], resources: ['groups'], resourceNames: [GROUP], verbs: ['impersonate'] },
      ],
    },
    {
      apiVersion: `${RBAC}/v1`,
      kind: 'ClusterRoleBinding',
      metadata: { name },
      roleRef: { apiGroup: RBAC, kind: 'ClusterRole', name },
      subjects: [{ kind: 'ServiceAccount', name, namespace: NAMESPACE }],
    },
    {
      apiVersion: `${RBAC}/v1`,
      kind: 'ClusterRoleBinding',
      metadata: { name: 'kubelets' },
      roleRef: { apiGroup: RBAC, kind: 'ClusterRole', name: 'system:node' },
      subjects: [{ apiGroup: RBAC, kind: 'Group', name: GROUP }],
    },
  ]
}

/** Makes the account and writes its kubeconfig. */
export const prepareAccount = async (cluster: ClusterAccess & Pick<ClusterDescription, 'server' | 'caPem'>, nodeName: string, file: string): Promise<void> => {
  await cluster.kubectl(['apply', '--server-side', '--force-conflicts', '-f', '-'], {
    input: accountObjects(nodeName).map((object) => JSON.stringify(object)).join('\n---\n'),
  })
  const token = await cluster.serviceAccountToken(NAMESPACE, `kubelet-${nodeName}`, { seconds: TOKEN_SECONDS })
  const impersonate = { user: nodeUser(nodeName), groups: [GROUP] }
  await writeFile(file, renderKubeconfig({ server: cluster.server, caPem: cluster.caPem, name: nodeUser(nodeName), token, impersonate }), { mode: 0o600 })
}
