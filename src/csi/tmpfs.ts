/** The files of a volume in memory: a tmpfs of its own, mounted on the target by the system's own commands. */
import { execFile } from 'node:child_process'
import { mkdir, readFile, readdir } from 'node:fs/promises'
import { messageOf } from '../errors.ts'
import { CsiError } from './grpc-status.ts'
import { checkTarget, checkVolume, emptyFolder, isFolder, onDisk, plainFiles, updateFolder, type VolumeFiles } from './volume-files.ts'

export interface CommandResult {
  /** undefined: it could not be run at all. */
  code: number | undefined
  /** What it said, or why it could not be run. */
  output: string
}

export interface MountCommands {
  run(command: 'mount' | 'umount', args: readonly string[]): Promise<CommandResult>
  /** The text of /proc/self/mountinfo. */
  mountInfo(): Promise<string>
}

/** How long a command may take, in milliseconds. */
const COMMAND_WITHIN_MS = 20_000
/** Root's own; the folder's mode and group are set as those of a plain one. */
const OPTIONS = 'size=16m,mode=0755,nosuid,nodev,noexec'
/** What mountinfo shows as its device: how we know ours. */
const SOURCE = 'access-gate'

export const systemMounts: MountCommands = {
  run: (command, args) =>
    new Promise((resolve) => {
      const env = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' }
      execFile(command, args, { timeout: COMMAND_WITHIN_MS, env }, (error, stdout, stderr) => {
        // The lines after the first are advice to people at a terminal.
        const [said = ''] = `${stderr}${stdout}`.trim().split('\n')
        if (error === null) resolve({ code: 0, output: said })
        else resolve({ code: typeof error.code === 'number' ? error.code : undefined, output: said === '' ? messageOf(error) : said })
      })
    }),
  mountInfo: () => readFile('/proc/self/mountinfo', 'utf8'),
}

/** Spaces, tabs, line ends and backslashes are octal in it. */
const unescaped = (text: string): string => text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))

export interface MountEntry {
  /** Of the file system, e.g. tmpfs. */
  type: string
  source: string
}

/** What is mounted on a path, the one on top last. */
export const mountsOn = (mountInfo: string, path: string): MountEntry[] =>
  mountInfo.split('\n').flatMap((line) => {
    // 36 35 98:0 /root /mount/point options … - type source superOptions
    const fields = line.split(' ')
    const [type, source] = fields.slice(fields.indexOf('-', 6) + 1)
    return unescaped(fields[4] ?? '') === path && type !== undefined && source !== undefined ? [{ type, source: unescaped(source) }] : []
  })

const needsPrivilege = (output: string): boolean => /permission denied|not permitted|must be superuser|only root/i.test(output)

const mountProblem = (target: string, { code, output }: CommandResult): CsiError => {
  const start = `a tmpfs cannot be mounted on ${target}`
  if (code === undefined) return new CsiError('INTERNAL', `${start}: the command mount cannot be run (${output}); use an image that has it, or run the plugin without --tmpfs`)
  if (needsPrivilege(output)) return new CsiError('INTERNAL', `${start} (${output}): that takes the capability SYS_ADMIN; give it to the plugin, or run it without --tmpfs`)
  return new CsiError('INTERNAL', `${start}: ${output}; look at the node`)
}

const hasPlainFiles = async (target: string): Promise<boolean> => (await isFolder(target)) && (await readdir(target)).length > 0

/**
 * Volumes in memory. A volume that a plugin without tmpfs filled stays the plain one that its Pod has mounted, and is kept up as such.
 * @param commands how the system mounts
 */
export const createTmpfsFiles = (commands: MountCommands = systemMounts): VolumeFiles => {
  /** @returns how many of ours are mounted there; anything else that is mounted there is an error */
  const layersOn = async (target: string): Promise<number> => {
    const layers = mountsOn(await commands.mountInfo(), target)
    const foreign = layers.find(({ type, source }) => type !== 'tmpfs' || source !== SOURCE)
    if (foreign !== undefined) throw new CsiError('INTERNAL', `${foreign.source} (${foreign.type}) is mounted on ${target}; unmount it on the node`)
    return layers.length
  }
  const isMounted = async (target: string): Promise<boolean> => (await layersOn(target)) > 0

  const mount = async (target: string): Promise<void> => {
    if (!(await isFolder(target))) await mkdir(target, { mode: 0o700 })
    const withOptions = (options: string): Promise<CommandResult> => commands.run('mount', ['-t', 'tmpfs', '-o', options, SOURCE, target])
    // Kernels before 6.4 do not know noswap and refuse it: there the memory may go to a swap device.
    const first = await withOptions(`${OPTIONS},noswap`)
    const result = first.code === 0 || first.code === undefined ? first : await withOptions(OPTIONS)
    if (result.code !== 0) throw mountProblem(target, result)
  }

  const unmount = async (target: string): Promise<void> => {
    const layers = await layersOn(target)
    // First what is in it: then nothing is left in a mount that somebody still has open.
    if (layers > 0) await emptyFolder(target)
    for (let layer = 0; layer < layers; layer += 1) {
      const first = await commands.run('umount', [target])
      // Busy: some process has a file of it open. The end of a Pod does not wait for that; the mount goes with the last of them.
      const result = first.code === 0 || first.code === undefined ? first : await commands.run('umount', ['-l', target])
      if (result.code !== 0) throw new CsiError('INTERNAL', `the tmpfs on ${target} cannot be unmounted: ${result.output}; unmount it on the node`)
    }
  }

  return {
    write: async (target, files, group) => {
      checkVolume(target, files)
      await onDisk('the files of the volume cannot be written to', target, async () => {
        if (!(await isMounted(target)) && !(await hasPlainFiles(target))) await mount(target)
        await updateFolder(target, files, group)
      })
    },
    look: async (target) => {
      checkTarget(target)
      return onDisk('the files of the volume cannot be listed in', target, async () => {
        const names = await plainFiles.look(target)
        return names === undefined || (names.length === 0 && !(await isMounted(target))) ? undefined : names
      })
    },
    remove: async (target) => {
      checkTarget(target)
      await onDisk('the files of the volume cannot be removed from', target, () => unmount(target))
      await plainFiles.remove(target)
    },
  }
}
