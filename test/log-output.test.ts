import { test } from 'tap'
import { createLineOutput, type LineOutput } from '../src/log-output.ts'
import { fakeTime, type FakeTime } from './support/fake-time.ts'

const AGAIN = Object.assign(new Error('try again'), { code: 'EAGAIN' })
const GONE = Object.assign(new Error('broken pipe'), { code: 'EPIPE' })

interface World {
  output: LineOutput
  time: FakeTime
  /** What was taken, write by write; a character for each byte. */
  taken: string[]
  /** How much each write takes; an error is thrown. */
  reader: { takes: number | Error }
  paused: number[]
}

const world = (): World => {
  const time = fakeTime()
  const taken: string[] = []
  const paused: number[] = []
  const reader: World['reader'] = { takes: Number.POSITIVE_INFINITY }
  const take = (bytes: Buffer): number => {
    if (reader.takes instanceof Error) throw reader.takes
    const count = Math.min(bytes.length, reader.takes)
    if (count > 0) taken.push(bytes.subarray(0, count).toString('latin1'))
    return count
  }
  const pause = (ms: number): void => {
    paused.push(ms)
    time.freeze(ms)
  }
  return { output: createLineOutput({ take, pause, timers: time.timers }), time, taken, reader, paused }
}

await test('a line that comes alone is written at once, and those that come close to it together', async (t) => {
  const { output, time, taken } = world()
  output.write('1\n')
  t.strictSame(taken, ['1\n'])
  output.write('2\n')
  await time.advance(10)
  output.write('3\n')
  t.strictSame(taken, ['1\n'])
  await time.advance(10)
  t.strictSame(taken, ['1\n', '2\n3\n'])
  await time.advance(20)
  output.write('4\n')
  t.strictSame(taken, ['1\n', '2\n3\n', '4\n'])
  t.equal(time.pendingTimers, 0)
})

await test('many lines do not wait', (t) => {
  const { output, taken } = world()
  const line = `${'x'.repeat(9_999)}\n`
  for (let count = 0; count < 3; count += 1) output.write(line)
  t.strictSame(taken, [line, line + line])
  t.end()
})

await test('what a reader does not take waits in order, and a piece that was cut goes on where it was cut', async (t) => {
  const { output, time, taken, reader } = world()
  reader.takes = AGAIN
  for (const line of ['1ü\n', '2\n']) output.write(line)
  await time.advance(1_000)
  t.strictSame(taken, [])
  reader.takes = 2
  await time.advance(100)
  reader.takes = 0
  output.write('3\n')
  await time.advance(1_000)
  reader.takes = Number.POSITIVE_INFINITY
  await time.advance(100)
  t.equal(taken[0], '1\u00c3', 'cut within a character')
  t.equal(Buffer.from(taken.join(''), 'latin1').toString(), '1ü\n2\n3\n')
  t.equal(time.pendingTimers, 0)
})

await test('a reader that stands still for long costs lines and not the memory, and it is told how many', async (t) => {
  const { output, time, taken, reader } = world()
  reader.takes = AGAIN
  const line = `${'x'.repeat(1024 * 1024 - 1)}\n`
  for (let count = 0; count < 10; count += 1) output.write(line)
  reader.takes = Number.POSITIVE_INFINITY
  await time.advance(100)
  const lines = taken.join('').split('\n')
  t.equal(lines.filter((text) => text.startsWith('x')).length, 5, 'one that was begun, and four that wait')
  t.strictSame(JSON.parse(lines.at(-2) ?? ''), { level: 'warn', dropped: 5, msg: 'lines of the log are missing here: nobody took them' })
  output.write('on\n')
  await time.advance(20)
  t.equal(taken.at(-1), 'on\n')
})

await test('without a reader nothing is kept, and nothing is tried for ever', async (t) => {
  const { output, time, taken, reader, paused } = world()
  reader.takes = GONE
  for (const line of ['1\n', '2\n']) output.write(line)
  await time.advance(1_000)
  output.write('3\n')
  output.flushSync()
  t.strictSame([taken, paused, time.pendingTimers], [[], [], 0])
  reader.takes = Number.POSITIVE_INFINITY
  await time.advance(1_000)
  output.write('4\n')
  t.strictSame(taken, ['4\n'], 'a disk may have room again')
})

await test('at the end a reader is waited for, for a second at most', (t) => {
  const { output, taken, reader, paused, time } = world()
  reader.takes = AGAIN
  output.write('1\n')
  output.write('2\n')
  output.flushSync()
  t.strictSame([taken, paused.reduce((sum, ms) => sum + ms, 0), time.pendingTimers], [[], 1_000, 0])
  reader.takes = Number.POSITIVE_INFINITY
  output.flushSync()
  t.equal(taken.join(''), '1\n2\n')
  t.end()
})
