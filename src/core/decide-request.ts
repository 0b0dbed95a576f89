import { CONDITION, REASON } from '../api/access-request.ts'
import { isRejection } from './check.ts'
import { conditionOf, finding, isFinal } from './conditions.ts'
import type { Decision } from './effects.ts'
import { judgeConnector, judgePod, UNWATCHED_POD_POLL_MS } from './judge-context.ts'
import { matchingPolicies } from './policy-match.ts'
import { connectorText, deleteObservedGrants, hasFinalizer, mayHaveGrants, podText, record, reject, revokeGrants, startPass, type Pass, type RequestFacts } from './request-pass.ts'
import { resolveTemplates, runChecks, snapshotsOf } from './run-checks.ts'
import { syncGrants } from './sync-grants.ts'
import { parseTime } from './time.ts'

/** How long a finished request is kept, in milliseconds. */
export const FINISHED_RETENTION_MS = 24 * 60 * 60 * 1000
/** How soon a check that failed is tried again, in milliseconds, should no event about it come before. */
export const RETRY_MS = 60_000

/** The request was deleted: its finalizer waits for the grants to go, nothing else. */
const release = (pass: Pass): void => {
  const { request, facts, effects } = pass
  const mayEnd = mayHaveGrants(pass) && !isFinal(request.status)
  const tell = (): void => effects.event('Normal', 'AccessRevoked', 'Revoke', `Access of ${podText(request)} to ${connectorText(request)} was revoked: the request was deleted`)
  if (!hasFinalizer(pass)) {
    // Somebody took it off. The event first: once the grants are gone nothing would tell of them any more.
    if (mayEnd && facts.grants.roles.length + facts.grants.bindings.length > 0) tell()
    return deleteObservedGrants(pass)
  }
  revokeGrants(pass)
  if (mayEnd) tell()
  effects.removeFinalizer()
}

/** A finished request stays for a day, without grants. */
const retain = (pass: Pass): void => {
  const { request, now } = pass
  deleteObservedGrants(pass)
  const ended = parseTime(conditionOf(request.status, CONDITION.accessPermissionSync)?.lastTransitionTime) ?? now
  const left = ended + FINISHED_RETENTION_MS - now
  if (left > 0) pass.effects.requeueAfter(left)
  else pass.effects.deleteRequest()
}

/** @returns whether policies are matched, now or before; otherwise the pass is over */
const matchPolicies = (pass: Pass): boolean => {
  const { facts, request, findings } = pass
  if (pass.policies.length > 0 || facts.connector === undefined) return pass.policies.length > 0
  const matched = matchingPolicies(facts.policies, facts.connector)
  if (matched.length === 0) {
    findings.AccessPolicyMatched = finding('False', REASON.noMatched, `no AccessPolicy in namespace ${request.metadata.namespace ?? ''} grants ${connectorText(request)} after checks`)
    findings.AccessCheckReady = finding('Unknown', REASON.pending, 'no policy says what to check')
    findings.AccessPermissionSync = finding('Unknown', REASON.pending, 'no policy says what to grant')
    record(pass)
    return false
  }
  if (!facts.confirmed) {
    pass.effects.confirm()
    return false
  }
  pass.connectorUID = facts.connector.metadata.uid
  pass.policies = snapshotsOf(matched)
  findings.AccessPolicyMatched = finding('True', REASON.matched, `matched by AccessPolicy ${matched.map(({ metadata }) => metadata.name).join(', ')}`)
  return true
}

/** With the feature off nothing is evaluated or granted; what is granted stays until its Pod ends, its Connector goes or a check turns. */
const hold = (pass: Pass, message: string): void => {
  if (pass.passed) {
    const checks = runChecks(pass, [])
    if (isRejection(checks)) return reject(pass, checks)
    return syncGrants(pass, new Map())
  }
  const waiting = finding('Unknown', REASON.pending, message)
  pass.findings.AccessCheckReady = waiting
  pass.findings.AccessPermissionSync = waiting
  record(pass)
}

const evaluate = (pass: Pass): void => {
  const { facts, findings, effects } = pass
  const missing = resolveTemplates(pass)
  const checks = runChecks(pass, missing.checks)
  if (isRejection(checks)) return reject(pass, checks)
  if (pass.passed) return syncGrants(pass, missing.rules)
  const leaving = facts.pod.state === 'live' && facts.pod.pod.metadata.deletionTimestamp !== undefined
  const refusedRules = [...missing.rules].map(([policy, why]) => `AccessPolicy ${policy}: ${why}`)
  findings.AccessPermissionSync =
    refusedRules.length > 0 ? finding('False', REASON.syncFailed, refusedRules.join('; ')) : finding('Unknown', REASON.pending, 'waiting for the checks')
  findings.AccessCheckReady = checks
  if (checks.status === 'True') {
    if (leaving) findings.AccessCheckReady = finding('Unknown', REASON.pending, 'the checks have passed, but no grant is started for a terminating Pod')
    else if (!facts.confirmed) return effects.confirm()
    else if (!hasFinalizer(pass)) return effects.addFinalizer()
  }
  record(pass)
  if (missing.checks.length > 0 || missing.rules.size > 0 || checks.reason === REASON.failed) effects.requeueAfter(RETRY_MS)
}

/**
 * What to do about one request. Pure; calling it again after its effects were applied leads to the next step, and
 * to no effects when everything is as it should be. The status that says "passed" is written before a Role exists,
 * the status that says "cleaned up" after it is gone, so that a crash between two writes leaves nothing unaccounted for.
 * @param now milliseconds since the epoch
 */
export const decideAccessRequest = (facts: RequestFacts, now: number): Decision => {
  const pass = startPass(facts, now)
  const { request, effects } = pass
  if (request.metadata.deletionTimestamp !== undefined) release(pass)
  else if (isFinal(request.status)) retain(pass)
  else {
    // Before everything has passed there is no grant of ours; what claims to be one goes.
    if (!pass.passed) deleteObservedGrants(pass)
    if (facts.pod.state === 'live' && !facts.podWatched) effects.requeueAfter(UNWATCHED_POD_POLL_MS)
    if (judgePod(pass) && judgeConnector(pass)) {
      if (facts.flags.state !== 'on') hold(pass, facts.flags.message)
      else if (matchPolicies(pass)) evaluate(pass)
    }
  }
  return effects.decision()
}
