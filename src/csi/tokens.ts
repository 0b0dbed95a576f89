/** Which token goes into the files of a volume: one that kubelet handed in, or, where that is allowed, one made for it. Tokens stay in memory. */
import type { Connector } from '../api/connector.ts'
import { CSI_DRIVER, PROXY_AUDIENCE } from '../api/names.ts'
import { connectorText } from '../core/gate.ts'
import type { Mount } from '../core/mount-call.ts'
import type { GateFailure } from '../core/mount-gate.ts'
import { connectorKey } from '../core/proxy-address.ts'
import { parseTime } from '../core/time.ts'
import { isCoded, messageOf } from '../errors.ts'
import type { Clock, TokenIssuer } from '../kube/ports.ts'

/** What kubelet's tokens last, by our CSIDriver's tokenRequests; milliseconds. */
export const DEFAULT_TOKEN_MS = 30 * 60_000
/** A token that was made here is made anew when this part of its time is over, as kubelet does with its own. */
const RENEW_AFTER = 0.8
/** Of so many volumes the token is kept, more than a node ever has; the one that was made longest ago goes first, and is made anew. */
const MAX_MADE = 2_000

export type TokenReading = { ok: true; token: string } | { ok: false; failure: GateFailure }

export interface Tokens {
  /** @throws CodedError KUBE_* when a token has to be made and cannot */
  tokenFor(mount: Mount, connectors: readonly Connector[]): Promise<TokenReading>
  /** A sentence for the user when the volume asks for a lifetime that it does not get. */
  notice(mount: Mount): string | undefined
  /** The volume is gone. */
  forget(volumeId: string): void
}

export interface TokensOptions {
  /** undefined: none are made, whatever a volume asks for. */
  issuer: Pick<TokenIssuer, 'issueToken'> | undefined
  clock: Clock
}

interface Made {
  /** What it was made for: another audience or lifetime takes another token. */
  purpose: string
  token: string
  renewAt: number
}

const audienceOf = ({ status }: Connector): string => {
  const audience = status?.proxy?.httpAddress?.audience
  return audience === undefined || audience === '' ? PROXY_AUDIENCE : audience
}

const textOf = (connector: Connector): string => connectorText(connectorKey(connector))

const failed = (message: string): TokenReading => ({ ok: false, failure: { code: 'FAILED_PRECONDITION', message } })

const minutes = (ms: number): string => `${Math.round(ms / 60_000)}m`

export const createTokens = ({ issuer, clock }: TokensOptions): Tokens => {
  const made = new Map<string, Made>()

  const make = async ({ volumeId, pod, serviceAccount, attributes }: Mount, audience: string, by: Pick<TokenIssuer, 'issueToken'>): Promise<string> => {
    const lifetimeMs = attributes.tokenExpirationMs ?? DEFAULT_TOKEN_MS
    const purpose = JSON.stringify([pod.uid, serviceAccount, audience, lifetimeMs])
    const known = made.get(volumeId)
    if (known?.purpose === purpose && clock.now() < known.renewAt) return known.token
    const begin = clock.now()
    const question = { serviceAccount: { namespace: pod.namespace, name: serviceAccount }, pod, audience, seconds: Math.ceil(lifetimeMs / 1000) }
    const { token, expirationTimestamp } = await by.issueToken(question)
    // What the API server gives counts, which may be less than was asked for.
    const end = parseTime(expirationTimestamp) ?? begin + lifetimeMs
    made.delete(volumeId)
    made.set(volumeId, { purpose, token, renewAt: begin + (end - begin) * RENEW_AFTER })
    const [oldest] = made.keys()
    if (made.size > MAX_MADE && oldest !== undefined) made.delete(oldest)
    return token
  }

  /** What an admission policy or the right that is missing says is for a person to read. @throws CodedError KUBE_* for what may pass by itself */
  const makeAllowed = async (mount: Mount, audience: string, by: Pick<TokenIssuer, 'issueToken'>): Promise<TokenReading> => {
    try {
      return { ok: true, token: await make(mount, audience, by) }
    } catch (error) {
      if (!isCoded(error, 'KUBE_FORBIDDEN') && !isCoded(error, 'KUBE_INVALID')) throw error
      const lifetime = minutes(mount.attributes.tokenExpirationMs ?? DEFAULT_TOKEN_MS)
      return failed(`a token of ${lifetime} for audience "${audience}" may not be made: ${messageOf(error)}`)
    }
  }

  return {
    tokenFor: async (mount, connectors) => {
      const [first, ...others] = connectors
      const audience = first === undefined ? PROXY_AUDIENCE : audienceOf(first)
      const different = others.find((connector) => audienceOf(connector) !== audience)
      if (first !== undefined && different !== undefined) {
        const two = `${textOf(first)} takes tokens for audience "${audience}", ${textOf(different)} for "${audienceOf(different)}"`
        return failed(`${two}; one volume holds one token, so mount them in two volumes`)
      }
      const given = mount.tokens.get(audience)
      const isOwnLifetime = (mount.attributes.tokenExpirationMs ?? DEFAULT_TOKEN_MS) !== DEFAULT_TOKEN_MS
      if (given !== undefined && !(isOwnLifetime && issuer !== undefined)) return { ok: true, token: given.token }
      if (issuer !== undefined) return makeAllowed(mount, audience, issuer)
      const who = first === undefined ? 'the volume' : textOf(first)
      return failed(
        `${who} takes tokens for audience "${audience}", which kubelet did not hand in; ` +
          `an administrator adds it to spec.tokenRequests of CSIDriver ${CSI_DRIVER}, or runs the CSI plugin with --token-api`,
      )
    },
    notice: ({ attributes: { tokenExpirationMs } }) =>
      issuer !== undefined || tokenExpirationMs === undefined || tokenExpirationMs === DEFAULT_TOKEN_MS
        ? undefined
        : `token.expiration ${minutes(tokenExpirationMs)} has no effect: tokens last ${minutes(DEFAULT_TOKEN_MS)} here, ` +
          'unless an administrator runs the CSI plugin with --token-api',
    forget: (volumeId) => {
      made.delete(volumeId)
    },
  }
}
