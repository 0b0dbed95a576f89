/**
 * Everything that a gated Pod meets, each part a program of its own with the token of its own ServiceAccount: a control plane, webhook,
 * controller and CSI plugin, and a node with a real kubelet and containerd. The programs can be ended, killed and started again.
 */
import { mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { bundle } from '../../hack/build/bundle.ts'
import { freePort } from '../../hack/control-plane/free-port.ts'
import { startControlPlane, type ControlPlane } from '../../hack/control-plane/start.ts'
import { readAnswer } from '../../hack/control-plane/api-call.ts'
import { startNode, type RunningNode } from '../../hack/node/start.ts'
import { ROOT } from '../../hack/project.ts'
import { applyManifests } from '../../hack/sandbox/manifests.ts'
import { waitForAdmission } from '../../hack/sandbox/sandbox.ts'
import type { AccessPolicySpec } from '../../src/api/access-policy.ts'
import type { KubeObject, OwnerReference } from '../../src/api/meta.ts'
import { FLAGS_CONFIG_MAP, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { BUILTIN_FILES } from '../../src/core/builtin-files.ts'
import { eventually, untilTrue } from './eventually.ts'
import { BUILDER, gatedVolume, gatedWorld, RUN, type GatedWorld } from './gated-world.ts'
import { podObject, readPod, untilPhase, type SeenPod } from './node-pods.ts'
import { pluginFolder, startPlugin, startRole, type Ground, type RoleProgram } from './role-programs.ts'
import { temporaryFolder } from './temporary-folder.ts'
import { errorCode } from '../../src/errors.ts'

/** A file as a container sees it. */
export interface SeenFile {
  mode: string
  uid: number
  gid: number
  text: string
}

export interface NodePodOptions {
  /** Default: the name. */
  run?: string
  /** Of the workload; default: says again and again what is in the volume, until it is ended. */
  args?: string[]
  /** More of the Pod's spec. */
  spec?: object
  attributes?: Record<string, string>
  /** The name is the API server's own choice behind this. */
  generateName?: string
  ownerReferences?: OwnerReference[]
}

export interface MadePod extends SeenPod {
  metadata: SeenPod['metadata'] & { name: string; namespace: string }
}

export interface PodEvent {
  reason: string
  message: string
}

export interface NodeWorld {
  world: GatedWorld
  cluster: ControlPlane
  node: RunningNode
  webhook: RoleProgram
  controller: RoleProgram
  plugin: RoleProgram
  /** The next plugin after `plugin`, which was ended: with more options, and for `--tmpfs` the capability to mount. */
  startPlugin(more: readonly string[]): Promise<RoleProgram>
  /** A Connector with a proxy, that builder may see; its policy takes the approval of the Pod's run unless told otherwise. */
  connector(name: string, policy?: AccessPolicySpec): Promise<void>
  /** As the controller of Connectors would. */
  setProxy(connector: string, url: string): Promise<void>
  /** A Pod on the node that mounts the Connectors of `shared` at /connectors. */
  pod(name: string, connectors: readonly string[], options?: NodePodOptions): Promise<MadePod>
  /** Lets kubelet look at the Pod again, its volumes too, which it does by itself about once a minute. */
  nudge(pod: MadePod): Promise<void>
  untilPhase(pod: MadePod, phase: string, boundMs?: number): Promise<MadePod>
  /** @returns how long it took, milliseconds */
  untilGone(pod: MadePod, boundMs?: number): Promise<number>
  phase(pod: MadePod): Promise<string | undefined>
  events(pod: MadePod): Promise<PodEvent[]>
  untilEvent(pod: MadePod, reason: string, words: string | RegExp, boundMs?: number): Promise<PodEvent>
  /** What its container sees in the volume now, by name; undefined before it said anything. */
  files(pod: MadePod): Promise<ReadonlyMap<string, SeenFile> | undefined>
  /** All files; what a container has said up to now may be a part of them. */
  untilWhole(pod: MadePod): Promise<ReadonlyMap<string, SeenFile>>
  untilFiles(pod: MadePod, what: string, isSo: (files: ReadonlyMap<string, SeenFile>) => boolean, boundMs?: number): Promise<ReadonlyMap<string, SeenFile>>
  /** Where kubelet has the volume of the Pod. */
  volume(pod: MadePod): string
  /** Names of what is on the machine's disk there; undefined: nothing is. */
  onDisk(pod: MadePod): Promise<string[] | undefined>
  /** What the plugin has on record of a Pod. */
  records(pod: MadePod): Promise<{ volumes: number; asked: number }>
  flag(name: string, value: string): Promise<void>
  /** A Pod that mounts `harbor` and waits for its ApprovalTask, which has its name; it said so. */
  waitingPod(name: string): Promise<MadePod>
  /** A Pod that was approved and whose container sees all files. */
  runningPod(name: string, connector?: string): Promise<MadePod>
  /** Its container runs and sees all files. */
  untilMounted(pod: MadePod, boundMs?: number): Promise<void>
  /** Its container sees all files, made for this proxy. */
  untilProxy(pod: MadePod, url: string, boundMs?: number): Promise<void>
}

const LOOPBACK = '127.0.0.1'
const MERGE = 'application/merge-patch+json'
const CONTAINER = 'main'
const MOUNTED_AT = '/connectors'
const FLAGS_PATH = `/api/v1/namespaces/${SYSTEM_NAMESPACE}/configmaps/${FLAGS_CONFIG_MAP}`

const isMissing = (error: unknown): boolean => errorCode(error) === 'ENOENT'

/** @returns undefined when there is no such folder */
const namesIn = async (folder: string): Promise<string[] | undefined> => {
  try {
    return (await readdir(folder)).toSorted()
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

/** What the container said last; what it has not yet said to the end is left out. */
const lastSaid = (text: string): ReadonlyMap<string, SeenFile> | undefined => {
  const said = text.slice(0, text.lastIndexOf('\n') + 1).split('--\n').at(-1) ?? ''
  const lines = said.split('\n').filter((line) => line !== '')
  const files = lines.map((line): SeenFile & { path: string } => JSON.parse(line))
  return text.includes('--\n') ? new Map(files.map(({ path, mode, uid, gid, text: content }) => [path.slice(MOUNTED_AT.length + 1), { mode, uid, gid, text: content }])) : undefined
}

const isWhole = (files: ReadonlyMap<string, SeenFile>): boolean => files.size === BUILTIN_FILES.length && BUILTIN_FILES.every((name) => files.has(name))

const podPath = ({ metadata: { namespace, name } }: MadePod): string => `/api/v1/namespaces/${namespace}/pods/${name}`

const asMade = (pod: MadePod, seen: SeenPod): MadePod => ({ ...seen, metadata: { ...pod.metadata, ...seen.metadata } })

export const nodeWorld = async (t: Pick<Test, 'teardown'>): Promise<NodeWorld> => {
  const cluster = await startControlPlane({ log: () => undefined })
  t.teardown(() => cluster.stop())
  const webhookPort = await freePort()
  const starting = startNode({ cluster, log: () => undefined })
  t.teardown(async () => (await starting).stop())
  const outDir = join(await temporaryFolder(t), 'program')
  const [node, { file: program }] = await Promise.all([starting, bundle({ root: ROOT, entry: 'src/main.ts', outDir, name: 'access-gate' }), applyManifests(cluster, webhookPort)])
  const ground: Ground = { cluster, node, program }
  const stateDir = pluginFolder(node)
  await mkdir(stateDir, { recursive: true, mode: 0o700 })
  const serving = [`--host=${LOOPBACK}`, `--port=${webhookPort}`, '--self-signed', '--drain-seconds=0']
  const [webhook, controller, plugin] = await Promise.all([
    startRole({ ...ground, role: 'webhook', more: serving, isAtWork: () => waitForAdmission(cluster).then(() => true) }),
    startRole({ ...ground, role: 'controller', more: [], isAtWork: async (metric) => (await metric('access_gate_leading')) === 1 }),
    startPlugin(ground, []),
  ])
  const world = await gatedWorld(t, cluster)
  const { shared, work } = world
  let nudges = 0

  const self: NodeWorld = {
    world,
    cluster,
    node,
    webhook,
    controller,
    plugin,
    startPlugin: (more) => startPlugin(ground, more),
    connector: async (name, policy) => {
      await world.connector(name, policy)
      await self.setProxy(name, `http://c-${name}.${shared}.svc.cluster.local`)
    },
    setProxy: async (connector, url) => {
      const status = { proxy: { httpAddress: { name: 'http', url, audience: 'connectors-proxy', CACerts: Buffer.from(cluster.caPem).toString('base64') } } }
      const path = `/apis/connectors.alauda.io/v1alpha1/namespaces/${shared}/connectors/${connector}/status`
      readAnswer(await cluster.call('PATCH', path, { status }, MERGE), `status of ${connector}`)
    },
    pod: async (name, connectors, { run = name, args = ['watch', '-text', MOUNTED_AT], spec = {}, attributes = {}, generateName, ownerReferences } = {}) => {
      const volumes = [gatedVolume({ connectors: connectors.map((connector) => `${shared}/${connector}`).join(','), ...attributes })]
      const facts = { namespace: work, name, labels: { [RUN]: run }, args, spec: { serviceAccountName: BUILDER, volumes, ...spec }, mounts: [{ name: 'connectors', mountPath: MOUNTED_AT }] }
      const object: KubeObject = JSON.parse(JSON.stringify(podObject(node, facts)))
      const { name: _own, ...unnamed } = object.metadata
      const metadata = { ...(generateName === undefined ? object.metadata : { ...unnamed, generateName }), ...(ownerReferences === undefined ? {} : { ownerReferences }) }
      const made: MadePod = JSON.parse(readAnswer(await cluster.call('POST', `/api/v1/namespaces/${work}/pods`, { ...object, metadata }), `Pod ${name}`))
      return made
    },
    nudge: async (pod) => {
      nudges += 1
      readAnswer(await cluster.call('PATCH', podPath(pod), { metadata: { annotations: { 'example.com/nudge': `${nudges}` } } }, MERGE), `nudge of ${pod.metadata.name}`)
    },
    untilPhase: async (pod, phase, boundMs) => asMade(pod, await untilPhase(cluster, pod.metadata, phase, boundMs)),
    untilGone: async (pod, boundMs = 90_000) => {
      const begin = performance.now()
      await untilTrue(`Pod ${pod.metadata.name} is gone`, async () => (await readPod(cluster, pod.metadata))?.metadata.uid !== pod.metadata.uid, boundMs)
      return performance.now() - begin
    },
    phase: async (pod) => {
      const seen = await readPod(cluster, pod.metadata)
      return seen?.metadata.uid === pod.metadata.uid ? seen.status.phase : undefined
    },
    events: async ({ metadata: { namespace, uid } }) => {
      const answer = await cluster.call('GET', `/api/v1/namespaces/${namespace}/events?fieldSelector=involvedObject.uid%3D${uid}`)
      const { items }: { items: PodEvent[] } = JSON.parse(readAnswer(answer, 'events'))
      return items.map(({ reason, message }) => ({ reason, message }))
    },
    untilEvent: async (pod, reason, words, boundMs) => {
      let seen: PodEvent[] = []
      return eventually(
        `Pod ${pod.metadata.name} has an Event ${reason} with ${words}`,
        async () => {
          seen = await self.events(pod)
          return seen.find((event) => event.reason === reason && (typeof words === 'string' ? event.message.includes(words) : words.test(event.message)))
        },
        boundMs,
        () => seen,
      )
    },
    files: async ({ metadata: { namespace, name } }) => lastSaid(await node.containerLog({ namespace, name, container: CONTAINER })),
    untilFiles: async (pod, what, isSo, boundMs) => {
      let seen: ReadonlyMap<string, SeenFile> | undefined
      return eventually(
        `the container of ${pod.metadata.name} sees ${what}`,
        async () => {
          seen = await self.files(pod)
          return seen !== undefined && isSo(seen) ? seen : undefined
        },
        boundMs,
        () => [...(seen?.keys() ?? [])],
      )
    },
    untilWhole: (pod) => self.untilFiles(pod, 'all files', isWhole),
    volume: ({ metadata: { uid } }) => join(node.kubeletDir, 'pods', uid, 'volumes/kubernetes.io~csi/connectors/mount'),
    onDisk: (pod) => namesIn(self.volume(pod)),
    records: async ({ metadata: { uid } }) => {
      const count = async (folder: string): Promise<number> => {
        const names = (await namesIn(join(stateDir, folder))) ?? []
        const texts = await Promise.all(names.map((name) => readFile(join(stateDir, folder, name), 'utf8').catch((error: unknown) => (isMissing(error) ? '' : Promise.reject(error)))))
        return texts.filter((text) => text.includes(uid)).length
      }
      return { volumes: await count('volumes'), asked: await count('asked') }
    },
    flag: async (name, value) => {
      readAnswer(await cluster.call('PATCH', FLAGS_PATH, { data: { [name]: value } }, MERGE), `flag ${name}`)
    },
    waitingPod: async (name) => {
      await world.task(name, 'pending')
      const pod = await self.pod(name, ['harbor'])
      await self.untilEvent(pod, 'AccessWaiting', 'waiting for ApprovalTask')
      return pod
    },
    runningPod: async (name, connector = 'harbor') => {
      const pod = await self.pod(name, [connector])
      await world.task(name, 'approved')
      await self.untilMounted(pod)
      return pod
    },
    untilMounted: async (pod, boundMs) => {
      await self.untilPhase(pod, 'Running', boundMs)
      await self.untilFiles(pod, 'all files', isWhole, boundMs)
    },
    untilProxy: async (pod, url, boundMs) => {
      await self.untilFiles(pod, `the proxy ${url}`, (files) => isWhole(files) && files.get('connector.status.proxyAddress')?.text === url, boundMs)
    },
  }
  return self
}
