import type { AccessPolicy, AccessPolicySpec } from '../api/access-policy.ts'
import type { Connector } from '../api/connector.ts'
import { selectorMatches } from './label-selector.ts'

/**
 * Whether a policy's selector includes a Connector of its namespace. An empty selector includes every one.
 * Names together with labels are refused at admission; should such a policy exist all the same, either suffices,
 * since one policy more means checks more.
 */
export const selectsConnector = (spec: AccessPolicySpec, connector: Connector): boolean => {
  const { names, matchLabels, matchExpressions } = spec.connector ?? {}
  const byNames = names !== undefined && names.length > 0
  const byLabels = Object.keys(matchLabels ?? {}).length > 0 || (matchExpressions ?? []).length > 0
  if (!byNames && !byLabels) return true
  if (byNames && names.includes(connector.metadata.name)) return true
  return (
    byLabels &&
    selectorMatches(
      { ...(matchLabels === undefined ? {} : { matchLabels }), ...(matchExpressions === undefined ? {} : { matchExpressions }) },
      connector.metadata.labels,
    )
  )
}

/** The policies that ask for checks before this Connector may be used, by name. */
export const matchingPolicies = (policies: readonly AccessPolicy[], connector: Connector): AccessPolicy[] =>
  policies
    .filter((policy) => policy.spec.checkGrantedPermission !== undefined && selectsConnector(policy.spec, connector))
    .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
