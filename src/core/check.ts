import { REASON, type MatchedCheck, type PolicySnapshot, type ResolvedCheck } from '../api/access-request.ts'
import type { CheckRule, CheckRuleSpec } from '../api/access-policy.ts'
import type { ConfigMap } from '../api/config-map.ts'
import type { KubeObject, LabelRequirement } from '../api/meta.ts'
import { SYSTEM_NAMESPACE } from '../api/names.ts'
import type { Pod } from '../api/pod.ts'
import { CodedError, isCoded, messageOf } from '../errors.ts'
import { readCheckTemplate } from './check-template.ts'
import { finding, plainMessage, toCondition, type Finding } from './conditions.ts'
import { compileStateExpression, type CheckState } from './expression.ts'
import { own } from './json-shape.ts'
import { selectorMatches } from './label-selector.ts'
import { parsePathTemplate, renderPathTemplate } from './path-template.ts'
import { readCheckParams } from './policy-rules.ts'

/** A check object of any kind. Others write its status: no shape is taken for granted. */
export interface CheckObject extends KubeObject {
  status?: unknown
}

/** The ConfigMaps of the system namespace that policies name; undefined for one that is not there. */
export type Templates = (name: string) => ConfigMap | undefined

export const templateNamed = (templates: Templates, name: string): ConfigMap => {
  const configMap = templates(name)
  if (configMap === undefined) throw new CodedError('TEMPLATE_MISSING', `ConfigMap ${SYSTEM_NAMESPACE}/${name} is missing`)
  return configMap
}

const renderText = (text: string, pod: Pod): string => renderPathTemplate(parsePathTemplate(text), { object: pod })

const renderRequirement = (requirement: LabelRequirement, pod: Pod): LabelRequirement => ({
  ...requirement,
  ...(requirement.values === undefined ? {} : { values: requirement.values.map((value) => renderText(value, pod)) }),
})

/**
 * The spec of a check rule: its own, or that of its template.
 * @throws CodedError TEMPLATE_MISSING, TEMPLATE_SYNTAX
 */
export const checkSpecOf = (rule: CheckRule, templates: Templates): CheckRuleSpec => {
  if (rule.spec !== undefined && rule.ref !== undefined) throw new CodedError('TEMPLATE_SYNTAX', 'it has both ref and spec')
  const spec = rule.spec ?? (rule.ref === undefined ? undefined : readCheckTemplate(templateNamed(templates, rule.ref.configMap.name)))
  if (spec === undefined) throw new CodedError('TEMPLATE_MISSING', 'it has neither ref nor spec')
  return spec
}

/**
 * A check rule with its template read and its selector filled in from the Pod; it never changes afterwards.
 * @throws CodedError TEMPLATE_MISSING, TEMPLATE_SYNTAX, TEMPLATE_VALUE, EXPRESSION_SYNTAX: the check cannot be evaluated yet
 */
export const resolveCheck = (rule: CheckRule, templates: Templates, pod: Pod): ResolvedCheck => {
  const spec = checkSpecOf(rule, templates)
  const { objectRef, matchLabels, matchExpressions } = spec.selector
  if (objectRef.kind.toLowerCase() === 'secret') throw new CodedError('TEMPLATE_SYNTAX', 'a Secret cannot be a check')
  if (objectRef.namespace !== undefined && objectRef.namespace !== '' && objectRef.namespace !== pod.metadata.namespace)
    throw new CodedError('TEMPLATE_SYNTAX', 'check objects are looked up in the namespace of the Pod, nowhere else: leave objectRef.namespace out')
  const labels = Object.entries(matchLabels ?? {})
  if ((objectRef.name ?? '') === '' && labels.length === 0 && (matchExpressions ?? []).length === 0)
    throw new CodedError('TEMPLATE_SYNTAX', 'it names no object and no label, and would match every object of its kind')
  if (spec.state?.rego !== undefined) throw new CodedError('EXPRESSION_SYNTAX', 'state.rego is not supported, write state.cel')
  if (spec.state?.cel !== undefined) compileStateExpression(spec.state.cel)
  return {
    name: rule.name,
    apiVersion: objectRef.apiVersion,
    kind: objectRef.kind,
    ...(objectRef.name === undefined || objectRef.name === '' ? {} : { objectName: renderText(objectRef.name, pod) }),
    ...(labels.length === 0 ? {} : { matchLabels: Object.fromEntries(labels.map(([key, value]) => [key, renderText(value, pod)])) }),
    ...(matchExpressions === undefined || matchExpressions.length === 0
      ? {}
      : { matchExpressions: matchExpressions.map((requirement) => renderRequirement(requirement, pod)) }),
    ...(spec.state?.cel === undefined ? {} : { cel: spec.state.cel }),
    ...readCheckParams(rule.params),
  }
}

const PASSED_STATES: ReadonlySet<unknown> = new Set(['approved', 'passed'])
const REJECTED_STATES: ReadonlySet<unknown> = new Set(['rejected', 'failed', 'denied'])

const listAt = (value: unknown, key: string): unknown[] => {
  const list = own(value, key)
  return Array.isArray(list) ? list : []
}

/** The state as the object itself tells it: `status.state`, else the condition Ready, else Succeeded. */
const ownState = (object: CheckObject): CheckState => {
  const state = own(object.status, 'state')
  if (state !== undefined && state !== null && state !== '') {
    if (PASSED_STATES.has(state)) return 'passed'
    return REJECTED_STATES.has(state) ? 'rejected' : 'pending'
  }
  const conditions = listAt(object.status, 'conditions')
  const decisive = conditions.find((condition) => own(condition, 'type') === 'Ready') ?? conditions.find((condition) => own(condition, 'type') === 'Succeeded')
  const status = own(decisive, 'status')
  if (status === 'True') return 'passed'
  return status === 'False' ? 'rejected' : 'pending'
}

const GROUP_PREFIX = 'group:'
/** More names than this are not recorded, and a longer name is cut: others write them, and a status must fit. */
const RECORDED_APPROVERS = 20
const RECORDED_NAME_LENGTH = 253

interface Approvals {
  /** Distinct users, sorted. */
  users: string[]
  /** Those of them that count for these approvers. */
  accepted: string[]
}

/** The name in an entry that says "approved", or none. */
const approvedNames = (entry: unknown): string[] => {
  const name = own(entry, 'name')
  return typeof name === 'string' && name !== '' && own(entry, 'response') === 'approved' ? [name] : []
}

/** The users that an entry of `status.approversResponse` speaks for, each as a list of approvers names them. */
const approvalsIn = (entry: unknown): { user: string; listedAs: string | undefined }[] =>
  approvedNames(entry).flatMap((name) => {
    const type = own(entry, 'type') ?? ''
    if (type === 'Group') return listAt(entry, 'groupMembers').flatMap(approvedNames).map((user) => ({ user, listedAs: `${GROUP_PREFIX}${name}` }))
    // A user whose name looks like that of a group is not the group.
    return type === 'User' || type === '' ? [{ user: name, listedAs: name.startsWith(GROUP_PREFIX) ? undefined : name }] : []
  })

const distinct = (approvals: readonly { user: string }[]): string[] => [...new Set(approvals.map(({ user }) => user))].toSorted()

const approvalsOf = (object: CheckObject, approvers: readonly string[] | undefined): Approvals => {
  const approvals = listAt(object.status, 'approversResponse').flatMap(approvalsIn)
  const accepted = approvals.filter(({ listedAs }) => approvers === undefined || (listedAs !== undefined && approvers.includes(listedAs)))
  return { users: distinct(approvals), accepted: distinct(accepted) }
}

export const nameOf = (object: KubeObject, check: ResolvedCheck): string => `${check.kind} ${object.metadata.namespace ?? ''}/${object.metadata.name}`

export interface CheckResult extends Finding {
  approvedBy: string[]
}

const stateOf = (check: ResolvedCheck, object: CheckObject, context: Pod): CheckState =>
  check.cel === undefined ? ownState(object) : compileStateExpression(check.cel)({ object, context })

/** What one check object says. An expression that fails is False/Failed: never a pass, and tried again. */
export const evaluateCheck = (check: ResolvedCheck, object: CheckObject, context: Pod): CheckResult => {
  const name = nameOf(object, check)
  let state: CheckState
  try {
    state = stateOf(check, object, context)
  } catch (error) {
    if (!isCoded(error)) throw error
    return { ...finding('False', REASON.failed, `${name} cannot be evaluated: ${messageOf(error)}`), approvedBy: [] }
  }
  const { users, accepted } = approvalsOf(object, check.approvers)
  const by = users.length === 0 ? '' : ` by ${users.join(', ')}`
  if (state === 'rejected') return { ...finding('False', REASON.rejected, `${name} was rejected`), approvedBy: [] }
  if (state === 'pending') return { ...finding('Unknown', REASON.pending, `waiting for ${name}`), approvedBy: users }
  if (check.approvers === undefined && check.approvalsRequired === undefined)
    return { ...finding('True', REASON.passed, `${name} was approved${by}`), approvedBy: users }
  const required = check.approvalsRequired ?? 1
  if (accepted.length >= required)
    return { ...finding('True', REASON.passed, `${name} was approved by ${accepted.join(', ')}`), approvedBy: accepted }
  const wanted = check.approvers === undefined ? '' : ` of ${check.approvers.join(', ')}`
  return {
    ...finding('False', REASON.approverMismatch, `${name} was approved${by === '' ? ' by nobody it names' : by}; ${required} approval(s)${wanted} are required`),
    approvedBy: users,
  }
}

/** A result that ends the request. */
export const isRejection = (result: Pick<Finding, 'reason'>): boolean => result.reason === REASON.rejected || result.reason === REASON.approverMismatch

/** What was found for one resolved check: its objects, or why there cannot be any yet. */
export type CheckFact =
  | {
      /** Selected now. */
      objects: CheckObject[]
      /** Objects that the status has recorded for this check and that still exist, selected or not. */
      recorded: CheckObject[]
    }
  /** The kind is not served, or may not be read; `failed` tells an error from a wait. */
  | { unreadable: string; failed: boolean }

/** Whether a check means this object; the namespace is that of the Pod. */
export const selectsObject = ({ objectName, matchLabels, matchExpressions }: ResolvedCheck, namespace: string | undefined, { metadata }: KubeObject): boolean =>
  metadata.namespace === namespace &&
  (objectName === undefined || metadata.name === objectName) &&
  selectorMatches({ ...(matchLabels === undefined ? {} : { matchLabels }), ...(matchExpressions === undefined ? {} : { matchExpressions }) }, metadata.labels)

/** The rule as people know it. */
export const describeCheck = (check: ResolvedCheck, namespace: string): string => {
  const labels = Object.entries(check.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`)
  for (const { key, operator, values } of check.matchExpressions ?? []) labels.push(`${key} ${operator} ${(values ?? []).join('|')}`.trim())
  const which = check.objectName === undefined ? `${check.kind} in namespace ${namespace}` : `${check.kind} ${namespace}/${check.objectName}`
  return labels.length === 0 ? which : `${which} with ${labels.join(', ')}`
}

const recordedNames = (names: readonly string[]): string[] => names.slice(0, RECORDED_APPROVERS).map((name) => plainMessage(name.slice(0, RECORDED_NAME_LENGTH).toWellFormed()))

const toMatchedCheck = (check: ResolvedCheck, object: CheckObject, result: CheckResult, previous: MatchedCheck | undefined, now: number): MatchedCheck => ({
  name: check.name,
  ref: {
    apiVersion: check.apiVersion,
    kind: check.kind,
    namespace: object.metadata.namespace ?? '',
    name: object.metadata.name,
    uid: object.metadata.uid ?? '',
  },
  condition: toCondition('Passed', result, previous?.condition, { now, generation: undefined }),
  ...(result.approvedBy.length === 0 ? {} : { approvedBy: recordedNames(result.approvedBy) }),
})

const byUid = (objects: readonly CheckObject[]): Map<string, CheckObject> => new Map(objects.map((object) => [object.metadata.uid ?? '', object]))

/**
 * The results of one check before everything has passed: each object that is there, and passes that were recorded
 * of objects that are gone. A recorded wait of an object that is gone is dropped.
 */
export const matchCheck = (
  check: ResolvedCheck,
  fact: CheckFact,
  recorded: readonly MatchedCheck[],
  context: Pod,
  now: number,
): MatchedCheck[] => {
  const passes = recorded.filter(({ condition }) => condition.status === 'True')
  if ('unreadable' in fact) return passes
  // Judged here as well: an object that was found for another check would pass this one.
  const selected = fact.objects.filter((object) => selectsObject(check, context.metadata.namespace, object))
  const objects = byUid([...fact.recorded.filter(({ metadata }) => passes.some(({ ref }) => ref.uid === metadata.uid)), ...selected])
  const found = [...objects.values()]
    .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
    .map((object) => {
      const previous = recorded.find(({ ref }) => ref.uid === object.metadata.uid)
      return toMatchedCheck(check, object, evaluateCheck(check, object, context), previous, now)
    })
  return [...found, ...passes.filter(({ ref }) => !objects.has(ref.uid))]
}

/**
 * More results than these for one check are not recorded: whoever may make check objects could make the status too large to
 * be written, and with it a rejection be lost.
 */
const MAX_RECORDED = 100

/** The results of one check as far as they are recorded, and why that is not all of them. One rejection says enough. */
export const boundedResults = (check: ResolvedCheck, matched: readonly MatchedCheck[], recorded: readonly MatchedCheck[]): { kept: MatchedCheck[]; problem?: string } => {
  if (matched.length <= MAX_RECORDED) return { kept: [...matched] }
  const rejection = matched.find(({ condition }) => isRejection(condition))
  return {
    kept: rejection === undefined ? recorded.slice(0, MAX_RECORDED) : [rejection],
    problem: `${matched.length} objects match check "${check.name}", at most ${MAX_RECORDED} may; delete those that do not belong to it`,
  }
}

/**
 * The results of one check after everything has passed: the recorded objects are the set, and only one of them
 * that turned to a rejection changes anything.
 */
export const recheck = (check: ResolvedCheck, fact: CheckFact, recorded: readonly MatchedCheck[], context: Pod, now: number): MatchedCheck[] => {
  if ('unreadable' in fact) return [...recorded]
  const objects = byUid([...fact.objects, ...fact.recorded])
  return recorded.map((matched) => {
    const object = objects.get(matched.ref.uid)
    if (object === undefined) return matched
    const result = evaluateCheck(check, object, context)
    return isRejection(result) ? toMatchedCheck(check, object, result, matched, now) : matched
  })
}

/** Who approved, over all policies of a request. */
export const approversOf = (policies: readonly PolicySnapshot[]): string[] => [
  ...new Set(policies.flatMap((policy) => (policy.matchedChecks ?? []).flatMap((matched) => matched.approvedBy ?? []))),
].toSorted()
