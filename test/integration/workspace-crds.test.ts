import { join } from 'node:path'
import { test } from 'tap'
import { reviewKinds } from '../../src/extension/reviews/kinds.ts'
import { DEFAULT_EXTENSION_OPTIONS } from '../../src/extension/options.ts'
import type { Caller } from '../../src/extension/review-kind.ts'
import { createClient } from '../../src/kube/client.ts'
import { systemClock } from '../../src/kube/timers.ts'
import { waitFor } from '../../hack/control-plane/cluster-access.ts'
import { testControlPlane } from '../support/control-plane.ts'
import { logLines } from '../support/log-lines.ts'
import { MANIFESTS } from '../support/manifests.ts'

const cluster = testControlPlane()
const folder = join(MANIFESTS, 'workspace-crds')
const GROUP = 'workspace.jupyter.org'

const applied = await cluster.kubectl(['apply', '--server-side', '-k', folder])
await cluster.kubectl(['wait', '--for=condition=Established', '--timeout=90s', `crd/workspaces.${GROUP}`, `crd/workspaceaccessstrategies.${GROUP}`])
const namespace = await cluster.namespace('workspaces')

const manifest = (name: string, spec: string, owner = 'alice'): string => `
apiVersion: ${GROUP}/v1alpha1
kind: Workspace
metadata: {name: ${name}, namespace: ${namespace}, annotations: {${GROUP}/created-by: ${owner}}}
spec: ${spec}
`

await test('the API server takes the definitions, shows what is worth it, and explains it', async (t) => {
  t.equal(applied.stderr, '')
  await cluster.kubectl(['apply', '-f', '-'], { input: manifest('shown', '{accessType: OwnerOnly, accessStrategy: {name: web}, image: jupyter}') })
  const { stdout } = await cluster.kubectl(['get', 'workspaces', '-n', namespace, 'shown', '-o', 'wide', '--no-headers'])
  t.match(stdout, /^shown +OwnerOnly +\S+ +alice +web\n$/)
  const kept = await cluster.kubectl(['get', 'workspaces', '-n', namespace, 'shown', '-o', 'jsonpath={.spec.image}'])
  t.equal(kept.stdout, 'jupyter', 'fields of the real definition are kept')
  const explained = await cluster.kubectl(['explain', 'workspaceaccessstrategies.spec.bearerAuthURLTemplate'])
  t.match(explained.stdout, /Go template of the https address/)
})

await test('an access type that is none is refused', async (t) => {
  const { code, stderr } = await cluster.kubectl(['apply', '-f', '-'], { input: manifest('bad', '{accessType: Everyone}'), allowFailure: true })
  t.not(code, 0)
  t.match(stderr, /spec\.accessType: Unsupported value: "Everyone"/)
})

await test('reviews by what the API server itself says', async (t) => {
  const { log, messages } = logLines()
  const client = await createClient({ kubeconfig: cluster.adminKubeconfig, userAgent: 'access-gate-test' })
  t.teardown(() => client.close())
  const kinds = reviewKinds({ reader: client, permission: client, tokens: undefined, clock: systemClock, logger: log, options: DEFAULT_EXTENSION_OPTIONS })
  const [review] = kinds
  const caller: Caller = { user: 'system:serviceaccount:a:auth', groups: [], extra: {} }
  const ask = async (workspaceName: string, user: string, groups: string[] = []): Promise<unknown> => {
    const spec = { workspaceName, user, groups, extra: { 'example.com/a%2Fb': ['x'], 'UPPER/slash': ['1', '2'] } }
    const outcome = await review?.review({ namespace, spec, caller, dryRun: false, signal: new AbortController().signal })
    return outcome?.ok === true ? outcome.status : outcome
  }

  await cluster.kubectl(['apply', '-f', '-'], { input: [manifest('mine', '{accessType: OwnerOnly}'), manifest('open', '{}', 'bob'), manifest('old', '{ownershipType: OwnerOnly}', 'bob')].join('---') })
  const denied = { allowed: false, notFound: false, reason: 'RBAC permission denied' }
  t.strictSame(await ask('open', 'alice', ['people']), denied)

  await cluster.kubectl(['create', 'role', 'connect', '-n', namespace, '--verb=create', `--resource=workspaces.${GROUP}/connection`])
  await cluster.kubectl(['create', 'rolebinding', 'connect', '-n', namespace, '--role=connect', '--group=people'])
  await waitFor('the right to connect', 60_000, async () => JSON.stringify(await ask('open', 'alice', ['people'])) !== JSON.stringify(denied))

  t.strictSame(await ask('open', 'alice', ['people']), { allowed: true, notFound: false, reason: 'Valid RBAC and the subject Workspace is public' })
  t.strictSame(await ask('mine', 'alice', ['people']), { allowed: true, notFound: false, reason: 'Valid RBAC and user is the owner of the private Workspace' })
  t.strictSame(await ask('old', 'alice', ['people']), { allowed: false, notFound: false, reason: 'User is not the owner of the private Workspace' })
  t.strictSame(await ask('none', 'alice', ['people']), { allowed: false, notFound: true, reason: 'Workspace not found' })
  t.strictSame(await ask('A name that is none', 'alice', ['people']), { allowed: false, notFound: true, reason: 'Workspace not found' })
  t.strictSame(await ask('open', '', ['people']), { allowed: true, notFound: false, reason: 'Valid RBAC and the subject Workspace is public' })
  t.strictSame(await ask('open', 'alice', []), denied)
  t.strictSame(messages(), [])
})
