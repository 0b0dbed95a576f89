/** `npm run control-plane`: resolves the programs of a control plane, and with --start runs one until Ctrl-C. */
import { Command, InvalidArgumentError } from 'commander'
import { messageOf } from '../../src/errors.ts'
import { createProgress } from './progress.ts'
import { resolveBinaries, type Resolved } from './resolve.ts'
import { run } from './run.ts'
import { startControlPlane } from './start.ts'

interface Options {
  start?: true
  dataDir?: string
  port?: number
  auditLog?: string
}

const print = (text: string): void => void process.stdout.write(`${text}\n`)

const readPort = (text: string): number => {
  const port = Number(text)
  if (!Number.isInteger(port) || port < 1 || port > 65535) throw new InvalidArgumentError('must be a number from 1 to 65535')
  return port
}

/** What each program says its version is, the first line of it. */
const versionOf = async (program: string): Promise<string> => {
  const args = program.endsWith('kubectl') ? ['version', '--client'] : ['--version']
  const { stdout, stderr } = await run(program, args)
  return (stdout === '' ? stderr : stdout).split('\n')[0] ?? ''
}

const report = async ({ source, folder, binaries }: Resolved): Promise<void> => {
  print(`source: ${source}`)
  print(`folder: ${folder}`)
  for (const path of Object.values(binaries)) print(`${path}: ${await versionOf(path)}`)
  if (binaries.kubeControllerManager === undefined) print('kube-controller-manager: not in this set; its most needed parts are stood in for')
}

const stay = async ({ binaries }: Resolved, options: Options): Promise<void> => {
  const ending = new AbortController()
  const { promise: asked, resolve: ask } = Promise.withResolvers<string>()
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.on(signal, () => {
      ask(signal)
      ending.abort(new Error(`ended by ${signal}`))
    })
  const controlPlane = await startControlPlane({
    binaries,
    log: print,
    signal: ending.signal,
    ...(options.dataDir !== undefined && { dataDir: options.dataDir }),
    ...(options.port !== undefined && { apiPort: options.port }),
    ...(options.auditLog !== undefined && { auditLog: options.auditLog }),
  })
  print(`logs: ${controlPlane.description.workDir}/logs`)
  print('ready; Ctrl-C stops it. In another terminal:')
  print(`export KUBECONFIG=${controlPlane.adminKubeconfig} PATH=${binaries.kubectl.replace(/\/kubectl$/, '')}:$PATH`)
  const keepAlive = setInterval(() => undefined, 60_000)
  const outcome = await Promise.race([asked.then(() => undefined), controlPlane.died])
  clearInterval(keepAlive)
  await controlPlane.stop()
  if (outcome !== undefined) throw new Error(outcome)
}

const program = new Command('control-plane')
  .description('Finds, downloads or builds etcd, kube-apiserver, kubectl and kube-controller-manager, and prints where they are.')
  .option('--start', 'run a control plane until Ctrl-C and print how to reach it')
  .option('--data-dir <folder>', 'with --start: keep its data there over restarts (otherwise temporary)')
  .option('--port <number>', 'with --start: port of the API server (otherwise a free one)', readPort)
  .option('--audit-log <file>', 'with --start: let the API server write there who did what')
  .addHelpText(
    'after',
    `
Environment:
  KUBEBUILDER_ASSETS         a folder that holds the programs already; nothing is downloaded or built
  ACCESS_GATE_CONTROL_PLANE  "download" or "build" to allow only that one source
  XDG_CACHE_HOME             where the cache folder access-gate/control-plane is (otherwise ~/.cache)`,
  )
  .allowExcessArguments(false)

try {
  const options = program.parse().opts<Options>()
  if (options.start !== true && Object.keys(options).length > 0) throw new Error('--data-dir, --port and --audit-log say how to run a control plane: add --start')
  const resolved = await resolveBinaries({ progress: createProgress(process.stderr) })
  await report(resolved)
  if (options.start === true) await stay(resolved, options)
} catch (error) {
  process.stderr.write(`${messageOf(error)}\n`)
  process.exitCode = 1
}
