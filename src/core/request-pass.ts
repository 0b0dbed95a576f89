import { CONDITION, REASON, type AccessRequest, type AccessRequestStatus, type PolicySnapshot } from '../api/access-request.ts'
import type { AccessPolicy } from '../api/access-policy.ts'
import type { Connector } from '../api/connector.ts'
import type { Condition } from '../api/meta.ts'
import { CLEANUP_FINALIZER } from '../api/names.ts'
import type { CheckFact, Templates } from './check.ts'
import { checksRecordedAsPassed, everyCheckRecordedAsPassed, finding, findingsOf, toCondition, toConditions, type Finding, type Findings } from './conditions.ts'
import { Effects } from './effects.ts'
import type { Flags } from './feature-flags.ts'
import { grantNames, type ObservedGrants } from './grant.ts'
import type { PodFact } from './pod-context.ts'

/** The world as one request sees it. Whatever could not be read is no fact: gathering fails instead, and is tried again. */
export interface RequestFacts {
  request: AccessRequest
  flags: Flags
  pod: PodFact
  /** undefined: the API server has none of that name, or only one that is being deleted. One of another uid than the matched one is no older one from a cache. */
  connector: Connector | undefined
  /** All policies of the request's namespace. */
  policies: readonly AccessPolicy[]
  templates: Templates
  /** For a policy and a check, by name, of those on record; also of those that plannedPolicies adds, but these may come from a cache. */
  checks: (policy: string, check: string) => CheckFact
  grants: ObservedGrants
  /** Why the last attempt to write a policy's grant failed, by policy name. */
  grantErrors: ReadonlyMap<string, string>
  /** All of the above were read from the API server itself within this reconcile, not from a cache. Nothing is granted before. */
  confirmed: boolean
  /** A watch tells about changes of the Pod; without one it is asked for again and again. */
  podWatched: boolean
}

/** Everything that one pass over the facts works on; the parts of the decision below read and write it. */
export interface Pass {
  facts: RequestFacts
  now: number
  request: AccessRequest
  findings: Findings
  policies: PolicySnapshot[]
  contextUID: string | undefined
  connectorUID: string | undefined
  effects: Effects
  /** All checks were recorded as passed before this pass: a grant may be made. */
  passed: boolean
}

/** @param now milliseconds since the epoch */
export const startPass = (facts: RequestFacts, now: number): Pass => {
  const { request } = facts
  return {
    facts,
    now,
    request,
    findings: findingsOf(request.status),
    policies: request.status?.policies ?? [],
    contextUID: request.status?.contextUID,
    connectorUID: request.status?.connectorUID,
    effects: new Effects(),
    passed: everyCheckRecordedAsPassed(request.status),
  }
}

export const podText = ({ spec }: AccessRequest): string => `Pod ${spec.context.objectRef.namespace}/${spec.context.objectRef.name}`
export const connectorText = ({ metadata, spec }: AccessRequest): string => `Connector ${metadata.namespace ?? ''}/${spec.connectorRef.name}`

const recordOf = (pass: Pass): AccessRequestStatus => ({
  ...(pass.request.metadata.generation === undefined ? {} : { observedGeneration: pass.request.metadata.generation }),
  ...(pass.contextUID === undefined ? {} : { contextUID: pass.contextUID }),
  ...(pass.connectorUID === undefined ? {} : { connectorUID: pass.connectorUID }),
  conditions: toConditions(pass.findings, pass.request.status, { now: pass.now, generation: pass.request.metadata.generation }),
  ...(pass.policies.length === 0 ? {} : { policies: pass.policies }),
})

export const record = (pass: Pass): void => pass.effects.writeStatus(pass.request.status, recordOf(pass))

export const hasFinalizer = ({ request }: Pass): boolean => (request.metadata.finalizers ?? []).includes(CLEANUP_FINALIZER)

/** Whether there may be grants of ours; whatever else says that it belongs to the request is none. */
export const mayHaveGrants = ({ request }: Pass): boolean => checksRecordedAsPassed(request.status)

/** Whatever is seen to say that it belongs to the request goes. */
export const deleteObservedGrants = ({ request, facts, effects }: Pass): void => effects.deleteGrants(grantNames(request, [], facts.grants))

/** Also grants that are not seen yet. */
export const revokeGrants = (pass: Pass): void => pass.effects.deleteGrants(grantNames(pass.request, mayHaveGrants(pass) ? pass.policies : [], pass.facts.grants))

/** Ends the request for good: first whatever was granted goes, then the status says so. */
export const cleanUp = (pass: Pass, why: string): void => {
  const had = mayHaveGrants(pass)
  if (had) revokeGrants(pass)
  // Before the status: should the write of the status fail, the same event is sent again and known by its name.
  if (had) pass.effects.event('Normal', 'AccessRevoked', 'Revoke', `Access of ${podText(pass.request)} to ${connectorText(pass.request)} was revoked: ${why}`)
  const message = had ? `the temporary permission was removed: ${why}` : `nothing was granted: ${why}`
  pass.findings.AccessPermissionSync = finding('True', REASON.permissionCleanUp, message)
  const condition = (previous: Condition | undefined): Condition =>
    toCondition(CONDITION.accessPermissionSync, pass.findings.AccessPermissionSync, previous, { now: pass.now, generation: undefined })
  pass.policies = pass.policies.map((policy) => ({ ...policy, permissionSync: condition(policy.permissionSync) }))
  record(pass)
}

/** Refused: nothing revives the request. */
export const reject = (pass: Pass, why: Finding): void => {
  pass.findings.AccessCheckReady = why
  pass.effects.event('Warning', 'AccessRejected', 'Refuse', `${podText(pass.request)} does not get ${connectorText(pass.request)}: ${why.message}`)
  cleanUp(pass, why.message)
}

