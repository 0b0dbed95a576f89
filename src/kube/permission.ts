/** The permission question as a SubjectAccessReview. */
import type { AccessQuestion, Identity } from '../api/access-review.ts'
import type { Permission } from './ports.ts'
import type { Requester } from './transport.ts'

const PATH = '/apis/authorization.k8s.io/v1/subjectaccessreviews'

const reviewOf = (identity: Identity, question: AccessQuestion): object => ({
  apiVersion: 'authorization.k8s.io/v1',
  kind: 'SubjectAccessReview',
  spec: {
    user: identity.user,
    groups: identity.groups,
    uid: identity.uid,
    extra: identity.extra,
    resourceAttributes: {
      group: question.group,
      resource: question.resource,
      subresource: question.subresource,
      verb: question.verb,
      namespace: question.namespace,
      name: question.name,
    },
  },
})

const field = (value: unknown, name: string): unknown => (typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined)

/** Only a plain yes is one: `allowed` true, and not `denied`. */
export const permission = (api: Requester): Permission => ({
  allows: async (identity, question) => {
    // A review is answered and not stored, so it may be asked twice.
    const status = field(await api.request({ method: 'POST', path: PATH, body: JSON.stringify(reviewOf(identity, question)), repeatable: true }), 'status')
    return field(status, 'allowed') === true && field(status, 'denied') !== true
  },
})
