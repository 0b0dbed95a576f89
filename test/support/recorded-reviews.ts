/** AdmissionReviews as an API server sends them, one for each hook, with all that surrounds the object. */

const MANAGED = [{ manager: 'kubectl-client-side-apply', operation: 'Update', apiVersion: 'connectors.alauda.io/v1alpha1', time: '2026-01-02T03:04:05Z', fieldsType: 'FieldsV1', fieldsV1: { 'f:spec': { '.': {}, 'f:subject': {} } } }]

const USER = { username: 'alice', uid: '3f1c', groups: ['developers', 'system:authenticated'], extra: { 'authentication.kubernetes.io/credential-id': ['JTI=1'] } }
const CONTROLLER = { username: 'system:serviceaccount:connectors-system:access-gate-controller', uid: '9a0b', groups: ['system:serviceaccounts', 'system:serviceaccounts:connectors-system', 'system:authenticated'] }

interface Asked {
  group: string
  kind: string
  resource: string
  version: string
  namespace: string
  object: { metadata: { name: string } }
  operation?: string
  oldObject?: object
  subResource?: string
  userInfo?: object
}

const reviewOf = ({ group, kind, resource, version, namespace, object, operation = 'CREATE', oldObject, subResource, userInfo = USER }: Asked): object => ({
  kind: 'AdmissionReview',
  apiVersion: 'admission.k8s.io/v1',
  request: {
    uid: '705ab4f5-6393-11e8-b7cc-42010a800002',
    kind: { group, version, kind },
    resource: { group, version, resource },
    requestKind: { group, version, kind },
    requestResource: { group, version, resource },
    ...(subResource === undefined ? {} : { subResource, requestSubResource: subResource }),
    name: object.metadata.name,
    namespace,
    operation,
    userInfo,
    object,
    oldObject: oldObject ?? null,
    dryRun: false,
    options: { kind: operation === 'CREATE' ? 'CreateOptions' : 'UpdateOptions', apiVersion: 'meta.k8s.io/v1', fieldManager: 'kubectl-client-side-apply', fieldValidation: 'Strict' },
  },
})

const accessRequest = {
  apiVersion: 'connectors.alauda.io/v1alpha1',
  kind: 'AccessRequest',
  metadata: {
    name: 'harbor-build',
    namespace: 'shared',
    uid: 'b1f7c0de-0000-4000-8000-000000000001',
    creationTimestamp: '2026-01-02T03:04:05Z',
    generation: 1,
    labels: { team: 'a' },
    annotations: { 'kubectl.kubernetes.io/last-applied-configuration': '{"apiVersion":"connectors.alauda.io/v1alpha1"}\n' },
    finalizers: ['connectors.alauda.io/access-cleanup'],
    managedFields: MANAGED,
  },
  spec: {
    subject: { kind: 'ServiceAccount', name: 'builder', namespace: 'cicd' },
    connectorRef: { name: 'harbor', namespace: 'shared' },
    context: { objectRef: { apiVersion: 'v1', kind: 'Pod', name: 'build-7x9k2', namespace: 'cicd', uid: 'b1f7c0de-0000-4000-8000-000000000002' } },
  },
}
const storedRequest = { ...accessRequest, metadata: { ...accessRequest.metadata, resourceVersion: '4711', annotations: { 'connectors.alauda.io/requested-by': 'bob' } } }
const judgedRequest = { ...storedRequest, status: { contextUID: 'b1f7c0de-0000-4000-8000-000000000002', conditions: [{ type: 'Ready', status: 'Unknown', reason: 'Pending', message: 'waiting', lastTransitionTime: '2026-01-02T03:04:06Z' }] } }

const accessPolicy = {
  apiVersion: 'connectors.alauda.io/v1alpha1',
  kind: 'AccessPolicy',
  metadata: { name: 'approved-builds', namespace: 'shared', uid: 'b1f7c0de-0000-4000-8000-000000000003', creationTimestamp: '2026-01-02T03:04:05Z', generation: 1, managedFields: MANAGED },
  spec: {
    connector: { names: ['harbor'] },
    defaultPermission: {
      roleTemplate: { ref: { configMap: { name: 'connectors-read' } } },
      bindingTemplate: { serviceAccounts: [{ names: ['builder'], namespaceSelector: { matchLabels: { team: 'a' } } }] },
    },
    checkGrantedPermission: {
      spec: {
        checks: [
          { name: 'approval', ref: { configMap: { name: 'connectors-approvals-in-pipeline' } }, params: [{ name: 'approvers', value: ['alice', 'group:leads'] }] },
          {
            name: 'scan',
            spec: {
              selector: {
                objectRef: { apiVersion: 'example.com/v1', kind: 'Scan', name: 'scan-{.object.metadata.name}' },
                matchLabels: { run: '{.object.metadata.name}' },
                matchExpressions: [{ key: 'stage', operator: 'In', values: ['prod'] }],
              },
              state: { cel: 'object.status.ok ? "passed" : "pending"' },
            },
          },
        ],
        roleTemplate: { ref: { configMap: { name: 'connectors-use-connectors-proxy-in-pod' } } },
      },
    },
  },
}

const pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name: 'build-7x9k2',
    generateName: 'build-',
    namespace: 'cicd',
    uid: 'b1f7c0de-0000-4000-8000-000000000002',
    creationTimestamp: '2026-01-02T03:04:05Z',
    labels: { app: 'build', 'tekton.dev/pipelineRun': 'run-1' },
    annotations: { note: 'x' },
    ownerReferences: [{ apiVersion: 'batch/v1', kind: 'Job', name: 'build', uid: 'b1f7c0de-0000-4000-8000-000000000004', controller: true, blockOwnerDeletion: true }],
    managedFields: MANAGED,
  },
  spec: {
    serviceAccountName: 'builder',
    restartPolicy: 'Never',
    containers: [{ name: 'main', image: 'registry.example/build:1', resources: {}, volumeMounts: [{ name: 'use', mountPath: '/use' }], imagePullPolicy: 'IfNotPresent' }],
    volumes: [
      { name: 'data', emptyDir: {} },
      { name: 'use', csi: { driver: 'connectors-csi', readOnly: true, volumeAttributes: { connectors: 'shared/harbor, git', 'token.expiration': '30m', 'configuration.names': 'a,!b' } } },
    ],
    tolerations: [{ key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 }],
  },
  status: { phase: 'Pending', qosClass: 'BestEffort' },
}

const OURS = { group: 'connectors.alauda.io', version: 'v1alpha1' }
const ofRequests = { ...OURS, kind: 'AccessRequest', resource: 'accessrequests', namespace: 'shared' }
const ofPolicies = { ...OURS, kind: 'AccessPolicy', resource: 'accesspolicies', namespace: 'shared' }
const ofPods = { group: '', version: 'v1', kind: 'Pod', resource: 'pods', namespace: 'cicd' }

const created = reviewOf({ ...ofRequests, object: accessRequest })
const updated = reviewOf({ ...ofRequests, operation: 'UPDATE', object: storedRequest, oldObject: storedRequest })

/** The hook that is asked, and what it is asked. */
export const RECORDED: readonly { path: string; review: object }[] = [
  { path: '/mutate/access-request', review: created },
  { path: '/mutate/access-request', review: updated },
  { path: '/validate/access-request', review: created },
  { path: '/validate/access-request', review: updated },
  { path: '/validate/access-request-status', review: reviewOf({ ...ofRequests, operation: 'UPDATE', subResource: 'status', object: judgedRequest, oldObject: storedRequest, userInfo: CONTROLLER }) },
  { path: '/validate/access-policy', review: reviewOf({ ...ofPolicies, object: accessPolicy }) },
  { path: '/validate/access-policy', review: reviewOf({ ...ofPolicies, operation: 'UPDATE', object: accessPolicy, oldObject: accessPolicy }) },
  { path: '/mutate/pod', review: reviewOf({ ...ofPods, object: pod }) },
  { path: '/validate/pod', review: reviewOf({ ...ofPods, object: pod }) },
]
