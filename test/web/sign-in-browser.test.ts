/**
 * A person's way to a Workspace, with everything real but the Workspace's own pages: Chromium, nginx with the example of the documentation,
 * auth, an issuer, the API server and the extension behind it.
 */
import { t, test } from 'tap'
import type { Page, Response } from 'playwright-core'
import { startOidcIssuer } from '../../hack/oidc-issuer/issuer.ts'
import { clientFor } from '../../hack/sandbox/sandbox.ts'
import { SERVICE_ACCOUNT, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { readAuthOptions, type AuthSettings } from '../../src/auth/options.ts'
import { runAuth, type RunningAuth } from '../../src/auth/role.ts'
import { startChromium } from '../support/chromium.ts'
import { extensionWorld } from '../support/extension-world.ts'
import { logLines } from '../support/log-lines.ts'
import { holdPort, startNginx, WEB_NAME } from '../support/nginx.ts'
import { yamlOf } from '../support/shipped-ground.ts'
import { startWorkspaceUpstream } from '../support/workspace-upstream.ts'

const LOOPBACK = '127.0.0.1'
const CLIENT_ID = 'workspaces'
const HOUR_MS = 3_600_000

const [{ cluster, log: extensionLog }, browser, upstream, held] = await Promise.all([
  extensionWorld(t),
  startChromium(t, [WEB_NAME, `*.${WEB_NAME}`]),
  startWorkspaceUpstream(t),
  holdPort(t),
])
const nginxPort = held.port
const team = await cluster.namespace('team')
const origin = `https://${WEB_NAME}:${nginxPort}`
const at = (workspace: string, rest = ''): string => `${origin}/workspaces/${team}/${workspace}${rest}`

const WORKSPACE_API = 'workspace.jupyter.org/v1alpha1'
const workspace = (name: string, owner: string, strategy = 'web'): object => ({
  apiVersion: WORKSPACE_API,
  kind: 'Workspace',
  metadata: { name, namespace: team, annotations: { 'workspace.jupyter.org/created-by': owner } },
  spec: { displayName: name, ownershipType: 'OwnerOnly', accessType: 'OwnerOnly', accessStrategy: { name: strategy } },
})
const bearerAuthURLTemplate = `${origin}/workspaces/{{ .Workspace.Namespace }}/{{ .Workspace.Name }}/bearer-auth`
const objects = [
  { apiVersion: WORKSPACE_API, kind: 'WorkspaceAccessStrategy', metadata: { name: 'web', namespace: team }, spec: { displayName: 'Web', bearerAuthURLTemplate } },
  workspace('alices', 'alice'),
  workspace('bobs', 'bob'),
  {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'RoleBinding',
    metadata: { name: 'team-connects', namespace: team },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'access-gate-connect-workspaces' },
    subjects: [{ kind: 'Group', apiGroup: 'rbac.authorization.k8s.io', name: 'team' }],
  },
]
await cluster.kubectl(['create', '-f', '-'], { input: yamlOf(objects) })
const conditions = [{ type: 'Available', status: 'True', reason: 'Ready', message: 'it runs', lastTransitionTime: '2026-01-01T00:00:00Z' }]
const becomeAvailable = (name: string): Promise<unknown> =>
  cluster.kubectl(['patch', 'workspace', name, '-n', team, '--subresource=status', '--type=merge', '-p', JSON.stringify({ status: { conditions } })])
await becomeAvailable('alices')

const users = ['alice', 'bob', 'mallory'].map((name) => ({ name, sub: `uid-${name}`, groups: name === 'mallory' ? [] : ['team'] }))
const issuer = await startOidcIssuer({ clientId: CLIENT_ID, clientSecret: 'of-the-client', users, redirectUris: [`${origin}/callback`] })
t.teardown(() => issuer.stop())

const kube = await clientFor(cluster, SERVICE_ACCOUNT.auth)
t.teardown(() => kube.close())
const log = logLines()
/** Time of auth alone: the issuer's tokens must not have ended by then, so it begins in the past. */
const time = { ahead: -2 * HOUR_MS }
const settings = {
  PORT: '0',
  METRICS_ADDR: `${LOOPBACK}:0`,
  PROBE_ADDR: `${LOOPBACK}:0`,
  NAMESPACE: SYSTEM_NAMESPACE,
  SHUTDOWN_TIMEOUT: '1s',
  OIDC_ISSUER_URL: issuer.url,
  OIDC_CLIENT_ID: CLIENT_ID,
  OIDC_CLIENT_SECRET: 'of-the-client',
  OIDC_ALLOW_HTTP_LOOPBACK: 'true',
  ENABLE_LOGIN: 'true',
  ENABLE_BEARER_URL_AUTH: 'true',
}
const startAuth = async (more: AuthSettings = {}): Promise<RunningAuth> => {
  const running = await runAuth({ ...readAuthOptions({ ...settings, ...more }), host: LOOPBACK }, kube, { logger: log.log, clock: { now: () => Date.now() + time.ahead } })
  t.teardown(() => running.stop())
  await running.ready
  return running
}
const auth = await startAuth()
const nginx = await startNginx(t, { held, authPorts: [auth.port], upstreamPort: upstream.port })

/** What a person does on the issuer's page. */
const signInAs = async (page: Page, user: string): Promise<Response> => {
  const pressed = page.getByRole('button', { name: user })
  const [answer] = await Promise.all([page.waitForResponse((response) => response.url().startsWith(origin) && response.status() !== 303), pressed.click()])
  await page.waitForLoadState()
  return answer
}
const heading = (page: Page): Promise<string> => page.getByRole('heading').innerText()
const cookiesOf = async (page: Page): Promise<string[]> => (await page.context().cookies()).map(({ name, path }) => `${name} ${path}`).toSorted()
const reviews = (): string[] => log.messages().filter((line) => /signed in|refused/.test(line))

const alice = await browser.person()
const LAB = '/lab/tree/my%20notes?reset&x=a%20b&y=1%2F2'

await test('a first visit goes by the issuer to the page that was asked for, its query too', async (subtest) => {
  await alice.goto(at('alices', LAB))
  subtest.equal(new URL(alice.url()).origin, issuer.url)
  subtest.equal(await heading(alice), 'Local sign-in')
  subtest.equal((await signInAs(alice, 'alice')).status(), 200)
  subtest.equal(alice.url(), at('alices', LAB))
  subtest.equal(await heading(alice), at('alices', LAB).slice(origin.length))
  subtest.strictSame(await cookiesOf(alice), [`workspace_auth /workspaces/${team}/alices`], 'the session alone is left')
  subtest.match(await alice.context().cookies(), [{ httpOnly: true, secure: true, sameSite: 'Lax', domain: WEB_NAME }])
  subtest.strictSame(reviews(), ['info signed in'])
  subtest.equal(await alice.evaluate('document.cookie'), '', 'no script reads it')
})

await test('further pages ask nobody, and the Workspace never sees the session', async (subtest) => {
  await alice.goto(at('alices', '/lab'))
  subtest.equal(await alice.evaluate(`fetch('api/contents', { method: 'POST', body: '{}' }).then(({ status }) => status)`), 200)
  const opened = await alice.evaluate(`new Promise((resolve) => {
    const socket = new WebSocket('wss://${WEB_NAME}:${nginxPort}/workspaces/${team}/alices/api/kernels')
    socket.onclose = socket.onerror = ({ type }) => resolve(type)
  })`)
  subtest.ok(['error', 'close'].includes(String(opened)), 'what stands for the Workspace speaks no WebSocket')
  subtest.ok(upstream.arrived.some(({ url, headers }) => url.endsWith('/api/kernels') && headers.upgrade === 'websocket'), 'and was asked for one')
  subtest.strictSame(upstream.arrived.filter(({ headers }) => headers.cookie !== undefined), [])
  subtest.strictSame(reviews(), ['info signed in'])
})

await test('the Workspace of another one is refused, whoever signs in', async (subtest) => {
  upstream.news()
  await alice.goto(at('bobs', '/lab'))
  const answer = await signInAs(alice, 'alice')
  subtest.equal(answer.status(), 403)
  subtest.equal(await alice.locator('body').innerText(), 'Access denied: you are not authorized to connect to this workspace')
  subtest.strictSame(await cookiesOf(alice), [`workspace_auth /workspaces/${team}/alices`], 'she is still in her own')
  await alice.goto(at('alices'))
  subtest.equal(await heading(alice), at('alices').slice(origin.length))

  const mallory = await browser.person()
  await mallory.goto(at('alices'))
  subtest.equal((await signInAs(mallory, 'mallory')).status(), 403, 'who has no right at all')
  await mallory.goto(at('absent'))
  subtest.equal((await signInAs(mallory, 'alice')).status(), 403, 'a Workspace that is not there is refused in the same words')
  subtest.equal(await mallory.locator('body').innerText(), 'Access denied: you are not authorized to connect to this workspace')
  await mallory.goto(at('alices'))
  await mallory.getByRole('button', { name: 'Cancel' }).click()
  await mallory.waitForURL(/\/callback/)
  subtest.equal(await mallory.locator('body').innerText(), 'The identity provider refused the sign-in')
  subtest.strictSame(upstream.news().map(({ url }) => url), [`/workspaces/${team}/alices`])
  await mallory.context().close()
})

await test('who comes back after the session ended signs in again, and the page is the same', async (subtest) => {
  time.ahead = 0
  await alice.goto(at('alices', LAB))
  subtest.equal(new URL(alice.url()).origin, issuer.url)
  subtest.equal((await signInAs(alice, 'alice')).status(), 200)
  subtest.equal(alice.url(), at('alices', LAB))
})

const connect = (user: string, name: string) =>
  cluster.kubectl(['create', '-f', '-', '-o', 'jsonpath={.status.workspaceConnectionUrl}', `--as=${user}`, '--as-group=team'], {
    input: yamlOf([{ apiVersion: 'connection.workspace.jupyter.org/v1alpha1', kind: 'WorkspaceConnection', metadata: { namespace: team }, spec: { workspaceName: name, workspaceConnectionType: 'web-ui' } }]),
    allowFailure: true,
  })

const addressOf = async (name: string): Promise<string> => (await connect('alice', name)).stdout

await test('the address of a WorkspaceConnection opens the Workspace once, and is gone from the address bar', async (subtest) => {
  const { stdout: address, stderr } = await connect('alice', 'alices')
  subtest.equal(stderr, '')
  const token = new URL(address).searchParams.get('token') ?? ''
  subtest.equal(address, `${at('alices', '/bearer-auth')}?token=${token}`)
  const friend = await browser.person()
  upstream.news()
  subtest.equal((await friend.goto(address))?.status(), 200)
  subtest.equal(friend.url(), at('alices'))
  subtest.equal(await heading(friend), at('alices').slice(origin.length))
  subtest.strictSame(await friend.evaluate('[location.href, document.referrer, history.length]'), [at('alices'), '', 2], 'nor is it in the history, or told to a page')
  subtest.notMatch(JSON.stringify(upstream.news()), token)
  await friend.goto(at('alices', '/lab'))
  subtest.equal(await heading(friend), at('alices', '/lab').slice(origin.length))
  subtest.equal((await friend.goto(at('bobs')))?.url().startsWith(issuer.url), true, 'and opens nothing else')

  const second = await browser.person()
  subtest.equal((await second.goto(address))?.status(), 401)
  subtest.equal(await second.locator('body').innerText(), 'Invalid token')
  subtest.strictSame(await cookiesOf(second), [])
  subtest.match(await connect('bob', 'alices'), { code: 1, stderr: /User is not the workspace owner/ }, 'nobody gets one for the Workspace of another one')
})

await test('with a host for each Workspace the address leads to its host, and the session is for that host alone', async (subtest) => {
  const place = await holdPort(subtest)
  const { port } = await startAuth({ ROUTING_MODE: 'subdomain', COOKIE_NAME: '__Host-workspace_auth' })
  await startNginx(subtest, { held: place, example: 'subdomain', http2: true, authPorts: [port], upstreamPort: upstream.port })
  const template = `https://{{ b32encode .Workspace.Namespace }}-{{ .Workspace.Name }}.${WEB_NAME}:${place.port}/bearer-auth`
  const strategy = { apiVersion: WORKSPACE_API, kind: 'WorkspaceAccessStrategy', metadata: { name: 'hosts', namespace: team }, spec: { displayName: 'Hosts', bearerAuthURLTemplate: template } }
  await cluster.kubectl(['create', '-f', '-'], { input: yamlOf([strategy, ...['first', 'second'].map((name) => workspace(name, 'alice', 'hosts'))]) })
  await Promise.all(['first', 'second'].map(becomeAvailable))
  const addresses = await Promise.all(['first', 'second'].map(async (name) => new URL(await addressOf(name))))
  const [first, second] = addresses
  const person = await browser.person()
  upstream.news()
  for (const address of addresses) {
    subtest.equal((await person.goto(address.href))?.status(), 200)
    subtest.equal(person.url(), `${address.origin}/`)
  }
  subtest.strictSame(upstream.news().filter(({ url }) => url === '/').map(({ headers }) => [headers.host, headers.cookie]), addresses.map(({ host }) => [host, undefined]))
  const cookies = await person.context().cookies()
  subtest.match(cookies.map(({ name, domain, path }) => [name, domain, path]), addresses.map(({ hostname }) => ['__Host-workspace_auth', hostname, '/']))
  await person.goto(`${first?.origin}/lab`)
  subtest.equal(await heading(person), '/lab')
  const crossed = new URL(await addressOf('second'))
  crossed.host = first?.host ?? ''
  subtest.equal((await person.goto(crossed.href))?.status(), 403, 'the address of one at the host of the other')
  subtest.equal(await person.locator('body').innerText(), 'Token domain mismatch')
  subtest.not(first?.host, second?.host)
})

await test('nobody logged a secret, and nothing broke', async (subtest) => {
  subtest.notMatch(JSON.stringify([log.lines, extensionLog.lines, await nginx.accessLog()]), /eyJ|workspace_auth=|code=|of-the-client/)
  subtest.strictSame(log.messages().filter((line) => line.startsWith('error')), [])
  subtest.notMatch(await nginx.errorLog(), /\[(?:error|crit|alert|emerg)\]/)
})
