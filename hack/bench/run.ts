/** Runs sections one after the other; what each of them started ends with it. */
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf } from '../../src/errors.ts'
import type { Guard } from '../control-plane/programs-under-guard.ts'
import type { ControlPlane } from '../control-plane/start.ts'
import { figuresProblem, type SectionResult } from './report.ts'
import { SectionSkipped, type BenchEnv, type Figure, type Section, type ServerProcess } from './section.ts'

/** What a run has, whatever its sections are. */
export interface RunServices {
  startControlPlane: () => Promise<ControlPlane>
  bundle: () => Promise<string>
  guard: Pick<Guard, 'start' | 'stop' | 'exitOf'>
  /** Each section gets a folder in it. */
  folder: string
  quick: boolean
  log: (line: string) => void
  signal: AbortSignal
}

const openEnv = async (services: RunServices, name: string): Promise<{ env: BenchEnv; close: () => Promise<void> }> => {
  const { guard, quick, log, signal } = services
  const folder = join(services.folder, name)
  await mkdir(folder, { recursive: true })
  const stops: (() => Promise<void> | void)[] = []
  const programs: string[] = []
  let cluster: Promise<ControlPlane> | undefined

  const start = async (program: string, command: string, args: readonly string[]): Promise<ServerProcess> => {
    signal.throwIfAborted()
    const unique = `${name} ${program}`
    const logFile = join(folder, `${program}.log`)
    const pid = await guard.start({ name: unique, command, args: [...args], cwd: folder, logFile })
    programs.push(unique)
    return { pid, exit: () => guard.exitOf(unique), log: () => readFile(logFile, 'utf8'), stop: () => guard.stop(unique) }
  }

  const closers = (): (() => Promise<void> | void)[] => [
    ...stops.toReversed(),
    ...programs.toReversed().map((program) => () => guard.stop(program)),
    async () => {
      await (await cluster)?.stop()
    },
  ]

  return {
    env: {
      cluster: () => (cluster ??= services.startControlPlane()),
      bundle: () => services.bundle(),
      start,
      folder,
      quick,
      log,
      signal,
      atEnd: (stop) => void stops.push(stop),
    },
    // All of them, also after one that fails.
    close: async () => {
      for (const closer of closers()) {
        try {
          await closer()
        } catch (error) {
          log(`${name} did not end as it should: ${messageOf(error)}`)
        }
      }
    },
  }
}

const runSection = async (services: RunServices, section: Section): Promise<Figure[]> => {
  const { env, close } = await openEnv(services, section.name)
  try {
    const figures = await section.run(env)
    const problem = figuresProblem(section, figures, services.quick)
    if (problem !== undefined) throw new Error(problem)
    return figures
  } finally {
    await close()
  }
}

export interface RunResult {
  results: SectionResult[]
  /** Names of the sections that could not be measured. */
  failed: string[]
  /** Names of the sections that this machine cannot do. */
  skipped: string[]
}

/** @throws the signal's reason when it aborts; nothing is left running then */
export const runSections = async (sections: readonly Section[], services: RunServices): Promise<RunResult> => {
  const { log, signal } = services
  const outcome: RunResult = { results: [], failed: [], skipped: [] }
  for (const section of sections) {
    signal.throwIfAborted()
    log(`${section.name}: ${section.title} …`)
    const start = performance.now()
    try {
      outcome.results.push({ section, figures: await runSection(services, section) })
      log(`${section.name}: done in ${Math.round((performance.now() - start) / 1000)} s`)
    } catch (error) {
      // What failed because it was ended is no result.
      signal.throwIfAborted()
      const isSkipped = error instanceof SectionSkipped
      outcome[isSkipped ? 'skipped' : 'failed'].push(section.name)
      log(`${section.name}: ${isSkipped ? 'skipped' : 'could not be measured'}: ${messageOf(error)}`)
    }
  }
  return outcome
}
