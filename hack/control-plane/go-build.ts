/** Builds the programs from the pinned Go module. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ControlPlaneFailure } from './failure.ts'
import { goFailureMessage, runGo } from './go-command.ts'
import { GO_BUILD_FLAGS, GO_MODULE_FOLDER, GO_PACKAGE, PROGRAMS } from './programs.ts'
import type { Progress } from './progress.ts'
import { neededGo } from './source.ts'

export const neededGoVersion = (): string => neededGo(readFileSync(join(GO_MODULE_FOLDER, 'go.mod'), 'utf8'))

export interface BuildOptions {
  env: NodeJS.ProcessEnv
  progress: Progress
  signal?: AbortSignal
}

/** @throws ControlPlaneFailure when a program does not build */
export const buildPrograms = async (folder: string, { env, progress, signal }: BuildOptions): Promise<void> => {
  progress.line('building the control plane with Go, once for this machine: about seven minutes on two cores, and some minutes of downloads before')
  for (const program of PROGRAMS) {
    await progress.step(`go build ${program}`, async (detail) => {
      const args = ['build', ...GO_BUILD_FLAGS, '-o', join(folder, program), GO_PACKAGE[program]]
      const { stderr, code } = await runGo(GO_MODULE_FOLDER, args, { env, detail, ...(signal !== undefined && { signal }) })
      if (code !== 0) throw new ControlPlaneFailure(goFailureMessage(`go build of ${program}`, stderr))
    })
  }
}
