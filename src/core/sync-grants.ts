import { CONDITION, REASON } from '../api/access-request.ts'
import { approversOf } from './check.ts'
import { conditionOf, finding, toCondition, type Finding } from './conditions.ts'
import { buildGrant, grantState, strayNames, type Grant } from './grant.ts'
import { connectorText, hasFinalizer, podText, record, type Pass } from './request-pass.ts'

const syncOver = (parts: readonly Finding[]): Finding =>
  parts.find(({ status }) => status === 'False') ??
  parts.find(({ status }) => status === 'Unknown') ??
  parts.find(({ reason }) => reason === REASON.synced) ??
  finding('True', REASON.noPermissionRequired, 'the role templates grant nothing')

/** Brings the grants of a request whose checks have passed in place, and says for each policy how far that is. */
export const syncGrants = (pass: Pass, missingRules: ReadonlyMap<string, string>): void => {
  const { facts, request, policies, effects } = pass
  // Taken off by someone: without it a deleted request would leave its grants to a garbage collector.
  if (!hasFinalizer(pass)) return effects.addFinalizer()
  const recorded = new Set((request.status?.policies ?? []).flatMap(({ name, rules }) => (rules === undefined ? [] : [name])))
  // Rules that a template yielded just now are on record before a Role is made from them.
  if (policies.some(({ name, rules }) => rules !== undefined && !recorded.has(name))) return record(pass)
  const grants = policies.map((policy) => (policy.rules === undefined ? undefined : buildGrant(request, policy.name, policy.rules, pass.contextUID ?? '')))
  const wanted = grants.filter((grant): grant is Grant => grant !== undefined && grant.role.rules.length > 0)
  const mayWrite = facts.flags.state === 'on' && facts.pod.state === 'live' && facts.pod.pod.metadata.deletionTimestamp === undefined
  const complete = policies.every(({ rules }) => rules !== undefined)
  const parts = policies.map((policy, index): Finding => {
    const problem = missingRules.get(policy.name) ?? facts.grantErrors.get(policy.name) ?? (policy.rules === undefined ? 'its role template was not read yet' : undefined)
    if (problem !== undefined) return finding('False', REASON.syncFailed, `AccessPolicy ${policy.name}: ${problem}`)
    const grant = grants[index]
    if (grant === undefined || grant.role.rules.length === 0) return finding('True', REASON.noPermissionRequired, `the role template of AccessPolicy ${policy.name} grants nothing`)
    const state = grantState(grant, facts.grants)
    if (state === 'in-place') return finding('True', REASON.synced, `Role and RoleBinding ${grant.role.metadata.name} are in place`)
    if (!complete) return finding('Unknown', REASON.pending, 'nothing is granted before every policy can be')
    if (!mayWrite) return finding('Unknown', REASON.pending, facts.flags.state === 'on' ? 'no grant is started for a terminating Pod' : facts.flags.message)
    if (!facts.confirmed) effects.confirm()
    else {
      // The event first: after a crash right behind the write nothing would tell of the repair.
      if (policy.permissionSync?.reason === REASON.synced)
        effects.event('Warning', 'AccessRepaired', 'Repair', `Role and RoleBinding ${grant.role.metadata.name} of AccessPolicy ${policy.name} were ${state === 'missing' ? 'removed' : 'changed'} by someone else and are put back`)
      effects.applyGrant(grant)
    }
    return finding('Unknown', REASON.pending, `Role and RoleBinding ${grant.role.metadata.name} are being written`)
  })
  const strays = strayNames(wanted, facts.grants)
  if (strays.length > 0) effects.deleteGrants(strays)
  // A grant on its way is not recorded: the next pass, right after the write, records what came of it.
  if (effects.confirms || effects.grants) return
  pass.policies = policies.map((policy, index) => {
    const part = parts[index]
    if (part === undefined) return policy
    return { ...policy, permissionSync: toCondition(CONDITION.accessPermissionSync, part, policy.permissionSync, { now: pass.now, generation: undefined }) }
  })
  const before = conditionOf(request.status, CONDITION.accessPermissionSync)?.reason
  pass.findings.AccessPermissionSync = syncOver(parts)
  const granted = pass.findings.AccessPermissionSync.reason === REASON.synced
  if (granted && before !== REASON.synced) {
    const approvers = approversOf(policies)
    const unbound = policies.filter((policy) => policy.unbound === true).map(({ name }) => name)
    effects.event('Normal', 'AccessGranted', 'Grant', `${podText(request)} may use ${connectorText(request)} (AccessPolicy ${policies.map(({ name }) => name).join(', ')}${approvers.length === 0 ? '' : `; approved by ${approvers.join(', ')}`})`)
    if (unbound.length > 0)
      effects.event('Warning', 'UnboundGrant', 'Grant', `the role template of AccessPolicy ${unbound.join(', ')} reaches beyond ${podText(request)}: every Pod of its ServiceAccount may use ${connectorText(request)} meanwhile`)
  }
  record(pass)
  if (pass.findings.AccessPermissionSync.reason === REASON.syncFailed) effects.retry(pass.findings.AccessPermissionSync.message)
}
