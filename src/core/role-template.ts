import { Type } from 'typebox'
import { Value } from 'typebox/value'
import type { ConfigMap } from '../api/config-map.ts'
import { ANNOTATION } from '../api/names.ts'
import type { PolicyRule } from '../api/rbac.ts'
import { readTemplateYaml, templateError } from './template-config-map.ts'

export interface RoleTemplate {
  /** At least one. What may be granted is judged when the rules are rendered. */
  rules: PolicyRule[]
  /** The template may grant connectors/proxy to the whole ServiceAccount. */
  unbound: boolean
}

const Texts = Type.Array(Type.String())
/** Unknown keys are refused: a misspelt one would change what is granted. */
const RulesSchema = Type.Array(
  Type.Object(
    {
      apiGroups: Type.Optional(Texts),
      resources: Type.Optional(Texts),
      resourceNames: Type.Optional(Texts),
      verbs: Type.Array(Type.String(), { minItems: 1 }),
      nonResourceURLs: Type.Optional(Texts),
    },
    { additionalProperties: false },
  ),
  { minItems: 1, maxItems: 32 },
)

const isUnbound = (annotations: Record<string, string>): boolean => Object.hasOwn(annotations, ANNOTATION.unbound) && annotations[ANNOTATION.unbound] === 'true'

/**
 * The RBAC rules in a ConfigMap's key `rules` (or `ruls`, as some installations have it).
 * @throws CodedError TEMPLATE_MISSING when the key is missing, is no YAML or is no list of rules
 */
export const readRoleTemplate = (configMap: ConfigMap): RoleTemplate => {
  const { key, value } = readTemplateYaml(configMap, ['rules', 'ruls'])
  if (!Value.Check(RulesSchema, value)) {
    const [first] = Value.Errors(RulesSchema, value)
    const where = first === undefined || first.instancePath === '' ? '' : ` (${first.instancePath}: ${first.message})`
    throw templateError(configMap, `its key "${key}" must be a list of 1 to 32 rules with verbs, resources and apiGroups as lists of text${where}`)
  }
  return { rules: value, unbound: isUnbound(configMap.metadata.annotations ?? {}) }
}
