/** Events for people, as events.k8s.io/v1 objects beside what they speak of. */
import { createHash } from 'node:crypto'
import type { Logger } from 'pino'
import type { Event } from '../api/event.ts'
import { isCoded, messageOf } from '../errors.ts'
import { retryAfterOf } from './kube-error.ts'
import { microTime } from './micro-time.ts'
import type { Clock, EventRecord, EventSink, Writer } from './ports.ts'
import { EVENTS } from './resources.ts'
import { backoffMs, sleep, type Timers } from './timers.ts'

/** Limits of the API server's validation: the note in bytes, the words in characters. */
const MAX_NOTE = 1024
const MAX_WORD = 128
const MAX_NAME = 253

/** One Event has three attempts at most; whoever did what it tells of waits for the first of them alone, and not even for that in bad times. */
const ATTEMPTS = 3
const ATTEMPT_MS = 1_500
const PAUSE = { baseMs: 200, capMs: 500 }
/** The API server may ask for a pause; a longer one than this is not waited for. */
const LONGEST_PAUSE_MS = 1_000
/** How many Events are tried again at a time: few, so that they take no connections from the writes that matter. */
const LANES = 4
/** How many more may wait for their turn; what comes on top is given up. */
const MAX_WAITING = 1_000
/** How long the end of a term waits for what is under way. */
const FINISH_MS = 1_500

export interface EventOptions {
  writer: Pick<Writer, 'create'>
  clock: Clock
  timers: Timers
  /** A number from 0 up to 1. */
  random: () => number
  log: Pick<Logger, 'warn'>
  /** Once it aborts, nothing pauses between attempts: the program is stopping. */
  signal?: AbortSignal
  /** Which replica speaks: the Pod's name. */
  reportingInstance: string
}

/** Cut to so many bytes of UTF-8, never inside a character. */
export const cutBytes = (text: string, max: number): string => {
  const bytes = Buffer.from(text)
  if (bytes.length <= max) return text
  const mark = '…'
  let end = max - Buffer.byteLength(mark)
  // 10xxxxxx continues a character that began before.
  while (end > 0 && ((bytes[end] ?? 0) & 0b1100_0000) === 0b1000_0000) end -= 1
  return bytes.subarray(0, end).toString('utf8') + mark
}

/** The same thing said again about the same object has the same name, so that it is one Event. */
const eventName = ({ regarding, reason, note }: EventRecord): string => {
  const hash = createHash('sha256').update(JSON.stringify([regarding.uid, reason, note])).digest('hex').slice(0, 16)
  const readable = regarding.name.slice(0, MAX_NAME - hash.length - 1).replace(/[^a-z0-9]+$/, '')
  return readable === '' ? hash : `${readable}.${hash}`
}

export const eventObject = (event: EventRecord, now: number, reportingInstance: string): Event => {
  const { namespace, ...withoutNamespace } = event.regarding
  return {
    apiVersion: EVENTS.apiVersion,
    kind: EVENTS.kind,
    // Events about what has no namespace live in the namespace default.
    metadata: { name: eventName(event), namespace: namespace === '' ? 'default' : namespace },
    eventTime: microTime(now),
    reportingController: 'access-gate',
    reportingInstance: reportingInstance.slice(0, MAX_WORD),
    regarding: namespace === '' ? withoutNamespace : event.regarding,
    type: event.type,
    reason: event.reason.slice(0, MAX_WORD),
    action: event.action.slice(0, MAX_WORD),
    note: cutBytes(event.note, MAX_NOTE),
  }
}

export interface BackgroundEventSink extends EventSink {
  /**
   * Waits for all that was emitted, for a second and a half at most; what is not recorded then is given up. Never rejects. For the end of
   * a term: later nothing could be sent.
   */
  finish(): Promise<void>
}

interface Waiting {
  record: EventRecord
  event: Event
  /** How many attempts have failed. */
  failed: number
  /** Milliseconds to wait before the next one. */
  pauseMs: number
}

/**
 * While the API server takes Events, `emit` resolves when there was an answer. When an attempt fails in a way that may pass, the Event is
 * tried again in the background, and until that is through nobody waits for any Event: revokes are not held up by an API server that
 * takes none.
 */
export const eventSink = ({ writer, clock, timers, random, log, signal, reportingInstance }: EventOptions): BackgroundEventSink => {
  let waiting: Waiting[] = []
  let lanes = 0
  /** Settles when the lanes that were opened so far have closed. */
  let closed: Promise<unknown> = Promise.resolve()

  const giveUp = ({ reason, regarding: { kind, namespace, name } }: EventRecord, why: string): void => {
    log.warn({ reason, regarding: `${kind} ${namespace}/${name}`, error: why }, 'an Event could not be recorded')
  }

  /** @returns what is left to do, undefined for an Event that is recorded or given up */
  const attempt = async ({ record, event, failed }: Waiting): Promise<Waiting | undefined> => {
    try {
      await writer.create(EVENTS, event, { timeoutMs: ATTEMPT_MS })
    } catch (error) {
      // It is there: said before, or by an attempt whose answer was lost.
      if (isCoded(error, 'KUBE_CONFLICT')) return undefined
      const pauseMs = Math.max(backoffMs(failed, { ...PAUSE, random }), retryAfterOf(error))
      if (isCoded(error, 'KUBE_UNAVAILABLE') && failed + 1 < ATTEMPTS && pauseMs <= LONGEST_PAUSE_MS) return { record, event, failed: failed + 1, pauseMs }
      giveUp(record, messageOf(error))
    }
    return undefined
  }

  const lane = async (): Promise<void> => {
    lanes += 1
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      for (let left: Waiting | undefined = next; left !== undefined; left = await attempt(left)) {
        if (left.pauseMs > 0) await sleep(timers, left.pauseMs, signal)
      }
    }
    lanes -= 1
  }

  const later = (left: Waiting): void => {
    if (waiting.length >= MAX_WAITING) {
      giveUp(left.record, 'too many others wait for their turn')
      return
    }
    waiting.push(left)
    if (lanes < LANES) closed = Promise.all([closed, lane()])
  }

  return {
    emit: async (record) => {
      const first: Waiting = { record, event: eventObject(record, clock.now(), reportingInstance), failed: 0, pauseMs: 0 }
      const left = lanes > 0 ? first : await attempt(first)
      if (left !== undefined) later(left)
    },
    finish: async () => {
      const waited = new AbortController()
      await Promise.race([closed, sleep(timers, FINISH_MS, waited.signal)])
      waited.abort()
      const late = waiting
      waiting = []
      for (const { record } of late) giveUp(record, 'the term of this replica ended before')
    },
  }
}
