/** Which change in the world leads to which requests and policies. */
import { test } from 'tap'
import type { AccessRequest } from '../../src/api/access-request.ts'
import type { KubeObject } from '../../src/api/meta.ts'
import { createCaches, type Caches } from '../../src/controller/caches.ts'
import { OwnWrites } from '../../src/controller/own-writes.ts'
import { splitKey, wireRequeue, type CheckRequeue } from '../../src/controller/requeue.ts'
import { logLines } from '../support/log-lines.ts'
import {
  APPROVAL_TASKS,
  configMapOf,
  connectorOf,
  grantOf,
  matchedOf,
  podOf,
  policyOf,
  policySpecOf,
  requestOf,
  resolvedCheck,
  snapshotOf,
  statusOf,
  taskOf,
} from '../support/request-facts.ts'
import { flagsOf } from '../support/request-world.ts'

const { apiVersion, kind } = APPROVAL_TASKS
let versions = 100
/** The next version of an object, as a watch tells it. */
const next = <T extends KubeObject>(object: T, metadata: Partial<T['metadata']> = {}): T => {
  versions += 1
  return { ...object, metadata: { generation: 1, ...object.metadata, ...metadata, resourceVersion: String(versions) } }
}

const forPod = (name: string, namespace = 'cicd'): AccessRequest['spec']['context'] => ({ objectRef: { apiVersion: 'v1', kind: 'Pod', name, namespace, uid: `uid-of-${name}` } })
const request = (name: string, options: Parameters<typeof requestOf>[0] = {}): AccessRequest =>
  requestOf({ ...options, spec: { context: forPod(name), ...options.spec }, metadata: { name, uid: `uid-of-${name}`, ...options.metadata } })

const refTo = (name: string) => policySpecOf([{ name: 'approval', ref: { configMap: { name } } }])
/** All of Connector prod-harbor in connectors-shared but the last two. */
const REQUESTS: readonly AccessRequest[] = [
  request('new'),
  request('template', { status: statusOf({}, [{ name: 'ask', policySpec: refTo('run-approval') }]) }),
  request('waiting', { status: statusOf({}, [snapshotOf()]) }),
  request('by-name', { status: statusOf({}, [snapshotOf({ checks: [{ name: 'approval', ...APPROVAL_TASKS, objectName: 'deploy' }] })]) }),
  request('cel', { status: statusOf({}, [snapshotOf({ checks: [resolvedCheck('approval', { matchLabels: { run: 'run-2' }, cel: 'object.x' })] })]) }),
  request('granted', { status: statusOf({ check: 'True/Passed ok' }, [snapshotOf({ checks: [resolvedCheck('approval', { matchLabels: { run: 'run-3' } })], matchedChecks: [matchedOf(taskOf('deploy', 'approved'), 'True/Passed ok')] })]) }),
  request('final', { status: statusOf({ sync: 'True/PermissionCleanUp gone' }, [snapshotOf()]) }),
  request('elsewhere', { metadata: { namespace: 'other' } }),
  request('neighbour', { spec: { connectorRef: { name: 'other' } }, status: statusOf({}, [snapshotOf({ checks: [{ name: 'scan', apiVersion: 'example.com/v1', kind: 'Scan', objectName: 'x' }] })]) }),
]
const OPEN = ['by-name', 'cel', 'elsewhere', 'granted', 'neighbour', 'new', 'template', 'waiting']
const POLICIES = [policyOf('ask'), policyOf('scan'), policyOf('far', undefined, { namespace: 'other' })]

interface Touched {
  requests?: string[]
  policies?: string[]
}
type Change = (world: { caches: Caches; checks: CheckRequeue; own: OwnWrites }) => void

const touch = (change: Change): Required<Touched> => {
  const caches = createCaches(logLines().log)
  for (const object of REQUESTS) caches.requests.apply({ type: 'ADDED', object: next(object) })
  for (const object of POLICIES) caches.policies.apply({ type: 'ADDED', object: next(object) })
  caches.connectors.apply({ type: 'ADDED', object: next(connectorOf()) })
  for (const { metadata } of REQUESTS) caches.pods.apply({ type: 'ADDED', object: next(podOf({ metadata: { name: metadata.name, uid: `uid-of-${metadata.name}` } })) })
  const requests: string[] = []
  const policies: string[] = []
  const own = new OwnWrites(() => undefined)
  const checks = wireRequeue(caches, own, { request: (key) => requests.push(splitKey(key).name), policy: (key) => policies.push(splitKey(key).name) })
  change({ caches, checks, own })
  return { requests: requests.toSorted(), policies: policies.toSorted() }
}

const podChanges =
  (name: string, more: Parameters<typeof podOf>[0] & { type?: 'MODIFIED' | 'DELETED'; annotations?: Record<string, string> } = {}): Change =>
  ({ caches }) =>
    caches.pods.apply({
      type: more.type ?? 'MODIFIED',
      object: next(podOf({ ...more, metadata: { name, uid: `uid-of-${name}`, ...more.metadata, ...(more.annotations === undefined ? {} : { annotations: more.annotations }) } })),
    })
const connectorChanges =
  (type: 'ADDED' | 'MODIFIED' | 'DELETED', metadata: Parameters<typeof connectorOf>[0] = {}, rest: object = {}): Change =>
  ({ caches }) =>
    caches.connectors.apply({ type, object: next({ ...connectorOf(metadata), ...rest }) })
const checkChanges =
  (object: ReturnType<typeof taskOf>, old?: ReturnType<typeof taskOf>): Change =>
  ({ checks }) =>
    checks.onCheckObject(apiVersion, kind, object, old)
const { role, binding } = grantOf('ask', undefined, REQUESTS.find(({ metadata }) => metadata.name === 'granted') ?? requestOf())

const CHANGES: Record<string, { change: Change; touches: Touched }> = {
  'a request comes': { change: ({ caches }) => caches.requests.apply({ type: 'ADDED', object: next(request('fresh')) }), touches: { requests: ['fresh'] } },
  'a request changes': { change: ({ caches }) => caches.requests.apply({ type: 'MODIFIED', object: next(request('new'), { labels: { a: 'b' } }) }), touches: { requests: ['new'] } },
  'a final request changes': { change: ({ caches }) => caches.requests.apply({ type: 'MODIFIED', object: next(request('final')) }), touches: { requests: ['final'] } },
  'a request goes': { change: ({ caches }) => caches.requests.apply({ type: 'DELETED', object: next(request('new')) }), touches: { requests: ['new'] } },
  'a reconcile places the answer to its own write': { change: ({ caches, own }) => own.place(() => caches.requests.put(next(request('new')))), touches: {} },

  'a Pod finishes': { change: podChanges('waiting', { phase: 'Succeeded' }), touches: { requests: ['waiting'] } },
  'a Pod is to be deleted': { change: podChanges('granted', { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } }), touches: { requests: ['granted'] } },
  'a Pod goes': { change: podChanges('granted', { type: 'DELETED' }), touches: { requests: ['granted'] } },
  'a Pod is replaced': { change: podChanges('granted', { metadata: { uid: 'successor' } }), touches: { requests: ['granted', 'granted'] } },
  'a Pod gets another label': { change: podChanges('waiting', { metadata: { labels: { a: 'b' } } }), touches: { requests: ['waiting'] } },
  'a Pod of that name in another namespace': { change: podChanges('waiting', { metadata: { namespace: 'other' } }), touches: {} },
  'the Pod of a final request goes': { change: podChanges('final', { type: 'DELETED' }), touches: {} },
  'an annotation of a Pod, which no decision reads': { change: podChanges('waiting', { annotations: { a: 'b' } }), touches: {} },
  'an annotation of a Pod that an expression may read': { change: podChanges('cel', { annotations: { a: 'b' } }), touches: { requests: ['cel'] } },
  'an annotation of a Pod that a template may name': { change: podChanges('template', { annotations: { a: 'b' } }), touches: { requests: ['template'] } },

  'a Connector comes': { change: connectorChanges('ADDED', { name: 'other', uid: 'connector-2' }), touches: { requests: ['neighbour'], policies: ['ask', 'scan'] } },
  'a Connector is to be deleted': {
    change: connectorChanges('MODIFIED', { deletionTimestamp: '2026-01-01T00:00:00Z' }),
    touches: { requests: ['by-name', 'cel', 'granted', 'new', 'template', 'waiting'], policies: ['ask', 'scan'] },
  },
  'a Connector gets another label': {
    change: connectorChanges('MODIFIED', { labels: { tier: 'prod' } }),
    touches: { requests: ['by-name', 'cel', 'granted', 'new', 'template', 'waiting'], policies: ['ask', 'scan'] },
  },
  'a Connector goes': { change: connectorChanges('DELETED'), touches: { requests: ['by-name', 'cel', 'granted', 'new', 'template', 'waiting'], policies: ['ask', 'scan'] } },
  'a heartbeat of a Connector': { change: connectorChanges('MODIFIED', {}, { status: { conditions: [{ type: 'Ready', lastHeartbeat: '12:00' }] } }), touches: {} },

  'a policy comes': { change: ({ caches }) => caches.policies.apply({ type: 'ADDED', object: next(policyOf('fresh')) }), touches: { requests: ['new'], policies: ['fresh'] } },
  'the spec of a policy changes': { change: ({ caches }) => caches.policies.apply({ type: 'MODIFIED', object: next(policyOf('ask'), { generation: 2 }) }), touches: { requests: ['new'], policies: ['ask'] } },
  'a policy goes': { change: ({ caches }) => caches.policies.apply({ type: 'DELETED', object: next(policyOf('ask')) }), touches: { requests: ['new'] } },
  'a policy of another namespace': { change: ({ caches }) => caches.policies.apply({ type: 'MODIFIED', object: next(policyOf('far', undefined, { namespace: 'other' }), { generation: 2 }) }), touches: { requests: ['elsewhere'], policies: ['far'] } },
  'the status of a policy alone': { change: ({ caches }) => caches.policies.apply({ type: 'MODIFIED', object: { ...next(policyOf('ask')), status: { matchedConnectors: [] } } }), touches: {} },

  'a template comes': { change: ({ caches }) => caches.configMaps.apply({ type: 'ADDED', object: next(configMapOf('run-approval', {})) }), touches: { requests: ['template'] } },
  'a template goes': {
    change: ({ caches }) => {
      caches.configMaps.apply({ type: 'ADDED', object: next(configMapOf('in-pod', {})) })
      caches.configMaps.apply({ type: 'DELETED', object: next(configMapOf('in-pod', {})) })
    },
    touches: { requests: ['template', 'template'] },
  },
  'a ConfigMap that nobody awaits': { change: ({ caches }) => caches.configMaps.apply({ type: 'ADDED', object: next(configMapOf('whole-account', {})) }), touches: {} },
  'the flags change': { change: ({ caches }) => caches.configMaps.apply({ type: 'ADDED', object: next(flagsOf('false')) }), touches: { requests: OPEN } },

  'a check object comes that a selector finds': { change: checkChanges(taskOf('fresh', 'pending')), touches: { requests: ['waiting'] } },
  'a check object comes of a name that a selector gives': { change: checkChanges(taskOf('deploy', 'pending', { uid: 'new', labels: {} })), touches: { requests: ['by-name'] } },
  'a check object gets the label': { change: checkChanges(taskOf('fresh', 'pending'), taskOf('fresh', 'pending', { labels: {} })), touches: { requests: ['waiting'] } },
  'a check object loses the label': { change: checkChanges(taskOf('fresh', 'pending', { labels: { run: 'run-9' } }), taskOf('fresh', 'pending')), touches: { requests: ['waiting'] } },
  'a recorded check object changes, by its uid': { change: checkChanges(taskOf('renamed', 'rejected', { uid: 'uid-of-deploy', labels: {} })), touches: { requests: ['granted'] } },
  'a check object that a request selects and has on record': { change: checkChanges(taskOf('deploy', 'rejected', { labels: { run: 'run-3' } })), touches: { requests: ['by-name', 'granted'] } },
  'a check object of another namespace': { change: ({ checks }) => checks.onCheckObject(apiVersion, kind, { metadata: { name: 'deploy', namespace: 'other', uid: 'x', labels: { run: 'run-1' } } }), touches: {} },
  'an object of another kind': { change: ({ checks }) => checks.onCheckObject('example.com/v1', 'Scan', { metadata: { name: 'deploy', namespace: 'cicd', uid: 'x', labels: { run: 'run-1' } } }), touches: {} },
  'a check object that nobody cares for': { change: checkChanges(taskOf('stranger', 'approved', { labels: { run: 'run-9' } })), touches: {} },
  'a kind of checks can be read': { change: ({ checks }) => checks.onCheckKind(apiVersion, kind), touches: { requests: ['by-name', 'cel', 'granted', 'waiting'] } },
  'a kind of checks of one request': { change: ({ checks }) => checks.onCheckKind('example.com/v1', 'Scan'), touches: { requests: ['neighbour'] } },

  'a Role comes': { change: ({ caches }) => caches.roles.apply({ type: 'ADDED', object: next(role) }), touches: { requests: ['granted'] } },
  'a RoleBinding goes': {
    change: ({ caches }) => {
      caches.bindings.apply({ type: 'ADDED', object: next(binding) })
      caches.bindings.apply({ type: 'DELETED', object: next(binding) })
    },
    touches: { requests: ['granted', 'granted'] },
  },
  'a Role changes its owner': {
    change: ({ caches, own }) => {
      own.place(() => caches.roles.put(next(role)))
      caches.roles.apply({ type: 'MODIFIED', object: next(role, { ownerReferences: [{ apiVersion: 'connectors.alauda.io/v1alpha1', kind: 'AccessRequest', name: 'new', uid: 'x' }] }) })
    },
    touches: { requests: ['granted', 'new'] },
  },
  'a Role loses its owner': {
    change: ({ caches, own }) => {
      own.place(() => caches.roles.put(next(role)))
      caches.roles.apply({ type: 'MODIFIED', object: next(role, { ownerReferences: [] }) })
    },
    touches: { requests: ['granted'] },
  },
  'a Role without an owner': { change: ({ caches }) => caches.roles.apply({ type: 'ADDED', object: next(role, { ownerReferences: [], annotations: {} }) }), touches: {} },
  'a Role whose owner reference somebody took off': { change: ({ caches }) => caches.roles.apply({ type: 'ADDED', object: next(role, { ownerReferences: [] }) }), touches: { requests: ['granted'] } },
  'a reconcile places its own Role and RoleBinding': {
    change: ({ caches, own }) =>
      own.place(() => {
        caches.roles.put(next(role))
        caches.bindings.put(next(binding))
      }),
    touches: {},
  },
}
for (const [name, { change, touches }] of Object.entries(CHANGES)) {
  await test(`what is looked at again when there is this change: ${name}`, (t) => {
    t.strictSame(touch(change), { requests: [], policies: [], ...touches })
    t.end()
  })
}

await test('a key is namespace and name', (t) => {
  t.strictSame([splitKey('ns/name'), splitKey('/name')], [{ namespace: 'ns', name: 'name' }, { namespace: '', name: 'name' }])
  t.end()
})
