import { Type, type Static } from 'typebox'
import { ConditionSchema, labelSelectorFields, LIMIT, type KubeObject } from './meta.ts'

const namesOf = (description: string) => Type.Array(Type.String({ maxLength: LIMIT.name }), { description, maxItems: LIMIT.names })

const configMapRef = (what: string) =>
  Type.Object(
    {
      configMap: Type.Object(
        { name: Type.String({ description: `Name of the ConfigMap in the system namespace that holds ${what}.`, maxLength: LIMIT.name }) },
        { description: `The ConfigMap that holds ${what}. Only the system namespace is read.` },
      ),
    },
    { description: `Where ${what} is found.` },
  )

const RoleTemplateSchema = Type.Object(
  { ref: configMapRef('the RBAC rules (key "rules")') },
  { description: 'The permission that is granted. Resource names are always set by the controller.' },
)

const ParamSchema = Type.Object(
  {
    name: Type.String({ description: 'Name of the parameter: approvers or numberOfApprovalsRequired.', minLength: 1, maxLength: LIMIT.label }),
    value: Type.Unknown({
      description: 'approvers: an array of user names, "group:<name>" for a group. numberOfApprovalsRequired: a whole number of at least 1, also as a string.',
      'x-kubernetes-preserve-unknown-fields': true,
    }),
  },
  { description: 'A constraint on who must have approved.' },
)
export type CheckParam = Static<typeof ParamSchema>

export const CheckRuleSpecSchema = Type.Object(
  {
    selector: Type.Object(
      {
        objectRef: Type.Object(
          {
            apiVersion: Type.String({ description: 'API version of the check object, for example openshift-pipelines.org/v1alpha1.', maxLength: LIMIT.name }),
            kind: Type.String({ description: 'Kind of the check object, for example ApprovalTask. Secret is refused.', maxLength: LIMIT.label }),
            name: Type.Optional(Type.String({ description: 'Name of the one check object; may hold {…} templates over the Pod.', maxLength: LIMIT.template })),
            namespace: Type.Optional(
              Type.String({ description: 'Left empty: check objects are looked up in the namespace of the Pod, nowhere else.', maxLength: LIMIT.template }),
            ),
          },
          { description: 'The kind of object whose state decides.' },
        ),
        ...labelSelectorFields,
      },
      { description: 'Which objects in the namespace of the Pod are the check. Values may hold {.object…} templates over the Pod.' },
    ),
    state: Type.Optional(
      Type.Object(
        {
          cel: Type.Optional(
            Type.String({
              description: 'CEL over object (the check object) and context (the Pod) that yields "passed", "rejected" or "pending". Without it status.state is read, then the condition Ready or Succeeded.',
              maxLength: LIMIT.expression,
            }),
          ),
          rego: Type.Optional(Type.String({ description: 'Not supported, refused at admission: write state.cel.', maxLength: LIMIT.expression })),
        },
        { description: 'How the state of a check object is read.' },
      ),
    ),
  },
  { description: 'A check written in place.' },
)
export type CheckRuleSpec = Static<typeof CheckRuleSpecSchema>

const CheckRuleSchema = Type.Object(
  {
    name: Type.String({ description: 'Name of the check, unique within the policy.', minLength: 1, maxLength: LIMIT.name }),
    ref: Type.Optional(configMapRef('the check (key "spec")')),
    spec: Type.Optional(CheckRuleSpecSchema),
    params: Type.Optional(Type.Array(ParamSchema, { description: 'Constraints on the approvers of an ApprovalTask; names are unique.', maxItems: 16 })),
  },
  { description: 'One check. Exactly one of ref and spec.' },
)
export type CheckRule = Static<typeof CheckRuleSchema>

export const AccessPolicySpecSchema = Type.Object(
  {
    connector: Type.Optional(
      Type.Object(
        {
          names: Type.Optional(namesOf('Names of Connectors. Not together with labels.')),
          ...labelSelectorFields,
        },
        { description: 'Which Connectors of this namespace the policy speaks of. Empty: all of them.' },
      ),
    ),
    defaultPermission: Type.Optional(
      Type.Object(
        {
          roleTemplate: RoleTemplateSchema,
          bindingTemplate: Type.Object(
            {
              serviceAccounts: Type.Array(
                Type.Object(
                  {
                    names: Type.Optional(namesOf('Names of ServiceAccounts. Empty: all of the selected namespaces.')),
                    namespaceSelector: Type.Optional(
                      Type.Object(
                        {
                          names: Type.Optional(namesOf('Names of namespaces. Not together with labels.')),
                          ...labelSelectorFields,
                        },
                        { description: 'Which namespaces. Empty: all of them.' },
                      ),
                    ),
                  },
                  { description: 'A set of ServiceAccounts.' },
                ),
                { description: 'Who gets the permission.', minItems: 1, maxItems: LIMIT.names },
              ),
            },
            { description: 'Who gets the permission without asking.' },
          ),
        },
        { description: 'A permission given without checks. Accepted, and not in effect yet: see the status.' },
      ),
    ),
    checkGrantedPermission: Type.Optional(
      Type.Object(
        {
          spec: Type.Object(
            {
              checks: Type.Array(CheckRuleSchema, {
                description: 'The checks that must all pass.',
                minItems: 1,
                maxItems: LIMIT.checks,
              }),
              roleTemplate: RoleTemplateSchema,
            },
            { description: 'The checks and the permission.' },
          ),
        },
        { description: 'A permission for one Pod, granted after all checks passed.' },
      ),
    ),
  },
  { description: 'Which Connectors, which checks, which permission.' },
)
export type AccessPolicySpec = Static<typeof AccessPolicySpecSchema>

export const AccessPolicyStatusSchema = Type.Object(
  {
    observedGeneration: Type.Optional(Type.Integer({ description: 'The metadata.generation that this status speaks of.' })),
    matchedConnectors: Type.Optional(
      Type.Array(Type.Object({ name: Type.String({ description: 'Name of the Connector.' }) }, { description: 'A Connector.' }), {
        description: 'The Connectors of this namespace that the policy selects now.',
      }),
    ),
    conditions: Type.Optional(
      Type.Array(ConditionSchema, {
        description: 'ConnectorsMatched, PermissionSynced and Ready.',
        'x-kubernetes-list-type': 'map',
        'x-kubernetes-list-map-keys': ['type'],
      }),
    ),
  },
  { description: 'What the policy selects now. Written by the controller alone.' },
)
export type AccessPolicyStatus = Static<typeof AccessPolicyStatusSchema>

export interface AccessPolicy extends KubeObject {
  spec: AccessPolicySpec
  status?: AccessPolicyStatus
}

export const POLICY_CONDITION = {
  connectorsMatched: 'ConnectorsMatched',
  permissionSynced: 'PermissionSynced',
  ready: 'Ready',
} as const
