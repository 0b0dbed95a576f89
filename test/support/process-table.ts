/** All processes of this machine, and which belong to one. */
import { execFile } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { errorCode } from '../../src/errors.ts'

export interface ProcessLine {
  pid: number
  parent: number
  group: number
  command: string
}

const run = promisify(execFile)

/** One that ended has an empty command line until its parent hears of it, and is gone for everybody else. */
const isThere = (line: ProcessLine | undefined): line is ProcessLine => line !== undefined && line.command !== ''

const readLine = async (pid: string): Promise<ProcessLine | undefined> => {
  try {
    const [stat, command] = await Promise.all([readFile(`/proc/${pid}/stat`, 'utf8'), readFile(`/proc/${pid}/cmdline`, 'utf8')])
    // "<pid> (<name>) <state> <parent> <group> …", and the name may hold anything.
    const [, parent, group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return { pid: Number(pid), parent: Number(parent), group: Number(group), command: command.replaceAll('\0', ' ').trim() }
  } catch (error) {
    // It ended while it was looked at.
    if (['ENOENT', 'ESRCH'].includes(errorCode(error) ?? '')) return undefined
    throw error
  }
}

const readPs = async (): Promise<ProcessLine[]> => {
  const { stdout } = await run('ps', ['-A', '-ww', '-o', 'pid=', '-o', 'ppid=', '-o', 'pgid=', '-o', 'stat=', '-o', 'args='])
  return stdout.split('\n').flatMap((line) => {
    const [, pid, parent, group, state = '', command = ''] = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line) ?? []
    return pid === undefined || state.startsWith('Z') ? [] : [{ pid: Number(pid), parent: Number(parent), group: Number(group), command }]
  })
}

/** Also on a Linux without ps(1). */
export const listProcesses = async (): Promise<ProcessLine[]> => {
  if (process.platform !== 'linux') return readPs()
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  return (await Promise.all(pids.map(readLine))).filter(isThere)
}

/** A process and all that it started, whoever of them did. */
export const familyOf = (pid: number, processes: readonly ProcessLine[]): ProcessLine[] => [
  ...processes.filter((line) => line.pid === pid),
  ...processes.filter(({ parent }) => parent === pid).flatMap((child) => familyOf(child.pid, processes)),
]
