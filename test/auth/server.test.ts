import { test } from 'tap'
import { APP, authWorld, forwarded, line, whole } from '../support/auth-world.ts'

const ELSEWHERE = '203.0.113.9'

await test('/health: any method, no question to anybody', async (t) => {
  const { app } = authWorld(t)
  const body = '{"status":"ok","time":"2026-01-02T03:04:05Z"}'
  for (const method of ['GET', 'POST', 'DELETE'] as const) t.strictSame(whole(await app.inject({ method, url: '/health' })), { code: 200, headers: { 'content-type': 'application/json' }, body })
  t.strictSame(whole(await app.inject({ url: '/health', remoteAddress: ELSEWHERE })).code, 200, 'from anywhere')
})

await test('X-Forwarded headers count from trusted proxies alone', async (t) => {
  const { app, session, log } = authWorld(t, { TRUSTED_PROXIES: '10.0.0.0/8' })
  const cookie = await session()
  const from = async (remoteAddress: string, headers: Record<string, string>, url = '/verify') => whole(await app.inject({ url, headers: { ...headers, cookie }, remoteAddress }))
  const refused = line(403, 'X-Forwarded headers are taken from trusted proxies alone: set TRUSTED_PROXIES to the address of this one')
  t.equal((await from('10.1.2.3', forwarded(APP))).code, 200)
  t.equal((await from('::ffff:10.1.2.3', forwarded(APP))).code, 200)
  t.strictSame(await from('127.0.0.1', forwarded(APP)), refused)
  t.strictSame(await from(ELSEWHERE, forwarded(APP)), refused)
  t.strictSame(await from(ELSEWHERE, { 'x-forwarded-for': '10.1.2.3' }, '/nowhere'), refused, 'any of them, anywhere')
  t.strictSame(await from(ELSEWHERE, { 'X-Forwarded-Method': 'GET' }, '/auth'), refused)
  t.strictSame(await from(ELSEWHERE, {}), line(400, 'Missing X-Forwarded-Uri header'))
  t.strictSame(log.lines.map(({ address }) => address), ['127.0.0.1'], 'told once in a minute')
})

await test('paths that are not there', async (t) => {
  const { app } = authWorld(t)
  for (const url of ['/', '/Verify', '/verify/', '/verify/x', '/login', '/metrics']) t.strictSame(whole(await app.inject({ url })), line(404, 'Not found'), url)
  t.strictSame(whole(await app.inject({ url: '/%zz' })), line(400, 'The request could not be read'))
})

await test('a fault of ours lets nobody in and says nothing', async (t) => {
  const { app, ring, session, log } = authWorld(t)
  const cookie = await session()
  ring.keyFor = () => {
    throw new Error('broken inside')
  }
  t.strictSame(whole(await app.inject({ url: '/verify', headers: { ...forwarded(APP), cookie } })), line(500, 'Internal server error'))
  t.match(log.messages(), ['error a request could not be answered; nobody was let in by it'])
})

await test('while it stops, it asks for connections to be closed', async (t) => {
  const { app, draining } = authWorld(t)
  t.not((await app.inject({ url: '/health' })).headers.connection, 'close')
  draining.draining = true
  t.equal((await app.inject({ url: '/health' })).headers.connection, 'close')
})

await test('requests, questions and refreshes are counted', async (t) => {
  const { app, session, register } = authWorld(t, { JWT_REFRESH_ENABLE: 'true' })
  const cookie = await session()
  await app.inject({ url: '/verify', headers: { ...forwarded(APP), cookie } })
  await app.inject({ url: '/verify', headers: { ...forwarded(APP), cookie } })
  await app.inject({ url: '/verify', headers: forwarded(APP) })
  await app.inject({ url: '/nowhere' })
  await app.inject({ url: '/auth', headers: { ...forwarded(APP), authorization: 'Bearer good-id-token' } })
  await app.inject({ url: '/bearer-auth', headers: forwarded(`${APP}?token=t`) })
  await app.inject({ url: '/verify', headers: { ...forwarded(APP), cookie: await session({}, { ttlMs: 60_000 }) } })
  const text = await register.metrics()
  for (const sample of [
    'access_gate_auth_requests_total{route="/verify",code="200"} 3',
    'access_gate_auth_requests_total{route="/verify",code="401"} 1',
    'access_gate_auth_requests_total{route="/auth",code="200"} 1',
    'access_gate_auth_requests_total{route="/bearer-auth",code="401"} 1',
    'access_gate_auth_requests_total{route="none",code="404"} 1',
    'access_gate_auth_reviews_total{kind="access",result="yes"} 2',
    'access_gate_auth_reviews_total{kind="token",result="no"} 1',
    'access_gate_auth_review_seconds_count{kind="access"} 2',
    'access_gate_auth_refreshes_total{result="renewed"} 1',
  ])
    t.ok(text.includes(sample), sample)
})
