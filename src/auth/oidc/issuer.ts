/** Who issues ID tokens: what it says of itself, and whether that can be relied on. */
import { allowInsecureRequests, customFetch, discovery, None, type ServerMetadata } from 'openid-client'
import { shown } from '../../core/json-shape.ts'
import { CodedError, errorCode, messageOf } from '../../errors.ts'
import type { IssuerFetch } from './issuer-fetch.ts'

export interface IssuerOptions {
  /** As the issuer writes it, to the letter. */
  issuerUrl: string
  clientId: string
  /** Plain http for an issuer on this machine's loopback; for development and tests. Default false. */
  allowHttpLoopback?: boolean
}

export interface Issuer {
  readonly metadata: Readonly<ServerMetadata>
  readonly keysUrl: URL
  /** Of ID tokens; never none, never one with a shared key. */
  readonly algorithms: readonly string[]
  readonly fetch: IssuerFetch
}

/** What the issuer says cannot be used, whatever it is asked again. */
const refused = (message: string, cause?: unknown): CodedError => new CodedError('CONFIG_INVALID', message, { cause })

const ASYMMETRIC: ReadonlySet<string> = new Set(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'])
/** What an issuer signs with that does not say. */
const DEFAULT_ALGORITHM = 'RS256'

const LOOPBACK = /^(?:localhost|[a-z0-9.-]+\.localhost|127(?:\.\d{1,3}){3}|\[::1\])$/

/** @param what the setting or the field that holds it */
export const issuerEndpoint = (what: string, text: unknown, allowHttpLoopback: boolean): URL => {
  const url = typeof text === 'string' && URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined) throw refused(`${what} must be a URL, it is ${shown(text)}`)
  if (url.username !== '' || url.password !== '' || url.hash !== '') throw refused(`${what} must hold neither a name, a password nor a fragment`)
  if (url.protocol === 'https:') return url
  if (url.protocol !== 'http:' || !LOOPBACK.test(url.hostname)) throw refused(`${what} must begin with https://, it is ${shown(text)}`)
  if (!allowHttpLoopback) throw refused(`${what} must begin with https://; for an issuer on this machine, plain http has to be allowed on purpose`)
  return url
}

/** @throws CodedError CONFIG_INVALID */
export const checkIssuerUrl = ({ issuerUrl, allowHttpLoopback = false }: IssuerOptions): URL => {
  const url = issuerEndpoint('OIDC_ISSUER_URL', issuerUrl, allowHttpLoopback)
  if (url.search !== '') throw refused('OIDC_ISSUER_URL must hold no query')
  return url
}

/** The library names a comparison that failed by this code. */
const OTHER_ISSUER = 'OAUTH_JSON_ATTRIBUTE_COMPARISON_FAILED'

const ask = async (url: URL, { issuerUrl, clientId }: IssuerOptions, fetch: IssuerFetch): Promise<ServerMetadata> => {
  try {
    const execute = url.protocol === 'http:' ? [allowInsecureRequests] : []
    const configuration = await discovery(url, clientId, undefined, None(), { [customFetch]: fetch, execute })
    return configuration.serverMetadata()
  } catch (error) {
    if (errorCode(error) !== OTHER_ISSUER) throw error
    throw refused(`the issuer at ${issuerUrl} calls itself by another name; OIDC_ISSUER_URL must be that name`, error)
  }
}

const usableAlgorithms = (offered: unknown): string[] => {
  if (offered === undefined) return [DEFAULT_ALGORITHM]
  const usable = Array.isArray(offered) ? offered.filter((name): name is string => typeof name === 'string' && ASYMMETRIC.has(name)) : []
  if (usable.length === 0) throw refused('the OIDC issuer signs ID tokens with no algorithm that can be trusted here; let it sign with RS256 or ES256')
  return usable
}

/**
 * Asks the issuer once.
 * @throws CodedError CONFIG_INVALID when it must not be used; IssuerUnreachable and others when it gave no good answer
 */
export const discoverIssuer = async (options: IssuerOptions, fetch: IssuerFetch): Promise<Issuer> => {
  const { issuerUrl, allowHttpLoopback = false } = options
  const metadata = await ask(checkIssuerUrl(options), options, fetch)
  if (metadata.issuer !== issuerUrl) throw refused(`the issuer at ${issuerUrl} calls itself ${shown(metadata.issuer)}; OIDC_ISSUER_URL must be that, to the letter`)
  const keysUrl = issuerEndpoint('jwks_uri of the OIDC issuer', metadata.jwks_uri, allowHttpLoopback)
  return { metadata, keysUrl, algorithms: usableAlgorithms(metadata.id_token_signing_alg_values_supported), fetch }
}

/** What is in an error of the library, its causes included; never a body. */
export const causesOf = (error: unknown): string => {
  const texts: string[] = []
  for (let at = error; at instanceof Error && texts.length < 4; at = at.cause) texts.push(messageOf(at))
  return [...new Set(texts)].join(': ')
}
