import type { ConfigMap } from '../api/config-map.ts'
import { FLAG, FLAGS_CONFIG_MAP, SYSTEM_NAMESPACE } from '../api/names.ts'
import { own, shown } from './json-shape.ts'

/**
 * Whether approval is in effect. `unknown` grants nothing and refuses nothing for good: the gate waits.
 * With approval `off`, `proxyPermissions` says whether a permission on connectors/proxy that is there already decides; if not, `get` on the Connector is enough.
 */
export type Flags = { state: 'on' } | { state: 'off'; message: string; proxyPermissions: boolean } | { state: 'unknown'; message: string }

const WHERE = `ConfigMap ${SYSTEM_NAMESPACE}/${FLAGS_CONFIG_MAP}`

const valueOf = (configMap: ConfigMap, key: string): unknown => own(configMap.data, key)

const off = (key: string, proxyPermissions: boolean): Flags => ({ state: 'off', message: `approval is off: ${WHERE} says ${key}: "false"`, proxyPermissions })

/**
 * Both flags "true": on. Approval needs both, so it is off as soon as one is "false"; but with approval "false" and proxy
 * permissions unclear nobody knows what a mount takes. Anything unclear (no ConfigMap, no key, another value) is unknown:
 * only an explicit "false" turns a flag off.
 * @param configMap undefined when there is none or it could not be read
 */
export const readFlags = (configMap: ConfigMap | undefined): Flags => {
  if (configMap === undefined) return { state: 'unknown', message: `${WHERE} is missing or cannot be read, so nobody knows whether approval is on` }
  const approval = valueOf(configMap, FLAG.approval)
  const proxyPermissions = valueOf(configMap, FLAG.proxyPermissions)
  if (approval === 'false' && (proxyPermissions === 'true' || proxyPermissions === 'false')) return off(FLAG.approval, proxyPermissions === 'true')
  if (proxyPermissions === 'false') return off(FLAG.proxyPermissions, false)
  if (approval === 'true' && proxyPermissions === 'true') return { state: 'on' }
  const [key, value] = approval === 'true' || approval === 'false' ? [FLAG.proxyPermissions, proxyPermissions] : [FLAG.approval, approval]
  return {
    state: 'unknown',
    message: value === undefined ? `${WHERE} has no key ${key}; write "true" or "false"` : `${WHERE} says ${key}: ${shown(value)}; write "true" or "false"`,
  }
}

/** Whether one volume may name several Connectors: "true" alone says so. @param configMap as for readFlags */
export const isMultiConnector = (configMap: ConfigMap | undefined): boolean => configMap !== undefined && valueOf(configMap, FLAG.multiConnector) === 'true'
