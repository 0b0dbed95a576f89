/** What is wrong with the fields of a spec, in the words of Kubernetes. Sizes are bounded: they go into questions that cost others work. */
import { shown } from '../../core/json-shape.ts'
import { namespaceProblem, subdomainProblem } from '../../core/name-rules.ts'
import type { FieldProblem } from '../api-failure.ts'

/** Characters, or entries. */
const MAX = { name: 253, text: 1024, groups: 2000, extraKeys: 100, extraValues: 100, extraText: 8192 } as const

export const required = (field: string, detail?: string): FieldProblem => ({
  type: 'FieldValueRequired',
  field,
  message: detail === undefined ? 'Required value' : `Required value: ${detail}`,
})

export const invalidValue = (field: string, value: unknown, why: string): FieldProblem => ({ type: 'FieldValueInvalid', field, message: `Invalid value: ${shown(value)}: ${why}` })

export const unsupported = (field: string, value: unknown, supported: readonly string[]): FieldProblem => ({
  type: 'FieldValueNotSupported',
  field,
  message: `Unsupported value: ${shown(value)}: supported values: ${supported.map((one) => JSON.stringify(one)).join(', ')}`,
})

/** As everywhere in Kubernetes, empty text is as good as none. */
export const isMissing = (value: string | undefined): value is undefined | '' => value === undefined || value === ''

const textProblem = (value: string, max: number): string | undefined => (value.length > max ? `must be no more than ${max} characters` : undefined)

const at = (field: string, value: unknown, why: string | undefined): FieldProblem[] => (why === undefined ? [] : [invalidValue(field, value, why)])

/** A text that may be left out. */
export const textProblems = (field: string, value: string | undefined): FieldProblem[] => (value === undefined ? [] : at(field, value, textProblem(value, MAX.text)))

const segmentProblem = (name: string): string | undefined => {
  if (name === '.' || name === '..') return `may not be '${name}'`
  if (/[/%]/.test(name)) return `may not contain '${name.includes('/') ? '/' : '%'}'`
  return /\p{Cc}/u.test(name) ? 'may not contain control characters' : undefined
}

/** The name of an object that is looked for: one that no object can have is no problem, it is not found. */
export const nameProblems = (field: string, name: string, detail?: string): FieldProblem[] =>
  isMissing(name) ? [required(field, detail)] : at(field, name, textProblem(name, MAX.name) ?? segmentProblem(name))

const SUBDOMAIN = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character"
const LABEL = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', must be no more than 63 characters, and must start and end with an alphanumeric character"

export const subdomainProblems = (field: string, value: string): FieldProblem[] =>
  isMissing(value) ? [required(field)] : at(field, value, subdomainProblem(value) === undefined ? undefined : SUBDOMAIN)

export const namespaceProblems = (field: string, value: string): FieldProblem[] =>
  isMissing(value) ? [required(field)] : at(field, value, namespaceProblem(value) === undefined ? undefined : LABEL)

const tooMany = (field: string, count: number, max: number, what: string): FieldProblem[] => (count > max ? [invalidValue(field, count, `must have no more than ${max} ${what}`)] : [])

/** One problem says enough of a list that may have thousands. */
const firstOf = (problems: readonly FieldProblem[][]): FieldProblem[] => problems.find((found) => found.length > 0) ?? []

export const groupsProblems = (field: string, groups: readonly string[]): FieldProblem[] => {
  const count = tooMany(field, groups.length, MAX.groups, 'items')
  return count.length > 0 ? count : firstOf(groups.map((group, index) => at(`${field}[${index}]`, group, textProblem(group, MAX.text))))
}

const valuesProblems = (field: string, values: readonly string[]): FieldProblem[] => {
  const count = tooMany(field, values.length, MAX.extraValues, 'items')
  return count.length > 0 ? count : firstOf(values.map((value, index) => at(`${field}[${index}]`, value, textProblem(value, MAX.extraText))))
}

export const extraProblems = (field: string, extra: Readonly<Record<string, readonly string[]>>): FieldProblem[] => {
  const entries = Object.entries(extra)
  const count = tooMany(field, entries.length, MAX.extraKeys, 'keys')
  if (count.length > 0) return count
  return firstOf(
    entries.map(([key, values]) => {
      const keyProblems = at(field, key, textProblem(key, MAX.text))
      return keyProblems.length > 0 ? keyProblems : valuesProblems(`${field}[${shown(key)}]`, values)
    }),
  )
}
