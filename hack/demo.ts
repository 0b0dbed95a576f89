/** `npm run demo`: the whole story, told by real kubectl commands, with a verdict for each. Exits 0 when each came out as told. */
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import { messageOf } from '../src/errors.ts'
import { createProgress } from './control-plane/progress.ts'
import { resolveBinaries } from './control-plane/resolve.ts'
import { startControlPlane } from './control-plane/start.ts'
import { playStory } from './sandbox/story.ts'
import { applySamples } from './sandbox/manifests.ts'
import { startSandbox } from './sandbox/sandbox.ts'
import { endingSignal } from './sandbox/ending.ts'

const print = (line: string): void => void process.stdout.write(`${line}\n`)

const run = async (): Promise<void> => {
  const ending = endingSignal()
  const { binaries } = await resolveBinaries({ progress: createProgress(process.stdout), signal: ending })
  const begun = Date.now()
  const controlPlane = await startControlPlane({ binaries, log: print, signal: ending })
  try {
    const sandbox = await startSandbox({ cluster: controlPlane, log: print })
    try {
      await applySamples(controlPlane)
      const failed = await playStory({ cluster: controlPlane, examples: fileURLToPath(new URL('../docs/examples', import.meta.url)), print, signal: ending })
      print('')
      print(failed.length === 0 ? `all came out as told, in ${Math.round((Date.now() - begun) / 1000)} s` : `${failed.length} came out otherwise: ${failed.join('; ')}`)
      if (failed.length > 0) process.exitCode = 1
    } finally {
      await sandbox.stop()
    }
  } finally {
    await controlPlane.stop()
  }
}

new Command('npm run demo')
  .description('Plays the story of a gated Pod on a control plane of its own, with the real kubectl commands, and ends. KUBECONFIG is ignored.')
  .allowExcessArguments(false)
  .showHelpAfterError('(add --help)')
  .parse()

try {
  await run()
} catch (error) {
  process.stderr.write(`${messageOf(error)}\n`)
  process.exitCode = 1
}
