/** What a connection depends on, read live: the permission, and with it alone the Workspace counts. */
import type { Identity } from '../../api/access-review.ts'
import type { Workspace } from '../../api/workspace.ts'
import { connectionQuestion, decideConnection, reviewedGroups, type ConnectionAnswer, type ConnectionRule } from '../../core/connection-review.ts'
import { createRecentMap } from '../../core/recent-map.ts'
import type { Clock, Permission, Reader } from '../../kube/ports.ts'
import { WORKSPACES } from '../../kube/resources.ts'
import { createInFlight } from './in-flight.ts'

export interface ConnectionCheckDeps {
  reader: Pick<Reader, 'get'>
  permission: Permission
  clock: Clock
  options: ConnectionRule & { reviewAuthenticatedGroup: boolean }
}

/** @throws CodedError KUBE_* when something could not be read: then there is no answer */
export type CheckConnection = (namespace: string, name: string, subject: Identity) => Promise<ConnectionAnswer>

const PERMITTED = 1_000
/** Characters of a question that is remembered: whoever asks may send many groups. */
const LONGEST = 1_024

/** The order of keys says nothing; all else is part of the question. */
const subjectKey = (namespace: string, { user, uid = '', groups, extra = {} }: Identity): string =>
  JSON.stringify([namespace, user, uid, groups, Object.entries(extra).toSorted(([left], [right]) => (left < right ? -1 : 1))])

export const createConnectionCheck = ({ reader, permission, clock, options }: ConnectionCheckDeps): CheckConnection => {
  const inFlight = createInFlight<ConnectionAnswer>(clock)
  /** Who had the permission when last asked about. It decides nothing. */
  const permitted = createRecentMap<true>(PERMITTED)

  const check = async (namespace: string, name: string, subject: Identity, key: string): Promise<ConnectionAnswer> => {
    const identity = { ...subject, groups: reviewedGroups(subject.groups, options.reviewAuthenticatedGroup) }
    const read = (): Promise<Workspace | undefined> => reader.get(WORKSPACES, namespace, name)
    // Whoever had the permission a moment ago has it still, most often: then both are read at the same time, a third of the whole time less.
    const ahead = permitted.get(key) === undefined ? undefined : read()
    // What became of it is told to nobody without the permission.
    ahead?.catch(() => undefined)
    const hasPermission = await permission.allows(identity, connectionQuestion(options, namespace))
    if (!hasPermission) permitted.delete(key)
    else if (key.length <= LONGEST) permitted.set(key, true)
    const workspace = hasPermission ? await (ahead ?? read()) : undefined
    return decideConnection({ hasPermission, workspace, user: subject.user })
  }

  return (namespace, name, subject) => {
    const key = subjectKey(namespace, subject)
    return inFlight.share(`${JSON.stringify(name)} ${key}`, () => check(namespace, name, subject, key))
  }
}
