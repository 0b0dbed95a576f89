/** Every way in which a person may try to write the status of an ApprovalTask, by the real kubectl. */
import { stringify } from 'yaml'
import type { ClusterAccess, KubectlResult } from '../../hack/control-plane/cluster-access.ts'

export type StatusRoutes = Record<string, () => Promise<KubectlResult>>

const APPROVED = { state: 'approved', approversResponse: [{ name: 'alice', type: 'User', response: 'approved' }] }
const MERGE = ['--type=merge', '-p', JSON.stringify({ status: APPROVED })]
const JSON_PATCH = ['--type=json', '-p', JSON.stringify([{ op: 'add', path: '/status', value: APPROVED }])]

const manifest = (namespace: string, name: string): string =>
  stringify({ apiVersion: 'openshift-pipelines.org/v1alpha1', kind: 'ApprovalTask', metadata: { name, namespace }, spec: { description: 'May it be used?' }, status: APPROVED })

/** @param as arguments for kubectl that say who tries */
export const statusRoutes = (cluster: ClusterAccess, namespace: string, name: string, as: readonly string[]): StatusRoutes => {
  const kubectl = (args: readonly string[], input?: string): Promise<KubectlResult> =>
    cluster.kubectl([...args, ...as], { allowFailure: true, ...(input === undefined ? {} : { input }) })
  const patch = ['patch', 'approvaltask', name, '-n', namespace, '--subresource=status']
  const whole = manifest(namespace, name)
  return {
    'merge patch': () => kubectl([...patch, ...MERGE]),
    'JSON patch': () => kubectl([...patch, ...JSON_PATCH]),
    'a dry run': () => kubectl([...patch, ...MERGE, '--dry-run=server']),
    'replace': () => kubectl(['replace', '--subresource=status', '-f', '-'], whole),
    'server-side apply that forces conflicts': () => kubectl(['apply', '--server-side', '--force-conflicts', '--subresource=status', '--field-manager=forger', '-f', '-'], whole),
  }
}

/** By way of the object itself, where a definition with a status subresource drops it. */
export const mainRoutes = (cluster: ClusterAccess, namespace: string, name: string, as: readonly string[]): StatusRoutes => {
  const kubectl = (args: readonly string[], input?: string): Promise<KubectlResult> =>
    cluster.kubectl([...args, ...as], { allowFailure: true, ...(input === undefined ? {} : { input }) })
  const patch = ['patch', 'approvaltask', name, '-n', namespace]
  return {
    'a new task with a status': () => kubectl(['create', '-f', '-'], manifest(namespace, `${name}-new`)),
    'merge patch of the object': () => kubectl([...patch, ...MERGE]),
    'JSON patch of the object': () => kubectl([...patch, ...JSON_PATCH]),
    'apply': () => kubectl(['apply', '-f', '-'], manifest(namespace, name)),
    'server-side apply': () => kubectl(['apply', '--server-side', '--force-conflicts', '--field-manager=forger', '-f', '-'], manifest(namespace, name)),
    'replace of the object': () => kubectl(['replace', '-f', '-'], manifest(namespace, name)),
  }
}
