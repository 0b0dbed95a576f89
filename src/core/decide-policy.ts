import { POLICY_CONDITION, type AccessPolicy, type AccessPolicyStatus } from '../api/access-policy.ts'
import type { Connector } from '../api/connector.ts'
import { finding, toCondition, type Finding } from './conditions.ts'
import { selectsConnector } from './policy-match.ts'

/** More names than this are not listed in the status of a policy; the count in the message is right all the same. */
const LISTED_CONNECTORS = 500

const permissionFinding = ({ spec }: AccessPolicy): Finding => {
  if (spec.defaultPermission !== undefined)
    return finding('Unknown', 'NotInEffect', 'spec.defaultPermission is accepted, but not in effect yet: nobody gets a permission without checks')
  if (spec.checkGrantedPermission === undefined) return finding('Unknown', 'NoPermission', 'the policy has neither defaultPermission nor checkGrantedPermission and has no effect')
  return finding('True', 'GrantedAfterChecks', 'the permission is granted after the checks of a request have passed, until its Pod ends')
}

/**
 * The status of a policy.
 * @param connectors all Connectors of the policy's namespace
 * @param now milliseconds since the epoch
 */
export const decideAccessPolicy = (policy: AccessPolicy, connectors: readonly Connector[], now: number): AccessPolicyStatus => {
  const matched = connectors
    .filter((connector) => connector.metadata.deletionTimestamp === undefined && selectsConnector(policy.spec, connector))
    .map(({ metadata }) => metadata.name)
    .toSorted()
  const found =
    matched.length === 0
      ? finding('False', 'NoConnector', 'the policy selects no Connector of its namespace')
      : finding('True', 'Matched', `the policy selects ${matched.length} Connector${matched.length === 1 ? '' : 's'}`)
  const permission = permissionFinding(policy)
  const ready = found.status !== 'True' ? found : permission
  const generation = policy.metadata.generation
  const condition = (type: string, next: Finding) =>
    toCondition(
      type,
      next,
      policy.status?.conditions?.find((previous) => previous.type === type),
      { now, generation },
    )
  return {
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    matchedConnectors: matched.slice(0, LISTED_CONNECTORS).map((name) => ({ name })),
    conditions: [condition(POLICY_CONDITION.connectorsMatched, found), condition(POLICY_CONDITION.permissionSynced, permission), condition(POLICY_CONDITION.ready, ready)],
  }
}
