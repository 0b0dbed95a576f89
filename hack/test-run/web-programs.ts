/** The proxy and the browser of other people's, for tests that go all the way from a browser to a Workspace: found on the PATH. */
import { join } from 'node:path'
import { isProgram, programFolders } from '../node/packages.ts'

/** Absolute paths. */
export interface WebPrograms {
  nginx: string
  chromium: string
}

/** Debian's packages have the names of the programs. */
const NAMES = ['nginx', 'chromium'] as const

export const findWebPrograms = (folders: readonly string[]): { programs: WebPrograms } | { missing: readonly string[] } => {
  const pathOf = (name: keyof WebPrograms): string => folders.map((folder) => join(folder, name)).find(isProgram) ?? ''
  const programs = { nginx: pathOf('nginx'), chromium: pathOf('chromium') }
  const missing = NAMES.filter((name) => programs[name] === '')
  return missing.length === 0 ? { programs } : { missing }
}

/** @returns why tests that need them cannot run; undefined where they can */
export const whyNoWeb = (folders: readonly string[]): string | undefined => {
  const found = findWebPrograms(folders)
  if ('programs' in found) return undefined
  const { missing } = found
  return `${missing.join(' and ')} ${missing.length === 1 ? 'is' : 'are'} not installed`
}

/** @throws Error that names what is missing */
export const webPrograms = (env: NodeJS.ProcessEnv = process.env): WebPrograms => {
  const folders = programFolders(env)
  const found = findWebPrograms(folders)
  if ('programs' in found) return found.programs
  throw new Error(`this test cannot run: ${found.missing.join(' and ')} of Debian must be installed`)
}
