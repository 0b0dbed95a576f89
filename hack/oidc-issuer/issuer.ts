/** A small OpenID provider for the sandbox and tests: discovery, keys that rotate, the code flow with PKCE. On loopback only, without passwords. */
import { randomUUID } from 'node:crypto'
import fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import type { JWTPayload } from 'jose'
import { listen } from '../../src/listen.ts'
import { pickPage, problemPage, readAuthorization, type AuthorizeReading } from './authorize.ts'
import { isClient, type Client } from './client.ts'
import { createCodes } from './codes.ts'
import { createKeySet, type Algorithm } from './keys.ts'

export interface IssuerUser {
  /** preferred_username. */
  name: string
  sub: string
  /** Empty: the token has no such claim. */
  groups: string[]
}

export interface OidcIssuerOptions extends Client {
  /** 0 or left out: a free one. */
  port?: number
  users: readonly IssuerUser[]
  /** Exactly these. */
  redirectUris: readonly string[]
  /** Default RS256. */
  algorithm?: Algorithm
  /** PEM; with it the issuer is at https. */
  tls?: { cert: string; key: string }
}

export interface OidcIssuer {
  /** Its name, and where it is. */
  url: string
  stop(): Promise<void>
  /** A token as /token would give it. @param overrides claims that are put in place of its own; undefined leaves one out */
  idToken(user: string, overrides?: object): Promise<string>
  /** A new key signs from now on. @param options.keepPrevious false takes the one before it away at once. Default true */
  rotateKeys(options?: { keepPrevious: boolean }): Promise<void>
}

const HOST = '127.0.0.1'
const TOKEN_SECONDS = 300
const PAGE_TYPE = 'text/html; charset=utf-8'

const queryIn = (url: string): URLSearchParams => new URLSearchParams(url.split('?').slice(1).join('?'))

const createApp = (tls: OidcIssuerOptions['tls']): FastifyInstance => {
  const common = { logger: false, bodyLimit: 65_536, forceCloseConnections: true } as const
  // Both kinds of server take the same routes; which it is does not matter beyond here.
  const app: FastifyInstance = fastify({ ...common, ...(tls === undefined ? {} : { https: tls }) })
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) => done(null, new URLSearchParams(String(body))))
  app.addHook('onRequest', (_request, reply, done) => {
    reply.header('cache-control', 'no-store').header('x-content-type-options', 'nosniff').header('referrer-policy', 'no-referrer')
    done()
  })
  return app
}

/** @throws CodedError CONFIG_INVALID when the port cannot be listened on */
export const startOidcIssuer = async (options: OidcIssuerOptions): Promise<OidcIssuer> => {
  const { users, tls, clientId, clientSecret, algorithm = 'RS256' } = options
  const keySet = await createKeySet(algorithm)
  const codes = createCodes(() => Date.now())
  const app = createApp(tls)
  let url = ''

  const claimsOf = (name: string): JWTPayload => {
    const user = users.find((one) => one.name === name)
    if (user === undefined) throw new Error(`the issuer knows no user ${name}`)
    const now = Math.floor(Date.now() / 1000)
    const groups = user.groups.length === 0 ? {} : { groups: user.groups }
    return { iss: url, sub: user.sub, aud: clientId, iat: now, exp: now + TOKEN_SECONDS, preferred_username: user.name, ...groups }
  }

  const sendBack = (reply: FastifyReply, redirectUri: string, parameters: Readonly<Record<string, string | undefined>>): FastifyReply => {
    const to = new URL(redirectUri)
    for (const [name, value] of Object.entries({ ...parameters, iss: url })) if (value !== undefined) to.searchParams.set(name, value)
    return reply.code(303).header('location', to.href).send()
  }

  const refuse = (reply: FastifyReply, reading: Exclude<AuthorizeReading, { kind: 'good' }>): FastifyReply =>
    reading.kind === 'page'
      ? reply.code(400).type(PAGE_TYPE).send(problemPage(reading.problem))
      : sendBack(reply, reading.redirectUri, { error: reading.error, error_description: reading.description, state: reading.state })

  app.get('/.well-known/openid-configuration', (_request, reply) =>
    reply.send({
      issuer: url,
      authorization_endpoint: `${url}/authorize`,
      token_endpoint: `${url}/token`,
      jwks_uri: `${url}/jwks`,
      response_types_supported: ['code'],
      grant_types_supported: ['authorization_code'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: [algorithm],
      scopes_supported: ['openid', 'profile', 'groups'],
      claims_supported: ['sub', 'preferred_username', 'groups'],
      code_challenge_methods_supported: ['S256'],
      token_endpoint_auth_methods_supported: clientSecret === undefined ? ['none'] : ['client_secret_basic', 'client_secret_post'],
      authorization_response_iss_parameter_supported: true,
    }),
  )

  app.get('/jwks', (_request, reply) => reply.send(keySet.published()))

  app.get('/authorize', (request, reply) => {
    const parameters = queryIn(request.url)
    const reading = readAuthorization(parameters, options)
    if (reading.kind !== 'good') return refuse(reply, reading)
    return reply
      .type(PAGE_TYPE)
      .header('content-security-policy', "default-src 'none'; frame-ancestors 'none'")
      .send(pickPage(parameters, users.map(({ name }) => name)))
  })

  app.post('/authorize', (request, reply) => {
    if (!(request.body instanceof URLSearchParams)) return refuse(reply, { kind: 'page', problem: 'the form is missing' })
    const reading = readAuthorization(request.body, options)
    if (reading.kind !== 'good') return refuse(reply, reading)
    const { redirectUri, state, nonce, challenge } = reading.request
    if (request.body.has('deny')) return sendBack(reply, redirectUri, { error: 'access_denied', error_description: 'the user turned back', state })
    const user = request.body.get('user') ?? ''
    if (!users.some(({ name }) => name === user)) return refuse(reply, { kind: 'page', problem: 'there is no such user' })
    return sendBack(reply, redirectUri, { code: codes.make({ user, redirectUri, challenge, nonce }), state })
  })

  app.post('/token', async (request, reply) => {
    const form = request.body instanceof URLSearchParams ? request.body : new URLSearchParams()
    if (!isClient(options, request.headers.authorization, form)) return reply.code(401).header('www-authenticate', 'Basic realm="token"').send({ error: 'invalid_client' })
    if (form.get('grant_type') !== 'authorization_code') return reply.code(400).send({ error: 'unsupported_grant_type' })
    const grant = codes.redeem(form.get('code') ?? '', form.get('redirect_uri') ?? '', form.get('code_verifier') ?? '')
    if (grant === undefined) return reply.code(400).send({ error: 'invalid_grant' })
    const idToken = await keySet.sign({ ...claimsOf(grant.user), ...(grant.nonce === undefined ? {} : { nonce: grant.nonce }) })
    return reply.send({ access_token: randomUUID(), token_type: 'Bearer', expires_in: TOKEN_SECONDS, id_token: idToken })
  })

  const port = await listen(app, 'OIDC issuer', HOST, options.port ?? 0)
  url = `${tls === undefined ? 'http' : 'https'}://${HOST}:${port}`
  return {
    url,
    stop: () => app.close(),
    idToken: async (user, overrides = {}) => keySet.sign({ ...claimsOf(user), ...overrides }),
    rotateKeys: ({ keepPrevious } = { keepPrevious: true }) => keySet.rotate(keepPrevious),
  }
}
