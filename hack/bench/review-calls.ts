/** A ConnectionAccessReview and the two calls that it makes, as bodies and paths; and how the API server reaches the extension. */
import { SERVICE_ACCOUNT, serviceAccountUser, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { WORKSPACE_API_VERSION, WORKSPACE_GROUP } from '../../src/api/workspace.ts'
import { connectionQuestion } from '../../src/core/connection-review.ts'
import { readAnswer } from '../control-plane/api-call.ts'
import type { ControlPlane } from '../control-plane/start.ts'
import { memberOf, TEAM, WORKSPACE } from './extension-ground.ts'

/** Users that are asked about, round and round. */
export const USERS = 200
export const REVIEWS_PATH = `/apis/connection.workspace.jupyter.org/v1alpha1/namespaces/${TEAM}/connectionaccessreviews`
export const WORKSPACE_PATH = `/apis/${WORKSPACE_API_VERSION}/namespaces/${TEAM}/workspaces/${WORKSPACE}`
export const SUBJECT_REVIEWS_PATH = '/apis/authorization.k8s.io/v1/subjectaccessreviews'
export const EXTENSION_NAME = 'access-gate-extension.connectors-system.svc'
const API_SERVICE = '/apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.connection.workspace.jupyter.org'

/** With apiVersion and kind, as kubectl sends it. */
export const reviewOf = (number: number): object => ({
  apiVersion: 'connection.workspace.jupyter.org/v1alpha1',
  kind: 'ConnectionAccessReview',
  metadata: { namespace: TEAM },
  spec: { workspaceName: WORKSPACE, ...memberOf(number) },
})

const { verb, namespace, group, resource, subresource } = connectionQuestion({ reviewGroup: WORKSPACE_GROUP, reviewResource: 'workspaces/connection' }, TEAM)
/** What the extension asks RBAC. */
export const RESOURCE_ATTRIBUTES = { verb, namespace, group, resource, subresource }

/** What the extension asks for that review. */
export const subjectReviewOf = (number: number): object => ({
  apiVersion: 'authorization.k8s.io/v1',
  kind: 'SubjectAccessReview',
  spec: { ...memberOf(number), resourceAttributes: RESOURCE_ATTRIBUTES },
})

export interface FrontProxy {
  /** PEM, of the extension's certificate. */
  caPem: string
  certificate: { cert: string; key: string }
  /** What the API server says of auth. */
  headers: Record<string, string>
}

/** What the API server goes to the extension with. */
export const frontProxyOf = async ({ call, requestHeader }: Pick<ControlPlane, 'call' | 'requestHeader'>): Promise<FrontProxy> => {
  const service: { spec: { caBundle: string } } = JSON.parse(readAnswer(await call('GET', API_SERVICE), 'the APIService'))
  return {
    caPem: Buffer.from(service.spec.caBundle, 'base64').toString('utf8'),
    certificate: { cert: requestHeader.clientCertPem, key: requestHeader.clientKeyPem },
    headers: { 'x-remote-user': serviceAccountUser(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.auth), 'x-remote-group': 'system:authenticated' },
  }
}
