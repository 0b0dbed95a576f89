import { Type, type Static } from 'typebox'
import { AnyKey, ConditionSchema, LIMIT, type KubeObject } from './meta.ts'

export const WORKSPACE_GROUP = 'workspace.jupyter.org'
const WORKSPACE_VERSION = 'v1alpha1'
export const WORKSPACE_API_VERSION = `${WORKSPACE_GROUP}/${WORKSPACE_VERSION}`

/** On Workspaces: the user who made it, and by that its owner. Written by the admission check of the Workspaces' own project. */
export const CREATED_BY = 'workspace.jupyter.org/created-by'
/** On Pods: the Workspace of the same namespace that they run. */
export const WORKSPACE_NAME_LABEL = 'workspace.jupyter.org/workspace-name'
/** The condition that says that a Workspace can be reached. */
export const AVAILABLE = 'Available'
/** Of accessType and ownershipType; everything else is private. */
export const PUBLIC = 'Public'

const accessTypes = ['Public', 'OwnerOnly']

export const WorkspaceSpecSchema = Type.Object(
  {
    displayName: Type.Optional(Type.String({ description: 'Name for people.', maxLength: LIMIT.template })),
    ownershipType: Type.Optional(Type.String({ description: 'Who may change the Workspace: Public or OwnerOnly.', enum: accessTypes })),
    accessType: Type.Optional(
      Type.String({ description: 'Who may connect: Public is everyone who has the permission, OwnerOnly the owner alone. Left out: the same as ownershipType.', enum: accessTypes }),
    ),
    accessStrategy: Type.Optional(
      Type.Object(
        {
          name: Type.String({ description: 'Name of the WorkspaceAccessStrategy.', maxLength: LIMIT.name }),
          namespace: Type.Optional(Type.String({ description: 'Namespace of the WorkspaceAccessStrategy. Left out: that of the Workspace.', maxLength: LIMIT.label })),
        },
        { description: 'How the Workspace is connected to.' },
      ),
    ),
  },
  { description: 'One development environment, as far as connections to it are concerned.', 'x-kubernetes-preserve-unknown-fields': true },
)

export const WorkspaceStatusSchema = Type.Object(
  {
    accessURL: Type.Optional(Type.String({ description: 'Where the Workspace is reached.' })),
    conditions: Type.Optional(
      Type.Array(ConditionSchema, {
        description: 'The state of the Workspace; Available says that it can be connected to.',
        'x-kubernetes-list-type': 'map',
        'x-kubernetes-list-map-keys': ['type'],
      }),
    ),
  },
  { description: 'What is known of the Workspace.', 'x-kubernetes-preserve-unknown-fields': true },
)

/** Only what decisions read; the objects of the real project hold a lot more. */
export interface Workspace extends KubeObject {
  spec?: Static<typeof WorkspaceSpecSchema>
  status?: Static<typeof WorkspaceStatusSchema>
}

const textsByKey = (description: string) => Type.Optional(Type.Record(AnyKey, Type.String({ maxLength: LIMIT.template }), { description, maxProperties: LIMIT.labels }))

export const WorkspaceAccessStrategySpecSchema = Type.Object(
  {
    displayName: Type.Optional(Type.String({ description: 'Name for people.', maxLength: LIMIT.template })),
    accessURLTemplate: Type.Optional(Type.String({ description: 'Template of the address of a Workspace.', maxLength: LIMIT.expression })),
    bearerAuthURLTemplate: Type.Optional(
      Type.String({
        description:
          'Go template of the https address that a browser opens first, over .Workspace and .AccessStrategy, with the function b32encode; the token is added as a query parameter. Left out: no access by web browser.',
        maxLength: LIMIT.expression,
      }),
    ),
    createConnectionHandler: Type.Optional(
      Type.String({ description: 'Who makes remote connections of types that createConnectionHandlerMap does not name: "<plugin>" or "<plugin>:<action>".', maxLength: LIMIT.template }),
    ),
    createConnectionHandlerMap: textsByKey('Who makes remote connections, by connection type, for example vscode-remote: "aws:createSession".'),
    createConnectionContext: textsByKey('Values that are handed to the plugin. "extensionapi::PodUid()" stands for the uid of the Pod of the Workspace.'),
  },
  { description: 'How Workspaces are connected to.', 'x-kubernetes-preserve-unknown-fields': true },
)

export const WorkspaceAccessStrategyStatusSchema = Type.Object(
  { conditions: Type.Optional(Type.Array(ConditionSchema, { description: 'The state of the access strategy.' })) },
  { description: 'What is known of the access strategy.', 'x-kubernetes-preserve-unknown-fields': true },
)

export interface WorkspaceAccessStrategy extends KubeObject {
  spec?: Static<typeof WorkspaceAccessStrategySpecSchema>
}
