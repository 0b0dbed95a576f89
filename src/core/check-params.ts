import type { CheckParam } from '../api/access-policy.ts'
import { CodedError } from '../errors.ts'
import { isRecord, shown } from './json-shape.ts'
import { firstProblems, problemAt, problemText, type Problem } from './problem.ts'

/** Constraints on who must have approved an ApprovalTask. */
export interface CheckParams {
  /** User names, and `group:<name>` for the members of a group; without duplicates. */
  approvers?: string[]
  /** How many different people of them, at least 1. */
  approvalsRequired?: number
}

const APPROVERS = 'approvers'
const REQUIRED = 'numberOfApprovalsRequired'
const MAX_APPROVERS = 100

const countOf = (value: unknown): number | undefined => {
  if (typeof value === 'string') return /^[1-9][0-9]{0,3}$/.test(value) ? Number(value) : undefined
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 9999 ? value : undefined
}

const approverProblem = (value: unknown): string | undefined => {
  if (typeof value !== 'string') return `must be text; got ${shown(value)}`
  if (value.trim() !== value || value === '') return `must be a user name or "group:<name>", without spaces around it; got ${shown(value)}`
  return value === 'group:' ? 'must name the group after "group:"' : undefined
}

const approversProblems = (value: unknown, path: string): Problem[] => {
  if (!Array.isArray(value) || value.length === 0) return [{ path, message: `must be a list of user names or "group:<name>" with at least one of them; got ${shown(value)}` }]
  if (value.length > MAX_APPROVERS) return [{ path, message: `must have at most ${MAX_APPROVERS} entries; got ${value.length}` }]
  return value.flatMap((item, index) => problemAt(`${path}[${index}]`, approverProblem(item)))
}

const valueProblems = (name: unknown, value: unknown, path: string): Problem[] => {
  if (name === APPROVERS) return approversProblems(value, `${path}.value`)
  if (name === REQUIRED) return problemAt(`${path}.value`, countOf(value) === undefined ? `must be a whole number of at least 1; got ${shown(value)}` : undefined)
  return [{ path: `${path}.name`, message: `must be ${APPROVERS} or ${REQUIRED}; got ${shown(name)}` }]
}

/** Everything that is wrong with the params of a check; never throws, whatever the shape. */
export const paramsProblems = (params: unknown, path: string): Problem[] => {
  if (params === undefined) return []
  if (!Array.isArray(params)) return [{ path, message: `must be a list; got ${shown(params)}` }]
  const seen = new Set<unknown>()
  return params.flatMap((param, index) => {
    const at = `${path}[${index}]`
    if (!isRecord(param)) return [{ path: at, message: `must be an object with name and value; got ${shown(param)}` }]
    const { name, value } = param
    if (seen.has(name)) return [{ path: `${at}.name`, message: `must be unique within the check; got ${shown(name)} twice` }]
    seen.add(name)
    return valueProblems(name, value, at)
  })
}

/**
 * The params as the evaluation wants them.
 * @throws CodedError TEMPLATE_VALUE when they were not held to the rules at admission
 */
export const readCheckParams = (params: CheckParam[] | undefined): CheckParams => {
  const problems = paramsProblems(params, 'params')
  if (problems.length > 0) throw new CodedError('TEMPLATE_VALUE', firstProblems(problems, 'params').map(problemText).join('; '))
  const valueOf = (name: string): unknown => params?.find((param) => param.name === name)?.value
  const approvers = valueOf(APPROVERS)
  const approvalsRequired = countOf(valueOf(REQUIRED))
  return {
    ...(Array.isArray(approvers) ? { approvers: [...new Set(approvers.filter((item) => typeof item === 'string'))] } : {}),
    ...(approvalsRequired === undefined ? {} : { approvalsRequired }),
  }
}
