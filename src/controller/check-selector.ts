import type { ResolvedCheck } from '../api/access-request.ts'
import type { LabelSelector } from '../api/meta.ts'

export const selectorOf = ({ matchLabels, matchExpressions }: ResolvedCheck): LabelSelector => ({
  ...(matchLabels === undefined ? {} : { matchLabels }),
  ...(matchExpressions === undefined ? {} : { matchExpressions }),
})

const OPERATORS = { In: 'in', NotIn: 'notin' } as const

/** A check's selector as the API server takes it in a list. */
export const selectorQuery = (check: ResolvedCheck): { labelSelector?: string; fieldSelector?: string } => {
  const requirements = Object.entries(check.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`)
  for (const { key, operator, values } of check.matchExpressions ?? []) {
    if (operator === 'Exists') requirements.push(key)
    else if (operator === 'DoesNotExist') requirements.push(`!${key}`)
    else requirements.push(`${key} ${OPERATORS[operator]} (${(values ?? []).join(',')})`)
  }
  return {
    ...(requirements.length === 0 ? {} : { labelSelector: requirements.join(',') }),
    ...(check.objectName === undefined ? {} : { fieldSelector: `metadata.name=${check.objectName}` }),
  }
}
