import { randomUUID } from 'node:crypto'
import type { Logger } from 'pino'
import type { GateCode } from '../core/mount-gate.ts'
import { CodedError, type ErrorClass } from '../errors.ts'

export type CsiCode = GateCode | 'INTERNAL'

/** An error whose message kubelet is told as it is. It shows it in an Event of the Pod: one sentence, and nothing secret. */
export class CsiError extends Error {
  readonly code: CsiCode

  constructor(code: CsiCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'CsiError'
    this.code = code
  }
}

/** gRPC's numbers. */
const NUMBER: Record<CsiCode, number> = {
  INVALID_ARGUMENT: 3,
  NOT_FOUND: 5,
  PERMISSION_DENIED: 7,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  INTERNAL: 13,
  UNAVAILABLE: 14,
}

const CODE_OF_CLASS: Record<ErrorClass, CsiCode> = {
  wait: 'UNAVAILABLE',
  retry: 'UNAVAILABLE',
  terminal: 'FAILED_PRECONDITION',
  caller: 'INVALID_ARGUMENT',
}

/** An Event holds 1,024 characters; what is longer helps nobody, and past 64 KiB Node cuts the connection. */
const MAX_DETAILS = 4_096

/** A text that fits in a trailer. Half a surrogate pair, which a cut can leave, would make the answer itself fail. */
const detailsOf = (message: string): string => message.slice(0, MAX_DETAILS).toWellFormed()

/**
 * What kubelet is told of an error. Of one that nobody foresaw only a number that finds it in the log: its message may hold anything.
 * @param call fields for the log that say which call it was
 */
export const grpcErrorOf = (error: unknown, logger: Logger, call: Record<string, unknown>): { code: CsiCode; status: { code: number; details: string } } => {
  const answer = (code: CsiCode, message: string) => ({ code, status: { code: NUMBER[code], details: detailsOf(message) } })
  if (error instanceof CsiError) {
    if (error.code === 'INTERNAL') logger.error({ ...call, err: error }, 'a call failed')
    return answer(error.code, error.message)
  }
  if (error instanceof CodedError) return answer(CODE_OF_CLASS[error.class], error.message)
  const correlationId = randomUUID()
  logger.error({ ...call, correlationId, err: error }, 'a call failed for a reason that nobody foresaw')
  return answer('INTERNAL', `the plugin failed; its log on this node has the cause under correlation id ${correlationId}`)
}
