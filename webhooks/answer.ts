/** What a hook answers: a closed union, made by the constructors below, written to the wire by review.ts. */
import type { Operation as PatchOperation } from 'fast-json-patch'
import type { FailureStatus } from '../src/api/admission-review.ts'
import { problemText, type Problem } from '../src/core/problem.ts'

export type Answer =
  | { kind: 'allowed'; warnings: readonly string[] }
  | { kind: 'patched'; patch: readonly PatchOperation[] }
  | { kind: 'denied'; status: FailureStatus; warnings: readonly string[] }

/** The plain yes, which nearly every answer is. */
export const ALLOWED: Answer = { kind: 'allowed', warnings: [] }

export const allowed = (warnings: readonly string[]): Answer => (warnings.length === 0 ? ALLOWED : { kind: 'allowed', warnings })

/** An empty patch is a plain yes. */
export const patched = (patch: readonly PatchOperation[]): Answer => (patch.length === 0 ? ALLOWED : { kind: 'patched', patch })

export const forbidden = (message: string): Answer => ({
  kind: 'denied',
  status: { status: 'Failure', code: 403, reason: 'Forbidden', message },
  warnings: [],
})

/** Of more problems than these the rest is counted; an answer stays far below what the API server reads. */
const MAX_PROBLEMS = 50

/** Refused as the API server itself refuses an object: 422 Invalid, every problem with the path of its field. */
export const invalid = (
  object: { group: string; kind: string; name: string | undefined },
  problems: readonly Problem[],
  warnings: readonly string[] = [],
): Answer => {
  const shown = problems.slice(0, MAX_PROBLEMS)
  const rest = problems.length - shown.length
  const texts = shown.map(problemText)
  if (rest > 0) texts.push(`and ${rest} more`)
  return {
    kind: 'denied',
    status: {
      status: 'Failure',
      code: 422,
      reason: 'Invalid',
      message: texts.join('; '),
      details: {
        group: object.group,
        kind: object.kind,
        ...(object.name === undefined || object.name === '' ? {} : { name: object.name }),
        causes: shown.map(({ path, message }) => ({ reason: 'FieldValueInvalid', message, field: path })),
      },
    },
    warnings,
  }
}
