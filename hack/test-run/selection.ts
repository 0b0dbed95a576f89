/** What `npm test` was asked to run, and what came of it. Pure. */
import { matchesGlob, normalize } from 'node:path'

export const INTEGRATION_FOLDER = 'test/integration/'
/** Long runs that break things; they run when they are named, never with all others. */
export const FAULTS_FOLDER = 'test/faults/'

/** Each starts a control plane of its own and a real kubelet, which needs root. */
export const NODE_FOLDER = 'test/node/'

/** From a browser to a Workspace, through a proxy: with programs of other people's, and where a control plane is needed, one of their own. */
export const WEB_FOLDER = 'test/web/'

export interface Asked {
  help: boolean
  /** Files, folders or globs; empty for all tests but the fault runs. */
  paths: string[]
  /** Passed on to tap. An option's value must be joined to it by "=", as in --jobs=1. */
  options: string[]
}

export const readArguments = (args: readonly string[]): Asked => {
  const paths = args.filter((arg) => !arg.startsWith('-'))
  // `npm run faults` brings its folder along: what a person named besides is what is meant.
  const [first, ...others] = paths
  return {
    help: args.includes('--help') || args.includes('-h'),
    paths: first !== undefined && others.length > 0 && isFaultsFolder(first) ? others : paths,
    options: args.filter((arg) => arg.startsWith('-')),
  }
}

const withoutSlash = (path: string): string => normalize(path).replace(/\/$/, '')

const isFaultsFolder = (path: string): boolean => `${withoutSlash(path)}/` === FAULTS_FOLDER

const isNamed = (file: string, path: string): boolean => {
  const plain = withoutSlash(path)
  return file === plain || plain === '.' || file.startsWith(`${plain}/`) || matchesGlob(file, plain)
}

/**
 * The files that one of the paths names, as file, folder or glob; all of them but the fault runs when there are no paths.
 * `missing` are the paths that name no test file.
 */
export const filesFor = (paths: readonly string[], all: readonly string[]): { files: string[]; missing: string[] } => ({
  files: all.filter((file) => (paths.length === 0 ? !file.startsWith(FAULTS_FOLDER) : paths.some((path) => isNamed(file, path)))),
  missing: paths.filter((path) => !all.some((file) => isNamed(file, path))),
})

export interface Selection {
  /** Share one control plane, which the runner starts. */
  integration: string[]
  /** Start control planes of their own. */
  faults: string[]
  /** Start control planes and nodes of their own. */
  nodes: string[]
  /** Need a proxy and a browser, and start control planes of their own. */
  web: string[]
  others: string[]
}

const FOLDERS = [INTEGRATION_FOLDER, FAULTS_FOLDER, NODE_FOLDER, WEB_FOLDER]

export const selectFiles = (files: readonly string[]): Selection => {
  const [integration = [], faults = [], nodes = [], web = []] = FOLDERS.map((folder) => files.filter((file) => file.startsWith(folder)))
  const taken = new Set([...integration, ...faults, ...nodes, ...web])
  return { integration, faults, nodes, web, others: files.filter((file) => !taken.has(file)) }
}

/** A fault run waits for leases, restarts and clean-up: longer than any other test file. In seconds; far longer than any takes that does not hang. */
const FAULTS_TIMEOUT_S = 1_800

/** Gives all properties one seed. */
const SEED_MODULE = './hack/test-run/property-seed.ts'

/** What tap is told beyond what was asked. An option that was given stands. In CI a property is the same each time: what it finds by chance is for those who look for it. */
export const optionsFor = (options: readonly string[], { faults }: Pick<Selection, 'faults'>, isCi: boolean): string[] => [
  ...options,
  ...(faults.length === 0 || options.some((option) => /^(--timeout|-t)/.test(option)) ? [] : [`--timeout=${FAULTS_TIMEOUT_S}`]),
  ...(isCi ? [`--node-arg=--import=${SEED_MODULE}`] : []),
]

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
  /** Why tests that need more than Node did not run, if any were selected. */
  unavailable?: string
  /** CI=true: what did not run has failed. */
  isCi: boolean
}

/**
 * Exit code and final counts. A runner that fails without a failed test, no test at all, and tests that need a
 * control plane and did not run in CI are failures of their own: they must show in the counts too.
 */
export const judge = ({ counts, runnerCode, unavailable, isCi }: Outcome): { exitCode: number; counts: Counts } => {
  const ranNothing = counts.passed + counts.failed === 0
  const extra = (runnerCode !== 0 || ranNothing) && counts.failed === 0 ? 1 : 0
  const notRun = unavailable !== undefined && isCi ? 1 : 0
  const judged = { ...counts, failed: counts.failed + Math.max(extra, notRun) }
  return { counts: judged, exitCode: judged.failed > 0 ? 1 : 0 }
}

const foldersOf = (files: readonly string[]): string =>
  FOLDERS.filter((folder) => files.some((file) => file.startsWith(folder))).join(' and ')

/** What tests cannot do without, and how to get it. */
const NEEDS = {
  controlPlane: { what: 'a real control plane', toDo: 'run "npm run control-plane", which says how to get one, then this again' },
  node: { what: 'a real kubelet on this machine', toDo: 'run "npm run node", which says how to get one, then this again' },
  web: { what: 'nginx and Chromium', toDo: 'install them ("apt-get install --no-install-recommends nginx chromium" on Debian), then run this again' },
} as const

/** Several lines, so that nobody overlooks them. */
export const unavailableLines = (files: readonly string[], reason: string, isCi: boolean, need: keyof typeof NEEDS = 'controlPlane'): string[] => [
  '',
  '!'.repeat(78),
  `The integration tests did NOT run: ${files.length} file(s) in ${foldersOf(files)} need ${NEEDS[need].what}.`,
  `Why: ${reason}`,
  `What to do: ${NEEDS[need].toDo}.`,
  isCi ? 'CI=true: this counts as a failure.' : 'The other tests did run; their counts follow.',
  '!'.repeat(78),
  '',
]
