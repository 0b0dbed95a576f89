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

/** Whoever did what an Event tells of waits for it: three attempts and the pauses between them take 6.5 s at most. */
const ATTEMPTS = 3
const ATTEMPT_MS = 1_500
const PAUSE = { baseMs: 200, capMs: 500 }
/** The API server may ask for a pause; a longer one than this is not waited for. */
const LONGEST_PAUSE_MS = 1_000
/** An Event that meets this many others in a pause is given up: an API server that takes none of them is not asked more. */
const MAX_PAUSED = 64

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

export const eventSink = ({ writer, clock, timers, random, log, signal, reportingInstance }: EventOptions): EventSink => {
  let paused = 0

  const pause = async (ms: number): Promise<void> => {
    paused += 1
    await sleep(timers, ms, signal)
    paused -= 1
  }

  /** @throws CodedError KUBE_*, NOT_LEADER of the last attempt */
  const record = async (event: Event): Promise<void> => {
    for (let attempt = 1; ; attempt++) {
      try {
        await writer.create(EVENTS, event, { timeoutMs: ATTEMPT_MS })
        return
      } catch (error) {
        // It is there: said before, or by an attempt whose answer was lost.
        if (isCoded(error, 'KUBE_CONFLICT')) return
        const pauseMs = Math.max(backoffMs(attempt - 1, { ...PAUSE, random }), retryAfterOf(error))
        if (!isCoded(error, 'KUBE_UNAVAILABLE') || attempt === ATTEMPTS || paused >= MAX_PAUSED || pauseMs > LONGEST_PAUSE_MS) throw error
        await pause(pauseMs)
      }
    }
  }

  return {
    emit: async (event) => {
      try {
        await record(eventObject(event, clock.now(), reportingInstance))
      } catch (error) {
        const { kind, namespace, name } = event.regarding
        log.warn({ reason: event.reason, regarding: `${kind} ${namespace}/${name}`, error: messageOf(error) }, 'an Event could not be recorded')
      }
    },
  }
}
