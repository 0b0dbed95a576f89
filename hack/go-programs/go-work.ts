/** What every call here takes, and the Go that it needs. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { findGo } from '../control-plane/go-command.ts'
import { createProgress, type Progress } from '../control-plane/progress.ts'
import { goProblem, neededGo } from '../control-plane/source.ts'
import { GoProgramFailure } from './failure.ts'

export interface GoWork {
  /** Default: that of this process. */
  env?: NodeJS.ProcessEnv
  /** Told what takes time. Default: standard error. */
  progress?: Progress
  /** Aborting ends a download, a build or the waiting for another process. */
  signal?: AbortSignal
}

export type Work = Pick<GoWork, 'signal'> & Required<Omit<GoWork, 'signal'>>

export const workOf = ({ env = process.env, progress = createProgress(process.stderr), signal }: GoWork): Work => ({
  env,
  progress,
  ...(signal !== undefined && { signal }),
})

/** @param purpose begins the sentence, e.g. "the program go-webhook cannot be built". @throws GoProgramFailure when this machine's Go cannot work on the module */
export const requireGo = async (moduleFolder: string, purpose: string, { env }: Work): Promise<void> => {
  const needed = neededGo(await readFile(join(moduleFolder, 'go.mod'), 'utf8'))
  const problem = goProblem(await findGo(env), needed)
  if (problem !== undefined) throw new GoProgramFailure(`${purpose}: ${problem}`)
}
