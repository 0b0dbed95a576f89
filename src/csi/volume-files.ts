/** The files of a volume in its target folder: plain ones on the node's disk here, in memory by tmpfs.ts. */
import { constants, type Stats } from 'node:fs'
import { lstat, mkdir, open, readdir, rename, rm, type FileHandle } from 'node:fs/promises'
import { basename, dirname, join, normalize } from 'node:path'
import { messageOf, errorCode } from '../errors.ts'
import { CsiError } from './grpc-status.ts'

/**
 * One volume is one target folder; whoever calls does one thing at a time with it. Errors are CsiErrors whose message names the target.
 * Whatever is interrupted, at any moment, is repaired by the next write and removed by the next remove.
 */
export interface VolumeFiles {
  /**
   * Makes the target hold exactly these files: all of them are there when it returns. Where no target is yet it appears with all of its
   * files at once; otherwise one file after the other is replaced, each as a whole, and what does not belong is removed at the end.
   * @param files by name, without a slash
   * @param group numeric group that alone may read them; undefined: everybody may
   */
  write(target: string, files: ReadonlyMap<string, string>, group: number | undefined): Promise<void>
  /** The names that are there, sorted; undefined: there is no such volume (no folder, or nothing mounted on it). */
  look(target: string): Promise<readonly string[] | undefined>
  /** Leaves nothing of the target, also when nothing is there. What a link points to stays as it is. */
  remove(target: string): Promise<void>
}

/** Files and folders of ours that are not ready; the folder is beside the target, where kubelet would stumble over it if it stayed. */
export const UNREADY = '.access-gate-new'
const MAX_NAME_BYTES = 255
const READ_NO_LINK = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

const ADVICE = new Map<unknown, string>([
  ['ENOSPC', "the node's disk is full"],
  ['EROFS', 'its file system is read-only; look at the node'],
  ['EPERM', 'give the plugin the capability CHOWN, and look whether a file there is immutable'],
  ['EACCES', 'the plugin must run as root and own the folder'],
  ['EBUSY', 'something is mounted on it; unmount it on the node'],
])

/** Does what touches the disk, and says in one sentence what could not be done. */
export const onDisk = async <T>(what: string, target: string, work: () => Promise<T>): Promise<T> => {
  try {
    return await work()
  } catch (error) {
    if (error instanceof CsiError) throw error
    const advice = ADVICE.get(errorCode(error))
    throw new CsiError('INTERNAL', `${what} ${target}: ${messageOf(error)}${advice === undefined ? '' : `; ${advice}`}`, { cause: error })
  }
}

/** A path that names one folder in some other one, and nothing else. @throws CsiError INVALID_ARGUMENT */
export const checkTarget = (target: string): void => {
  const isPlain = target.startsWith('/') && target === normalize(target) && !target.endsWith('/') && !target.includes('\0')
  if (!isPlain) throw new CsiError('INVALID_ARGUMENT', `the target must be the absolute path of a folder, without "." and ".."; got ${JSON.stringify(target)}`)
}

/** @throws CsiError INTERNAL, as names were checked where the files were made */
const checkName = (name: string): void => {
  const isPlain = name !== '' && name !== '.' && name !== '..' && !/[/\0]/.test(name) && !name.startsWith(UNREADY) && Buffer.byteLength(name) <= MAX_NAME_BYTES
  if (!isPlain) throw new CsiError('INTERNAL', `a volume cannot hold a file of the name ${JSON.stringify(name)}`)
}

const statOf = async (path: string): Promise<Stats | undefined> => {
  try {
    return await lstat(path)
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Of a link it removes the link, and it goes into no link on its way down. */
const removeAll = (path: string): Promise<void> => rm(path, { recursive: true, force: true })

/** A folder on the same file system as the target, so that it can become it by one rename. */
const unreadyFolder = (target: string): string => join(dirname(target), `${UNREADY}-${basename(target)}`)

/** Where new files of a folder that is there are kept until all are ready: beside it, out of a container's sight, unless it is a mount of its own. */
const stagingFolder = async (folder: string): Promise<string> => {
  const [own, outer] = await Promise.all([lstat(folder), lstat(dirname(folder))])
  return own.dev === outer.dev ? unreadyFolder(folder) : join(folder, UNREADY)
}

const fileMode = (group: number | undefined): number => (group === undefined ? 0o444 : 0o440)
/** Its owner, which is root, may change what is in it and needs no capability for that; a Pod sees it through a read-only mount. */
const folderMode = (group: number | undefined): number => (group === undefined ? 0o755 : 0o750)

/** The group comes first: nobody may read by a mode that was meant for another group. */
const settle = async (handle: FileHandle, mode: number, group: number | undefined): Promise<void> => {
  if (group !== undefined) await handle.chown(-1, group)
  await handle.chmod(mode)
}

const closing = async <T>(handle: FileHandle, work: () => Promise<T>): Promise<T> => {
  try {
    return await work()
  } finally {
    await handle.close()
  }
}

/**
 * A new file.
 * @param durable whether it is on the disk itself in the end. Without it, what a crash of the node loses is written again before a container
 *   starts: kubelet publishes every volume anew after it, and write() compares contents.
 */
const createFile = async (path: string, content: string, group: number | undefined, durable: boolean): Promise<void> => {
  const handle = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o400)
  await closing(handle, async () => {
    await handle.writeFile(content)
    await settle(handle, fileMode(group), group)
    if (durable) await handle.sync()
  })
}

const settleFolder = async (path: string, group: number | undefined): Promise<void> => {
  const handle = await open(path, READ_NO_LINK | constants.O_DIRECTORY)
  await closing(handle, () => settle(handle, folderMode(group), group))
}

/** Whether the file is there just as it would be written. */
const isWritten = async (path: string, content: string, group: number | undefined): Promise<boolean> => {
  const found = await statOf(path)
  if (found === undefined || !found.isFile() || found.nlink !== 1 || found.uid !== process.geteuid?.()) return false
  if ((found.mode & 0o7777) !== fileMode(group) || (group !== undefined && found.gid !== group) || found.size !== Buffer.byteLength(content)) return false
  const handle = await open(path, READ_NO_LINK)
  return closing(handle, async () => (await handle.readFile('utf8')) === content)
}

/**
 * A folder that is not there yet, with all its files at once: on the disk itself before anything is on record, since after a loss of power
 * the record would speak for empty files.
 */
const createFolder = async (target: string, files: ReadonlyMap<string, string>, group: number | undefined): Promise<void> => {
  const unready = unreadyFolder(target)
  await mkdir(unready, { mode: 0o700 })
  try {
    for (const [name, content] of files) await createFile(join(unready, name), content, group, true)
    await settleFolder(unready, group)
    await rename(unready, target)
  } catch (error) {
    await removeAll(unready)
    throw error
  }
}

/**
 * Makes a folder that is there, also an empty one, hold exactly these files. The folder itself stays: a container may have it mounted.
 * New contents are all there before the first is shown, so that a full disk changes nothing.
 */
export const updateFolder = async (folder: string, files: ReadonlyMap<string, string>, group: number | undefined): Promise<void> => {
  const staging = await stagingFolder(folder)
  await removeAll(staging)
  const found = await readdir(folder, { withFileTypes: true })
  await settleFolder(folder, group)
  const changed: string[] = []
  for (const [name, content] of files) if (!(await isWritten(join(folder, name), content, group))) changed.push(name)
  if (changed.length > 0) {
    const folders = new Set(found.filter((entry) => entry.isDirectory()).map(({ name }) => name))
    await mkdir(staging, { mode: 0o700 })
    try {
      for (const name of changed) await createFile(join(staging, name), files.get(name) ?? '', group, false)
      for (const name of changed) {
        // A file does not replace a folder.
        if (folders.has(name)) await removeAll(join(folder, name))
        await rename(join(staging, name), join(folder, name))
      }
    } finally {
      await removeAll(staging)
    }
  }
  for (const { name } of found.filter((entry) => !files.has(entry.name))) await removeAll(join(folder, name))
}

/** Leaves the folder, and nothing in it. */
export const emptyFolder = async (folder: string): Promise<void> => {
  for (const name of await readdir(folder)) await removeAll(join(folder, name))
}

/** @throws CsiError when something else than a folder is there */
export const isFolder = async (target: string): Promise<boolean> => {
  const found = await statOf(target)
  if (found === undefined) return false
  if (!found.isDirectory()) throw new CsiError('INTERNAL', `the files of the volume cannot be written to ${target}: it is no folder; remove it on the node`)
  return true
}

/** @throws CsiError for a target or a name that cannot be one */
export const checkVolume = (target: string, files: ReadonlyMap<string, string>): void => {
  checkTarget(target)
  for (const name of files.keys()) checkName(name)
}

/** Plain files in the target folder itself: no mount, no privilege, and what is in them is on the node's disk. */
export const plainFiles: VolumeFiles = {
  write: async (target, files, group) => {
    checkVolume(target, files)
    await onDisk('the files of the volume cannot be written to', target, async () => {
      await removeAll(unreadyFolder(target))
      if (await isFolder(target)) await updateFolder(target, files, group)
      else await createFolder(target, files, group)
    })
  },
  look: async (target) => {
    checkTarget(target)
    return onDisk('the files of the volume cannot be listed in', target, async () => {
      const found = await statOf(target)
      if (found === undefined || !found.isDirectory()) return undefined
      return (await readdir(target)).filter((name) => !name.startsWith(UNREADY)).toSorted()
    })
  },
  remove: async (target) => {
    checkTarget(target)
    await onDisk('the files of the volume cannot be removed from', target, async () => {
      await removeAll(unreadyFolder(target))
      await removeAll(target)
    })
  },
}
