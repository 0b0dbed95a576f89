/** Says at the Pod what its mount waits for, unless it is over or something else soon. */
import type { Mount } from '../core/mount-call.ts'
import type { Timers } from '../kube/timers.ts'
import type { PodEvents } from './pod-events.ts'

/** What is over sooner than this (milliseconds) is not worth an Event. */
const WORTH_MS = 1_000

export interface WaitingNotice {
  say(sentence: string): void
  sayNow(sentence: string): void
  /** Nothing is waited for any more: what was not said yet is not. */
  hush(): void
}

export const createWaitingNotice = (mount: Mount, events: Pick<PodEvents, 'tell'>, timers: Timers): WaitingNotice => {
  let last: string | undefined
  let cancel: (() => void) | undefined
  const sayNow = (sentence: string): void => events.tell(mount, 'AccessWaiting', sentence)
  return {
    say: (sentence) => {
      if (sentence === last) return
      last = sentence
      cancel?.()
      cancel = timers.after(WORTH_MS, () => sayNow(sentence))
    },
    sayNow,
    hush: () => cancel?.(),
  }
}
