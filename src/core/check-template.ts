import { Value } from 'typebox/value'
import { CheckRuleSpecSchema, type CheckRuleSpec } from '../api/access-policy.ts'
import type { ConfigMap } from '../api/config-map.ts'
import { checkSpecProblems } from './check-rules.ts'
import { isRecord } from './json-shape.ts'
import { firstProblems, problemText } from './problem.ts'
import { readTemplateYaml, templateError } from './template-config-map.ts'

/** Older templates write `selector.labels` for `selector.matchLabels`; with both, the unknown key is reported. */
const withMatchLabels = (spec: unknown): unknown => {
  if (!isRecord(spec) || !isRecord(spec['selector'])) return spec
  const { labels, ...selector } = spec['selector']
  if (labels === undefined || selector['matchLabels'] !== undefined) return spec
  return { ...spec, selector: { ...selector, matchLabels: labels } }
}

/**
 * The check in a ConfigMap's key `spec`, held to the same rules as one that is written in a policy.
 * @throws CodedError TEMPLATE_MISSING when the key is missing, is no YAML or is no good check
 */
export const readCheckTemplate = (configMap: ConfigMap): CheckRuleSpec => {
  const spec = withMatchLabels(readTemplateYaml(configMap, ['spec']).value)
  const problems = checkSpecProblems(spec, 'spec')
  if (problems.length > 0) throw templateError(configMap, firstProblems(problems, 'spec').map(problemText).join('; '))
  if (!Value.Check(CheckRuleSpecSchema, spec)) throw templateError(configMap, 'its key "spec" is no check: it needs selector.objectRef with apiVersion and kind')
  return spec
}
