/** ID tokens: whether the issuer made them for us, and who they are about. */
import { decodeProtectedHeader, errors, jwtVerify, type JWTPayload, type JWTVerifyOptions } from 'jose'
import type { Logger } from 'pino'
import { CodedError, isCoded } from '../../errors.ts'
import type { Clock } from '../../kube/ports.ts'
import { backoffMs, sleep, withDeadline, type Timers } from '../../kube/timers.ts'
import { prefixProblem, readIdClaims, type ClaimRules, type IdClaims } from './id-claims.ts'
import { causesOf, checkIssuerUrl, discoverIssuer, type Issuer, type IssuerOptions } from './issuer.ts'
import { checkCaFile, createIssuerFetch, type IssuerFetch, type IssuerFetchOptions } from './issuer-fetch.ts'
import { createIssuerKeys, DEFAULT_KEY_TIMES, KeysUnavailable, type IssuerKeys, type KeyTimes } from './issuer-keys.ts'

export type { IdClaims } from './id-claims.ts'

/** `invalid`: the token is bad. `unavailable`: the issuer's keys cannot be had now, so nobody knows. Why, in words that hold nothing of the token. */
export type IdTokenReading = { ok: true; claims: IdClaims } | { ok: false; kind: 'invalid' | 'unavailable'; why: string }

export interface IdTokens {
  /** The issuer was found and its keys were there; stays so during an outage, since sessions that exist need no issuer. */
  readonly ready: boolean
  /** @param expect a nonce says that the token has just come from the issuer's own token endpoint */
  verify(token: string, expect?: { nonce?: string }): Promise<IdTokenReading>
}

/** ID tokens of an issuer that was asked for what it is. */
export interface DiscoveredIdTokens extends IdTokens {
  readonly issuer: Issuer
}

export interface IdTokenOptions extends IssuerOptions, ClaimRules, IssuerFetchOptions {
  /** How long the issuer may take to be there at the start, milliseconds. */
  initTimeoutMs: number
  keyTimes?: Partial<KeyTimes>
}

export interface IdTokenDeps {
  clock: Clock
  timers: Timers
  logger: Logger
  /** Ends requests to the issuer, and the wait for it. */
  signal: AbortSignal
}

/** Seconds that a clock of the issuer may be ahead of ours; `exp` has no such leeway. */
const NOT_BEFORE_LEEWAY = 300
/** Characters; more than a header may hold. */
const MAX_TOKEN = 32_768
const RETRY = { baseMs: 1_000, capMs: 5_000, random: Math.random }
/** Tokens that say what else they are, such as an access token (at+jwt), are no ID tokens. */
const OTHER_KIND = /\+jwt$/i

class NotAnIdToken extends Error {}

/** Fixed words for each way in which a token can be bad: the errors of the library hold its claims. */
const whyInvalid = (error: unknown): string | undefined => {
  if (error instanceof NotAnIdToken) return 'another kind of token'
  if (error instanceof errors.JWTExpired) return 'expired'
  if (error instanceof errors.JWTClaimValidationFailed) return `claim ${error.claim}`
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'signature'
  if (error instanceof errors.JOSEAlgNotAllowed || error instanceof errors.JOSENotSupported) return 'algorithm'
  if (error instanceof errors.JWKSNoMatchingKey) return 'unknown key'
  return error instanceof errors.JOSEError ? 'malformed' : undefined
}

const checkKind = (token: string): void => {
  let typ: unknown
  try {
    ;({ typ } = decodeProtectedHeader(token))
  } catch (error) {
    throw new errors.JWTInvalid('the header cannot be read', { cause: error })
  }
  if (typeof typ === 'string' && OTHER_KIND.test(typ)) throw new NotAnIdToken()
}

/** A token that names no key, of an issuer that has several: one of them it must be. */
const verifyWithAny = async (token: string, candidates: errors.JWKSMultipleMatchingKeys, options: JWTVerifyOptions): Promise<JWTPayload> => {
  for await (const key of candidates) {
    try {
      return (await jwtVerify(token, key, options)).payload
    } catch (error) {
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error
    }
  }
  throw new errors.JWSSignatureVerificationFailed()
}

interface Found {
  issuer: Issuer
  keys: IssuerKeys
}

const createVerifier = (
  { issuer, keys }: Found,
  { clientId, ...rules }: ClaimRules & { clientId: string },
  { clock, logger }: Pick<IdTokenDeps, 'clock' | 'logger'>,
): IdTokens['verify'] => {
  const payloadOf = async (token: string, now: number): Promise<JWTPayload> => {
    const options: JWTVerifyOptions = {
      issuer: issuer.metadata.issuer,
      audience: clientId,
      algorithms: [...issuer.algorithms],
      requiredClaims: ['exp', 'sub'],
      clockTolerance: NOT_BEFORE_LEEWAY,
      currentDate: new Date(now),
    }
    try {
      return (await jwtVerify(token, keys.resolve, options)).payload
    } catch (error) {
      if (error instanceof errors.JWKSMultipleMatchingKeys) return verifyWithAny(token, error, options)
      throw error
    }
  }

  const checked = async (token: string, nonce: string | undefined): Promise<JWTPayload> => {
    const now = clock.now()
    if (token.length > MAX_TOKEN) throw new errors.JWTInvalid('too long')
    checkKind(token)
    const payload = await payloadOf(token, now).catch(async (error: unknown) => {
      // The issuer has just signed it, so its keys were changed since they were fetched; nobody else can bring this about.
      if (nonce === undefined || !(error instanceof errors.JWKSNoMatchingKey)) throw error
      await keys.load()
      return payloadOf(token, now)
    })
    if (payload.exp === undefined || now >= payload.exp * 1000) throw new errors.JWTExpired('expired', payload, 'exp')
    if (nonce !== undefined && payload['nonce'] !== nonce) throw new errors.JWTClaimValidationFailed('nonce', payload, 'nonce')
    return payload
  }

  return async (token, { nonce } = {}) => {
    try {
      const reading = readIdClaims(await checked(token, nonce), rules)
      return reading.ok ? reading : { ok: false, kind: 'invalid', why: reading.why }
    } catch (error) {
      const why = whyInvalid(error)
      if (why !== undefined) return { ok: false, kind: 'invalid', why }
      if (!(error instanceof KeysUnavailable)) throw error
      logger.warn({ issuer: issuer.metadata.issuer, reason: error.message }, 'an ID token could not be checked: the issuer gives no keys')
      return { ok: false, kind: 'unavailable', why: error.message }
    }
  }
}

/** Asks again and again, as the issuer may be starting too; what can never be right ends it at once. */
const find = async (options: IdTokenOptions, fetch: IssuerFetch, { timers, logger }: IdTokenDeps, signal: AbortSignal, failed: (why: string) => void): Promise<Found> => {
  for (let failures = 0; ; failures += 1) {
    signal.throwIfAborted()
    try {
      const issuer = await discoverIssuer(options, fetch)
      const keys = createIssuerKeys(issuer, { ...DEFAULT_KEY_TIMES, ...options.keyTimes }, timers)
      await keys.load()
      return { issuer, keys }
    } catch (error) {
      if (isCoded(error)) throw error
      const reason = causesOf(error)
      failed(reason)
      logger.warn({ issuer: options.issuerUrl, reason }, 'the OIDC issuer is not there yet')
      await sleep(timers, backoffMs(failures, RETRY), signal)
    }
  }
}

const checkOptions = async (options: IdTokenOptions): Promise<void> => {
  checkIssuerUrl(options)
  if (options.caFile !== undefined) await checkCaFile(options.caFile)
  if (options.clientId === '') throw new CodedError('CONFIG_INVALID', 'OIDC_CLIENT_ID must not be empty')
  for (const [name, prefix] of [
    ['OIDC_USERNAME_PREFIX', options.usernamePrefix],
    ['OIDC_GROUPS_PREFIX', options.groupsPrefix],
  ] as const) {
    const problem = prefixProblem(prefix)
    if (problem !== undefined) throw new CodedError('CONFIG_INVALID', `${name} ${problem}`)
  }
}

/**
 * Resolves when the issuer was found and its keys are there. From then on keys are fetched when they are needed; what the issuer
 * says of itself (algorithms, addresses) is not read again before the next start.
 * @throws CodedError CONFIG_INVALID when a setting cannot be right, or the issuer is not there in time
 */
export const createIdTokens = async (options: IdTokenOptions, deps: IdTokenDeps): Promise<DiscoveredIdTokens> => {
  const { issuerUrl, initTimeoutMs, clientId, usernamePrefix, groupsPrefix, addAuthenticatedGroup } = options
  await checkOptions(options)
  const fetch = createIssuerFetch(options, deps.signal)
  const attempts = new AbortController()
  const signal = AbortSignal.any([deps.signal, attempts.signal])
  let last = 'it did not answer'
  const late = (): CodedError =>
    new CodedError('CONFIG_INVALID', `the OIDC issuer ${issuerUrl} was not there within ${initTimeoutMs / 1000} s (${last}); look at OIDC_ISSUER_URL, at the issuer and at the way to it`)
  try {
    const found = await withDeadline(deps.timers, initTimeoutMs, find(options, fetch, deps, signal, (why) => (last = why)), late)
    const { issuer } = found
    deps.logger.info({ issuer: issuerUrl, algorithms: issuer.algorithms }, 'the OIDC issuer was found')
    const verify = createVerifier(found, { clientId, usernamePrefix, groupsPrefix, addAuthenticatedGroup }, deps)
    return { ready: true, issuer, verify }
  } finally {
    attempts.abort()
  }
}
