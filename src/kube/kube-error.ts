/** What the API server's answers mean as coded errors. */
import { CodedError, type ErrorCode } from '../errors.ts'

export interface KubeErrorDetails {
  /** HTTP status; absent when there was no answer. */
  status?: number
  /** The reason of the Status object, for example AlreadyExists. */
  reason?: string
  /** How long the API server asks to wait, in milliseconds. */
  retryAfterMs?: number
  /** The answer was longer than allowed and not read to its end. */
  tooLong?: true
}

/** A coded error of a call to the API server. */
export class KubeError extends CodedError {
  readonly details: KubeErrorDetails

  constructor(code: ErrorCode, message: string, details: KubeErrorDetails = {}, options?: { cause?: unknown }) {
    super(code, message, options)
    this.name = 'KubeError'
    this.details = details
  }
}

export const isTooLong = (error: unknown): boolean => error instanceof KubeError && error.details.tooLong === true

/** How long an error asks to wait, in milliseconds; 0 when it does not say. */
export const retryAfterOf = (error: unknown): number => (error instanceof KubeError ? (error.details.retryAfterMs ?? 0) : 0)

/** As far as it is read here, a metav1.Status. */
export interface Status {
  kind: 'Status'
  code?: number
  reason?: string
  message?: string
  details?: { retryAfterSeconds?: number }
}

const MAX_MESSAGE = 2048

export const isStatus = (body: unknown): body is Status => typeof body === 'object' && body !== null && Reflect.get(body, 'kind') === 'Status'

const codeOf = (status: number): ErrorCode => {
  if (status === 404) return 'KUBE_NOT_FOUND'
  if (status === 409) return 'KUBE_CONFLICT'
  if (status === 401 || status === 403) return 'KUBE_FORBIDDEN'
  if (status === 410) return 'KUBE_EXPIRED'
  if (status === 408 || status === 429 || status < 400 || status >= 500) return 'KUBE_UNAVAILABLE'
  return 'KUBE_INVALID'
}

const cut = (text: string): string => (text.length <= MAX_MESSAGE ? text : `${text.slice(0, MAX_MESSAGE)}…`)

/**
 * The error for an answer that is no success. The message is the API server's own sentence where there is one.
 * @param call what was called, for example "GET /api/v1/pods"; part of the message when the answer has none
 * @param retryAfter the Retry-After header, in seconds
 */
export const errorOfAnswer = (call: string, status: number, body: unknown, retryAfter?: string): KubeError => {
  const answer: Partial<Status> = isStatus(body) ? body : {}
  const sentence = answer.message === undefined || answer.message === '' ? `the API server answered ${status} to ${call}` : cut(answer.message)
  const seconds = Number(retryAfter ?? answer.details?.retryAfterSeconds ?? Number.NaN)
  return new KubeError(codeOf(status), sentence, {
    status,
    ...(answer.reason === undefined ? {} : { reason: answer.reason }),
    ...(Number.isFinite(seconds) && seconds >= 0 ? { retryAfterMs: seconds * 1000 } : {}),
  })
}

/** The error for an ERROR event of a watch; an object that is no Status makes it KUBE_UNAVAILABLE. */
export const errorOfWatchEvent = (call: string, object: unknown): KubeError => errorOfAnswer(call, (isStatus(object) ? object.code : undefined) ?? 500, object)

/** A 404 that speaks of the object. The 404 of a kind that is not served is no Status. */
export const saysAbsent = (error: unknown): boolean =>
  error instanceof KubeError && error.code === 'KUBE_NOT_FOUND' && error.details.reason === 'NotFound'
