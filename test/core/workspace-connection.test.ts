import fc from 'fast-check'
import { test } from 'tap'
import type { Pod } from '../../src/api/pod.ts'
import { CREATED_BY, type Workspace, type WorkspaceAccessStrategy } from '../../src/api/workspace.ts'
import { decideConnection } from '../../src/core/connection-review.ts'
import {
  checkReady,
  connectable,
  isConnectionType,
  needsPod,
  planConnection,
  resolveContext,
  strategyRef,
  tokenPath,
  type ConnectionStep,
} from '../../src/core/workspace-connection.ts'

const refused = (code: number, message: string): unknown => ({ ok: false, refusal: { code, message } })
const value = <T>(given: T): ConnectionStep<T> => ({ ok: true, value: given })

const GOOD_TYPES = ['web-ui', 'vscode-remote', 'kiro-remote', 'cursor-remote', 'my-vscode-remote', 'VSCode2-remote']
const BAD_TYPES = ['', '-remote', 'remote', 'my--vscode-remote', 'vscode-remote-ssh', 'vscode_remote', 'web-ui ', 'Web-UI', 'vscode-remote\n', '-vscode-remote', 'é-remote', 'ssh']
for (const type of GOOD_TYPES) await test(`a connection type: ${type}`, async (t) => t.ok(isConnectionType(type)))
for (const type of BAD_TYPES) await test(`no connection type: ${JSON.stringify(type)}`, async (t) => t.notOk(isConnectionType(type)))

const at = (spec: Workspace['spec'], available?: string): Workspace => ({
  metadata: { name: 'app', namespace: 'team', annotations: { [CREATED_BY]: 'alice' } },
  ...(spec === undefined ? {} : { spec }),
  ...(available === undefined ? {} : { status: { conditions: [{ type: 'Available', status: available as 'True', reason: 'R', message: '', lastTransitionTime: '2026-01-01T00:00:00Z' }] } }),
})
const strategyOf = (spec: WorkspaceAccessStrategy['spec']): WorkspaceAccessStrategy => ({ metadata: { name: 'web', namespace: 'shared' }, ...(spec === undefined ? {} : { spec }) })

const decide = (hasPermission: boolean, found: Workspace | undefined, user: string): unknown => connectable(decideConnection({ hasPermission, workspace: found, user }))

await test('whoever may not connect gets no connection', async (t) => {
  const workspace = at({ accessType: 'OwnerOnly' })
  t.strictSame(decide(false, undefined, 'alice'), refused(403, 'RBAC permission denied'))
  t.strictSame(decide(true, undefined, 'alice'), refused(404, 'Workspace not found'))
  t.strictSame(decide(true, workspace, 'bob'), refused(403, 'User is not the workspace owner'))
  t.strictSame(decide(true, workspace, 'alice'), value(workspace))
})

const REFS: Record<string, { spec: Workspace['spec']; step: unknown }> = {
  'in the namespace of the Workspace': { spec: { accessStrategy: { name: 'web' } }, step: value({ namespace: 'team', name: 'web' }) },
  'in an empty namespace': { spec: { accessStrategy: { name: 'web', namespace: '' } }, step: value({ namespace: 'team', name: 'web' }) },
  'elsewhere': { spec: { accessStrategy: { name: 'web', namespace: 'shared' } }, step: value({ namespace: 'shared', name: 'web' }) },
  'none': { spec: {}, step: refused(400, 'workspace has no access strategy') },
  'no spec': { spec: undefined, step: refused(400, 'workspace has no access strategy') },
  'without a name': { spec: { accessStrategy: { name: '' } }, step: refused(400, 'workspace has no access strategy') },
  'of a name that leads elsewhere': { spec: { accessStrategy: { name: '../secrets/x' } }, step: refused(404, 'access strategy not found') },
  'of a namespace that leads elsewhere': { spec: { accessStrategy: { name: 'web', namespace: '..' } }, step: refused(404, 'access strategy not found') },
}
for (const [name, { spec, step }] of Object.entries(REFS)) {
  await test(`the access strategy: ${name}`, async (t) => t.strictSame(strategyRef(at(spec)), step))
}

await test('a connection needs an access strategy that is there and a Workspace that is available', async (t) => {
  const strategy = strategyOf({})
  t.strictSame(checkReady(at({}, 'True'), undefined), refused(404, 'access strategy not found'))
  t.strictSame(checkReady(at({}, 'True'), strategy), value(strategy))
  for (const available of [undefined, 'False', 'Unknown', 'true']) {
    t.strictSame(checkReady(at({}, available), strategy), refused(400, 'workspace is not available. Check workspace status for details'))
  }
})

const pod = (name: string, more: { namespace?: string; phase?: string; created?: string; deleted?: boolean } = {}): Pod => ({
  metadata: {
    name,
    namespace: more.namespace ?? 'team',
    uid: `uid-${name}`,
    creationTimestamp: more.created ?? '2026-01-01T00:00:00Z',
    ...(more.deleted === true ? { deletionTimestamp: '2026-01-01T01:00:00Z' } : {}),
  },
  status: { phase: more.phase ?? 'Running' },
})
const POD_UID = strategyOf({ createConnectionContext: { podUid: 'extensionapi::PodUid()', document: 'doc' } })
const NO_POD = refused(400, 'failed to resolve connection context: workspace app has no running Pod in namespace team')
const uidOf = (name: string): unknown => value(new Map([['podUid', `uid-${name}`], ['document', 'doc']]))

const PODS: Record<string, { pods: Pod[]; step: unknown }> = {
  'the one that is there': { pods: [pod('a')], step: uidOf('a') },
  'none': { pods: [], step: NO_POD },
  'one of another namespace does not count': { pods: [pod('a', { namespace: 'other' })], step: NO_POD },
  'its own, not that of another namespace': { pods: [pod('a', { namespace: 'other' }), pod('b')], step: uidOf('b') },
  'one that has ended does not count': { pods: [pod('a', { phase: 'Succeeded' }), pod('b', { phase: 'Failed' })], step: NO_POD },
  'one that is leaving does not count': { pods: [pod('a', { deleted: true })], step: NO_POD },
  'one that runs before one that starts': { pods: [pod('a', { phase: 'Pending', created: '2026-01-02T00:00:00Z' }), pod('b')], step: uidOf('b') },
  'one that starts, if there is no other': { pods: [pod('a', { phase: 'Pending' })], step: uidOf('a') },
  'the newest': { pods: [pod('a'), pod('b', { created: '2026-01-02T00:00:00Z' }), pod('c')], step: uidOf('b') },
  'always the same of two that are as new': { pods: [pod('b'), pod('a')], step: uidOf('b') },
}
for (const [name, { pods, step }] of Object.entries(PODS)) {
  await test(`the Pod of a Workspace: ${name}`, async (t) => t.strictSame(resolveContext(POD_UID, at({}), pods), step))
}

await test('what else the access strategy hands over', async (t) => {
  t.ok(needsPod(POD_UID))
  t.notOk(needsPod(strategyOf({ createConnectionContext: { a: 'extensionapi::Other()' } })))
  t.notOk(needsPod(strategyOf(undefined)))
  t.strictSame(resolveContext(strategyOf(undefined), at({}), []), value(new Map()))
  t.strictSame(resolveContext(strategyOf({ createConnectionContext: JSON.parse('{"__proto__":"x","a":"b"}') }), at({}), []), value(new Map([['__proto__', 'x'], ['a', 'b']])))
  const unknown = 'failed to resolve connection context: "a" calls "extensionapi::Secret()", and there is only extensionapi::PodUid(); change createConnectionContext of the access strategy'
  t.strictSame(resolveContext(strategyOf({ createConnectionContext: { a: 'extensionapi::Secret()' } }), at({}), []), refused(500, unknown))
})

const NO_PLUGIN = 'plugin endpoints not configured. The extension needs --plugin-endpoints with an address for "gcp"'
const PLANS: Record<string, { type: string; spec: WorkspaceAccessStrategy['spec']; step: unknown }> = {
  'a browser': { type: 'web-ui', spec: { bearerAuthURLTemplate: 'https://ex.test/{{ .Workspace.Name }}/bearer-auth' }, step: value({ kind: 'web', url: { url: 'https://ex.test/app/bearer-auth', host: 'ex.test', path: '/app/bearer-auth' } }) },
  'a browser, without a template': { type: 'web-ui', spec: { createConnectionHandler: 'aws' }, step: refused(400, 'web browser access is not enabled for this workspace') },
  'a browser, with an empty template': { type: 'web-ui', spec: { bearerAuthURLTemplate: '' }, step: refused(400, 'web browser access is not enabled for this workspace') },
  'a browser, without a spec': { type: 'web-ui', spec: undefined, step: refused(400, 'web browser access is not enabled for this workspace') },
  'a browser, over http': { type: 'web-ui', spec: { bearerAuthURLTemplate: 'http://ex.test' }, step: refused(400, 'the access strategy of the workspace cannot be used: bearerAuthURLTemplate must begin with https://') },
  'an editor, by its type': { type: 'vscode-remote', spec: { createConnectionHandlerMap: { 'vscode-remote': 'aws:createSession' } }, step: value({ kind: 'plugin', plugin: 'aws' }) },
  'an editor, by the handler of all types': { type: 'vscode-remote', spec: { createConnectionHandler: 'aws' }, step: value({ kind: 'plugin', plugin: 'aws' }) },
  'an editor, by its type before the handler of all': { type: 'vscode-remote', spec: { createConnectionHandler: 'k8s-native', createConnectionHandlerMap: { 'vscode-remote': 'aws' } }, step: value({ kind: 'plugin', plugin: 'aws' }) },
  'an editor, of another type': { type: 'kiro-remote', spec: { createConnectionHandlerMap: { 'vscode-remote': 'aws' } }, step: refused(400, 'connection type "kiro-remote" is not configured for this workspace') },
  'an editor, with nothing configured': { type: 'kiro-remote', spec: {}, step: refused(400, 'connection type "kiro-remote" is not configured for this workspace') },
  'an editor, named like a prototype': { type: 'constructor', spec: { createConnectionHandlerMap: {} }, step: refused(400, 'connection type "constructor" is not configured for this workspace') },
  'an editor, by Kubernetes itself': { type: 'vscode-remote', spec: { createConnectionHandler: 'k8s-native' }, step: refused(400, 'k8s-native handler is not supported for remote connections (requested "vscode-remote")') },
  'an editor, by a plugin that nobody configured': { type: 'vscode-remote', spec: { createConnectionHandler: 'gcp:createSession' }, step: refused(400, NO_PLUGIN) },
  'an editor, by an action that nobody knows': { type: 'vscode-remote', spec: { createConnectionHandler: 'aws:delete:all' }, step: refused(500, 'unsupported plugin action "delete:all" for handler "aws"') },
  'an editor, by an empty action': { type: 'vscode-remote', spec: { createConnectionHandler: 'aws:' }, step: value({ kind: 'plugin', plugin: 'aws' }) },
}
for (const [name, { type, spec, step }] of Object.entries(PLANS)) {
  await test(`a plan for ${name}`, async (t) => t.strictSame(planConnection(type, at({}), strategyOf(spec), new Set(['aws'])), step))
}

const PATHS: Record<string, string> = {
  '/workspaces/team/app/bearer-auth': '/workspaces/team/app',
  '/workspaces/team/app': '/workspaces/team/app',
  '/bearer-auth': '/',
  '': '/',
  '/': '/',
  '/bearer-auth/x': '/bearer-auth/x',
  '/x-bearer-auth': '/x-bearer-auth',
}
for (const [path, expected] of Object.entries(PATHS)) {
  await test(`the path of the token of ${JSON.stringify(path)}`, async (t) => t.equal(tokenPath(path), expected))
}

await test('whatever Pods there are: the uid is that of a live one in the namespace of the Workspace', async (t) => {
  const anyPod = fc.record({ name: fc.constantFrom('a', 'b', 'c'), namespace: fc.constantFrom('team', 'other'), phase: fc.constantFrom('Running', 'Pending', 'Failed', 'Succeeded'), deleted: fc.boolean() })
  fc.assert(
    fc.property(fc.array(anyPod, { maxLength: 5 }), (given) => {
      const pods = given.map(({ name, ...more }, index) => pod(`${name}-${index}`, more))
      const live = pods.filter(({ metadata, status }) => metadata.namespace === 'team' && metadata.deletionTimestamp === undefined && ['Running', 'Pending'].includes(status?.phase ?? ''))
      const step = resolveContext(POD_UID, at({}), pods)
      return step.ok ? live.some(({ metadata }) => metadata.uid === step.value.get('podUid')) : live.length === 0
    }),
  )
  t.pass()
})
