/** Everything that a node runs: found, installed or built. */
import { join } from 'node:path'
import { GO_BUILD_FLAGS } from '../control-plane/programs.ts'
import { createProgress, type Progress } from '../control-plane/progress.ts'
import { goProgram } from '../go-programs/go-program.ts'
import { NodeFailure } from './failure.ts'
import { namespaceProblem } from './namespaces.ts'
import { resolveRuntime, type RuntimePrograms } from './packages.ts'

/** Absolute paths. */
export interface NodePrograms extends RuntimePrograms {
  kubelet: string
  /** First process of the node's namespaces. */
  init: string
  /** What runs in the containers. */
  workload: string
}

export interface ResolveNodeOptions {
  env?: NodeJS.ProcessEnv
  progress?: Progress
  /** Install missing Debian packages. Default: where CI=true. */
  mayInstall?: boolean
  /** Aborting ends an installation, a build or the waiting for another process. */
  signal?: AbortSignal
}

const OWN_MODULE = join(import.meta.dirname, 'go')

/** Of the version of the control plane. Its go.mod is another one: a change of that of the control plane would build all of it anew, for everybody. */
const KUBELET = { name: 'kubelet', moduleFolder: join(import.meta.dirname, 'kubelet'), package: 'k8s.io/kubernetes/cmd/kubelet', flags: GO_BUILD_FLAGS }

/** @returns why no node can be had here, whatever is installed; undefined where one can */
export const machineProblem = (platform: string, uid: number | undefined): string | undefined => {
  if (platform !== 'linux') return `no node: kubelet and containerd run on Linux alone, and this is ${platform}; use a virtual machine`
  return uid === 0 ? undefined : 'no node: kubelet and containerd need root; run this as root, or in a virtual machine where you are'
}

/**
 * The programs of a node. kubelet is built once for a machine: about half a minute where the control plane was built here too.
 * @throws NodeFailure or GoProgramFailure with one sentence that says what to do
 */
export const resolveNode = async (options: ResolveNodeOptions = {}): Promise<NodePrograms> => {
  const { env = process.env, progress = createProgress(process.stderr), mayInstall = env['CI'] === 'true', signal } = options
  const problem = machineProblem(process.platform, process.getuid?.())
  if (problem !== undefined) throw new NodeFailure(problem)
  const work = { env, progress, ...(signal !== undefined && { signal }) }
  const runtime = await resolveRuntime({ ...work, mayInstall })
  const forbidden = await namespaceProblem(runtime.unshare)
  if (forbidden !== undefined) throw new NodeFailure(forbidden)
  return {
    ...runtime,
    init: await goProgram({ name: 'node-init', moduleFolder: OWN_MODULE, package: './init' }, work),
    workload: await goProgram({ name: 'node-workload', moduleFolder: OWN_MODULE, package: './workload' }, work),
    kubelet: await goProgram(KUBELET, work),
  }
}
