/** The life of one gated Pod in a soak: how it is approved, how it ends, and that nothing of it stays. */
import { setTimeout as delay } from 'node:timers/promises'
import type { AccessRequest } from '../../src/api/access-request.ts'
import type { Pod } from '../../src/api/pod.ts'
import { isFinal } from '../../src/core/conditions.ts'
import { ACCESS_POLICIES, ACCESS_REQUESTS, CONNECTORS } from '../../src/kube/resources.ts'
import { APPROVAL_TASKS, checkedPolicy, type GatedWorld } from '../support/gated-world.ts'
import type { GrantJudge } from '../support/grant-judge.ts'
import { ifAbsent, persist, persistentWorld } from '../support/persistent-world.ts'
import { READS, readingOf } from '../support/request-reading.ts'
import type { Random } from './random.ts'

const APPROVALS = ['before', 'after', 'after', 'after', 'later task', 'rejected', 'never'] as const
const ENDS = ['deleted', 'deleted', 'Succeeded', 'Failed', 'replaced', 'Connector gone'] as const

export interface Plan {
  name: string
  approval: (typeof APPROVALS)[number]
  end: (typeof ENDS)[number]
  /** From the Pod's creation to what is decided, milliseconds. */
  decideMs: number
  /** From the Pod's creation to its end, milliseconds. */
  endMs: number
}

export const planStory = (random: Random, number: number): Plan => ({
  name: `pod-${number}`,
  approval: random.oneOf(APPROVALS),
  end: random.oneOf(ENDS),
  decideMs: random.between(0, 8_000),
  endMs: random.between(500, 15_000),
})

/** Pods that live so long after their approval do not end before they may use the Connector, milliseconds. */
const LONG_LIFE_MS = 5_000
/** From the one task of a run to the other that approves it. */
const LATER_TASK_MS = 1_000

/** Whether the Pod's request has to become usable: it is approved, and not short-lived. */
export const mustBecomeUsable = ({ approval, decideMs, endMs }: Plan): boolean => {
  if (approval === 'rejected' || approval === 'never') return false
  const approvedMs = { before: 0, after: decideMs, 'later task': decideMs + LATER_TASK_MS }[approval]
  return endMs - approvedMs >= LONG_LIFE_MS
}

export interface Stage {
  world: GatedWorld
  /** The Connector that all share whose own does not go. */
  connector: string
  /** All requests by their uid, as they are some moments later. */
  requests: () => Promise<ReadonlyMap<string, AccessRequest>>
  /** Is told of Pods, approvals and the requests that are tidied up. */
  judge: Pick<GrantJudge, 'admitted' | 'approving' | 'remember'>
  /** Takes the uids of requests that were seen to be usable. */
  usable: Set<string>
  /** Is told of each Pod that was admitted without a request. */
  unasked: (pod: Pod) => void
  count: (what: string) => void
  /** Aborted: everything ends now. */
  ending: AbortSignal
}

/** A request is final moments after its Pod ended; one whose Pod came and went unseen is given up after 60 s. */
const FINAL_WITHIN_MS = 180_000
/** Far longer than any grant takes that comes. */
const USABLE_WITHIN_MS = 90_000

/** Until the time has come, or everything ends. */
const wait = async (ms: number, signal: AbortSignal): Promise<void> => {
  try {
    await delay(Math.max(0, ms), undefined, { signal })
  } catch (error) {
    if (!signal.aborted) throw error
  }
}

/** One Pod, and what its approval is about. */
interface Act {
  pod: Pod
  run: string
}

/** @throws Error when something did not come about as it should */
export const playStory = async ({ world, connector: shared, requests, judge, usable, unasked, count, ending }: Stage, plan: Plan): Promise<void> => {
  const { kube, work } = world
  const { makePod, task: makeTask, endPod } = persistentWorld(world)
  const { name, approval, end, decideMs, endMs } = plan
  const ownConnector = end === 'Connector gone'
  const connector = ownConnector ? `for-${name}` : shared
  const tasks: string[] = []
  const task = async (taskName: string, state: string, run: string): Promise<void> => {
    if (state === 'approved') judge.approving(run)
    await makeTask(taskName, state, run)
    tasks.push(taskName)
  }

  const admit = async (run: string): Promise<Act> => {
    count('Pods created')
    const pod = await makePod(name, [connector], { run })
    judge.admitted(pod)
    count('Pods admitted')
    return { pod, run }
  }

  const decide = async (run: string): Promise<void> => {
    await wait(decideMs, ending)
    if (ending.aborted) return
    if (approval === 'after') await task(run, 'approved', run)
    if (approval === 'rejected') await task(run, 'rejected', run)
    if (approval !== 'later task') return
    await task(run, 'pending', run)
    await wait(LATER_TASK_MS, ending)
    if (ending.aborted) return
    await task(`${run}-later`, 'approved', run)
    judge.approving(run)
    await persist(run, () => world.setState(run, 'approved'))
  }

  /** @returns the requests that must be final from here on */
  const finish = async ({ pod }: Act): Promise<AccessRequest[]> => {
    const mine = await persist('requests', () => world.requestsOf(pod))
    if (mine.length === 0) unasked(pod)
    if (mine.length > 1) throw new Error(`Pod ${name} was admitted with ${mine.length} requests`)
    judge.remember(mine)
    if (mustBecomeUsable(plan)) for (const request of mine) await untilUsable(request)
    if (ownConnector) {
      await persist(`the end of ${connector}`, () => kube.remove(CONNECTORS, world.shared, connector))
      // Only a grant ends with its Connector; a request that still waits for one ends with its Pod.
      await wait(2_000, ending)
      await endPod(name, 'deleted')
    } else await endPod(name, end === 'Succeeded' || end === 'Failed' ? end : 'deleted')
    return mine
  }

  const untilUsable = async ({ metadata }: AccessRequest): Promise<void> => {
    const uid = metadata.uid ?? ''
    const until = performance.now() + USABLE_WITHIN_MS
    while (!ending.aborted) {
      const live = (await requests()).get(uid)
      if (live !== undefined && readingOf(live)['Ready'] === READS.usable['Ready']) {
        usable.add(uid)
        return
      }
      if (performance.now() > until) throw new Error(`request ${metadata.name} was approved and did not become usable: ${JSON.stringify(live?.status?.conditions ?? [])}`)
    }
  }

  const untilFinal = async ({ metadata }: AccessRequest): Promise<void> => {
    const until = performance.now() + FINAL_WITHIN_MS
    for (;;) {
      const live = (await requests()).get(metadata.uid ?? '')
      if (live === undefined || isFinal(live.status)) break
      if (performance.now() > until) throw new Error(`request ${metadata.name} did not become final: ${JSON.stringify(live.status?.conditions ?? [])}`)
    }
    count('requests final')
    // An administrator tidies up; what stays would be counted as a leak.
    await persist(metadata.name, () => kube.remove(ACCESS_REQUESTS, metadata.namespace, metadata.name))
  }

  const live = async (run: string): Promise<AccessRequest[]> => {
    const startedAt = performance.now()
    if (approval === 'before') await task(run, 'approved', run)
    const act = await admit(run)
    const deciding = decide(run)
    await wait(endMs - (performance.now() - startedAt), ending)
    if (mustBecomeUsable(plan)) await deciding
    const ended = await finish(act)
    await deciding
    return ended
  }

  count(`approval: ${approval}`)
  count(`end: ${end}`)
  try {
    if (ownConnector) await makeConnector()
    await tell()
    count('stories told')
  } finally {
    await endPod(name, 'deleted')
    for (const done of tasks) await persist(done, () => kube.remove(APPROVAL_TASKS, work, done))
    if (ownConnector) {
      await persist(connector, () => kube.remove(ACCESS_POLICIES, world.shared, connector))
      await persist(connector, () => kube.remove(CONNECTORS, world.shared, connector))
    }
  }

  async function makeConnector(): Promise<void> {
    await persist(connector, () => ifAbsent(world.connector(connector, 'none')))
    await persist(connector, () => ifAbsent(world.policy(connector, checkedPolicy([connector]))))
  }

  async function tell(): Promise<void> {
    const ended = await live(name)
    // The successor comes at once, while the grant of its predecessor may still stand.
    if (end === 'replaced' && !ending.aborted) ended.push(...(await live(`${name}-again`)))
    await Promise.all(ended.map(untilFinal))
  }
}
