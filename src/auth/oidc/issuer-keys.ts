/** The issuer's keys, fetched when they are needed and kept for a while. */
import { createRemoteJWKSet, customFetch, errors, type JWTVerifyGetKey } from 'jose'
import { messageOf } from '../../errors.ts'
import type { Timers } from '../../kube/timers.ts'
import type { Issuer } from './issuer.ts'
import { IssuerUnreachable, type IssuerFetch } from './issuer-fetch.ts'

export interface KeyTimes {
  /**
   * How long after a fetch an unknown key is believed to be none of the issuer's, milliseconds: tokens that somebody made up must not
   * make us ask the issuer each time. Default 10,000.
   */
  cooldownMs: number
  /** How long keys are used without being fetched again, milliseconds: so long a key that the issuer withdrew is still believed. Default 600,000. */
  maxAgeMs: number
  /** How long after a failed fetch none is tried, milliseconds. Default 500. */
  pauseMs: number
}

export const DEFAULT_KEY_TIMES: KeyTimes = { cooldownMs: 10_000, maxAgeMs: 600_000, pauseMs: 500 }

/** The issuer's keys could not be had: the token may be good or bad. */
export class KeysUnavailable extends Error {
  override readonly name = 'KeysUnavailable'
}

export interface IssuerKeys {
  /** @throws KeysUnavailable; of jose JWKSNoMatchingKey and JWKSMultipleMatchingKeys */
  resolve: JWTVerifyGetKey
  /** Fetches them now; whoever else waits shares the fetch. @throws KeysUnavailable */
  load(): Promise<void>
}

const pausing = (fetch: IssuerFetch, pauseMs: number, timers: Timers): IssuerFetch => {
  let failedAt: number | undefined
  return async (url, request) => {
    if (failedAt !== undefined && timers.monotonic() - failedAt < pauseMs) throw new IssuerUnreachable('the keys could not be fetched a moment ago')
    try {
      const answer = await fetch(url, request)
      if (answer.status !== 200) throw new IssuerUnreachable(`the issuer answered ${answer.status} when asked for its keys`)
      failedAt = undefined
      return answer
    } catch (error) {
      failedAt = timers.monotonic()
      throw error
    }
  }
}

/** What says something about the token; everything else is the issuer's. */
const isOfToken = (error: unknown): boolean =>
  error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys || error instanceof errors.JOSENotSupported

const told = (error: unknown): unknown =>
  isOfToken(error) ? error : new KeysUnavailable(`the keys of the OIDC issuer cannot be had: ${messageOf(error)}`, { cause: error })

export const createIssuerKeys = ({ keysUrl, fetch }: Pick<Issuer, 'keysUrl' | 'fetch'>, { cooldownMs, maxAgeMs, pauseMs }: KeyTimes, timers: Timers): IssuerKeys => {
  const set = createRemoteJWKSet(keysUrl, { cooldownDuration: cooldownMs, cacheMaxAge: maxAgeMs, [customFetch]: pausing(fetch, pauseMs, timers) })
  return {
    resolve: async (header, token) => {
      try {
        return await set(header, token)
      } catch (error) {
        throw told(error)
      }
    },
    load: async () => {
      try {
        await set.reload()
      } catch (error) {
        throw told(error)
      }
    },
  }
}
