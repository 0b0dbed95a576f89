import { test } from 'tap'
import { CREATED_BY, type Workspace, type WorkspaceAccessStrategy } from '../../../src/api/workspace.ts'
import { CodedError } from '../../../src/errors.ts'
import { PODS, WORKSPACE_ACCESS_STRATEGIES, WORKSPACES } from '../../../src/kube/resources.ts'
import { scriptedServer } from '../../support/scripted-server.ts'
import { ALICE, reviewBench, START, type Bench } from './harness.ts'

const WC = 'WorkspaceConnection'
const web = { workspaceName: 'app', workspaceConnectionType: 'web-ui' }
const remote = { workspaceName: 'app', workspaceConnectionType: 'vscode-remote' }
const AVAILABLE = { conditions: [{ type: 'Available', status: 'True' as const, reason: 'R', message: '', lastTransitionTime: '2026-01-01T00:00:00Z' }] }

const workspace = (more: { spec?: Workspace['spec']; status?: Workspace['status']; owner?: string } = {}): Workspace => ({
  metadata: { name: 'app', namespace: 'team', annotations: { [CREATED_BY]: more.owner ?? 'alice' } },
  spec: { accessType: 'OwnerOnly', accessStrategy: { name: 'web', namespace: 'shared' }, ...more.spec },
  status: more.status ?? AVAILABLE,
})
const STRATEGY: WorkspaceAccessStrategy['spec'] = {
  bearerAuthURLTemplate: 'https://ex.test:8443/workspaces/{{ .Workspace.Namespace }}/{{ .Workspace.Name }}/bearer-auth',
  createConnectionHandlerMap: { 'vscode-remote': 'aws:createSession' },
}

const filled = (more: { workspace?: Workspace; strategy?: WorkspaceAccessStrategy['spec'] | null; bench?: Parameters<typeof reviewBench>[0] } = {}): Bench => {
  const bench = reviewBench(more.bench)
  bench.kube.put(WORKSPACES, more.workspace ?? workspace())
  if (more.strategy !== null) bench.kube.put(WORKSPACE_ACCESS_STRATEGIES, { metadata: { name: 'web', namespace: 'shared' }, spec: more.strategy ?? STRATEGY ?? {} })
  bench.kube.allowIf((_, question) => question.resource === 'workspaces')
  return bench
}

const urlOf = (outcome: Awaited<ReturnType<Bench['review']>>): string => (outcome.ok ? String(Reflect.get(outcome.status as object, 'workspaceConnectionUrl')) : '')
const tokenOf = (url: string): string => new URL(url).searchParams.get('token') ?? ''
const decoded = (part: string | undefined): unknown => JSON.parse(Buffer.from(part ?? '', 'base64url').toString())

await test('a browser gets an address with a token that says who may open what', async (t) => {
  const bench = filled()
  const outcome = await bench.review(WC, web)
  const url = urlOf(outcome)
  t.match(url, /^https:\/\/ex\.test:8443\/workspaces\/team\/app\/bearer-auth\?token=[\w-]+\.[\w-]+\.[\w-]{64}$/)
  t.strictSame(outcome, { ok: true, status: { workspaceConnectionType: 'web-ui', workspaceConnectionUrl: url }, verdict: 'connected', subject: 'alice', object: 'team/app' })
  const [header, payload] = tokenOf(url).split('.')
  t.strictSame(decoded(header), { alg: 'HS384', kid: '200', typ: 'JWT' })
  t.strictSame(decoded(payload), {
    iss: 'workspaces-controller',
    aud: ['workspaces-controller'],
    iat: START / 1000,
    nbf: START / 1000,
    exp: START / 1000 + 300,
    jti: (decoded(payload) as { jti: string }).jti,
    sub: 'alice',
    User: 'alice',
    Groups: ['team', 'system:authenticated'],
    Uid: 'u-1',
    Extra: { 'example.com/role': ['a', 'b'] },
    Path: '/workspaces/team/app',
    Domain: 'ex.test:8443',
    Namespace: 'team',
    TokenType: 'bootstrap',
    SkipRefresh: true,
  })
  t.ok((decoded(payload) as { jti: string }).jti)
  t.strictSame(bench.asked(), ['allows', 'get workspaces team app', 'get workspaceaccessstrategies shared web'])
  t.strictSame(bench.log.messages(), [], 'nothing of it is logged')
})

await test('two connections at the same moment have a token each', async (t) => {
  const bench = filled()
  const [first, second] = await Promise.all([bench.review(WC, web), bench.review(WC, web)])
  t.not(tokenOf(urlOf(first)), tokenOf(urlOf(second)))
  t.equal(bench.kube.calls.filter(({ verb }) => verb === 'allows').length, 1, 'and one check of access')
})

await test('RBAC is asked about the caller, as a ConnectionAccessReview asks', async (t) => {
  const bench = filled()
  await bench.review(WC, web)
  t.strictSame(bench.kube.calls[0]?.body, {
    identity: ALICE,
    question: { group: 'workspace.jupyter.org', resource: 'workspaces', subresource: 'connection', verb: 'create', namespace: 'team' },
  })
})

const failed = (code: number, reason: string, message: string, verdict = 'not possible'): object => ({ ok: false, failure: { code, reason, message }, verdict })
const { bearerAuthURLTemplate: _template, ...withoutTemplate } = STRATEGY ?? {}

const ROWS: Record<string, { given: Parameters<typeof filled>[0]; spec?: object; outcome: object }> = {
  'no such Workspace': { given: {}, spec: { ...web, workspaceName: 'none' }, outcome: failed(404, 'NotFound', 'Workspace not found', 'not found') },
  'the Workspace of somebody else': { given: { workspace: workspace({ owner: 'bob' }) }, outcome: failed(403, 'Forbidden', 'User is not the workspace owner', 'not owner') },
  'no access strategy': { given: { workspace: { ...workspace(), spec: { accessType: 'Public' } } }, outcome: failed(400, 'BadRequest', 'workspace has no access strategy') },
  'an access strategy that is gone': { given: { strategy: null }, outcome: failed(404, 'NotFound', 'access strategy not found') },
  'a Workspace that is not available': { given: { workspace: workspace({ status: {} }) }, outcome: failed(400, 'BadRequest', 'workspace is not available. Check workspace status for details') },
  'no address for browsers': { given: { strategy: withoutTemplate }, outcome: failed(400, 'BadRequest', 'web browser access is not enabled for this workspace') },
  'an address without encryption': {
    given: { strategy: { bearerAuthURLTemplate: 'http://ex.test' } },
    outcome: failed(400, 'BadRequest', 'the access strategy of the workspace cannot be used: bearerAuthURLTemplate must begin with https://'),
  },
  'a type that is not configured': { given: {}, spec: { ...web, workspaceConnectionType: 'kiro-remote' }, outcome: failed(400, 'BadRequest', 'connection type "kiro-remote" is not configured for this workspace') },
  'a plugin that is not configured': {
    given: {},
    spec: remote,
    outcome: failed(400, 'BadRequest', 'plugin endpoints not configured. The extension needs --plugin-endpoints with an address for "aws"'),
  },
  'a Pod that is not there, also for a browser': {
    given: { strategy: { ...STRATEGY, createConnectionContext: { podUid: 'extensionapi::PodUid()' } } },
    outcome: failed(400, 'BadRequest', 'failed to resolve connection context: workspace app has no running Pod in namespace team'),
  },
  'a function that is not there, also for a browser': {
    given: { strategy: { ...STRATEGY, createConnectionContext: { x: 'extensionapi::X()' } } },
    outcome: failed(
      500,
      'InternalError',
      'failed to resolve connection context: "x" calls "extensionapi::X()", and there is only extensionapi::PodUid(); change createConnectionContext of the access strategy',
    ),
  },
  'no signing keys configured': {
    given: { bench: { withoutTokens: true } },
    outcome: {
      ok: false,
      failure: {
        code: 503,
        reason: 'ServiceUnavailable',
        message: 'web browser access needs signed tokens, and this extension has no signing keys; set --jwt-secret-name',
        details: { retryAfterSeconds: 1 },
        retryAfterSeconds: 1,
      },
      verdict: 'no signing keys',
    },
  },
}
for (const [name, { given, spec = web, outcome }] of Object.entries(ROWS)) {
  await test(`no connection: ${name}`, async (t) => {
    t.strictSame(await filled(given).review(WC, spec), outcome)
    t.strictSame(await filled(given).review(WC, spec, { dryRun: true }), outcome, 'a dry run says so as well')
  })
}

await test('no connection: no permission', async (t) => {
  const bench = filled()
  bench.kube.allowIf(() => false)
  t.strictSame(await bench.review(WC, web), failed(403, 'Forbidden', 'RBAC permission denied', 'denied'))
  t.strictSame(bench.asked(), ['allows'])
})

await test('no connection: no key yet', async (t) => {
  const bench = filled()
  bench.keys.ring.remove('100')
  bench.keys.ring.remove('200')
  const message = 'there is no key to sign tokens with yet; try again in a few seconds'
  t.strictSame(await bench.review(WC, web), { ok: false, failure: { code: 503, reason: 'ServiceUnavailable', message, details: { retryAfterSeconds: 5 }, retryAfterSeconds: 5 }, verdict: 'no token' })
})

await test('no connection: more groups than a token carries', async (t) => {
  const bench = filled()
  const groups = Array.from({ length: 500 }, (_, index) => `group-with-a-long-name-${index}`)
  const message = 'the token would be longer than 16384 characters: the user has too many groups or extra attributes'
  t.strictSame(await bench.review(WC, web, { caller: { ...ALICE, groups } }), failed(400, 'BadRequest', message, 'no token'))
})

for (const [verb, resource, message] of [
  ['allows', undefined, 'Failed to verify access permission'],
  ['get', WORKSPACES, 'Failed to verify access permission'],
  ['get', WORKSPACE_ACCESS_STRATEGIES, 'Failed to read what the connection needs'],
  ['list', PODS, 'Failed to read what the connection needs'],
] as const) {
  await test(`no connection: ${verb} ${resource?.plural ?? ''} fails`, async (t) => {
    const bench = filled({ strategy: { ...STRATEGY, createConnectionContext: { podUid: 'extensionapi::PodUid()' } } })
    bench.kube.fail(verb, resource, new CodedError('KUBE_FORBIDDEN', 'no'))
    t.strictSame(await bench.review(WC, web), failed(500, 'InternalError', message, 'error'))
  })
}

await test('a dry run decides, and makes no token', async (t) => {
  const bench = filled()
  t.strictSame(await bench.review(WC, web, { dryRun: true }), {
    ok: true,
    status: { workspaceConnectionType: 'web-ui', workspaceConnectionUrl: '' },
    verdict: 'dry run',
    subject: 'alice',
    object: 'team/app',
  })
  t.match(await bench.tokens.sign({ user: 'x', groups: [], path: '', domain: '', type: 'bootstrap' }, { ttlMs: 1000 }).then((token) => decoded(token.split('.')[1])), { jti: 'id-1' }, 'the first id was not taken yet')
})

await test('nothing is made for whoever has gone away', async (t) => {
  const bench = filled()
  const gone = await bench.review(WC, web, { signal: AbortSignal.abort() })
  t.match(gone, { ok: false, failure: { code: 504 }, verdict: 'given up' })
})

await test('an editor gets the session that the plugin makes, for the Pod of this namespace', async (t) => {
  const server = await scriptedServer(t, (_, response) => response.end('{"connectionURL":"vscode://open?x=1"}'))
  const bench = filled({
    strategy: { ...STRATEGY, createConnectionContext: { podUid: 'extensionapi::PodUid()', document: 'doc' } },
    bench: { options: { pluginEndpoints: new Map([['aws', server.url.href]]) } },
  })
  const labels = { 'workspace.jupyter.org/workspace-name': 'app' }
  bench.kube.put(PODS, { metadata: { name: 'a', namespace: 'other', uid: 'uid-other', labels }, status: { phase: 'Running' } })
  bench.kube.put(PODS, { metadata: { name: 'b', namespace: 'team', uid: 'uid-b', labels }, status: { phase: 'Running' } })
  bench.kube.put(PODS, { metadata: { name: 'c', namespace: 'team', uid: 'uid-c' }, status: { phase: 'Running' } })

  const dry = await bench.review(WC, remote, { dryRun: true })
  t.strictSame(dry, { ok: true, status: { workspaceConnectionType: 'vscode-remote', workspaceConnectionUrl: '' }, verdict: 'dry run', subject: 'alice', object: 'team/app' })
  t.equal(server.seen.length, 0, 'a dry run calls no plugin')

  t.strictSame(await bench.review(WC, remote), {
    ok: true,
    status: { workspaceConnectionType: 'vscode-remote', workspaceConnectionUrl: 'vscode://open?x=1' },
    verdict: 'connected',
    subject: 'alice',
    object: 'team/app',
  })
  t.strictSame(server.seen.map(({ method, url, body }) => [method, url, JSON.parse(body)]), [
    [
      'POST',
      '/v1alpha1/remote-access/create-session',
      { podUID: 'uid-b', workspaceName: 'app', namespace: 'team', connectionType: 'vscode-remote', connectionContext: { podUid: 'uid-b', document: 'doc' } },
    ],
  ])
  t.strictSame(bench.asked().filter((call) => call.startsWith('list')), ['list pods team', 'list pods team'])
})

await test('an editor needs no signing keys', async (t) => {
  const server = await scriptedServer(t, (_, response) => response.end('{"connectionURL":"vscode://open"}'))
  const bench = filled({ bench: { withoutTokens: true, options: { pluginEndpoints: new Map([['aws', server.url.href]]) } } })
  t.equal(urlOf(await bench.review(WC, remote)), 'vscode://open')
  t.match(JSON.parse(server.seen[0]?.body ?? ''), { podUID: '', connectionContext: {} })
})

const TYPE = "Must be 'web-ui' or follow the '{ide}-remote' pattern (e.g. 'vscode-remote', 'kiro-remote', 'cursor-remote')"
const PROBLEMS: Record<string, { spec: object; problems: object[] }> = {
  'nothing wrong': { spec: web, problems: [] },
  'nothing given': {
    spec: { workspaceName: '', workspaceConnectionType: '' },
    problems: [
      { type: 'FieldValueRequired', field: 'spec.workspaceName', message: 'Required value: workspaceName is required' },
      { type: 'FieldValueRequired', field: 'spec.workspaceConnectionType', message: 'Required value: workspaceConnectionType is required' },
    ],
  },
  'a type that is none': {
    spec: { ...web, workspaceConnectionType: 'ssh' },
    problems: [{ type: 'FieldValueInvalid', field: 'spec.workspaceConnectionType', message: `Invalid value: "ssh": invalid workspaceConnectionType: 'ssh'. ${TYPE}` }],
  },
}
for (const [name, { spec, problems }] of Object.entries(PROBLEMS)) {
  await test(`fields: ${name}`, async (t) => {
    t.strictSame(reviewBench().problems(WC, spec), problems)
    t.strictSame(reviewBench().echo(WC, spec), spec)
  })
}
