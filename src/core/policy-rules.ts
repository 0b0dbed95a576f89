import type { AccessPolicySpec } from '../api/access-policy.ts'
import type { ConfigMap } from '../api/config-map.ts'
import { ANNOTATION, SYSTEM_NAMESPACE } from '../api/names.ts'
import { paramsProblems } from './check-params.ts'
import { checkSpecProblems } from './check-rules.ts'
import { isRecord, own, shown } from './json-shape.ts'
import { selectorProblems } from './label-selector.ts'
import { namespaceProblem, subdomainProblem } from './name-rules.ts'
import { firstProblems, problemAt, type Problem } from './problem.ts'

export { readCheckParams, type CheckParams } from './check-params.ts'

/** An expression costs time to compile, and every check of a live request to evaluate. */
const MAX_CHECKS = 32
const MAX_CHECK_NAME = 253

const isAbsent = (value: unknown): boolean => value === undefined || value === null

const notAnObject = (path: string, value: unknown): Problem[] => [{ path, message: isAbsent(value) ? 'is required' : `must be an object; got ${shown(value)}` }]

const isFilled = (value: unknown): boolean => (Array.isArray(value) ? value.length > 0 : isRecord(value) && Object.keys(value).length > 0)

/** A list of names. @param rule judges one name */
const namesProblems = (names: unknown, path: string, rule: (name: unknown) => string | undefined): Problem[] => {
  if (names === undefined) return []
  if (!Array.isArray(names)) return [{ path, message: `must be a list of names; got ${shown(names)}` }]
  return names.flatMap((name, index) => problemAt(`${path}[${index}]`, rule(name)))
}

/** A selector by names or by labels: one of the two, or neither for everything. */
const eitherSelectorProblems = (selector: unknown, path: string, rule: (name: unknown) => string | undefined): Problem[] => {
  if (selector === undefined) return []
  if (!isRecord(selector)) return notAnObject(path, selector)
  const { names, matchLabels, matchExpressions } = selector
  const isMixed = isFilled(names) && (isFilled(matchLabels) || isFilled(matchExpressions))
  return [
    ...problemAt(path, isMixed ? 'must have either names or labels (matchLabels, matchExpressions), not both' : undefined),
    ...namesProblems(names, `${path}.names`, rule),
    ...selectorProblems(selector, path),
  ]
}

/** `ref.configMap.name` below the path. */
const configMapProblems = (ref: unknown, path: string): Problem[] => {
  if (!isRecord(ref)) return notAnObject(path, ref)
  const configMap = ref['configMap']
  return isRecord(configMap) ? problemAt(`${path}.configMap.name`, subdomainProblem(configMap['name'])) : notAnObject(`${path}.configMap`, configMap)
}

const roleTemplateProblems = (template: unknown, path: string): Problem[] =>
  isRecord(template) ? configMapProblems(template['ref'], `${path}.ref`) : notAnObject(path, template)

const checkNameProblem = (name: unknown, earlier: ReadonlySet<unknown>): string | undefined => {
  if (isAbsent(name)) return 'is required'
  if (typeof name !== 'string') return `must be text; got ${shown(name)}`
  if (name.trim() === '') return 'must not be empty'
  if (name.length > MAX_CHECK_NAME) return `must be at most ${MAX_CHECK_NAME} characters long; got ${name.length}`
  return earlier.has(name) ? `must be unique within the policy; got ${shown(name)} twice` : undefined
}

const paramsKindProblem = (params: unknown, spec: unknown): string | undefined => {
  if (!isFilled(params) || spec === undefined) return undefined
  const kind = own(own(own(spec, 'selector'), 'objectRef'), 'kind')
  return kind === 'ApprovalTask' ? undefined : `must be left out: only an ApprovalTask says who approved; the kind here is ${shown(kind)}`
}

const checkProblems = (check: unknown, path: string, earlier: ReadonlySet<unknown>): Problem[] => {
  if (!isRecord(check)) return notAnObject(path, check)
  const { name, ref, spec, params } = check
  const isOne = (ref === undefined) !== (spec === undefined)
  return [
    ...problemAt(`${path}.name`, checkNameProblem(name, earlier)),
    ...problemAt(path, isOne ? undefined : `must have exactly one of ref and spec; got ${ref === undefined ? 'neither' : 'both'}`),
    ...(ref === undefined ? [] : configMapProblems(ref, `${path}.ref`)),
    ...(spec === undefined ? [] : checkSpecProblems(spec, `${path}.spec`)),
    ...paramsProblems(params, `${path}.params`),
    ...problemAt(`${path}.params`, paramsKindProblem(params, spec)),
  ]
}

const checksProblems = (checks: unknown, path: string): Problem[] => {
  if (!Array.isArray(checks)) return [{ path, message: isAbsent(checks) ? 'is required' : `must be a list; got ${shown(checks)}` }]
  if (checks.length === 0) return [{ path, message: 'must have at least one check: without a check nothing may be granted' }]
  const tooMany = problemAt(path, checks.length > MAX_CHECKS ? `must have at most ${MAX_CHECKS} checks; got ${checks.length}` : undefined)
  const earlier = new Set<unknown>()
  const each = checks.slice(0, MAX_CHECKS).flatMap((check: unknown, index) => {
    const problems = checkProblems(check, `${path}[${index}]`, earlier)
    earlier.add(own(check, 'name'))
    return problems
  })
  return [...tooMany, ...each]
}

const checkGrantedProblems = (block: unknown, path: string): Problem[] => {
  if (block === undefined) return []
  if (!isRecord(block)) return notAnObject(path, block)
  const spec = block['spec']
  if (!isRecord(spec)) return notAnObject(`${path}.spec`, spec)
  return [...checksProblems(spec['checks'], `${path}.spec.checks`), ...roleTemplateProblems(spec['roleTemplate'], `${path}.spec.roleTemplate`)]
}

/** `[""]` is how some people write "all of them". */
const serviceAccountNames = (names: unknown): unknown => (Array.isArray(names) && names.length === 1 && names[0] === '' ? [] : names)

const serviceAccountsProblems = (accounts: unknown, path: string): Problem[] => {
  if (!Array.isArray(accounts)) return [{ path, message: isAbsent(accounts) ? 'is required' : `must be a list; got ${shown(accounts)}` }]
  if (accounts.length === 0) return [{ path, message: 'must have at least one entry' }]
  return accounts.flatMap((account: unknown, index) => {
    const at = `${path}[${index}]`
    if (!isRecord(account)) return notAnObject(at, account)
    return [
      ...namesProblems(serviceAccountNames(account['names']), `${at}.names`, subdomainProblem),
      ...eitherSelectorProblems(account['namespaceSelector'], `${at}.namespaceSelector`, namespaceProblem),
    ]
  })
}

const defaultPermissionProblems = (block: unknown, path: string): Problem[] => {
  if (block === undefined) return []
  if (!isRecord(block)) return notAnObject(path, block)
  const binding = block['bindingTemplate']
  return [
    ...roleTemplateProblems(block['roleTemplate'], `${path}.roleTemplate`),
    ...(isRecord(binding)
      ? serviceAccountsProblems(binding['serviceAccounts'], `${path}.bindingTemplate.serviceAccounts`)
      : notAnObject(`${path}.bindingTemplate`, binding)),
  ]
}

/** Everything that is wrong with a policy, the first 20 of it; empty for a good one. Never throws, whatever the shape. */
export const policyProblems = (spec: AccessPolicySpec): Problem[] => {
  const given: unknown = spec
  if (!isRecord(given)) return notAnObject('spec', given)
  const problems = [
    ...eitherSelectorProblems(given['connector'], 'spec.connector', subdomainProblem),
    ...defaultPermissionProblems(given['defaultPermission'], 'spec.defaultPermission'),
    ...checkGrantedProblems(given['checkGrantedPermission'], 'spec.checkGrantedPermission'),
  ]
  return firstProblems(problems, 'spec')
}

/**
 * What is allowed and yet worth a second look, as sentences for people.
 * @param roleTemplate the ConfigMap that checkGrantedPermission names; undefined when it is not there
 */
export const policyWarnings = (spec: AccessPolicySpec, roleTemplate?: ConfigMap): string[] => {
  const warnings: string[] = []
  const { defaultPermission, checkGrantedPermission } = spec
  if (defaultPermission === undefined && checkGrantedPermission === undefined) {
    warnings.push('this policy has no effect: it has neither defaultPermission nor checkGrantedPermission')
  }
  if (defaultPermission !== undefined) {
    warnings.push('spec.defaultPermission is not in effect yet: it is accepted and grants nothing')
  }
  if (checkGrantedPermission === undefined) return warnings
  const { name } = checkGrantedPermission.spec.roleTemplate.ref.configMap
  if (roleTemplate === undefined) {
    warnings.push(`ConfigMap ${SYSTEM_NAMESPACE}/${name}, the role template of this policy, was not found; nothing can be granted until it is there`)
  } else if (own(roleTemplate.metadata.annotations, ANNOTATION.unbound) === 'true') {
    warnings.push(`the role template ${SYSTEM_NAMESPACE}/${name} is not bound to one Pod: once approved, every Pod of the ServiceAccount may use the Connector until the approved Pod ends`)
  }
  return warnings
}
