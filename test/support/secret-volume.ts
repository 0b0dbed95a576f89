/** A folder with the files of a Secret, written as a kubelet writes them. */
import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

export interface SecretVolume {
  /** Puts all files in their place at once: a new folder, and one link that is swapped. @param data base64, as a Secret carries it */
  write(data: Record<string, string>): Promise<void>
}

/** @param folder exists and is empty */
export const secretVolume = (folder: string): SecretVolume => {
  const current = join(folder, '..data')
  let count = 0
  let last: string | undefined
  return {
    write: async (data) => {
      count += 1
      const version = `..version-${count}`
      await mkdir(join(folder, version))
      await Promise.all(Object.entries(data).map(([name, value]) => writeFile(join(folder, version, name), Buffer.from(value, 'base64'), { mode: 0o440 })))
      await symlink(version, join(folder, '..data_tmp'))
      await rename(join(folder, '..data_tmp'), current)
      if (last === undefined) await Promise.all(Object.keys(data).map((name) => symlink(join('..data', name), join(folder, name))))
      else await rm(join(folder, last), { recursive: true })
      last = version
    },
  }
}
