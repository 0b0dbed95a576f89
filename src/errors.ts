/**
 * What a caller can do about an error:
 * - `wait`: not yet; a later event or retry may change it, nothing is wrong
 * - `retry`: a fault that may pass by itself; try again with backoff
 * - `terminal`: will not pass by itself; an administrator has to act
 * - `caller`: the input is wrong; the caller has to change it
 */
export type ErrorClass = 'wait' | 'retry' | 'terminal' | 'caller'

/** Every coded error of the program: code to class. The edges map codes to HTTP, gRPC or a condition's reason. */
export const ERRORS = {
  /** The API server answered 404 for something that must be there. */
  KUBE_NOT_FOUND: 'wait',
  /** 409: another writer was faster, or the object exists already. */
  KUBE_CONFLICT: 'retry',
  /** 401 or 403. */
  KUBE_FORBIDDEN: 'terminal',
  /** 400 or 422: the API server or an admission check refused what was sent. */
  KUBE_INVALID: 'terminal',
  /** 410: the resource version is too old; list again. */
  KUBE_EXPIRED: 'retry',
  /** 429, 5xx, a cut connection or no answer in time. */
  KUBE_UNAVAILABLE: 'retry',
  /** This replica does not hold the lease; nothing was sent. */
  NOT_LEADER: 'retry',
  /** The live object is not the one that the decision was made from. */
  STALE_FACTS: 'retry',
  /** A template that cannot be parsed. */
  TEMPLATE_SYNTAX: 'caller',
  /** A template whose value is missing or not of the kind that is needed. */
  TEMPLATE_VALUE: 'wait',
  /** A CEL expression that does not compile. */
  EXPRESSION_SYNTAX: 'caller',
  /** A CEL expression that failed, or yielded something other than a state. */
  EXPRESSION_VALUE: 'retry',
  /** A regular expression that RE2 does not take, or one that is too large. */
  PATTERN_SYNTAX: 'caller',
  /** A template ConfigMap that is missing, has no such key, or cannot be read as what it must be. */
  TEMPLATE_MISSING: 'wait',
  /** A rendered rule that would reach beyond this Pod's path. */
  GRANT_REFUSED: 'terminal',
  /** A volume whose attributes the mount will refuse. */
  VOLUME_INVALID: 'caller',
  /** A command line option or setting that cannot be used. */
  CONFIG_INVALID: 'caller',
  /** There is no key to sign a token with. */
  JWT_NO_KEY: 'wait',
  /** What a token cannot carry: a name that is missing, or more than fits. */
  JWT_CLAIMS: 'caller',
  /** Signing keys that must not be rotated now. */
  ROTATION_REFUSED: 'retry',
} as const satisfies Record<string, ErrorClass>

export type ErrorCode = keyof typeof ERRORS

/** An error with a code. The message is one sentence that says what failed and, where someone can act, what to do. */
export class CodedError extends Error {
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'CodedError'
    this.code = code
  }

  get class(): ErrorClass {
    return ERRORS[this.code]
  }
}

/** Whether an error is a coded one, of this code when one is given. */
export const isCoded = (error: unknown, code?: ErrorCode): error is CodedError =>
  error instanceof CodedError && (code === undefined || error.code === code)

/** The message of whatever was thrown. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** The code of an error of Node's own, such as ENOENT. */
export const errorCode = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
