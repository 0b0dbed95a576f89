/** Where a kind is served. Refuses what would reach another path than the one that is meant. */
import { CodedError } from '../errors.ts'
import type { Resource } from './ports.ts'

/** One part of a path. An empty name would turn the read of an object into the read of a list. */
const segment = (what: string, text: string): string => {
  if (text === '' || text === '.' || text === '..' || text.includes('/') || text.includes('%'))
    throw new CodedError('KUBE_INVALID', `${what} ${JSON.stringify(text)} is no name: one is neither empty nor "." nor ".." and holds neither "/" nor "%"`)
  return encodeURIComponent(text)
}

/** `/api/v1` or `/apis/<group>/<version>`. @throws CodedError KUBE_INVALID for text that is no API version */
export const groupPath = (apiVersion: string): string => {
  if (!/^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?v[a-z0-9]+$/.test(apiVersion))
    throw new CodedError('KUBE_INVALID', `${JSON.stringify(apiVersion)} is no API version; write it as v1 or group/v1`)
  return apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`
}

/** @param namespace undefined: all namespaces, or a kind without namespaces */
export const collectionPath = (resource: Resource, namespace: string | undefined): string => {
  const within = resource.namespaced && namespace !== undefined ? `/namespaces/${segment('namespace', namespace)}` : ''
  return `${groupPath(resource.apiVersion)}${within}/${segment('resource', resource.plural)}`
}

/** @throws CodedError KUBE_INVALID also for an object of a namespaced kind without a namespace */
export const objectPath = (resource: Resource, namespace: string | undefined, name: string, subresource?: string): string => {
  if (resource.namespaced && namespace === undefined) throw new CodedError('KUBE_INVALID', `${resource.kind} ${JSON.stringify(name)} needs a namespace`)
  const path = `${collectionPath(resource, namespace)}/${segment('name', name)}`
  return subresource === undefined ? path : `${path}/${segment('subresource', subresource)}`
}
