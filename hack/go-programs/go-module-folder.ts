/** Finds the folder of a Go module that a go.mod of ours pins, for the files in it that are no Go code. */
import { goFailureMessage, runGo } from '../control-plane/go-command.ts'
import { GoProgramFailure } from './failure.ts'
import { requireGo, workOf, type GoWork } from './go-work.ts'

const quiet = (): void => undefined

/**
 * The module's folder in Go's own cache, downloaded when it is not there and held against go.sum. Nothing may be written in it.
 * @param moduleFolder where go.mod and go.sum are
 * @param modulePath of a module that the go.mod requires, e.g. "github.com/cert-manager/cert-manager"
 * @throws GoProgramFailure with a sentence that says what to do
 */
export const goModuleFolder = async (moduleFolder: string, modulePath: string, work: GoWork = {}): Promise<string> => {
  const all = workOf(work)
  const { progress, env, signal } = all
  await requireGo(moduleFolder, `the Go module ${modulePath} cannot be had`, all)
  const go = async (args: readonly string[], detail: (text: string) => void = quiet): Promise<string> => {
    const { stdout, stderr, code } = await runGo(moduleFolder, args, { env, detail, ...(signal !== undefined && { signal }) })
    if (code !== 0) throw new GoProgramFailure(goFailureMessage(`go ${args.slice(0, 2).join(' ')} of ${modulePath}`, stderr))
    return stdout.trim()
  }
  const folderOf = (): Promise<string> => go(['list', '-m', '-f', '{{.Dir}}', modulePath])
  const version = await go(['list', '-m', '-f', '{{.Version}}', modulePath])
  // Also of a module that is there already: only this command holds it against our go.sum.
  const download = (detail?: (text: string) => void): Promise<string> => go(['mod', 'download', `${modulePath}@${version}`], detail)
  if ((await folderOf()) === '') await progress.step(`downloading the Go module ${modulePath} ${version}`, download)
  else await download()
  return folderOf()
}
