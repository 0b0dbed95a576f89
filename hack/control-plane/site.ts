/** The folder and the programs of one control plane: started, killed and started again. */
import { existsSync } from 'node:fs'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { ControlPlaneFailure } from './failure.ts'
import type { StartCommand } from './guard-protocol.ts'
import type { Guard } from './programs-under-guard.ts'
import { lastLines } from './run.ts'

export interface Site {
  folder: string
  guard: Guard
  /** By program; without those that were killed on purpose. */
  pids: Record<string, number>
  /** How each program was started, to start it again. */
  commands: Map<string, Omit<StartCommand, 'do'>>
  /** Programs that end because somebody wants them to. */
  killed: Set<string>
}

export const createSite = (folder: string, guard: Guard): Site => ({ folder, guard, pids: { guard: guard.pid }, commands: new Map(), killed: new Set() })

const logFileOf = (site: Site, program: string): string => join(site.folder, 'logs', `${program}.log`)

export const logTail = async (site: Site, program: string): Promise<string> => {
  const file = logFileOf(site, program)
  return existsSync(file) ? lastLines(await readFile(file, 'utf8'), 12) : ''
}

export const startProgram = async (site: Site, name: string, command: string, args: string[]): Promise<void> => {
  const logFile = logFileOf(site, name)
  await rm(logFile, { force: true })
  const start = { name, command, args, cwd: site.folder, logFile }
  site.commands.set(name, start)
  site.pids[name] = await site.guard.start(start)
}

/** @throws ControlPlaneFailure with the end of the program's log when one of them has ended */
export const throwIfEnded = async (site: Site, programs: readonly string[]): Promise<void> => {
  for (const program of programs) {
    const reason = site.guard.exitOf(program)
    if (reason !== undefined) throw new ControlPlaneFailure(`${program} ended at its start (${reason}); the end of its log:\n${await logTail(site, program)}`)
  }
}

/** By SIGKILL; returns when it is gone. A program that does not run is left as it is. */
export const killProgram = async (site: Site, name: string): Promise<void> => {
  if (site.pids[name] === undefined) return
  site.killed.add(name)
  await site.guard.kill(name)
  delete site.pids[name]
}

/**
 * Starts a killed program again as it was: same data, port and credentials; its log goes on in the same file.
 * @throws ControlPlaneFailure when it was not killed
 */
export const restartProgram = async (site: Site, name: string): Promise<void> => {
  const start = site.commands.get(name)
  if (start === undefined || !site.killed.has(name)) throw new ControlPlaneFailure(`${name} was not killed; only a killed program can be started again`)
  site.killed.delete(name)
  site.pids[name] = await site.guard.start(start)
}
