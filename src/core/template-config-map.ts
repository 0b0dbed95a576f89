import { parse } from 'yaml'
import type { ConfigMap } from '../api/config-map.ts'
import { SYSTEM_NAMESPACE } from '../api/names.ts'
import { CodedError, messageOf } from '../errors.ts'

/** An alias may stand for a large block; templates are small and need few. */
const MAX_ALIASES = 20

export const templateError = (configMap: ConfigMap, what: string, cause?: unknown): CodedError =>
  new CodedError('TEMPLATE_MISSING', `the template ConfigMap ${configMap.metadata.namespace ?? SYSTEM_NAMESPACE}/${configMap.metadata.name} cannot be used: ${what}`, { cause })

/**
 * The YAML under the first of the keys that is there.
 * @throws CodedError TEMPLATE_MISSING when none of the keys is there or the text is no YAML
 */
export const readTemplateYaml = (configMap: ConfigMap, keys: readonly [string, ...string[]]): { key: string; value: unknown } => {
  const data = configMap.data ?? {}
  const key = keys.find((candidate) => Object.hasOwn(data, candidate))
  const text = key === undefined ? undefined : data[key]
  if (key === undefined || typeof text !== 'string') throw templateError(configMap, `it has no key "${keys[0]}"`)
  try {
    // Warnings would go to the process; errors are thrown all the same.
    return { key, value: parse(text, { maxAliasCount: MAX_ALIASES, logLevel: 'error', prettyErrors: false }) }
  } catch (error) {
    throw templateError(configMap, `its key "${key}" is not YAML: ${messageOf(error)}`, error)
  }
}
