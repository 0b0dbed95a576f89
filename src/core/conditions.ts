import { CONDITION, REASON, type AccessRequestStatus, type ConditionType } from '../api/access-request.ts'
import type { Condition, ConditionStatus } from '../api/meta.ts'
import { formatTime } from './time.ts'

/** What a condition says, before it has a time. */
export interface Finding {
  status: ConditionStatus
  reason: string
  message: string
}

/** Messages quote objects that others write; a longer one than this (characters) is cut. */
const MESSAGE_LIMIT = 1024

/** A message as it can be stored and shown: no control or direction-changing characters, not too long, and no half of a character at the cut. */
export const plainMessage = (text: string): string => {
  const message = text.replaceAll(/[\p{Cc}\p{Cf}]+/gu, ' ')
  return message.length <= MESSAGE_LIMIT ? message : `${message.slice(0, MESSAGE_LIMIT - 1).toWellFormed()}…`
}

export const finding = (status: ConditionStatus, reason: string, message: string): Finding => ({ status, reason, message: plainMessage(message) })

/** The order in which conditions are shown and in which the first one that is not True gives Ready its reason. */
const ORDER = [
  CONDITION.contextObjectValid,
  CONDITION.connectorResolved,
  CONDITION.accessPolicyMatched,
  CONDITION.accessCheckReady,
  CONDITION.accessPermissionSync,
] as const

export const conditionOf = (status: AccessRequestStatus | undefined, type: string): Condition | undefined =>
  status?.conditions?.find((condition) => condition.type === type)

/**
 * A finding as a condition. The transition time is that of the previous one while the status stays the same,
 * except when clean-up is recorded: its time starts the retention of a finished request.
 */
export const toCondition = (type: string, next: Finding, previous: Condition | undefined, at: { now: number; generation: number | undefined }): Condition => {
  const same = previous !== undefined && previous.status === next.status
  const closes = next.reason === REASON.permissionCleanUp && previous?.reason !== REASON.permissionCleanUp
  return {
    type,
    status: next.status,
    reason: next.reason,
    message: next.message,
    lastTransitionTime: same && !closes ? previous.lastTransitionTime : formatTime(at.now),
    ...(at.generation === undefined ? {} : { observedGeneration: at.generation }),
  }
}

export type Findings = Record<(typeof ORDER)[number], Finding>

/** What is known of a request before anything was looked at, or what its status says already. */
export const findingsOf = (status: AccessRequestStatus | undefined): Findings => {
  const of = (type: ConditionType): Finding => {
    const condition = conditionOf(status, type)
    return condition === undefined
      ? finding('Unknown', REASON.pending, 'not looked at yet')
      : finding(condition.status, condition.reason, condition.message)
  }
  return {
    ContextObjectValid: of(CONDITION.contextObjectValid),
    ConnectorResolved: of(CONDITION.connectorResolved),
    AccessPolicyMatched: of(CONDITION.accessPolicyMatched),
    AccessCheckReady: of(CONDITION.accessCheckReady),
    AccessPermissionSync: of(CONDITION.accessPermissionSync),
  }
}

/**
 * Ready: the first condition that is not True gives its status, reason and message. All True is ready only with
 * a permission that is in place: after clean-up, and when the templates grant nothing, it is False.
 */
export const readyFinding = (findings: Findings): Finding => {
  for (const type of ORDER) if (findings[type].status !== 'True') return findings[type]
  const sync = findings.AccessPermissionSync
  return sync.reason === REASON.synced ? finding('True', REASON.synced, sync.message) : finding('False', sync.reason, sync.message)
}

export const toConditions = (findings: Findings, previous: AccessRequestStatus | undefined, at: { now: number; generation: number | undefined }): Condition[] => [
  ...ORDER.map((type) => toCondition(type, findings[type], conditionOf(previous, type), at)),
  toCondition(CONDITION.ready, readyFinding(findings), conditionOf(previous, CONDITION.ready), at),
]

/** The checks are said to have passed: a Role may exist. */
export const checksRecordedAsPassed = (status: AccessRequestStatus | undefined): boolean =>
  conditionOf(status, CONDITION.accessCheckReady)?.status === 'True'

/** What is said is borne out: every check of every policy has objects on record, and all of them passed. A Role may be made. */
export const everyCheckRecordedAsPassed = (status: AccessRequestStatus | undefined): boolean => {
  const policies = status?.policies ?? []
  return (
    checksRecordedAsPassed(status) &&
    policies.length > 0 &&
    policies.every(({ policySpec, matchedChecks = [] }) => {
      const checks = policySpec.checkGrantedPermission?.spec.checks ?? []
      return (
        checks.length > 0 &&
        checks.every(({ name }) => matchedChecks.some((matched) => matched.name === name)) &&
        matchedChecks.every(({ condition }) => condition.status === 'True')
      )
    })
  )
}

/** Rejected or cleaned up: nothing revives the request. */
export const isFinal = (status: AccessRequestStatus | undefined): boolean =>
  conditionOf(status, CONDITION.accessPermissionSync)?.reason === REASON.permissionCleanUp ||
  conditionOf(status, CONDITION.accessCheckReady)?.reason === REASON.rejected
