/**
 * One controller with many live requests: its memory, how long a start takes, what it costs while nothing happens, how that grows
 * from the smaller number of requests to the larger, whether Pods of others cost anything, and how fast a burst is worked off.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { CONDITION, type AccessRequest } from '../../src/api/access-request.ts'
import { ACCESS_REQUESTS, PODS } from '../../src/kube/resources.ts'
import { createGatedPod, createOtherPod, createTask, inParallel, openStage, setTaskState, SHARED, WORK, type ControllerProcess, type Stage } from './controller-stage.ts'
import { watchGrants, type GrantWatch } from './grant-watch.ts'
import type { BenchEnv, Figure, Section } from './section.ts'

const WIDTH = 32
const POLL_MS = 25
const START_MS = 120_000
const POPULATE_MS = 900_000
const BURST_MS = 300_000
/** Every so many-th request is approved; the others wait. */
const GRANTED_EVERY = 4

interface Sizes {
  few: number
  many: number
  others: number
  burst: number
  idleMs: number
}

const SIZES: { full: Sizes; quick: Sizes } = {
  full: { few: 1_000, many: 10_000, others: 20_000, burst: 1_000, idleMs: 60_000 },
  quick: { few: 100, many: 600, others: 800, burst: 100, idleMs: 10_000 },
}

/** The keys speak of the full sizes; a quick run measures fewer objects under the same names. */
const KEYS = [
  'controller_start_10000_requests_seconds',
  'controller_start_1000_requests_seconds',
  'controller_rss_10000_requests_mb',
  'controller_rss_peak_10000_requests_mb',
  'controller_rss_1000_requests_mb',
  'controller_rss_per_request_kb',
  'controller_idle_10000_requests_percent',
  'controller_idle_1000_requests_percent',
  'controller_growth_start_ratio',
  'controller_growth_idle_ratio',
  'controller_20000_other_pods_rss_mb',
  'controller_20000_other_pods_idle_percent',
  'controller_20000_other_pods_start_seconds',
  'controller_populate_requests_per_second',
  'controller_1000_pods_end_seconds',
] as const

interface Measured {
  startS: number
  startCpuMs: number
  rssMb: number
  peakMb: number
  idlePercent: number
}

const LEADING = 'access_gate_leading'
const QUEUED = 'access_gate_queue_length'
const RECONCILES = /^access_gate_reconciles_total\{.*loop="access-request"/

const reconciles = (samples: Map<string, number>): number => [...samples].reduce((sum, [name, value]) => (RECONCILES.test(name) ? sum + value : sum), 0)

/** Leads, has looked at every request, and nothing is left in its queue. */
const caughtUp = async (env: BenchEnv, controller: ControllerProcess, requests: number, boundMs: number): Promise<number> => {
  const end = performance.now() + boundMs
  for (;;) {
    env.signal.throwIfAborted()
    const samples = await controller.metrics()
    const at = performance.now()
    if (samples.get(LEADING) === 1 && samples.get(QUEUED) === 0 && reconciles(samples) >= requests) return at
    if (at > end) throw new Error(`the controller was not caught up with ${requests} requests within ${boundMs / 1000} s`)
    await delay(POLL_MS)
  }
}

/** Starts a fresh controller on what is there, and leaves it alone for a while. */
const measure = async (env: BenchEnv, stage: Stage, requests: number, { idleMs }: Sizes): Promise<{ controller: ControllerProcess; measured: Measured }> => {
  const begin = performance.now()
  const controller = await stage.startController()
  const at = await caughtUp(env, controller, requests, START_MS)
  const startCpuMs = await controller.cpuMs()
  await delay(2_000, undefined, { signal: env.signal })
  const before = { cpu: await controller.cpuMs(), at: performance.now() }
  await delay(idleMs, undefined, { signal: env.signal })
  const idlePercent = ((await controller.cpuMs()) - before.cpu) / ((performance.now() - before.at) / 100)
  const { nowMb, peakMb } = await controller.memory()
  const measured = { startS: (at - begin) / 1000, startCpuMs, rssMb: nowMb, peakMb, idlePercent }
  env.log(`${requests} requests: ${JSON.stringify(measured)}`)
  return { controller, measured }
}

const isSettled = (request: AccessRequest, granted: boolean): boolean => {
  const condition = request.status?.conditions?.find(({ type }) => type === (granted ? CONDITION.ready : CONDITION.accessCheckReady))
  return granted ? condition?.status === 'True' : condition?.status === 'Unknown' && (request.status?.policies?.[0]?.matchedChecks ?? []).length > 0
}

const isGranted = (index: number): boolean => index % GRANTED_EVERY === 0

/** Adds requests with their Pods and approvals; their status is the controller's own work. @returns how many a second, until the last was settled */
const populate = async (env: BenchEnv, stage: Stage, from: number, to: number, { burst }: Sizes): Promise<number> => {
  const controller = await stage.startController()
  const begin = performance.now()
  const names = new Map<string, boolean>()
  await inParallel(env, WIDTH, to - from, async (offset) => {
    const index = from + offset
    const name = `scale-${index}`
    const granted = isGranted(index)
    await setTaskState(stage, await createTask(stage, name), granted ? 'approved' : 'pending')
    const isBurst = granted && index / GRANTED_EVERY < burst
    const request = await createGatedPod(stage, name, isBurst ? { burst: 'true' } : {})
    names.set(request.metadata.name, granted)
  })
  env.log(`${to - from} requests made in ${((performance.now() - begin) / 1000).toFixed(0)} s`)
  const end = performance.now() + POPULATE_MS
  for (;;) {
    env.signal.throwIfAborted()
    const { items } = await stage.admin.list(ACCESS_REQUESTS, { namespace: SHARED })
    const open = items.filter((request) => names.has(request.metadata.name) && !isSettled(request, names.get(request.metadata.name) === true)).length
    if (open === 0 && items.length >= to) break
    if (performance.now() > end) throw new Error(`${open} of ${items.length} requests were not settled within ${POPULATE_MS / 1000} s`)
    await delay(500)
  }
  const perSecond = (to - from) / ((performance.now() - begin) / 1000)
  env.log(`all settled, ${perSecond.toFixed(0)} a second`)
  await controller.stop()
  return perSecond
}

/** From the deletion of the first of many granted Pods to the moment when the last RoleBinding is gone. */
const burst = async (env: BenchEnv, stage: Stage, grants: GrantWatch, { burst: count }: Sizes): Promise<number> => {
  const { items } = await stage.admin.list(PODS, { namespace: WORK, labelSelector: 'burst=true' })
  if (items.length !== count) throw new Error(`${items.length} Pods are to end at once, instead of ${count}`)
  const begin = performance.now()
  const remove = async (): Promise<void> => {
    await inParallel(env, WIDTH, count, (index) => stage.admin.remove(PODS, WORK, items[index]?.metadata.name ?? ''))
    env.log(`${count} Pods deleted in ${((performance.now() - begin) / 1000).toFixed(1)} s`)
  }
  const [gone] = await Promise.all([grants.downTo(grants.size - count, BURST_MS), remove()])
  return (gone - begin) / 1000
}

const run = async (env: BenchEnv): Promise<Figure[]> => {
  const sizes = env.quick ? SIZES.quick : SIZES.full
  const { few, many, others } = sizes
  const stage = await openStage(env)
  await populate(env, stage, 0, few, sizes)
  const alone = await measure(env, stage, few, sizes)
  await alone.controller.stop()
  await inParallel(env, WIDTH, others, (index) => createOtherPod(stage, `other-${index}`))
  env.log(`${others} other Pods made`)
  const small = await measure(env, stage, few, sizes)
  await small.controller.stop()
  const perSecond = await populate(env, stage, few, many, sizes)
  const large = await measure(env, stage, many, sizes)
  const grants = await watchGrants(env, stage.admin)
  const burstS = await burst(env, stage, grants, sizes)
  const { peakMb } = await large.controller.memory()
  env.log(`peak after the burst: ${peakMb.toFixed(0)} MB`)
  return figures({ alone: alone.measured, small: small.measured, large: large.measured, perSecond, burstS }, sizes)
}

interface Results {
  alone: Measured
  small: Measured
  large: Measured
  perSecond: number
  burstS: number
}

const figures = ({ alone, small, large, perSecond, burstS }: Results, { few, many, others, burst: count }: Sizes): Figure[] => {
  const growth = many / few
  const label = (what: string, requests: number): string => `controller, ${requests} requests and ${others} other Pods: ${what}`
  return [
    { key: KEYS[0], label: label('start to caught up', many), unit: 'seconds', value: large.startS, goal: { atMost: 15 }, note: `${(large.startCpuMs / 1000).toFixed(1)} s of CPU` },
    { key: KEYS[1], label: label('start to caught up', few), unit: 'seconds', value: small.startS, note: `${(small.startCpuMs / 1000).toFixed(1)} s of CPU` },
    { key: KEYS[2], label: label('RSS', many), unit: 'mb', value: large.rssMb, goal: { atMost: 300 } },
    { key: KEYS[3], label: label('highest RSS of the start', many), unit: 'mb', value: large.peakMb, goal: { atMost: 300 } },
    { key: KEYS[4], label: label('RSS', few), unit: 'mb', value: small.rssMb },
    { key: KEYS[5], label: 'RSS for each further request', unit: 'kb', value: ((large.rssMb - small.rssMb) * 1000) / (many - few) },
    { key: KEYS[6], label: label('CPU while idle', many), unit: 'percent', value: large.idlePercent, goal: { atMost: 2 } },
    { key: KEYS[7], label: label('CPU while idle', few), unit: 'percent', value: small.idlePercent },
    { key: KEYS[8], label: `growth of the start over growth of the requests (${growth} times)`, unit: 'ratio', value: large.startS / small.startS / growth, goal: { atMost: 1 } },
    { key: KEYS[9], label: `growth of idle CPU over growth of the requests (${growth} times)`, unit: 'ratio', value: large.idlePercent / Math.max(small.idlePercent, 0.01) / growth, goal: { atMost: 1 } },
    { key: KEYS[10], label: `what ${others} other Pods add: RSS`, unit: 'mb', value: small.rssMb - alone.rssMb },
    { key: KEYS[11], label: `what ${others} other Pods add: CPU while idle`, unit: 'percent', value: small.idlePercent - alone.idlePercent },
    { key: KEYS[12], label: `what ${others} other Pods add: start`, unit: 'seconds', value: small.startS - alone.startS },
    { key: KEYS[13], label: 'requests made and settled', unit: 'per_second', value: perSecond, note: `every ${GRANTED_EVERY}th approved; with their Pods and ApprovalTasks` },
    { key: KEYS[14], label: `${count} granted Pods deleted at once: until all grants are gone`, unit: 'seconds', value: burstS },
  ]
}

export const controllerScale: Section = { name: 'controller-scale', title: 'One controller with many live requests', keys: KEYS, run }
