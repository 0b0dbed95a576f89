import { Type, type Static } from 'typebox'

/** What every object of the API carries, as far as this program reads it. */
export interface ObjectMeta {
  name: string
  namespace?: string
  generateName?: string
  uid?: string
  resourceVersion?: string
  generation?: number
  creationTimestamp?: string
  deletionTimestamp?: string
  labels?: Record<string, string>
  annotations?: Record<string, string>
  finalizers?: string[]
  ownerReferences?: OwnerReference[]
}

export interface OwnerReference {
  apiVersion: string
  kind: string
  name: string
  uid: string
  controller?: boolean
  blockOwnerDeletion?: boolean
}

/** Any object as it comes from the API server. */
export interface KubeObject {
  apiVersion?: string
  kind?: string
  metadata: ObjectMeta
}

/**
 * Upper bounds on what people may write, in characters and entries. They keep hostile objects small and the cost of
 * the CRDs' CEL rules bounded. A status has no bounds but those of metav1.Condition: a refused status would stop a revocation.
 */
export const LIMIT = {
  /** Name of an object or an API group (DNS subdomain), or a uid. */
  name: 253,
  /** Name of a namespace (DNS label), or a kind. */
  label: 63,
  /** A label value, or the template that it is rendered from. */
  template: 1024,
  expression: 8192,
  /** Entries of a label selector. */
  labels: 64,
  /** Names in a selector. */
  names: 512,
  checks: 64,
} as const

export const ConditionSchema = Type.Object(
  {
    type: Type.String({ description: 'What the condition speaks of.', minLength: 1, maxLength: 316 }),
    status: Type.Enum(['True', 'False', 'Unknown'], { type: 'string', description: 'True, False or Unknown.' }),
    reason: Type.String({ description: 'One word for programs: why the condition has this status.', minLength: 1, maxLength: 1024 }),
    message: Type.String({ description: 'One sentence for people: what is awaited, missing or done.', maxLength: 32768 }),
    lastTransitionTime: Type.String({ description: 'When the status changed last.', format: 'date-time' }),
    observedGeneration: Type.Optional(Type.Integer({ description: 'The metadata.generation that this condition was computed from.', minimum: 0 })),
  },
  { description: 'One aspect of the current state (metav1.Condition).' },
)
export type Condition = Static<typeof ConditionSchema>
export type ConditionStatus = Condition['status']

export const LabelRequirementSchema = Type.Object(
  {
    key: Type.String({ description: 'The label key.', minLength: 1, maxLength: 317 }),
    operator: Type.Enum(['In', 'NotIn', 'Exists', 'DoesNotExist'], {
      type: 'string',
      description: 'In, NotIn, Exists or DoesNotExist.',
    }),
    values: Type.Optional(
      Type.Array(Type.String(), {
        description: 'Values for In and NotIn; must be empty for Exists and DoesNotExist.',
        maxItems: LIMIT.labels,
      }),
    ),
  },
  { description: 'A requirement on one label.' },
)
export type LabelRequirement = Static<typeof LabelRequirementSchema>

/** Of a record that takes any key. TypeBox's own pattern for them passes over keys with a line end, and so over what they hold. */
export const ANY_KEY = '^[\\s\\S]*$'
export const AnyKey = Type.String({ pattern: ANY_KEY })

const matchLabels = Type.Optional(
  Type.Record(AnyKey, Type.String({ maxLength: LIMIT.template }), {
    description: 'Labels that must all be there with these values.',
    maxProperties: LIMIT.labels,
  }),
)
const matchExpressions = Type.Optional(
  Type.Array(LabelRequirementSchema, { description: 'Requirements that must all hold.', maxItems: LIMIT.labels }),
)

/** The two fields of a label selector, to be spread into a schema that has more of them. */
export const labelSelectorFields = { matchLabels, matchExpressions }
export interface LabelSelector {
  matchLabels?: Record<string, string>
  matchExpressions?: LabelRequirement[]
}
