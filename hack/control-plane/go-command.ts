/** Runs Go: what is known of it on this machine, and one build of one package. */
import { tmpdir } from 'node:os'
import { errorCode } from '../../src/errors.ts'
import { lastLines, run, type RunResult } from './run.ts'
import type { GoFact } from './source.ts'

/** Asked outside of any module, so that no go.mod switches the toolchain. */
export const findGo = async (env: NodeJS.ProcessEnv): Promise<GoFact> => {
  try {
    const { stdout, code } = await run('go', ['env', 'GOVERSION', 'GOTOOLCHAIN'], { cwd: tmpdir(), env: { ...env, GOWORK: 'off' } })
    const [version, toolchain] = stdout.trim().split('\n')
    if (code !== 0 || version === undefined || version === '') return { found: false }
    return { found: true, version, mayFetchToolchain: toolchain !== undefined && /^auto$|\+auto$/.test(toolchain) }
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return { found: false }
    throw error
  }
}

export interface GoCall {
  env: NodeJS.ProcessEnv
  /** Told the last line of what Go says, as it comes. */
  detail: (text: string) => void
  signal?: AbortSignal
}

/** The user's own flags and cross-compiling settings would make other programs than the cache folder's name says. */
const goEnvironment = (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv => {
  const { GOOS: _os, GOARCH: _arch, ...rest } = env
  return { ...rest, CGO_ENABLED: '0', GOWORK: 'off', GOFLAGS: '-buildvcs=false' }
}

/** @param moduleFolder where the go.mod is that pins everything */
export const runGo = (moduleFolder: string, args: readonly string[], { env, detail, signal }: GoCall): Promise<RunResult> =>
  run('go', args, {
    cwd: moduleFolder,
    env: goEnvironment(env),
    ...(signal !== undefined && { signal }),
    onStderr: (text) => detail(lastLines(text, 1).slice(0, 100)),
  })

const UNREACHABLE = /dial tcp|no such host|i\/o timeout|proxyconnect/

/** Why Go failed, for a person: a sentence and the end of what Go said. @param what begins the sentence, e.g. "go build of etcd" */
export const goFailureMessage = (what: string, stderr: string): string => {
  const hint = UNREACHABLE.test(stderr) ? 'Go could not reach its module proxy: connect to the network, or set GOPROXY' : 'see the lines below'
  return `${what} failed; ${hint}\n${lastLines(stderr, 15)}`
}
