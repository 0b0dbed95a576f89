import { test } from 'tap'
import type { KubeObject } from '../../src/api/meta.ts'
import { OwnWrites } from '../../src/controller/own-writes.ts'

const KEY = 'ns/request'
const answerOf = (resourceVersion: string): KubeObject => ({ metadata: { name: 'request', namespace: 'ns', resourceVersion } })

/** What watches tell while a write is under way, and whether others turn out to have a part in it. */
const WRITES: Record<string, { heard: string[]; answer: string | undefined; others: string[] }> = {
  'nothing is told': { heard: [], answer: '7', others: [] },
  'our own version is told before the answer': { heard: ['7'], answer: '7', others: [] },
  'the version of another writer is told': { heard: ['6', '7'], answer: '7', others: [KEY] },
  'a version is told, and the write fails': { heard: ['7'], answer: undefined, others: [KEY] },
  'nothing is told, and the write fails': { heard: [], answer: undefined, others: [] },
}
for (const [name, { heard, answer, others }] of Object.entries(WRITES)) {
  await test(`during a write ${name}`, async (t) => {
    const told: string[] = []
    const own = new OwnWrites((key) => told.push(key))
    const { promise, resolve, reject } = Promise.withResolvers<KubeObject>()
    const placed: KubeObject[] = []
    const written = own.write(
      KEY,
      () => promise,
      (object) => {
        t.equal(own.covers(KEY, object.metadata.resourceVersion), true, 'what is placed is ours')
        placed.push(object)
      },
    )
    for (const version of heard) t.equal(own.covers(KEY, version), true)
    t.equal(own.covers('ns/other', '7'), false, 'other requests are told at once')
    if (answer === undefined) reject(new Error('refused'))
    else resolve(answerOf(answer))
    if (answer === undefined) await t.rejects(written, { message: 'refused' })
    else t.strictSame([await written, placed], [answerOf(answer), [answerOf(answer)]])
    t.strictSame(told, others)
    t.equal(own.covers(KEY, '9'), false, 'and after it')
  })
}

await test('a put that fails leaves nothing marked as our own', (t) => {
  const own = new OwnWrites(() => undefined)
  t.throws(() =>
    own.place(() => {
      throw new Error('no')
    }),
  )
  t.equal(own.covers(KEY, '1'), false)
  t.end()
})
