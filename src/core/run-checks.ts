import { REASON, type MatchedCheck, type PolicySnapshot } from '../api/access-request.ts'
import type { AccessPolicy } from '../api/access-policy.ts'
import type { Pod } from '../api/pod.ts'
import { messageOf } from '../errors.ts'
import { boundedResults, describeCheck, isRejection, matchCheck, recheck, resolveCheck, type Templates } from './check.ts'
import { finding, type Finding } from './conditions.ts'
import { renderRules } from './grant.ts'
import { matchingPolicies } from './policy-match.ts'
import type { Pass, RequestFacts } from './request-pass.ts'

/** Whether every template of these snapshots was read: nothing about them changes any more. */
export const isResolved = (policies: readonly PolicySnapshot[]): boolean =>
  policies.every(({ policySpec, checks, rules }) => {
    const spec = policySpec.checkGrantedPermission?.spec
    return spec === undefined || (rules !== undefined && spec.checks.every(({ name }) => (checks ?? []).some((check) => check.name === name)))
  })

/** What could not be taken from the templates, and why. */
interface Missing {
  checks: string[]
  rules: Map<string, string>
}

/** Takes what is still missing from the templates: each part is taken once, and never again. */
const takeTemplates = (policies: readonly PolicySnapshot[], templates: Templates, pod: Pod): { policies: PolicySnapshot[]; missing: Missing } => {
  const missing: Missing = { checks: [], rules: new Map() }
  const taken = policies.map((policy) => {
    const spec = policy.policySpec.checkGrantedPermission?.spec
    if (spec === undefined) return policy
    const checks = spec.checks.flatMap((rule) => {
      // Admission refuses it; results are known by the name of their check, and one would stand for the other.
      if (spec.checks.filter(({ name }) => name === rule.name).length > 1) {
        missing.checks.push(`check "${rule.name}" of AccessPolicy ${policy.name} cannot be evaluated: its name is not unique`)
        return []
      }
      const known = policy.checks?.find(({ name }) => name === rule.name)
      if (known !== undefined) return [known]
      try {
        return [resolveCheck(rule, templates, pod)]
      } catch (error) {
        missing.checks.push(`check "${rule.name}" of AccessPolicy ${policy.name} cannot be evaluated: ${messageOf(error)}`)
        return []
      }
    })
    if (policy.rules !== undefined) return { ...policy, checks }
    try {
      const { rules, unbound } = renderRules(spec.roleTemplate.ref.configMap.name, templates, pod)
      return { ...policy, checks, rules, ...(unbound ? { unbound } : {}) }
    } catch (error) {
      missing.rules.set(policy.name, messageOf(error))
      return { ...policy, checks }
    }
  })
  return { policies: taken, missing }
}

/** @returns what could not be taken */
export const resolveTemplates = (pass: Pass): Missing => {
  const { facts } = pass
  if (facts.pod.state !== 'live') return { checks: [], rules: new Map() }
  const { policies, missing } = takeTemplates(pass.policies, facts.templates, facts.pod.pod)
  pass.policies = policies
  return missing
}

export const snapshotsOf = (matched: readonly AccessPolicy[]): PolicySnapshot[] => matched.map(({ metadata, spec }) => ({ name: metadata.name, policySpec: spec }))

type Surroundings = Pick<RequestFacts, 'request' | 'flags' | 'connector' | 'policies' | 'templates' | 'pod'>

/** The policies on record, or else those that match, with every template taken that can be: what there is to look for before a decision. */
export const plannedPolicies = ({ request, flags, connector, policies, templates, pod }: Surroundings): PolicySnapshot[] => {
  const recorded = request.status?.policies ?? []
  if (recorded.length === 0 && flags.state !== 'on') return []
  const planned = recorded.length > 0 || connector === undefined ? recorded : snapshotsOf(matchingPolicies(policies, connector))
  return pod.state === 'live' && !isResolved(planned) ? takeTemplates(planned, templates, pod.pod).policies : planned
}

const isOnRecord = ({ request }: Pass, policy: string, check: string): boolean =>
  (request.status?.policies?.find(({ name }) => name === policy)?.checks ?? []).some(({ name }) => name === check)

/** Runs the checks of all policies and keeps their results. @returns the finding over everything: AND, a rejection wins, nothing found is a wait */
export const runChecks = (pass: Pass, unresolved: readonly string[]): Finding => {
  const { facts, request, passed, now } = pass
  if (facts.pod.state !== 'live') return finding('Unknown', REASON.pending, 'the Pod is not live')
  const { pod } = facts.pod
  const results: Finding[] = unresolved.map((message) => finding('False', REASON.failed, message))
  pass.policies = pass.policies.map((policy) => {
    const checks = policy.checks ?? []
    if (checks.length === 0 && unresolved.length === 0) results.push(finding('Unknown', REASON.pending, `AccessPolicy ${policy.name} has no checks, so nothing can pass`))
    const matchedChecks = checks.flatMap((check): MatchedCheck[] => {
      const fact = facts.checks(policy.name, check.name)
      const recorded = (policy.matchedChecks ?? []).filter(({ name }) => name === check.name)
      const found = passed ? recheck(check, fact, recorded, pod, now) : matchCheck(check, fact, recorded, pod, now)
      const { kept, problem } = boundedResults(check, found, recorded)
      if (problem !== undefined) results.push(finding('False', REASON.failed, problem))
      // What a check is, is on record before it passes: a confirmation reads for what is on record.
      const matched = isOnRecord(pass, policy.name, check.name) ? kept : kept.filter(({ condition }) => condition.status !== 'True')
      results.push(...matched.map(({ condition: { status, reason, message } }) => finding(status, reason, message)))
      for (const { condition } of kept) if (!matched.some((one) => one.condition === condition)) results.push(finding('Unknown', REASON.pending, `${condition.message}; it is read once more before it counts`))
      if (!passed && 'unreadable' in fact) results.push(fact.failed ? finding('False', REASON.failed, fact.unreadable) : finding('Unknown', REASON.pending, fact.unreadable))
      else if (kept.length === 0) results.push(finding('Unknown', REASON.pending, `there is no ${describeCheck(check, request.spec.context.objectRef.namespace)} yet`))
      return matched
    })
    return { ...policy, matchedChecks }
  })
  const rejected = results.find(isRejection)
  if (rejected !== undefined) return finding('False', REASON.rejected, rejected.message)
  // Once everything was recorded as passed, only a rejection changes that.
  if (passed) return pass.findings.AccessCheckReady
  const failed = results.find(({ status }) => status === 'False')
  if (failed !== undefined) return finding('False', REASON.failed, failed.message)
  const waiting = results.filter(({ status }) => status !== 'True')
  if (waiting.length > 0) return finding('Unknown', REASON.pending, waiting.map(({ message }) => message).join('; '))
  if (results.length === 0) return finding('Unknown', REASON.pending, 'there is nothing that could pass')
  return finding('True', REASON.passed, results.map(({ message }) => message).join('; '))
}
