/** Which workspace a forwarded request is for, and which paths belong to it. */
import { decodeBase32 } from './base32.ts'
import type { ForwardedRequest } from './forwarded-request.ts'
import type { LinearPattern } from './linear-pattern.ts'
import { namespaceProblem } from './name-rules.ts'

export interface WorkspaceKey {
  namespace: string
  name: string
}

/** A workspace, and the path at which it is served: all of it belongs to one session. */
export interface WorkspacePlace {
  workspace: WorkspaceKey
  /** Begins with a slash and ends with none, unless it is all of it. */
  appPath: string
}

/** What names a workspace: the path, or the first label of the host. */
export interface WorkspaceRouting {
  mode: 'path' | 'subdomain'
  /** Its first group is the application path. */
  appPath: LinearPattern
  /** One group each; looked for in the path, or in the first label of the host, where the namespace is in base32. */
  namespace: LinearPattern
  name: LinearPattern
}

/** Where the host names the workspace, all of its paths are the workspace's. */
export const DEFAULT_PATTERNS = {
  path: { appPath: '^(/workspaces/[^/]+/[^/]+)(?:/.*)?$', namespace: '^/workspaces/([^/]+)/[^/]+', name: '^/workspaces/[^/]+/([^/]+)' },
  subdomain: { appPath: '^(/)', namespace: '^([^-]+)-.*', name: '^[^-]+-(.*)$' },
} as const

/** Without the slash at its end, unless it is all of it. */
export const trimSlash = (path: string): string => (path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path)

/** The part of a path that is the application's. Where the pattern does not match, the whole path is: it covers the least. */
export const appPathOf = ({ appPath }: Pick<WorkspaceRouting, 'appPath'>, path: string): string => {
  const found = appPath.firstGroup(path)
  return trimSlash(found === undefined || found === '' ? path : found)
}

const text = (bytes: Uint8Array): string => String.fromCharCode(...bytes)

/** A host name's first label; the port is no part of it. */
const firstLabel = (host: string): string => /^[^.:]*/.exec(host)?.[0] ?? ''

const namesIn = ({ mode, namespace, name }: WorkspaceRouting, { path, host }: Pick<ForwardedRequest, 'path' | 'host'>): Partial<WorkspaceKey> => {
  if (mode === 'path') return { namespace: namespace.firstGroup(path) ?? '', name: name.firstGroup(path) ?? '' }
  const label = firstLabel(host)
  const decoded = decodeBase32(namespace.firstGroup(label) ?? '')
  return { namespace: decoded === undefined ? '' : text(decoded), name: name.firstGroup(label) ?? '' }
}

/** @returns undefined unless both are there and are DNS labels */
const workspaceIn = (routing: WorkspaceRouting, request: Pick<ForwardedRequest, 'path' | 'host'>): WorkspaceKey | undefined => {
  const { namespace, name } = namesIn(routing, request)
  if (namespaceProblem(namespace) !== undefined || namespaceProblem(name) !== undefined) return undefined
  return namespace === undefined || name === undefined ? undefined : { namespace, name }
}

/** Whether a cookie's Path and a Location carry it as it is. */
export const isPlainPath = (path: string): boolean => /^\/[\w\-.~!$&'()*+=:@/]*$/.test(path)

/**
 * @returns undefined when the request is for no workspace, or when its application path could be that of another one too:
 * a session for that path would open more than was asked for
 */
export const workspacePlace = (routing: WorkspaceRouting, request: Pick<ForwardedRequest, 'path' | 'host'>): WorkspacePlace | undefined => {
  const workspace = workspaceIn(routing, request)
  const appPath = appPathOf(routing, request.path)
  if (workspace === undefined || !isPlainPath(appPath) || !isWithin(request.path, appPath)) return undefined
  const named = workspaceIn(routing, { path: appPath, host: request.host })
  return named?.namespace === workspace.namespace && named.name === workspace.name ? { workspace, appPath } : undefined
}

/** Whether a path is the base or lies below it, by whole segments. An empty base holds nothing. */
export const isWithin = (path: string, base: string): boolean => {
  if (!base.startsWith('/') || !path.startsWith(base)) return false
  return path.length === base.length || base.endsWith('/') || path.charCodeAt(base.length) === 0x2f
}
