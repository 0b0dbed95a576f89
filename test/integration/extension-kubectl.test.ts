import { join } from 'node:path'
import { t, test } from 'tap'
import { parse, stringify } from 'yaml'
import { ROOT } from '../../hack/project.ts'
import { untilTrue } from '../support/eventually.ts'
import { extensionWorld } from '../support/extension-world.ts'

const { cluster } = await extensionWorld(t)
const TEAM = 'team-alice'
const example = (name: string): string => join(ROOT, 'docs/examples', `${name}.yaml`)
await cluster.kubectl(['apply', '--server-side', '-f', join(ROOT, 'hack/sandbox/workspaces.yaml')])
const available = { status: { conditions: [{ type: 'Available', status: 'True', reason: 'Ready', message: '', lastTransitionTime: '2026-01-02T03:04:05Z' }] } }
await cluster.kubectl(['patch', 'workspace', 'alice-workspace', '-n', TEAM, '--subresource=status', '--type=merge', '-p', JSON.stringify(available)])

/** An ordinary user with a token of his own: the stock role `admin` of one namespace, and nothing of the cluster. */
await cluster.kubectl(['create', 'serviceaccount', 'admin', '-n', TEAM])
await cluster.kubectl(['create', 'rolebinding', 'admin', '-n', TEAM, '--clusterrole=admin', `--serviceaccount=${TEAM}:admin`])
const user = await cluster.kubeconfigFor({ name: 'team-admin', token: await cluster.serviceAccountToken(TEAM, 'admin') })
const as = (...args: string[]) => cluster.kubectl(args, { kubeconfig: user, allowFailure: true })
const withObject = (object: object, ...args: string[]) => cluster.kubectl(['create', '-f', '-', ...args], { kubeconfig: user, allowFailure: true, input: stringify(object) })
await untilTrue('the stock roles hold the right to ask', async () => (await as('auth', 'can-i', 'create', 'connectionaccessreviews', '-n', TEAM)).code === 0)

const GROUP = 'connection.workspace.jupyter.org'
const REVIEW = { apiVersion: `${GROUP}/v1alpha1`, kind: 'ConnectionAccessReview', metadata: { namespace: TEAM }, spec: { workspaceName: 'alice-workspace', user: 'bob' } }

await test('the ordinary user may not read definitions', async (subtest) => {
  subtest.match(await as('auth', 'can-i', 'list', 'customresourcedefinitions'), { code: 1, stdout: 'no\n' })
})

await test('kubectl create -f prints the answer', async (subtest) => {
  const { code, stdout, stderr } = await as('create', '-f', example('connection-access-review'), '-o', 'yaml')
  subtest.strictSame([code, stderr], [0, ''])
  subtest.strictSame(parse(stdout), {
    apiVersion: `${GROUP}/v1alpha1`,
    kind: 'ConnectionAccessReview',
    metadata: { namespace: TEAM },
    spec: { workspaceName: 'alice-workspace', user: 'alice', groups: [TEAM, 'system:authenticated'] },
    status: { allowed: true, notFound: false, reason: 'Valid RBAC and user is the owner of the private Workspace' },
  })
  subtest.match(await withObject(REVIEW, '-o', 'jsonpath={.status.reason}'), { code: 0, stderr: '', stdout: 'User is not the owner of the private Workspace' })
  subtest.match(await withObject(REVIEW), { code: 0, stderr: '', stdout: /^connectionaccessreview\.connection\.workspace\.jupyter\.org\/.* created\n$/ })
})

const connect = (person: string) => cluster.kubectl(['create', '-f', example('workspace-connection'), '-o', 'jsonpath={.status.workspaceConnectionUrl}', `--as=${person}`], { allowFailure: true })

await test('kubectl create -f gets the owner an address, and nobody else', async (subtest) => {
  subtest.match(await connect('alice'), { code: 0, stderr: '', stdout: new RegExp(`^https://workspaces\\.example\\.com/workspaces/${TEAM}/alice-workspace/bearer-auth\\?token=eyJ`) })
  subtest.match(await connect('bob'), { code: 1, stdout: '', stderr: /^Error from server \(Forbidden\): error when creating .*: User is not the workspace owner\n$/ })
  subtest.match(await connect('eve'), { code: 1, stdout: '', stderr: /workspaceconnections\.connection\.workspace\.jupyter\.org is forbidden: User "eve" cannot create resource "workspaceconnections"/ })
})

await test('kubectl create -f takes a token review, and shows nothing of the token', async (subtest) => {
  const object = { apiVersion: `${GROUP}/v1alpha1`, kind: 'BearerTokenReview', metadata: { namespace: TEAM }, spec: { token: 'secret-token' } }
  const { code, stdout } = await cluster.kubectl(['create', '-f', '-', '-o', 'yaml'], { input: stringify(object) })
  subtest.equal(code, 0)
  subtest.strictSame(parse(stdout), { ...object, spec: {}, status: { authenticated: false, user: { username: '' }, error: 'invalid or expired token' } })
})

const EXPLAINED: Record<string, Record<string, RegExp>> = {
  connectionaccessreview: {
    spec: /workspaceName\s+<string> -required-\n\s+Name of the Workspace, in the namespace of the review\./,
    status: /notFound\s+<boolean>/,
  },
  workspaceconnection: { spec: /workspaceConnectionType\s+<string> -required-/, status: /workspaceConnectionUrl\s+<string>/ },
  bearertokenreview: { spec: /token\s+<string>\n\s+The token of a WorkspaceConnection/, status: /authenticated\s+<boolean>/ },
  connectoraccessreview: { spec: /subject\s+<Object> -required-/, status: /policies\s+<\[\]Object>/ },
}

for (const [kind, parts] of Object.entries(EXPLAINED)) {
  await test(`kubectl explains ${kind}`, async (subtest) => {
    subtest.match(await as('explain', kind), { code: 0, stderr: '', stdout: /DESCRIPTION:\n\s+\S.*\n[^]*spec\s+<Object>/ })
    for (const [part, says] of Object.entries(parts)) subtest.match(await as('explain', `${kind}.${part}`), { code: 0, stderr: '', stdout: says }, part)
    const all = await as('explain', kind, '--recursive')
    subtest.match(all, { code: 0, stderr: '' })
    subtest.notMatch(all.stdout, '<empty>', 'every field has a description')
  })
}

await test('kubectl auth can-i knows the kinds', async (subtest) => {
  const canI = async (...args: string[]): Promise<string> => {
    const { stdout, stderr } = await as('auth', 'can-i', ...args, '-n', TEAM)
    return `${stdout.trim()}${stderr}`
  }
  subtest.equal(await canI('create', 'connectionaccessreviews'), 'yes')
  subtest.equal(await canI('create', 'workspaceconnections'), 'yes')
  subtest.equal(await canI('create', 'connectoraccessreviews'), 'yes')
  subtest.equal(await canI('create', 'bearertokenreviews'), 'no', 'that is for auth alone')
  subtest.match(await as('auth', 'can-i', 'create', 'connectionaccessreviews', '-n', 'default'), { code: 1, stdout: 'no\n', stderr: '' })
})

await test('kubectl create --dry-run=server answers as without it', async (subtest) => {
  const { code, stdout, stderr } = await withObject(REVIEW, '--dry-run=server', '-o', 'yaml')
  subtest.strictSame([code, stderr], [0, ''])
  subtest.strictSame(parse(stdout), { ...REVIEW, spec: { ...REVIEW.spec, groups: [] }, status: { allowed: false, notFound: false, reason: 'User is not the owner of the private Workspace' } })
})

const UNKNOWN = { ...REVIEW, spec: { ...REVIEW.spec, colour: 'red' } }
const VALIDATIONS: Record<string, { object: object; args: string[]; answer: object }> = {
  'a good one, strictly': { object: REVIEW, args: ['--validate=strict'], answer: { code: 0, stderr: '' } },
  'an unknown field, by default': { object: UNKNOWN, args: [], answer: { code: 1, stderr: /strict decoding error: unknown field "spec\.colour"/ } },
  'an unknown field, strictly': { object: UNKNOWN, args: ['--validate=strict'], answer: { code: 1, stderr: /strict decoding error: unknown field "spec\.colour"/ } },
  'an unknown field, with a warning': { object: UNKNOWN, args: ['--validate=warn'], answer: { code: 0, stderr: /^Warning: unknown field "spec\.colour"\n$/ } },
  'an unknown field, ignored': { object: UNKNOWN, args: ['--validate=ignore'], answer: { code: 0, stderr: '' } },
  'a required field that is missing': {
    object: { ...REVIEW, spec: { user: 'bob' } },
    args: ['--validate=strict'],
    answer: { code: 1, stderr: /^The ConnectionAccessReview "" is invalid: spec\.workspaceName: Required value\n$/ },
  },
  'a field of the wrong type': { object: { ...REVIEW, spec: { workspaceName: 'a', groups: 'b' } }, args: [], answer: { code: 1, stderr: /cannot unmarshal string into Go struct field/ } },
}

await test('kubectl validates by what the extension documents, for an ordinary user too', async (subtest) => {
  for (const [sentence, { object, args, answer }] of Object.entries(VALIDATIONS)) subtest.match(await withObject(object, ...args), answer, sentence)
})

await test('kubectl api-resources lists the kinds', async (subtest) => {
  const { stdout } = await as('api-resources', `--api-group=${GROUP}`, '--no-headers', '-o', 'wide')
  subtest.strictSame(
    stdout
      .trim()
      .split('\n')
      .map((line) => line.trim().split(/\s+/)),
    [
      ['bearertokenreviews', `${GROUP}/v1alpha1`, 'true', 'BearerTokenReview', 'create'],
      ['connectionaccessreviews', `${GROUP}/v1alpha1`, 'true', 'ConnectionAccessReview', 'create'],
      ['workspaceconnections', `${GROUP}/v1alpha1`, 'true', 'WorkspaceConnection', 'create'],
    ],
  )
  subtest.match(await as('api-resources', '--api-group=access.connectors.alauda.io', '-o', 'name'), { code: 0, stderr: '', stdout: 'connectoraccessreviews.access.connectors.alauda.io\n' })
})

await test('what only a stored object could do is refused in one sentence', async (subtest) => {
  const METHOD = /the server does not allow this method on the requested resource/
  subtest.match(await cluster.kubectl(['get', 'connectionaccessreviews', '-n', TEAM], { allowFailure: true }), { code: 1, stderr: METHOD })
  const named = { ...REVIEW, metadata: { namespace: TEAM, name: 'a' } }
  subtest.match(await cluster.kubectl(['apply', '-f', '-'], { allowFailure: true, input: stringify(named) }), { code: 0, stdout: /created/ }, 'apply finds nothing, so it creates')
})
