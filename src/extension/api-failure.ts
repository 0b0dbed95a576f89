/** Why a request is refused, in the words of Kubernetes; the server makes a Status of it. */
export interface ApiFailure {
  /** HTTP status. */
  code: number
  /** One word for programs, such as BadRequest. */
  reason: string
  /** One sentence; never a token, nor anything of what was sent that may be one. */
  message: string
  details?: Readonly<Record<string, unknown>>
  /** Seconds, also sent as Retry-After. */
  retryAfterSeconds?: number
}

/** One field of an object that cannot be taken, in the words of Kubernetes. */
export interface FieldProblem {
  type: 'FieldValueRequired' | 'FieldValueInvalid' | 'FieldValueNotSupported' | 'FieldValueForbidden'
  /** Such as `spec.user`. */
  field: string
  /** Without the field before it, such as `Required value`. */
  message: string
}

export const unauthorized: ApiFailure = { code: 401, reason: 'Unauthorized', message: 'Unauthorized' }

export const badRequest = (message: string): ApiFailure => ({ code: 400, reason: 'BadRequest', message })

export const notFound: ApiFailure = { code: 404, reason: 'NotFound', message: 'the server could not find the requested resource', details: {} }

export const methodNotAllowed: ApiFailure = {
  code: 405,
  reason: 'MethodNotAllowed',
  message: 'the server does not allow this method on the requested resource',
  details: {},
}

export const notAcceptable: ApiFailure = {
  code: 406,
  reason: 'NotAcceptable',
  message: 'only the following media types are accepted: application/json, application/yaml',
}

export const unsupportedMediaType: ApiFailure = {
  code: 415,
  reason: 'UnsupportedMediaType',
  message: 'the body of the request was in an unknown format - accepted media types include: application/json, application/yaml',
}

/** @param limit bytes */
export const tooLarge = (limit: number): ApiFailure => ({ code: 413, reason: 'RequestEntityTooLarge', message: `Request entity too large: limit is ${limit}` })

export const tooManyRequests: ApiFailure = {
  code: 429,
  reason: 'TooManyRequests',
  message: 'too many requests, please try again later',
  details: { retryAfterSeconds: 1 },
  retryAfterSeconds: 1,
}

export const timedOut: ApiFailure = { code: 504, reason: 'Timeout', message: 'Timeout: request did not complete within the allotted timeout', details: {} }

export const unavailable = (message: string, retryAfterSeconds = 1): ApiFailure => ({
  code: 503,
  reason: 'ServiceUnavailable',
  message,
  details: { retryAfterSeconds },
  retryAfterSeconds,
})

export const internalError = (message: string): ApiFailure => ({ code: 500, reason: 'InternalError', message })

/** @param kind and group of what is refused, as in `CreateOptions.meta.k8s.io` */
export const invalid = (of: { kind: string; group: string; name?: string }, problems: readonly FieldProblem[]): ApiFailure => {
  const { kind, group, name = '' } = of
  const sentences = [...new Set(problems.map(({ field, message }) => `${field}: ${message}`))]
  const list = sentences.length === 1 ? sentences[0] : `[${sentences.join(', ')}]`
  return {
    code: 422,
    reason: 'Invalid',
    message: `${kind}.${group} ${JSON.stringify(name)} is invalid: ${list}`,
    details: {
      ...(name === '' ? {} : { name }),
      group,
      kind,
      causes: problems.map(({ type, field, message }) => ({ reason: type, message, field })),
    },
  }
}
