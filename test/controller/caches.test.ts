import { test } from 'tap'
import type { AccessRequest, PolicySnapshot } from '../../src/api/access-request.ts'
import type { Connector } from '../../src/api/connector.ts'
import type { KubeObject } from '../../src/api/meta.ts'
import { ANNOTATION, API_VERSION } from '../../src/api/names.ts'
import type { Pod } from '../../src/api/pod.ts'
import { createCaches, isOwnedBy, ownerKeys, trimConnector, trimPod } from '../../src/controller/caches.ts'
import { logLines } from '../support/log-lines.ts'
import { grantOf, IN_POD_RULE, inlineCheck, matchedOf, policySpecOf, requestOf, snapshotOf, statusOf, taskOf } from '../support/request-facts.ts'

await test('of a Pod is kept what decisions read, and nothing else', (t) => {
  const ours = { name: 'harbor', csi: { driver: 'connectors-csi', readOnly: true, volumeAttributes: { connectors: 'prod-harbor' } } }
  const spec = { serviceAccountName: 'builder', nodeName: 'node-1', volumes: [{ name: 'other', csi: { driver: 'other' } }, { name: 'tmp' }, ours], containers: [{ name: 'main' }] }
  const status = { phase: 'Running', podIP: '10.0.0.1' }
  const pod: Pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: 'build-pod',
      namespace: 'cicd',
      uid: 'pod-1',
      resourceVersion: '7',
      generation: 2,
      creationTimestamp: '2026-01-01T00:00:00Z',
      deletionTimestamp: '2026-01-01T00:01:00Z',
      labels: { app: 'x' },
      annotations: { big: 'x'.repeat(1000) },
      finalizers: ['f'],
      ownerReferences: [{ apiVersion: 'v1', kind: 'X', name: 'x', uid: 'x' }],
    },
    spec,
    status,
  }
  t.strictSame(trimPod(pod), {
    metadata: { name: 'build-pod', namespace: 'cicd', uid: 'pod-1', resourceVersion: '7', deletionTimestamp: '2026-01-01T00:01:00Z', labels: { app: 'x' } },
    spec: { serviceAccountName: 'builder', volumes: [ours] },
    status: { phase: 'Running' },
  })
  t.strictSame(trimPod({ metadata: { name: 'bare' } }), { metadata: { name: 'bare' }, spec: { volumes: [] } })
  t.end()
})

await test('of a Connector is kept who it is, its labels and whether it is being deleted', (t) => {
  const connector: Connector = {
    metadata: { name: 'prod-harbor', namespace: 'connectors-shared', uid: 'c-1', resourceVersion: '7', generation: 3, annotations: { a: 'b' }, labels: { tier: 'prod' }, deletionTimestamp: '2026-01-01T00:00:00Z' },
    spec: { connectorClassName: 'harbor', address: 'https://harbor.example.com' },
    status: { conditions: [] },
  }
  t.strictSame(trimConnector(connector), {
    metadata: { name: 'prod-harbor', namespace: 'connectors-shared', uid: 'c-1', resourceVersion: '7', labels: { tier: 'prod' }, deletionTimestamp: '2026-01-01T00:00:00Z' },
  })
  t.strictSame(trimConnector({ metadata: { name: 'bare' } }), { metadata: { name: 'bare' } })
  t.end()
})

const owner = (more: Partial<NonNullable<KubeObject['metadata']['ownerReferences']>[number]>) => ({ apiVersion: API_VERSION, kind: 'AccessRequest', name: 'r', uid: 'u', ...more })
const OWNERS: Record<string, { object: KubeObject; keys: string[]; isOurs: boolean }> = {
  'no owner': { object: { metadata: { name: 'x', namespace: 'ns' } }, keys: [], isOurs: false },
  'a request': { object: { metadata: { name: 'x', namespace: 'ns', ownerReferences: [owner({})] } }, keys: ['ns/r'], isOurs: true },
  'two requests': { object: { metadata: { name: 'x', namespace: 'ns', ownerReferences: [owner({ name: 'a', uid: '1' }), owner({})] } }, keys: ['ns/a', 'ns/r'], isOurs: true },
  'another request of the name': { object: { metadata: { name: 'x', namespace: 'ns', ownerReferences: [owner({ uid: 'other' })] } }, keys: ['ns/r'], isOurs: false },
  'another kind': { object: { metadata: { name: 'x', namespace: 'ns', ownerReferences: [owner({ kind: 'AccessPolicy' })] } }, keys: [], isOurs: false },
  'another group': { object: { metadata: { name: 'x', namespace: 'ns', ownerReferences: [owner({ apiVersion: 'example.com/v1' })] } }, keys: [], isOurs: false },
  'a request, whose reference somebody took off': { object: { metadata: { name: 'x', namespace: 'ns', annotations: { [ANNOTATION.request]: 'r', [ANNOTATION.requestUid]: 'u' } } }, keys: ['ns/r'], isOurs: true },
  'a request by its reference, whatever the annotations say': {
    object: { metadata: { name: 'x', namespace: 'ns', ownerReferences: [owner({})], annotations: { [ANNOTATION.request]: 'other', [ANNOTATION.requestUid]: 'o' } } },
    keys: ['ns/r'],
    isOurs: true,
  },
}
for (const [name, { object, keys, isOurs }] of Object.entries(OWNERS)) {
  await test(`an object owned by ${name}`, (t) => {
    t.strictSame([ownerKeys(object), isOwnedBy(object, 'u'), isOwnedBy(object, undefined)], [keys, isOurs, false])
    t.end()
  })
}

const templated = (more: Partial<PolicySnapshot>): PolicySnapshot[] => [
  snapshotOf({ policySpec: policySpecOf([{ name: 'approval', ref: { configMap: { name: 'run-approval' } } }, inlineCheck('scan')]), ...more }),
]
const INDEXES = ['pod', 'connector', 'open', 'unmatched', 'template', 'check', 'kind'] as const
type Found = Partial<Record<(typeof INDEXES)[number], string[]>>
const everyone: Found = { pod: ['cicd/build-pod'], connector: ['connectors-shared/prod-harbor'], open: ['open'] }
const kind = ['openshift-pipelines.org/v1alpha1/ApprovalTask']
const check = ['openshift-pipelines.org/v1alpha1/ApprovalTask|cicd|label:run=run-1']
/** What the request is found under; nothing else of the values that are asked for. */
const STAGES: Record<string, { request: AccessRequest; found: Found }> = {
  'nothing looked at yet': { request: requestOf(), found: { ...everyone, unmatched: ['connectors-shared'] } },
  'no policy matched': { request: requestOf({ status: statusOf({}) }), found: { ...everyone, unmatched: ['connectors-shared'] } },
  'templates missing': {
    request: requestOf({ status: statusOf({}, [{ name: 'ask', policySpec: policySpecOf([{ name: 'approval', ref: { configMap: { name: 'run-approval' } } }]) }]) }),
    found: { ...everyone, template: ['run-approval', 'in-pod'] },
  },
  'the role template missing': { request: requestOf({ status: statusOf({}, [{ name: 'ask', policySpec: policySpecOf(), checks: snapshotOf().checks ?? [] }]) }), found: { ...everyone, template: ['in-pod'], check, kind } },
  'a check template missing': { request: requestOf({ status: statusOf({}, templated({ checks: [] })) }), found: { ...everyone, template: ['run-approval'] } },
  'waiting for a check': { request: requestOf({ status: statusOf({}, [snapshotOf()]) }), found: { ...everyone, check, kind } },
  'with recorded objects': {
    request: requestOf({ status: statusOf({}, [snapshotOf({ rules: [IN_POD_RULE], matchedChecks: [matchedOf(taskOf('deploy', 'approved'), 'True/Passed ok')] })]) }),
    found: { ...everyone, check: [...check, 'uid|uid-of-deploy'], kind },
  },
  'cleaned up': { request: requestOf({ status: statusOf({ sync: 'True/PermissionCleanUp gone' }, [snapshotOf({ matchedChecks: [matchedOf(taskOf('deploy', 'approved'), 'True/Passed ok')] })]) }), found: {} },
  'rejected': { request: requestOf({ status: statusOf({ check: 'False/Rejected no' }, [{ name: 'ask', policySpec: policySpecOf() }]) }), found: {} },
}
const VALUES: Record<(typeof INDEXES)[number], string[]> = {
  pod: ['cicd/build-pod', 'cicd/other'],
  connector: ['connectors-shared/prod-harbor', 'cicd/prod-harbor'],
  open: ['open'],
  unmatched: ['connectors-shared', 'cicd'],
  template: ['run-approval', 'in-pod'],
  check: [...check, 'openshift-pipelines.org/v1alpha1/ApprovalTask|connectors-shared|label:run=run-1', 'uid|uid-of-deploy'],
  kind,
}
for (const [name, { request, found }] of Object.entries(STAGES)) {
  await test(`where a request is found: ${name}`, (t) => {
    const caches = createCaches(logLines().log)
    caches.requests.apply({ type: 'ADDED', object: { ...request, metadata: { ...request.metadata, resourceVersion: '1' } } })
    const hits = INDEXES.map((index) => [index, VALUES[index].filter((value) => caches.requests.byIndex(index, value).length > 0)])
    t.strictSame(Object.fromEntries(hits), Object.fromEntries(INDEXES.map((index) => [index, found[index] ?? []])))
    t.end()
  })
}

const names = (objects: readonly KubeObject[]): string[] => objects.map(({ metadata }) => metadata.name)
await test('Roles and RoleBindings are found by their request, policies and Connectors by their namespace', (t) => {
  const caches = createCaches(logLines().log)
  const { role, binding } = grantOf()
  caches.roles.put({ ...role, metadata: { ...role.metadata, resourceVersion: '1' } })
  caches.bindings.put({ ...binding, metadata: { ...binding.metadata, resourceVersion: '1' } })
  caches.connectors.put({ metadata: { name: 'c', namespace: 'ns', resourceVersion: '1' } })
  caches.policies.put({ metadata: { name: 'p', namespace: 'ns', resourceVersion: '1' }, spec: {} })
  const key = 'connectors-shared/prod-harbor-build-pod'
  t.strictSame(
    [caches.roles.byIndex('owner', key), caches.bindings.byIndex('owner', key), caches.connectors.byIndex('namespace', 'ns'), caches.policies.byIndex('namespace', 'ns')].map(names),
    [[role.metadata.name], [role.metadata.name], ['c'], ['p']],
  )
  t.end()
})
