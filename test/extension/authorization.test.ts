import { test } from 'tap'
import type { Identity, AccessQuestion, PathQuestion } from '../../src/api/access-review.ts'
import { createAuthorization } from '../../src/extension/authorization.ts'
import { KubeError } from '../../src/kube/kube-error.ts'

const caller = { user: 'carol', uid: 'u', groups: ['g'], extra: { k: ['v'] } }
const question = { group: 'g', version: 'v1', resource: 'r', verb: 'create', namespace: 'ns' }

type Answer = (question: AccessQuestion | PathQuestion) => Promise<boolean>

const setUp = (answer: Answer, capacity = 1_000) => {
  const clock = { now: 0 }
  const asked: { identity: Identity; question: AccessQuestion | PathQuestion }[] = []
  const ask = (identity: Identity, put: AccessQuestion | PathQuestion): Promise<boolean> => {
    asked.push({ identity, question: put })
    return answer(put)
  }
  const timers = { monotonic: () => clock.now, after: () => () => undefined }
  return { clock, asked, authorize: createAuthorization({ permission: { allows: ask, allowsPath: ask }, timers }, { capacity }) }
}

await test('all that is known of the caller is asked about', async (t) => {
  const { asked, authorize } = setUp(() => Promise.resolve(true))
  t.equal(await authorize(caller, question), true)
  t.equal(await authorize({ ...caller, uid: 'w' }, { path: '/metrics', verb: 'get' }), true)
  t.strictSame(asked, [
    { identity: { user: 'carol', groups: ['g'], extra: { k: ['v'] }, uid: 'u' }, question },
    { identity: { user: 'carol', groups: ['g'], extra: { k: ['v'] }, uid: 'w' }, question: { path: '/metrics', verb: 'get' } },
  ])
})

await test('both answers are remembered for ten seconds', async (t) => {
  for (const expected of [true, false]) {
    const { clock, asked, authorize } = setUp(() => Promise.resolve(expected))
    for (const now of [0, 9_999, 10_000, 19_999, 20_000]) {
      clock.now = now
      t.equal(await authorize(caller, question), expected)
    }
    t.equal(asked.length, 3)
  }
})

await test('the same question in flight is asked once, and a failure is not remembered', async (t) => {
  let failing = true
  const { asked, authorize } = setUp(() => (failing ? Promise.reject(new KubeError('KUBE_UNAVAILABLE', 'away')) : Promise.resolve(true)))
  const both = await Promise.allSettled([authorize(caller, question), authorize(caller, question)])
  t.match(both, [{ status: 'rejected' }, { status: 'rejected' }])
  t.equal(asked.length, 1)
  failing = false
  t.equal(await authorize(caller, question), true)
})

await test('whoever differs in anything is asked about by himself', async (t) => {
  const { asked, authorize } = setUp(() => Promise.resolve(true))
  const others = [
    caller,
    { ...caller, user: 'dave' },
    { ...caller, uid: 'w' },
    { ...caller, groups: ['g', 'h'] },
    { ...caller, groups: ['gh'] },
    { ...caller, extra: { k: ['v', 'w'] } },
    { ...caller, groups: ['long'.repeat(1_000)] },
    { ...caller, groups: ['long'.repeat(1_000), 'x'] },
  ]
  for (const other of others) await authorize(other, question)
  await authorize(caller, { ...question, namespace: 'other' })
  t.equal(asked.length, others.length + 1)
})

await test('only so many answers are remembered, the newest', async (t) => {
  const { asked, authorize } = setUp(() => Promise.resolve(true), 2)
  for (const user of ['a', 'b', 'c', 'c', 'b', 'a']) await authorize({ ...caller, user }, question)
  t.strictSame(
    asked.map(({ identity }) => identity.user),
    ['a', 'b', 'c', 'a'],
  )
})

await test('masters may do everything', async (t) => {
  const { asked, authorize } = setUp(() => Promise.resolve(false))
  t.equal(await authorize({ ...caller, groups: ['system:masters'] }, question), true)
  t.strictSame(asked, [])
})
