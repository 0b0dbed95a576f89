/**
 * The CSI plugin over a memory API server, memory volumes and time that moves only when a test says so. Pod `cicd/build-1` (uid `uid-1`)
 * of ServiceAccount builder mounts `shared/harbor`, which it may get and not use; approval is on.
 */
import type { Test } from 'tap'
import type { AccessQuestion } from '../../src/api/access-review.ts'
import type { ConfigMap } from '../../src/api/config-map.ts'
import type { Connector } from '../../src/api/connector.ts'
import { CSI_DRIVER, FLAG, FLAGS_CONFIG_MAP, PROXY_AUDIENCE, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import type { Pod } from '../../src/api/pod.ts'
import type { MountCall } from '../../src/core/mount-call.ts'
import type { ConnectorKey, PodKey } from '../../src/core/request-identity.ts'
import { CsiError } from '../../src/csi/grpc-status.ts'
import { createPlugin, type Plugin } from '../../src/csi/plugin.ts'
import type { IssuedToken, TokenQuestion } from '../../src/kube/ports.ts'
import { ACCESS_REQUESTS, CONFIG_MAPS, CONNECTORS, EVENTS, PODS } from '../../src/kube/resources.ts'
import { fakeTime, settle, type FakeTime } from './fake-time.ts'
import { logLines, type LogLines } from './log-lines.ts'
import { memoryKube, type MemoryKube } from './memory-kube.ts'
import { memoryVolumes, type MemoryVolumes } from './memory-volumes.ts'
import { HARBOR, MOUNT_POD, MOUNT_TIME, requestFor, STAGE, type Stage } from './mount-facts.ts'

export const NODE = 'node-1'
/** A folder that no machine has: what is on a real disk is nobody's business here. */
export const KUBELET_DIR = '/no-kubelet-here'
export const TOKEN = 'token-one'

export interface CsiWorldOptions {
  /** Of the plugin. */
  wait?: boolean
  tokenApi?: boolean
  maxWaiting?: number
  /** Instead of what a new world has: after a restart of the plugin. */
  volumes?: MemoryVolumes
  kube?: MemoryKube
  time?: FakeTime
}

export interface VolumeOptions {
  volumeName?: string
  attributes?: Record<string, string>
  /** Audience to token. */
  tokens?: Record<string, string>
  /** More or other entries of the call's volume_context. */
  context?: Record<string, string>
}

export type PodChange = VolumeOptions & { metadata?: Partial<Pod['metadata']>; status?: Pod['status']; spec?: Partial<NonNullable<Pod['spec']>> }

/** A mount call that runs. */
export interface RunningMount {
  /** `OK` or `CODE: message`; undefined while it runs. */
  readonly outcome: string | undefined
  ended: Promise<string>
  /** As when kubelet goes away. */
  cancel(reason?: unknown): void
}

export interface CsiWorld {
  plugin: Plugin
  kube: MemoryKube
  volumes: MemoryVolumes
  time: FakeTime
  lines: LogLines
  /** Tokens that were asked for. */
  issued: TokenQuestion[]
  /** What is said to the three questions about a Connector; nothing but `get` unless it is told. */
  may(connector: ConnectorKey, what: Partial<Record<'get' | 'proxy' | 'podPath', boolean>>): void
  /** How often the API server was asked for this permission. */
  asked(what: 'get' | 'proxy' | 'podPath'): number
  connector(key: ConnectorKey, audience?: string): void
  flags(approval: string, proxyPermissions?: string, more?: Record<string, string>): void
  /** The Pod with one volume of ours. */
  pod(key?: PodKey, options?: PodChange): Pod
  /** Its request as the controller has it at this stage. */
  request(stage: Stage, connector?: ConnectorKey, pod?: PodKey): void
  publish(pod?: PodKey, options?: VolumeOptions & { deadlineMs?: number }): RunningMount
  unpublish(pod?: PodKey, options?: VolumeOptions): Promise<string>
  /** The files of the volume; undefined: no volume. */
  files(pod?: PodKey, volumeName?: string): string[] | undefined
  content(file: string, pod?: PodKey, volumeName?: string): string
  /** `Reason note` of each Event, in order. */
  events(): string[]
  /** The value of a metric, with these labels. */
  metric(name: string, labels?: Record<string, string>): Promise<number>
}

export const targetOf = ({ uid }: PodKey, volumeName = 'tools'): string => `${KUBELET_DIR}/pods/${uid}/volumes/kubernetes.io~csi/${volumeName}/mount`
export const volumeIdOf = ({ uid }: PodKey, volumeName = 'tools'): string => `csi-${uid}-${volumeName}`
const ATTRIBUTES = { connectors: 'shared/harbor' }

export const callOf = (pod: PodKey, { volumeName = 'tools', attributes = ATTRIBUTES, tokens = { [PROXY_AUDIENCE]: TOKEN }, context = {} }: VolumeOptions = {}): MountCall => ({
  volumeId: volumeIdOf(pod, volumeName),
  targetPath: targetOf(pod, volumeName),
  readOnly: true,
  context: new Map(
    Object.entries({
      ...attributes,
      'csi.storage.k8s.io/pod.name': pod.name,
      'csi.storage.k8s.io/pod.namespace': pod.namespace,
      'csi.storage.k8s.io/pod.uid': pod.uid,
      'csi.storage.k8s.io/serviceAccount.name': 'builder',
      'csi.storage.k8s.io/ephemeral': 'true',
      'csi.storage.k8s.io/serviceAccount.tokens': JSON.stringify(
        Object.fromEntries(Object.entries(tokens).map(([audience, token]) => [audience, { token, expirationTimestamp: '2030-01-01T00:00:00Z' }])),
      ),
      ...context,
    }),
  ),
  secrets: new Map(),
  publishContext: new Map(),
  isMountVolume: true,
  volumeMountGroup: '',
})

const said = (error: unknown): string => (error instanceof CsiError ? `${error.code}: ${error.message}` : String(error))

const keyOf = ({ namespace, name }: ConnectorKey, question: string): string => `${namespace}/${name} ${question}`
const what = ({ verb, subresource }: AccessQuestion): 'get' | 'proxy' | 'podPath' => (verb === 'get' ? 'get' : subresource === 'proxy' ? 'proxy' : 'podPath')

export const connectorWithProxy = (key: ConnectorKey, audience?: string): Connector => {
  const httpAddress = { url: `http://c-${key.name}.${key.namespace}.svc`, ...(audience === undefined ? {} : { audience }) }
  return { metadata: { ...key }, spec: { connectorClassName: 'harbor', address: 'https://harbor.example.com' }, status: { proxy: { httpAddress } } }
}

export const flagsMap = (approval: string, proxyPermissions = approval, more: Record<string, string> = {}): ConfigMap => ({
  metadata: { name: FLAGS_CONFIG_MAP, namespace: SYSTEM_NAMESPACE },
  data: { [FLAG.approval]: approval, [FLAG.proxyPermissions]: proxyPermissions, ...more },
})

/** With one volume of ours. */
export const podOnNode = (key: PodKey, { volumeName = 'tools', attributes = ATTRIBUTES, metadata = {}, status, spec = {} }: PodChange = {}): Pod => ({
  metadata: { ...key, ...metadata },
  spec: { serviceAccountName: 'builder', nodeName: NODE, volumes: [{ name: volumeName, csi: { driver: CSI_DRIVER, readOnly: true, volumeAttributes: attributes } }], ...spec },
  ...(status === undefined ? {} : { status }),
})

export const csiWorld = async (t: Pick<Test, 'teardown'>, options: CsiWorldOptions = {}): Promise<CsiWorld> => {
  const time = options.time ?? fakeTime(MOUNT_TIME)
  const isNew = options.kube === undefined
  const kube = options.kube ?? memoryKube({ now: () => time.clock.now(), after: (ms, run) => time.timers.after(ms, run) })
  const volumes = options.volumes ?? memoryVolumes()
  const lines = logLines()
  const issued: TokenQuestion[] = []
  const issueToken = async (question: TokenQuestion): Promise<IssuedToken> => {
    issued.push(question)
    return { token: `made-${issued.length}`, expirationTimestamp: new Date(time.clock.now() + question.seconds * 1000).toISOString() }
  }
  const allowed = new Map<string, boolean>()
  if (isNew) kube.allowIf((_identity, question) => allowed.get(keyOf({ namespace: question.namespace ?? '', name: question.name ?? '' }, what(question))) ?? what(question) === 'get')

  const plugin = createPlugin(
    { kubeletDir: KUBELET_DIR, nodeName: NODE, wait: options.wait ?? true, tokenApi: options.tokenApi ?? false, maxWaiting: options.maxWaiting ?? 500 },
    Object.assign(kube, { issueToken }),
    { files: volumes.files, records: volumes.records, logger: lines.log, clock: time.clock, timers: time.timers, random: () => 0.5 },
  )
  const running = new Set<AbortController>()

  const world: CsiWorld = {
    plugin,
    kube,
    volumes,
    time,
    lines,
    issued,
    may: (connector, answers) => {
      for (const [question, answer] of Object.entries(answers)) allowed.set(keyOf(connector, question), answer)
    },
    asked: (question) => kube.calls.filter(({ verb, body }) => verb === 'allows' && what((body as { question: AccessQuestion }).question) === question).length,
    connector: (key, audience) => void kube.put(CONNECTORS, connectorWithProxy(key, audience)),
    flags: (approval, proxyPermissions = approval, more = {}) => void kube.put(CONFIG_MAPS, flagsMap(approval, proxyPermissions, more)),
    pod: (key = MOUNT_POD, change = {}) => kube.put(PODS, podOnNode(key, change)),
    request: (stage, connector = HARBOR, pod = MOUNT_POD) => {
      kube.put(ACCESS_REQUESTS, requestFor(connector, STAGE[stage], pod))
    },
    publish: (pod = MOUNT_POD, { deadlineMs = 120_000, ...volume } = {}) => {
      const controller = new AbortController()
      running.add(controller)
      let outcome: string | undefined
      const run = async (): Promise<string> => {
        const published = plugin.publisher.publish(callOf(pod, volume), { deadline: time.clock.now() + deadlineMs, signal: controller.signal })
        outcome = await published.then(() => 'OK', said)
        running.delete(controller)
        return outcome
      }
      const ended = run()
      return {
        get outcome() {
          return outcome
        },
        ended,
        cancel: (reason) => controller.abort(reason),
      }
    },
    unpublish: (pod = MOUNT_POD, { volumeName = 'tools' } = {}) =>
      plugin.publisher.unpublish(volumeIdOf(pod, volumeName), targetOf(pod, volumeName), { deadline: Infinity, signal: new AbortController().signal }).then(() => 'OK', said),
    files: (pod = MOUNT_POD, volumeName = 'tools') => {
      const found = volumes.targets.get(targetOf(pod, volumeName))
      return found && [...found.keys()].toSorted()
    },
    content: (file, pod = MOUNT_POD, volumeName = 'tools') => volumes.targets.get(targetOf(pod, volumeName))?.get(file) ?? '',
    events: () => kube.all(EVENTS).map(({ reason, note }) => `${reason} ${note}`),
    metric: async (name, labels = {}) => {
      const metric = plugin.metrics.register.getSingleMetric(name)
      const { values } = (await metric?.get()) ?? { values: [] }
      return values.filter((value) => Object.entries(labels).every(([key, text]) => value.labels[key] === text)).reduce((sum, { value }) => sum + value, 0)
    },
  }
  if (isNew) {
    world.flags('true')
    world.connector(HARBOR)
    world.pod()
  }
  void plugin.start()
  await settle()
  t.teardown(async () => {
    for (const controller of running) controller.abort()
    await settle()
    const stopped = plugin.stop()
    await time.advance(5_000)
    await stopped
  })
  return world
}
