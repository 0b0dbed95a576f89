import { createServer, type IncomingHttpHeaders } from 'node:http'
import { decodeProtectedHeader, jwtVerify, SignJWT, type JWTPayload } from 'jose'
import { t, test } from 'tap'
import { SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { DEFAULT_EXTENSION_OPTIONS } from '../../src/extension/options.ts'
import { PODS, SECRETS } from '../../src/kube/resources.ts'
import { untilTrue } from '../support/eventually.ts'
import { AUTH_ACCOUNT, CONNECTION_API, extensionWorld, startExtension, type Answered, type Person } from '../support/extension-world.ts'
import { listenOnLoopback } from '../support/loopback-server.ts'
import { createObjects, createWorkspaces, mayConnect, strategyObject, workspacePod } from '../support/workspace-objects.ts'

/** What the plugin heard, and how it answers. */
const heard: { url: string | undefined; headers: IncomingHttpHeaders; body: unknown }[] = []
let pluginAnswer = { code: 200, body: '{"connectionURL":"vscode://host/session-1"}' }
const plugin = createServer((request, response) => {
  let text = ''
  request.setEncoding('utf8').on('data', (piece: string) => (text += piece))
  request.once('end', () => {
    heard.push({ url: request.url, headers: request.headers, body: JSON.parse(text) })
    response.writeHead(pluginAnswer.code, { 'content-type': 'application/json' }).end(pluginAnswer.body)
  })
})
const pluginUrl = `http://127.0.0.1:${await listenOnLoopback(t, plugin)}`

const world = await extensionWorld(t, { options: { pluginEndpoints: new Map([['aws', pluginUrl]]) } })
const { cluster, kube, through } = world

const [team, other] = await Promise.all([cluster.namespace('team'), cluster.namespace('other')])
const extra = { 'example.org/role': ['dev', 'ops'] }
const alice: Person = { user: 'alice', uid: 'uid-of-alice', groups: ['team-a'], extra }
const bob: Person = { user: 'bob' }
/** May ask to be connected, and may connect nowhere. */
const eve: Person = { user: 'eve' }

await createObjects(cluster, [
  mayConnect(team, 'people', [{ kind: 'User', name: 'alice' }, { kind: 'User', name: 'bob' }, { kind: 'User', name: 'a&b' }, { kind: 'Group', name: 'visitors' }, { kind: 'User', name: `system:serviceaccount:${team}:default` }]),
  mayConnect(other, 'people', [{ kind: 'User', name: 'alice' }, { kind: 'Group', name: 'system:authenticated' }]),
  {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'Role',
    metadata: { name: 'ask', namespace: team },
    rules: [{ apiGroups: ['connection.workspace.jupyter.org'], resources: ['workspaceconnections'], verbs: ['create'] }],
  },
  {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'RoleBinding',
    metadata: { name: 'ask', namespace: team },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'ask' },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: eve.user }],
  },
  strategyObject(team, 'web', { bearerAuthURLTemplate: 'https://ws.example.com/workspaces/{{ .Workspace.Namespace }}/{{ .Workspace.Name }}/bearer-auth' }),
  strategyObject(team, 'subdomain', { bearerAuthURLTemplate: 'https://{{ .Workspace.Name }}-{{ b32encode "default" }}.example.com:8443/bearer-auth?from={{ .AccessStrategy.Name }}' }),
  strategyObject(team, 'plain', { bearerAuthURLTemplate: 'http://ws.example.com/' }),
  strategyObject(team, 'unknown-function', { bearerAuthURLTemplate: 'https://ws.example.com/x', createConnectionContext: { podUid: 'extensionapi::Secrets()' } }),
  strategyObject(team, 'remote', {
    createConnectionHandler: 'aws',
    createConnectionHandlerMap: { 'native-remote': 'k8s-native:createSession', 'gone-remote': 'gone:createSession', 'action-remote': 'aws:deleteSession', 'kiro-remote': 'aws:createSession' },
    createConnectionContext: { podUid: 'extensionapi::PodUid()', region: 'north' },
  }),
  strategyObject(other, 'web', { bearerAuthURLTemplate: 'https://ws.example.com/workspaces/{{ .Workspace.Namespace }}/{{ .Workspace.Name }}/bearer-auth' }),
  workspacePod(other, 'strange', 'remote'),
  workspacePod(other, 'strange-lonely', 'lonely'),
  workspacePod(team, 'own', 'remote'),
])
const by = (name: string, namespace?: string): { accessStrategy: { name: string; namespace?: string } } => ({ accessStrategy: { name, ...(namespace === undefined ? {} : { namespace }) } })
await createWorkspaces(cluster, team, {
  'private': { spec: { accessType: 'OwnerOnly', ...by('web') } },
  'public': { owner: null, spec: { accessType: 'Public', ...by('web') } },
  'unset': { spec: {} },
  'owner-by-ownership': { spec: { ownershipType: 'OwnerOnly' } },
  'public-in-spite-of-ownership': { spec: { ownershipType: 'OwnerOnly', accessType: 'Public' } },
  'private-in-spite-of-ownership': { spec: { ownershipType: 'Public', accessType: 'OwnerOnly' } },
  'ownerless': { owner: null, spec: { accessType: 'OwnerOnly' } },
  'owner-empty': { owner: '', spec: { accessType: 'OwnerOnly' } },
  'escaped': { owner: 'a\\u0026b', spec: { accessType: 'OwnerOnly', ...by('web') } },
  'raw': { owner: 'a&b', spec: { accessType: 'OwnerOnly' } },
  'subdomain': { spec: by('subdomain') },
  'plain': { spec: by('plain') },
  'remote': { spec: by('remote') },
  'lonely': { spec: by('remote') },
  'unknown-function': { spec: by('unknown-function') },
  'strategy-gone': { spec: by('gone') },
  'strategy-elsewhere': { spec: by('web', other) },
  'not-available': { spec: by('web'), available: 'False' },
  'no-condition': { spec: by('web'), available: 'none' },
})
await createWorkspaces(cluster, other, { elsewhere: { spec: { accessType: 'Public', ...by('web') } } })

const REVIEWS = `${CONNECTION_API}/namespaces/${team}/connectionaccessreviews`
const review = (spec: object, person: Person = AUTH_ACCOUNT): Promise<Answered> => through(person, { path: REVIEWS, body: { spec } })
const CONNECTIONS = `${CONNECTION_API}/namespaces/${team}/workspaceconnections`
const connect = (person: Person, workspaceName: string, workspaceConnectionType = 'web-ui', query = ''): Promise<Answered> =>
  through(person, { path: `${CONNECTIONS}${query}`, body: { spec: { workspaceName, workspaceConnectionType } } })
const statusIn = ({ code, body, text }: Answered): unknown => (code === 201 ? Reflect.get(body as object, 'status') : `${code}: ${text}`)
await untilTrue('whoever may connect may', async () => (await Promise.all([review({ workspaceName: 'private', user: 'alice' }), review({ workspaceName: 'public', groups: ['visitors'] })])).every(({ text }) => text.includes('"allowed":true')))
await untilTrue('whoever may ask may', async () => (await connect(eve, 'public')).text.includes('RBAC permission denied'))

const NO_PERMISSION = { allowed: false, notFound: false, reason: 'RBAC permission denied' }
const ABSENT = { allowed: false, notFound: true, reason: 'Workspace not found' }
const NOT_OWNER = { allowed: false, notFound: false, reason: 'User is not the owner of the private Workspace' }
const OWNER = { allowed: true, notFound: false, reason: 'Valid RBAC and user is the owner of the private Workspace' }
const PUBLIC = { allowed: true, notFound: false, reason: 'Valid RBAC and the subject Workspace is public' }

const DECISIONS: Record<string, { spec: object; status: object }> = {
  'no permission, and a Workspace that is public': { spec: { workspaceName: 'public', user: 'eve' }, status: NO_PERMISSION },
  'no permission, and no such Workspace': { spec: { workspaceName: 'gone', user: 'eve' }, status: NO_PERMISSION },
  'no permission, and the owner': { spec: { workspaceName: 'private', user: 'eve' }, status: NO_PERMISSION },
  'permission, and no such Workspace': { spec: { workspaceName: 'gone', user: 'alice' }, status: ABSENT },
  'a Workspace of another namespace': { spec: { workspaceName: 'elsewhere', user: 'alice' }, status: ABSENT },
  'a name that no object can have': { spec: { workspaceName: 'No Such Name', user: 'alice' }, status: ABSENT },
  'private, and somebody else': { spec: { workspaceName: 'private', user: 'bob' }, status: NOT_OWNER },
  'private, and the owner': { spec: { workspaceName: 'private', user: 'alice' }, status: OWNER },
  'private, and the owner in another case': { spec: { workspaceName: 'private', user: 'Alice', groups: ['visitors'] }, status: NOT_OWNER },
  'private, and a group of the owner': { spec: { workspaceName: 'private', groups: ['visitors'] }, status: NOT_OWNER },
  'private, and a user of all rights': { spec: { workspaceName: 'private', user: 'root', groups: ['system:masters'] }, status: NOT_OWNER },
  'public': { spec: { workspaceName: 'public', user: 'bob' }, status: PUBLIC },
  'public, with the permission of a group': { spec: { workspaceName: 'public', user: 'eve', groups: ['visitors'] }, status: PUBLIC },
  'public, with a group alone': { spec: { workspaceName: 'public', groups: ['visitors'] }, status: PUBLIC },
  'public, with a group that is nearly it': { spec: { workspaceName: 'public', user: 'eve', groups: ['visitors2'] }, status: NO_PERMISSION },
  'neither type is written': { spec: { workspaceName: 'unset', user: 'bob' }, status: PUBLIC },
  'ownershipType decides where accessType is left out': { spec: { workspaceName: 'owner-by-ownership', user: 'bob' }, status: NOT_OWNER },
  'ownershipType, and the owner': { spec: { workspaceName: 'owner-by-ownership', user: 'alice' }, status: OWNER },
  'accessType counts before ownershipType': { spec: { workspaceName: 'public-in-spite-of-ownership', user: 'bob' }, status: PUBLIC },
  'accessType counts before ownershipType, the other way too': { spec: { workspaceName: 'private-in-spite-of-ownership', user: 'bob' }, status: NOT_OWNER },
  'nobody owns it': { spec: { workspaceName: 'ownerless', user: 'alice' }, status: NOT_OWNER },
  'nobody owns it, and no user is named': { spec: { workspaceName: 'ownerless', groups: ['visitors'] }, status: NOT_OWNER },
  'nobody owns it, and the user is empty': { spec: { workspaceName: 'owner-empty', user: '', groups: ['visitors'] }, status: NOT_OWNER },
  'the owner is written as JSON text': { spec: { workspaceName: 'escaped', user: 'a&b' }, status: OWNER },
  'the owner is written as he is': { spec: { workspaceName: 'raw', user: 'a&b' }, status: OWNER },
  'the text itself is nobody': { spec: { workspaceName: 'raw', user: 'a\\u0026b', groups: ['visitors'] }, status: NOT_OWNER },
}

for (const [sentence, { spec, status }] of Object.entries(DECISIONS)) {
  await test(`ConnectionAccessReview: ${sentence}`, async (subtest) => {
    subtest.strictSame(statusIn(await review(spec)), status)
  })
}

await test('the subject counts, and never the caller', async (subtest) => {
  const admin: Person = { user: 'admin', groups: ['system:masters'] }
  subtest.strictSame(statusIn(await review({ workspaceName: 'private', user: 'eve' }, admin)), NO_PERMISSION)
  subtest.match(await review({ workspaceName: 'private', user: 'alice' }, alice), { code: 403, body: { message: /User "alice" cannot create resource "connectionaccessreviews"/ } })
})

const inOther = (spec: object): { path: string; body: object } => ({ path: `${CONNECTION_API}/namespaces/${other}/connectionaccessreviews`, body: { spec: { workspaceName: 'elsewhere', ...spec } } })

await test('no group is added to those that were sent', async (subtest) => {
  subtest.strictSame(statusIn(await through(AUTH_ACCOUNT, inOther({ user: 'zoe' }))), NO_PERMISSION)
  subtest.strictSame(statusIn(await through(AUTH_ACCOUNT, inOther({ user: 'zoe', groups: ['system:authenticated'] }))), PUBLIC)
})

await test('by options system:authenticated is added, and another resource is asked about', async (subtest) => {
  const { direct } = await startExtension(t, cluster, { port: 0, reviewAuthenticatedGroup: true, reviewGroup: 'connection.workspace.jupyter.org', reviewResource: 'workspaceconnections' })
  const spec = { workspaceName: 'public', user: eve.user }
  subtest.strictSame(statusIn(await review(spec)), NO_PERMISSION)
  subtest.strictSame(statusIn(await direct(AUTH_ACCOUNT, { path: REVIEWS, body: { spec } })), PUBLIC)
  subtest.strictSame(statusIn(await direct(AUTH_ACCOUNT, inOther({ user: 'zoe' }))), PUBLIC)
})

await test('uid and extra are asked about as they were sent, and come back', async (subtest) => {
  const spec = { workspaceName: 'private', user: 'alice', groups: ['b', 'a', 'b'], uid: 'u', extra: { 'scopes.example.org/a': ['x', 'y'], '__proto__': ['z'] } }
  const reply = await through(AUTH_ACCOUNT, { path: REVIEWS, body: JSON.stringify({ spec }).replace('"scopes', '"__proto__":["z"],"scopes') })
  subtest.strictSame(statusIn(reply), OWNER)
  subtest.match(reply.text, '"groups":["b","a","b"],"uid":"u","extra":{"__proto__":["z"],"scopes.example.org/a":["x","y"]}')
})

await test('what has changed counts at once: the owner, the type, the permission, the end of the Workspace', async (subtest) => {
  await createWorkspaces(cluster, team, { passing: { spec: { accessType: 'OwnerOnly' } } })
  const asked = { workspaceName: 'passing', user: 'bob' }
  const patch = (body: object): Promise<unknown> => cluster.kubectl(['patch', 'workspace', 'passing', '-n', team, '--type=merge', '-p', JSON.stringify(body)])
  subtest.strictSame(statusIn(await review(asked)), NOT_OWNER)
  await patch({ metadata: { annotations: { 'workspace.jupyter.org/created-by': 'bob' } } })
  subtest.strictSame(statusIn(await review(asked)), OWNER)
  await patch({ metadata: { annotations: { 'workspace.jupyter.org/created-by': 'alice' } }, spec: { accessType: 'Public' } })
  subtest.strictSame(statusIn(await review(asked)), PUBLIC)
  await cluster.kubectl(['delete', 'workspace', 'passing', '-n', team])
  subtest.strictSame(statusIn(await review(asked)), ABSENT)
})

const urlIn = (reply: Answered): URL => new URL((statusIn(reply) as { workspaceConnectionUrl: string }).workspaceConnectionUrl)
const tokenIn = (reply: Answered): string => urlIn(reply).searchParams.get('token') ?? ''

const signingKey = async (kid: string): Promise<Buffer> => {
  const secret = await kube.get(SECRETS, SYSTEM_NAMESPACE, DEFAULT_EXTENSION_OPTIONS.jwtSecretName)
  return Buffer.from(secret?.data?.[`jwt-signing-key-${kid}`] ?? '', 'base64')
}
const ISSUER = { issuer: 'workspaces-controller', audience: 'workspaces-controller' }
const verified = async (token: string): Promise<JWTPayload> => {
  const { kid = '', alg, typ } = decodeProtectedHeader(token)
  if (alg !== 'HS384' || typ !== 'JWT') throw new Error(`the token is a ${typ} by ${alg}`)
  const { payload } = await jwtVerify(token, await signingKey(kid), { ...ISSUER, algorithms: ['HS384'] })
  return payload
}

await test('WorkspaceConnection: the owner gets an address with a token that says who he is, and for what', async (subtest) => {
  const reply = await connect(alice, 'private')
  subtest.equal(reply.code, 201)
  const url = urlIn(reply)
  subtest.equal(`${url.origin}${url.pathname}`, `https://ws.example.com/workspaces/${team}/private/bearer-auth`)
  const { iat = 0, nbf, exp = 0, jti, ...claims } = await verified(tokenIn(reply))
  subtest.strictSame(claims, {
    iss: ISSUER.issuer,
    aud: [ISSUER.audience],
    sub: 'alice',
    User: 'alice',
    Groups: ['team-a', 'system:authenticated'],
    Uid: 'uid-of-alice',
    Extra: extra,
    Path: `/workspaces/${team}/private`,
    Domain: 'ws.example.com',
    Namespace: team,
    TokenType: 'bootstrap',
    SkipRefresh: true,
  })
  subtest.strictSame([nbf, exp - iat, typeof jti], [iat, 300, 'string'])
})

await test('WorkspaceConnection: a caller with a token of his own is who the API server knows', async (subtest) => {
  const kubeconfig = await cluster.kubeconfigFor({ name: 'default', token: await cluster.serviceAccountToken(team, 'default') })
  const object = { apiVersion: 'connection.workspace.jupyter.org/v1alpha1', kind: 'WorkspaceConnection', metadata: { namespace: team }, spec: { workspaceName: 'public', workspaceConnectionType: 'web-ui' } }
  const { stdout } = await cluster.kubectl(['create', '-f', '-', '-o', 'jsonpath={.status.workspaceConnectionUrl}'], { kubeconfig, input: JSON.stringify(object) })
  const { stdout: uid } = await cluster.kubectl(['get', 'serviceaccount', 'default', '-n', team, '-o', 'jsonpath={.metadata.uid}'])
  subtest.match(await verified(new URL(stdout).searchParams.get('token') ?? ''), {
    User: `system:serviceaccount:${team}:default`,
    Uid: uid,
    Groups: ['system:serviceaccounts', `system:serviceaccounts:${team}`, 'system:authenticated'],
    Extra: { 'authentication.kubernetes.io/credential-id': [/^JTI=/] },
  })
})

await test('WorkspaceConnection: a name may be in the host, and a query is gone on with', async (subtest) => {
  const reply = await connect(bob, 'subdomain')
  const url = urlIn(reply)
  subtest.equal(url.href.replace(tokenIn(reply), '…'), 'https://subdomain-mrswmylvnr2a.example.com:8443/bearer-auth?from=subdomain&token=…')
  subtest.match(await verified(tokenIn(reply)), { Path: '/', Domain: 'subdomain-mrswmylvnr2a.example.com:8443', User: 'bob' })
})

const told = (code: number, reason: string, message: string | RegExp): object => ({ code, body: { kind: 'Status', status: 'Failure', reason, message, code } })
const CONNECTION_REFUSALS: Record<string, { person?: Person; workspace: string; type?: string; answer: object }> = {
  'no such Workspace': { workspace: 'gone', answer: told(404, 'NotFound', 'Workspace not found') },
  'a Workspace of another namespace': { workspace: 'elsewhere', answer: told(404, 'NotFound', 'Workspace not found') },
  'somebody else’s': { person: bob, workspace: 'private', answer: told(403, 'Forbidden', 'User is not the workspace owner') },
  'no permission to connect, only to ask': { person: eve, workspace: 'public', answer: told(403, 'Forbidden', 'RBAC permission denied') },
  'no permission to connect, and no such Workspace': { person: eve, workspace: 'gone', answer: told(403, 'Forbidden', 'RBAC permission denied') },
  'no permission to ask': {
    person: { user: 'x', groups: ['y'] },
    workspace: 'public',
    answer: told(403, 'Forbidden', `workspaceconnections.connection.workspace.jupyter.org is forbidden: User "x" cannot create resource "workspaceconnections" in API group "connection.workspace.jupyter.org" in the namespace "${team}"`),
  },
  'no access strategy': { workspace: 'unset', answer: told(400, 'BadRequest', 'workspace has no access strategy') },
  'an access strategy that is gone': { workspace: 'strategy-gone', answer: told(404, 'NotFound', 'access strategy not found') },
  'a Workspace that is not available': { workspace: 'not-available', answer: told(400, 'BadRequest', 'workspace is not available. Check workspace status for details') },
  'a Workspace that nobody has looked at': { workspace: 'no-condition', answer: told(400, 'BadRequest', 'workspace is not available. Check workspace status for details') },
  'a browser, and no template': { workspace: 'remote', answer: told(400, 'BadRequest', 'web browser access is not enabled for this workspace') },
  'an address that is not https': { workspace: 'plain', answer: told(400, 'BadRequest', 'the access strategy of the workspace cannot be used: bearerAuthURLTemplate must begin with https://') },
  'a function that there is not': { workspace: 'unknown-function', answer: told(500, 'InternalError', /^failed to resolve connection context: "podUid" calls "extensionapi::Secrets\(\)"/) },
  'a Pod in another namespace alone': { workspace: 'lonely', type: 'vscode-remote', answer: told(400, 'BadRequest', /^failed to resolve connection context: workspace lonely has no running Pod in namespace team-/) },
  'a type without a handler': { workspace: 'private', type: 'vscode-remote', answer: told(400, 'BadRequest', 'connection type "vscode-remote" is not configured for this workspace') },
  'the handler of Kubernetes': { workspace: 'remote', type: 'native-remote', answer: told(400, 'BadRequest', 'k8s-native handler is not supported for remote connections (requested "native-remote")') },
  'a plugin that there is no address of': { workspace: 'remote', type: 'gone-remote', answer: told(400, 'BadRequest', /^plugin endpoints not configured\./) },
  'another action of the plugin': { workspace: 'remote', type: 'action-remote', answer: told(500, 'InternalError', /^unsupported plugin action "deleteSession"/) },
  'a type that is none': {
    workspace: 'remote',
    type: 'vscode_remote',
    answer: told(422, 'Invalid', /invalid workspaceConnectionType: 'vscode_remote'\. Must be 'web-ui' or follow the '\{ide\}-remote' pattern/),
  },
  'no type': { workspace: 'remote', type: '', answer: told(422, 'Invalid', /spec\.workspaceConnectionType: Required value: workspaceConnectionType is required$/) },
  'no name': { workspace: '', answer: told(422, 'Invalid', /spec\.workspaceName: Required value: workspaceName is required$/) },
}

for (const [sentence, { person = alice, workspace, type, answer }] of Object.entries(CONNECTION_REFUSALS)) {
  await test(`WorkspaceConnection: ${sentence}`, async (subtest) => {
    subtest.match(await connect(person, workspace, type), answer)
  })
}
await test('an access strategy may be in another namespace, and the owner may be written as JSON text', async (subtest) => {
  subtest.equal((await connect(bob, 'strategy-elsewhere')).code, 201)
  subtest.match(await verified(tokenIn(await connect({ user: 'a&b' }, 'escaped'))), { sub: 'a&b' })
})

await test('a plugin is asked for a session of the Pod of this namespace', async (subtest) => {
  const { metadata } = (await kube.get(PODS, team, 'own')) ?? { metadata: { uid: 'none' } }
  for (const type of ['kiro-remote', 'vscode-remote']) {
    heard.length = 0
    const reply = await connect(alice, 'remote', type)
    subtest.strictSame(statusIn(reply), { workspaceConnectionType: type, workspaceConnectionUrl: 'vscode://host/session-1' })
    const [call] = heard
    subtest.strictSame([heard.length, call?.url], [1, '/v1alpha1/remote-access/create-session'])
    subtest.strictSame(call?.body, { podUID: metadata.uid, workspaceName: 'remote', namespace: team, connectionType: type, connectionContext: { podUid: metadata.uid, region: 'north' } })
    subtest.match(call?.headers, { 'x-plugin-request-id': /^[0-9a-f]{16}$/, 'x-origin-request-id': /^[0-9a-f]{16}$/, 'authorization': undefined })
  }
})

await test('what a plugin says when it fails is for the log alone', async (subtest) => {
  const before = pluginAnswer
  pluginAnswer = { code: 500, body: '{"error":"password of the plugin"}' }
  const reply = await connect(alice, 'remote', 'kiro-remote')
  pluginAnswer = before
  subtest.match(reply, { code: 502, body: { reason: 'InternalError', message: /^the remote access plugin did not make a session; its log has more under request [0-9a-f]{16}$/ } })
  subtest.notMatch(reply.text, /password|127\.0\.0\.1/)
})

await test('a dry run decides, makes no token and asks no plugin', async (subtest) => {
  heard.length = 0
  for (const [workspace, type] of [['private', 'web-ui'], ['remote', 'kiro-remote']] as const)
    subtest.strictSame(statusIn(await connect(alice, workspace, type, '?dryRun=All')), { workspaceConnectionType: type, workspaceConnectionUrl: '' })
  subtest.match(await connect(bob, 'private', 'web-ui', '?dryRun=All'), { code: 403 })
  subtest.match(await connect(alice, 'gone', 'web-ui', '?dryRun=All'), { code: 404 })
  subtest.strictSame(heard, [])
})

const judge = async (token: string | undefined, { namespace = team, query = '' } = {}): Promise<Answered> =>
  through(AUTH_ACCOUNT, { path: `${CONNECTION_API}/namespaces/${namespace}/bearertokenreviews${query}`, body: { metadata: { name: 'r' }, spec: token === undefined ? {} : { token } } })
const refusedToken = (error: string): object => ({ authenticated: false, user: { username: '' }, error })
const AUTHENTICATED = (path: string): object => ({
  authenticated: true,
  path,
  domain: 'ws.example.com',
  user: { username: 'alice', uid: 'uid-of-alice', groups: ['team-a', 'system:authenticated'], extra },
})

await test('BearerTokenReview: a token is good once, in its own namespace, and is never part of an answer', async (subtest) => {
  const token = tokenIn(await connect(alice, 'private'))
  subtest.strictSame(statusIn(await judge(token, { namespace: other })), refusedToken('the token is for another namespace'))
  subtest.strictSame(statusIn(await judge(token, { query: '?dryRun=All' })), AUTHENTICATED(`/workspaces/${team}/private`), 'a dry run does not use it up')
  const good = await judge(token)
  subtest.strictSame([good.code, good.body], [
    201,
    { apiVersion: 'connection.workspace.jupyter.org/v1alpha1', kind: 'BearerTokenReview', metadata: { name: 'r', namespace: team }, spec: {}, status: AUTHENTICATED(`/workspaces/${team}/private`) },
  ])
  subtest.strictSame(statusIn(await judge(token)), refusedToken('the token was used already'))
  subtest.strictSame(statusIn(await judge(token, { query: '?dryRun=All' })), refusedToken('the token was used already'))
})

/** A token as ours, signed with the newest key, except for what is changed. */
const forged = async (claims: object = {}, { issuer = ISSUER.issuer, audience = ISSUER.audience, expires = '5m', key }: { issuer?: string; audience?: string; expires?: string; key?: Buffer } = {}): Promise<string> => {
  const { kid = '' } = decodeProtectedHeader(tokenIn(await connect(alice, 'private')))
  return new SignJWT({ User: 'alice', Path: `/workspaces/${team}/private`, Domain: 'ws.example.com', TokenType: 'bootstrap', jti: `${Math.random()}`, ...claims })
    .setProtectedHeader({ alg: 'HS384', kid, typ: 'JWT' })
    .setSubject('alice')
    .setIssuer(issuer)
    .setAudience([audience])
    .setIssuedAt()
    .setNotBefore('0s')
    .setExpirationTime(expires)
    .sign(key ?? (await signingKey(kid)))
}
const INVALID = refusedToken('invalid or expired token')
const JUDGED_TOKENS: Record<string, { token: () => Promise<string | undefined>; status: object }> = {
  'no token': { token: async () => undefined, status: refusedToken('token is required') },
  'an empty token': { token: async () => '', status: refusedToken('token is required') },
  'no JWT': { token: async () => 'nonsense', status: INVALID },
  'as ours': { token: () => forged(), status: { authenticated: true, path: `/workspaces/${team}/private`, domain: 'ws.example.com', user: { username: 'alice' } } },
  'another key': { token: () => forged({}, { key: Buffer.alloc(48, 1) }), status: INVALID },
  'another issuer': { token: () => forged({}, { issuer: 'workspaces-auth' }), status: INVALID },
  'another audience': { token: () => forged({}, { audience: 'workspace-users' }), status: INVALID },
  'an end that is past': { token: () => forged({}, { expires: '-10s' }), status: INVALID },
  'no jti': { token: () => forged({ jti: undefined }), status: INVALID },
  'a session token': { token: () => forged({ TokenType: 'session' }), status: refusedToken('invalid token type') },
  'a path of another namespace': { token: () => forged({ Path: `/workspaces/${other}/x` }), status: refusedToken('the token is for another namespace') },
  'neither namespace nor a path with one': { token: () => forged({ Path: '/' }), status: refusedToken('the token is for another namespace') },
}

for (const [sentence, { token, status }] of Object.entries(JUDGED_TOKENS)) {
  await test(`BearerTokenReview: ${sentence}`, async (subtest) => {
    const text = await token()
    const reply = await judge(text)
    subtest.strictSame(statusIn(reply), status)
    if (text !== undefined && text !== '') subtest.notMatch(reply.text, text)
  })
}

await test('who lost the permission to connect is asked again for each connection', async (subtest) => {
  await createObjects(cluster, [mayConnect(team, 'passing', [{ kind: 'User', name: 'pat' }])])
  const pat: Person = { user: 'pat' }
  await untilTrue('pat may connect', async () => (await connect(pat, 'public', 'web-ui', '?dryRun=All')).code === 201)
  await cluster.kubectl(['delete', 'rolebinding', 'passing', '-n', team])
  await untilTrue('the API server has followed', async () => (await review({ workspaceName: 'public', user: 'pat' })).text.includes('RBAC permission denied'))
  subtest.match(await connect(pat, 'public'), { code: 403 })
})

/** Name and version of what is stored in the namespaces of this test; Pods are left out, which others write to. */
const stored = async (): Promise<string[]> => {
  const kinds = 'workspaces,workspaceaccessstrategies,secrets,configmaps,roles,rolebindings,serviceaccounts'
  const columns = 'jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} {.metadata.resourceVersion}{"\\n"}{end}'
  const lists = await Promise.all([team, other, SYSTEM_NAMESPACE].map((namespace) => cluster.kubectl(['get', kinds, '-n', namespace, '-o', columns])))
  return lists.flatMap(({ stdout }) => stdout.split('\n'))
}

await test('I9 no review changes anything that is stored', async (subtest) => {
  const before = await stored()
  const token = tokenIn(await connect(alice, 'private'))
  await Promise.all([review({ workspaceName: 'private', user: 'alice' }), connect(alice, 'private', 'web-ui', '?dryRun=All'), connect(alice, 'remote', 'kiro-remote'), judge(token), judge(token, { query: '?dryRun=All' })])
  subtest.strictSame(await stored(), before)
})

await test('no log line holds a token', async (subtest) => {
  subtest.ok(world.log.lines.length > 0)
  subtest.notMatch(JSON.stringify(world.log.lines), /eyJ/)
})
