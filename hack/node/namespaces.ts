/** The namespaces in which a node lives: how they are made, and how they are seen from outside. */
import { readdir, readFile, readlink } from 'node:fs/promises'
import { errorCode } from '../../src/errors.ts'
import { lastLines, run } from '../control-plane/run.ts'

/** Arguments of unshare(1), before the command: its processes and mounts are its own, and end with it. */
export const OWN_NAMESPACES = ['--pid', '--mount', '--fork', '--kill-child', '--mount-proc', '--']

/** @returns why this process may not make such namespaces; undefined when it may */
export const namespaceProblem = async (unshare: string): Promise<string | undefined> => {
  const { code, stderr } = await run(unshare, [...OWN_NAMESPACES, 'true'])
  if (code === 0) return undefined
  return `no node: namespaces cannot be made here (${lastLines(stderr, 1)}); run this as root of the machine, or in a container that may (docker run --privileged)`
}

/** A process may end while it is looked at. */
const ifThere = async <T>(read: Promise<T>): Promise<T | undefined> => {
  try {
    return await read
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes(errorCode(error) ?? '')) return undefined
    throw error
  }
}

/** Of one /proc/<pid>/status: the ids of the process, from that of the outermost namespace to its own. */
export const namespacedIds = (status: string): number[] =>
  /^NSpid:\s+(.+)$/m.exec(status)?.[1]?.trim().split(/\s+/).map(Number) ?? []

/** @param unshare the pid of unshare(1), whose one child is the first process of the namespaces */
const firstProcess = async (unshare: number): Promise<number | undefined> => {
  const children = await ifThere(readFile(`/proc/${unshare}/task/${unshare}/children`, 'utf8'))
  const first = Number.parseInt(children ?? '', 10)
  return Number.isNaN(first) ? undefined : first
}

/** @returns the id that this machine has for a process, which has the id `inside` in the namespaces that unshare made; undefined when it is gone */
export const outsideId = async (unshare: number, inside: number): Promise<number | undefined> => {
  const init = await firstProcess(unshare)
  const namespace = init === undefined ? undefined : await ifThere(readlink(`/proc/${init}/ns/pid`))
  if (namespace === undefined) return undefined
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const status = await ifThere(readFile(`/proc/${name}/status`, 'utf8'))
    if (namespacedIds(status ?? '').at(-1) === inside && (await ifThere(readlink(`/proc/${name}/ns/pid`))) === namespace) return Number(name)
  }
  return undefined
}
