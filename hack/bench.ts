/** `npm run bench`: numbers for what access-gate costs, beside what people would use instead. */
import { existsSync } from 'node:fs'
import { mkdtemp, rename } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { messageOf } from '../src/errors.ts'
import { readOptions, type BenchOptions } from './bench/options.ts'
import { goalsLine, jsonLine, tableLines } from './bench/report.ts'
import { runSections } from './bench/run.ts'
import { SECTIONS } from './bench/sections.ts'
import { bundle } from './build/bundle.ts'
import { startGuard } from './control-plane/programs-under-guard.ts'
import { createProgress } from './control-plane/progress.ts'
import { resolveBinaries } from './control-plane/resolve.ts'
import { startControlPlane } from './control-plane/start.ts'
import { ROOT } from './project.ts'
import { endingSignal } from './sandbox/ending.ts'

/** Milliseconds from SIGTERM to SIGKILL for what a section left running. */
const GRACE_MS = 5_000

const print = (line: string): void => void process.stdout.write(`${line}\n`)
const log = (line: string): void => void process.stderr.write(`${line}\n`)

/**
 * Not in dist: what is there belongs to `npm run build`. Named as in the image: where no package.json says that it is a module, Node reads
 * and compiles a .js file twice to find out, and the memory for that is never given back.
 */
const bundleAsShipped = async (outDir: string): Promise<string> => {
  const { file } = await bundle({ root: ROOT, entry: 'src/main.ts', outDir, name: 'access-gate' })
  const program = join(outDir, 'access-gate.mjs')
  await rename(file, program)
  return program
}

const run = async ({ json, quick, sections }: BenchOptions): Promise<number> => {
  const signal = endingSignal()
  const folder = await mkdtemp(join(tmpdir(), 'access-gate-bench-'))
  const guard = startGuard({ removeAtEnd: folder, graceMs: GRACE_MS })
  const start = performance.now()
  let built: Promise<string> | undefined
  try {
    const { results, failed, skipped } = await runSections(sections, {
      startControlPlane: async () => {
        const { binaries } = await resolveBinaries({ progress: createProgress(process.stderr), signal })
        return startControlPlane({ binaries, log: () => undefined, signal })
      },
      bundle: () => (built ??= bundleAsShipped(join(folder, 'bundle'))),
      guard,
      folder,
      quick,
      log,
      signal,
    })
    for (const line of [...tableLines(results), '', goalsLine(results)]) print(line)
    if (skipped.length > 0) print(`skipped: ${skipped.join(', ')}; the reasons are above`)
    if (failed.length > 0) print(`could not be measured: ${failed.join(', ')}; the reasons are above`)
    if (json) print(jsonLine(results, (performance.now() - start) / 1000))
    return failed.length > 0 ? 1 : 0
  } finally {
    await guard.close()
  }
}

const main = async (): Promise<number> => {
  const options = readOptions(SECTIONS, process.argv.slice(2), { out: (text) => process.stdout.write(text), err: (text) => process.stderr.write(text) })
  if ('exitCode' in options) return options.exitCode
  if (!existsSync('/proc/self/stat')) throw new Error('the benchmark reads what processes use from /proc, which this system does not have: run it on Linux')
  return run(options)
}

process.exitCode = await main().catch((error: unknown) => {
  process.stderr.write(`${messageOf(error)}\n`)
  return 1
})
