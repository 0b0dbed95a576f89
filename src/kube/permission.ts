/** The permission question as a SubjectAccessReview. */
import type { AccessQuestion, Identity, PathQuestion } from '../api/access-review.ts'
import type { PathPermission, Permission } from './ports.ts'
import type { Requester } from './transport.ts'

const PATH = '/apis/authorization.k8s.io/v1/subjectaccessreviews'

const attributesOf = (question: AccessQuestion | PathQuestion): object => {
  if ('path' in question) return { nonResourceAttributes: { path: question.path, verb: question.verb } }
  const { group, version, resource, subresource, verb, namespace, name } = question
  return { resourceAttributes: { group, version, resource, subresource, verb, namespace, name } }
}

const reviewOf = ({ user, groups, uid, extra }: Identity, question: AccessQuestion | PathQuestion): object => ({
  apiVersion: 'authorization.k8s.io/v1',
  kind: 'SubjectAccessReview',
  spec: { user, groups, uid, extra, ...attributesOf(question) },
})

const field = (value: unknown, name: string): unknown => (typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined)

/** Only a plain yes is one: `allowed` true, and not `denied`. */
export const permission = (api: Requester): Permission & PathPermission => {
  const ask = async (identity: Identity, question: AccessQuestion | PathQuestion): Promise<boolean> => {
    // A review is answered and not stored, so it may be asked twice.
    const status = field(await api.request({ method: 'POST', path: PATH, body: JSON.stringify(reviewOf(identity, question)), repeatable: true }), 'status')
    return field(status, 'allowed') === true && field(status, 'denied') !== true
  }
  return { allows: ask, allowsPath: ask }
}
