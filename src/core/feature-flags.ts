import type { ConfigMap } from '../api/config-map.ts'
import { FLAG, FLAGS_CONFIG_MAP, SYSTEM_NAMESPACE } from '../api/names.ts'
import { shown } from './json-shape.ts'

/** Whether approval is in effect. `unknown` grants nothing and refuses nothing for good: the gate waits. */
export type Flags = { state: 'on' } | { state: 'off'; message: string } | { state: 'unknown'; message: string }

const KEYS = [FLAG.approval, FLAG.proxyPermissions] as const
const WHERE = `ConfigMap ${SYSTEM_NAMESPACE}/${FLAGS_CONFIG_MAP}`

/**
 * Both flags "true": on. One of them "false": off, since approval needs both. Anything else (no ConfigMap, no key,
 * another value) is unknown: only an explicit "false" turns a flag off.
 * @param configMap undefined when there is none or it could not be read
 */
export const readFlags = (configMap: ConfigMap | undefined): Flags => {
  if (configMap === undefined) return { state: 'unknown', message: `${WHERE} is missing or cannot be read, so nobody knows whether approval is on` }
  const data = configMap.data ?? {}
  const values = KEYS.map((key) => ({ key, value: Object.hasOwn(data, key) ? data[key] : undefined }))
  const off = values.find(({ value }) => value === 'false')
  if (off !== undefined) return { state: 'off', message: `approval is off: ${WHERE} says ${off.key}: "false"` }
  const unclear = values.find(({ value }) => value !== 'true')
  if (unclear === undefined) return { state: 'on' }
  return {
    state: 'unknown',
    message:
      unclear.value === undefined
        ? `${WHERE} has no key ${unclear.key}; write "true" or "false"`
        : `${WHERE} says ${unclear.key}: ${shown(unclear.value)}; write "true" or "false"`,
  }
}
