/** `npm run node`: finds, installs or builds what a node on this machine needs, and prints where it is. */
import { Command } from 'commander'
import { messageOf } from '../../src/errors.ts'
import { createProgress } from '../control-plane/progress.ts'
import { resolveNode } from './programs.ts'

interface Options {
  install?: true
}

const program = new Command('node')
  .description('Finds containerd, runc and unshare, builds kubelet and two small programs of our own, and prints where they are. Needs Linux and root.')
  .option('--install', 'install missing Debian packages by apt-get (CI=true does so too)')
  .allowExcessArguments(false)
  .showHelpAfterError('(add --help)')

try {
  const { install } = program.parse().opts<Options>()
  const programs = await resolveNode({ progress: createProgress(process.stderr), ...(install === true && { mayInstall: true }) })
  for (const [name, path] of Object.entries(programs)) process.stdout.write(`${name}: ${path}\n`)
} catch (error) {
  process.stderr.write(`${messageOf(error)}\n`)
  process.exitCode = 1
}
