/** nginx in front of auth and Workspaces, all of it over real ports; who may connect to what is a test's word, and Kubernetes is in memory. */
import { connect, type TLSSocket } from 'node:tls'
import type { Test } from 'tap'
import { startOidcIssuer, type OidcIssuer } from '../../hack/oidc-issuer/issuer.ts'
import { readAuthOptions, type AuthSettings } from '../../src/auth/options.ts'
import { runAuth, type RunningAuth } from '../../src/auth/role.ts'
import type { ConnectionReviewer, TokenReviewAnswer } from '../../src/kube/ports.ts'
import { SECRETS } from '../../src/kube/resources.ts'
import { systemClock } from '../../src/kube/timers.ts'
import { call, type Call, type Reply } from '../extension/certificates.ts'
import { logLines, type LogLines } from './log-lines.ts'
import { memoryKube } from './memory-kube.ts'
import { holdPort, startNginx, WEB_NAME, type NginxOptions, type NginxPlaces, type RunningNginx } from './nginx.ts'
import { startWorkspaceUpstream, type WorkspaceUpstream } from './workspace-upstream.ts'

export const LOOPBACK = '127.0.0.1'
const SECRET = { name: 'authmiddleware-secrets', namespace: 'connectors-system' }
const CLIENT_ID = 'workspaces'

/** What the extension API says to a token of a connection: the token is `<user> <path of the workspace> <host, where it is not the world's>`, encoded. */
export const linkToken = (user: string, path: string, host = ''): string => encodeURIComponent(`${user} ${path} ${host}`.trim())

export const allowed: ConnectionReviewer['mayConnect'] = async () => ({ allowed: true, notFound: false, reason: 'a test says so' })

export interface Visit extends Partial<Omit<Call, 'port' | 'path'>> {
  cookie?: string
}

/** The request that makes a connection a WebSocket. */
export const upgradeTo = (host: string, path: string, headers: Readonly<Record<string, string>>): string =>
  [`GET ${path} HTTP/1.1`, `Host: ${host}`, 'Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', ...Object.entries(headers).map((one) => one.join(': ')), '', ''].join('\r\n')

export interface WebWorldOptions extends NginxOptions {
  /** Hosts that the issuer knows, without the port; the first is the world's. Default: that of the example. */
  names?: readonly [string, ...string[]]
  /** Another proxy in the place of nginx. */
  startProxy?: (t: Pick<Test, 'teardown'>, places: NginxPlaces) => Promise<RunningNginx>
}

export interface WebWorld {
  /** With the port, as browsers send it. */
  host: string
  nginxPort: number
  nginx: RunningNginx
  upstream: WorkspaceUpstream
  issuer: OidcIssuer
  log: LogLines
  /** Which users were asked about, in order. */
  asked: { user: string; workspace: string }[]
  answerAccess: (by: ConnectionReviewer['mayConnect']) => void
  auth(): RunningAuth
  /** With the same keys, at the same place. */
  restartAuth(): Promise<void>
  /** One request as a browser makes it. */
  visit: (path: string, visit?: Visit) => Promise<Reply>
  /** Bytes as they are. @returns the status line's code, 0 for none; and what follows */
  wire(text: string): Promise<{ code: number; text: string }>
  /** A connection that stays open. */
  socket(): TLSSocket
  /** The session cookie that a connection's address gives. @param at default: the world's host */
  session(user: string, path: string, at?: string): Promise<string>
}

/** What a browser would send back of one Set-Cookie. */
export const cookieOf = (reply: Pick<Reply, 'headers'>, name = 'workspace_auth'): string | undefined =>
  [reply.headers['set-cookie'] ?? []]
    .flat()
    .find((line) => line.startsWith(`${name}=`))
    ?.split(';')[0]

export const webWorld = async (t: Pick<Test, 'teardown'>, settings: AuthSettings = {}, { names = [WEB_NAME], startProxy = startNginx, ...proxy }: WebWorldOptions = {}): Promise<WebWorld> => {
  const kube = memoryKube()
  kube.put(SECRETS, { metadata: { ...SECRET, uid: 'u1' }, type: 'Opaque' })
  const log = logLines()
  const held = await holdPort(t)
  const nginxPort = held.port
  const host = `${names[0]}:${nginxPort}`
  const upstream = await startWorkspaceUpstream(t)
  const users = ['alice', 'bob'].map((name) => ({ name, sub: `uid-${name}`, groups: ['team-a'] }))
  const issuer = await startOidcIssuer({ clientId: CLIENT_ID, users, redirectUris: names.map((name) => `https://${name}:${nginxPort}/callback`) })
  t.teardown(() => issuer.stop())

  const asked: WebWorld['asked'] = []
  let access = allowed
  const ports = Object.assign(kube, {
    mayConnect: async (workspace, identity) => {
      asked.push({ user: identity.user, workspace: `${workspace.namespace}/${workspace.name}` })
      return access(workspace, identity)
    },
    reviewToken: async (_namespace, token): Promise<TokenReviewAnswer> => {
      const [user = '', path = '', domain = host] = token.split(' ')
      return user === '' || path === '' ? { authenticated: false, error: 'unknown' } : { authenticated: true, user: { user, groups: ['team-a'] }, path, domain }
    },
  } satisfies ConnectionReviewer)

  const places = { METRICS_ADDR: `${LOOPBACK}:0`, PROBE_ADDR: `${LOOPBACK}:0`, NAMESPACE: SECRET.namespace, SHUTDOWN_TIMEOUT: '1s' }
  const signIn = { OIDC_ISSUER_URL: issuer.url, OIDC_CLIENT_ID: CLIENT_ID, OIDC_ALLOW_HTTP_LOOPBACK: 'true', ENABLE_LOGIN: 'true', ENABLE_BEARER_URL_AUTH: 'true' }
  const startAuth = async (port: number): Promise<RunningAuth> => {
    const running = await runAuth({ ...readAuthOptions({ ...places, PORT: String(port), ...signIn, ...settings }), host: LOOPBACK }, ports, { logger: log.log, clock: systemClock })
    t.teardown(() => running.stop())
    await running.ready
    return running
  }
  let auth = await startAuth(0)
  const nginx = await startProxy(t, { ...proxy, held, authPorts: [auth.port], upstreamPort: upstream.port })

  const visit: WebWorld['visit'] = (path, { cookie, headers = {}, ...more } = {}) =>
    call({ port: nginxPort, path, ...more, headers: { host, ...(cookie === undefined ? {} : { cookie }), ...headers } })
  const socket = (): TLSSocket => connect({ host: LOOPBACK, port: nginxPort, servername: WEB_NAME, rejectUnauthorized: false })

  return {
    host,
    nginxPort,
    nginx,
    upstream,
    issuer,
    log,
    asked,
    answerAccess: (by) => (access = by),
    auth: () => auth,
    restartAuth: async () => {
      auth = await startAuth(auth.port)
    },
    visit,
    socket,
    wire: (text) =>
      new Promise((resolve, reject) => {
        let heard = ''
        const end = socket()
        end.setEncoding('latin1').on('data', (chunk: string) => (heard += chunk))
        end.on('error', reject).on('close', () => resolve({ code: Number(/^HTTP\/1\.1 (\d{3})/.exec(heard)?.[1] ?? 0), text: heard }))
        end.write(Buffer.from(text, 'latin1'))
      }),
    session: async (user, path, at = host) => {
      const reply = await visit(`${path === '/' ? '' : path}/bearer-auth?token=${linkToken(user, path, at)}`, { headers: { host: at } })
      const cookie = cookieOf(reply, settings.COOKIE_NAME)
      if (reply.code !== 303 || cookie === undefined) throw new Error(`no session: ${reply.code} ${reply.body}`)
      return cookie
    },
  }
}
