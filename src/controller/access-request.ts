import type { Logger } from 'pino'
import type { AccessRequest } from '../api/access-request.ts'
import { API_VERSION } from '../api/names.ts'
import { approversOf } from '../core/check.ts'
import { decideAccessRequest } from '../core/decide-request.ts'
import type { Notice } from '../core/effects.ts'
import { CodedError, isCoded } from '../errors.ts'
import type { Clock, EventSink, Reader, Writer } from '../kube/ports.ts'
import { ACCESS_REQUESTS } from '../kube/resources.ts'
import { storeKey } from '../kube/store.ts'
import type { Timers } from '../kube/timers.ts'
import { applyEffects, deleteGrant } from './apply-effects.ts'
import type { Caches } from './caches.ts'
import type { RunResult } from './queue.ts'
import { splitKey } from './requeue.ts'
import { confirmFacts, gatherFacts, type ConfirmedFacts, type FactSources } from './request-facts.ts'

/** More steps than any request takes in one go; reaching it is a defect that must not spin. */
const MAX_STEPS = 16
/** Facts that were confirmed longer ago than this (milliseconds) are confirmed again before anything is granted. */
const CONFIRMED_FOR_MS = 2_000

export interface ReconcileDependencies extends FactSources {
  reader: Reader
  writer: Writer
  events: EventSink
  caches: Caches
  clock: Clock
  timers: Timers
  logger: Logger
  /** Counts a grant, refusal, revoke or repair. */
  onNotice: (reason: string) => void
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

/** Deletes grants that belong to no request any more, as when somebody took the finalizer off a request. */
const sweepOrphans = async ({ reader, writer, caches, logger }: ReconcileDependencies, namespace: string, name: string, uid: string | undefined): Promise<void> => {
  const key = storeKey(namespace, name)
  const orphans = [...caches.roles.byIndex('owner', key), ...caches.bindings.byIndex('owner', key)].filter(
    ({ metadata }) => (metadata.ownerReferences ?? []).every((owner) => owner.uid !== uid),
  )
  if (orphans.length === 0) return
  const live = await reader.get(ACCESS_REQUESTS, namespace, name)
  const names = new Set(
    orphans.filter(({ metadata }) => (metadata.ownerReferences ?? []).every((owner) => owner.uid !== live?.metadata.uid)).map(({ metadata }) => metadata.name),
  )
  for (const orphan of names) {
    logger.warn({ accessRequest: key, role: orphan }, 'a grant without a request is deleted')
    await deleteGrant({ writer }, namespace, orphan)
  }
}

/**
 * Brings one request to where it should be: gather, decide, apply, until there is nothing left to do.
 * @param key `<namespace>/<name>`
 * @throws CodedError when something failed; the queue tries again with backoff
 */
export const reconcileRequest = async (deps: ReconcileDependencies, key: string): Promise<RunResult> => {
  const { caches, clock, timers, logger, events, onNotice } = deps
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
  const deleted = new Set<string>()
  let grantErrors: ReadonlyMap<string, string> = new Map()
  let confirmed: { facts: ConfirmedFacts; at: number } | undefined
  try {
    for (let step = 0; step < MAX_STEPS; step++) {
      const request = caches.requests.get(namespace, name)
      if (step === 0) await sweepOrphans(deps, namespace, name, request?.metadata.uid)
      if (request === undefined) return {}
      if (confirmed !== undefined && timers.monotonic() - confirmed.at > CONFIRMED_FOR_MS) confirmed = undefined
      const facts = await gatherFacts(deps, request, { confirmed: confirmed?.facts, deleted, grantErrors })
      const decision = decideAccessRequest(facts, clock.now())
      const outcome = await applyEffects(deps, request, decision.effects, (notice) => notify(request, notice))
      if (outcome.over) return {}
      if (outcome.confirm) {
        const read = await confirmFacts(deps, request)
        if (read === undefined) throw new CodedError('STALE_FACTS', `AccessRequest ${key} is newer than what is known of it`)
        confirmed = { facts: read, at: timers.monotonic() }
        continue
      }
      for (const gone of outcome.deleted) deleted.add(gone)
      grantErrors = outcome.grantErrors
      if (decision.effects.length > 0) continue
      if (decision.retry !== undefined) throw new CodedError('KUBE_UNAVAILABLE', decision.retry)
      return decision.requeueAfter === undefined ? {} : { requeueAfterMs: decision.requeueAfter }
    }
    throw new CodedError('STALE_FACTS', `AccessRequest ${key} did not settle within ${MAX_STEPS} steps`)
  } finally {
    await Promise.all(sent)
  }
}

/** A failure that only says "look again": another writer was faster, the cache is behind, or the request is gone. */
export const isRace = (error: unknown): boolean => isCoded(error, 'KUBE_CONFLICT') || isCoded(error, 'STALE_FACTS') || isCoded(error, 'KUBE_NOT_FOUND')

