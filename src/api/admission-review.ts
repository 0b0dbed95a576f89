/** The wire between the API server and an admission webhook: `admission.k8s.io/v1`, as far as this program reads and writes it. */

export const ADMISSION_API_VERSION = 'admission.k8s.io/v1'
export const ADMISSION_KIND = 'AdmissionReview'

export type Operation = 'CREATE' | 'UPDATE' | 'DELETE' | 'CONNECT'

export interface GroupVersionResource {
  group: string
  version: string
  resource: string
}

/** What the API server asks. The objects are unknown until a hook has looked at them. */
export interface AdmissionRequest {
  /** Names this one question; the answer repeats it. */
  uid: string
  operation: Operation
  resource?: GroupVersionResource
  /** Empty while the name is still to be generated. */
  name?: string
  namespace?: string
  userInfo: { username: string }
  /** There for CREATE and UPDATE. */
  object?: Record<string, unknown>
  /** There for UPDATE. */
  oldObject?: Record<string, unknown>
  /** true: whatever is answered, nothing may change anywhere. */
  dryRun: boolean
}

/** One field that is wrong, in a Status. */
export interface StatusCause {
  reason: 'FieldValueInvalid'
  message: string
  field: string
}

/** `metav1.Status`, for a refusal. */
export interface FailureStatus {
  status: 'Failure'
  code: number
  reason: string
  message: string
  details?: { name?: string; group?: string; kind?: string; causes?: StatusCause[] }
}
