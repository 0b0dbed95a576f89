import type { ResolvedCheck } from '../api/access-request.ts'
import type { LabelRequirement, LabelSelector } from '../api/meta.ts'
import { isLabelValue } from '../core/name-rules.ts'

export const selectorOf = ({ matchLabels, matchExpressions }: ResolvedCheck): LabelSelector => ({
  ...(matchLabels === undefined ? {} : { matchLabels }),
  ...(matchExpressions === undefined ? {} : { matchExpressions }),
})

const requirementQuery = ({ key, operator, values = [] }: LabelRequirement): string[] => {
  switch (operator) {
    case 'Exists':
      return [key]
    case 'DoesNotExist':
      return [`!${key}`]
    case 'In':
    case 'NotIn':
      return values.length > 0 && values.every(isLabelValue) ? [`${key} ${operator === 'In' ? 'in' : 'notin'} (${values.join(',')})`] : []
    default:
      operator satisfies never
      return []
  }
}

/** Characters that mean something in a field selector. */
const FIELD_SYNTAX = /[\\,=!]/

/**
 * A check's selector as the API server takes it in a list. It finds at least what the check selects: a value from a Pod that is
 * no label value could mean something else in a query and is left out, so whoever lists has to hold the objects to the selector itself.
 */
export const selectorQuery = (check: ResolvedCheck): { labelSelector?: string; fieldSelector?: string } => {
  const { matchLabels = {}, matchExpressions = [], objectName } = check
  const labels = Object.entries(matchLabels).flatMap(([key, value]) => (isLabelValue(value) ? [`${key}=${value}`] : []))
  const requirements = [...labels, ...matchExpressions.flatMap(requirementQuery)]
  return {
    ...(requirements.length === 0 ? {} : { labelSelector: requirements.join(',') }),
    ...(objectName === undefined || FIELD_SYNTAX.test(objectName) ? {} : { fieldSelector: `metadata.name=${objectName}` }),
  }
}
