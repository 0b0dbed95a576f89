/** What is wrong with a check, inline in a policy or in a template. Never throws, whatever the shape. */
import { messageOf } from '../errors.ts'
import { compileStateExpression } from './expression.ts'
import { isRecord, shown } from './json-shape.ts'
import { selectorProblems } from './label-selector.ts'
import { labelValueProblem, namespaceProblem, subdomainProblem } from './name-rules.ts'
import { parsePathTemplate } from './path-template.ts'
import { problemAt, type Problem } from './problem.ts'

const KIND = /^[A-Za-z]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?$/
/** Literal text that may stand in a label value beside a template. */
const LABEL_TEXT = /^[-A-Za-z0-9_.]*$/
/** Not a path segment that the API server would refuse or read differently. */
const OBJECT_NAME = /^(?!\.{1,2}$)[^/%\s\p{Cc}]{1,253}$/u

/** A key that is not known is refused: a misspelt selector would silently select more. */
const unknownKeys = (value: Record<string, unknown>, known: readonly string[], path: string): Problem[] =>
  Object.keys(value)
    .filter((key) => !known.includes(key))
    .map((key) => ({ path, message: `has an unknown key ${shown(key)}; there are ${known.join(', ')}` }))

const notAnObject = (path: string, value: unknown): Problem[] => [{ path, message: value === undefined ? 'is required' : `must be an object; got ${shown(value)}` }]

/** A template, or literal text that `literalRule` accepts. */
const templateProblem = (value: unknown, literalRule: (text: string) => string | undefined, textBeside: RegExp): string | undefined => {
  if (typeof value !== 'string') return `must be text; got ${shown(value)}`
  if (value === '') return 'must not be empty'
  if (!/[{}]/.test(value)) return literalRule(value)
  try {
    const literal = parsePathTemplate(value).parts.find((part) => typeof part === 'string' && !textBeside.test(part))
    return literal === undefined ? undefined : `holds characters that cannot be part of it: ${shown(literal)}`
  } catch (error) {
    return messageOf(error)
  }
}

const labelTemplateProblem = (value: unknown): string | undefined => templateProblem(value, labelValueProblem, LABEL_TEXT)

const nameProblem = (value: unknown): string | undefined =>
  templateProblem(value, (text) => (OBJECT_NAME.test(text) ? undefined : `must be the name of an object; got ${shown(text)}`), OBJECT_NAME)

const apiVersionProblem = (value: unknown): string | undefined => {
  if (value === undefined || value === '') return 'is required, for example openshift-pipelines.org/v1alpha1'
  const rule = `must be a version, or a group and a version such as openshift-pipelines.org/v1alpha1; got ${shown(value)}`
  if (typeof value !== 'string') return rule
  const parts = value.split('/')
  const version = parts.at(-1)
  if (parts.length > 2 || namespaceProblem(version) !== undefined) return rule
  return parts.length === 2 && subdomainProblem(parts[0]) !== undefined ? rule : undefined
}

const kindProblem = (kind: unknown, apiVersion: unknown): string | undefined => {
  if (kind === undefined || kind === '') return 'is required, for example ApprovalTask'
  if (typeof kind !== 'string' || !KIND.test(kind)) return `must be a kind, for example ApprovalTask; got ${shown(kind)}`
  const isCore = typeof apiVersion !== 'string' || !apiVersion.includes('/')
  return isCore && /^secrets?$/i.test(kind) ? 'must not be Secret: the controller reads no Secrets; use a kind of its own for a check' : undefined
}

const objectRefProblems = (ref: unknown, path: string): Problem[] => {
  if (!isRecord(ref)) return notAnObject(path, ref)
  const { apiVersion, kind, name, namespace } = ref
  const isElsewhere = namespace !== undefined && namespace !== ''
  return [
    ...unknownKeys(ref, ['apiVersion', 'kind', 'name', 'namespace'], path),
    ...problemAt(`${path}.apiVersion`, apiVersionProblem(apiVersion)),
    ...problemAt(`${path}.kind`, kindProblem(kind, apiVersion)),
    ...problemAt(`${path}.name`, name === undefined ? undefined : nameProblem(name)),
    ...problemAt(`${path}.namespace`, isElsewhere ? `must be left out: check objects are looked up in the namespace of the Pod; got ${shown(namespace)}` : undefined),
  ]
}

const isEmptySet = (value: unknown): boolean => value === undefined || (Array.isArray(value) && value.length === 0) || (isRecord(value) && Object.keys(value).length === 0)

const checkSelectorProblems = (selector: unknown, path: string): Problem[] => {
  if (!isRecord(selector)) return notAnObject(path, selector)
  const { objectRef, matchLabels, matchExpressions } = selector
  const name = isRecord(objectRef) ? objectRef['name'] : undefined
  const selectsAll = name === undefined && isEmptySet(matchLabels) && isEmptySet(matchExpressions)
  return [
    ...unknownKeys(selector, ['objectRef', 'matchLabels', 'matchExpressions'], path),
    ...objectRefProblems(objectRef, `${path}.objectRef`),
    ...selectorProblems(selector, path, labelTemplateProblem),
    ...problemAt(path, selectsAll ? 'must have objectRef.name, matchLabels or matchExpressions: without them every object of the kind in the namespace would be the check' : undefined),
  ]
}

const celProblem = (cel: unknown): string | undefined => {
  if (typeof cel !== 'string') return `must be text; got ${shown(cel)}`
  try {
    compileStateExpression(cel)
    return undefined
  } catch (error) {
    return messageOf(error)
  }
}

const stateProblems = (state: unknown, path: string): Problem[] => {
  if (state === undefined) return []
  if (!isRecord(state)) return notAnObject(path, state)
  const rego = 'is not supported; write state.cel, an expression over object and context that yields "passed", "rejected" or "pending"'
  return [
    ...unknownKeys(state, ['cel', 'rego'], path),
    ...problemAt(`${path}.cel`, state['cel'] === undefined ? undefined : celProblem(state['cel'])),
    ...problemAt(`${path}.rego`, state['rego'] === undefined ? undefined : rego),
  ]
}

/** Everything that is wrong with a CheckRuleSpec: shape, kind, selector, templates and expression. */
export const checkSpecProblems = (spec: unknown, path: string): Problem[] => {
  if (!isRecord(spec)) return notAnObject(path, spec)
  return [
    ...unknownKeys(spec, ['selector', 'state'], path),
    ...checkSelectorProblems(spec['selector'], `${path}.selector`),
    ...stateProblems(spec['state'], `${path}.state`),
  ]
}
