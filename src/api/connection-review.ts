/** The virtual kinds of connection.workspace.jupyter.org: they are asked and answered, and never stored. */
import { Type, type Static } from 'typebox'
import { AnyKey } from './meta.ts'

export const CONNECTION_GROUP = 'connection.workspace.jupyter.org'
export const CONNECTION_VERSION = 'v1alpha1'
export const CONNECTION_API_VERSION = `${CONNECTION_GROUP}/${CONNECTION_VERSION}`

export const CONNECTION_ACCESS_REVIEW = { kind: 'ConnectionAccessReview', plural: 'connectionaccessreviews', singular: 'connectionaccessreview' } as const
export const WORKSPACE_CONNECTION = { kind: 'WorkspaceConnection', plural: 'workspaceconnections', singular: 'workspaceconnection' } as const
export const BEARER_TOKEN_REVIEW = { kind: 'BearerTokenReview', plural: 'bearertokenreviews', singular: 'bearertokenreview' } as const

const groups = (description: string) => Type.Optional(Type.Array(Type.String(), { description }))
const extra = (description: string) => Type.Optional(Type.Record(AnyKey, Type.Array(Type.String()), { description }))

export const ConnectionAccessReviewSpecSchema = Type.Object(
  {
    workspaceName: Type.String({ description: 'Name of the Workspace, in the namespace of the review.' }),
    user: Type.Optional(Type.String({ description: 'Name of the user that is asked about. Required unless groups are given. Only a user can be the owner of a Workspace.' })),
    groups: groups('Groups of the user. Asked about exactly as they are given; none is added.'),
    uid: Type.Optional(Type.String({ description: 'UID of the user.' })),
    extra: extra('Further attributes of the user from authentication, as a SubjectAccessReview takes them.'),
  },
  { description: 'Who would like to connect to which Workspace.' },
)
export type ConnectionAccessReviewSpec = Static<typeof ConnectionAccessReviewSpecSchema>

export const ConnectionAccessReviewStatusSchema = Type.Object(
  {
    allowed: Type.Boolean({ description: 'Whether the user may connect: has the permission, and the Workspace is public or the user owns it.' }),
    notFound: Type.Boolean({ description: 'The user has the permission in this namespace, and there is no Workspace of that name.' }),
    reason: Type.String({ description: 'Why, for people.' }),
  },
  { description: 'The answer.' },
)
export type ConnectionAccessReviewStatus = Static<typeof ConnectionAccessReviewStatusSchema>

/** The connection type of a web browser; the others end in "-remote". */
export const WEB_UI = 'web-ui'

export const WorkspaceConnectionSpecSchema = Type.Object(
  {
    workspaceName: Type.String({ description: 'Name of the Workspace, in the namespace of the request.' }),
    workspaceConnectionType: Type.String({ description: 'web-ui for a web browser, or "<ide>-remote", for example vscode-remote.' }),
  },
  { description: 'Which Workspace the caller wants to connect to, and with what.' },
)
export type WorkspaceConnectionSpec = Static<typeof WorkspaceConnectionSpecSchema>

export const WorkspaceConnectionStatusSchema = Type.Object(
  {
    workspaceConnectionType: Type.String({ description: 'The type that was asked for.' }),
    workspaceConnectionUrl: Type.String({ description: 'Where to connect to. Holds a secret that is good for one use and a few minutes: pass it on to nobody. Empty on a dry run.' }),
  },
  { description: 'The answer.' },
)
export type WorkspaceConnectionStatus = Static<typeof WorkspaceConnectionStatusSchema>

export const BearerTokenReviewSpecSchema = Type.Object(
  { token: Type.Optional(Type.String({ description: 'The token of a WorkspaceConnection of type web-ui. Never part of the answer.' })) },
  { description: 'The token that is asked about.' },
)
export type BearerTokenReviewSpec = Static<typeof BearerTokenReviewSpecSchema>

export const BearerTokenReviewStatusSchema = Type.Object(
  {
    authenticated: Type.Boolean({ description: 'The token is good, for this namespace, and was not used before.' }),
    path: Type.Optional(Type.String({ description: 'Path of the Workspace that the token is for.' })),
    domain: Type.Optional(Type.String({ description: 'Host that the token is for, with the port where there is one.' })),
    user: Type.Object(
      {
        username: Type.String({ description: 'Name of the user; empty unless authenticated.' }),
        uid: Type.Optional(Type.String({ description: 'UID of the user.' })),
        groups: groups('Groups of the user.'),
        extra: extra('Further attributes of the user.'),
      },
      { description: 'Whom the token was made for.' },
    ),
    error: Type.Optional(Type.String({ description: 'Why the token is not good.' })),
  },
  { description: 'The answer.' },
)
export type BearerTokenReviewStatus = Static<typeof BearerTokenReviewStatusSchema>
