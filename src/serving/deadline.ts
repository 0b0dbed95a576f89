/** Work that has only so much time: the caller gets an answer in time, whatever becomes of the work. */

import type { Timers } from '../kube/timers.ts'

/** Looked at before each step that must not begin too late. */
export interface Deadline {
  readonly passed: boolean
}

export type Outcome<T> = { state: 'done'; value: T } | { state: 'late' }

/**
 * @param ms milliseconds
 * @param abandoned told the error of work that failed after the deadline; in time, the error is thrown here
 * @throws whatever the work throws before the deadline
 */
export const withDeadline = async <T>(
  timers: Timers,
  ms: number,
  work: (deadline: Deadline) => Promise<T>,
  abandoned: (error: unknown) => void,
): Promise<Outcome<T>> => {
  const deadline = { passed: false }
  const late = Promise.withResolvers<Outcome<T>>()
  const cancel = timers.after(ms, () => {
    deadline.passed = true
    late.resolve({ state: 'late' })
  })
  const done = work(deadline).then((value): Outcome<T> => ({ state: 'done', value }))
  done.catch((error: unknown) => {
    if (deadline.passed) abandoned(error)
  })
  try {
    return await Promise.race([done, late.promise])
  } finally {
    cancel()
  }
}
