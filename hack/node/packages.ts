/** The programs of other people's that a node needs: the container runtime, found on the PATH or installed as Debian packages. */
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { run, lastLines } from '../control-plane/run.ts'
import type { Progress } from '../control-plane/progress.ts'
import { NodeFailure } from './failure.ts'

/** By the Debian package that brings each one; `util-linux` is on every Linux. */
const PROGRAMS_OF = {
  containerd: ['containerd', 'containerd-shim-runc-v2', 'ctr'],
  runc: ['runc'],
  'util-linux': ['unshare'],
} as const

type Package = keyof typeof PROGRAMS_OF
type Program = (typeof PROGRAMS_OF)[Package][number]

/** Absolute paths. */
export type RuntimePrograms = Record<Program, string>

const PACKAGES: readonly Package[] = ['containerd', 'runc', 'util-linux']

/** What a user's PATH often lacks, and what is needed there. */
const ALSO = ['/usr/local/sbin', '/usr/sbin', '/sbin']

/** Where programs are looked for. */
export const programFolders = (env: NodeJS.ProcessEnv): string[] => [...(env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== ''), ...ALSO]

export const isProgram = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    // Whatever the reason is: it cannot be run.
    return false
  }
}

/** @returns the programs, or the packages that bring those that are missing */
export const findRuntime = (folders: readonly string[]): { programs: RuntimePrograms } | { missing: Package[] } => {
  const pathOf = (program: Program): string => folders.map((folder) => join(folder, program)).find(isProgram) ?? ''
  const programs: RuntimePrograms = {
    containerd: pathOf('containerd'),
    'containerd-shim-runc-v2': pathOf('containerd-shim-runc-v2'),
    ctr: pathOf('ctr'),
    runc: pathOf('runc'),
    unshare: pathOf('unshare'),
  }
  const missing = PACKAGES.filter((name) => PROGRAMS_OF[name].some((program) => programs[program] === ''))
  return missing.length === 0 ? { programs } : { missing }
}

const APT_MS = 180_000
const APT = ['-o', 'DPkg::Lock::Timeout=60', '-o', 'Acquire::Retries=2', '-o', 'Acquire::http::Timeout=30']

export interface InstallOptions {
  env: NodeJS.ProcessEnv
  progress: Progress
  signal?: AbortSignal
}

const apt = async (args: readonly string[], { env, progress, signal }: InstallOptions): Promise<string | undefined> => {
  const bound = AbortSignal.timeout(APT_MS)
  const command = `apt-get ${args.join(' ')}`
  try {
    const { code, stderr } = await progress.step(command, () =>
      run('apt-get', [...APT, ...args], {
        env: { ...env, DEBIAN_FRONTEND: 'noninteractive' },
        signal: signal === undefined ? bound : AbortSignal.any([bound, signal]),
      }),
    )
    return code === 0 ? undefined : `${command} ended with ${code}: ${lastLines(stderr, 3)}`
  } catch (error) {
    signal?.throwIfAborted()
    if (bound.aborted) return `${command} did not end within ${APT_MS / 1000} s`
    return `${command} could not be run: ${error instanceof Error ? error.message : String(error)}`
  }
}

/** The second try comes after the list of packages was read anew: a stale list names files that are gone. @throws NodeFailure */
const install = async (packages: readonly Package[], options: InstallOptions): Promise<void> => {
  const args = ['install', '-y', '--no-install-recommends', ...packages]
  if ((await apt(args, options)) === undefined) return
  const problem = (await apt(['update'], options)) ?? (await apt(args, options))
  if (problem !== undefined) throw new NodeFailure(`no node: ${problem}; install ${packages.join(' and ')} by hand, then run this again`)
}

const HOW = 'install them as root ("apt-get install --no-install-recommends containerd runc" on Debian and Ubuntu), or run "npm run node -- --install"'

const are = (packages: readonly Package[]): string => `${packages.join(' and ')} ${packages.length === 1 ? 'is' : 'are'}`

export interface RuntimeOptions extends InstallOptions {
  mayInstall: boolean
  /** Default: those of the PATH, and of administrators. */
  folders?: readonly string[]
}

/**
 * The container runtime's programs. What is missing is installed where `mayInstall` says so, else it is an error that says what to install.
 * Debian's package starts a service where there is a service manager; a node of ours uses neither it nor its files.
 * @throws NodeFailure
 */
export const resolveRuntime = async ({ mayInstall, folders, ...options }: RuntimeOptions): Promise<RuntimePrograms> => {
  const lookIn = folders ?? programFolders(options.env)
  const found = findRuntime(lookIn)
  if ('programs' in found) return found.programs
  if (!mayInstall) throw new NodeFailure(`no node: ${are(found.missing)} not installed; ${HOW}`)
  await install(found.missing, options)
  const now = findRuntime(lookIn)
  if ('programs' in now) return now.programs
  throw new NodeFailure(`no node: apt-get has installed ${found.missing.join(' and ')}, but ${are(now.missing)} not to be found; look whether its programs are on the PATH`)
}
