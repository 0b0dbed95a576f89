import type { AccessRequest } from '../api/access-request.ts'
import { API_VERSION } from '../api/names.ts'
import { approversOf } from '../core/check.ts'
import { decideAccessRequest } from '../core/decide-request.ts'
import type { Notice } from '../core/effects.ts'
import type { RequestFacts } from '../core/request-pass.ts'
import { CodedError, isCoded } from '../errors.ts'
import type { Clock } from '../kube/ports.ts'
import { ACCESS_REQUESTS } from '../kube/resources.ts'
import type { Timers } from '../kube/timers.ts'
import { applyEffects } from './apply-effects.ts'
import { sweepOrphans, type OrphanPorts } from './orphans.ts'
import type { OwnWrites } from './own-writes.ts'
import type { RunResult } from './queue.ts'
import { splitKey } from './requeue.ts'
import { confirmFacts, firstReads, gatherFacts, hasUnexplainedGrants, type ConfirmedFacts, type FactSources } from './request-facts.ts'

/** More steps than any request takes in one go; reaching it is a defect that must not spin. */
const MAX_STEPS = 16
/** Facts that began to be read longer ago than this (milliseconds) are confirmed again before anything is granted. */
const CONFIRMED_FOR_MS = 5_000
/** How long a new request waits for a kind of check objects to be read for the first time, in milliseconds, before its status says so. */
const FIRST_READ_WAIT_MS = 2_000

export interface ReconcileDependencies extends FactSources, OrphanPorts {
  own: OwnWrites
  clock: Clock
  timers: Timers
  /** Counts a grant, refusal, revoke or repair. */
  onNotice: (reason: string) => void
  /** Looks at a request again after so many milliseconds, however soon its backoff after a failure does. */
  lookAgain: (key: string, ms: number) => void
}

/** Who and what a notice is about, for the log and the audit trail. */
const logFields = ({ metadata, spec, status }: AccessRequest): object => ({
  accessRequest: `${metadata.namespace ?? ''}/${metadata.name}`,
  connector: `${metadata.namespace ?? ''}/${spec.connectorRef.name}`,
  pod: `${spec.context.objectRef.namespace}/${spec.context.objectRef.name}`,
  podUid: spec.context.objectRef.uid ?? status?.contextUID,
  serviceAccount: `${spec.subject.namespace ?? ''}/${spec.subject.name}`,
  policies: (status?.policies ?? []).map(({ name }) => name),
  approvedBy: approversOf(status?.policies ?? []),
})

/**
 * Puts the request that the API server has into the cache, which is behind.
 * @throws CodedError STALE_FACTS when it is gone, or another of the same name has come: the watch is about to tell
 */
const catchUp = ({ caches, own }: ReconcileDependencies, { metadata }: AccessRequest, live: AccessRequest | undefined): void => {
  if (live?.metadata.uid !== metadata.uid || live === undefined)
    throw new CodedError('STALE_FACTS', `AccessRequest ${metadata.namespace ?? ''}/${metadata.name} is gone; the cache does not know it yet`)
  own.place(() => caches.requests.put(live))
}

/** @returns how long to leave a new request alone (milliseconds), so that its first status tells what there is. It is looked at as soon as that is known. */
const waitForKinds = (deps: ReconcileDependencies, key: string, facts: RequestFacts): number => {
  // Of one that has policies on record a status has told before, and its grant may have to end.
  if ((facts.request.status?.policies ?? []).length > 0) return 0
  const reads = firstReads(deps, facts)
  if (reads === undefined) return 0
  const left = FIRST_READ_WAIT_MS - (deps.timers.monotonic() - reads.since)
  if (left > 0) void reads.answered.then(() => deps.lookAgain(key, 0))
  return left
}

/**
 * Brings one request to where it should be: gather, decide, apply, until there is nothing left to do.
 * @param key `<namespace>/<name>`
 * @throws CodedError when something failed; the queue tries again with backoff. Error when it did not come to rest, which is a defect
 */
export const reconcileRequest = async (deps: ReconcileDependencies, key: string): Promise<RunResult> => {
  const { reader, caches, clock, timers, logger, events, onNotice, lookAgain } = deps
  const { namespace, name } = splitKey(key)
  const sent: Promise<void>[] = []
  const notify = (request: AccessRequest, notice: Notice): void => {
    logger[notice.type === 'Normal' ? 'info' : 'warn']({ ...logFields(request), reason: notice.reason }, notice.note)
    onNotice(notice.reason)
    const { metadata } = request
    sent.push(
      events.emit({ ...notice, regarding: { apiVersion: API_VERSION, kind: 'AccessRequest', namespace, name, uid: metadata.uid ?? '' } }),
    )
  }
  const told = async (): Promise<void> => {
    await Promise.all(sent)
  }
  const deleted = new Set<string>()
  const written = new Set<string>()
  let grantErrors: ReadonlyMap<string, string> = new Map()
  let confirmed: { facts: ConfirmedFacts; at: number } | undefined
  let isReadAgain = false
  try {
    for (let step = 0; step < MAX_STEPS; step++) {
      const request = caches.requests.get(namespace, name)
      if (step === 0) await sweepOrphans(deps, namespace, name, request?.metadata.uid)
      if (request === undefined) return {}
      if (!isReadAgain && hasUnexplainedGrants(deps, request)) {
        isReadAgain = true
        catchUp(deps, request, await reader.get(ACCESS_REQUESTS, namespace, name))
        continue
      }
      if (confirmed !== undefined && timers.monotonic() - confirmed.at > CONFIRMED_FOR_MS) confirmed = undefined
      const facts = await gatherFacts(deps, request, { confirmed: confirmed?.facts, deleted, grantErrors })
      const waitMs = waitForKinds(deps, key, facts)
      if (waitMs > 0) return { requeueAfterMs: waitMs }
      const decision = decideAccessRequest(facts, clock.now())
      const outcome = await applyEffects(deps, request, decision.effects, { notify: (notice) => notify(request, notice), told, written })
      if (outcome.over) return {}
      if (outcome.confirm) {
        const at = timers.monotonic()
        const read = await confirmFacts(deps, request)
        if ('facts' in read) confirmed = { facts: read.facts, at }
        else catchUp(deps, request, read.stale)
        continue
      }
      for (const gone of outcome.deleted) deleted.add(gone)
      for (const there of outcome.applied) {
        deleted.delete(there)
        written.add(there)
      }
      // Kept until the next attempt, so that telling of a failure is not followed by another attempt at once.
      if (outcome.applied.length + outcome.grantErrors.size > 0) grantErrors = outcome.grantErrors
      if (decision.effects.length > 0) continue
      if (decision.retry !== undefined) {
        if (decision.requeueAfter !== undefined) lookAgain(key, decision.requeueAfter)
        throw new CodedError('KUBE_UNAVAILABLE', decision.retry)
      }
      return decision.requeueAfter === undefined ? {} : { requeueAfterMs: decision.requeueAfter }
    }
    throw new Error(`AccessRequest ${key} did not settle within ${MAX_STEPS} steps`)
  } finally {
    await told()
  }
}

/** A failure that only says "look again": another writer was faster, the cache is behind, or the request is gone. */
export const isRace = (error: unknown): boolean => isCoded(error, 'KUBE_CONFLICT') || isCoded(error, 'STALE_FACTS') || isCoded(error, 'KUBE_NOT_FOUND')

