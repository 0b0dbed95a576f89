/** Who asks, in a SubjectAccessReview. */
export interface Identity {
  user: string
  groups: readonly string[]
  uid?: string
  extra?: Readonly<Record<string, readonly string[]>>
}

/** What is asked, in a SubjectAccessReview. */
export interface AccessQuestion {
  group: string
  /** Left out: any. */
  version?: string
  resource: string
  subresource?: string
  verb: string
  namespace?: string
  name?: string
}

/** The same about a path that is no resource, such as /metrics. */
export interface PathQuestion {
  path: string
  /** Such as get: the method in lower case. */
  verb: string
}
