import { test } from 'tap'
import { createReviews, type Reviews, type ReviewsOptions } from '../../src/auth/reviews.ts'
import { SHARED_MS } from '../../src/auth/shared-answers.ts'
import type { ConnectionReviewer, ReviewedIdentity } from '../../src/kube/ports.ts'
import { fakeTime, type FakeTime } from '../support/fake-time.ts'
import { logLines } from '../support/log-lines.ts'

const WORKSPACE = { namespace: 'ns1', name: 'app1' }
const ALICE: ReviewedIdentity = { user: 'alice', groups: ['a', 'b'], uid: 'u-1', extra: { x: ['1'], y: ['2'] } }
const YES = { kind: 'answered', answer: { allowed: true, reason: '' } }

interface Bench {
  reviews: Reviews
  time: FakeTime
  counted: string[]
  asked: () => number
}

const bench = (mayConnect: ConnectionReviewer['mayConnect'], options: Partial<ReviewsOptions> = {}): Bench => {
  const time = fakeTime()
  const counted: string[] = []
  let asked = 0
  const reviewer: ConnectionReviewer = {
    mayConnect: (...question) => {
      asked += 1
      return mayConnect(...question)
    },
    reviewToken: async () => {
      asked += 1
      return { authenticated: false }
    },
  }
  const metrics = { reviewed: (kind: string, result: string) => void counted.push(`${kind} ${result}`) }
  const reviews = createReviews({ reviewer, timers: time.timers, metrics, logger: logLines().log }, { withinMs: 9_000, atOnce: 2, waiting: 2, ...options })
  return { reviews, time, counted, asked: () => asked }
}

const soon: ConnectionReviewer['mayConnect'] = async () => ({ allowed: true, notFound: false, reason: '' })
const never: ConnectionReviewer['mayConnect'] = () => new Promise(() => undefined)

await test('the same question within a moment is one, whatever the order of its parts', async (t) => {
  const { reviews, asked, time } = bench(soon)
  const same: ReviewedIdentity = { extra: { y: ['2'], x: ['1'] }, uid: 'u-1', groups: ['b', 'a'], user: 'alice' }
  t.strictSame(await Promise.all([reviews.mayConnect(WORKSPACE, ALICE), reviews.mayConnect({ ...WORKSPACE }, same)]), [YES, YES])
  t.equal(asked(), 1)
  await time.advance(SHARED_MS - 1)
  t.strictSame(await reviews.mayConnect(WORKSPACE, ALICE), YES)
  t.equal(asked(), 1, 'who comes a moment later hears the same')
  await time.advance(1)
  t.strictSame(await reviews.mayConnect(WORKSPACE, ALICE), YES)
  t.equal(asked(), 2, 'no answer is older than that')
})

await test('a no is for those alone who waited for it', async (t) => {
  const { reviews, asked } = bench(async () => ({ allowed: false, notFound: false, reason: 'no' }))
  await Promise.all([reviews.mayConnect(WORKSPACE, ALICE), reviews.mayConnect(WORKSPACE, ALICE)])
  t.equal(asked(), 1)
  await reviews.mayConnect(WORKSPACE, ALICE)
  t.equal(asked(), 2)
})

await test('nobody waits for an answer to a question that is older than a moment', async (t) => {
  const { reviews, asked, time } = bench(never)
  void reviews.mayConnect(WORKSPACE, ALICE)
  await time.advance(SHARED_MS)
  void reviews.mayConnect(WORKSPACE, ALICE)
  t.equal(asked(), 2)
})

await test('another user, workspace or attribute is another question', async (t) => {
  const { reviews, asked } = bench(soon, { atOnce: 10 })
  const questions: [workspace: typeof WORKSPACE, identity: ReviewedIdentity][] = [
    [WORKSPACE, ALICE],
    [{ ...WORKSPACE, name: 'app2' }, ALICE],
    [{ ...WORKSPACE, namespace: 'ns2' }, ALICE],
    [WORKSPACE, { ...ALICE, user: 'bob' }],
    [WORKSPACE, { ...ALICE, uid: 'u-2' }],
    [WORKSPACE, { ...ALICE, groups: ['a'] }],
    [WORKSPACE, { ...ALICE, groups: ['a,b'] }],
    [WORKSPACE, { ...ALICE, extra: { x: ['1', '2'] } }],
    [WORKSPACE, { user: 'alice', groups: [] }],
  ]
  await Promise.all(questions.map(([workspace, identity]) => reviews.mayConnect(workspace, identity)))
  t.equal(asked(), questions.length)
})

await test('tokens are never shared', async (t) => {
  const { reviews, asked, counted } = bench(soon)
  await Promise.all([reviews.reviewToken('ns1', 't'), reviews.reviewToken('ns1', 't')])
  t.equal(asked(), 2)
  t.strictSame(counted, ['token no', 'token no'])
})

await test('a failure is everybody’s who asked, and nobody’s afterwards', async (t) => {
  let broken = true
  const { reviews, counted } = bench((...question) => (broken ? Promise.reject(new Error('no answer')) : soon(...question)))
  t.strictSame(await Promise.all([reviews.mayConnect(WORKSPACE, ALICE), reviews.mayConnect(WORKSPACE, ALICE)]), [{ kind: 'failed' }, { kind: 'failed' }])
  broken = false
  t.strictSame(await reviews.mayConnect(WORKSPACE, ALICE), YES)
  t.strictSame(counted, ['access failed', 'access yes'])
})

await test('a question without an answer ends after 5 s and gives its turn to the next', async (t) => {
  const { reviews, time, asked, counted } = bench((_workspace, { user }) => (user === 'patient' ? soon(_workspace, ALICE) : never(_workspace, ALICE)))
  const as = (user: string) => reviews.mayConnect(WORKSPACE, { user, groups: [] })
  const hanging = [as('one'), as('two')]
  const patient = as('patient')
  await time.advance(4_999)
  t.equal(asked(), 2)
  await time.advance(1)
  t.strictSame(await Promise.all(hanging), [{ kind: 'failed' }, { kind: 'failed' }])
  t.strictSame(await patient, YES)
  t.strictSame(counted, ['access failed', 'access yes', 'access failed'])
  t.equal(time.pendingTimers, 0)
})

await test('who finds no place in the line is turned away at once, who waits too long in time', async (t) => {
  const { reviews, time, asked, counted } = bench(never, { withinMs: 3_000 })
  const as = (user: string) => reviews.mayConnect(WORKSPACE, { user, groups: [] })
  const four = ['one', 'two', 'three', 'four'].map(as)
  t.strictSame(await as('five'), { kind: 'crowded' })
  await time.advance(3_000)
  t.strictSame(await Promise.all(four), Array.from({ length: 4 }, () => ({ kind: 'crowded' })))
  await time.advance(5_000)
  t.equal(asked(), 2, 'nobody is asked about who has gone')
  t.strictSame(counted.filter((one) => one === 'access crowded').length, 5)
})
