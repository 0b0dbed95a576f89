/** From an approval to the RoleBinding, beside two plain writes of the same kinds by the same client. */
import { CONDITION, type AccessRequest } from '../../src/api/access-request.ts'
import { GROUP } from '../../src/api/names.ts'
import type { KubeClient } from '../../src/kube/client.ts'
import { ACCESS_REQUESTS, ROLE_BINDINGS, ROLES } from '../../src/kube/resources.ts'
import { waitFor } from '../control-plane/cluster-access.ts'
import { createGatedPod, createTask, inParallel, openStage, setTaskState, SHARED, WORK, type ApprovalTask, type Stage } from './controller-stage.ts'
import { watchGrants, type GrantWatch } from './grant-watch.ts'
import type { BenchEnv, Figure, Section } from './section.ts'
import { median } from './statistics.ts'

const GRANT_MS = 60_000
const WAITING_MS = 300_000
const WIDTH = 16
/** The first ones find nothing warm, neither here nor in the API server. */
const WARM_UP = 20

const KEYS = [
  'approval_to_rolebinding_median_ms',
  'approval_to_rolebinding_p95_ms',
  'two_plain_writes_median_ms',
  'approval_to_rolebinding_ratio',
  'approval_to_rolebinding_16_at_once_median_ms',
  'two_plain_writes_16_at_once_median_ms',
  'approval_to_rolebinding_16_at_once_ratio',
] as const

interface Waiting {
  request: AccessRequest
  task: ApprovalTask
}

const quantile = (values: readonly number[], part: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
}

const isWaiting = ({ status }: AccessRequest): boolean =>
  status?.conditions?.find(({ type }) => type === CONDITION.accessCheckReady)?.status === 'Unknown' && (status.policies?.[0]?.matchedChecks ?? []).length > 0

/** Requests that wait for nothing but their approval. */
const populate = async (env: BenchEnv, stage: Stage, count: number): Promise<Waiting[]> => {
  const all: Waiting[] = []
  await inParallel(env, WIDTH, count, async (index) => {
    const name = `latency-${index}`
    const task = await createTask(stage, name)
    all.push({ task: await setTaskState(stage, task, 'pending'), request: await createGatedPod(stage, name) })
  })
  await waitFor(`${count} requests that wait for their approval`, WAITING_MS, async () => {
    env.signal.throwIfAborted()
    const { items } = await stage.admin.list(ACCESS_REQUESTS, { namespace: SHARED })
    return items.filter(isWaiting).length >= count
  })
  return all
}

const approve = async (stage: Stage, grants: GrantWatch, { request, task }: Waiting): Promise<number> => {
  const seen = grants.seen(request.metadata.name, GRANT_MS)
  const [approvedAt, seenAt] = await Promise.all([setTaskState(stage, task, 'approved').then(() => performance.now()), seen])
  return seenAt - approvedAt
}

/** A Role and a RoleBinding of the size that a grant has; without its label, so that the controller does not see them. */
const writeTwo = async (kube: KubeClient, name: string): Promise<number> => {
  const path = `connectors/proxy/v1/pod/${WORK}/${name}`
  const metadata = { name: `plain-${name}`, namespace: SHARED, labels: { 'bench/request': name, 'bench/policy': 'approved-builds' }, annotations: { 'bench/pod-uid': name, 'bench/request': name } }
  const group = { apiGroup: 'rbac.authorization.k8s.io', name: metadata.name }
  const begin = performance.now()
  await kube.create(ROLES, {
    apiVersion: ROLES.apiVersion,
    kind: ROLES.kind,
    metadata,
    rules: [{ apiGroups: [GROUP], resources: [path], resourceNames: ['prod-harbor'], verbs: ['*'] }],
  })
  await kube.create(ROLE_BINDINGS, {
    apiVersion: ROLE_BINDINGS.apiVersion,
    kind: ROLE_BINDINGS.kind,
    metadata,
    roleRef: { ...group, kind: 'Role' },
    subjects: [{ kind: 'ServiceAccount', name: 'builder', namespace: WORK }],
  })
  return performance.now() - begin
}

const run = async (env: BenchEnv): Promise<Figure[]> => {
  const one = env.quick ? 40 : 300
  const many = env.quick ? 64 : 320
  const stage = await openStage(env)
  const kube = await stage.asController('access-gate bench controller')
  await stage.startController()
  env.log(`making ${WARM_UP + one + many} requests that wait`)
  const waiting = await populate(env, stage, WARM_UP + one + many)
  const grants = await watchGrants(env, kube)
  const times = { approval: [] as number[], plain: [] as number[], approvals: [] as number[], plains: [] as number[] }

  env.log(`${one} approvals one after the other, each beside two plain writes`)
  for (const [index, each] of waiting.slice(0, WARM_UP + one).entries()) {
    env.signal.throwIfAborted()
    const approval = await approve(stage, grants, each)
    const plain = await writeTwo(kube, `one-${index}`)
    if (index < WARM_UP) continue
    times.approval.push(approval)
    times.plain.push(plain)
  }
  env.log(`${many} approvals, ${WIDTH} at once, and as many plain writes`)
  const rest = waiting.slice(WARM_UP + one)
  const half = rest.length / 2
  for (const part of [0, 1]) {
    await inParallel(env, WIDTH, half, async (index) => {
      const each = rest[part * half + index]
      if (each !== undefined) times.approvals.push(await approve(stage, grants, each))
    })
    await inParallel(env, WIDTH, half, async (index) => times.plains.push(await writeTwo(kube, `many-${part}-${index}`)))
  }

  const value = {
    approval_to_rolebinding_median_ms: median(times.approval),
    approval_to_rolebinding_p95_ms: quantile(times.approval, 0.95),
    two_plain_writes_median_ms: median(times.plain),
    approval_to_rolebinding_ratio: median(times.approval) / median(times.plain),
    approval_to_rolebinding_16_at_once_median_ms: median(times.approvals),
    two_plain_writes_16_at_once_median_ms: median(times.plains),
    approval_to_rolebinding_16_at_once_ratio: median(times.approvals) / median(times.plains),
  }
  const spread = (values: readonly number[]): string => `${quantile(values, 0.05).toFixed(1)} to ${quantile(values, 0.95).toFixed(1)} in ${values.length}`
  const plain = 'a Role and a RoleBinding, one after the other; the API server asks etcd for its newest state before each, in ticks of 100 ms'
  return [
    { key: KEYS[0], label: 'approval to RoleBinding, median', unit: 'ms', value: value[KEYS[0]], note: spread(times.approval) },
    { key: KEYS[1], label: 'approval to RoleBinding, 95th percentile', unit: 'ms', value: value[KEYS[1]] },
    { key: KEYS[2], label: 'two plain writes, median', unit: 'ms', value: value[KEYS[2]], note: `${plain}; ${spread(times.plain)}` },
    { key: KEYS[3], label: 'approval to RoleBinding / two plain writes', unit: 'ratio', value: value[KEYS[3]], goal: { atMost: 2 } },
    { key: KEYS[4], label: `approval to RoleBinding, ${WIDTH} at once, median`, unit: 'ms', value: value[KEYS[4]], note: spread(times.approvals) },
    { key: KEYS[5], label: `two plain writes, ${WIDTH} at once, median`, unit: 'ms', value: value[KEYS[5]], note: spread(times.plains) },
    { key: KEYS[6], label: `the same ratio, ${WIDTH} at once`, unit: 'ratio', value: value[KEYS[6]] },
  ]
}

export const controllerLatency: Section = { name: 'approval', title: 'From an approval to the RoleBinding', keys: KEYS, run }
