/** What `npm test` was asked to run, and what came of it. Pure. */
import { matchesGlob, normalize } from 'node:path'

export const INTEGRATION_FOLDER = 'test/integration/'

export interface Asked {
  help: boolean
  /** Files, folders or globs; empty for all tests. */
  paths: string[]
  /** Passed on to tap. An option's value must be joined to it by "=", as in --jobs=1. */
  options: string[]
}

export const readArguments = (args: readonly string[]): Asked => ({
  help: args.includes('--help') || args.includes('-h'),
  paths: args.filter((arg) => !arg.startsWith('-')),
  options: args.filter((arg) => arg.startsWith('-')),
})

const isNamed = (file: string, path: string): boolean => {
  const plain = normalize(path).replace(/\/$/, '')
  return file === plain || plain === '.' || file.startsWith(`${plain}/`) || matchesGlob(file, plain)
}

/**
 * The files that one of the paths names, as file, folder or glob; all of them when there are no paths.
 * `missing` are the paths that name no test file.
 */
export const filesFor = (paths: readonly string[], all: readonly string[]): { files: string[]; missing: string[] } => ({
  files: all.filter((file) => paths.length === 0 || paths.some((path) => isNamed(file, path))),
  missing: paths.filter((path) => !all.some((file) => isNamed(file, path))),
})

export interface Selection {
  integration: string[]
  others: string[]
}

export const selectFiles = (files: readonly string[]): Selection => ({
  integration: files.filter((file) => file.startsWith(INTEGRATION_FOLDER)),
  others: files.filter((file) => !file.startsWith(INTEGRATION_FOLDER)),
})

/** What the runner counted: single assertions, and each test file that failed as a whole. */
export interface Counts {
  passed: number
  failed: number
  skipped: number
}

/** The line that ends every run. */
export const countsLine = ({ passed, failed, skipped }: Counts): string =>
  `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`

export interface Outcome {
  counts: Counts
  /** tap's exit code. */
  runnerCode: number
  /** Why integration tests did not run, if any were selected. */
  unavailable?: string
  /** CI=true: what did not run has failed. */
  isCi: boolean
}

/**
 * Exit code and final counts. A runner that fails without a failed test, no test at all, and integration tests
 * that did not run in CI are failures of their own: they must show in the counts too.
 */
export const judge = ({ counts, runnerCode, unavailable, isCi }: Outcome): { exitCode: number; counts: Counts } => {
  const ranNothing = counts.passed + counts.failed === 0
  const extra = (runnerCode !== 0 || ranNothing) && counts.failed === 0 ? 1 : 0
  const notRun = unavailable !== undefined && isCi ? 1 : 0
  const judged = { ...counts, failed: counts.failed + Math.max(extra, notRun) }
  return { counts: judged, exitCode: judged.failed > 0 ? 1 : 0 }
}

/** Several lines, so that nobody overlooks them. */
export const unavailableLines = (files: readonly string[], reason: string, isCi: boolean): string[] => [
  '',
  '!'.repeat(78),
  `The integration tests did NOT run: ${files.length} file(s) in ${INTEGRATION_FOLDER} need a real control plane.`,
  `Why: ${reason}`,
  'What to do: run "npm run control-plane", which says how to get one, then "npm test" again.',
  isCi ? 'CI=true: this counts as a failure.' : 'The tests that need no control plane did run; their counts follow.',
  '!'.repeat(78),
  '',
]
