/** Does what a patient user does: tries again until it succeeds, also when an earlier attempt came through without an answer. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Pod } from '../../src/api/pod.ts'
import { isCoded, messageOf } from '../../src/errors.ts'
import { PODS } from '../../src/kube/resources.ts'
import type { GatedWorld, PodOptions } from './gated-world.ts'

/** Longer than any fault lasts: a control plane that was killed is back within a minute. */
const PERSIST_MS = 120_000
const AGAIN_MS = 100

/** @throws Error with the last failure after two minutes */
export const persist = async <T>(what: string, attempt: () => Promise<T>): Promise<T> => {
  const end = performance.now() + PERSIST_MS
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (performance.now() > end) throw new Error(`${what} did not succeed within ${PERSIST_MS / 1000} s: ${messageOf(error)}`, { cause: error })
      await delay(AGAIN_MS)
    }
  }
}

/** What is there already, by an earlier attempt, is as good. */
export const ifAbsent = async (creation: Promise<unknown>): Promise<void> => {
  await creation.catch((error: unknown) => {
    if (!isCoded(error, 'KUBE_CONFLICT')) throw error
  })
}

export type PodEnd = 'deleted' | 'Succeeded' | 'Failed'

export interface PersistentWorld {
  /** A name must not have been used before with the same run. */
  makePod: (name: string, connectors: string[], options?: PodOptions) => Promise<Pod>
  task: (name: string, state: string, run?: string) => Promise<void>
  endPod: (name: string, how: PodEnd) => Promise<void>
}

export const persistentWorld = (world: GatedWorld): PersistentWorld => ({
  makePod: (name, connectors, options) =>
    persist(`Pod ${name}`, async () => {
      try {
        return await world.pod(name, connectors, options)
      } catch (error) {
        const there = isCoded(error, 'KUBE_CONFLICT') ? await world.kube.get(PODS, world.work, name) : undefined
        if (there === undefined) throw error
        return there
      }
    }),
  task: (name, state, run = name) =>
    persist(`task ${name}`, async () => {
      try {
        await world.task(name, state, run)
      } catch (error) {
        if (!isCoded(error, 'KUBE_CONFLICT')) throw error
        await world.setState(name, state)
      }
    }),
  endPod: (name, how) =>
    persist(`the end of ${name}`, () => (how === 'deleted' ? world.deletePod(name) : world.setPhase({ metadata: { name, namespace: world.work } }, how))),
})
