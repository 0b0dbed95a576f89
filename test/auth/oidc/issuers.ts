/** Issuers for tests: the sandbox's own, and one that says whatever a test wants. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { startOidcIssuer, type OidcIssuer, type OidcIssuerOptions } from '../../../hack/oidc-issuer/issuer.ts'
import { createIdTokens, type DiscoveredIdTokens, type IdTokenOptions } from '../../../src/auth/oidc/id-tokens.ts'
import { systemClock, systemTimers } from '../../../src/kube/timers.ts'
import { logLines, type LogLines } from '../../support/log-lines.ts'

export interface Teardown {
  teardown(end: () => void | Promise<void>): void
}

export const CLIENT_ID = 'gate'

export const USERS = [
  { name: 'alice', sub: 'sub-alice', groups: ['team-a', 'team-b'] },
  { name: 'bob', sub: 'sub-bob', groups: [] },
]

export const issuerFor = async (t: Teardown, more: Partial<OidcIssuerOptions> = {}): Promise<OidcIssuer> => {
  const issuer = await startOidcIssuer({ users: USERS, clientId: CLIENT_ID, redirectUris: ['https://jupyter.test/callback'], ...more })
  let stopped: Promise<void> | undefined
  const stop = (): Promise<void> => (stopped ??= issuer.stop())
  t.teardown(stop)
  return { ...issuer, stop }
}

export interface Tokens {
  idTokens: DiscoveredIdTokens
  log: LogLines
}

export const tokensOf = async (t: Teardown, issuerUrl: string, more: Partial<IdTokenOptions> & { now?: () => number } = {}): Promise<Tokens> => {
  const { now, ...options } = more
  const log = logLines()
  const end = new AbortController()
  t.teardown(() => end.abort())
  const settings = { issuerUrl, clientId: CLIENT_ID, usernamePrefix: '', groupsPrefix: '-', initTimeoutMs: 10_000, addAuthenticatedGroup: false, allowHttpLoopback: true }
  const clock = now === undefined ? systemClock : { now }
  const idTokens = await createIdTokens({ ...settings, ...options }, { clock, timers: systemTimers, logger: log.log, signal: end.signal })
  return { idTokens, log }
}

export interface FreeServer {
  url: string
  /** Paths in the order in which they were asked for. */
  readonly asked: string[]
  answer: (request: IncomingMessage, response: ServerResponse) => void
}

/** A server that answers as the test says at that moment. */
export const freeServer = async (t: Teardown): Promise<FreeServer> => {
  const asked: string[] = []
  const state: FreeServer = { url: '', asked, answer: (_request, response) => response.writeHead(404).end() }
  const server = createServer((request, response) => {
    asked.push(request.url ?? '')
    state.answer(request, response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(async () => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server has no port')
  state.url = `http://127.0.0.1:${address.port}`
  return state
}

export const sendJson = (response: ServerResponse, body: unknown): void => {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

/** What a sound issuer at the server would say of itself. */
export const metadataAt = (url: string): Record<string, unknown> => ({
  issuer: url,
  authorization_endpoint: `${url}/authorize`,
  token_endpoint: `${url}/token`,
  jwks_uri: `${url}/jwks`,
  response_types_supported: ['code'],
  subject_types_supported: ['public'],
  id_token_signing_alg_values_supported: ['RS256'],
})
