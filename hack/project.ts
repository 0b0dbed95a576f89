/** Where the project is, and how its own tools are run: with this Node, not the machine's. */
import { delimiter, dirname, join } from 'node:path'

export const ROOT = join(import.meta.dirname, '..')

/** A program that an npm package of ours brought. */
export const toolPath = (name: string): string => join(ROOT, 'node_modules', '.bin', name)

/** Tools start `node` by its name: it must be the one that runs us. */
export const withOurNode = (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv => ({
  ...env,
  PATH: `${dirname(process.execPath)}${delimiter}${env['PATH'] ?? ''}`,
})
