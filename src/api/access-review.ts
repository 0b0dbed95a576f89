/** Who asks, in a SubjectAccessReview. */
export interface Identity {
  user: string
  groups: readonly string[]
  uid?: string
  extra?: Record<string, string[]>
}

/** What is asked, in a SubjectAccessReview. */
export interface AccessQuestion {
  group: string
  resource: string
  subresource?: string
  verb: string
  namespace?: string
  name?: string
}
