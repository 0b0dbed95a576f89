/** Starts a control plane on this machine and stops it again. */
import { mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { messageOf } from '../../src/errors.ts'
import { callApi } from './api-call.ts'
import { createClusterAccess, waitFor, type ClusterAccess, type ClusterDescription } from './cluster-access.ts'
import { apiServerArguments, API_SERVICE_IP, AUDIT_POLICY, controllerManagerArguments, etcdArguments } from './commands.ts'
import { prepareCredentials, type Credentials } from './credentials.ts'
import { ControlPlaneFailure } from './failure.ts'
import { freePort } from './free-port.ts'
import { writeKubeconfig } from './kubeconfig.ts'
import { takeLock } from './lock.ts'
import type { Binaries, ServerProgram } from './programs.ts'
import { startGuard } from './programs-under-guard.ts'
import { resolveBinaries } from './resolve.ts'
import { createSite, killProgram, logTail, restartProgram, startProgram, throwIfEnded, type Site } from './site.ts'
import { MISSING_WITHOUT_CONTROLLER_MANAGER, standInForControllerManager } from './stand-in.ts'

export interface ControlPlaneOptions {
  /** Kept over restarts: data, CA, keys and tokens. Left out: a temporary folder that is removed at the end. */
  dataDir?: string
  /** Left out: a free one. */
  apiPort?: number
  /** A file to which the API server writes who did what (level Metadata, one JSON object a line). */
  auditLog?: string
  /** More options of the API server, such as `--admission-control-config-file=…`. */
  apiServerOptions?: readonly string[]
  log: (line: string) => void
  /** Aborting stops the control plane, also during its start. */
  signal?: AbortSignal
  /** Left out: resolved. */
  binaries?: Binaries
}

/** What an aggregated API server and its tests need of the front proxy. */
export interface RequestHeader {
  caPem: string
  clientCertPem: string
  clientKeyPem: string
}

export interface ControlPlane extends ClusterAccess {
  /** Path; holds the administrator's token, only its owner reads it. */
  adminKubeconfig: string
  /** `https://127.0.0.1:<port>` */
  server: string
  caPem: string
  binaries: Binaries
  hasControllerManager: boolean
  requestHeader: RequestHeader
  /** Plain data for other processes; holds the administrator's token. */
  description: ClusterDescription
  /** Process ids by program, and of the guard; as they are now. */
  pids: Record<string, number>
  /** Resolves with one sentence when a program ends that nobody stopped. */
  died: Promise<string>
  /** Ends one program by SIGKILL, as a crash does; `died` does not tell of it. Returns when it is gone. */
  kill(program: ServerProgram): Promise<void>
  /**
   * Starts a killed program again: same data, port and credentials. Returns once the API server answers, if it and its etcd are to run.
   * @throws ControlPlaneFailure when it was not killed, or does not come up
   */
  restart(program: ServerProgram): Promise<void>
  /** Ends everything and removes a temporary folder. More calls change nothing. */
  stop(): Promise<void>
}

const READY_MS = 120_000
const PORT_TRIES = 3
/** Milliseconds from SIGTERM to SIGKILL. Kept data gets time to be written; there is nothing to lose in a temporary folder. */
const GRACE_MS = { kept: 10_000, temporary: 2_000 }

const waitUntilReady = async (site: Site, server: string, credentials: Credentials, signal: AbortSignal | undefined): Promise<void> => {
  // Another program may listen on the port, and say nothing: ask again soon, and see whether ours has ended.
  const target = { server, caPem: credentials.ca.certPem, token: credentials.adminToken, answerMs: 1_000 }
  const isReady = async (): Promise<boolean> => {
    signal?.throwIfAborted()
    await throwIfEnded(site, ['etcd', 'kube-apiserver'])
    // Refused until the port is open: "not yet", like every answer other than 200.
    return callApi(target, 'GET', '/readyz').then(({ status }) => status === 200, () => false)
  }
  try {
    await waitFor('/readyz of kube-apiserver', READY_MS, isReady)
  } catch (error) {
    if (!(error instanceof ControlPlaneFailure) || error.message.includes('log:')) throw error
    throw new ControlPlaneFailure(`${error.message}; the end of its log:\n${await logTail(site, 'kube-apiserver')}`)
  }
}

const prepareAudit = async (folder: string, logFile: string | undefined): Promise<{ policyFile: string; logFile: string } | undefined> => {
  if (logFile === undefined) return undefined
  const policyFile = join(folder, 'audit-policy.yaml')
  await writeFile(policyFile, AUDIT_POLICY)
  return { policyFile, logFile: resolve(logFile) }
}

/** A free port may be taken before the API server opens it: then another one. A port that was asked for is not replaced. */
const startApiServer = async (site: Site, binaries: Binaries, credentials: Credentials, options: ControlPlaneOptions): Promise<string> => {
  const audit = await prepareAudit(site.folder, options.auditLog)
  for (let attempt = 1; ; attempt++) {
    const port = options.apiPort ?? (await freePort())
    const server = `https://127.0.0.1:${port}`
    await startProgram(site, 'kube-apiserver', binaries.kubeApiserver, apiServerArguments({ port, credentials, more: options.apiServerOptions ?? [], ...(audit !== undefined && { audit }) }))
    try {
      await waitUntilReady(site, server, credentials, options.signal)
      return server
    } catch (error) {
      if (!(await logTail(site, 'kube-apiserver')).includes('address already in use')) throw error
      if (options.apiPort !== undefined) throw new ControlPlaneFailure(`port ${port} is in use by another program; choose another one`, { cause: error })
      if (attempt === PORT_TRIES) throw error
    }
  }
}

const startControllers = async (site: Site, binaries: Binaries, credentials: Credentials, cluster: ClusterDescription, ending: AbortSignal, log: (line: string) => void): Promise<void> => {
  const { server, caPem, adminToken: token } = cluster
  if (binaries.kubeControllerManager === undefined) {
    log(MISSING_WITHOUT_CONTROLLER_MANAGER)
    standInForControllerManager({ server, caPem, token }, { signal: ending, log }).catch((error: unknown) => log(messageOf(error)))
  } else {
    const kubeconfig = join(site.folder, 'controller-manager.kubeconfig')
    await writeKubeconfig(kubeconfig, { server, caPem, name: 'kube-controller-manager', token: credentials.controllerManagerToken })
    await startProgram(site, 'kube-controller-manager', binaries.kubeControllerManager, controllerManagerArguments(kubeconfig, credentials))
  }
  await waitFor('the default ServiceAccount of the namespace "default"', READY_MS, async () => {
    await throwIfEnded(site, ['kube-controller-manager'])
    return (await callApi({ server, caPem, token }, 'GET', '/api/v1/namespaces/default/serviceaccounts/default')).status === 200
  })
}

/** A kept folder belongs to one control plane at a time. */
const claimFolder = async (dataDir: string | undefined): Promise<{ folder: string; release: () => Promise<void> }> => {
  if (dataDir === undefined) return { folder: await mkdtemp(join(tmpdir(), 'access-gate-')), release: async () => undefined }
  const folder = resolve(dataDir)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const release = await takeLock(join(folder, '.lock'), { wait: false })
  if (release === undefined) throw new ControlPlaneFailure(`${folder} is in use by a running control plane; stop that one, or choose another folder`)
  return { folder, release }
}

/**
 * Starts etcd, kube-apiserver and, where there is one, kube-controller-manager.
 * Nothing of it outlives this process: a guard process ends the programs and removes the temporary folder.
 * @throws ControlPlaneFailure when it does not come up; nothing is left running then
 */
export const startControlPlane = async (options: ControlPlaneOptions): Promise<ControlPlane> => {
  const { dataDir, log, signal } = options
  const binaries = options.binaries ?? (await resolveBinaries(signal === undefined ? {} : { signal })).binaries
  signal?.throwIfAborted()
  const { folder, release } = await claimFolder(dataDir)
  const guard = startGuard(dataDir === undefined ? { removeAtEnd: folder, graceMs: GRACE_MS.temporary } : { graceMs: GRACE_MS.kept })
  const site = createSite(folder, guard)
  const ending = new AbortController()

  const end = async (): Promise<void> => {
    signal?.removeEventListener('abort', onAbort)
    ending.abort()
    try {
      await guard.close()
    } finally {
      await release()
    }
  }
  let stopping: Promise<void> | undefined
  const stop = (): Promise<void> => (stopping ??= end())
  const onAbort = (): void => void stop().catch((error: unknown) => log(`the control plane did not stop as it should: ${messageOf(error)}`))
  const died = new Promise<string>((tell) => guard.onExit((name, reason) => stopping === undefined && !site.killed.has(name) && tell(`${name} ended (${reason})`)))
  signal?.addEventListener('abort', onAbort)

  try {
    await mkdir(join(folder, 'logs'), { recursive: true, mode: 0o700 })
    const credentials = await prepareCredentials(join(folder, 'pki'), API_SERVICE_IP)
    await startProgram(site, 'etcd', binaries.etcd, etcdArguments())
    const server = await startApiServer(site, binaries, credentials, options)
    log(`kube-apiserver answers at ${server}`)

    const adminKubeconfig = join(folder, 'admin.kubeconfig')
    const caPem = credentials.ca.certPem
    await writeKubeconfig(adminKubeconfig, { server, caPem, name: 'admin', token: credentials.adminToken })
    const hasControllerManager = binaries.kubeControllerManager !== undefined
    const description = { server, caPem, adminToken: credentials.adminToken, adminKubeconfig, kubectlPath: binaries.kubectl, workDir: folder, hasControllerManager }
    await startControllers(site, binaries, credentials, description, ending.signal, log)
    signal?.throwIfAborted()

    const clientKeyPem = await readFile(credentials.proxyClient.keyFile, 'utf8')
    const restart = async (program: ServerProgram): Promise<void> => {
      await restartProgram(site, program)
      if (!site.killed.has('etcd') && !site.killed.has('kube-apiserver')) await waitUntilReady(site, server, credentials, signal)
      else await throwIfEnded(site, [program])
    }
    const requestHeader = { caPem: credentials.requestHeaderCa.certPem, clientCertPem: credentials.proxyClient.certPem, clientKeyPem }
    guard.unref()
    return {
      ...createClusterAccess(description),
      adminKubeconfig,
      server,
      caPem,
      binaries,
      hasControllerManager,
      requestHeader,
      description,
      pids: site.pids,
      died,
      kill: (program) => killProgram(site, program),
      restart,
      stop,
    }
  } catch (error) {
    await stop()
    // What was in progress failed because it was stopped.
    signal?.throwIfAborted()
    throw error
  }
}
