/** Starts a node on this machine, containerd and kubelet, for a control plane of ours, and ends it again. */
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, realpath, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { messageOf } from '../../src/errors.ts'
import { waitFor, type ClusterAccess, type ClusterDescription } from '../control-plane/cluster-access.ts'
import { ControlPlaneFailure } from '../control-plane/failure.ts'
import { freePort } from '../control-plane/free-port.ts'
import { startGuard } from '../control-plane/programs-under-guard.ts'
import { run, type RunResult } from '../control-plane/run.ts'
import { createSite, killProgram, logTail, restartProgram, startProgram, throwIfEnded, type Site } from '../control-plane/site.ts'
import { prepareAccount } from './account.ts'
import { containerLog, type ContainerName } from './container-log.ts'
import { NodeFailure } from './failure.ts'
import { packImage } from './image.ts'
import { outsideId, OWN_NAMESPACES } from './namespaces.ts'
import { resolveNode, type NodePrograms } from './programs.ts'
import {
  clientCaFile,
  CONTAINERD_NAMESPACE,
  containerdArguments,
  containerdConfig,
  containerdConfigFile,
  kubeletArguments,
  kubeletConfig,
  kubeletConfigFile,
  placesOf,
  type KubeletPorts,
  type NodePlaces,
} from './settings.ts'

export interface NodeOptions {
  /** A control plane of hack/control-plane, or what a test knows of one. */
  cluster: ClusterAccess & Pick<ClusterDescription, 'server' | 'caPem'>
  log: (line: string) => void
  /** Aborting ends the node, also during its start. */
  signal?: AbortSignal
  /**
   * Default `localhost`: the API server finds kubelet by this name alone, so that kubectl logs and exec work. Another node of the
   * same cluster has to have another name, and goes without them.
   */
  nodeName?: string
  /** Left out: resolved. */
  programs?: NodePrograms
}

/** A program of a node, beside containerd and kubelet; it sees the node's mounts and is ended with the node. */
export interface NodeProgram {
  name: string
  /** Absolute path. */
  command: string
  args: string[]
}

export interface RunningNode {
  nodeName: string
  /** Of the process under which all others of the node run. */
  pid: number
  /** kubelet's `--root-dir`: volumes of Pods are in `pods/<uid>/volumes` there, sockets of plugins in `plugins`. */
  kubeletDir: string
  /** kubelet looks for registration sockets of plugins there. */
  registrationDir: string
  /** The one image there is; see `hack/node/go/workload`. Pods use it with `imagePullPolicy: Never`. */
  image: string
  /** Where a program of the node logs. */
  logFile(program: string): string
  /** What it has logged; empty before it was started. */
  logs(program: string): Promise<string>
  /** What a container has said, over all of its starts; empty before it said anything. */
  containerLog(of: ContainerName): Promise<string>
  /** Runs ctr on the node's containers and images; any exit code is an answer. */
  ctr(args: readonly string[]): Promise<RunResult>
  /** Starts a program in the node's namespaces, as root; standard input is closed, what it says is its log. @throws when it cannot be started */
  run(program: NodeProgram): Promise<void>
  /** How a program ended; undefined while it runs. */
  endOf(program: string): string | undefined
  /** Ends a program by SIGTERM, and waits until it is gone; `died` does not tell of it. It can be started again by `restart`. */
  end(program: string): Promise<void>
  /** Ends a program by SIGKILL, and waits until it is gone; `died` does not tell of it. Containers go on without kubelet and containerd. */
  kill(program: string): Promise<void>
  /** Starts a program again that was ended or killed: as it was, its log goes on. Of containerd and kubelet, returns once they answer. */
  restart(program: string): Promise<void>
  /** The process id of a running program, as this machine knows it. */
  pidOf(program: string): Promise<number | undefined>
  /** Resolves with one sentence when a program ends that nobody ended. */
  died: Promise<string>
  /** Ends everything, containers too, and removes the node's folder. The Node object stays. More calls change nothing. */
  stop(): Promise<void>
}

const IMAGE = 'access-gate.invalid/node-workload:1'
const FOLDER_PREFIX = 'access-gate-node-'
/** Empty for programs of a node: they cannot find a folder there. */
const HIDDEN = ['/run/', '/var/log/']
const READY_MS = 120_000
const PORT_TRIES = 3
const GRACE_MS = 3_000

const makeFolder = async (): Promise<string> => {
  const base = await realpath(tmpdir())
  if (HIDDEN.some((hidden) => `${base}/`.startsWith(hidden))) throw new NodeFailure(`no node: temporary files are in ${base}, where a node cannot see them; set TMPDIR to another folder, such as /tmp`)
  return mkdtemp(join(base, FOLDER_PREFIX))
}

const waitForContainerd = (site: Site, ctr: RunningNode['ctr']): Promise<void> =>
  waitFor('containerd', READY_MS, async () => {
    await throwIfEnded(site, ['containerd'])
    return (await ctr(['version'])).code === 0
  })

const startContainerd = async (site: Site, places: NodePlaces, programs: NodePrograms, ctr: RunningNode['ctr']): Promise<void> => {
  await writeFile(containerdConfigFile(places), containerdConfig(places, programs.runc, IMAGE))
  await startProgram(site, 'containerd', programs.containerd, containerdArguments(places))
  await waitForContainerd(site, ctr)
  const archive = join(places.folder, 'image.tar')
  const architecture = process.arch === 'x64' ? 'amd64' : process.arch
  const program = await readFile(programs.workload)
  await writeFile(archive, packImage({ name: IMAGE, programName: 'workload', program, architecture, defaultArguments: ['pause'] }))
  const { code, stderr } = await ctr(['images', 'import', archive])
  if (code !== 0) throw new NodeFailure(`no node: the image could not be imported: ${stderr.trim()}`)
}

const waitForKubelet = async (site: Site, { healthz }: KubeletPorts, signal: AbortSignal | undefined): Promise<void> => {
  await waitFor('/healthz of kubelet', READY_MS, async () => {
    signal?.throwIfAborted()
    await throwIfEnded(site, ['kubelet'])
    // Refused until the port is open: "not yet", like every answer other than 200.
    return fetch(`http://127.0.0.1:${healthz}/healthz`, { signal: AbortSignal.timeout(1_000) }).then(({ status }) => status === 200, () => false)
  })
}

/** A free port may be taken before kubelet opens it: then others. */
const startKubelet = async (site: Site, places: NodePlaces, command: string, args: string[], signal: AbortSignal | undefined): Promise<KubeletPorts> => {
  for (let attempt = 1; ; attempt++) {
    const ports = { healthz: await freePort(), api: await freePort() }
    await writeFile(kubeletConfigFile(places), JSON.stringify(kubeletConfig(places, ports), undefined, 2))
    await startProgram(site, 'kubelet', command, args)
    try {
      await waitForKubelet(site, ports, signal)
      return ports
    } catch (error) {
      if (attempt === PORT_TRIES || !(await logTail(site, 'kubelet')).includes('address already in use')) throw error
      await site.guard.kill('kubelet')
    }
  }
}

/** What kubelet logged at its end, where it failed without ending. */
const withLog = async (site: Site, error: unknown): Promise<unknown> =>
  error instanceof ControlPlaneFailure && !error.message.includes('log:')
    ? new NodeFailure(`no node: ${error.message}; the end of kubelet's log:\n${await logTail(site, 'kubelet')}`, { cause: error })
    : error

/**
 * Starts containerd and kubelet in PID and mount namespaces of their own. Pods get on the node by `nodeName`, with `hostNetwork: true`
 * and a toleration for everything: it has no network for Pods, so the Node object is never Ready. Nothing of it outlives
 * this process, however it ends: not a process, a container, a mount or a file.
 * @throws NodeFailure, GoProgramFailure or ControlPlaneFailure when it does not come up; nothing is left running then
 */
export const startNode = async (options: NodeOptions): Promise<RunningNode> => {
  const { cluster, log, signal, nodeName = 'localhost' } = options
  const programs = options.programs ?? (await resolveNode(signal === undefined ? {} : { signal }))
  signal?.throwIfAborted()
  const places = placesOf(await makeFolder())
  const { folder } = places
  const guard = startGuard({ graceMs: GRACE_MS }, [programs.unshare, ...OWN_NAMESPACES, programs.init, 'run', folder])
  const site = createSite(folder, guard)

  const end = async (): Promise<void> => {
    signal?.removeEventListener('abort', onAbort)
    await guard.close()
    // The first process of the namespaces has done it, unless it was killed.
    if (!existsSync(folder)) return
    const { code, stderr } = await run(programs.init, ['sweep', folder])
    if (code !== 0) throw new NodeFailure(`the node has ended, but something of it is left: ${stderr.trim()}`)
  }
  let stopping: Promise<void> | undefined
  const stop = (): Promise<void> => (stopping ??= end())
  const onAbort = (): void => void stop().catch((error: unknown) => log(`the node did not stop as it should: ${messageOf(error)}`))
  signal?.addEventListener('abort', onAbort)

  const logFile = (program: string): string => join(folder, 'logs', `${program}.log`)
  const ctr: RunningNode['ctr'] = (args) =>
    run(programs.ctr, ['--address', places.containerdSocket, '--namespace', CONTAINERD_NAMESPACE, ...args], signal === undefined ? {} : { signal })

  const start = async (): Promise<KubeletPorts> => {
    for (const place of ['logs', 'containerd', 'kubelet', 'pod-logs', 'volume-plugins']) await mkdir(join(folder, place), { recursive: true, mode: 0o755 })
    await startContainerd(site, places, programs, ctr)
    const kubeconfig = join(folder, 'kubelet.kubeconfig')
    await prepareAccount(cluster, nodeName, kubeconfig)
    await writeFile(clientCaFile(places), cluster.caPem)
    const used = await startKubelet(site, places, programs.kubelet, kubeletArguments(places, nodeName, kubeconfig), signal)
    await waitFor(`the Node ${nodeName}`, READY_MS, async () => {
      await throwIfEnded(site, ['kubelet', 'containerd'])
      return (await cluster.call('GET', `/api/v1/nodes/${nodeName}`)).status === 200
    })
    signal?.throwIfAborted()
    log(`node ${nodeName} is up`)
    return used
  }
  const ports = await start().catch(async (error: unknown) => {
    const told = await withLog(site, error)
    await stop()
    // What was in progress failed because it was stopped.
    signal?.throwIfAborted()
    throw told
  })
  const died = new Promise<string>((tell) => guard.onExit((name, reason) => stopping === undefined && !site.killed.has(name) && tell(`${name} ended (${reason})`)))
  guard.unref()

  return {
    nodeName,
    pid: guard.pid,
    kubeletDir: places.kubelet,
    registrationDir: places.registration,
    image: IMAGE,
    ctr,
    died,
    stop,
    logFile,
    logs: async (program) => (existsSync(logFile(program)) ? readFile(logFile(program), 'utf8') : ''),
    containerLog: (container) => containerLog(places.podLogs, container),
    run: ({ name, command, args }) => {
      site.killed.delete(name)
      return startProgram(site, name, command, args)
    },
    endOf: (program) => guard.exitOf(program),
    end: async (program) => {
      if (site.pids[program] === undefined) return
      site.killed.add(program)
      await guard.stop(program)
      delete site.pids[program]
    },
    kill: (program) => killProgram(site, program),
    restart: async (program) => {
      await restartProgram(site, program)
      if (program === 'kubelet') await waitForKubelet(site, ports, signal)
      if (program === 'containerd') await waitForContainerd(site, ctr)
    },
    pidOf: async (program) => {
      const inside = site.pids[program]
      return inside === undefined || guard.exitOf(program) !== undefined ? undefined : outsideId(guard.pid, inside)
    },
  }
}
