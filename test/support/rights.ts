/** What an account may do, asked of the API server itself by SubjectAccessReviews. */
import { waitFor, type ClusterAccess } from '../../hack/control-plane/cluster-access.ts'
import { SYSTEM_NAMESPACE } from '../../src/api/names.ts'

/** Reads `verb [group:]resource[/subresource] [name]`; the group is ours when left out, `core` for none. */
const attributesOf = (question: string, namespace: string): object => {
  const [verb, path = '', name] = question.split(' ')
  const [, group = 'connectors.alauda.io', resource, subresource] = /^(?:([a-z0-9.-]+):)?([a-z]+)(?:\/([a-z]+))?$/.exec(path) ?? []
  return { verb, namespace, group: group === 'core' ? '' : group, resource, ...(subresource && { subresource }), ...(name && { name }) }
}

export interface Rights {
  may: (user: string, question: string, namespace: string) => Promise<boolean>
  /** The API server's authorizer takes a moment to follow a new binding, and aggregated roles are filled in by a controller. */
  untilAllowed: (user: string, question: string, namespace: string) => Promise<void>
  /** @param questions the answers of these keys */
  answers: (user: string, questions: Readonly<Record<string, boolean>>, namespace: string) => Promise<Record<string, boolean>>
}

export const rightsIn = (cluster: ClusterAccess): Rights => {
  const may = async (user: string, question: string, namespace: string): Promise<boolean> => {
    const groups = ['system:authenticated', ...(user.startsWith('system:serviceaccount:') ? ['system:serviceaccounts', `system:serviceaccounts:${SYSTEM_NAMESPACE}`] : [])]
    const { status, text } = await cluster.call('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      spec: { user, groups, resourceAttributes: attributesOf(question, namespace) },
    })
    if (status !== 201) throw new Error(text)
    const review: { status: { allowed: boolean } } = JSON.parse(text)
    return review.status.allowed
  }
  return {
    may,
    untilAllowed: (user, question, namespace) => waitFor(`the right of ${user} to ${question}`, 90_000, () => may(user, question, namespace)),
    answers: async (user, questions, namespace) =>
      Object.fromEntries(await Promise.all(Object.keys(questions).map(async (question) => [question, await may(user, question, namespace)] as const))),
  }
}
