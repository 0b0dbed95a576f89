/** Which kinds the API server serves, asked for by group and version. */
import { CodedError } from '../errors.ts'
import { KubeError } from './kube-error.ts'
import { groupPath } from './paths.ts'
import type { Discovery, Resource } from './ports.ts'
import type { Timers } from './timers.ts'
import type { Requester } from './transport.ts'

/** A kind that is served stays so for this long; one that is not is asked for each time, so that a new CRD is seen at once. */
const REMEMBERED_MS = 60_000

interface ApiResource {
  name: string
  kind: string
  namespaced: boolean
}

const isApiResource = (value: unknown): value is ApiResource =>
  typeof value === 'object' &&
  value !== null &&
  typeof Reflect.get(value, 'name') === 'string' &&
  typeof Reflect.get(value, 'kind') === 'string' &&
  typeof Reflect.get(value, 'namespaced') === 'boolean'

const resourcesOf = (answer: unknown): ApiResource[] => {
  const list: unknown = typeof answer === 'object' && answer !== null ? Reflect.get(answer, 'resources') : undefined
  if (!Array.isArray(list)) throw new KubeError('KUBE_UNAVAILABLE', 'the answer of the API server to discovery is no list of resources')
  return list.filter(isApiResource)
}

export const discovery = (api: Requester, timers: Timers): Discovery => {
  const known = new Map<string, { resource: Resource; at: number }>()
  return {
    resourceFor: async (apiVersion, kind) => {
      const key = `${apiVersion} ${kind}`
      const hit = known.get(key)
      if (hit !== undefined && timers.monotonic() - hit.at < REMEMBERED_MS) return hit.resource
      known.delete(key)
      let path: string
      try {
        path = groupPath(apiVersion)
      } catch (error) {
        // Text that is no API version names nothing that could be served.
        if (error instanceof CodedError) return undefined
        throw error
      }
      let answer: unknown
      try {
        answer = await api.request({ method: 'GET', path })
      } catch (error) {
        if (error instanceof KubeError && error.code === 'KUBE_NOT_FOUND') return undefined
        throw error
      }
      // Names with a slash are subresources; they may carry another kind.
      const found = resourcesOf(answer).find((resource) => resource.kind === kind && !resource.name.includes('/'))
      if (found === undefined) return undefined
      const resource: Resource = { apiVersion, kind, plural: found.name, namespaced: found.namespaced }
      known.set(key, { resource, at: timers.monotonic() })
      return resource
    },
  }
}
