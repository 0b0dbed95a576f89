/** The cache folder outside the checkout: where it is, and how it is written by one process at a time. */
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'

interface Place {
  env: Record<string, string | undefined>
  platform: string
  home: string
}

/** Survives `git clean`, shared by all checkouts of a user. @param of what is kept there: one folder for each */
export const cacheRoot = ({ env, platform, home }: Place, of: 'control-plane' | 'go-programs' = 'control-plane'): string => {
  const set = env['XDG_CACHE_HOME']
  const base = set !== undefined && set.startsWith('/') ? set : platform === 'darwin' ? join(home, 'Library', 'Caches') : join(home, '.cache')
  return join(base, 'access-gate', of)
}

const PARTIAL = '.partial-'

/** What a process left that was killed while it filled a folder. */
const removeLeftovers = async (root: string): Promise<void> => {
  const leftovers = (await readdir(root)).filter((name) => name.startsWith(PARTIAL))
  await Promise.all(leftovers.map((name) => rm(join(root, name), { recursive: true, force: true })))
}

/**
 * Fills a folder beside its final place and moves it there, so that a folder that exists is complete.
 * Call it with the cache's lock held: what other calls left half done is removed.
 * @returns the final path
 */
export const fillAtomically = async (root: string, name: string, fill: (folder: string) => Promise<void>): Promise<string> => {
  const target = join(root, name)
  await mkdir(root, { recursive: true, mode: 0o700 })
  await removeLeftovers(root)
  const folder = await mkdtemp(join(root, PARTIAL))
  try {
    await fill(folder)
    // Left by a release of ours that wrote in place, or half removed by hand: what is there is not complete.
    if (existsSync(target)) await rm(target, { recursive: true, force: true })
    await rename(folder, target)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  return target
}
