import { CONDITION, REASON, type AccessRequest } from '../api/access-request.ts'
import { isRejection } from './check.ts'
import { conditionOf, isFinal, plainMessage } from './conditions.ts'
import { isForIdentity, requestName, type RequestIdentity } from './request-identity.ts'
import { parseTime } from './time.ts'

/**
 * The request of one Pod for one Connector, as the gate sees it. What it says is for people and for knowing when to ask again;
 * that a Pod is allowed, the API server alone says.
 * - `none`: never made
 * - `deleted`: somebody deleted it, or is about to
 * - `rejected`, `ended`: final; a new Pod gets a new one
 * - `synced`: its Role is in place; `since` in milliseconds since the epoch, undefined when nobody knows
 * - `pending`: all the rest; `isHopeless` when nobody is going to approve it as things are
 */
export type OwnRequest =
  | { state: 'none' }
  | { state: 'deleted'; name: string }
  | { state: 'rejected'; name: string; message: string }
  | { state: 'ended'; name: string; message: string }
  | { state: 'synced'; name: string; since: number | undefined }
  | { state: 'pending'; name: string; message: string; isHopeless: boolean }

/** Messages of conditions quote what others write; so much of one (characters) is enough for an Event that may hold several. */
const MAX_MESSAGE = 512

const inShort = (text: string): string => {
  const message = plainMessage(text)
  return message.length <= MAX_MESSAGE ? message : `${message.slice(0, MAX_MESSAGE - 1).toWellFormed()}…`
}

const nameOf = ({ metadata }: AccessRequest): string => `${metadata.namespace ?? ''}/${metadata.name}`

const judge = (request: AccessRequest): OwnRequest => {
  const { status } = request
  const name = nameOf(request)
  if (request.metadata.deletionTimestamp !== undefined) return { state: 'deleted', name }
  const check = conditionOf(status, CONDITION.accessCheckReady)
  const sync = conditionOf(status, CONDITION.accessPermissionSync)
  if (check !== undefined && isRejection(check)) return { state: 'rejected', name, message: inShort(check.message) }
  if (isFinal(status)) return { state: 'ended', name, message: inShort(sync?.message ?? '') }
  const ready = conditionOf(status, CONDITION.ready)
  if (ready?.status === 'True' && sync?.status === 'True' && sync.reason === REASON.synced) return { state: 'synced', name, since: parseTime(sync.lastTransitionTime) }
  const message = ready === undefined ? 'waiting for the controller, which has not looked at it yet' : inShort(ready.message)
  return { state: 'pending', name, message, isHopeless: ready?.reason === REASON.noMatched || ready?.reason === REASON.noPermissionRequired }
}

/** What is final comes first, so that a second request, made by hand, brings nothing back; a deleted one counts only when there is no other. */
const ORDER: readonly OwnRequest['state'][] = ['rejected', 'ended', 'synced', 'pending', 'deleted']

/**
 * @param requests any requests; those of another Connector, Pod or ServiceAccount are left out
 * @param wasAsked a request of this identity was seen or made before: when it is gone, somebody deleted it
 */
export const ownRequest = (requests: readonly AccessRequest[], identity: RequestIdentity, wasAsked: boolean): OwnRequest => {
  const own = requests.filter((request) => isForIdentity(request, identity)).map(judge)
  const first = ORDER.flatMap((state) => own.filter((one) => one.state === state)).at(0)
  if (first !== undefined) return first
  return wasAsked ? { state: 'deleted', name: `${identity.connector.namespace}/${requestName(identity)}` } : { state: 'none' }
}
