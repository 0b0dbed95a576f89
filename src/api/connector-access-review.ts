/** The virtual kind of access.connectors.alauda.io: it is asked and answered, and never stored. */
import { Type, type Static } from 'typebox'
import { AnyKey, LabelRequirementSchema } from './meta.ts'

export const ACCESS_GROUP = 'access.connectors.alauda.io'
export const ACCESS_VERSION = 'v1alpha1'

export const CONNECTOR_ACCESS_REVIEW = { kind: 'ConnectorAccessReview', plural: 'connectoraccessreviews', singular: 'connectoraccessreview' } as const

export const ConnectorAccessReviewSpecSchema = Type.Object(
  {
    connectorName: Type.String({ description: 'Name of the Connector, in the namespace of the review.' }),
    subject: Type.Object(
      {
        kind: Type.String({ description: 'Kind of the subject: ServiceAccount.' }),
        name: Type.String({ description: 'Name of the ServiceAccount.' }),
        namespace: Type.String({ description: 'Namespace of the ServiceAccount and of its Pods.' }),
      },
      { description: 'Who would use the Connector.' },
    ),
    podName: Type.Optional(Type.String({ description: 'Name of a Pod in the namespace of the ServiceAccount, there already or not. Left out: any new Pod.' })),
    user: Type.Optional(
      Type.String({ description: 'The person who would create the Pod: the review then also asks whether they may create Pods in that namespace. The groups of the caller alone are known.' }),
    ),
  },
  { description: 'Who would like to use which Connector.' },
)
export type ConnectorAccessReviewSpec = Static<typeof ConnectorAccessReviewSpecSchema>

const AskedCheckSchema = Type.Object(
  {
    name: Type.String({ description: 'Name of the check rule.' }),
    apiVersion: Type.Optional(Type.String({ description: 'API version of the check objects.' })),
    kind: Type.Optional(Type.String({ description: 'Kind of the check objects, for example ApprovalTask. They are looked up in the namespace of the Pod.' })),
    objectName: Type.Optional(Type.String({ description: 'Name of the one check object. What is in braces is filled in from the Pod.' })),
    matchLabels: Type.Optional(Type.Record(AnyKey, Type.String(), { description: 'Labels of the check objects. What is in braces is filled in from the Pod.' })),
    matchExpressions: Type.Optional(Type.Array(LabelRequirementSchema, { description: 'Requirements on the labels. What is in braces is filled in from the Pod.' })),
    approvers: Type.Optional(Type.Array(Type.String(), { description: 'Who may approve; "group:<name>" is the members of a group. Left out: whoever the check object lets.' })),
    approvalsRequired: Type.Optional(Type.Integer({ description: 'How many different people must have approved.' })),
    problem: Type.Optional(Type.String({ description: 'Why the check cannot be evaluated as things are.' })),
  },
  { description: 'One check that must pass.' },
)
export type AskedCheck = Static<typeof AskedCheckSchema>

const AskedPolicySchema = Type.Object(
  {
    name: Type.String({ description: 'Name of the AccessPolicy, in the namespace of the Connector.' }),
    checks: Type.Array(AskedCheckSchema, { description: 'The checks that must all pass.' }),
  },
  { description: 'One AccessPolicy that asks for checks.' },
)
export type AskedPolicy = Static<typeof AskedPolicySchema>

export const ConnectorAccessReviewStatusSchema = Type.Object(
  {
    allowed: Type.Boolean({ description: 'Whether the ServiceAccount, with this Pod, may use the Connector now. Answered by the API server alone, never by a request.' }),
    notFound: Type.Boolean({ description: 'There is no Connector of that name in the namespace of the review.' }),
    wouldRequest: Type.Boolean({ description: 'A Pod that mounts the Connector would get an AccessRequest now.' }),
    policies: Type.Array(AskedPolicySchema, { description: 'What would be asked, or is being asked, before access is given. Every check of every policy must pass.' }),
    reason: Type.String({ description: 'Why, in one sentence for people.' }),
  },
  { description: 'The answer.' },
)
export type ConnectorAccessReviewStatus = Static<typeof ConnectorAccessReviewStatusSchema>
