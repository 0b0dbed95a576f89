/**
 * Controllers on a memory-kube, with time that moves only when a test says so. The scene is that of request-facts.ts: Pod `cicd/build-pod`,
 * Connector `connectors-shared/prod-harbor`, one policy `ask` with one check for ApprovalTasks, the templates, flags on.
 */
import type { Test } from 'tap'
import type { AccessRequest } from '../../src/api/access-request.ts'
import type { KubeObject } from '../../src/api/meta.ts'
import { LABEL } from '../../src/api/names.ts'
import type { Pod } from '../../src/api/pod.ts'
import type { Role, RoleBinding } from '../../src/api/rbac.ts'
import type { CheckObject } from '../../src/core/check.ts'
import { everyCheckRecordedAsPassed } from '../../src/core/conditions.ts'
import { defaultControllerOptions } from '../../src/controller/options.ts'
import { runController, type RunningController } from '../../src/controller/role.ts'
import type { Resource } from '../../src/kube/ports.ts'
import { ACCESS_POLICIES, ACCESS_REQUESTS, CONFIG_MAPS, CONNECTORS, EVENTS, LEASES, PODS, ROLE_BINDINGS, ROLES } from '../../src/kube/resources.ts'
import { controllerProcess, type ControllerProcess } from './controller-process.ts'
import { fakeTime, settle, type FakeTime } from './fake-time.ts'
import { logLines, type LogLines } from './log-lines.ts'
import { memoryKube, type Call, type MemoryKube } from './memory-kube.ts'
import { APPROVAL_TASKS, connectorOf, NOW, podOf, policyOf, requestOf, TEMPLATES, taskOf, type PodOptions, type RequestOptions } from './request-facts.ts'
import { flagsOf } from './request-world.ts'

export const TASKS: Resource<CheckObject> = { ...APPROVAL_TASKS, plural: 'approvaltasks', namespaced: true }

export interface Replica {
  readonly process: ControllerProcess
  readonly controller: RunningController
  readonly logs: LogLines
}

export interface Bench {
  readonly time: FakeTime
  readonly kube: MemoryKube
  /** Starts a controller and lets it do what it wants to do at once. */
  readonly start: (identity?: string, process?: ControllerProcess) => Promise<Replica>
  /** A process for start; every write is followed by the look at invariant I1. */
  readonly process: () => ControllerProcess
  /** Where a Role was seen without the recorded pass. Empty, or I1 is broken. */
  readonly breaches: string[]
  readonly request: (name?: string) => AccessRequest | undefined
  /** `verb resource/name` of each write of a kind that is neither Lease nor Event, since the last call. */
  readonly newWrites: () => string[]
  /** `type reason` of each Event, since the last call. */
  readonly newEvents: () => string[]
  readonly roles: () => Role[]
  readonly bindings: () => RoleBinding[]
}

const sentence = ({ verb, resource, name }: Call): string => `${verb} ${resource}/${name ?? ''}`

export const controllerBench = (t: Test): Bench => {
  const time = fakeTime(NOW)
  const kube = memoryKube({ now: () => time.clock.now(), after: (ms, run) => time.timers.after(ms, run) })
  kube.serve(TASKS)
  const breaches: string[] = []
  const lookAtRoles = (): void => {
    for (const role of kube.all(ROLES)) {
      for (const owner of role.metadata.ownerReferences ?? []) {
        const request = kube.all(ACCESS_REQUESTS).find(({ metadata }) => metadata.uid === owner.uid)
        if (!everyCheckRecordedAsPassed(request?.status)) breaches.push(`Role ${role.metadata.name} after ${kube.calls.length} calls`)
      }
    }
  }
  let lookedAt = 0
  let eventsSeen = 0
  const process = (): ControllerProcess => controllerProcess(kube, lookAtRoles)
  return {
    time,
    kube,
    breaches,
    process,
    start: async (identity = 'one', own = process()) => {
      const logs = logLines()
      const options = { ...defaultControllerOptions(), metricsHost: '127.0.0.1', metricsPort: 0, identity }
      const controller = await runController(options, own, { logger: logs.log, clock: time.clock, timers: time.timers })
      t.teardown(() => controller.stop())
      await settle()
      return { process: own, controller, logs }
    },
    request: (name = 'prod-harbor-build-pod') => kube.all(ACCESS_REQUESTS).find(({ metadata }) => metadata.name === name),
    newWrites: () => {
      const writes = kube.writes().filter(({ resource }) => resource !== LEASES.plural && resource !== EVENTS.plural)
      const fresh = writes.slice(lookedAt).map(sentence)
      lookedAt = writes.length
      return fresh
    },
    newEvents: () => {
      const events = kube.all(EVENTS)
      const fresh = events.slice(eventsSeen).map(({ type, reason }) => `${type ?? ''} ${reason ?? ''}`)
      eventsSeen = events.length
      return fresh
    },
    roles: () => kube.all(ROLES),
    bindings: () => kube.all(ROLE_BINDINGS),
  }
}

/** A Pod as admission leaves it: with the label that makes the controller watch it. */
export const gatedPod = (options: PodOptions = {}): Pod => {
  const pod = podOf(options)
  return { ...pod, metadata: { ...pod.metadata, labels: { ...pod.metadata.labels, [LABEL.gated]: 'true' } } }
}

export type Part = 'flags' | 'templates' | 'connector' | 'policy' | 'pod' | 'request' | 'task'

/** Puts the scene, the ApprovalTask `deploy` pending; parts can be left out. */
export const putScene = ({ kube }: Pick<Bench, 'kube'>, { without = [], request = {}, task = 'pending' }: { without?: Part[]; request?: RequestOptions; task?: string } = {}): void => {
  const has = (part: Part): boolean => !without.includes(part)
  if (has('flags')) kube.put(CONFIG_MAPS, flagsOf('true'))
  if (has('templates')) for (const template of TEMPLATES) kube.put(CONFIG_MAPS, template)
  if (has('connector')) kube.put(CONNECTORS, connectorOf())
  if (has('policy')) kube.put(ACCESS_POLICIES, policyOf())
  if (has('pod')) kube.put(PODS, gatedPod())
  if (has('request')) kube.put(ACCESS_REQUESTS, requestOf(request))
  if (has('task')) kube.put(TASKS, taskOf('deploy', task))
}

/** Who has approved it, as an ApprovalTask tells. */
export const approvedBy = (...users: string[]): object => ({ approversResponse: users.map((name) => ({ name, type: 'User', response: 'approved' })) })

/** Changes an object as another writer would. */
export const edit = <T extends KubeObject>({ kube }: Pick<Bench, 'kube'>, resource: Resource<T>, name: string, change: (object: T) => T): void => {
  const found = kube.all(resource).find(({ metadata }) => metadata.name === name)
  if (found === undefined) throw new Error(`there is no ${resource.kind} ${name}`)
  kube.put(resource, change(found))
}
