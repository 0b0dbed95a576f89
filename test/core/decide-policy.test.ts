import { test } from 'tap'
import type { AccessPolicyStatus } from '../../src/api/access-policy.ts'
import { decideAccessPolicy } from '../../src/core/decide-policy.ts'
import { after, conditionOf, connectorOf, NOW, policyOf, policySpecOf, type Line } from '../support/request-facts.ts'

const defaultPermission = { roleTemplate: { ref: { configMap: { name: 'in-pod' } } }, bindingTemplate: { serviceAccounts: [{}] } }
const two = [connectorOf({ name: 'b' }), connectorOf({ name: 'a' })]
const AFTER_CHECKS: Line = 'True/GrantedAfterChecks the permission is granted after the checks of a request have passed, until its Pod ends'
const NOT_IN_EFFECT: Line = 'Unknown/NotInEffect spec.defaultPermission is accepted, but not in effect yet: nobody gets a permission without checks'
const NO_EFFECT: Line = 'Unknown/NoPermission the policy has neither defaultPermission nor checkGrantedPermission and has no effect'
const SELECTS_TWO: Line = 'True/Matched the policy selects 2 Connectors'
const SELECTS_NONE: Line = 'False/NoConnector the policy selects no Connector of its namespace'

const statusOf = (names: string[], [matched, synced, ready]: [Line, Line, Line], time?: string): AccessPolicyStatus => ({
  observedGeneration: 1,
  matchedConnectors: names.map((name) => ({ name })),
  conditions: [conditionOf('ConnectorsMatched', matched, time), conditionOf('PermissionSynced', synced, time), conditionOf('Ready', ready, time)],
})
const versioned = { generation: 1 }

const STATUSES: Record<string, { policy: ReturnType<typeof policyOf>; connectors?: typeof two; is: AccessPolicyStatus }> = {
  'a policy with checks is ready once it selects a Connector': {
    policy: policyOf('ask', policySpecOf(), versioned),
    is: statusOf(['a', 'b'], [SELECTS_TWO, AFTER_CHECKS, AFTER_CHECKS]),
  },
  'a policy that selects nothing is not ready': {
    policy: policyOf('ask', policySpecOf(), versioned),
    connectors: [],
    is: statusOf([], [SELECTS_NONE, AFTER_CHECKS, SELECTS_NONE]),
  },
  'a Connector that is being deleted is not selected': {
    policy: policyOf('ask', policySpecOf(), versioned),
    connectors: [connectorOf({ deletionTimestamp: after(0) }), connectorOf({ name: 'a' })],
    is: statusOf(['a'], ['True/Matched the policy selects 1 Connector', AFTER_CHECKS, AFTER_CHECKS]),
  },
  'a default permission is told to be not in effect': {
    policy: policyOf('ask', { defaultPermission }, versioned),
    is: statusOf(['a', 'b'], [SELECTS_TWO, NOT_IN_EFFECT, NOT_IN_EFFECT]),
  },
  'also beside checks': {
    policy: policyOf('ask', { ...policySpecOf(), defaultPermission }, versioned),
    is: statusOf(['a', 'b'], [SELECTS_TWO, NOT_IN_EFFECT, NOT_IN_EFFECT]),
  },
  'a policy without any permission has no effect': { policy: policyOf('ask', {}, versioned), is: statusOf(['a', 'b'], [SELECTS_TWO, NO_EFFECT, NO_EFFECT]) },
}
for (const [name, { policy, connectors = two, is }] of Object.entries(STATUSES)) {
  await test(name, async (t) => {
    const status = decideAccessPolicy(policy, connectors, NOW)
    t.strictSame(status, is)
    t.strictSame(decideAccessPolicy({ ...policy, status }, connectors, NOW + 60_000), status, 'and says the same later, with the same times')
  })
}

await test('a condition that changes has the time of its change', async (t) => {
  const policy = policyOf('ask', policySpecOf(), versioned)
  const status = decideAccessPolicy(policy, [], NOW)
  t.strictSame(
    decideAccessPolicy({ ...policy, status }, two, NOW + 60_000).conditions?.map(({ lastTransitionTime }) => lastTransitionTime),
    [after(60), after(0), after(60)],
  )
})

await test('a policy that was never stored has no generation', async (t) => {
  t.equal(decideAccessPolicy(policyOf(), two, NOW).observedGeneration, undefined)
})

await test('more names than anyone reads are counted, not listed', async (t) => {
  const many = Array.from({ length: 1_200 }, (_, index) => connectorOf({ name: `c-${index}` }))
  const status = decideAccessPolicy(policyOf(), many, NOW)
  t.equal(status.matchedConnectors?.length, 500)
  t.equal(status.conditions?.[0]?.message, 'the policy selects 1200 Connectors')
})
