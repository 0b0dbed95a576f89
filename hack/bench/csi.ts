/**
 * The gate at the mount, with real kubelets: from an approval to the running container, beside a plugin that refuses and leaves it to
 * kubelet's retry; the memory of the plugin; and many Pods at once.
 *
 * A container runs when its program says its first word: it lists the files of its volume, and the container runtime notes the time
 * of the line. The API tells it later (kubelet looks at its containers once a second) and, in startedAt, by whole seconds alone; what a
 * watch of the Pod sees is measured beside it. Both count from the API server's answer to the approval.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { openStage } from './controller-stage.ts'
import { burstOfGated, burstOfUngated, type Burst } from './csi-burst.ts'
import { measureMemory, startMemoryPlugin, type Memory } from './csi-memory.ts'
import { watchStarts } from './csi-pods.ts'
import { findNodePrograms, startCsiNode } from './csi-stage.ts'
import { APART_MS, measureCase, type StartTimes } from './csi-starts.ts'
import { ratiosOf } from './interleave.ts'
import type { BenchEnv, Figure, Section } from './section.ts'
import { median, spreadNote } from './statistics.ts'

const EARLY_MS = 10_000
const LATE_MS = 150_000
const GOAL_S = 1
const GOAL_MB = 120

interface Sizes {
  /** Of each case and plugin. */
  pods: number
  volumes: number
  burst: number
  burstRounds: number
  withLate: boolean
  idleMs: number
  /** In which every mounted volume is looked at again, milliseconds. */
  roundMs: number
}

const SIZES: { full: Sizes; quick: Sizes } = {
  full: { pods: 10, volumes: 100, burst: 50, burstRounds: 2, withLate: true, idleMs: 60_000, roundMs: 60_000 },
  quick: { pods: 4, volumes: 100, burst: 20, burstRounds: 1, withLate: false, idleMs: 10_000, roundMs: 10_000 },
}

const approvedKeys = (seconds: number) =>
  [
    `csi_approved_at_${seconds}_s_to_running_median_seconds`,
    `csi_approved_at_${seconds}_s_to_status_median_seconds`,
    `csi_approved_at_${seconds}_s_no_wait_to_running_median_seconds`,
    `csi_approved_at_${seconds}_s_no_wait_ratio`,
  ] as const

const EARLY_KEYS = approvedKeys(EARLY_MS / 1000)
const LATE_KEYS = approvedKeys(LATE_MS / 1000)

/** The keys speak of the full sizes; a quick run starts fewer Pods at once under the same names. */
const KEYS = {
  ungated: ['ungated_pod_to_running_median_seconds', 'ungated_pod_to_status_median_seconds'],
  memory: ['csi_rss_idle_mb', 'csi_rss_100_waiting_mb', 'csi_rss_100_volumes_mb', 'csi_rss_100_volumes_peak_mb'],
  burst: ['csi_50_pods_approved_to_running_seconds', 'csi_50_pods_ungated_to_running_seconds', 'csi_50_pods_ratio'],
} as const

interface BothWays {
  waits: StartTimes
  retries: StartTimes
}

interface Results {
  early: BothWays
  late: BothWays | undefined
  ungated: StartTimes
  memory: Memory
  gatedBursts: Burst[]
  ungatedBursts: Burst[]
}

const seconds = (milliseconds: readonly number[]): number[] => milliseconds.map((one) => one / 1000)

const approvedFigures = ([running, status, refused, ratio]: ReturnType<typeof approvedKeys>, after: string, { waits, retries }: BothWays): Figure[] => {
  const [spoke, shown, retried] = [seconds(waits.spoke), seconds(waits.shown), seconds(retries.spoke)]
  const label = `approved ${after} after the Pod was created`
  return [
    { key: running, label: `${label}: until its container runs`, value: median(spoke), unit: 'seconds', goal: { atMost: GOAL_S }, note: spreadNote(spoke, 2, 'Pods') },
    { key: status, label: `${label}: until the API says so`, value: median(shown), unit: 'seconds', note: spreadNote(shown, 2, 'Pods') },
    { key: refused, label: `${label}, plugin with --no-wait: until it runs`, value: median(retried), unit: 'seconds', note: `${spreadNote(retried, 1, 'Pods')}; kubelet's own retry` },
    { key: ratio, label: '--no-wait / waiting', value: median(retried) / median(spoke), unit: 'ratio' },
  ]
}

const burstNote = (bursts: readonly Burst[]): string => {
  const [spoke, shown] = [bursts.map(({ spokeMs }) => spokeMs / 1000), bursts.map(({ shownMs }) => shownMs / 1000)]
  const [busy, plugin] = [median(bursts.map(({ busyPercent }) => busyPercent)), median(bursts.map(({ pluginMs }) => pluginMs / 1000))]
  return `${spoke.length > 1 ? `${spreadNote(spoke, 1)}; ` : ''}by the API ${median(shown).toFixed(1)}; all cores ${busy.toFixed(0)} % busy, the plugin used ${plugin.toFixed(1)} s of CPU`
}

const figuresOf = ({ early, late, ungated, memory, gatedBursts, ungatedBursts }: Results, { volumes, burst, idleMs, roundMs }: Sizes): Figure[] => {
  const [ungatedSpoke, ungatedShown] = [seconds(ungated.spoke), seconds(ungated.shown)]
  const [gatedRuns, ungatedRuns] = [seconds(gatedBursts.map(({ spokeMs }) => spokeMs)), seconds(ungatedBursts.map(({ spokeMs }) => spokeMs))]
  return [
    ...approvedFigures(EARLY_KEYS, `${EARLY_MS / 1000} s`, early),
    ...(late === undefined ? [] : approvedFigures(LATE_KEYS, `${LATE_MS / 1000} s`, late)),
    { key: KEYS.ungated[0], label: 'Pod without our volume, from its creation: until its container runs', value: median(ungatedSpoke), unit: 'seconds', note: spreadNote(ungatedSpoke, 2, 'Pods') },
    { key: KEYS.ungated[1], label: 'Pod without our volume, from its creation: until the API says so', value: median(ungatedShown), unit: 'seconds', note: spreadNote(ungatedShown, 2, 'Pods') },
    { key: KEYS.memory[0], label: 'plugin: RSS when idle', value: memory.idleMb, unit: 'mb', goal: { atMost: GOAL_MB }, note: `after ${idleMs / 1000} s or more` },
    { key: KEYS.memory[1], label: `plugin: RSS while ${volumes} mounts wait`, value: memory.waitingMb, unit: 'mb' },
    { key: KEYS.memory[2], label: `plugin: RSS with ${volumes} mounted volumes`, value: memory.mountedMb, unit: 'mb', goal: { atMost: GOAL_MB }, note: `each looked at again, in ${roundMs / 1000} s` },
    { key: KEYS.memory[3], label: 'plugin: highest RSS of all that', value: memory.peakMb, unit: 'mb' },
    { key: KEYS.burst[0], label: `${burst} Pods of a node approved at once: until all containers run`, value: median(gatedRuns), unit: 'seconds', note: burstNote(gatedBursts) },
    { key: KEYS.burst[1], label: `${burst} Pods without our volume created at once: until all run`, value: median(ungatedRuns), unit: 'seconds', note: burstNote(ungatedBursts) },
    { key: KEYS.burst[2], label: 'approved / without our volume', value: median(ratiosOf(gatedRuns, ungatedRuns)), unit: 'ratio' },
  ]
}

const run = async (env: BenchEnv): Promise<Figure[]> => {
  const sizes = env.quick ? SIZES.quick : SIZES.full
  const { pods, volumes, burst, burstRounds, withLate, idleMs, roundMs } = sizes
  const programs = await findNodePrograms(env)
  const stage = await openStage(env)
  await stage.startController()
  const starts = await watchStarts(env, stage)
  const alone = await startMemoryPlugin(env, stage)
  const idleSince = performance.now()
  const waits = await startCsiNode(env, stage.cluster, programs, 'waits')
  const retries = await startCsiNode(env, stage.cluster, programs, 'retries', ['--no-wait'])
  const ending = new AbortController()
  env.atEnd(() => ending.abort())
  const caseEnv = { stage, starts, signal: AbortSignal.any([env.signal, ending.signal]) }

  /** Pods of both nodes in turn; `bothWays.waits` ends before `retries`. */
  const begin = (name: string, waitMs: number): { waits: Promise<StartTimes>; both: Promise<BothWays> } => {
    const one = { pods, waitMs }
    const waiting = measureCase(caseEnv, { ...one, name: `${name}-waits`, at: waits })
    const retried = measureCase(caseEnv, { ...one, name: `${name}-retries`, at: retries, startMs: APART_MS / 2 })
    return { waits: waiting, both: Promise.all([waiting, retried]).then(([first, second]) => ({ waits: first, retries: second })) }
  }

  const late = withLate ? begin('late', LATE_MS) : undefined
  if (late !== undefined) env.log(`  ${pods} Pods for each plugin, to be approved ${LATE_MS / 1000} s after their creation`)
  const meanwhile = async (): Promise<Pick<Results, 'early' | 'ungated' | 'memory'>> => {
    if (late !== undefined) await delay((pods + 1) * APART_MS, undefined, { signal: caseEnv.signal })
    env.log(`  ${pods} Pods for each plugin, approved ${EARLY_MS / 1000} s after their creation`)
    const early = await begin('early', EARLY_MS).both
    env.log(`  ${pods} Pods without our volume`)
    const ungated = await measureCase(caseEnv, { name: 'ungated', at: waits, pods, waitMs: undefined })
    await late?.waits
    await delay(Math.max(0, idleMs - (performance.now() - idleSince)), undefined, { signal: caseEnv.signal })
    env.log(`  ${volumes} volumes of one plugin`)
    return { early, ungated, memory: await measureMemory(env, stage, alone, volumes, roundMs) }
  }
  const [lateTimes, others] = await Promise.all([late?.both, meanwhile()])
  await alone.plugin.process.stop()

  const gatedBursts: Burst[] = []
  const ungatedBursts: Burst[] = []
  const burstEnv = { env, stage, starts, at: waits, count: burst }
  for (let round = 0; round < burstRounds; round += 1) {
    env.log(`  ${burst} Pods at once, without our volume and with it`)
    ungatedBursts.push(await burstOfUngated(burstEnv, `burst-ungated-${round}`))
    gatedBursts.push(await burstOfGated(burstEnv, `burst-gated-${round}`))
  }
  return figuresOf({ ...others, late: lateTimes, gatedBursts, ungatedBursts }, sizes)
}

export const CSI: Section = {
  name: 'csi',
  title: 'The gate at the mount, with the kubelet and containerd of a node: approval to running container, memory of the plugin, many Pods at once',
  keys: [...EARLY_KEYS, ...LATE_KEYS, ...KEYS.ungated, ...KEYS.memory, ...KEYS.burst],
  keysNotInQuick: LATE_KEYS,
  run,
}
