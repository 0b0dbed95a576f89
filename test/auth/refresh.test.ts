import { test, type Test } from 'tap'
import type { AuthSettings } from '../../src/auth/options.ts'
import { CodedError } from '../../src/errors.ts'
import { absent, allowed, APP, attributesOf, authWorld, claimsIn, denied, forwarded, HOUR, line, whole, type AuthWorld, type WholeAnswer } from '../support/auth-world.ts'
import { untilTrue } from '../support/eventually.ts'
import { START } from '../support/token-bench.ts'

const MINUTE = 60_000
const ON: AuthSettings = { JWT_REFRESH_ENABLE: 'true', JWT_REFRESH_WINDOW: '15m', JWT_REFRESH_HORIZON: '12h', JWT_EXPIRATION: '1h' }
const OPEN: WholeAnswer = { code: 200, headers: {}, body: '' }
const ENDED = line(403, 'Access denied: you are no longer authorized to access this workspace', { 'set-cookie': 'workspace_auth=; Path=/workspaces/ns1/app1; Max-Age=0; HttpOnly; Secure; SameSite=Lax' })
const noAnswer = (): Promise<never> => Promise.reject(new CodedError('KUBE_UNAVAILABLE', 'no answer'))

interface Started extends AuthWorld {
  cookie: string
  ask: (uri?: string) => Promise<WholeAnswer>
}

/** @param leftMs how much is left of the session */
const start = async (t: Test, leftMs: number, settings: AuthSettings = ON, issuedAt = START - (HOUR - leftMs)): Promise<Started> => {
  const world = authWorld(t, settings)
  const cookie = await world.session({ extra: { 'example.com/key': ['a'] } }, { ttlMs: leftMs, issuedAt })
  return { ...world, cookie, ask: async (uri = `${APP}/lab`) => whole(await world.app.inject({ url: '/verify', headers: { ...forwarded(uri), cookie } })) }
}

const renewal = (answer: WholeAnswer): Record<string, unknown> => claimsIn(answer.headers['set-cookie'])

await test('outside the window nobody is asked and nothing changes', async (t) => {
  const { ask, accessAsked } = await start(t, 16 * MINUTE)
  t.strictSame(await ask(), OPEN)
  t.strictSame(accessAsked, [])
})

await test('switched off, nobody is asked inside the window either', async (t) => {
  const { ask, accessAsked } = await start(t, 5 * MINUTE, {})
  t.strictSame(await ask(), OPEN)
  t.strictSame(accessAsked, [])
})

await test('a session that says so is not renewed', async (t) => {
  const world = authWorld(t, ON)
  const cookie = await world.session({ skipRefresh: true }, { ttlMs: 5 * MINUTE })
  t.strictSame(whole(await world.app.inject({ url: '/verify', headers: { ...forwarded(APP), cookie } })), OPEN)
  t.strictSame(world.accessAsked, [])
})

await test('allowed: the same session with the same beginning and a new end', async (t) => {
  const { ask, accessAsked, app, cookie } = await start(t, 5 * MINUTE)
  const answer = await ask(`${APP}/lab?x=1`)
  t.equal(answer.code, 200)
  t.equal(attributesOf(answer.headers['set-cookie']), 'workspace_auth=…; Path=/workspaces/ns1/app1; Max-Age=86400; HttpOnly; Secure; SameSite=Lax')
  const seconds = START / 1000
  t.strictSame(renewal(answer), { ...claimsIn(cookie), jti: 'id-2', iat: seconds - 55 * 60, nbf: seconds, exp: seconds + 3600 })
  t.strictSame(accessAsked, [{ workspace: { namespace: 'ns1', name: 'app1' }, identity: { user: 'alice', groups: ['team-a'], uid: 'u-1', extra: { 'example.com/key': ['a'] } } }])
  const renewed = String(answer.headers['set-cookie']).split(';')[0] ?? ''
  t.strictSame(whole(await app.inject({ url: '/verify', headers: { ...forwarded(APP), cookie: renewed } })), OPEN, 'and it is outside its window')
  t.equal(accessAsked.length, 1)
})

await test('a page of many requests at once asks once, and all of them go through', async (t) => {
  const { ask, accessAsked, answerAccess } = await start(t, 5 * MINUTE)
  const open = Promise.withResolvers<void>()
  answerAccess(async () => {
    await open.promise
    return { allowed: true, notFound: false, reason: '' }
  })
  const asked = Array.from({ length: 50 }, () => ask())
  const first = await Promise.race(asked)
  t.strictSame(first, OPEN, 'the others do not wait for it')
  open.resolve()
  const answers = await Promise.all(asked)
  t.ok(answers.every(({ code }) => code === 200))
  t.equal(answers.filter(({ headers }) => headers['set-cookie'] !== undefined).length, 1)
  t.equal(accessAsked.length, 1)
})

await test('a browser that goes on with the old session asks again after a while, not at each request', async (t) => {
  const { ask, accessAsked, time } = await start(t, 5 * MINUTE)
  t.ok((await ask()).headers['set-cookie'])
  t.strictSame(await ask(), OPEN)
  await time.advance(9_999)
  t.strictSame(await ask(), OPEN)
  t.equal(accessAsked.length, 1)
  await time.advance(1)
  t.ok((await ask()).headers['set-cookie'])
  t.equal(accessAsked.length, 2)
})

for (const [sentence, review] of Object.entries({ 'not allowed': denied, 'a workspace that is gone': absent })) {
  await test(`${sentence}: the cookie is removed, and no session made`, async (t) => {
    const { ask, answerAccess, accessAsked, time } = await start(t, 5 * MINUTE)
    answerAccess(review)
    t.strictSame(await ask(), ENDED)
    t.strictSame(await ask(), ENDED, 'who comes again hears the same, without a question')
    t.equal(accessAsked.length, 1)
    answerAccess(allowed)
    await time.advance(10_000)
    t.equal((await ask()).code, 200, 'until it is asked anew')
  })
}

await test('no answer: the session stays as it is, is never prolonged, and the next questions come later and later', async (t) => {
  const { ask, answerAccess, accessAsked, time, app, cookie } = await start(t, 5 * MINUTE)
  answerAccess(noAnswer)
  const askedAt: number[] = []
  for (let second = 0; second < 299; second += 1) {
    const before = accessAsked.length
    t.strictSame(await ask(), OPEN)
    if (accessAsked.length > before) askedAt.push(second)
    await time.advance(1_000)
  }
  t.strictSame(askedAt, [0, 3, 8, 18, 38, 68, 98, 128, 158, 188, 218, 248, 278], 'half of 5, 10, 20, 40 and then 60 seconds, and as much again at random')
  await time.advance(10_000)
  t.equal((await app.inject({ url: '/verify', headers: { ...forwarded(APP), cookie } })).statusCode, 401, 'it ends when it ends')
})

await test('an answer that comes after the end of the session prolongs nothing', async (t) => {
  const { app, cookie, answerAccess, time } = await start(t, 2_000)
  answerAccess(async () => {
    await time.advance(3_000)
    return { allowed: true, notFound: false, reason: '' }
  })
  t.strictSame(whole(await app.inject({ url: '/verify', headers: { ...forwarded(APP), cookie } })), OPEN)
})

await test('too long after the sign-in: asked about, and not prolonged', async (t) => {
  const { ask, accessAsked, answerAccess, time, log } = await start(t, 5 * MINUTE, ON, START - 12 * HOUR)
  t.strictSame(await ask(), OPEN)
  t.strictSame(await ask(), OPEN)
  t.equal(accessAsked.length, 1, 'not at each request')
  t.match(log.messages(), ['info a session is not prolonged: its sign-in was too long ago'])
  answerAccess(denied)
  await time.advance(10_000)
  t.strictSame(await ask(), ENDED)
})

await test('no key to sign with: 200, and no cookie', async (t) => {
  const world = authWorld(t, ON)
  const cookie = await world.session({}, { ttlMs: 5 * MINUTE })
  const first = await world.app.inject({ url: '/verify', headers: { ...forwarded(APP), cookie: await world.session() } })
  t.equal(first.statusCode, 200)
  world.answerAccess(async () => {
    world.ring.remove('100')
    world.ring.remove('200')
    return { allowed: true, notFound: false, reason: '' }
  })
  t.strictSame(whole(await world.app.inject({ url: '/verify', headers: { ...forwarded(APP), cookie } })), OPEN)
  t.match(world.log.messages(), ['error no session could be made'])
})

await test('not more than so many sessions are asked about at once', async (t) => {
  const world = authWorld(t, ON)
  const open = Promise.withResolvers<void>()
  world.answerAccess(async () => {
    await open.promise
    return { allowed: true, notFound: false, reason: '' }
  })
  const cookies = await Promise.all(Array.from({ length: 40 }, (_, index) => world.session({ user: `user-${index}` }, { ttlMs: 5 * MINUTE })))
  let answered = 0
  const asked = cookies.map(async (cookie) => {
    const answer = await world.app.inject({ url: '/verify', headers: { ...forwarded(APP), cookie } })
    answered += 1
    return answer
  })
  await untilTrue('all the others are answered', () => answered === 40 - 16)
  t.equal(world.accessAsked.length, 16)
  open.resolve()
  t.ok((await Promise.all(asked)).every(({ statusCode }) => statusCode === 200))
})
