/** Builds the programs from the pinned Go module. */
import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { errorCode } from './error-code.ts'
import { ControlPlaneFailure } from './failure.ts'
import { GO_BUILD_FLAGS, GO_MODULE_FOLDER, GO_PACKAGE, PROGRAMS } from './programs.ts'
import type { Progress } from './progress.ts'
import { lastLines, run } from './run.ts'
import { neededGo, type GoFact } from './source.ts'

export const neededGoVersion = (): string => neededGo(readFileSync(join(GO_MODULE_FOLDER, 'go.mod'), 'utf8'))

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

/** The user's own flags and cross-compiling settings would make other programs than the cache folder's name says. */
const buildEnvironment = (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv => {
  const { GOOS: _os, GOARCH: _arch, ...rest } = env
  return { ...rest, CGO_ENABLED: '0', GOWORK: 'off', GOFLAGS: '-buildvcs=false' }
}

export interface BuildOptions {
  env: NodeJS.ProcessEnv
  progress: Progress
  signal?: AbortSignal
}

/** @throws ControlPlaneFailure when a program does not build */
export const buildPrograms = async (folder: string, { env, progress, signal }: BuildOptions): Promise<void> => {
  progress.line('building the control plane with Go, once for this machine: about seven minutes on two cores, and some minutes of downloads before')
  for (const program of PROGRAMS) {
    await progress.step(`go build ${program}`, async (detail) => {
      const { stderr, code } = await run('go', ['build', ...GO_BUILD_FLAGS, '-o', join(folder, program), GO_PACKAGE[program]], {
        cwd: GO_MODULE_FOLDER,
        env: buildEnvironment(env),
        ...(signal !== undefined && { signal }),
        onStderr: (text) => detail(lastLines(text, 1).slice(0, 100)),
      })
      if (code === 0) return
      const hint = /dial tcp|no such host|i\/o timeout|proxyconnect/.test(stderr) ? 'Go could not reach its module proxy: connect to the network, or set GOPROXY' : 'see the lines below'
      throw new ControlPlaneFailure(`go build of ${program} failed; ${hint}\n${lastLines(stderr, 15)}`)
    })
  }
}
