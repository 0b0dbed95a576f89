/** What of a node is still on this machine. */
import { glob, readFile, readdir } from 'node:fs/promises'
import { errorCode } from '../../src/errors.ts'

/** A process may end while it is looked at. */
const textOf = async (file: string): Promise<string> => {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes(errorCode(error) ?? '')) return ''
    throw error
  }
}

const found = async (pattern: string): Promise<string[]> => {
  const paths: string[] = []
  for await (const path of glob(pattern)) paths.push(path)
  return paths
}

export interface Remains {
  /** Command lines of processes that name the node's folder. */
  processes: string[]
  /** Mounts below it, or of it, that this process sees. */
  mounts: string[]
  folders: string[]
  cgroups: string[]
}

export const NOTHING: Remains = { processes: [], mounts: [], folders: [], cgroups: [] }

/** Of a running node's containers: another node of this machine has others. */
export const containerIds = async (folder: string): Promise<string[]> => readdir(`${folder}/containerd/state/io.containerd.runtime.v2.task/k8s.io`)

/** @param containers ids of those whose control groups are looked for */
export const remainsOf = async (folder: string, containers: readonly string[]): Promise<Remains> => {
  const ids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
  const commandLines = await Promise.all(ids.map((id) => textOf(`/proc/${id}/cmdline`)))
  const mounts = (await textOf('/proc/self/mountinfo')).split('\n')
  return {
    processes: commandLines.filter((line) => line.includes(folder)).map((line) => line.replaceAll('\0', ' ').trim()),
    mounts: mounts.filter((line) => line.includes(folder)),
    folders: await found(folder),
    cgroups: (await Promise.all(containers.map((id) => found(`/sys/fs/cgroup/{,*/}k8s.io/${id}`)))).flat(),
  }
}
