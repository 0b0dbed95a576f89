/** Runs tap. */
import { spawn, type ChildProcess } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { errorCode } from '../../src/errors.ts'
import { run } from '../control-plane/run.ts'
import { ROOT, withOurNode } from '../project.ts'

const require = createRequire(import.meta.url)
const tapFolder = dirname(require.resolve('tap/package.json'))
const TAP = join(tapFolder, 'dist', 'esm', 'run.mjs')

/**
 * tap ships its test class with the TypeScript plugin built in, which .taprc turns off because it cannot work with TypeScript 7.
 * tap would build anew by itself in the middle of the first run, too late for that run.
 */
const isBuilt = (): boolean => {
  const fromTap = createRequire(join(tapFolder, 'package.json'))
  const builtFolder = dirname(fromTap.resolve('@tapjs/test/package.json'))
  const testClass = join(builtFolder, 'test-built', 'dist', 'esm', 'index.js')
  return !readFileSync(testClass, 'utf8').includes('@tapjs/typescript')
}

/** @throws Error when the class cannot be built */
export const ensureBuilt = async (print: (line: string) => void): Promise<void> => {
  if (isBuilt()) return
  print("building tap's test class without the TypeScript plugin, once after each installation …")
  const { code, stdout, stderr } = await run(process.execPath, [TAP, 'build'], { cwd: ROOT, env: withOurNode(process.env) })
  if (code !== 0 || !isBuilt()) throw new Error(`tap build failed: ${stdout}${stderr}`)
}

/** All test files, as .taprc says. */
export const findTestFiles = (): string[] => globSync('test/**/*.test.ts', { cwd: ROOT }).toSorted()

export interface TapRun {
  /** tap's exit code. No test process of it runs on then. */
  ended: Promise<number>
  /** Ends tap and its test processes. */
  end(): void
}

/** How long tap may take to end after a signal, in milliseconds. */
const END_MS = 5_000

/** tap leads a process group of its own, so that its test processes go with it. */
const signalGroup = ({ pid }: ChildProcess, signal: NodeJS.Signals): void => {
  if (pid === undefined) return
  try {
    process.kill(-pid, signal)
  } catch (error) {
    if (errorCode(error) !== 'ESRCH') throw error
  }
}

/** Runs test files; the raw TAP goes to `onTap`, what crashing files say on standard error to ours. */
export const runTap = (options: readonly string[], files: readonly string[], env: NodeJS.ProcessEnv, onTap: (text: string) => void): TapRun => {
  const args = [TAP, 'run', ...options, '--reporter=tap', ...files]
  const child = spawn(process.execPath, args, { cwd: ROOT, env: withOurNode(env), detached: true, stdio: ['ignore', 'pipe', 'inherit'] })
  child.stdout.setEncoding('utf8').on('data', onTap)
  const ended = new Promise<number>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', () => signalGroup(child, 'SIGKILL'))
    child.once('close', (code) => resolve(code ?? 1))
  })
  const end = (): void => {
    signalGroup(child, 'SIGTERM')
    const force = setTimeout(() => signalGroup(child, 'SIGKILL'), END_MS)
    child.once('exit', () => clearTimeout(force))
  }
  return { ended, end }
}
