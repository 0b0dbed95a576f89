import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'tap'
import { withDeadline } from '../../src/serving/deadline.ts'
import { startTicker } from '../../src/serving/ticker.ts'
import { watchFiles } from '../../src/serving/watched-files.ts'
import { fakeTime, settle } from '../support/fake-time.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

await test('work that ends in time: its value or its error, and no timer is left', async (t) => {
  const time = fakeTime()
  const { timers } = time
  const abandoned = (error: unknown): void => void t.fail(String(error))
  t.strictSame(await withDeadline(timers, 100, async () => 5, abandoned), { state: 'done', value: 5 })
  await t.rejects(
    withDeadline(timers, 100, () => Promise.reject(new Error('no')), abandoned),
    { message: 'no' },
  )
  t.equal(time.pendingTimers, 0)
})

await test('work that does not: late, and its error goes elsewhere', async (t) => {
  const time = fakeTime()
  const work = Promise.withResolvers<number>()
  const errors: unknown[] = []
  let seen: { readonly passed: boolean } | undefined
  const outcome = withDeadline(
    time.timers,
    100,
    (deadline) => {
      seen = deadline
      return work.promise
    },
    (error) => errors.push(error),
  )
  await time.advance(99)
  t.equal(seen?.passed, false)
  await time.advance(1)
  t.strictSame(await outcome, { state: 'late' })
  t.equal(seen?.passed, true)
  work.reject(new Error('after all'))
  await settle()
  t.match(errors, [{ message: 'after all' }])
})

await test('a ticker runs one task at a time, goes on after an error, and stops with the run under way', async (t) => {
  const time = fakeTime()
  const errors: unknown[] = []
  let runs = 0
  let gate = Promise.withResolvers<void>()
  const task = async (): Promise<void> => {
    runs += 1
    if (runs === 1) throw new Error('no')
    await gate.promise
  }
  const ticker = startTicker(time.timers, { first: 0, every: () => 100 }, task, (error) => errors.push(error))
  await time.advance(0)
  t.equal(runs, 1)
  t.match(errors, [{ message: 'no' }])
  await time.advance(110)
  t.equal(runs, 2)
  await time.advance(1_000)
  t.equal(runs, 2, 'the second run has not ended')
  gate.resolve()
  gate = Promise.withResolvers<void>()
  await time.advance(110)
  t.equal(runs, 3)
  let stopped = false
  const stop = async (): Promise<void> => {
    await ticker.stop()
    stopped = true
  }
  const stopping = stop()
  await time.advance(1_000)
  t.equal(stopped, false)
  gate.resolve()
  await stopping
  await time.advance(1_000)
  t.equal(runs, 3)
  t.equal(time.pendingTimers, 0)
})

await test('files are handed on when one of them changed, and bad content is complained of once', async (t) => {
  const folder = await temporaryFolder(t)
  const paths = [join(folder, 'a'), join(folder, 'b')]
  const used: string[][] = []
  const files = watchFiles(paths, (contents) => {
    if (contents.includes('bad')) throw new Error('bad content')
    used.push(contents)
  })
  await t.rejects(files.refresh(), { code: 'CONFIG_INVALID', message: /[ab] cannot be read: ENOENT/ })
  for (const path of paths) await writeFile(path, 'one')
  t.equal(await files.refresh(), true)
  t.equal(await files.refresh(), false)
  await writeFile(paths[1] ?? '', 'bad')
  await t.rejects(files.refresh(), { message: 'bad content' })
  t.equal(await files.refresh(), false)
  await writeFile(paths[1] ?? '', 'two')
  t.equal(await files.refresh(), true)
  t.strictSame(used, [
    ['one', 'one'],
    ['one', 'two'],
  ])
})
