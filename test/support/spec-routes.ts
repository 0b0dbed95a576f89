/** Every way in which a person may try to change the spec of a request that is stored, by the real kubectl. */
import { stringify } from 'yaml'
import type { ClusterAccess, KubectlResult } from '../../hack/control-plane/cluster-access.ts'
import type { AccessRequest } from '../../src/api/access-request.ts'
import { API_VERSION } from '../../src/api/names.ts'

export type Routes = Record<string, () => Promise<KubectlResult>>

const jsonPatch = (...operations: object[]): string => JSON.stringify(operations)

export const specRoutes = (cluster: ClusterAccess, { metadata, spec }: AccessRequest): Routes => {
  const { name, namespace = '' } = metadata
  const kubectl = (args: string[], input?: string): Promise<KubectlResult> =>
    cluster.kubectl([...args, '-n', namespace], { allowFailure: true, ...(input === undefined ? {} : { input }) })
  const patch = (type: string, text: string): Promise<KubectlResult> => kubectl(['patch', 'accessrequest', name, `--type=${type}`, '-p', text])
  const changed = { ...spec, subject: { ...spec.subject, name: 'somebody-else' } }
  const other = stringify({ apiVersion: API_VERSION, kind: 'AccessRequest', metadata: { name, namespace }, spec: changed })
  // kubectl fills in the version of the stored one.
  const { resourceVersion: _outdated, ...unversioned } = metadata
  const whole = stringify({ apiVersion: API_VERSION, kind: 'AccessRequest', metadata: unversioned, spec: changed })
  return {
    'merge patch': () => patch('merge', JSON.stringify({ spec: { subject: { name: 'somebody-else' } } })),
    'merge patch that takes the uid away': () => patch('merge', JSON.stringify({ spec: { context: { objectRef: { uid: null } } } })),
    'JSON patch of a field': () => patch('json', jsonPatch({ op: 'replace', path: '/spec/connectorRef/name', value: 'another' })),
    'JSON patch that adds a field': () => patch('json', jsonPatch({ op: 'add', path: '/spec/connectorRef/namespace', value: namespace })),
    'JSON patch of the whole spec': () => patch('json', jsonPatch({ op: 'replace', path: '/spec', value: changed })),
    'apply': () => kubectl(['apply', '-f', '-'], other),
    'server-side apply that forces conflicts': () => kubectl(['apply', '--server-side', '--force-conflicts', '-f', '-'], other),
    'replace': () => kubectl(['replace', '-f', '-'], whole),
  }
}
