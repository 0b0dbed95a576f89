/** Starts the programs that the benchmark measures, and waits for them. */
import { writeFile } from 'node:fs/promises'
import { get } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { createMaterial } from '../../src/serving/certificate.ts'
import { freePort } from '../control-plane/free-port.ts'
import { lastLines } from '../control-plane/run.ts'
import { nodeOptionsOf } from './node-options.ts'
import { writePodAccount, type Account } from './pod-account.ts'
import type { BenchEnv, ServerProcess } from './section.ts'

export const LOOPBACK = '127.0.0.1'
/** The name by which the API server calls the webhook. */
export const SERVER_NAME = 'access-gate-webhook.connectors-system.svc'

const UP_WITHIN_MS = 60_000
const POLL_MS = 5

/** A serving certificate of the kind that the webhook makes for itself, as files. */
export interface ServingFiles {
  folder: string
  certFile: string
  keyFile: string
  /** PEM. */
  ca: string
}

/** The names are those that controller-runtime looks for. */
export const writeServingFiles = async (folder: string): Promise<ServingFiles> => {
  const { caBundle, leaf } = await createMaterial([SERVER_NAME], Date.now())
  const [certFile, keyFile] = [join(folder, 'tls.crt'), join(folder, 'tls.key')]
  await writeFile(certFile, leaf.cert)
  await writeFile(keyFile, leaf.key, { mode: 0o600 })
  return { folder, certFile, keyFile, ca: caBundle }
}

/** @returns the status of a plain GET; undefined while nobody listens */
const statusOf = (port: number, path: string): Promise<number | undefined> =>
  new Promise((resolve) => {
    const call = get({ host: LOOPBACK, port, path, agent: false }, (response) => {
      response.resume()
      resolve(response.statusCode)
    })
    call.on('error', () => resolve(undefined))
  })

const isOpen = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host: LOOPBACK, port })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })

/** @throws Error with the end of its log when the program ends first, or does not come up in time */
const untilUp = async (env: Pick<BenchEnv, 'signal'>, name: string, server: ServerProcess, isUp: () => Promise<boolean>): Promise<void> => {
  const end = performance.now() + UP_WITHIN_MS
  while (!(await isUp())) {
    env.signal.throwIfAborted()
    const why = server.exit() ?? (performance.now() > end ? `not up within ${UP_WITHIN_MS / 1000} s` : undefined)
    if (why !== undefined) throw new Error(`${name} did not come up (${why}); the end of its log:\n${lastLines(await server.log(), 10)}`)
    await delay(POLL_MS)
  }
}

export const untilOpen = (env: Pick<BenchEnv, 'signal'>, name: string, server: ServerProcess, port: number): Promise<void> =>
  untilUp(env, name, server, () => isOpen(port))

export const untilReady = (env: Pick<BenchEnv, 'signal'>, name: string, server: ServerProcess, metricsPort: number): Promise<void> =>
  untilUp(env, name, server, async () => (await statusOf(metricsPort, '/readyz')) === 200)

export interface RoleProcess {
  process: ServerProcess
  metricsPort: number
  /** Milliseconds from the start of the process to the first 200 of /readyz. */
  readyMs: number
}

/** What a role is started with; its name comes first. */
export type RoleArgs = readonly [role: string, ...options: string[]]

/** A role from the bundle that says on this port whether it is ready, with what its manifest tells Node; resolves when it is. */
const launchRole = async (env: BenchEnv, name: string, account: Account, args: RoleArgs, metricsPort: number): Promise<RoleProcess> => {
  const [program, pod, nodeOptions] = await Promise.all([env.bundle(), writePodAccount(join(env.folder, `${name}-account`), account), nodeOptionsOf(args[0])])
  const start = performance.now()
  const variables = Object.entries(pod.env).map(([variable, value]) => `${variable}=${value}`)
  // `env` becomes the program: its process id is the role's.
  const server = await env.start(name, 'env', [...variables, process.execPath, ...nodeOptions, program, ...args, ...pod.args])
  await untilReady(env, name, server, metricsPort)
  return { process: server, metricsPort, readyMs: performance.now() - start }
}

/** A role from the bundle, with the options that its manifest has. Resolves when it is ready. */
export const startRole = async (env: BenchEnv, name: string, account: Account, args: RoleArgs): Promise<RoleProcess> => {
  const metricsPort = await freePort()
  return launchRole(env, name, account, [...args, `--metrics-host=${LOOPBACK}`, `--metrics-port=${metricsPort}`], metricsPort)
}

/** The role auth, which has a port for its probes besides. */
export const startAuth = async (env: BenchEnv, name: string, account: Account, args: readonly string[]): Promise<RoleProcess> => {
  const [metricsPort, probePort] = await Promise.all([freePort(), freePort()])
  const addresses = [`--metrics-addr=${LOOPBACK}:${metricsPort}`, `--probe-addr=${LOOPBACK}:${probePort}`]
  return launchRole(env, name, account, ['auth', `--listen-host=${LOOPBACK}`, ...args, ...addresses], metricsPort)
}

/** The options of a webhook with a certificate from files. */
export const webhookArgs = (port: number, { certFile, keyFile }: ServingFiles): RoleArgs => [
  'webhook',
  `--host=${LOOPBACK}`,
  `--port=${port}`,
  `--tls-cert-file=${certFile}`,
  `--tls-key-file=${keyFile}`,
  '--drain-seconds=0',
]
