import { Type, type Static } from 'typebox'
import { AccessPolicySpecSchema } from './access-policy.ts'
import { AnyKey, ConditionSchema, LabelRequirementSchema, LIMIT, type KubeObject } from './meta.ts'

export const AccessRequestSpecSchema = Type.Object(
  {
    subject: Type.Object(
      {
        kind: Type.String({ description: 'Kind of the subject: ServiceAccount.', maxLength: LIMIT.label }),
        name: Type.String({ description: "Name of the subject: the Pod's ServiceAccount.", maxLength: LIMIT.name }),
        namespace: Type.Optional(Type.String({ description: 'Namespace of the subject; the same as that of the Pod.', maxLength: LIMIT.label })),
        apiGroup: Type.Optional(Type.String({ description: 'API group of the subject: empty for a ServiceAccount.', maxLength: LIMIT.name })),
      },
      { description: 'Who asks for access.' },
    ),
    connectorRef: Type.Object(
      {
        name: Type.String({ description: 'Name of the Connector.', maxLength: LIMIT.name }),
        namespace: Type.Optional(
          Type.String({ description: "The request's own namespace, or left out: a request reaches only a Connector beside it.", maxLength: LIMIT.label }),
        ),
      },
      { description: 'The Connector that is asked for, in the namespace of the request.' },
    ),
    context: Type.Object(
      {
        objectRef: Type.Object(
          {
            apiVersion: Type.Optional(Type.String({ description: 'API version of the object: v1 (the default).', maxLength: LIMIT.name })),
            kind: Type.Optional(Type.String({ description: 'Kind of the object: Pod (the default).', maxLength: LIMIT.label })),
            name: Type.String({ description: 'Name of the Pod.', maxLength: LIMIT.name }),
            namespace: Type.String({ description: 'Namespace of the Pod; may differ from that of the request.', maxLength: LIMIT.label }),
            uid: Type.Optional(Type.String({ description: 'UID of the Pod. Left out, the first live Pod of that name is meant.', maxLength: LIMIT.name })),
            fieldPath: Type.Optional(Type.String({ description: 'Refused: a request is for a whole Pod.', maxLength: LIMIT.template })),
            resourceVersion: Type.Optional(Type.String({ description: 'Refused: a request is for a Pod, not for a version of it.', maxLength: LIMIT.name })),
          },
          { description: 'The one Pod that the access is for.' },
        ),
      },
      { description: 'What the access is bound to.' },
    ),
  },
  { description: 'Who wants which Connector for which Pod. Never changes: another subject, Connector or Pod is another request.' },
)
export type AccessRequestSpec = Static<typeof AccessRequestSpecSchema>

const conditionOf = (description: string) => Type.Object(ConditionSchema.properties, { description })

const PolicyRuleSchema = Type.Object(
  {
    apiGroups: Type.Array(Type.String(), { description: 'API groups.' }),
    resources: Type.Array(Type.String(), { description: 'Resources, with the path of the Pod filled in.' }),
    verbs: Type.Array(Type.String(), { description: 'Verbs.' }),
  },
  { description: 'A rule of the Role, without the resource names that the controller adds.' },
)
/** A rendered rule of a role template; resourceNames are added when the Role is made. */
export type RenderedRule = Static<typeof PolicyRuleSchema>

const ResolvedCheckSchema = Type.Object(
  {
    name: Type.String({ description: 'Name of the check rule.' }),
    apiVersion: Type.String({ description: 'API version of the check objects.' }),
    kind: Type.String({ description: 'Kind of the check objects.' }),
    objectName: Type.Optional(Type.String({ description: 'Name of the one check object.' })),
    matchLabels: Type.Optional(Type.Record(AnyKey, Type.String(), { description: 'Labels of the check objects, filled in from the Pod.' })),
    matchExpressions: Type.Optional(Type.Array(LabelRequirementSchema, { description: 'Requirements on the labels, filled in from the Pod.' })),
    cel: Type.Optional(Type.String({ description: 'The expression that reads the state.' })),
    approvers: Type.Optional(Type.Array(Type.String(), { description: 'Who may have approved.' })),
    approvalsRequired: Type.Optional(Type.Integer({ description: 'How many of them must have.' })),
  },
  { description: 'A check as it was when the policy matched.' },
)
export type ResolvedCheck = Static<typeof ResolvedCheckSchema>

const CheckObjectRefSchema = Type.Object(
  {
    apiVersion: Type.String({ description: 'API version.' }),
    kind: Type.String({ description: 'Kind.' }),
    namespace: Type.String({ description: 'Namespace.' }),
    name: Type.String({ description: 'Name.' }),
    uid: Type.String({ description: 'UID: another object of the same name is another check.' }),
  },
  { description: 'The object that was found.' },
)

const MatchedCheckSchema = Type.Object(
  {
    name: Type.String({ description: 'Name of the check rule; may repeat, one entry for each object found.' }),
    ref: CheckObjectRefSchema,
    condition: conditionOf('The result: True is passed, False is rejected or failed, Unknown is pending.'),
    approvedBy: Type.Optional(Type.Array(Type.String(), { description: 'Who approved, as far as the object says so.' })),
  },
  { description: 'The result of one check object.' },
)
export type MatchedCheck = Static<typeof MatchedCheckSchema>

const PolicySnapshotSchema = Type.Object(
  {
    name: Type.String({ description: 'Name of the AccessPolicy.' }),
    policySpec: Type.Object(AccessPolicySpecSchema.properties, { description: 'The spec of the policy at that moment.' }),
    checks: Type.Optional(Type.Array(ResolvedCheckSchema, { description: 'The checks, resolved; one whose template is missing is not here yet.' })),
    rules: Type.Optional(Type.Array(PolicyRuleSchema, { description: 'The rules of the Role; absent while the template is missing or refused.' })),
    unbound: Type.Optional(Type.Boolean({ description: 'The rules reach beyond this one Pod, as the template is annotated to allow.' })),
    matchedChecks: Type.Optional(Type.Array(MatchedCheckSchema, { description: 'The results, one for each check object.' })),
    permissionSync: Type.Optional(conditionOf('Whether the Role and RoleBinding for this policy are there.')),
  },
  { description: 'A policy as it was when it first matched; later edits of it or of its templates change nothing here.' },
)
export type PolicySnapshot = Static<typeof PolicySnapshotSchema>

export const AccessRequestStatusSchema = Type.Object(
  {
    observedGeneration: Type.Optional(Type.Integer({ description: 'The metadata.generation that this status speaks of.' })),
    contextUID: Type.Optional(Type.String({ description: 'UID of the Pod that the request was bound to when a live one was first seen.' })),
    connectorUID: Type.Optional(Type.String({ description: 'UID of the Connector that the policies were matched for.' })),
    conditions: Type.Optional(
      Type.Array(ConditionSchema, {
        description: 'ContextObjectValid, ConnectorResolved, AccessPolicyMatched, AccessCheckReady, AccessPermissionSync and Ready.',
        'x-kubernetes-list-type': 'map',
        'x-kubernetes-list-map-keys': ['type'],
      }),
    ),
    policies: Type.Optional(
      Type.Array(PolicySnapshotSchema, {
        description: 'The matched policies as they were at the first match, with the results of their checks.',
        'x-kubernetes-list-type': 'map',
        'x-kubernetes-list-map-keys': ['name'],
      }),
    ),
  },
  { description: 'How far the approval is, and what was granted for it. Written by the controller alone.' },
)
export type AccessRequestStatus = Static<typeof AccessRequestStatusSchema>

export interface AccessRequest extends KubeObject {
  spec: AccessRequestSpec
  status?: AccessRequestStatus
}

export const CONDITION = {
  contextObjectValid: 'ContextObjectValid',
  connectorResolved: 'ConnectorResolved',
  accessPolicyMatched: 'AccessPolicyMatched',
  accessCheckReady: 'AccessCheckReady',
  accessPermissionSync: 'AccessPermissionSync',
  ready: 'Ready',
} as const
export type ConditionType = (typeof CONDITION)[keyof typeof CONDITION]

export const REASON = {
  active: 'Active',
  completed: 'Completed',
  notFound: 'NotFound',
  replaced: 'Replaced',
  resolved: 'Resolved',
  matched: 'Matched',
  noMatched: 'NoMatched',
  passed: 'Passed',
  pending: 'Pending',
  rejected: 'Rejected',
  failed: 'Failed',
  synced: 'Synced',
  syncFailed: 'SyncFailed',
  noPermissionRequired: 'NoPermissionRequired',
  permissionCleanUp: 'PermissionCleanUp',
  approverMismatch: 'ApproverMismatch',
} as const
