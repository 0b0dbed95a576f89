import { test } from 'tap'
import type { AccessPolicy } from '../../src/api/access-policy.ts'
import type { Connector } from '../../src/api/connector.ts'
import { reconcilePolicy } from '../../src/controller/access-policy.ts'
import { createCaches } from '../../src/controller/caches.ts'
import { CodedError } from '../../src/errors.ts'
import { ACCESS_POLICIES } from '../../src/kube/resources.ts'
import { logLines } from '../support/log-lines.ts'
import { memoryKube, type MemoryKube } from '../support/memory-kube.ts'
import { conditionOf, connectorOf, NOW, policyOf, policySpecOf, T0, type Line } from '../support/request-facts.ts'

const KEY = 'connectors-shared/ask'

const ground = (policy: AccessPolicy, connectors: readonly Connector[]): { kube: MemoryKube; reconcile: () => Promise<void>; status: () => AccessPolicy['status'] } => {
  const kube = memoryKube({ now: () => NOW })
  const caches = createCaches(logLines().log)
  caches.policies.put(kube.put(ACCESS_POLICIES, policy))
  for (const [index, connector] of connectors.entries()) caches.connectors.put({ ...connector, metadata: { ...connector.metadata, resourceVersion: String(index + 1) } })
  return {
    kube,
    reconcile: () => reconcilePolicy({ writer: kube, caches, clock: { now: () => NOW } }, KEY),
    status: () => kube.all(ACCESS_POLICIES)[0]?.status,
  }
}
const statusOf = (names: string[], matched: Line, synced: Line, ready: Line): AccessPolicy['status'] => ({
  observedGeneration: 1,
  matchedConnectors: names.map((name) => ({ name })),
  conditions: [conditionOf('ConnectorsMatched', matched), conditionOf('PermissionSynced', synced), conditionOf('Ready', ready)],
})

const checked = policySpecOf()
const byDefault: AccessPolicy['spec'] = { defaultPermission: { roleTemplate: { ref: { configMap: { name: 'whole-account' } } }, bindingTemplate: { serviceAccounts: [{ names: [] }] } } }
const AFTER_CHECKS: Line = 'True/GrantedAfterChecks the permission is granted after the checks of a request have passed, until its Pod ends'
const NOT_IN_EFFECT: Line = 'Unknown/NotInEffect spec.defaultPermission is accepted, but not in effect yet: nobody gets a permission without checks'
const NO_PERMISSION: Line = 'Unknown/NoPermission the policy has neither defaultPermission nor checkGrantedPermission and has no effect'
const NO_CONNECTOR: Line = 'False/NoConnector the policy selects no Connector of its namespace'

const POLICIES: Record<string, { spec: AccessPolicy['spec']; connectors: Connector[]; status: AccessPolicy['status'] }> = {
  'every Connector of its namespace, by name': {
    spec: checked,
    connectors: [connectorOf({ name: 'b' }), connectorOf({ name: 'a' }), connectorOf({ name: 'far', namespace: 'other' })],
    status: statusOf(['a', 'b'], 'True/Matched the policy selects 2 Connectors', AFTER_CHECKS, AFTER_CHECKS),
  },
  'a Connector by its label': {
    spec: { ...checked, connector: { matchLabels: { tier: 'prod' } } },
    connectors: [connectorOf({ name: 'b', labels: { tier: 'prod' } }), connectorOf({ name: 'a' })],
    status: statusOf(['b'], 'True/Matched the policy selects 1 Connector', AFTER_CHECKS, AFTER_CHECKS),
  },
  'none': { spec: { ...checked, connector: { names: ['other'] } }, connectors: [connectorOf()], status: statusOf([], NO_CONNECTOR, AFTER_CHECKS, NO_CONNECTOR) },
  'none but one that is being deleted': { spec: checked, connectors: [connectorOf({ deletionTimestamp: T0 })], status: statusOf([], NO_CONNECTOR, AFTER_CHECKS, NO_CONNECTOR) },
  'one, with a default permission': {
    spec: byDefault,
    connectors: [connectorOf()],
    status: statusOf(['prod-harbor'], 'True/Matched the policy selects 1 Connector', NOT_IN_EFFECT, NOT_IN_EFFECT),
  },
  'one, with both permissions': {
    spec: { ...byDefault, ...checked },
    connectors: [connectorOf()],
    status: statusOf(['prod-harbor'], 'True/Matched the policy selects 1 Connector', NOT_IN_EFFECT, NOT_IN_EFFECT),
  },
  'one, without a permission': { spec: {}, connectors: [connectorOf()], status: statusOf(['prod-harbor'], 'True/Matched the policy selects 1 Connector', NO_PERMISSION, NO_PERMISSION) },
}
for (const [name, { spec, connectors, status: expected }] of Object.entries(POLICIES)) {
  await test(`the status of a policy that selects ${name}, and no second write of it`, async (t) => {
    const { kube, reconcile, status } = ground(policyOf('ask', spec), connectors)
    await reconcile()
    t.strictSame(status(), expected)
    await reconcile()
    t.equal(kube.writes().length, 1)
  })
}

await test('only the status is written, on the version that was read', async (t) => {
  const policy = policyOf('ask', checked, { labels: { a: 'b' } })
  const { kube, reconcile } = ground(policy, [])
  const [before] = kube.all(ACCESS_POLICIES)
  await reconcile()
  t.match(kube.writes(), [{ verb: 'replaceStatus', body: { apiVersion: 'connectors.alauda.io/v1alpha1', kind: 'AccessPolicy', metadata: { resourceVersion: before?.metadata.resourceVersion } } }])
  const [after] = kube.all(ACCESS_POLICIES)
  t.strictSame([after?.spec, after?.metadata.labels, after?.metadata.generation], [checked, { a: 'b' }, 1])
})

await test('a policy that is being deleted, or is gone, has no status to write', async (t) => {
  const leaving = ground(policyOf('ask', checked, { deletionTimestamp: T0, finalizers: ['x'] }), [])
  await leaving.reconcile()
  const other = ground(policyOf('other', checked), [])
  await other.reconcile()
  t.strictSame([leaving.kube.calls, other.kube.calls], [[], []])
})

await test('a policy that goes while its status is written is no failure; one that changed is looked at again', async (t) => {
  const gone = ground(policyOf('ask', checked), [])
  gone.kube.drop(ACCESS_POLICIES, 'connectors-shared', 'ask')
  await t.resolves(gone.reconcile())
  const changed = ground(policyOf('ask', checked), [])
  changed.kube.put(ACCESS_POLICIES, policyOf('ask', byDefault))
  await t.rejects(changed.reconcile(), { code: 'KUBE_CONFLICT' })
  const broken = ground(policyOf('ask', checked), [])
  broken.kube.fail('replaceStatus', ACCESS_POLICIES, new CodedError('KUBE_UNAVAILABLE', 'no answer'))
  await t.rejects(broken.reconcile(), { code: 'KUBE_UNAVAILABLE' })
})
