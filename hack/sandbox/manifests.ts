/** The shipped manifests, changed only where this machine is no cluster: Services lead to it, and webhooks and the extension listen on a port of it. */
import { fileURLToPath } from 'node:url'
import { parseAllDocuments, stringify } from 'yaml'
import { GROUP } from '../../src/api/names.ts'
import { WORKSPACE_GROUP } from '../../src/api/workspace.ts'
import type { ClusterAccess, ClusterDescription } from '../control-plane/cluster-access.ts'
import { applyApprovalProject } from './approval-project.ts'

const manifest = (name: string): string => fileURLToPath(new URL(`../../manifests/${name}`, import.meta.url))

interface Manifest {
  kind: string
  metadata: { name: string; namespace?: string }
  spec?: object
  webhooks?: { clientConfig: { service?: { port?: number } } }[]
}

interface ApiServiceSpec {
  service?: { port?: number }
}

/** @param port where the API server is to call on this machine */
export const localise = (object: Manifest, port: number): Manifest => {
  // The API server resolves a Service of this type to its name: localhost.
  if (object.kind === 'Service') return { ...object, spec: { type: 'ExternalName', externalName: 'localhost' } }
  // The port that is dialled is the one named here, not a port of the Service.
  if (object.kind === 'APIService') {
    const spec: ApiServiceSpec = object.spec ?? {}
    return { ...object, spec: { ...spec, service: { ...spec.service, port } } }
  }
  if (object.webhooks === undefined) return object
  const webhooks = object.webhooks.map((webhook) => {
    const { service } = webhook.clientConfig
    return service === undefined ? webhook : { ...webhook, clientConfig: { ...webhook.clientConfig, service: { ...service, port } } }
  })
  return { ...object, webhooks }
}

const render = async (cluster: ClusterAccess, name: string): Promise<Manifest[]> => {
  const { stdout } = await cluster.kubectl(['kustomize', manifest(name)])
  return parseAllDocuments(stdout).map((document): Manifest => document.toJS())
}

const apply = (cluster: ClusterAccess, objects: readonly Manifest[]): Promise<unknown> =>
  cluster.kubectl(['apply', '--server-side', '--force-conflicts', '-f', '-'], { input: objects.map((object) => stringify(object)).join('---\n') })

const isDefinition = ({ kind }: Manifest): boolean => kind === 'CustomResourceDefinition' || kind === 'Namespace'

/** Where the webhook's certificate comes from; `cert-manager` needs its definitions in the cluster. */
export type CertificateForm = 'self-signed' | 'cert-manager'

/** Definitions first, and served, before anything that needs them. @param group label of the definitions */
const applyFolders = async (cluster: ClusterAccess, folders: readonly string[], group: string, port: number): Promise<void> => {
  const objects = (await Promise.all(folders.map((name) => render(cluster, name)))).flat()
  await apply(cluster, objects.filter(isDefinition))
  await cluster.kubectl(['wait', '--for=condition=Established', '--timeout=60s', 'crd', '-l', `group=${group}`])
  await apply(
    cluster,
    objects.filter((object) => !isDefinition(object)).map((object) => localise(object, port)),
  )
}

/** @param webhookPort where the webhook listens on this machine */
export const applyManifests = (cluster: ClusterAccess, webhookPort: number, form: CertificateForm = 'self-signed'): Promise<void> =>
  applyFolders(cluster, [form, 'connectors-crds'], GROUP, webhookPort)

/** What is optional: the extension, self-signed, auth, and the definitions of Workspaces. @param extensionPort where the extension listens on this machine */
export const applyConnectionManifests = (cluster: ClusterAccess, extensionPort: number): Promise<void> =>
  applyFolders(cluster, ['workspace-crds', 'extension-self-signed', 'auth'], WORKSPACE_GROUP, extensionPort)

const SAMPLES = fileURLToPath(new URL('samples.yaml', import.meta.url))

/** What the controller of Connectors would say of the sample, were it there: where the proxy answers, and by whose certificate. */
const sampleStatus = (caPem: string): object => ({
  proxy: {
    httpAddress: {
      name: 'http',
      url: 'http://c-prod-harbor.connectors-shared.svc.cluster.local',
      audience: 'connectors-proxy',
      CACerts: Buffer.from(caPem).toString('base64'),
    },
  },
})

/**
 * A shared Connector, a policy, a ServiceAccount that may see the Connector, and what stands in for the approval project. No proxy
 * runs: the Connector names an address where none answers, and the CA of the control plane.
 */
export const applySamples = async (cluster: ClusterAccess & Pick<ClusterDescription, 'caPem'>): Promise<void> => {
  await applyApprovalProject(cluster)
  await cluster.kubectl(['apply', '--server-side', '--force-conflicts', '-f', SAMPLES])
  const patch = JSON.stringify({ status: sampleStatus(cluster.caPem) })
  await cluster.kubectl(['patch', 'connector', 'prod-harbor', '-n', 'connectors-shared', '--subresource=status', '--type=merge', '-p', patch])
}
