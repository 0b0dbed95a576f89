import fc from 'fast-check'
import { test } from 'tap'
import { createTurns } from '../../src/serving/turns.ts'
import { settle } from '../support/fake-time.ts'

await test('whatever comes and ends in whatever order: no more at once than may be, first come first served, every turn is given back', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 4 }), fc.array(fc.record({ fails: fc.boolean(), ends: fc.nat() }), { maxLength: 30 }), async (atOnce, jobs) => {
      const turns = createTurns({ atOnce, waiting: jobs.length })
      const begun: number[] = []
      const underWay: { end: () => void }[] = []
      let ended = 0
      const all = jobs.map(async ({ fails }, index) => {
        if (!turns.hasRoom) throw new Error('there is a place for all')
        try {
          await turns.run(async () => {
            begun.push(index)
            await new Promise<void>((end) => underWay.push({ end }))
            if (fails) throw new Error('no')
          })
        } catch (error) {
          if (!fails) throw error
        }
        ended += 1
      })
      for (const { ends } of jobs) {
        await settle()
        if (underWay.length > atOnce) throw new Error(`${underWay.length} at once`)
        if (underWay.length < Math.min(atOnce, jobs.length - ended)) throw new Error('a turn was lost')
        underWay.splice(ends % underWay.length, 1)[0]?.end()
      }
      await Promise.all(all)
      if (begun.join(',') !== [...jobs.keys()].join(',')) throw new Error(`begun in the order ${begun.join(',')}`)
      if (!turns.hasRoom || !turns.isCalm) throw new Error('something is left')
    }),
    { numRuns: 100 },
  )
  t.pass('held')
})

await test('the line has an end', async (t) => {
  const turns = createTurns({ atOnce: 2, waiting: 1 })
  const ends: (() => void)[] = []
  const job = (): Promise<void> => turns.run(() => new Promise<void>((end) => ends.push(end)))
  const seen = (): unknown[] => [turns.hasRoom, turns.isCalm]
  const jobs = [job(), job()]
  t.strictSame(seen(), [true, true])
  jobs.push(job())
  t.strictSame(seen(), [false, false])
  ends.shift()?.()
  await settle()
  t.strictSame(seen(), [true, true])
  for (const end of ends) end()
  await Promise.all(jobs)
})
