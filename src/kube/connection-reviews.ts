/** The questions of the auth middleware, put to the extension API through the API server. */
import { BEARER_TOKEN_REVIEW, CONNECTION_ACCESS_REVIEW, CONNECTION_API_VERSION } from '../api/connection-review.ts'
import { isRecord, own } from '../core/json-shape.ts'
import type { WorkspaceKey } from '../core/workspace-path.ts'
import { KubeError } from './kube-error.ts'
import { collectionPath } from './paths.ts'
import type { ConnectionReviewer, Resource, ReviewedIdentity } from './ports.ts'
import { describe, type Call, type Requester } from './transport.ts'

const ACCESS_REVIEWS: Resource = { apiVersion: CONNECTION_API_VERSION, kind: CONNECTION_ACCESS_REVIEW.kind, plural: CONNECTION_ACCESS_REVIEW.plural, namespaced: true }
const TOKEN_REVIEWS: Resource = { apiVersion: CONNECTION_API_VERSION, kind: BEARER_TOKEN_REVIEW.kind, plural: BEARER_TOKEN_REVIEW.plural, namespaced: true }

/** Somebody waits for the answer in front of a browser. */
const REVIEW_MS = 5_000

const reviewCall = (resource: Resource, namespace: string, spec: object): Call => {
  const { apiVersion, kind } = resource
  return {
    method: 'POST',
    path: collectionPath(resource, namespace),
    body: JSON.stringify({ apiVersion, kind, metadata: { namespace }, spec }),
    timeoutMs: REVIEW_MS,
  }
}

const accessSpec = ({ name }: WorkspaceKey, { user, groups, uid, extra }: ReviewedIdentity): object => ({
  workspaceName: name,
  user,
  groups,
  ...(uid === undefined || uid === '' ? {} : { uid }),
  ...(extra === undefined || Object.keys(extra).length === 0 ? {} : { extra }),
})

const isTexts = (value: unknown): value is string[] => Array.isArray(value) && value.every((one) => typeof one === 'string')

const isTextLists = (value: unknown): value is Record<string, string[]> => isRecord(value) && Object.values(value).every(isTexts)

const optionalText = (status: unknown, name: string): string | undefined => {
  const value = own(status, name)
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** @returns undefined for a user without a name, or one that cannot be read whole: groups that are left out would say too little */
const readUser = (user: unknown): ReviewedIdentity | undefined => {
  const name = optionalText(user, 'username')
  const groups = own(user, 'groups') ?? []
  const extra = own(user, 'extra') ?? {}
  if (name === undefined || !isTexts(groups) || !isTextLists(extra)) return undefined
  const uid = optionalText(user, 'uid')
  return { user: name, groups, ...(uid === undefined ? {} : { uid }), ...(Object.keys(extra).length === 0 ? {} : { extra }) }
}

/** The part of the answer that was asked for. The answer itself is never part of an error. */
const statusOf = (call: Call, answer: unknown, verdict: 'allowed' | 'authenticated'): Record<string, unknown> => {
  const status = own(answer, 'status')
  if (isRecord(status) && typeof own(status, verdict) === 'boolean') return status
  throw new KubeError('KUBE_UNAVAILABLE', `the answer to ${describe(call)} does not say whether it is ${verdict}; look at the extension API that serves it`)
}

export const connectionReviews = (api: Requester): ConnectionReviewer => ({
  mayConnect: async (workspace, identity) => {
    // Answered and not stored, so it may be asked twice. A token is used up by its review, so that one may not.
    const call: Call = { ...reviewCall(ACCESS_REVIEWS, workspace.namespace, accessSpec(workspace, identity)), repeatable: true }
    const status = statusOf(call, await api.request(call), 'allowed')
    const notFound = own(status, 'notFound') === true
    return { allowed: own(status, 'allowed') === true && !notFound, notFound, reason: optionalText(status, 'reason') ?? '' }
  },
  reviewToken: async (namespace, token) => {
    const call = reviewCall(TOKEN_REVIEWS, namespace, { token })
    const status = statusOf(call, await api.request(call), 'authenticated')
    const error = optionalText(status, 'error')
    const user = own(status, 'authenticated') === true ? readUser(own(status, 'user')) : undefined
    if (user === undefined) return { authenticated: false, ...(error === undefined ? {} : { error }) }
    const path = optionalText(status, 'path')
    const domain = optionalText(status, 'domain')
    return { authenticated: true, user, ...(path === undefined ? {} : { path }), ...(domain === undefined ? {} : { domain }) }
  },
})
