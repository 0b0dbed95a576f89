/**
 * Leader election over a Lease. A replica leads from a successful write on, and only as long as it is sure that nobody else can:
 * its own clock says that less than the renew deadline has gone by since it sent the last write that succeeded. Others take over when
 * they saw the record unchanged for the whole lease duration, on their own clock; times written by others are never compared.
 */
import type { Logger } from 'pino'
import type { Lease } from '../api/lease.ts'
import { CodedError, isCoded, messageOf } from '../errors.ts'
import { microTime } from './micro-time.ts'
import type { Clock, Reader, Writer } from './ports.ts'
import { LEASES } from './resources.ts'
import { sleep, withDeadline, type Timers } from './timers.ts'

export interface LeaseOptions {
  kube: Pick<Reader, 'get'> & Pick<Writer, 'create' | 'replace'>
  namespace: string
  name: string
  /** Unique among all processes there ever are: the Pod's name and something random. */
  identity: string
  clock: Clock
  timers: Timers
  /** A number from 0 up to 1. */
  random: () => number
  log: Pick<Logger, 'info' | 'warn' | 'error'>
}

export interface LeaseRun {
  /**
   * The work of a leader; the signal aborts when leading ends. The lease is not asked for again before this settles. Settling early
   * changes nothing; a rejection gives the lease up.
   */
  onStartedLeading: (signal: AbortSignal) => Promise<void> | void
  /** Called after each end of leading, whatever ended it. */
  onStoppedLeading?: () => void
  /** Stops the election: the work is asked to end, and the lease is given back. */
  signal: AbortSignal
}

export interface LeaderLease {
  /** Computed from the clock at each call: also a process that slept for a minute gets the right answer. */
  held(): boolean
  /** For how many milliseconds it is surely held without another renewal; 0 when it is not. Computed as held is. */
  leftMs(): number
  /** Until the signal aborts; never rejects. */
  run(run: LeaseRun): Promise<void>
}

export const LEASE_DURATION_MS = 10_000
export const RENEW_INTERVAL_MS = 2_000
/** Below the lease duration by enough for a write that is under way to land before another replica's first. */
export const RENEW_DEADLINE_MS = 7_000
export const RETRY_MS = 1_000
/** One attempt; a slower one is given up, and its write with it, so that it does not take the lease when nobody counts on that any more. */
const ATTEMPT_MS = 2_500

/** What was last read or written, and since when, on our clock, it has not changed. */
interface Observation {
  lease: Lease
  since: number
}

export const createLease = ({ kube, namespace, name, identity, clock, timers, random, log }: LeaseOptions): LeaderLease => {
  let observed: Observation | undefined
  let leading = false
  /** Both clocks when the last successful write was sent: one never goes back, the other goes on while the machine sleeps. */
  let renewed = { monotonic: Number.NEGATIVE_INFINITY, wall: Number.NEGATIVE_INFINITY }
  /** Counts attempts, so that one that was given up as too slow writes no more. */
  let attempts = 0

  const leftMs = (): number => {
    const sinceMs = Math.max(timers.monotonic() - renewed.monotonic, clock.now() - renewed.wall)
    return leading ? Math.max(0, RENEW_DEADLINE_MS - sinceMs) : 0
  }

  const held = (): boolean => leftMs() > 0

  const observe = (lease: Lease): Observation => {
    const before = observed?.lease.metadata
    const isSame = before?.uid === lease.metadata.uid && before?.resourceVersion === lease.metadata.resourceVersion
    observed = { lease, since: isSame && observed !== undefined ? observed.since : timers.monotonic() }
    return observed
  }

  /** The record with us as its holder. */
  const claim = (lease: Lease | undefined): Lease => {
    const now = microTime(clock.now())
    const isOurs = lease?.spec?.holderIdentity === identity
    return {
      ...lease,
      apiVersion: LEASES.apiVersion,
      kind: LEASES.kind,
      metadata: lease?.metadata ?? { name, namespace },
      spec: {
        holderIdentity: identity,
        leaseDurationSeconds: LEASE_DURATION_MS / 1000,
        acquireTime: isOurs ? (lease.spec?.acquireTime ?? now) : now,
        renewTime: now,
        leaseTransitions: (lease?.spec?.leaseTransitions ?? 0) + (isOurs || lease === undefined ? 0 : 1),
      },
    }
  }

  /** Others may still lead: the record names somebody, and we have not yet seen it unchanged for as long as it says. */
  const isTaken = ({ lease, since }: Observation): boolean => {
    const holder = lease.spec?.holderIdentity ?? ''
    if (holder === '' || holder === identity) return false
    const durationMs = Math.max(LEASE_DURATION_MS, (lease.spec?.leaseDurationSeconds ?? 0) * 1000)
    return timers.monotonic() - since < durationMs
  }

  /** One look, and one write if the lease may be ours and time is left for it. @returns whether we lead by it @throws CodedError KUBE_* */
  const attempt = async (boundMs: number): Promise<boolean> => {
    attempts += 1
    const own = attempts
    const began = timers.monotonic()
    const found = leading ? observed?.lease : await kube.get(LEASES, namespace, name)
    const timeoutMs = boundMs - (timers.monotonic() - began)
    if (timeoutMs <= 0 || own !== attempts || (found !== undefined && isTaken(observe(found)))) return false
    const sent = { monotonic: timers.monotonic(), wall: clock.now() }
    let stored: Lease
    try {
      stored = found === undefined ? await kube.create(LEASES, claim(undefined), { timeoutMs }) : await kube.replace(LEASES, claim(found), { timeoutMs })
    } catch (error) {
      if (!isCoded(error, 'KUBE_CONFLICT') && !isCoded(error, 'KUBE_NOT_FOUND')) throw error
      return lookAgain()
    }
    observe(stored)
    if (sent.monotonic > renewed.monotonic) renewed = sent
    return true
  }

  /** Somebody wrote before us. Still ours when an earlier write of our own got through late; the next renewal goes on from it. */
  const lookAgain = async (): Promise<boolean> => {
    const now = await kube.get(LEASES, namespace, name)
    if (now === undefined) observed = undefined
    else observe(now)
    if (now?.spec?.holderIdentity !== identity) leading = false
    return leading
  }

  const boundedAttempt = (boundMs: number): Promise<boolean> =>
    withDeadline(timers, boundMs, attempt(boundMs), () => new CodedError('KUBE_UNAVAILABLE', `the lease ${namespace}/${name} was not answered within ${boundMs / 1000} s`))

  const acquire = async (signal: AbortSignal): Promise<boolean> => {
    let complaint: string | undefined
    while (!signal.aborted) {
      try {
        if (await boundedAttempt(ATTEMPT_MS)) return true
        complaint = undefined
      } catch (error) {
        const message = messageOf(error)
        if (message !== complaint) log.warn({ lease: `${namespace}/${name}`, error: message }, 'the lease cannot be asked for')
        complaint = message
      }
      await sleep(timers, RETRY_MS * (0.8 + 0.4 * random()), signal)
    }
    return false
  }

  /** Renews until the signal aborts, another holds the lease, or the deadline passes. @returns why it ended */
  const keep = async (signal: AbortSignal): Promise<string> => {
    while (!signal.aborted) {
      await sleep(timers, RENEW_INTERVAL_MS, signal)
      if (signal.aborted) break
      const lost = await renewOnce(signal)
      if (lost !== undefined) return lost
    }
    return 'it was asked to stop'
  }

  /** Tries again and again before the deadline. @returns why leading ended, undefined when it goes on */
  const renewOnce = async (signal: AbortSignal): Promise<string | undefined> => {
    let fault = ''
    while (held() && !signal.aborted) {
      const before = renewed.monotonic
      try {
        const withinMs = RENEW_DEADLINE_MS - (timers.monotonic() - before)
        if (!(await boundedAttempt(Math.min(ATTEMPT_MS, withinMs)))) return `another replica holds it: ${observed?.lease.spec?.holderIdentity || 'nobody yet'}`
        if (renewed.monotonic !== before) return undefined
      } catch (error) {
        fault = messageOf(error)
        await sleep(timers, Math.min(RETRY_MS, RENEW_DEADLINE_MS - (timers.monotonic() - before)), signal)
      }
    }
    return signal.aborted ? undefined : `it could not be renewed in time${fault === '' ? '' : `: ${fault}`}`
  }

  /** So that the next one need not wait. Best effort: without it the lease runs out by itself. */
  const release = async (): Promise<void> => {
    const lease = observed?.lease
    if (lease?.spec?.holderIdentity !== identity) return
    const free: Lease = { ...lease, spec: { ...lease.spec, holderIdentity: '', leaseDurationSeconds: 1, renewTime: microTime(clock.now()) } }
    try {
      await withDeadline(timers, ATTEMPT_MS, kube.replace(LEASES, free, { timeoutMs: ATTEMPT_MS }), () => new CodedError('KUBE_UNAVAILABLE', 'there was no answer'))
    } catch (error) {
      log.info({ lease: `${namespace}/${name}`, error: messageOf(error) }, 'the lease could not be given back; it runs out by itself')
    }
  }

  /** Until the promise settles, but no longer than this. */
  const settled = async (promise: Promise<void>, ms: number): Promise<void> => {
    const waiting = new AbortController()
    await Promise.race([promise, sleep(timers, ms, waiting.signal)])
    waiting.abort()
  }

  const lead = async ({ onStartedLeading, onStoppedLeading, signal }: LeaseRun): Promise<void> => {
    leading = true
    log.info({ lease: `${namespace}/${name}`, identity }, 'leading')
    const work = new AbortController()
    const over = new AbortController()
    const stop = (): void => over.abort()
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop, { once: true })
    let fault: string | undefined
    const working = (async () => onStartedLeading(work.signal))().catch((error: unknown) => {
      fault = `the work failed: ${messageOf(error)}`
      log.error({ err: error }, 'the work of the leader failed')
      stop()
    })
    const reason = await keep(over.signal)
    signal.removeEventListener('abort', stop)
    work.abort()
    // On an orderly stop the work may finish what it has begun, as long as the lease is surely ours.
    if (held()) await settled(working, RENEW_DEADLINE_MS - (timers.monotonic() - renewed.monotonic))
    const mayRelease = held()
    leading = false
    attempts += 1
    log.info({ lease: `${namespace}/${name}`, identity, reason: fault ?? reason }, 'no longer leading')
    try {
      onStoppedLeading?.()
    } catch (error) {
      log.error({ err: error }, 'the end of leading was not taken well')
    }
    if (mayRelease) await release()
    await working
  }

  return {
    held,
    leftMs,
    run: async (run) => {
      while (!run.signal.aborted) {
        if (!(await acquire(run.signal))) break
        await (run.signal.aborted ? release() : lead(run))
        await sleep(timers, RETRY_MS, run.signal)
      }
      attempts += 1
    },
  }
}
