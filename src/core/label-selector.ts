import type { LabelRequirement, LabelSelector } from '../api/meta.ts'
import { isRecord, shown } from './json-shape.ts'
import { labelKeyProblem, labelValueProblem } from './name-rules.ts'
import { problemAt, type Problem } from './problem.ts'

/** A requirement that the API server would refuse (an unknown operator, missing or surplus values) matches nothing. */
const requirementMatches = ({ key, operator, values = [] }: LabelRequirement, labels: Record<string, string>): boolean => {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value)
    case 'NotIn':
      return values.length > 0 && (value === undefined || !values.includes(value))
    case 'Exists':
      return values.length === 0 && value !== undefined
    case 'DoesNotExist':
      return values.length === 0 && value === undefined
    default:
      operator satisfies never
      return false
  }
}

/** Whether the labels meet every requirement; a selector without requirements matches everything. */
export const selectorMatches = (selector: LabelSelector, labels: Record<string, string> | undefined): boolean => {
  const present = labels ?? {}
  return (
    Object.entries(selector.matchLabels ?? {}).every(([key, value]) => Object.hasOwn(present, key) && present[key] === value) &&
    (selector.matchExpressions ?? []).every((requirement) => requirementMatches(requirement, present))
  )
}

const TAKES_VALUES: ReadonlyMap<unknown, boolean> = new Map([
  ['In', true],
  ['NotIn', true],
  ['Exists', false],
  ['DoesNotExist', false],
])

type ValueRule = (value: unknown) => string | undefined

const matchLabelsProblems = (labels: unknown, path: string, valueRule: ValueRule): Problem[] => {
  if (labels === undefined) return []
  if (!isRecord(labels)) return [{ path, message: `must be a map of labels; got ${shown(labels)}` }]
  return Object.entries(labels).flatMap(([key, value]) => {
    const at = `${path}[${shown(key)}]`
    return [...problemAt(at, labelKeyProblem(key)), ...problemAt(at, valueRule(value))]
  })
}

const requirementProblems = (requirement: unknown, path: string, valueRule: ValueRule): Problem[] => {
  if (!isRecord(requirement)) return [{ path, message: `must be an object with key and operator; got ${shown(requirement)}` }]
  const { key, operator, values } = requirement
  const problems = problemAt(`${path}.key`, labelKeyProblem(key))
  const takesValues = TAKES_VALUES.get(operator)
  if (takesValues === undefined) {
    return [...problems, { path: `${path}.operator`, message: `must be In, NotIn, Exists or DoesNotExist; got ${shown(operator)}` }]
  }
  const at = `${path}.values`
  if (values !== undefined && !Array.isArray(values)) return [...problems, { path: at, message: `must be a list; got ${shown(values)}` }]
  const list: unknown[] = values ?? []
  if (takesValues && list.length === 0) return [...problems, { path: at, message: `must not be empty with operator ${String(operator)}` }]
  if (!takesValues && list.length > 0) return [...problems, { path: at, message: `must be empty with operator ${String(operator)}` }]
  return [...problems, ...list.flatMap((value, index) => problemAt(`${at}[${index}]`, valueRule(value)))]
}

/**
 * What the API server would refuse about a selector; never throws, whatever the shape.
 * @param valueRule judges one label value; left out, it must be a literal label value
 */
export const selectorProblems = (selector: LabelSelector, path: string, valueRule: ValueRule = labelValueProblem): Problem[] => {
  const { matchLabels, matchExpressions }: { matchLabels?: unknown; matchExpressions?: unknown } = selector
  const labels = matchLabelsProblems(matchLabels, `${path}.matchLabels`, valueRule)
  const at = `${path}.matchExpressions`
  if (matchExpressions === undefined) return labels
  if (!Array.isArray(matchExpressions)) return [...labels, { path: at, message: `must be a list; got ${shown(matchExpressions)}` }]
  return [...labels, ...matchExpressions.flatMap((requirement, index) => requirementProblems(requirement, `${at}[${index}]`, valueRule))]
}
