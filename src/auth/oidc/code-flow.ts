/** The authorization code flow with PKCE: where the browser is sent, and what the code that it brings back is exchanged for. */
import {
  allowInsecureRequests,
  authorizationCodeGrant,
  AuthorizationResponseError,
  buildAuthorizationUrl,
  calculatePKCECodeChallenge,
  ClientError,
  ClientSecretBasic,
  ClientSecretPost,
  clockTolerance,
  Configuration,
  customFetch,
  None,
  randomNonce,
  randomPKCECodeVerifier,
  randomState,
  ResponseBodyError,
  WWWAuthenticateChallengeError,
  type ClientAuth,
} from 'openid-client'
import { CodedError, messageOf } from '../../errors.ts'
import { readClientSecret, type ClientSecretOptions } from './client-secret.ts'
import { issuerEndpoint, type Issuer } from './issuer.ts'
import { IssuerUnreachable } from './issuer-fetch.ts'

export interface CodeFlowOptions extends ClientSecretOptions {
  clientId: string
  /** Separated by spaces. Default: openid and profile, and groups where the issuer says that it knows it. */
  scope?: string
  allowHttpLoopback?: boolean
}

/** What only this sign-in knows. */
export interface LoginSecrets {
  state: string
  nonce: string
  verifier: string
}

/**
 * - `refused`: the issuer let nobody in
 * - `stale`: the code was used before, has expired, or was made for another sign-in
 * - `invalid`: an answer that must not be believed
 * - `misconfigured`: the issuer does not take us for its client
 * - `unavailable`: the issuer did not answer
 */
export type CodeFailure = 'refused' | 'stale' | 'invalid' | 'misconfigured' | 'unavailable'
/** `why` is for a log, and holds nothing of a token or a code. */
export type CodeExchange = { ok: true; idToken: string } | { ok: false; failure: CodeFailure; why: string }

export interface CodeFlow {
  begin(redirectUri: string): Promise<{ url: URL; secrets: LoginSecrets }>
  /** @param answered the redirect URI with the query that the issuer sent the browser back with */
  exchange(answered: URL, secrets: LoginSecrets): Promise<CodeExchange>
}

/** Times of the ID token are judged afterwards, by our own clock and rules; here they only must not be far off. */
const TIME_LEEWAY_S = 300
const CODE_WORD = /^[a-z0-9_]{1,64}$/i

/** A code of OAuth's, when it is one; whatever else an issuer may say goes into no log. */
const word = (text: string | undefined): string => (text !== undefined && CODE_WORD.test(text) ? text : 'an unknown error')

/** What the issuer sends the browser back with when it is the one that fails. */
const PASSING: ReadonlySet<string> = new Set(['server_error', 'temporarily_unavailable'])

const isUnreachable = (error: unknown): boolean => {
  for (let at = error; at instanceof Error; at = at.cause) if (at instanceof IssuerUnreachable) return true
  return false
}

const failureOf = (error: unknown): { failure: CodeFailure; why: string } => {
  if (isUnreachable(error)) return { failure: 'unavailable', why: 'the issuer did not answer for the code' }
  if (error instanceof AuthorizationResponseError) return { failure: PASSING.has(error.error) ? 'unavailable' : 'refused', why: word(error.error) }
  if (error instanceof WWWAuthenticateChallengeError) return { failure: 'misconfigured', why: 'the issuer wants another proof of who the client is' }
  if (error instanceof ResponseBodyError) return { failure: error.error === 'invalid_grant' ? 'stale' : 'misconfigured', why: word(error.error) }
  if (error instanceof ClientError) return { failure: 'invalid', why: word(error.code) }
  throw error
}

/** Of the two ways to send a secret the standard's own, unless the issuer takes the other alone. */
const authenticationBy = (secret: string | undefined, offered: readonly string[] | undefined): ClientAuth => {
  if (secret === undefined) return None()
  const takesFormAlone = offered?.includes('client_secret_post') === true && !offered.includes('client_secret_basic')
  return takesFormAlone ? ClientSecretPost(secret) : ClientSecretBasic(secret)
}

/** @throws CodedError CONFIG_INVALID when the issuer offers no such flow */
export const createCodeFlow = ({ metadata, fetch }: Pick<Issuer, 'metadata' | 'fetch'>, options: CodeFlowOptions): CodeFlow => {
  const { clientId, allowHttpLoopback = false } = options
  const endpoints = [
    issuerEndpoint('authorization_endpoint of the OIDC issuer', metadata.authorization_endpoint, allowHttpLoopback),
    issuerEndpoint('token_endpoint of the OIDC issuer', metadata.token_endpoint, allowHttpLoopback),
  ]
  const methods = metadata.code_challenge_methods_supported
  if (methods !== undefined && !methods.includes('S256')) throw new CodedError('CONFIG_INVALID', 'the OIDC issuer knows PKCE, but not with S256; the sign-in needs that')
  const scope = options.scope ?? ['openid', 'profile', ...(metadata.scopes_supported?.includes('groups') === true ? ['groups'] : [])].join(' ')
  if (!scope.split(' ').includes('openid')) throw new CodedError('CONFIG_INVALID', 'the OIDC scopes must hold openid, else there is no ID token')

  const configurationWith = (authentication: ClientAuth): Configuration => {
    const configuration = new Configuration(metadata, clientId, { [clockTolerance]: TIME_LEEWAY_S }, authentication)
    configuration[customFetch] = fetch
    if (endpoints.some(({ protocol }) => protocol === 'http:')) allowInsecureRequests(configuration)
    return configuration
  }
  const forBrowser = configurationWith(None())

  return {
    begin: async (redirectUri) => {
      const secrets = { state: randomState(), nonce: randomNonce(), verifier: randomPKCECodeVerifier() }
      const { state, nonce, verifier } = secrets
      const challenge = { code_challenge: await calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256' }
      return { url: buildAuthorizationUrl(forBrowser, { redirect_uri: redirectUri, scope, state, nonce, ...challenge }), secrets }
    },

    exchange: async (answered, { state, nonce, verifier }) => {
      let secret: string | undefined
      try {
        secret = await readClientSecret(options)
      } catch (error) {
        return { ok: false, failure: 'misconfigured', why: messageOf(error) }
      }
      try {
        const configuration = configurationWith(authenticationBy(secret, metadata.token_endpoint_auth_methods_supported))
        const checks = { expectedState: state, expectedNonce: nonce, pkceCodeVerifier: verifier, idTokenExpected: true }
        const { id_token: idToken } = await authorizationCodeGrant(configuration, answered, checks)
        return idToken === undefined ? { ok: false, failure: 'invalid', why: 'no ID token' } : { ok: true, idToken }
      } catch (error) {
        return { ok: false, ...failureOf(error) }
      }
    },
  }
}
