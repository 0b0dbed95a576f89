/** Names what a build is made of, so that a changed source is another program. */
import { readdir, readFile } from 'node:fs/promises'
import { join, relative, sep } from 'node:path'
import { pinKey } from '../control-plane/programs.ts'

/** Every file below the module's folder: go.mod, go.sum, sources and what they embed. By path, so that the order is the same everywhere. */
const filesOf = async (folder: string): Promise<[path: string, content: string][]> => {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  return Promise.all(
    paths.toSorted().map(async (path): Promise<[string, string]> => [relative(folder, path).split(sep).join('/'), await readFile(path, 'latin1')]),
  )
}

/** @param settings whatever else makes another program: flags, platform, package */
export const sourceKey = async (moduleFolder: string, settings: readonly string[]): Promise<string> =>
  pinKey(...settings, ...(await filesOf(moduleFolder)).flat())
