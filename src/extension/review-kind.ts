import type { TSchema } from 'typebox'
import type { ApiFailure, FieldProblem } from './api-failure.ts'

export type { FieldProblem } from './api-failure.ts'

/** Who sent a request, as it was authenticated. */
export interface Caller {
  user: string
  uid?: string
  groups: readonly string[]
  extra: Readonly<Record<string, readonly string[]>>
}

export interface ReviewRequest<S> {
  /** Of the URL: a DNS label. */
  namespace: string
  spec: S
  caller: Caller
  /** Decide, and do nothing else: no token is made or used up, no plugin is called. */
  dryRun: boolean
  /** Aborted when the client goes away, or after 30 s. */
  signal: AbortSignal
}

export type ReviewOutcome<T> =
  | {
      ok: true
      status: T
      /** One or a few words for the audit line and the metric; never a token, and from a small set. */
      verdict: string
      /** Whom the review was about, for the audit line. */
      subject?: string
      /** What it was about, for the audit line. */
      object?: string
    }
  | { ok: false; failure: ApiFailure; verdict: string }

/** A virtual kind: it can be created, and nothing of it is stored. */
export interface ReviewKind<S = unknown, T = unknown> {
  group: string
  version: string
  kind: string
  plural: string
  singular: string
  description: string
  /** What decoding goes by (types, unknown fields), and what OpenAPI tells of; every field has a description. */
  specSchema: TSchema
  statusSchema: TSchema
  /** Required fields and grammar, in the words of Kubernetes; called with a spec of the right types. */
  problems(spec: S): FieldProblem[]
  /** What is answered as spec: empty lists for null ones, no token. */
  echo(spec: S): S
  /** @throws CodedError KUBE_*: answered with 500 or 503, without its message */
  review(request: ReviewRequest<S>): Promise<ReviewOutcome<T>>
}
