/** A review whose facts could not be read has no answer; what failed is for our log alone. */
import type { Logger } from 'pino'
import { isCoded } from '../../errors.ts'
import { retryAfterOf } from '../../kube/kube-error.ts'
import { internalError, unavailable, type ApiFailure } from '../api-failure.ts'

/** @throws the error itself when it is none of the API server's */
export const readFailure = (error: unknown, message: string): ApiFailure => {
  if (!isCoded(error)) throw error
  return error.code === 'KUBE_UNAVAILABLE' ? unavailable(message, Math.max(1, Math.ceil(retryAfterOf(error) / 1000))) : internalError(message)
}

/** The value, or why there is none. @param message the whole of what the caller is told */
export const reading = async <T>(logger: Logger, about: object, message: string, read: () => Promise<T>): Promise<{ ok: true; value: T } | { ok: false; failure: ApiFailure; verdict: string }> => {
  try {
    return { ok: true, value: await read() }
  } catch (error) {
    const failure = readFailure(error, message)
    logger.warn({ ...about, err: error }, 'a review could not be answered: what it depends on could not be read')
    return { ok: false, failure, verdict: 'error' }
  }
}
