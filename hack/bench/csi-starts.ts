/** From the approval to the running container, each Pod by itself: approved so long after it was created, by a plugin that waits or refuses. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Stage } from './controller-stage.ts'
import { approve, createGated, createUngated, type NodePod, type Place, type PodStarts } from './csi-pods.ts'
import type { CsiNode } from './csi-stage.ts'

/** Pods are approved this far apart (milliseconds), so that no two containers are started at once. */
export const APART_MS = 3_000
/** kubelet's longest pause between two tries is a little more than two minutes. */
const STARTED_MS = 240_000

/** Milliseconds from the approval, or from the creation of a Pod that needs none. */
export interface StartTimes {
  /** Until its program said its first word. */
  spoke: number[]
  /** Until the API said that it runs. */
  shown: number[]
}

export interface CaseEnv {
  stage: Stage
  starts: PodStarts
  /** Aborted when the section ends, or fails elsewhere. */
  signal: AbortSignal
}

export interface Case {
  /** In the names of the Pods. */
  name: string
  at: CsiNode
  pods: number
  /** From the creation of a Pod to its approval, milliseconds; undefined: it needs none. */
  waitMs: number | undefined
  /** Before the first Pod, milliseconds. */
  startMs?: number
}

interface One {
  pod: NodePod
  spoke: number
  shown: number
}

const placeOf = ({ node }: CsiNode): Place => ({ nodeName: node.nodeName, image: node.image })

const startOne = async ({ stage, starts, signal }: CaseEnv, { at, waitMs }: Case, name: string): Promise<One> => {
  const place = placeOf(at)
  if (waitMs === undefined) {
    const pod = await createUngated(stage, place, name)
    const since = Date.now()
    const { spoke, shown } = await starts.of(pod, at, STARTED_MS)
    return { pod, spoke: spoke - since, shown: shown - since }
  }
  const gated = await createGated(stage, place, name)
  await delay(waitMs, undefined, { signal })
  const since = await approve(stage, gated)
  const { spoke, shown } = await starts.of(gated.pod, at, STARTED_MS)
  return { pod: gated.pod, spoke: spoke - since, shown: shown - since }
}

/** Pods wait side by side, and each is approved alone. */
export const measureCase = async (env: CaseEnv, one: Case): Promise<StartTimes> => {
  const begun = Array.from({ length: one.pods }, async (_, index) => {
    await delay((one.startMs ?? 0) + index * APART_MS, undefined, { signal: env.signal })
    return startOne(env, one, `${one.name}-${index}`)
  })
  const all = await Promise.all(begun)
  await env.starts.end(all.map(({ pod }) => pod))
  return { spoke: all.map(({ spoke }) => spoke), shown: all.map(({ shown }) => shown) }
}
