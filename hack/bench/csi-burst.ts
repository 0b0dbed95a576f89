/** Many Pods of one node at once: gated ones that are approved together, beside as many that need no approval. */
import { cpus } from 'node:os'
import { CONDITION, type AccessRequest } from '../../src/api/access-request.ts'
import { ACCESS_REQUESTS } from '../../src/kube/resources.ts'
import { waitFor } from '../control-plane/cluster-access.ts'
import { inParallel, SHARED, type Stage } from './controller-stage.ts'
import { approve, createGated, createUngated, type GatedPod, type NodePod, type PodStarts } from './csi-pods.ts'
import type { CsiNode } from './csi-stage.ts'
import { metricOf } from './csi-metrics.ts'
import { cpuMicroseconds } from './process-figures.ts'
import type { BenchEnv } from './section.ts'

const WIDTH = 16
const WAITING_MS = 60_000
const STARTED_MS = 180_000

export interface Burst {
  /** Milliseconds from the last approval, or the last creation, until the program of every container had said its first word. */
  spokeMs: number
  /** The same until the API said that all of them run. */
  shownMs: number
  /** How much of all cores was used meanwhile, by everything. */
  busyPercent: number
  /** CPU that the plugin used meanwhile, milliseconds. */
  pluginMs: number
}

const coreTimes = (): { busy: number; all: number } => {
  const sums = cpus().map(({ times: { user, nice, sys, irq, idle } }) => ({ busy: user + nice + sys + irq, all: user + nice + sys + irq + idle }))
  return { busy: sums.reduce((sum, { busy }) => sum + busy, 0), all: sums.reduce((sum, { all }) => sum + all, 0) }
}

const isWaiting = ({ status }: AccessRequest): boolean =>
  status?.conditions?.find(({ type }) => type === CONDITION.accessCheckReady)?.status === 'Unknown' && (status.policies?.[0]?.matchedChecks ?? []).length > 0

export interface BurstEnv {
  env: BenchEnv
  stage: Stage
  starts: PodStarts
  at: CsiNode
  count: number
}

/** @param begin lets one Pod go, and tells when that was done */
const measure = async ({ env, starts, at, count }: BurstEnv, begin: (index: number) => Promise<{ pod: NodePod; since: number }>): Promise<Burst> => {
  const before = { cores: coreTimes(), plugin: await cpuMicroseconds(at.plugin.process.pid) }
  const begun: { pod: NodePod; since: number }[] = []
  await inParallel(env, WIDTH, count, async (index) => begun.push(await begin(index)))
  const since = Math.max(...begun.map((one) => one.since))
  const all = await Promise.all(begun.map(({ pod }) => starts.of(pod, at, STARTED_MS)))
  const cores = coreTimes()
  const plugin = await cpuMicroseconds(at.plugin.process.pid)
  await starts.end(begun.map(({ pod }) => pod))
  return {
    spokeMs: Math.max(...all.map(({ spoke }) => spoke)) - since,
    shownMs: Math.max(...all.map(({ shown }) => shown)) - since,
    busyPercent: (100 * (cores.busy - before.cores.busy)) / (cores.all - before.cores.all),
    pluginMs: (plugin - before.plugin) / 1000,
  }
}

export const burstOfUngated = async (burst: BurstEnv, name: string): Promise<Burst> => {
  const { stage, at } = burst
  return measure(burst, async (index) => ({ pod: await createUngated(stage, at.node, `${name}-${index}`), since: Date.now() }))
}

/** All of them wait inside their mounts before the first is approved. */
export const burstOfGated = async (burst: BurstEnv, name: string): Promise<Burst> => {
  const { env, stage, at, count } = burst
  const waiting: GatedPod[] = []
  await inParallel(env, WIDTH, count, async (index) => waiting.push(await createGated(stage, at.node, `${name}-${index}`)))
  await waitFor(`${count} mounts that wait`, WAITING_MS, async () => (await metricOf(at.plugin, 'access_gate_waiting_mounts')) === count)
  await waitFor(`${count} requests that wait for their approval`, WAITING_MS, async () => {
    const { items } = await stage.admin.list(ACCESS_REQUESTS, { namespace: SHARED })
    return items.filter(isWaiting).length >= count
  })
  return measure(burst, async (index) => {
    const one = waiting[index]
    if (one === undefined) throw new Error(`there is no Pod ${index}`)
    return { pod: one.pod, since: await approve(stage, one) }
  })
}
