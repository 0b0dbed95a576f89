/**
 * The API server's rules for names and labels (k8s.io/apimachinery validation), as sentences.
 * Each function returns undefined for a good value, else the message of a Problem.
 */
import { shown } from './json-shape.ts'

const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/
const QUALIFIED_PART = /^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/

const checked = (value: unknown, pattern: RegExp, max: number, rule: string): string | undefined => {
  if (typeof value !== 'string') return value === undefined || value === null ? 'is required' : `must be text; got ${shown(value)}`
  if (value === '') return 'must not be empty'
  if (value.length > max) return `must be at most ${max} characters long; got ${value.length}`
  return pattern.test(value) ? undefined : `${rule}; got ${shown(value)}`
}

/** Names of Pods, ServiceAccounts, Connectors and ConfigMaps. */
export const subdomainProblem = (value: unknown): string | undefined =>
  checked(value, SUBDOMAIN, 253, 'must be lower case letters, digits, "-" and ".", beginning and ending with a letter or digit')

/** Names of namespaces. */
export const namespaceProblem = (value: unknown): string | undefined =>
  checked(value, LABEL, 63, 'must be lower case letters, digits and "-", beginning and ending with a letter or digit')

export const labelKeyProblem = (value: unknown): string | undefined => {
  if (typeof value !== 'string' || value === '') return checked(value, QUALIFIED_PART, 63, '')
  const slash = value.indexOf('/')
  const rule = 'must be a label key: a name of letters, digits, "-", "_" and ".", with an optional DNS prefix and "/" before it'
  if (slash >= 0 && subdomainProblem(value.slice(0, slash)) !== undefined) return `${rule}; got ${shown(value)}`
  return checked(value.slice(slash + 1), QUALIFIED_PART, 63, rule) === undefined ? undefined : `${rule}; got ${shown(value)}`
}

/** Empty is a good label value. */
export const labelValueProblem = (value: unknown): string | undefined =>
  value === '' ? undefined : checked(value, QUALIFIED_PART, 63, 'must be a label value: letters, digits, "-", "_" and ".", beginning and ending with a letter or digit')

export const isLabelValue = (value: string): boolean => labelValueProblem(value) === undefined
