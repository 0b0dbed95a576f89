/** A caller who may not, in the words of the API server. */
import type { ApiFailure } from './api-failure.ts'
import type { CallerQuestion } from './authorization.ts'
import type { Caller } from './review-kind.ts'

const quoted = (text: string): string => JSON.stringify(text)

export const forbidden = ({ user }: Caller, question: CallerQuestion): ApiFailure => {
  const base = { code: 403, reason: 'Forbidden' }
  if ('path' in question) return { ...base, message: `forbidden: User ${quoted(user)} cannot ${question.verb} path ${quoted(question.path)}`, details: {} }
  const { group, resource, subresource, verb, namespace = '', name = '' } = question
  const what = subresource === undefined ? resource : `${resource}/${subresource}`
  const where = namespace === '' ? 'at the cluster scope' : `in the namespace ${quoted(namespace)}`
  return {
    ...base,
    message: `${resource}.${group}${name === '' ? '' : ` ${quoted(name)}`} is forbidden: User ${quoted(user)} cannot ${verb} resource ${quoted(what)} in API group ${quoted(group)} ${where}`,
    details: { ...(name === '' ? {} : { name }), group, kind: resource },
  }
}
