import { readFile } from 'node:fs/promises'
import { CodedError, messageOf } from '../errors.ts'

/** Files whose content is used again when it changes. Polled: whoever writes them swaps links, which file events tell of badly. */
export interface WatchedFiles {
  /**
   * Reads all files and hands them on when one of them changed.
   * @returns whether they were handed on
   * @throws CodedError CONFIG_INVALID when one cannot be read; whatever `use` throws, once for each content
   */
  refresh: () => Promise<boolean>
}

const read = async (path: string): Promise<string> => {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    throw new CodedError('CONFIG_INVALID', `${path} cannot be read: ${messageOf(error)}`, { cause: error })
  }
}

/** @param use takes the contents in the order of the paths; what it throws leaves everything as it was */
export const watchFiles = (paths: readonly string[], use: (contents: string[]) => void): WatchedFiles => {
  let last: string | undefined
  return {
    refresh: async () => {
      const contents = await Promise.all(paths.map(read))
      const seen = JSON.stringify(contents)
      if (seen === last) return false
      last = seen
      use(contents)
      return true
    },
  }
}
