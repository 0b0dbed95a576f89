/** `npm run demo`: the whole story, told by real kubectl commands, with a verdict for each. Exits 0 when each came out as told. */
import { Command } from 'commander'
import { messageOf } from '../src/errors.ts'
import { createProgress } from './control-plane/progress.ts'
import { resolveBinaries } from './control-plane/resolve.ts'
import { startControlPlane } from './control-plane/start.ts'
import { resolveNode } from './node/programs.ts'
import type { RunningNode } from './node/start.ts'
import { startConnections, type Connections } from './sandbox/connections.ts'
import { playConnectionStory } from './sandbox/connection-story.ts'
import { clusterUntil, endingSignal, whileStarting } from './sandbox/ending.ts'
import { applySamples } from './sandbox/manifests.ts'
import { playNodeStory } from './sandbox/node-story.ts'
import { startPluginNode } from './sandbox/plugin-node.ts'
import { startSandbox } from './sandbox/sandbox.ts'
import { playStory } from './sandbox/story.ts'

interface Options {
  node?: true
  extension?: true
}

const print = (line: string): void => void process.stdout.write(`${line}\n`)

const run = async (options: Options): Promise<void> => {
  const ending = endingSignal()
  const work = { progress: createProgress(process.stdout), signal: ending }
  // First what may be missing, before a control plane is built for nothing.
  const programs = options.node === true ? await resolveNode(work) : undefined
  const { binaries } = await resolveBinaries(work)
  const begun = Date.now()
  const controlPlane = await whileStarting(ending, (signal) => startControlPlane({ binaries, log: print, signal }))
  try {
    const cluster = clusterUntil(ending, controlPlane)
    const sandbox = await startSandbox({ cluster, log: print, logLevel: 'error', signal: ending })
    let node: RunningNode | undefined
    let connections: Connections | undefined
    try {
      await applySamples(cluster)
      node = programs === undefined ? undefined : await startPluginNode({ cluster, programs, log: print, signal: ending })
      connections = options.extension === true ? await startConnections({ cluster: controlPlane, log: print, logLevel: 'error', signal: ending }) : undefined
      const stage = { cluster, print, signal: ending }
      const failed = [
        ...(await playStory(stage)),
        ...(node === undefined ? [] : await playNodeStory(stage)),
        ...(connections === undefined ? [] : await playConnectionStory(stage, connections)),
      ]
      print('')
      print(failed.length === 0 ? `all came out as told, in ${Math.round((Date.now() - begun) / 1000)} s` : `${failed.length} came out otherwise: ${failed.join('; ')}`)
      if (failed.length > 0) process.exitCode = 1
    } finally {
      await Promise.all([node?.stop(), sandbox.stop(), connections?.stop()])
    }
  } finally {
    await controlPlane.stop()
  }
}

const program = new Command('npm run demo --')
  .description('Plays the story of a gated Pod on a control plane of its own, with the real kubectl commands, and ends. KUBECONFIG is ignored.')
  .option('--node', 'go on with Pods that run, on a kubelet with the CSI plugin; needs Linux, root, containerd and runc (npm run node -- --help)')
  .option('--extension', 'go on with the reviews and the guard of web traffic: two people, two Workspaces and an OIDC issuer')
  .allowExcessArguments(false)
  .showHelpAfterError('(add --help)')

try {
  await run(program.parse().opts<Options>())
} catch (error) {
  process.stderr.write(`${messageOf(error)}\n`)
  process.exitCode = 1
}
