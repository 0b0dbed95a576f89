/** Events for people, as events.k8s.io/v1 objects beside what they speak of. */
import { createHash } from 'node:crypto'
import type { Logger } from 'pino'
import type { Event } from '../api/event.ts'
import { isCoded, messageOf } from '../errors.ts'
import { microTime } from './micro-time.ts'
import type { Clock, EventRecord, EventSink, Writer } from './ports.ts'
import { EVENTS } from './resources.ts'

/** Limits of the API server's validation: the note in bytes, the words in characters. */
const MAX_NOTE = 1024
const MAX_WORD = 128
const MAX_NAME = 253

export interface EventOptions {
  writer: Pick<Writer, 'create'>
  clock: Clock
  log: Pick<Logger, 'warn'>
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

export const eventSink = ({ writer, clock, log, reportingInstance }: EventOptions): EventSink => ({
  emit: async (event) => {
    try {
      await writer.create(EVENTS, eventObject(event, clock.now(), reportingInstance))
    } catch (error) {
      if (isCoded(error, 'KUBE_CONFLICT')) return
      const { kind, namespace, name } = event.regarding
      log.warn({ reason: event.reason, regarding: `${kind} ${namespace}/${name}`, error: messageOf(error) }, 'an Event could not be recorded')
    }
  },
})
