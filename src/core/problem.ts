/** One thing that is wrong with an object: where, and what to write instead. */
export interface Problem {
  /** The field, for example `spec.subject.kind`. */
  path: string
  /** The sentence without the path, for example `must be "ServiceAccount"; got "User"`. */
  message: string
}

export const problemText = (problem: Problem): string => `${problem.path}: ${problem.message}`

const MAX_SHOWN = 20

/** A list that a person can read: the first problems, and how many more there are. @param path where the rest is reported */
export const firstProblems = (problems: readonly Problem[], path: string): Problem[] => {
  if (problems.length <= MAX_SHOWN) return [...problems]
  return [...problems.slice(0, MAX_SHOWN), { path, message: `has ${problems.length - MAX_SHOWN} more problems that are not shown` }]
}

/** No problem for undefined, as the rules of names answer for a good value. */
export const problemAt = (path: string, message: string | undefined): Problem[] => (message === undefined ? [] : [{ path, message }])
