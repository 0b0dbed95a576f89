/** May this user connect to that Workspace? */
import type { ConnectionAccessReviewStatus } from '../api/connection-review.ts'
import { CREATED_BY, PUBLIC, type Workspace } from '../api/workspace.ts'
import type { AccessQuestion } from '../api/access-review.ts'
import { own } from './json-shape.ts'
import { withAuthenticated } from './system-names.ts'

/** What RBAC is asked: the group of Workspaces, and a subresource of theirs or a kind of its own, as the roles of the cluster are written. */
export interface ConnectionRule {
  reviewGroup: string
  reviewResource: 'workspaces/connection' | 'workspaceconnections'
}

/** The permission to connect is for a whole namespace, so no name is asked about. */
export const connectionQuestion = ({ reviewGroup, reviewResource }: ConnectionRule, namespace: string): AccessQuestion => ({
  group: reviewGroup,
  ...(reviewResource === 'workspaces/connection' ? { resource: 'workspaces', subresource: 'connection' } : { resource: reviewResource }),
  verb: 'create',
  namespace,
})

/** The groups that are asked about. @param addAuthenticated whoever is asked about counts as signed in */
export const reviewedGroups = (groups: readonly string[], addAuthenticated: boolean): readonly string[] =>
  addAuthenticated ? withAuthenticated(groups) : groups

/** Text within a JSON string, with the characters escaped that Go escapes for HTML. */
const goJsonText = (text: string): string =>
  JSON.stringify(text)
    .slice(1, -1)
    .replaceAll(/[<>&\u2028\u2029]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)

/** A Workspace that names no owner has none, for nobody; some versions of the Workspaces' project write the name as JSON text. */
export const isOwner = (workspace: Workspace, user: string): boolean => {
  const owner = own(workspace.metadata.annotations, CREATED_BY)
  return user !== '' && owner !== '' && (owner === user || owner === goJsonText(user))
}

const given = (type: string | undefined): string | undefined => (type === '' || type === null ? undefined : type)

/** What is written counts, and what is neither "Public" nor left out is private. */
export const isPublic = ({ spec }: Workspace): boolean => (given(spec?.accessType) ?? given(spec?.ownershipType) ?? PUBLIC) === PUBLIC

export interface ConnectionFacts {
  /** Asked of RBAC first. */
  hasPermission: boolean
  /** undefined when the API server answered that there is none, and while there is no permission, since it is not read then. */
  workspace: Workspace | undefined
  /** Empty: only groups were asked about. */
  user: string
}

/** The answer, and the Workspace where it is yes. */
export type ConnectionAnswer =
  | { outcome: 'denied' | 'not found' | 'not owner'; status: ConnectionAccessReviewStatus }
  | { outcome: 'allowed'; status: ConnectionAccessReviewStatus; workspace: Workspace }

const no = (reason: string): ConnectionAccessReviewStatus => ({ allowed: false, notFound: false, reason })
const yes = (workspace: Workspace, reason: string): ConnectionAnswer => ({ outcome: 'allowed', status: { allowed: true, notFound: false, reason }, workspace })

/** Both the permission and the Workspace have to allow it. Reasons are part of the contract: callers show and match them. */
export const decideConnection = ({ hasPermission, workspace, user }: ConnectionFacts): ConnectionAnswer => {
  // Nobody learns of a Workspace who may not connect to any in this namespace.
  if (!hasPermission) return { outcome: 'denied', status: no('RBAC permission denied') }
  if (workspace === undefined) return { outcome: 'not found', status: { ...no('Workspace not found'), notFound: true } }
  if (isPublic(workspace)) return yes(workspace, 'Valid RBAC and the subject Workspace is public')
  if (isOwner(workspace, user)) return yes(workspace, 'Valid RBAC and user is the owner of the private Workspace')
  return { outcome: 'not owner', status: no('User is not the owner of the private Workspace') }
}
