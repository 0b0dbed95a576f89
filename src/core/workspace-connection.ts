/** How somebody is connected to a Workspace: what speaks against it, and what the address or the plugin is told. */
import { WEB_UI } from '../api/connection-review.ts'
import type { Pod } from '../api/pod.ts'
import { AVAILABLE, type Workspace, type WorkspaceAccessStrategy } from '../api/workspace.ts'
import type { ConnectionAnswer } from './connection-review.ts'
import { own, shown } from './json-shape.ts'
import { namespaceProblem, subdomainProblem } from './name-rules.ts'
import { isFinished } from './pod-context.ts'
import { renderConnectionUrl, type ConnectionUrl } from './url-template.ts'

/** Why there is no connection, by HTTP status: 400 what is asked for is not set up, 403, 404, 500 it is set up in a way that cannot work. */
export interface ConnectionRefusal {
  code: 400 | 403 | 404 | 500
  message: string
}

export type ConnectionStep<T> = { ok: true; value: T } | { ok: false; refusal: ConnectionRefusal }

const refuse = (code: ConnectionRefusal['code'], message: string): { ok: false; refusal: ConnectionRefusal } => ({ ok: false, refusal: { code, message } })
const go = <T>(value: T): ConnectionStep<T> => ({ ok: true, value })

const REMOTE = /^[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*-remote$/

export const isConnectionType = (type: string): boolean => type === WEB_UI || REMOTE.test(type)

/** A connection is given to whom a ConnectionAccessReview allows it, and to nobody else. */
export const connectable = (answer: ConnectionAnswer): ConnectionStep<Workspace> => {
  switch (answer.outcome) {
    case 'allowed':
      return go(answer.workspace)
    case 'not found':
      return refuse(404, answer.status.reason)
    case 'not owner':
      return refuse(403, 'User is not the workspace owner')
    case 'denied':
      return refuse(403, answer.status.reason)
    default:
      return answer satisfies never
  }
}

const NO_STRATEGY = 'access strategy not found'

/** Where the access strategy is. */
export const strategyRef = ({ metadata, spec }: Workspace): ConnectionStep<{ namespace: string; name: string }> => {
  const { name = '', namespace = '' } = spec?.accessStrategy ?? {}
  if (name === '') return refuse(400, 'workspace has no access strategy')
  const ref = { namespace: namespace === '' ? (metadata.namespace ?? '') : namespace, name }
  // Nothing has such a name.
  return subdomainProblem(ref.name) === undefined && namespaceProblem(ref.namespace) === undefined ? go(ref) : refuse(404, NO_STRATEGY)
}

const isAvailable = ({ status }: Workspace): boolean => (status?.conditions ?? []).some(({ type, status: state }) => type === AVAILABLE && state === 'True')

/** @param strategy undefined when the API server answered that there is none */
export const checkReady = (workspace: Workspace, strategy: WorkspaceAccessStrategy | undefined): ConnectionStep<WorkspaceAccessStrategy> => {
  if (strategy === undefined) return refuse(404, NO_STRATEGY)
  return isAvailable(workspace) ? go(strategy) : refuse(400, 'workspace is not available. Check workspace status for details')
}

const FUNCTION_PREFIX = 'extensionapi::'
const POD_UID = `${FUNCTION_PREFIX}PodUid()`

/** The values for the plugin; prototypes are out of reach of their names. */
export type ConnectionContext = ReadonlyMap<string, string>

const contextOf = ({ spec }: WorkspaceAccessStrategy): [string, string][] =>
  Object.entries(spec?.createConnectionContext ?? {}).filter((entry): entry is [string, string] => typeof entry[1] === 'string')

export const needsPod = (strategy: WorkspaceAccessStrategy): boolean => contextOf(strategy).some(([, value]) => value === POD_UID)

const isLive = (pod: Pod): boolean => !isFinished(pod) && pod.metadata.deletionTimestamp === undefined

const ageKey = ({ metadata }: Pod): string => `${metadata.creationTimestamp ?? ''} ${metadata.name}`

/** A Pod that runs before one that does not yet, the newest first; of two equal ones always the same. */
const byPreference = (left: Pod, right: Pod): number => {
  const running = Number(right.status?.phase === 'Running') - Number(left.status?.phase === 'Running')
  if (running !== 0) return running
  return ageKey(left) < ageKey(right) ? 1 : -1
}

/**
 * Fills in what the access strategy leaves to us.
 * @param pods those that are labelled with the name of the Workspace; only the ones in its own namespace count, since other namespaces are other people's
 */
export const resolveContext = (strategy: WorkspaceAccessStrategy, workspace: Workspace, pods: readonly Pod[]): ConnectionStep<ConnectionContext> => {
  const context = new Map<string, string>()
  for (const [key, value] of contextOf(strategy)) {
    if (value !== POD_UID && value.startsWith(FUNCTION_PREFIX))
      return refuse(500, `failed to resolve connection context: ${shown(key)} calls ${shown(value)}, and there is only ${POD_UID}; change createConnectionContext of the access strategy`)
    if (value !== POD_UID) {
      context.set(key, value)
      continue
    }
    const uid = pods.filter((pod) => pod.metadata.namespace === workspace.metadata.namespace && isLive(pod)).toSorted(byPreference).at(0)?.metadata.uid
    if (uid === undefined) return refuse(400, `failed to resolve connection context: workspace ${workspace.metadata.name} has no running Pod in namespace ${workspace.metadata.namespace ?? ''}`)
    context.set(key, uid)
  }
  return go(context)
}

/** What there is to do for a connection. */
export type ConnectionPlan = { kind: 'web'; url: ConnectionUrl } | { kind: 'plugin'; plugin: string }

const planWeb = (workspace: Workspace, strategy: WorkspaceAccessStrategy): ConnectionStep<ConnectionPlan> => {
  const template = strategy.spec?.bearerAuthURLTemplate ?? ''
  if (template === '') return refuse(400, 'web browser access is not enabled for this workspace')
  const reading = renderConnectionUrl(template, workspace, strategy)
  return reading.ok ? go({ kind: 'web', url: reading.url }) : refuse(400, `the access strategy of the workspace cannot be used: ${reading.problem}`)
}

/** The handler of this type, else the one for all types. */
const handlerOf = ({ spec }: WorkspaceAccessStrategy, type: string): string => {
  const named = own(spec?.createConnectionHandlerMap, type)
  return typeof named === 'string' ? named : (spec?.createConnectionHandler ?? '')
}

const CREATE_SESSION = 'createSession'

const planRemote = (strategy: WorkspaceAccessStrategy, type: string, plugins: Pick<ReadonlySet<string>, 'has'>): ConnectionStep<ConnectionPlan> => {
  const handler = handlerOf(strategy, type)
  if (handler === '') return refuse(400, `connection type ${shown(type)} is not configured for this workspace`)
  const colon = handler.indexOf(':')
  const plugin = colon < 0 ? handler : handler.slice(0, colon)
  const action = colon < 0 ? '' : handler.slice(colon + 1)
  if (plugin === 'k8s-native') return refuse(400, `k8s-native handler is not supported for remote connections (requested ${shown(type)})`)
  if (!plugins.has(plugin)) return refuse(400, `plugin endpoints not configured. The extension needs --plugin-endpoints with an address for ${shown(plugin)}`)
  if (action !== CREATE_SESSION && action !== '') return refuse(500, `unsupported plugin action ${shown(action)} for handler ${shown(plugin)}`)
  return go({ kind: 'plugin', plugin })
}

/** @param type a good one. @param plugins by name, those that there is an address of */
export const planConnection = (type: string, workspace: Workspace, strategy: WorkspaceAccessStrategy, plugins: Pick<ReadonlySet<string>, 'has'>): ConnectionStep<ConnectionPlan> =>
  type === WEB_UI ? planWeb(workspace, strategy) : planRemote(strategy, type, plugins)

const BEARER_PATH = '/bearer-auth'

/** The path that a token is good for: that of the Workspace, without the place where the token is exchanged. */
export const tokenPath = (path: string): string => {
  const base = path.endsWith(BEARER_PATH) ? path.slice(0, -BEARER_PATH.length) : path
  return base === '' ? '/' : base
}
