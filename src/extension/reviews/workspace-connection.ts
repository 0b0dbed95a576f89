/** WorkspaceConnection: the caller is connected to a Workspace, by an address that holds a token or by a session that a plugin makes. */
import type { Logger } from 'pino'
import {
  CONNECTION_GROUP,
  CONNECTION_VERSION,
  WORKSPACE_CONNECTION,
  WorkspaceConnectionSpecSchema,
  WorkspaceConnectionStatusSchema,
  type WorkspaceConnectionSpec,
  type WorkspaceConnectionStatus,
} from '../../api/connection-review.ts'
import type { Pod } from '../../api/pod.ts'
import { WORKSPACE_NAME_LABEL, type Workspace, type WorkspaceAccessStrategy } from '../../api/workspace.ts'
import { isLabelValue } from '../../core/name-rules.ts'
import { withToken, type ConnectionUrl } from '../../core/url-template.ts'
import {
  checkReady,
  connectable,
  isConnectionType,
  needsPod,
  planConnection,
  resolveContext,
  strategyRef,
  tokenPath,
  type ConnectionContext,
  type ConnectionPlan,
  type ConnectionRefusal,
  type ConnectionStep,
} from '../../core/workspace-connection.ts'
import { isCoded, messageOf } from '../../errors.ts'
import type { Tokens } from '../../jwt/tokens.ts'
import type { Reader } from '../../kube/ports.ts'
import { PODS, WORKSPACE_ACCESS_STRATEGIES } from '../../kube/resources.ts'
import { badRequest, timedOut, unavailable, type ApiFailure } from '../api-failure.ts'
import type { Caller, FieldProblem, ReviewKind, ReviewOutcome, ReviewRequest } from '../review-kind.ts'
import type { CheckConnection } from './connection-check.ts'
import type { PluginClient } from './plugin-client.ts'
import { reading } from './read-failure.ts'
import { invalidValue, isMissing, nameProblems, required } from './spec-problems.ts'

export interface WorkspaceConnectionDeps {
  reader: Pick<Reader, 'get' | 'list'>
  check: CheckConnection
  /** undefined: no Secret of signing keys is configured. */
  tokens: Pick<Tokens, 'sign'> | undefined
  /** How long a token is good, milliseconds. */
  tokenTtlMs: number
  plugins: PluginClient
  logger: Logger
}

type Failed = Extract<ReviewOutcome<WorkspaceConnectionStatus>, { ok: false }>
type Made = { ok: true; url: string } | Failed

const typeProblems = (type: string): FieldProblem[] => {
  const field = 'spec.workspaceConnectionType'
  if (isMissing(type)) return [required(field, 'workspaceConnectionType is required')]
  if (isConnectionType(type)) return []
  const shownType = type.slice(0, 80)
  const why = `invalid workspaceConnectionType: '${shownType}'. Must be 'web-ui' or follow the '{ide}-remote' pattern (e.g. 'vscode-remote', 'kiro-remote', 'cursor-remote')`
  return [invalidValue(field, type, why)]
}

const problems = ({ workspaceName, workspaceConnectionType }: WorkspaceConnectionSpec): FieldProblem[] => [
  ...nameProblems('spec.workspaceName', workspaceName, 'workspaceName is required'),
  ...typeProblems(workspaceConnectionType),
]

const REASON: Readonly<Record<ConnectionRefusal['code'], string>> = { 400: 'BadRequest', 403: 'Forbidden', 404: 'NotFound', 500: 'InternalError' }

const refused = ({ code, message }: ConnectionRefusal, verdict: string): Failed => ({ ok: false, failure: { code, reason: REASON[code], message }, verdict })

/** Refused for how the Workspace or its access strategy is set up. */
const unfit = (refusal: ConnectionRefusal): Failed => refused(refusal, 'not possible')

const NO_KEYS = 'web browser access needs signed tokens, and this extension has no signing keys; set --jwt-secret-name'

const signFailure = (error: unknown): ApiFailure => {
  if (isCoded(error, 'JWT_NO_KEY')) return unavailable('there is no key to sign tokens with yet; try again in a few seconds', 5)
  if (isCoded(error, 'JWT_CLAIMS')) return badRequest(messageOf(error))
  throw error
}

interface Prepared {
  plan: ConnectionPlan
  context: ConnectionContext
}

export const workspaceConnection = (deps: WorkspaceConnectionDeps): ReviewKind<WorkspaceConnectionSpec, WorkspaceConnectionStatus> => {
  const { reader, check, tokens, tokenTtlMs, plugins, logger } = deps

  /** @throws CodedError KUBE_* */
  const podsOf = async (strategy: WorkspaceAccessStrategy, namespace: string, name: string): Promise<Pod[]> => {
    // What cannot be a label value is the label of no Pod.
    if (!needsPod(strategy) || !isLabelValue(name)) return []
    return (await reader.list(PODS, { namespace, labelSelector: `${WORKSPACE_NAME_LABEL}=${name}` })).items
  }

  /** @throws CodedError KUBE_* */
  const prepare = async (workspace: Workspace, namespace: string, type: string): Promise<ConnectionStep<Prepared>> => {
    const ref = strategyRef(workspace)
    if (!ref.ok) return ref
    const ready = checkReady(workspace, await reader.get(WORKSPACE_ACCESS_STRATEGIES, ref.value.namespace, ref.value.name))
    if (!ready.ok) return ready
    const context = resolveContext(ready.value, workspace, await podsOf(ready.value, namespace, workspace.metadata.name))
    if (!context.ok) return context
    const plan = planConnection(type, workspace, ready.value, plugins.plugins)
    return plan.ok ? { ok: true, value: { plan: plan.value, context: context.value } } : plan
  }

  const makeWeb = async ({ url, host, path }: ConnectionUrl, namespace: string, caller: Caller, dryRun: boolean): Promise<Made> => {
    if (tokens === undefined) return { ok: false, failure: unavailable(NO_KEYS), verdict: 'no signing keys' }
    if (dryRun) return { ok: true, url: '' }
    const { user, groups, uid, extra } = caller
    try {
      const token = await tokens.sign(
        { user, groups, ...(uid === undefined ? {} : { uid }), extra, path: tokenPath(path), domain: host, namespace, type: 'bootstrap', skipRefresh: true },
        { ttlMs: tokenTtlMs },
      )
      return { ok: true, url: withToken(url, token) }
    } catch (error) {
      return { ok: false, failure: signFailure(error), verdict: 'no token' }
    }
  }

  const make = async ({ plan, context }: Prepared, { namespace, spec, caller, dryRun, signal }: ReviewRequest<WorkspaceConnectionSpec>): Promise<Made> => {
    // Nobody waits for it any more.
    if (signal.aborted) return { ok: false, failure: timedOut, verdict: 'given up' }
    if (plan.kind === 'web') return makeWeb(plan.url, namespace, caller, dryRun)
    if (dryRun) return { ok: true, url: '' }
    const session = {
      podUID: context.get('podUid') ?? '',
      workspaceName: spec.workspaceName,
      namespace,
      connectionType: spec.workspaceConnectionType,
      connectionContext: Object.fromEntries(context),
    }
    return plugins.createSession(plan.plugin, session, signal)
  }

  return {
    group: CONNECTION_GROUP,
    version: CONNECTION_VERSION,
    ...WORKSPACE_CONNECTION,
    description:
      'WorkspaceConnection connects the caller to a Workspace: the answer holds an address that is good for a few minutes. It is answered at once and never stored. A dry run decides and makes nothing.',
    specSchema: WorkspaceConnectionSpecSchema,
    statusSchema: WorkspaceConnectionStatusSchema,
    problems,
    echo: (spec) => spec,
    review: async (request) => {
      const { namespace, spec, caller, dryRun } = request
      const { workspaceName, workspaceConnectionType: type } = spec
      const object = `${namespace}/${workspaceName}`
      const about = { review: WORKSPACE_CONNECTION.kind, object, type }
      const checked = await reading(logger, about, 'Failed to verify access permission', () => check(namespace, workspaceName, caller))
      if (!checked.ok) return checked
      const workspace = connectable(checked.value)
      if (!workspace.ok) return refused(workspace.refusal, checked.value.outcome)
      const prepared = await reading(logger, about, 'Failed to read what the connection needs', () => prepare(workspace.value, namespace, type))
      if (!prepared.ok) return prepared
      if (!prepared.value.ok) return unfit(prepared.value.refusal)
      const made = await make(prepared.value.value, request)
      if (!made.ok) return made
      return { ok: true, status: { workspaceConnectionType: type, workspaceConnectionUrl: made.url }, verdict: dryRun ? 'dry run' : 'connected', subject: caller.user, object }
    },
  }
}
