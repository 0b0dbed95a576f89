/** What the roles need of Kubernetes. The client implements these; tests pass memory implementations. */
import type { AccessQuestion, Identity, PathQuestion } from '../api/access-review.ts'
import type { KubeObject } from '../api/meta.ts'

/** A kind as the API server serves it. `T` is the type of its objects. */
export interface Resource<T extends KubeObject = KubeObject> {
  apiVersion: string
  kind: string
  plural: string
  namespaced: boolean
  /** Never set; carries the type. */
  readonly type?: T
}

export interface List<T> {
  items: T[]
  resourceVersion: string
}

export interface ListOptions {
  /** Left out: all namespaces. */
  namespace?: string
  labelSelector?: string
  fieldSelector?: string
  /** '0' takes what the API server's cache has; left out, the newest. */
  resourceVersion?: string
  signal?: AbortSignal
}

export interface Reader {
  /** @returns undefined only when the API server answered 404 for the object. @throws CodedError KUBE_*, also when the signal aborts */
  get<T extends KubeObject>(resource: Resource<T>, namespace: string | undefined, name: string, options?: { signal?: AbortSignal }): Promise<T | undefined>
  /**
   * Reads all pages.
   * @param trim what is kept of each object, applied page by page: what others write into large objects is never in memory all at once
   * @throws CodedError KUBE_*
   */
  list<T extends KubeObject>(resource: Resource<T>, options?: ListOptions, trim?: (object: T) => T): Promise<List<T>>
}

export interface Precondition {
  uid?: string
  resourceVersion?: string
}

export interface WriteOptions {
  /** Milliseconds after which the request is given up, its connection with it; the API server may have done it all the same. */
  timeoutMs?: number
}

export interface Writer {
  /** @throws CodedError KUBE_CONFLICT when it exists; KUBE_* */
  create<T extends KubeObject>(resource: Resource<T>, object: T, options?: WriteOptions): Promise<T>
  /** PUT; holds metadata.resourceVersion when the object has one. @throws CodedError KUBE_CONFLICT, KUBE_NOT_FOUND, KUBE_* */
  replace<T extends KubeObject>(resource: Resource<T>, object: T, options?: WriteOptions): Promise<T>
  /** PUT on the status subresource. @throws as replace */
  replaceStatus<T extends KubeObject>(resource: Resource<T>, object: T, options?: WriteOptions): Promise<T>
  /** JSON merge patch. @throws as replace */
  mergePatch<T extends KubeObject>(resource: Resource<T>, namespace: string | undefined, name: string, patch: object, options?: WriteOptions): Promise<T>
  /** @returns false when it was gone already (404). @throws CodedError KUBE_CONFLICT when a precondition fails; KUBE_* */
  remove<T extends KubeObject>(resource: Resource<T>, namespace: string | undefined, name: string, precondition?: Precondition, options?: WriteOptions): Promise<boolean>
}

export type WatchEvent<T> =
  | { type: 'ADDED' | 'MODIFIED' | 'DELETED'; object: T }
  /** Everything up to this resource version was sent. */
  | { type: 'BOOKMARK'; resourceVersion: string }

export interface WatchOptions extends ListOptions {
  resourceVersion: string
  /** Seconds after which the server ends the watch. */
  timeoutSeconds: number
  /** Called once, when the API server has begun to answer and before the first event. */
  onOpen?: () => void
}

export interface Watcher {
  /**
   * Ends when the server ends the watch.
   * @throws CodedError KUBE_EXPIRED when the resource version is too old; KUBE_*
   */
  watch<T extends KubeObject>(resource: Resource<T>, options: WatchOptions): AsyncIterable<WatchEvent<T>>
}

/** Which kinds the API server serves. */
export interface Discovery {
  /** @returns undefined when the API server serves no such kind. @throws CodedError KUBE_* */
  resourceFor(apiVersion: string, kind: string): Promise<Resource | undefined>
}

/** The permission question, answered by the API server's authorizers. */
export interface Permission {
  /** @returns true only for an answer "allowed" without an evaluation error that hides it. @throws CodedError KUBE_* when there is no answer */
  allows(identity: Identity, question: AccessQuestion): Promise<boolean>
}

/** The permission question about paths that are no resources. */
export interface PathPermission {
  /** @returns as allows. @throws as allows */
  allowsPath(identity: Identity, question: PathQuestion): Promise<boolean>
}

/** What a token is asked for: it ends with the Pod at the latest. */
export interface TokenQuestion {
  serviceAccount: { namespace: string; name: string }
  pod: { name: string; uid: string }
  audience: string
  /** At least 600. */
  seconds: number
}

export interface IssuedToken {
  token: string
  /** RFC 3339. The API server may give less time, or more, than was asked for. */
  expirationTimestamp: string
}

/** Makes tokens of ServiceAccounts, bound to one Pod. */
export interface TokenIssuer {
  /** @throws CodedError KUBE_NOT_FOUND when there is no such Pod or ServiceAccount; KUBE_* */
  issueToken(question: TokenQuestion): Promise<IssuedToken>
}

/** Who is asked about, in a review of the extension API. */
export interface ReviewedIdentity {
  user: string
  groups: readonly string[]
  uid?: string
  extra?: Readonly<Record<string, readonly string[]>>
}

/** Path and domain say what the token is for; left out where the answer does not. */
export type TokenReviewAnswer =
  | { authenticated: true; user: ReviewedIdentity; path?: string; domain?: string }
  | { authenticated: false; error?: string }

/** What the auth middleware asks the extension API. Each question has 5 s. */
export interface ConnectionReviewer {
  /** @returns allowed only for a plain yes about a workspace that exists. @throws CodedError KUBE_* when there is no answer */
  mayConnect(workspace: { namespace: string; name: string }, identity: ReviewedIdentity): Promise<{ allowed: boolean; notFound: boolean; reason: string }>
  /** The token is used up by it. @throws CodedError KUBE_* when there is no answer; no message holds the token */
  reviewToken(namespace: string, token: string): Promise<TokenReviewAnswer>
}

/** Something that a person should read at an object. */
export interface EventRecord {
  regarding: { apiVersion: string; kind: string; namespace: string; name: string; uid: string }
  type: 'Normal' | 'Warning'
  /** One word, upper camel case. */
  reason: string
  /** What was done, one word for programs. */
  action: string
  /** One sentence; never anything secret. */
  note: string
}

export interface EventSink {
  /** Best effort: a failure is logged, never thrown. */
  emit(event: EventRecord): Promise<void>
}

/** Time, injected. Milliseconds since the epoch. */
export interface Clock {
  now(): number
}
