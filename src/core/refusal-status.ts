import { GROUP } from '../api/names.ts'
import type { ConnectorKey } from './request-identity.ts'

/** Why a Pod does not get one Connector. */
export interface Refusal {
  connector: ConnectorKey
  /** Namespace and name of the AccessRequest that decided it; undefined when there is none. */
  request: string | undefined
  /** Refused before anything was mounted, or taken back later. */
  reason: 'AccessRejected' | 'AccessRevoked'
  /** One sentence that names the Connector. */
  message: string
}

/** google.rpc.Code PERMISSION_DENIED. */
const PERMISSION_DENIED = 7

/**
 * The content of `.error.json`: a google.rpc.Status as JSON, with one google.rpc.ErrorInfo for each Connector.
 * The same refusals in the same order give the same text.
 */
export const refusalJson = (refusals: readonly Refusal[]): string => {
  const details = refusals.map(({ connector, request, reason }) => ({
    '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
    reason,
    domain: GROUP,
    metadata: { connector: `${connector.namespace}/${connector.name}`, ...(request === undefined ? {} : { accessRequest: request }) },
  }))
  return `${JSON.stringify({ code: PERMISSION_DENIED, message: refusals.map(({ message }) => message).join('; '), details })}\n`
}
