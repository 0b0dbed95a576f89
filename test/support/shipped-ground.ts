/** What the shipped manifests make the API server hold by itself, for tests that need no webhook and no controller. */
import { join } from 'node:path'
import { stringify } from 'yaml'
import { waitFor, type ClusterAccess } from '../../hack/control-plane/cluster-access.ts'
import { REQUEST_NAMESPACE, REQUEST_STATUS } from '../../hack/generate/admission-policies.ts'
import { MANIFESTS, parseManifests, type Manifest } from './manifests.ts'

/** Left out: webhook configurations, which would refuse everything while nobody serves them, and what runs or is reached. */
const LEFT_OUT = new Set(['MutatingWebhookConfiguration', 'ValidatingWebhookConfiguration', 'Deployment', 'DaemonSet', 'PodDisruptionBudget', 'Service'])

/** What `kubectl kustomize` makes of a folder of manifests. */
export const kustomize = async (cluster: ClusterAccess, folder: string): Promise<Manifest[]> =>
  parseManifests((await cluster.kubectl(['kustomize', join(MANIFESTS, folder)])).stdout)

export const yamlOf = (objects: readonly object[]): string => objects.map((object) => stringify(object)).join('---\n')

/** The API server takes a moment to follow a new policy. */
const ACTIVE_MS = 90_000

const probe = (namespace: string): object => ({
  apiVersion: 'connectors.alauda.io/v1alpha1',
  kind: 'AccessRequest',
  metadata: { name: 'policy-probe', namespace },
  spec: {
    subject: { kind: 'ServiceAccount', name: 'a', namespace: 'a' },
    connectorRef: { name: 'a', namespace: 'elsewhere' },
    context: { objectRef: { name: 'a', namespace: 'a' } },
  },
})

const refusedBy = async (policy: string, attempt: () => Promise<{ stderr: string }>): Promise<void> =>
  waitFor(`the policy ${policy}`, ACTIVE_MS, async () => (await attempt()).stderr.includes(policy))

/** Applies definitions, rights, policies, flags and templates, and waits until they are in force. Harmless when they are there already. */
export const applyShippedGround = async (cluster: ClusterAccess): Promise<void> => {
  const manifests = [...(await kustomize(cluster, 'connectors-crds')), ...(await kustomize(cluster, 'self-signed'))]
  const ground = manifests.filter(({ kind }) => !LEFT_OUT.has(kind))
  const definitions = ground.filter(({ kind }) => kind === 'CustomResourceDefinition')
  await cluster.kubectl(['apply', '--server-side', '-f', '-'], { input: yamlOf(ground) })
  await cluster.kubectl(['wait', '--for=condition=Established', '--timeout=90s', ...definitions.map(({ metadata }) => `crd/${metadata.name}`)])

  const namespace = await cluster.namespace('policy-probe')
  const apply = ['apply', '--dry-run=server', '-f', '-']
  await refusedBy(REQUEST_NAMESPACE.name, () => cluster.kubectl(apply, { input: yamlOf([probe(namespace)]), allowFailure: true }))
}

/** Waits until the policy on the status is in force, asked about a request that is there. */
export const awaitStatusPolicy = (cluster: ClusterAccess, namespace: string, request: string): Promise<void> =>
  refusedBy(REQUEST_STATUS.name, () =>
    cluster.kubectl(['patch', 'accessrequest', request, '-n', namespace, '--subresource=status', '--type=merge', '--dry-run=server', '-p', '{"status":{"contextUID":"probe"}}'], {
      allowFailure: true,
    }),
  )
