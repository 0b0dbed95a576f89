/** What memory-kube does with single objects: keys, copies, patches, selection. */
import type { KubeObject, ObjectMeta } from '../../src/api/meta.ts'
import { CodedError } from '../../src/errors.ts'
import type { ListOptions, Resource } from '../../src/kube/ports.ts'
import { fieldMatcher, labelMatcher } from './selectors.ts'

export type Stored = KubeObject & Record<string, unknown>

export const kindKey = (r: { apiVersion: string; plural: string }): string => `${r.apiVersion}/${r.plural}`
export const notServed = (resource: Resource): CodedError =>
  new CodedError('KUBE_NOT_FOUND', `the API server serves no ${resource.plural} of ${resource.apiVersion}`)
export const conflict = (resource: Resource, name: string, why: string): CodedError => new CodedError('KUBE_CONFLICT', `${resource.plural} "${name}" ${why}`)
export const absent = (resource: Resource, name: string): CodedError => new CodedError('KUBE_NOT_FOUND', `${resource.plural} "${name}" not found`)

export const withoutMeta = (object: Stored): object => ({ ...object, metadata: undefined, status: undefined })

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)

/** RFC 7386. */
export const merged = (target: unknown, patch: unknown): unknown => {
  if (!isRecord(patch)) return patch
  const result: Record<string, unknown> = isRecord(target) ? { ...target } : {}
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key]
    else result[key] = merged(result[key], value)
  }
  return result
}

export const keyOf = (namespace: string | undefined, name: string): string => `${namespace ?? ''}/${name}`
export const keyOfObject = (resource: Resource, meta: ObjectMeta): string => keyOf(resource.namespaced ? meta.namespace : undefined, meta.name)
/** Through JSON, as over the wire: undefined fields are gone. */
export const copy = <T extends KubeObject>(_of: Resource<T>, object: KubeObject): T => JSON.parse(JSON.stringify(object))
export const received = (object: KubeObject): Stored => JSON.parse(JSON.stringify(object))
export const inNamespace = (namespace: string | undefined): { namespace?: string } => (namespace === undefined ? {} : { namespace })
export const place = (namespace: string | undefined, name: string): { namespace?: string; name: string } => ({ ...inNamespace(namespace), name })
export const selected = (resource: Resource, { namespace, labelSelector, fieldSelector }: ListOptions): ((object: Stored) => boolean) => {
  const labels = labelMatcher(labelSelector)
  const fields = fieldMatcher(fieldSelector)
  return (object) => (namespace === undefined || !resource.namespaced || object.metadata.namespace === namespace) && labels(object) && fields(object)
}
export const timestamp = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z')
export const refuseAll = (): boolean => false
export const pick = <T extends object, K extends keyof T>(from: T, keys: readonly K[]): Partial<Pick<T, K>> => {
  const result: Partial<Pick<T, K>> = {}
  for (const key of keys) if (from[key] !== undefined) result[key] = from[key]
  return result
}
