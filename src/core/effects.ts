import type { AccessRequestStatus } from '../api/access-request.ts'
import { plainMessage } from './conditions.ts'
import type { Grant } from './grant.ts'
import { sameJson } from './json.ts'

/** Something that people and auditors must learn of. */
export interface Notice {
  type: 'Normal' | 'Warning'
  reason: string
  action: string
  note: string
}

/** One thing to do, as data. They are done in their order; when one fails, none after it is done. */
export type Effect =
  /** Read all facts again, from the API server itself, and decide again. */
  | { type: 'confirm' }
  /** Binding first, then Role. */
  | { type: 'delete-grants'; names: string[] }
  /** Role first, then binding. */
  | { type: 'apply-grant'; grant: Grant }
  | { type: 'write-status'; status: AccessRequestStatus }
  | { type: 'notice'; notice: Notice }
  | { type: 'add-finalizer' }
  | { type: 'remove-finalizer' }
  | { type: 'delete-request' }

export interface Decision {
  effects: Effect[]
  /** Look again after so many milliseconds, if no event comes before. */
  requeueAfter?: number
  /** Something failed that may pass by itself: try again with backoff. */
  retry?: string
}

/** Collects the effects of one decision. */
export class Effects {
  readonly #effects: Effect[] = []
  #requeueAfter: number | undefined
  #retry: string | undefined

  get confirms(): boolean {
    return this.#effects.some(({ type }) => type === 'confirm')
  }

  get grants(): boolean {
    return this.#effects.some(({ type }) => type === 'apply-grant')
  }

  /** Confirming comes alone: everything else is decided from the facts that it brings. */
  confirm(): void {
    if (!this.confirms) this.#effects.push({ type: 'confirm' })
  }

  deleteGrants(names: string[]): void {
    if (names.length > 0) this.#effects.push({ type: 'delete-grants', names })
  }

  applyGrant(grant: Grant): void {
    this.#effects.push({ type: 'apply-grant', grant })
  }

  /** Written only when it says something else than before. */
  writeStatus(before: AccessRequestStatus | undefined, status: AccessRequestStatus): void {
    if (!sameJson(before, status)) this.#effects.push({ type: 'write-status', status })
  }

  event(type: Notice['type'], reason: string, action: string, note: string): void {
    this.#effects.push({ type: 'notice', notice: { type, reason, action, note: plainMessage(note) } })
  }

  addFinalizer(): void {
    this.#effects.push({ type: 'add-finalizer' })
  }

  removeFinalizer(): void {
    this.#effects.push({ type: 'remove-finalizer' })
  }

  deleteRequest(): void {
    this.#effects.push({ type: 'delete-request' })
  }

  /** The earliest of several wins. */
  requeueAfter(ms: number): void {
    this.#requeueAfter = Math.min(this.#requeueAfter ?? ms, ms)
  }

  retry(why: string): void {
    this.#retry = why
  }

  decision(): Decision {
    return {
      effects: this.confirms ? [{ type: 'confirm' }] : this.#effects,
      ...(this.#requeueAfter === undefined ? {} : { requeueAfter: this.#requeueAfter }),
      ...(this.#retry === undefined ? {} : { retry: this.#retry }),
    }
  }
}
