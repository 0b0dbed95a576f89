/** Replicas of auth as programs of their own, with the rights of the shipped account; and the program that rotates their keys. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { bundle } from '../../hack/build/bundle.ts'
import { freePort } from '../../hack/control-plane/free-port.ts'
import { startGuard } from '../../hack/control-plane/programs-under-guard.ts'
import type { ControlPlane } from '../../hack/control-plane/start.ts'
import { ROOT } from '../../hack/project.ts'
import { SERVICE_ACCOUNT, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { untilTrue } from './eventually.ts'
import { temporaryFolder } from './temporary-folder.ts'

export interface AuthReplica {
  readonly port: number
  pid(): number
  /** By SIGTERM; returns when it has ended. */
  end(): Promise<void>
  /** By SIGKILL. */
  kill(): Promise<void>
  /** As it was, at the same port; returns when it is ready. */
  restart(): Promise<void>
  /** How many requests of a route it answered with a code. */
  answered(route: string, code: number): Promise<number>
  log(): Promise<string>
}

export interface AuthReplicas {
  replicas: readonly [AuthReplica, AuthReplica]
  /** Runs `access-gate rotate-keys` once. @returns what it logged @throws Error when it failed */
  rotateKeys: (options: readonly string[]) => Promise<string>
}

const LOOPBACK = '127.0.0.1'
const TOKEN_SECONDS = 3_600
const UP_WITHIN_MS = 90_000

/** Both are started at the same time, and ready when this returns. @param options of auth, without the places */
export const startAuthReplicas = async (t: Pick<Test, 'teardown'>, cluster: ControlPlane, options: readonly string[]): Promise<AuthReplicas> => {
  const folder = await temporaryFolder(t)
  // As it is shipped: one file, which starts faster than the sources.
  const { file: program } = await bundle({ root: ROOT, entry: 'src/main.ts', outDir: join(folder, 'program'), name: 'access-gate' })
  const guard = startGuard({ graceMs: 20_000 })
  t.teardown(() => guard.close())
  const kubeconfigOf = async (name: string): Promise<string> =>
    cluster.kubeconfigFor({ name, token: await cluster.serviceAccountToken(SYSTEM_NAMESPACE, name, { seconds: TOKEN_SECONDS }) })
  const kubeconfig = await kubeconfigOf(SERVICE_ACCOUNT.auth)

  const startReplica = async (name: string): Promise<AuthReplica> => {
    const [port, metricsPort, probePort] = [await freePort(), await freePort(), await freePort()]
    const places = [`--listen-host=${LOOPBACK}`, `--port=${port}`, `--metrics-addr=${LOOPBACK}:${metricsPort}`, `--probe-addr=${LOOPBACK}:${probePort}`, `--namespace=${SYSTEM_NAMESPACE}`]
    const logFile = join(folder, `${name}.log`)
    let pid = -1
    const start = async (): Promise<void> => {
      pid = await guard.start({ name, command: process.execPath, args: [program, 'auth', `--kubeconfig=${kubeconfig}`, ...places, ...options], cwd: folder, logFile })
      await untilTrue(
        `${name} is ready`,
        async () => {
          const ended = guard.exitOf(name)
          if (ended !== undefined) throw new Error(`${name} ended at its start (${ended}): ${await readFile(logFile, 'utf8')}`)
          // Refused until the port is open.
          return fetch(`http://${LOOPBACK}:${probePort}/readyz`).then(({ ok }) => ok, () => false)
        },
        UP_WITHIN_MS,
      )
    }
    await start()
    return {
      port,
      pid: () => pid,
      end: () => guard.stop(name),
      kill: () => guard.kill(name),
      restart: start,
      answered: async (route, code) => {
        const text = await (await fetch(`http://${LOOPBACK}:${metricsPort}/metrics`)).text()
        const [line] = text.split('\n').filter((one) => one.startsWith('access_gate_auth_requests_total{') && one.includes(`route="${route}"`) && one.includes(`code="${code}"`))
        return Number(line?.split(' ').at(-1) ?? 0)
      },
      log: () => readFile(logFile, 'utf8'),
    }
  }

  return {
    replicas: await Promise.all([startReplica('auth-1'), startReplica('auth-2')]),
    rotateKeys: async (more) => {
      const name = 'rotate-keys'
      const logFile = join(folder, `${name}.log`)
      const args = [program, name, `--kubeconfig=${await kubeconfigOf(SERVICE_ACCOUNT.rotateKeys)}`, `--secret-namespace=${SYSTEM_NAMESPACE}`, ...more]
      await guard.start({ name, command: process.execPath, args, cwd: folder, logFile })
      await untilTrue('the keys were rotated', () => guard.exitOf(name) !== undefined, UP_WITHIN_MS)
      const text = await readFile(logFile, 'utf8')
      if (guard.exitOf(name) !== 'exit code 0') throw new Error(`rotate-keys failed (${guard.exitOf(name)}): ${text}`)
      return text
    },
  }
}
