/** Builds a Go program of ours once for this machine, and finds it again. */
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { cacheRoot, fillAtomically } from '../control-plane/cache.ts'
import { goFailureMessage, runGo } from '../control-plane/go-command.ts'
import { takeLock } from '../control-plane/lock.ts'
import { platformName } from '../control-plane/source.ts'
import { GoProgramFailure } from './failure.ts'
import { requireGo, workOf, type GoWork, type Work } from './go-work.ts'
import { sourceKey } from './source-key.ts'

export interface GoProgram {
  /** Name of the program and of its folder in the cache, e.g. "go-webhook". */
  name: string
  /** Folder with go.mod and go.sum, and nothing in it that is not a source: every file in it counts as one. */
  moduleFolder: string
  /** What is built, as seen from that folder. Default: `.` */
  package?: string
  /** Flags of `go build`. Default: a small program without paths of this machine. */
  flags?: readonly string[]
}

const FLAGS = ['-trimpath', '-ldflags', '-s -w'] as const

const build = async (program: GoProgram, packagePath: string, folder: string, { env, progress, signal }: Work): Promise<void> => {
  const { name, moduleFolder, flags = FLAGS } = program
  await progress.step(`go build ${name}, once for this machine`, async (detail) => {
    const args = ['build', ...flags, '-o', join(folder, name), packagePath]
    const { stderr, code } = await runGo(moduleFolder, args, { env, detail, ...(signal !== undefined && { signal }) })
    if (code !== 0) throw new GoProgramFailure(goFailureMessage(`go build of ${name}`, stderr))
  })
}

/**
 * The program's path, from the cache beside that of the control plane or from `go build`. Cached, it takes no Go.
 * Of several processes one builds, the others wait for it; other sources, flags or another platform are another program.
 * @throws GoProgramFailure with a sentence that says what to do
 */
export const goProgram = async (program: GoProgram, work: GoWork = {}): Promise<string> => {
  const { name, moduleFolder, package: packagePath = '.', flags = FLAGS } = program
  const all = workOf(work)
  const { env, progress, signal } = all
  // Of a platform that Go has another name for, the program is kept under Node's.
  const platform = platformName(process.platform, process.arch) ?? `${process.platform}-${process.arch}`
  const root = join(cacheRoot({ env, platform: process.platform, home: homedir() }, 'go-programs'), name)
  const key = await sourceKey(moduleFolder, [platform, packagePath, ...flags])
  const path = join(root, key, name)
  if (existsSync(path)) return path
  await requireGo(moduleFolder, `the program ${name} cannot be built`, all)
  const onWait = (pid: number | undefined): void => progress.line(`waiting for process ${pid ?? 'of another session'}, which builds ${name} …`)
  const release = await takeLock(join(root, '.lock'), { onWait, ...(signal !== undefined && { signal }) })
  try {
    // The other process may have built it meanwhile.
    if (!existsSync(path)) await fillAtomically(root, key, (folder) => build(program, packagePath, folder, all))
    return path
  } finally {
    await release?.()
  }
}
