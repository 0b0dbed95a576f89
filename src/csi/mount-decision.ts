/** Looks, waits and looks again, until it is decided what a volume holds. */
import type { Logger } from 'pino'
import type { Connector } from '../api/connector.ts'
import type { Pod } from '../api/pod.ts'
import type { Mount } from '../core/mount-call.ts'
import type { GateVerdict } from '../core/mount-gate.ts'
import type { Refusal } from '../core/refusal-status.ts'
import { connectorName } from '../core/request-identity.ts'
import { isCoded, messageOf } from '../errors.ts'
import type { StoreView } from '../kube/store.ts'
import { backoffMs, type Timers } from '../kube/timers.ts'
import { CsiError } from './grpc-status.ts'
import { look, type Look, type LookDeps } from './look.ts'
import type { MakeRequests } from './make-requests.ts'
import { onPodEnd } from './node-pods.ts'
import type { PodEvents } from './pod-events.ts'
import type { RequestWatch, RequestWatches } from './request-watch.ts'
import { createPace, StillWaiting, WaitEnded, type Pace, type Wait, type WaitingRoom } from './waiting.ts'
import { createWaitingNotice, type WaitingNotice } from './waiting-notice.ts'

export interface MountDecisionDeps extends LookDeps {
  /** Of this node. */
  pods: StoreView<Pod>
  watches: Pick<RequestWatches, 'open'>
  makeRequests: Pick<MakeRequests, 'make'>
  events: Pick<PodEvents, 'tell'>
  room: WaitingRoom
  logger: Logger
  timers: Timers
  /** A number from 0 up to 1. */
  random: () => number
  /** false: whatever would be waited for ends the call at once. */
  mayWait: boolean
}

/** The volume gets its files, or the reason why not. */
export type Decision = { kind: 'files'; connectors: Connector[] } | { kind: 'refused'; refusals: Refusal[] }

/** Flags that cannot be read are waited for this long, milliseconds; at the start of the plugin they are there within some ten. */
const FLAGS_MS = 5_000
/** A Role that somebody gave by hand must be seen twice, this far apart (milliseconds): the API server may still honour one that is just gone. */
const BY_HAND_MS = 2_000
const API_AWAY = { baseMs: 1_000, capMs: 15_000 }

type Waiting = Extract<GateVerdict, { verdict: 'wait' }>

/** One mount call on its way to a decision. */
class Attempt {
  readonly #deps: MountDecisionDeps
  readonly #mount: Mount
  readonly #wait: Wait
  readonly #clear: () => Promise<void>
  readonly #notice: WaitingNotice
  readonly #pace: Pace
  /** What ends with the attempt. */
  readonly #undo: (() => void)[] = []
  #watch: RequestWatch | undefined
  /** Everything was seen to be allowed; once more, read afresh, and it counts. */
  #isAllowed = false
  /** Since when a Role by hand was seen without a break; monotonic milliseconds, as the next one. */
  #byHandSince: number | undefined
  #flagsUnknownSince: number | undefined
  /** Nothing of an earlier call is there any more. */
  #isClear = false
  #faults = 0

  constructor(deps: MountDecisionDeps, mount: Mount, wait: Wait, clear: () => Promise<void>) {
    this.#deps = deps
    this.#mount = mount
    this.#wait = wait
    this.#clear = clear
    this.#notice = createWaitingNotice(mount, deps.events, deps.timers)
    this.#pace = createPace(deps.random)
  }

  async run(): Promise<Decision> {
    const { flags, pods } = this.#deps
    const wait = this.#wait
    this.#undo.push(
      onPodEnd(pods, this.#mount.pod, (why) => wait.end(new WaitEnded('UNAVAILABLE', `${why}; it gets no new mount`))),
      flags.onChange(() => wait.wake()),
      () => this.#notice.hush(),
    )
    try {
      for (;;) {
        const decision = await this.#round()
        if (decision !== undefined) return decision
      }
    } finally {
      for (const undo of this.#undo) undo()
    }
  }

  /** One look, and what follows from it. */
  async #round(): Promise<Decision | undefined> {
    try {
      const seen = await this.#wait.or(look(this.#deps, this.#mount, this.#isAllowed ? undefined : this.#watch))
      if (seen.seen !== 'verdict' || seen.verdict.verdict !== 'mount') this.#forgetYes()
      const decision = await this.#act(seen)
      this.#faults = 0
      return decision
    } catch (error) {
      if (!isCoded(error)) throw error
      this.#forgetYes()
      await this.#onFault(error)
      return undefined
    }
  }

  /** @returns the decision when there is one; else a next look is due */
  async #act(seen: Look): Promise<Decision | undefined> {
    if (seen.seen === 'unknown flags') return this.#onUnknownFlags(seen.message)
    this.#flagsUnknownSince = undefined
    const { verdict, connectors } = seen
    switch (verdict.verdict) {
      case 'mount':
        return (await this.#isSure(verdict.byHand)) ? { kind: 'files', connectors } : undefined
      case 'refuse':
        return { kind: 'refused', refusals: verdict.refusals }
      case 'fail':
        throw new CsiError(verdict.failure.code, verdict.failure.message)
      case 'wait':
        return this.#onWaiting(verdict)
      default:
        return verdict satisfies never
    }
  }

  #forgetYes(): void {
    this.#isAllowed = false
    this.#byHandSince = undefined
  }

  /** Whether the yes that was seen now is not the first one, and came late enough after that. */
  async #isSure(byHand: boolean): Promise<boolean> {
    const now = this.#deps.timers.monotonic()
    this.#byHandSince = byHand ? (this.#byHandSince ?? now) : undefined
    const left = this.#byHandSince === undefined ? 0 : this.#byHandSince + BY_HAND_MS - now
    if (left <= 0 && this.#isAllowed) return true
    this.#isAllowed = true
    if (left > 0) await this.#pause(left, new StillWaiting('UNAVAILABLE', 'the permission was seen, and has to be seen once more; kubelet asks again'))
    return false
  }

  async #onWaiting({ create, message, code, soon }: Waiting): Promise<undefined> {
    const otherwise = new StillWaiting(code, message)
    if (!this.#isClear) await this.#clear()
    this.#isClear = true
    const made = await this.#wait.or(this.#deps.makeRequests.make(this.#mount, create))
    if (!this.#deps.mayWait) {
      this.#notice.sayNow(message)
      throw otherwise
    }
    const watch = this.#beginToWait()
    for (const request of made) watch.put(request)
    // Of a request that is just being made the next look has more to say.
    if (create.length === 0) this.#notice.say(message)
    await this.#pause(this.#pace.next(soon), otherwise)
  }

  async #onUnknownFlags(message: string): Promise<undefined> {
    const now = this.#deps.timers.monotonic()
    this.#flagsUnknownSince ??= now
    const left = this.#flagsUnknownSince + FLAGS_MS - now
    const otherwise = new StillWaiting('UNAVAILABLE', message)
    this.#notice.say(message)
    if (left <= 0) throw otherwise
    await this.#pause(left, otherwise)
  }

  async #onFault(error: Error): Promise<void> {
    const { logger, mayWait, random } = this.#deps
    const { pod, volumeName, attributes } = this.#mount
    if (this.#faults === 0) logger.warn({ pod, volume: volumeName, err: error }, 'a mount cannot be decided now; it is looked at again')
    const named = attributes.connectors.map(connectorName).join(', ')
    const otherwise = new StillWaiting('UNAVAILABLE', `it is not known whether ${named} may be used: ${messageOf(error)}`)
    if (!mayWait) throw otherwise
    this.#beginToWait()
    // One that is over by the next look is worth no Event.
    if (this.#faults > 0) this.#notice.say(otherwise.message)
    await this.#pause(backoffMs(this.#faults, { ...API_AWAY, random }), otherwise)
    this.#faults += 1
  }

  /** From here on requests are watched, and one more call waits. @throws StillWaiting when too many do */
  #beginToWait(): RequestWatch {
    if (this.#watch !== undefined) return this.#watch
    const { room, watches } = this.#deps
    this.#undo.push(room.enter())
    const watch = watches.open(this.#mount.pod)
    this.#undo.push(
      watch.onChange(() => this.#wait.wake()),
      () => watch.release(),
    )
    this.#watch = watch
    return watch
  }

  /** Sleeps as long as there is time for it. @throws StillWaiting when there is none; WaitEnded */
  async #pause(ms: number, otherwise: StillWaiting): Promise<void> {
    if (!(await this.#wait.sleep(ms))) throw otherwise
  }
}

/**
 * @param clear removes what an earlier call left there; done before anything is waited for
 * @throws CsiError why there is no decision: nothing to wait for (its code says what), StillWaiting, or WaitEnded
 */
export type DecideMount = (mount: Mount, wait: Wait, clear: () => Promise<void>) => Promise<Decision>

export const createMountDecision =
  (deps: MountDecisionDeps): DecideMount =>
  (mount, wait, clear) =>
    new Attempt(deps, mount, wait, clear).run()
