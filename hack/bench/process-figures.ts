/** What the kernel knows of a running process. Linux alone: read from /proc. */
import { readFile } from 'node:fs/promises'

/** The kernel counts processor time for user space in hundredths of a second on every platform that Node runs on. */
const TICK_US = 10_000

/** utime and stime of a line of /proc/<pid>/stat, as microseconds. The command's name in it may hold spaces and brackets. */
export const cpuOfStat = (stat: string): number => {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [user, system] = [Number(fields[11]), Number(fields[12])]
  if (!Number.isInteger(user) || !Number.isInteger(system)) throw new Error('this is no line of /proc/<pid>/stat')
  return (user + system) * TICK_US
}

/** VmRSS of /proc/<pid>/status, as bytes. */
export const rssOfStatus = (status: string): number => {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]
  if (kilobytes === undefined) throw new Error('this is no /proc/<pid>/status of a running process')
  return Number(kilobytes) * 1024
}

/** User and system time of all threads since the start, microseconds, in steps of 10,000. */
export const cpuMicroseconds = async (pid: number): Promise<number> => cpuOfStat(await readFile(`/proc/${pid}/stat`, 'utf8'))

/** Resident memory, in units of 1,000,000 bytes. */
export const rssMegabytes = async (pid: number): Promise<number> => rssOfStatus(await readFile(`/proc/${pid}/status`, 'utf8')) / 1e6
