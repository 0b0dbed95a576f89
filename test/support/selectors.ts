/** Selectors in their query string form, as an API server evaluates them on list and watch. */
import type { KubeObject } from '../../src/api/meta.ts'

type Labels = Record<string, string>

const requirement = (text: string): ((labels: Labels) => boolean) => {
  const set = /^(\S+)\s+(in|notin)\s+\(([^)]*)\)$/.exec(text)
  if (set !== null) {
    const [, key = '', operator, list = ''] = set
    const values = list.split(',').map((value) => value.trim())
    const isIn = (labels: Labels): boolean => labels[key] !== undefined && values.includes(labels[key])
    return operator === 'in' ? isIn : (labels) => !isIn(labels)
  }
  const equality = /^([^=!]+?)\s*(==|=|!=)\s*(.*)$/.exec(text)
  if (equality !== null) {
    const [, key = '', operator, value] = equality
    return operator === '!=' ? (labels) => labels[key] !== value : (labels) => labels[key] === value
  }
  return text.startsWith('!') ? (labels) => labels[text.slice(1).trim()] === undefined : (labels) => labels[text] !== undefined
}

export const labelMatcher = (selector: string | undefined): ((object: KubeObject) => boolean) => {
  const requirements = (selector ?? '')
    .split(/,(?![^(]*\))/)
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map(requirement)
  return (object) => requirements.every((matches) => matches(object.metadata.labels ?? {}))
}

const valueAt = (object: unknown, path: string): unknown =>
  path.split('.').reduce<unknown>((value, key) => (typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined), object)

export const fieldMatcher = (selector: string | undefined): ((object: KubeObject) => boolean) => {
  const requirements = (selector ?? '')
    .split(',')
    .filter((part) => part !== '')
    .map((part) => /^([^=!]+)(==|=|!=)(.*)$/.exec(part) ?? [])
  return (object) =>
    requirements.every(([, path = '', operator, value]) => {
      const actual = valueAt(object, path) ?? ''
      return operator === '!=' ? actual !== value : actual === value
    })
}
