/** A control plane of a fault run's own, with webhook and controller as processes of their own, and a judge of what they do. */
import { join } from 'node:path'
import type { Test } from 'tap'
import { startControlPlane, type ControlPlane } from '../../hack/control-plane/start.ts'
import { startRoleProcesses, type RoleProcesses } from '../../hack/sandbox/role-processes.ts'
import type { AccessRequest } from '../../src/api/access-request.ts'
import { LABEL } from '../../src/api/names.ts'
import type { Pod } from '../../src/api/pod.ts'
import { isFinal } from '../../src/core/conditions.ts'
import { ACCESS_REQUESTS, ROLE_BINDINGS, ROLES } from '../../src/kube/resources.ts'
import { apiProxy, type ApiProxy } from './api-proxy.ts'
import { eventually } from './eventually.ts'
import { gatedWorld, type GatedWorld } from './gated-world.ts'
import { judgeGrants, type GrantJudge } from './grant-judge.ts'
import { persist, persistentWorld, type PodEnd } from './persistent-world.ts'
import { readingOf } from './request-reading.ts'
import { temporaryFolder } from './temporary-folder.ts'

export interface FaultWorld {
  world: GatedWorld
  cluster: ControlPlane
  roles: RoleProcesses
  judge: GrantJudge
  /** In front of the API server, for both roles; only where it was asked for. */
  proxy: ApiProxy | undefined
  /** Makes a Pod that mounts the Connector; also when an earlier attempt came through without an answer. */
  makePod: (name: string) => Promise<Pod>
  /** As makePod, until it is admitted with a request: on a busy machine the webhook may let one in without, when its time is up. */
  makeRequest: (name: string, connector?: string) => Promise<Pod>
  decide: (pod: string, state: 'approved' | 'rejected') => Promise<void>
  endPod: (pod: Pod, how: PodEnd) => Promise<void>
  /** Waits until the request of each Pod is usable. */
  untilUsable: (pods: readonly string[], boundMs?: number) => Promise<void>
  /** Waits until no grant is left and each request is final or gone. */
  untilOver: (boundMs?: number) => Promise<void>
}

/** A request without a Pod is given up after 60 s; what a fault leaves of those takes a little longer. */
const OVER_WITHIN_MS = 150_000
const USABLE_WITHIN_MS = 120_000
const CONNECTOR = 'harbor'

export interface FaultWorldOptions {
  /** The roles reach the API server through a proxy. */
  throughProxy?: boolean
}

export const faultWorld = async (t: Pick<Test, 'teardown'>, { throughProxy = false }: FaultWorldOptions = {}): Promise<FaultWorld> => {
  const auditLog = join(await temporaryFolder(t), 'audit.log')
  const cluster = await startControlPlane({ log: () => undefined, auditLog })
  t.teardown(() => cluster.stop())
  const proxy = throughProxy ? await apiProxy(t, cluster) : undefined
  const roles = await startRoleProcesses({ cluster, ...(proxy === undefined ? {} : { kubeconfigFor: (user) => proxy.kubeconfigFor(user) }) })
  t.teardown(() => roles.stop())
  const world = await gatedWorld(t, cluster)
  const { kube, shared } = world
  const { makePod, task, endPod } = persistentWorld(world)
  await world.connector(CONNECTOR)
  const judge = judgeGrants(kube, { namespace: shared, auditLog })

  const makeGatedPod = async (name: string, connector = CONNECTOR): Promise<Pod> => {
    const pod = await makePod(name, [connector])
    judge.admitted(pod)
    return pod
  }
  const requests = async (): Promise<AccessRequest[]> => (await kube.list(ACCESS_REQUESTS, { namespace: shared })).items

  return {
    world,
    cluster,
    roles,
    judge,
    proxy,
    makePod: (name) => makeGatedPod(name),
    makeRequest: (name, connector) =>
      persist(`the request of ${name}`, async () => {
        const pod = await makeGatedPod(name, connector)
        if ((await world.requestsOf(pod)).length > 0) return pod
        await endPod(name, 'deleted')
        throw new Error(`Pod ${name} was admitted without a request`)
      }),
    decide: async (pod, state) => {
      if (state === 'approved') judge.approving(pod)
      await task(pod, state)
    },
    endPod: ({ metadata }, how) => endPod(metadata.name, how),
    untilUsable: async (pods, boundMs = USABLE_WITHIN_MS) => {
      let waiting: string[] = []
      await eventually(
        `the requests of ${pods.length} Pods are usable`,
        async () => {
          const usable = new Set((await requests().catch(() => [])).filter((request) => readingOf(request)['Ready'] === 'True/Synced').map(({ spec }) => spec.context.objectRef.name))
          waiting = pods.filter((pod) => !usable.has(pod))
          return waiting.length === 0 ? true : undefined
        },
        boundMs,
        () => waiting.slice(0, 5),
      )
    },
    untilOver: async (boundMs = OVER_WITHIN_MS) => {
      let seen: unknown
      await eventually(
        'no grant is left and each request is final',
        async () => {
          const labelSelector = LABEL.accessRequest
          const [roleList, bindingList, requestList] = await Promise.all([
            kube.list(ROLES, { namespace: shared, labelSelector }),
            kube.list(ROLE_BINDINGS, { namespace: shared, labelSelector }),
            requests(),
          ])
          const open = requestList.filter(({ status }) => !isFinal(status))
          seen = { roles: roleList.items.length, bindings: bindingList.items.length, open: open.slice(0, 3).map((request) => [request.metadata.name, readingOf(request)]) }
          return roleList.items.length + bindingList.items.length + open.length === 0 ? true : undefined
        },
        boundMs,
        () => seen,
      )
    },
  }
}
