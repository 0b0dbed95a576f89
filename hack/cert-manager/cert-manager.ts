/** The real cert-manager, pinned in go/go.mod: its definitions, and its controllers in a process of their own. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { ClusterAccess } from '../control-plane/cluster-access.ts'
import { lastLines } from '../control-plane/run.ts'
import { goModuleFolder } from '../go-programs/go-module-folder.ts'
import { goProgram } from '../go-programs/go-program.ts'
import type { GoWork } from '../go-programs/go-work.ts'

const GO_MODULE_FOLDER = join(import.meta.dirname, 'go')
const CERT_MANAGER = 'github.com/cert-manager/cert-manager'

/** Applies cert-manager's own definitions and waits until they are served. @throws GoProgramFailure when the module cannot be had */
export const applyCertManagerDefinitions = async (cluster: ClusterAccess, work: GoWork = {}): Promise<void> => {
  const folder = join(await goModuleFolder(GO_MODULE_FOLDER, CERT_MANAGER, work), 'deploy', 'crds')
  await cluster.kubectl(['apply', '--server-side', '-f', folder])
  await cluster.kubectl(['wait', '--for=condition=Established', '--timeout=60s', '-f', folder])
}

/** cert-manager's controllers and its CA injector as a program. @throws GoProgramFailure when it cannot be built */
export const certManagerProgram = (work: GoWork = {}): Promise<string> => goProgram({ name: 'cert-manager', moduleFolder: GO_MODULE_FOLDER }, work)

export interface RunningCertManager {
  /** Resolves with why, when it ended by itself. */
  died: Promise<string>
  stop(): Promise<void>
}

const STOP_WITHIN_MS = 10_000
const KEPT_OUTPUT = 64 * 1024

/**
 * Starts it. It ends with this process, however that goes: its standard input is held open by this process alone.
 * @param program path, as certManagerProgram gave it
 * @param kubeconfig of an administrator
 */
export const startCertManager = (program: string, kubeconfig: string): RunningCertManager => {
  const child = spawn(program, [`--kubeconfig=${kubeconfig}`], { stdio: ['pipe', 'ignore', 'pipe'] })
  let output = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output = `${output}${text}`.slice(-KEPT_OUTPUT)))
  let stopping = false
  const ended = once(child, 'close')
  // A stop that comes after its end by itself has nothing left to do, so this promise may be nobody's.
  const died = new Promise<string>((resolve) => {
    const tell = (): void => {
      if (!stopping) resolve(`cert-manager ended by itself\n${lastLines(output, 15)}`)
    }
    ended.then(tell, tell)
  })
  return {
    died,
    stop: async () => {
      stopping = true
      child.stdin.end()
      const force = setTimeout(() => child.kill('SIGKILL'), STOP_WITHIN_MS)
      await ended
      clearTimeout(force)
    },
  }
}
