/** What a connection depends on, read live: the permission, and with it alone the Workspace counts. */
import type { Identity } from '../../api/access-review.ts'
import type { Workspace } from '../../api/workspace.ts'
import { connectionQuestion, decideConnection, reviewedGroups, type ConnectionAnswer, type ConnectionRule } from '../../core/connection-review.ts'
import { createRecentMap } from '../../core/recent-map.ts'
import type { Clock, Permission, Reader } from '../../kube/ports.ts'
import { WORKSPACES } from '../../kube/resources.ts'
import { questionKey } from '../question-key.ts'
import { createInFlight } from './in-flight.ts'

export interface ConnectionCheckDeps {
  reader: Pick<Reader, 'get'>
  permission: Permission
  clock: Clock
  options: ConnectionRule & { reviewAuthenticatedGroup: boolean }
}

/** @throws CodedError KUBE_* when something could not be read: then there is no answer */
export type CheckConnection = (namespace: string, name: string, subject: Identity) => Promise<ConnectionAnswer>

/** Subjects, each with its namespace. */
const PERMITTED = 1_000

/** The order of keys says nothing; all else is part of the question. */
const subjectKey = (namespace: string, { user, uid = '', groups, extra = {} }: Identity): string =>
  questionKey(namespace, user, uid, groups, Object.entries(extra).toSorted(([left], [right]) => (left < right ? -1 : 1)))

interface ReadAhead {
  workspace: Promise<Workspace | undefined>
  /** Nobody waits for it any more. */
  drop(): void
}

export const createConnectionCheck = ({ reader, permission, clock, options }: ConnectionCheckDeps): CheckConnection => {
  const inFlight = createInFlight<ConnectionAnswer>(clock)
  /** Who had the permission when last asked about. It decides nothing. */
  const permitted = createRecentMap<true>(PERMITTED)

  // Whoever had the permission a moment ago has it still, most often: then both are read at the same time, a third of the whole time less.
  const readAhead = (namespace: string, name: string): ReadAhead => {
    const unwanted = new AbortController()
    const workspace = reader.get(WORKSPACES, namespace, name, { signal: unwanted.signal })
    // Who has no permission is told so, whatever became of it.
    workspace.catch(() => undefined)
    return { workspace, drop: () => unwanted.abort() }
  }

  const forget = (key: string, ahead: ReadAhead | undefined): void => {
    permitted.delete(key)
    ahead?.drop()
  }

  const check = async (namespace: string, name: string, subject: Identity, key: string): Promise<ConnectionAnswer> => {
    const identity = { ...subject, groups: reviewedGroups(subject.groups, options.reviewAuthenticatedGroup) }
    const ahead = permitted.get(key) === undefined ? undefined : readAhead(namespace, name)
    try {
      const hasPermission = await permission.allows(identity, connectionQuestion(options, namespace))
      const workspace = hasPermission ? await (ahead?.workspace ?? reader.get(WORKSPACES, namespace, name)) : undefined
      if (hasPermission) permitted.set(key, true)
      else forget(key, ahead)
      return decideConnection({ hasPermission, workspace, user: subject.user })
    } catch (error) {
      forget(key, ahead)
      throw error
    }
  }

  return (namespace, name, subject) => {
    const key = subjectKey(namespace, subject)
    return inFlight.share(questionKey(name, key), () => check(namespace, name, subject, key))
  }
}
