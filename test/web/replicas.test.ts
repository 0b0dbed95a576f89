/**
 * Two replicas of auth behind one nginx, as programs of their own, with the keys in a Secret of a real API server: no visitor notices which
 * of them answers, that keys were rotated, or that one of them ends.
 */
import https from 'node:https'
import { connect, createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { t, test } from 'tap'
import { startOidcIssuer } from '../../hack/oidc-issuer/issuer.ts'
import { atIssuer } from '../auth/oidc/browser.ts'
import { call, type Reply } from '../extension/certificates.ts'
import { startAuthReplicas, type AuthReplica } from '../support/auth-replicas.ts'
import { untilTrue } from '../support/eventually.ts'
import { extensionWorld } from '../support/extension-world.ts'
import { listenOnLoopback } from '../support/loopback-server.ts'
import { holdPort, startNginx, WEB_NAME, type HeldPort } from '../support/nginx.ts'
import { cookieOf } from '../support/web-world.ts'
import { createObjects, createWorkspaces, mayConnect } from '../support/workspace-objects.ts'
import { startWorkspaceUpstream } from '../support/workspace-upstream.ts'

const CLIENT_ID = 'workspaces'
/** Milliseconds; long enough that sessions are made with the old key after a rotation, too. */
const NEW_KEY_USE_DELAY = 2_000

const [{ cluster, log: extensionLog }, upstream, ...held] = await Promise.all([extensionWorld(t), startWorkspaceUpstream(t), holdPort(t), holdPort(t)])
const team = await cluster.namespace('team')
await createWorkspaces(cluster, team, { own: {}, other: {} })
await createObjects(cluster, [mayConnect(team, 'team-connects', [{ kind: 'Group', name: 'team' }])])
const OWN = `/workspaces/${team}/own`
const hostOf = ({ port }: Pick<HeldPort, 'port'>): string => `${WEB_NAME}:${port}`
const [ofReplicas, ofService] = held
const host = hostOf(ofReplicas)
const issuer = await startOidcIssuer({ clientId: CLIENT_ID, users: [{ name: 'alice', sub: 'uid-alice', groups: ['team'] }], redirectUris: held.map((port) => `https://${hostOf(port)}/callback`) })
t.teardown(() => issuer.stop())
const signIn = [`--oidc-issuer-url=${issuer.url}`, `--oidc-client-id=${CLIENT_ID}`, '--oidc-allow-http-loopback=true', '--enable-login=true']
const { replicas, rotateKeys } = await startAuthReplicas(t, cluster, [...signIn, `--new-key-use-delay=${NEW_KEY_USE_DELAY}ms`, '--shutdown-timeout=3s'])
const [one, two] = replicas
const nginx = await startNginx(t, { held: ofReplicas, authPorts: replicas.map(({ port }) => port), upstreamPort: upstream.port })

type Visit = (path: string, headers?: Record<string, string>, more?: { method?: string; body?: string; agent?: https.Agent }) => Promise<Reply>

const visitorOf = (front: Pick<HeldPort, 'port'>): Visit => (path, headers = {}, more = {}) => call({ port: front.port, path, headers: { host: hostOf(front), ...headers }, ...more })
const visit = visitorOf(ofReplicas)

/** Past nginx, as nginx would ask it. */
const ask = (replica: AuthReplica, route: string, headers: Record<string, string>): Promise<Response> =>
  fetch(`http://127.0.0.1:${replica.port}${route}`, { headers: { 'x-forwarded-host': host, 'x-forwarded-proto': 'https', 'x-forwarded-uri': OWN, ...headers } })

const sessionOf = async (replica: AuthReplica): Promise<string> => {
  const reply = await ask(replica, '/auth', { authorization: `Bearer ${await issuer.idToken('alice')}` })
  const cookie = cookieOf({ headers: { 'set-cookie': reply.headers.getSetCookie() } })
  if (reply.status !== 200 || cookie === undefined) throw new Error(`no session: ${reply.status} ${await reply.text()}`)
  return cookie
}

const keyOf = (cookie: string): string => {
  const { kid } = JSON.parse(Buffer.from(cookie.split('=')[1]?.split('.')[0] ?? '', 'base64url').toString()) as { kid: string }
  return kid
}

/** Of a sign-in through nginx, whichever replica takes which step. */
const signInThrough = async (goTo: Visit = visit): Promise<string> => {
  const login = await goTo(`/login?rd=${OWN}`)
  const pending = [login.headers['set-cookie'] ?? []].flat()[0]?.split(';')[0] ?? ''
  const back = await goTo(await atIssuer(String(login.headers['location']), { user: 'alice' }), { cookie: pending })
  const cookie = cookieOf(back)
  if (back.code !== 303 || cookie === undefined) throw new Error(`no session: ${login.code}, ${back.code} ${back.body}`)
  return cookie
}

await test('they agree on the first key, though the Secret was empty when both came', async (subtest) => {
  const cookies = [await sessionOf(one), await sessionOf(two)]
  subtest.equal(new Set(cookies.map(keyOf)).size, 1)
  for (const cookie of cookies) for (const replica of replicas) subtest.equal((await ask(replica, '/verify', { cookie })).status, 200)
})

await test('a sign-in may begin at one and end at the other, and both know the session', async (subtest) => {
  for (let index = 0; index < 4; index += 1) {
    const cookie = await signInThrough()
    for (let page = 0; page < 3; page += 1) subtest.equal((await visit(`${OWN}/${page}`, { cookie })).code, 200)
    subtest.equal((await visit(`/workspaces/${team}/other`, { cookie })).code, 403)
  }
  for (const replica of replicas) for (const [route, code] of [['/verify', 200], ['/verify', 403], ['/login', 303], ['/callback', 303]] as const)
    subtest.ok((await replica.answered(route, code)) > 0, `${replica === one ? 'one' : 'two'} answered ${route} with ${code}`)
})

await test('during a rotation, straight after it, and when the new key comes into use, each session is good at both', async (subtest) => {
  const before = await sessionOf(one)
  const rotated = rotateKeys(['--secret-name=authmiddleware-secrets', '--token-ttl=1h', '--rotation-interval=15m'])
  const seen = new Set([keyOf(before)])
  const refused: string[] = []
  const isNew = (cookie: string): boolean => keyOf(cookie) !== keyOf(before)
  const inUse = untilTrue('both sign with the new key', async () => {
    const cookies = await Promise.all(replicas.map(sessionOf))
    for (const [index, cookie] of cookies.entries()) {
      seen.add(keyOf(cookie))
      for (const replica of replicas.toReversed()) {
        const { status } = await ask(replica, '/verify', { cookie })
        if (status !== 200) refused.push(`${status} for the session of ${index}, key ${keyOf(cookie)}`)
      }
    }
    return cookies.every(isNew)
  })
  const [told] = await Promise.all([rotated, inUse])
  subtest.match(told, /added \d+, removed none; keys: 2/)
  subtest.strictSame(refused, [])
  subtest.equal(seen.size, 2, 'there is one new key')
  for (const replica of replicas) subtest.equal((await ask(replica, '/verify', { cookie: before })).status, 200, 'and those from before are good')
})

await test('a replica that stood still while the keys were rotated knows the new one before it is used', async (subtest) => {
  const before = await sessionOf(one)
  process.kill(two.pid(), 'SIGSTOP')
  try {
    await rotateKeys(['--secret-name=authmiddleware-secrets', '--token-ttl=1h', '--rotation-interval=15m'])
  } finally {
    process.kill(two.pid(), 'SIGCONT')
  }
  const codes = new Set<number>()
  await untilTrue('the other signs with the new key', async () => {
    const cookie = await sessionOf(one)
    codes.add((await ask(two, '/verify', { cookie })).status)
    return keyOf(cookie) !== keyOf(before)
  })
  subtest.strictSame([...codes], [200])
})

/** As many as visit at any time. */
const VISITORS = 6
/** Between two visits of the same one, milliseconds: programs start while they come. */
const PAUSE = 5

interface Crowd {
  /** Answered so far. */
  readonly answered: number
  /** What was not as it should be. */
  readonly wrong: readonly string[]
  leave(): Promise<void>
}

/** Visitors who are in and go from page to page, one who sends forms, and one who signs in again and again. */
const crowd = (cookie: string, front: Pick<HeldPort, 'port'> = ofReplicas): Crowd => {
  const goTo = visitorOf(front)
  const agent = new https.Agent({ keepAlive: true, maxSockets: VISITORS })
  const wrong: string[] = []
  let answered = 0
  const over = new AbortController()
  const goOn = async (what: string, step: () => Promise<number>): Promise<void> => {
    while (!over.signal.aborted) {
      const code = await step().catch((error: unknown) => String(error))
      answered += 1
      if (code !== 200) wrong.push(`${what}: ${code}`)
      await delay(PAUSE)
    }
  }
  const visitors = Array.from({ length: VISITORS }, () => goOn('a page', async () => (await goTo(`${OWN}/page`, { cookie }, { agent })).code))
  const form = goOn('a form', async () => (await goTo(`${OWN}/form`, { cookie, origin: `https://${hostOf(front)}` }, { agent, method: 'POST', body: 'a=1' })).code)
  const newcomer = goOn('a sign-in', async () => (await goTo(OWN, { cookie: await signInThrough(goTo) })).code)
  const all = Promise.all([...visitors, form, newcomer])
  return {
    get answered() {
      return answered
    },
    wrong,
    leave: async () => {
      over.abort()
      await all
      agent.destroy()
    },
  }
}

const untilAnswered = async (visitors: Crowd, more: number): Promise<void> => {
  const from = visitors.answered
  await untilTrue(`${more} visits more`, () => visitors.answered >= from + more)
}

/** Visits between two things that happen. */
const SOME = 100

await test('no visitor is turned away while both are restarted, one after the other', async (subtest) => {
  const visitors = crowd(await signInThrough())
  await untilAnswered(visitors, SOME)
  for (const replica of replicas) {
    await replica.end()
    await untilAnswered(visitors, SOME)
    await replica.restart()
    await untilAnswered(visitors, SOME)
  }
  await visitors.leave()
  subtest.strictSame([...new Set(visitors.wrong)], [])
  subtest.comment(`${visitors.answered} visits, ${visitors.wrong.length} wrong`)
  subtest.strictSame(await Promise.all(replicas.map(async (replica) => /auth stopped/.test(await replica.log()))), [true, true], 'both ended in good order')
})

/** How long a cluster takes to lead nobody to a Pod any more that was told to end, milliseconds; shorter than auth serves on. */
const LEFT_OUT_AFTER = 300

await test('nor where nginx knows one address alone, as that of a Service', async (subtest) => {
  const serving = new Set<AuthReplica>(replicas)
  let turn = 0
  // What kube-proxy does: who is asked is settled for each connection when it begins.
  const service = createServer((socket) => {
    const ready = [...serving]
    turn += 1
    const onward = connect(ready[turn % ready.length]?.port ?? 0, '127.0.0.1')
    socket.on('error', () => onward.destroy()).on('close', () => onward.destroy())
    onward.on('error', () => socket.destroy()).on('close', () => socket.destroy())
    socket.pipe(onward).pipe(socket)
  })
  const port = await listenOnLoopback(subtest, service)
  await startNginx(subtest, { held: ofService, authPorts: [port], upstreamPort: upstream.port })
  const visitors = crowd(await signInThrough(visitorOf(ofService)), ofService)
  await untilAnswered(visitors, SOME)
  const ended = two.end()
  await delay(LEFT_OUT_AFTER)
  serving.delete(two)
  await ended
  await untilAnswered(visitors, SOME)
  await two.restart()
  serving.add(two)
  await untilAnswered(visitors, SOME)
  await visitors.leave()
  subtest.strictSame([...new Set(visitors.wrong)], [])
  subtest.comment(`${visitors.answered} visits`)
})

await test('nor while one is killed in the middle of its answers', async (subtest) => {
  const cookie = await signInThrough()
  const visitors = crowd(cookie)
  await untilAnswered(visitors, SOME)
  await one.kill()
  await untilAnswered(visitors, SOME)
  await visitors.leave()
  // A sign-in is told to begin anew when its answer is lost: the issuer takes a code once.
  subtest.strictSame(visitors.wrong.filter((text) => !text.startsWith('a sign-in')), [])
  subtest.ok(visitors.wrong.length <= 1, visitors.wrong.join())
})

await test('while both are away nobody is let in; with the first that is back, sessions go on', async (subtest) => {
  const cookie = await signInThrough()
  // The other one was killed.
  await two.end()
  upstream.news()
  subtest.equal((await visit(OWN, { cookie })).code, 500)
  subtest.strictSame(upstream.news(), [])
  await two.restart()
  await untilTrue('a session counts again', async () => (await visit(OWN, { cookie })).code === 200)
})

await test('nobody logged a secret', async (subtest) => {
  const logs = await Promise.all([...replicas.map((replica) => replica.log()), nginx.accessLog()])
  subtest.notMatch(JSON.stringify([logs, extensionLog.lines]), /eyJ|workspace_auth=|code=/)
})
