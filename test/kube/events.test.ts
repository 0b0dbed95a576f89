import fc from 'fast-check'
import { test } from 'tap'
import { CodedError } from '../../src/errors.ts'
import { cutBytes, eventObject, eventSink, type BackgroundEventSink } from '../../src/kube/events.ts'
import type { EventRecord } from '../../src/kube/ports.ts'
import { EVENTS } from '../../src/kube/resources.ts'
import { KubeError } from '../../src/kube/kube-error.ts'
import { fakeTime, type FakeTime } from '../support/fake-time.ts'
import { logLines, type LogLines } from '../support/log-lines.ts'
import { memoryKube, type MemoryKube } from '../support/memory-kube.ts'

const record = (overrides: Partial<EventRecord> = {}): EventRecord => ({
  regarding: { apiVersion: 'connectors.alauda.io/v1alpha1', kind: 'AccessRequest', namespace: 'shared', name: 'git-build-1', uid: 'uid-1' },
  type: 'Normal',
  reason: 'Granted',
  action: 'Grant',
  note: 'Pod ci/build may use Connector git',
  ...overrides,
})

const bench = (): LogLines & { time: FakeTime; kube: MemoryKube; sink: BackgroundEventSink } => {
  const time = fakeTime()
  const kube = memoryKube({ now: () => time.clock.now() })
  const lines = logLines()
  return { ...lines, time, kube, sink: eventSink({ writer: kube, clock: time.clock, timers: time.timers, random: () => 0.5, log: lines.log, reportingInstance: 'controller-0' }) }
}

await test('an Event is written beside its object', async (t) => {
  t.strictSame(eventObject(record(), Date.parse('2026-01-02T03:04:05.678Z'), 'controller-0'), {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: { name: 'git-build-1.64e9794b37be6aa3', namespace: 'shared' },
    eventTime: '2026-01-02T03:04:05.678000Z',
    reportingController: 'access-gate',
    reportingInstance: 'controller-0',
    regarding: record().regarding,
    type: 'Normal',
    reason: 'Granted',
    action: 'Grant',
    note: 'Pod ci/build may use Connector git',
  })
  const cluster = eventObject(record({ regarding: { apiVersion: 'v1', kind: 'Namespace', namespace: '', name: 'x', uid: 'u' } }), 0, 'i')
  t.match(cluster, { metadata: { namespace: 'default' }, regarding: { namespace: undefined } })
})

await test('the same thing said again is one Event, another note is another', async (t) => {
  const { kube, sink, messages } = bench()
  await sink.emit(record())
  await sink.emit(record())
  await sink.emit(record({ note: 'something else' }))
  await sink.emit(record({ regarding: { ...record().regarding, uid: 'uid-2' } }))
  t.same([kube.all(EVENTS, 'shared').length, messages()], [3, []])
})

await test('a failure is one line in the log, never an error', async (t) => {
  const { kube, sink, lines } = bench()
  kube.fail('create', EVENTS, new CodedError('KUBE_FORBIDDEN', 'events is forbidden'))
  await sink.emit(record())
  t.match(lines, [{ level: 'warn', reason: 'Granted', regarding: 'AccessRequest shared/git-build-1', error: 'events is forbidden', msg: 'an Event could not be recorded' }])
})

const busy = (retryAfterMs?: number): KubeError => new KubeError('KUBE_UNAVAILABLE', 'try again later', retryAfterMs === undefined ? {} : { retryAfterMs })
const creates = ({ calls }: MemoryKube): number => calls.filter(({ verb }) => verb === 'create').length

const FAILURES: Record<string, { error: CodedError; times: number; attempts: number; isRecorded: boolean }> = {
  'a failure that passes': { error: busy(), times: 1, attempts: 2, isRecorded: true },
  'two failures that pass': { error: busy(), times: 2, attempts: 3, isRecorded: true },
  'a server that asks for a second': { error: busy(1_000), times: 1, attempts: 2, isRecorded: true },
  'a failure that stays': { error: busy(), times: 9, attempts: 3, isRecorded: false },
  'a server that asks for a minute': { error: busy(60_000), times: 1, attempts: 1, isRecorded: false },
  'a missing right': { error: new CodedError('KUBE_FORBIDDEN', 'events is forbidden'), times: 1, attempts: 1, isRecorded: false },
  'a lost lease': { error: new CodedError('NOT_LEADER', 'this replica does not hold the lease'), times: 1, attempts: 1, isRecorded: false },
  'an answer that was lost': { error: new CodedError('KUBE_CONFLICT', 'it exists'), times: 1, attempts: 1, isRecorded: false },
}

for (const [sentence, { error, times, attempts, isRecorded }] of Object.entries(FAILURES))
  await test(`attempts at an Event: ${sentence}`, async (t) => {
    const { time, kube, sink, messages } = bench()
    kube.fail('create', EVENTS, error, { times })
    const emitted = sink.emit(record())
    await time.advance(2_500)
    await emitted
    t.strictSame([creates(kube), kube.all(EVENTS, 'shared').length], [attempts, isRecorded ? 1 : 0])
    t.strictSame(messages(), isRecorded || error.code === 'KUBE_CONFLICT' ? [] : ['warn an Event could not be recorded'])
    t.equal(time.pendingTimers, 0)
  })

await test('a program that stops tries again at once', async (t) => {
  const time = fakeTime()
  const kube = memoryKube({ now: () => time.clock.now() })
  const stopping = new AbortController()
  const { log, messages } = logLines()
  const sink = eventSink({ writer: kube, clock: time.clock, timers: time.timers, random: () => 0.5, log, signal: stopping.signal, reportingInstance: 'controller-0' })
  kube.fail('create', EVENTS, busy(), { times: 2 })
  const emitted = sink.emit(record())
  await time.advance(0)
  t.equal(creates(kube), 1)
  await emitted
  stopping.abort()
  await sink.finish()
  t.strictSame([creates(kube), kube.all(EVENTS, 'shared').length, messages(), time.pendingTimers], [3, 1, [], 0])
})

await test('while an Event is tried again nobody waits for one, few are under way at a time, and a bounded number waits', async (t) => {
  const { time, kube, sink, messages } = bench()
  kube.fail('create', EVENTS, busy(), { times: Number.POSITIVE_INFINITY })
  await sink.emit(record())
  const answer = kube.hold('create', EVENTS)
  await Promise.all(Array.from({ length: 1_100 }, (_, index) => sink.emit(record({ note: `${index}` }))))
  t.strictSame([creates(kube), messages().length], [1 + 3, 97], 'one is in a pause, three are under way, 1,000 wait')
  const finished = sink.finish()
  await time.advance(1_500)
  await finished
  answer()
  await time.advance(1_000)
  t.strictSame([creates(kube), messages().length, time.pendingTimers], [3 * 4, 1_101, 0])
})

await test('when the Events that failed are through, an answer is waited for again', async (t) => {
  const { time, kube, sink, messages } = bench()
  kube.fail('create', EVENTS, busy())
  await sink.emit(record())
  await time.advance(200)
  const answer = kube.hold('create', EVENTS)
  let isTold = false
  const tell = async (): Promise<void> => {
    await sink.emit(record({ note: 'later' }))
    isTold = true
  }
  const emitted = tell()
  await time.advance(1_000)
  t.equal(isTold, false)
  answer()
  await emitted
  t.strictSame([kube.all(EVENTS, 'shared').length, messages()], [2, []])
})

await test('the end of a term waits for Events for 1.5 s, and gives up those whose turn did not come', async (t) => {
  const { time, kube, sink, messages } = bench()
  await sink.finish()
  kube.fail('create', EVENTS, busy())
  await sink.emit(record())
  const answer = kube.hold('create', EVENTS)
  await Promise.all(Array.from({ length: 10 }, (_, index) => sink.emit(record({ note: `${index}` }))))
  let isOver = false
  const finish = async (): Promise<void> => {
    await sink.finish()
    isOver = true
  }
  const finished = finish()
  await time.advance(1_499)
  t.strictSame([isOver, messages()], [false, []])
  await time.advance(1)
  await finished
  t.strictSame(messages(), Array(7).fill('warn an Event could not be recorded'))
  answer()
  await time.advance(0)
  t.strictSame([kube.all(EVENTS, 'shared').length, messages().length, time.pendingTimers], [4, 7, 0])
})

await test('names and words are cut to what the API server takes', async (t) => {
  const long = eventObject(record({ regarding: { ...record().regarding, name: `${'a'.repeat(235)}.-.${'b'.repeat(15)}` }, reason: 'R'.repeat(300), action: 'A'.repeat(300) }), 0, 'i'.repeat(300))
  t.match(long, { metadata: { name: /^a{235}\.[0-9a-f]{16}$/ }, reason: 'R'.repeat(128), action: 'A'.repeat(128), reportingInstance: 'i'.repeat(128) })
  t.equal(eventObject(record({ note: 'ü'.repeat(600) }), 0, 'i').note, `${'ü'.repeat(510)}…`)
})

await test('a text cut to bytes fits, is whole characters, and stays when it fits', async (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 60 }), fc.integer({ min: 3, max: 80 }), (raw, max) => {
      const text = raw.toWellFormed()
      const cut = cutBytes(text, max)
      if (Buffer.byteLength(text) <= max) return cut === text
      return Buffer.byteLength(cut) <= max && cut.endsWith('…') && text.startsWith(cut.slice(0, -1)) && !cut.includes('\uFFFD'.repeat(text.includes('\uFFFD') ? 100 : 1))
    }),
  )
  t.pass('holds')
})
