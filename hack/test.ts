/**
 * `npm test`: all tests but the fault runs, with one real control plane for those in test/integration; `npm run faults`: the fault
 * runs. Both end with `N passed, N failed`.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf } from '../src/errors.ts'
import { ControlPlaneFailure } from './control-plane/failure.ts'
import type { Binaries } from './control-plane/programs.ts'
import { createProgress } from './control-plane/progress.ts'
import { resolveBinaries } from './control-plane/resolve.ts'
import { startControlPlane, type ControlPlane } from './control-plane/start.ts'
import { startSandbox, type Sandbox } from './sandbox/sandbox.ts'
import { programFolders } from './node/packages.ts'
import { resolveNode } from './node/programs.ts'
import { createReport } from './test-run/report.ts'
import { countsLine, filesFor, judge, optionsFor, readArguments, selectFiles, unavailableLines, type Counts } from './test-run/selection.ts'
import { ensureBuilt, findTestFiles, runTap } from './test-run/tap.ts'
import { whyNoWeb } from './test-run/web-programs.ts'

const HELP = `Usage: npm test [-- [files, folders or globs] [options of tap]]
       npm run faults [-- [files or globs of test/faults] [options of tap]]

Runs the tests with tap; without arguments all of them but the fault runs. Test files in test/integration run on a
real control plane, which is found, downloaded or built (npm run control-plane -- --help) and started once for the run.
Those in test/faults break things: each starts a control plane of its own, and says what it counted. Those in test/node
start a kubelet too, which needs Linux, root, containerd and runc (npm run node -- --help). Those in test/web need
Debian's nginx and chromium.
The values of options are joined by "=": npm test -- test/core --jobs=1

Environment:
  CI=true   integration tests that cannot run count as failed; as root, missing Debian packages are installed;
            properties are tried with one seed, else with another one each time
`

const print = (line: string): void => void process.stdout.write(`${line}\n`)

/** From the first signal on everything ends; the second one changes nothing. */
const createEnding = () => {
  const controller = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => controller.abort(new ControlPlaneFailure(`ended by ${signal}`)))
  return controller.signal
}

const startForTests = async (binaries: Binaries, ending: AbortSignal): Promise<ControlPlane> => {
  // The signal ends a start; later on, what uses the control plane is stopped before it.
  const starting = new AbortController()
  const onEnding = (): void => starting.abort(ending.reason)
  ending.throwIfAborted()
  ending.addEventListener('abort', onEnding)
  const controlPlane = await startControlPlane({ binaries, log: print, signal: starting.signal })
  ending.removeEventListener('abort', onEnding)
  controlPlane.died.then((sentence) => print(`the control plane broke down: ${sentence}`), () => undefined)
  return controlPlane
}

/** Test processes find the control plane by this file; it holds the administrator's token. */
const describe = async ({ description }: ControlPlane): Promise<string> => {
  const file = join(description.workDir, 'test-cluster.json')
  await writeFile(file, JSON.stringify(description), { mode: 0o600 })
  return file
}

const runFiles = async (options: readonly string[], files: readonly string[], cluster: string | undefined, ending: AbortSignal): Promise<{ counts: Counts; code: number }> => {
  const report = createReport(print)
  if (files.length === 0 || ending.aborted) return { counts: report.end(), code: 0 }
  // A test must never reach a cluster of the user's by accident.
  const env = { ...process.env, KUBECONFIG: '/dev/null', ...(cluster !== undefined && { ACCESS_GATE_TEST_CONTROL_PLANE: cluster }) }
  const tap = runTap(options, files, env, (text) => report.write(text))
  ending.addEventListener('abort', () => tap.end())
  const code = await tap.ended
  return { counts: report.end(), code }
}

/** @returns why tests that need a kubelet cannot run; undefined where they can */
const whyNoNode = async (ending: AbortSignal): Promise<string | undefined> => {
  try {
    await resolveNode({ progress: createProgress(process.stdout), signal: ending })
    return undefined
  } catch (error) {
    return messageOf(error)
  }
}

const main = async (): Promise<number> => {
  const asked = readArguments(process.argv.slice(2))
  if (asked.help) {
    process.stdout.write(HELP)
    return 0
  }
  const ending = createEnding()
  const isCi = process.env['CI'] === 'true'
  await ensureBuilt(print)
  const { files: selected, missing } = filesFor(asked.paths, findTestFiles())
  if (missing.length > 0) throw new Error(`no test file is named by ${missing.join(', ')}`)
  const { integration, faults, nodes, web, others } = selectFiles(selected)
  let controlPlane: ControlPlane | undefined
  let unavailable: string | undefined
  if (integration.length + faults.length + nodes.length + web.length > 0) {
    try {
      // Here and not in a test, where nobody would see that something is built, nor have the time for it.
      const { binaries } = await resolveBinaries({ progress: createProgress(process.stdout), signal: ending })
      if (integration.length > 0) controlPlane = await startForTests(binaries, ending)
    } catch (error) {
      unavailable = messageOf(error)
    }
  }
  const noNode = nodes.length > 0 && unavailable === undefined ? await whyNoNode(ending) : undefined
  const noWeb = web.length > 0 && unavailable === undefined ? whyNoWeb(programFolders(process.env)) : undefined
  let sandbox: Sandbox | undefined
  try {
    // The shipped manifests, with webhook and controller in this process, for all integration tests together.
    if (controlPlane !== undefined) sandbox = await startSandbox({ cluster: controlPlane, log: print, logLevel: 'error' })
    const cluster = controlPlane === undefined ? undefined : await describe(controlPlane)
    // Those that take longest come first.
    const files = unavailable === undefined ? [...(noNode === undefined ? nodes : []), ...(noWeb === undefined ? web : []), ...integration, ...faults, ...others] : others
    const { counts, code } = await runFiles(optionsFor(asked.options, { faults }, isCi), files, cluster, ending)
    await sandbox?.stop()
    await controlPlane?.stop()
    if (unavailable !== undefined) for (const line of unavailableLines([...integration, ...faults, ...nodes, ...web], unavailable, isCi)) print(line)
    if (noNode !== undefined) for (const line of unavailableLines(nodes, noNode, isCi, 'node')) print(line)
    if (noWeb !== undefined) for (const line of unavailableLines(web, noWeb, isCi, 'web')) print(line)
    const reason = unavailable ?? noNode ?? noWeb
    const judged = judge({ counts, runnerCode: ending.aborted ? 1 : code, isCi, ...(reason !== undefined && { unavailable: reason }) })
    print(countsLine(judged.counts))
    return judged.exitCode
  } finally {
    await sandbox?.stop()
    await controlPlane?.stop()
  }
}

process.exitCode = await main().catch((error: unknown) => {
  process.stderr.write(`${messageOf(error)}\n`)
  print(countsLine({ passed: 0, failed: 1, skipped: 0 }))
  return 1
})
