/** What a connection depends on, read live and in this order: the permission, and with it alone the Workspace. */
import type { Identity } from '../../api/access-review.ts'
import { connectionQuestion, decideConnection, reviewedGroups, type ConnectionAnswer, type ConnectionRule } from '../../core/connection-review.ts'
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

/** The order of keys says nothing; all else is part of the question. */
const questionKey = (namespace: string, name: string, { user, uid = '', groups, extra = {} }: Identity): string =>
  JSON.stringify([namespace, name, user, uid, groups, Object.entries(extra).toSorted(([left], [right]) => (left < right ? -1 : 1))])

export const createConnectionCheck = ({ reader, permission, clock, options }: ConnectionCheckDeps): CheckConnection => {
  const inFlight = createInFlight<ConnectionAnswer>(clock)

  const check: CheckConnection = async (namespace, name, subject) => {
    const identity = { ...subject, groups: reviewedGroups(subject.groups, options.reviewAuthenticatedGroup) }
    const hasPermission = await permission.allows(identity, connectionQuestion(options, namespace))
    const workspace = hasPermission ? await reader.get(WORKSPACES, namespace, name) : undefined
    return decideConnection({ hasPermission, workspace, user: subject.user })
  }

  return (namespace, name, subject) => inFlight.share(questionKey(namespace, name, subject), () => check(namespace, name, subject))
}
