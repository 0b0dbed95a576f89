/** Admission requests as the API server sends them, some 4 KB each with managedFields. Pure; one of a number differs from its neighbours as in real life. */
import { ADMISSION_API_VERSION, ADMISSION_KIND, type Operation } from '../../src/api/admission-review.ts'
import { API_VERSION, CSI_DRIVER, GROUP, VERSION } from '../../src/api/names.ts'
import { buildRequest, type ConnectorKey } from '../../src/core/request-identity.ts'

const TIME = '2026-01-15T10:00:00Z'

/** The same for the same number; of the form of a uid. */
export const uidOf = (kind: number, number: number): string => `${kind.toString(16).padStart(8, '0')}-5a1e-4c3d-9b2f-${number.toString(16).padStart(12, '0')}`

const USER = {
  username: 'system:serviceaccount:argocd:argocd-application-controller',
  uid: uidOf(1, 1),
  groups: ['system:serviceaccounts', 'system:serviceaccounts:argocd', 'system:authenticated'],
  extra: {
    'authentication.kubernetes.io/credential-id': [`JTI=${uidOf(1, 2)}`],
    'authentication.kubernetes.io/node-name': ['worker-3.example.internal'],
    'authentication.kubernetes.io/node-uid': [uidOf(1, 3)],
    'authentication.kubernetes.io/pod-name': ['argocd-application-controller-0'],
    'authentication.kubernetes.io/pod-uid': [uidOf(1, 4)],
  },
}

interface Question {
  number: number
  group: string
  version: string
  kind: string
  resource: string
  name: string
  namespace: string
  operation: Operation
  object: object
  oldObject: object | null
}

const FIELD_MANAGER = 'argocd-controller'

const reviewOf = ({ number, group, version, kind, resource, operation, name, namespace, object, oldObject }: Question): string =>
  JSON.stringify({
    kind: ADMISSION_KIND,
    apiVersion: ADMISSION_API_VERSION,
    request: {
      uid: uidOf(2, number),
      kind: { group, version, kind },
      resource: { group, version, resource },
      requestKind: { group, version, kind },
      requestResource: { group, version, resource },
      name,
      namespace,
      operation,
      userInfo: USER,
      object,
      oldObject,
      dryRun: false,
      options:
        operation === 'CREATE'
          ? { kind: 'CreateOptions', apiVersion: 'meta.k8s.io/v1', fieldManager: FIELD_MANAGER, fieldValidation: 'Strict' }
          : { kind: 'UpdateOptions', apiVersion: 'meta.k8s.io/v1', fieldManager: FIELD_MANAGER, fieldValidation: 'Strict' },
    },
  })

/** Set by the API server for every field that somebody has set: `f:` and its name, down to the leaves. */
const fieldsOf = (value: unknown): object =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.fromEntries([['.', {}], ...Object.entries(value).map(([name, inner]) => [`f:${name}`, fieldsOf(inner)])])
    : {}

const managed = (manager: string, operation: 'Apply' | 'Update', fields: object, subresource?: string): object => ({
  apiVersion: API_VERSION,
  fieldsType: 'FieldsV1',
  fieldsV1: fieldsOf(fields),
  manager,
  operation,
  time: TIME,
  ...(subresource === undefined ? {} : { subresource }),
})

const requestQuestion = (number: number): Pick<Question, 'number' | 'group' | 'version' | 'kind' | 'resource' | 'name' | 'namespace'> => ({
  number,
  group: GROUP,
  version: VERSION,
  kind: 'AccessRequest',
  resource: 'accessrequests',
  name: `prod-harbor-build-pod-${number}`,
  namespace: 'connectors-shared',
})

/** Sparse, as people write it: what is left out is for the mutating hook. */
const sparseSpec = (number: number) => ({
  subject: { kind: 'ServiceAccount', name: 'builder', namespace: 'cicd' },
  connectorRef: { name: 'prod-harbor' },
  context: { objectRef: { name: `build-pod-${number}`, namespace: 'cicd', uid: uidOf(3, number) } },
})

const fullSpec = (number: number) => ({ ...sparseSpec(number), context: { objectRef: { apiVersion: 'v1', kind: 'Pod', ...sparseSpec(number).context.objectRef } } })

const deployLabels = { 'app.kubernetes.io/instance': 'release-42', 'app.kubernetes.io/managed-by': 'Helm', 'app.kubernetes.io/name': 'build', 'helm.sh/chart': 'build-1.14.2', 'tekton.dev/pipelineRun': 'release-42' }

/** A request that a delivery tool applies: labels, annotations, and its own copy of what it applied. */
const appliedRequest = (number: number, spec: object): object => {
  const { name, namespace } = requestQuestion(number)
  const written = { apiVersion: API_VERSION, kind: 'AccessRequest', metadata: { annotations: {}, labels: deployLabels, name, namespace }, spec }
  const metadata = {
    annotations: {
      'argocd.argoproj.io/sync-wave': '5',
      'argocd.argoproj.io/tracking-id': `release-42:${GROUP}/AccessRequest:${namespace}/${name}`,
      'kubectl.kubernetes.io/last-applied-configuration': `${JSON.stringify(written)}\n`,
      'meta.helm.sh/release-name': 'release-42',
      'meta.helm.sh/release-namespace': 'cicd',
    },
    labels: deployLabels,
  }
  return {
    apiVersion: API_VERSION,
    kind: 'AccessRequest',
    metadata: { ...metadata, name, namespace, managedFields: [managed(FIELD_MANAGER, 'Update', { metadata, spec })] },
    spec,
  }
}

/** CREATE, before the mutating hook. */
export const sparseRequestReview = (number: number): string =>
  reviewOf({ ...requestQuestion(number), operation: 'CREATE', object: appliedRequest(number, sparseSpec(number)), oldObject: null })

/** CREATE, after it. */
export const fullRequestReview = (number: number): string =>
  reviewOf({ ...requestQuestion(number), operation: 'CREATE', object: appliedRequest(number, fullSpec(number)), oldObject: null })

const condition = (type: string, status: string, reason: string, message: string): object => ({ type, status, reason, message, lastTransitionTime: TIME, observedGeneration: 1 })

/** A request that the Pod hook made, waiting for its approval. */
const waitingRequest = (number: number, annotations: Record<string, string>): object => {
  const connector = { namespace: 'connectors-shared', name: 'prod-harbor' }
  const pod = { namespace: 'cicd', name: `build-pod-${number}`, uid: uidOf(3, number) }
  const { metadata, ...rest } = buildRequest({ connector, pod, serviceAccount: 'builder' }, 'system:serviceaccount:tekton-pipelines:tekton-pipelines-controller')
  const status = {
    observedGeneration: 1,
    contextUID: pod.uid,
    conditions: [
      condition('ContextObjectValid', 'True', 'Active', ''),
      condition('AccessCheckReady', 'Unknown', 'Pending', `waiting for ApprovalTask with labels tekton.dev/pipelineRun=release-${number}`),
    ],
  }
  const { labels, finalizers } = metadata
  return {
    ...rest,
    metadata: {
      ...metadata,
      annotations: { ...metadata.annotations, ...annotations },
      creationTimestamp: TIME,
      generation: 1,
      managedFields: [
        managed('access-gate', 'Update', { metadata: { annotations: metadata.annotations, finalizers, labels }, spec: rest.spec }),
        managed('access-gate', 'Update', { status: { observedGeneration: 1, contextUID: '', conditions: [] } }, 'status'),
      ],
      resourceVersion: String(48_000 + number),
      uid: uidOf(4, number),
    },
    status,
  }
}

/** UPDATE of an annotation: both objects, and a spec that is the same. */
export const updateReview = (number: number): string =>
  reviewOf({
    ...requestQuestion(number),
    operation: 'UPDATE',
    object: waitingRequest(number, { 'example.com/seen-by': 'the dashboard' }),
    oldObject: waitingRequest(number, {}),
  })

/** How a Pod with our volume is asked about: its name, uid and namespace, and the Connector that it wants. */
export interface ReviewedPod {
  number: number
  namespace: string
  name: string
  connector: ConnectorKey
}

const TOKEN_VOLUME = {
  name: 'kube-api-access-ngzgb',
  projected: {
    sources: [
      { serviceAccountToken: { expirationSeconds: 3607, path: 'token' } },
      { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
      { downwardAPI: { items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }] } },
    ],
    defaultMode: 420,
  },
}

const toleration = (key: string): object => ({ key, operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 })

/** @param stored with what the API server adds before the validating hooks: uid, time and status */
const podReview = ({ number, namespace, name, connector }: ReviewedPod, stored: boolean): string => {
  const labels = { 'tekton.dev/pipelineRun': `release-${number}`, 'tekton.dev/pipelineTask': 'build', 'tekton.dev/taskRun': `release-${number}-build`, 'app.kubernetes.io/managed-by': 'tekton-pipelines' }
  const annotations = { 'pipeline.tekton.dev/release': 'v1.9.0', 'tekton.dev/categories': 'Build Tools', 'tekton.dev/displayName': 'build and push' }
  const volume = { name: 'harbor', csi: { driver: CSI_DRIVER, readOnly: true, volumeAttributes: { connectors: `${connector.namespace}/${connector.name}` } } }
  const container = { name: 'step-build', image: 'registry.example/build:1', imagePullPolicy: 'IfNotPresent', resources: {}, terminationMessagePath: '/tekton/termination', terminationMessagePolicy: 'File' }
  const spec = {
    volumes: [volume, TOKEN_VOLUME],
    containers: [
      {
        ...container,
        volumeMounts: [
          { name: 'harbor', readOnly: true, mountPath: '/connectors/harbor' },
          { name: TOKEN_VOLUME.name, readOnly: true, mountPath: '/var/run/secrets/kubernetes.io/serviceaccount' },
        ],
      },
    ],
    restartPolicy: 'Never',
    terminationGracePeriodSeconds: 30,
    dnsPolicy: 'ClusterFirst',
    serviceAccountName: 'builder',
    serviceAccount: 'builder',
    securityContext: {},
    schedulerName: 'default-scheduler',
    tolerations: [toleration('node.kubernetes.io/not-ready'), toleration('node.kubernetes.io/unreachable')],
    priority: 0,
    enableServiceLinks: true,
    preemptionPolicy: 'PreemptLowerPriority',
  }
  const ownFields = { metadata: { annotations, labels }, spec: { containers: { step: container }, dnsPolicy: '', restartPolicy: '', schedulerName: '', serviceAccountName: '', volumes: { harbor: volume } } }
  const metadata = {
    name,
    namespace,
    ...(stored ? { uid: uidOf(5, number), generation: 1, creationTimestamp: TIME } : {}),
    labels,
    annotations,
    ownerReferences: [{ apiVersion: 'tekton.dev/v1', kind: 'TaskRun', name: `release-${number}-build`, uid: uidOf(6, number), controller: true, blockOwnerDeletion: true }],
    managedFields: [{ ...managed('controller', 'Update', ownFields), apiVersion: 'v1' }],
  }
  const status = stored ? { phase: 'Pending', qosClass: 'BestEffort' } : {}
  const object = { kind: 'Pod', apiVersion: 'v1', metadata, spec, status }
  return reviewOf({ number, group: '', version: 'v1', kind: 'Pod', resource: 'pods', name, namespace, operation: 'CREATE', object, oldObject: null })
}

export const mutatePodReview = (pod: ReviewedPod): string => podReview(pod, false)
export const validatePodReview = (pod: ReviewedPod): string => podReview(pod, true)
