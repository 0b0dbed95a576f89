/** What a request path of the API asks about. */
import { namespaceProblem } from './name-rules.ts'

/** What the API server calls the attributes of a request for a resource; empty where the path says nothing. */
export interface ResourcePath {
  kind: 'resource'
  group: string
  version: string
  namespace: string
  resource: string
  name: string
  subresource: string
  /** Exactly `/apis/<group>/<version>/namespaces/<namespace>/<resource>`: the only form under which something is created. */
  isCollection: boolean
}

export type ApiPath =
  | ResourcePath
  /** Any other path, without a slash at its end. */
  | { kind: 'path'; path: string }
  /** The namespace is no DNS label. */
  | { kind: 'bad-namespace'; problem: string }
  /** No path that anything is at: escapes, empty or dot segments, unusual characters. */
  | { kind: 'nowhere' }

/** Nothing that is served has a name with other characters, so whatever is escaped is meant for somewhere else. */
const PLAIN = /^(\/[A-Za-z0-9._:-]+)+\/?$/

const isDots = (segment: string): boolean => segment === '.' || segment === '..'

const resourcePath = (group: string, version: string, rest: readonly string[]): ApiPath => {
  const [first = '', namespace = '', resource = '', name = ''] = rest
  if (first !== 'namespaces' || rest.length < 3) {
    return { kind: 'resource', group, version, namespace: first === 'namespaces' ? namespace : '', resource: first, name: namespace, subresource: rest.slice(2).join('/'), isCollection: false }
  }
  const problem = namespaceProblem(namespace)
  if (problem !== undefined) return { kind: 'bad-namespace', problem: `the namespace in the path ${problem}` }
  return { kind: 'resource', group, version, namespace, resource, name, subresource: rest.slice(4).join('/'), isCollection: rest.length === 3 }
}

/** @param path as it was sent, without the query. Nothing in it is decoded: a path that needs it leads nowhere. */
export const parseApiPath = (path: string): ApiPath => {
  if (path === '/') return { kind: 'path', path }
  if (!PLAIN.test(path)) return { kind: 'nowhere' }
  const hasSlash = path.endsWith('/')
  const segments = (hasSlash ? path.slice(0, -1) : path).split('/')
  if (segments.some(isDots)) return { kind: 'nowhere' }
  const [, root, group = '', version = ''] = segments
  if (root !== 'apis' || segments.length < 5) return { kind: 'path', path: hasSlash ? path.slice(0, -1) : path }
  return hasSlash ? { kind: 'nowhere' } : resourcePath(group, version, segments.slice(4))
}

const VERBS: Readonly<Record<string, { named: string; collection: string }>> = {
  POST: { named: 'create', collection: 'create' },
  GET: { named: 'get', collection: 'list' },
  HEAD: { named: 'get', collection: 'list' },
  PUT: { named: 'update', collection: 'update' },
  PATCH: { named: 'patch', collection: 'patch' },
  DELETE: { named: 'delete', collection: 'deletecollection' },
}

/** The verb that the caller must be allowed; other methods stand for themselves. */
export const verbOf = (method: string, path: ResourcePath): string => {
  const verbs = Object.hasOwn(VERBS, method) ? VERBS[method] : undefined
  return verbs === undefined ? method.toLowerCase() : path.name === '' ? verbs.collection : verbs.named
}
