/** The feature flags as they are now, kept by a watch. */
import type { ConfigMap } from '../api/config-map.ts'
import { FLAGS_CONFIG_MAP, SYSTEM_NAMESPACE } from '../api/names.ts'
import { isMultiConnector, readFlags, type Flags } from '../core/feature-flags.ts'
import type { Clock } from '../kube/ports.ts'
import type { Reflector } from '../kube/reflector.ts'
import { STALE_MS } from '../kube/sources.ts'
import type { StoreView } from '../kube/store.ts'

export interface FlagsNow {
  flags: Flags
  multiConnector: boolean
}

export interface FlagsWatch {
  now(): FlagsNow
  /** Called when they may have changed, also when they were read for the first time. @returns a function that ends it */
  onChange(handler: () => void): () => void
}

const unknown = (message: string): FlagsNow => ({ flags: { state: 'unknown', message }, multiConnector: false })

/** @param reflector of the one ConfigMap, feeding the store */
export const createFlagsWatch = (
  store: StoreView<ConfigMap>,
  reflector: Pick<Reflector, 'hasSynced' | 'synced' | 'stale'>,
  clock: Clock,
): FlagsWatch => ({
  now: () => {
    const what = `the flags in ConfigMap ${SYSTEM_NAMESPACE}/${FLAGS_CONFIG_MAP}`
    if (!reflector.hasSynced) return unknown(`${what} could not be read yet, so nobody knows whether approval is on`)
    if (reflector.stale(clock.now(), STALE_MS)) return unknown(`nothing was heard of ${what} for ${STALE_MS / 1000} s, so nobody knows whether approval is on`)
    const configMap = store.get(SYSTEM_NAMESPACE, FLAGS_CONFIG_MAP)
    return { flags: readFlags(configMap), multiConnector: isMultiConnector(configMap) }
  },
  onChange: (handler) => {
    // A first list without the ConfigMap changes nothing in the store, and says a lot all the same.
    if (!reflector.hasSynced) void reflector.synced.then(handler)
    return store.onChange(handler)
  },
})
