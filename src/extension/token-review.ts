/** Whose a bearer token is, as the API server says. */
import type { KubeObject } from '../api/meta.ts'
import type { Resource, Writer } from '../kube/ports.ts'
import type { Caller } from './review-kind.ts'

interface TokenReview extends KubeObject {
  spec: { token: string }
  status?: {
    authenticated?: boolean
    error?: string
    user?: { username?: string; uid?: string; groups?: string[] | null; extra?: Record<string, string[]> | null }
  }
}

const TOKEN_REVIEWS: Resource<TokenReview> = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', plural: 'tokenreviews', namespaced: false }

/** @returns undefined for a token that is not good. @throws CodedError KUBE_* */
export type TokenReviewer = (token: string) => Promise<Caller | undefined>

/** A review is answered and not stored. The token is in nothing that is kept or logged. */
export const tokenReviewer =
  (writer: Pick<Writer, 'create'>): TokenReviewer =>
  async (token) => {
    const { status } = await writer.create(TOKEN_REVIEWS, { apiVersion: TOKEN_REVIEWS.apiVersion, kind: TOKEN_REVIEWS.kind, metadata: { name: '' }, spec: { token } })
    const { username = '', uid, groups, extra } = status?.user ?? {}
    if (status?.authenticated !== true || (status.error ?? '') !== '' || username === '') return undefined
    return { user: username, ...(uid === undefined || uid === '' ? {} : { uid }), groups: groups ?? [], extra: extra ?? {} }
  }
