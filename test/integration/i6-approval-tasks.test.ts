import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { t, test } from 'tap'
import { stringify } from 'yaml'
import { startControlPlane } from '../../hack/control-plane/start.ts'
import { readAnswer } from '../../hack/control-plane/api-call.ts'
import type { KubectlResult } from '../../hack/control-plane/cluster-access.ts'
import { APPROVAL_INPUTS, APPROVAL_STATUS } from '../../hack/generate/approval-policies.ts'
import { APPROVAL_CONTROLLER, applyApprovalProject, approvalControllerToken } from '../../hack/sandbox/approval-project.ts'
import { untilTrue } from '../support/eventually.ts'
import { MANIFESTS } from '../support/manifests.ts'
import { mainRoutes, statusRoutes } from '../support/status-routes.ts'

// The API server alone, with the shipped policies and without anything else of access-gate: nobody helps them. A control plane of its
// own, because the policies and the definition are changed.
const cluster = await startControlPlane({ log: () => undefined })
t.teardown(() => cluster.stop())
const NAMESPACE = 'default'
const POLICIES = ['status', 'inputs'].map((name) => join(MANIFESTS, `base/400-policy-approval-${name}.yaml`))
const kubectl = (args: readonly string[], input?: string): Promise<KubectlResult> =>
  cluster.kubectl(args, { allowFailure: true, ...(input === undefined ? {} : { input }) })
const install = (...options: string[]): Promise<KubectlResult> => kubectl(['apply', '--server-side', ...options, ...POLICIES.flatMap((file) => ['-f', file])])
const remove = (): Promise<KubectlResult> => kubectl(['delete', ...POLICIES.flatMap((file) => ['-f', file])])

const MALLORY = ['--as=mallory']
const ADMINISTRATOR: string[] = []
const CONTROLLER = [`--as=${APPROVAL_CONTROLLER}`]
const said = (who: string, writers = APPROVAL_CONTROLLER): string =>
  `'${APPROVAL_STATUS.name}' denied request: status: is written by the approval controller alone, and "${who}" is not it; it is ${writers} by the variable "writers" of this policy. Approve by your own input in spec.approvers instead`

interface Input {
  name: string
  type?: string
  input: string
  users?: Input[]
}
const dora = (input: string): Input[] => [{ name: 'dora', input }]
const task = (name: string, approvers: Input[] = []): object => ({
  apiVersion: 'openshift-pipelines.org/v1alpha1',
  kind: 'ApprovalTask',
  metadata: { name, namespace: NAMESPACE, finalizers: ['example.com/wait'] },
  spec: { approvers, numberOfApprovalsRequired: 1 },
})
const TASKS = `/apis/openshift-pipelines.org/v1alpha1/namespaces/${NAMESPACE}/approvaltasks`
/** As the administrator; a kubectl of its own for each would take most of the time of these tests. */
const make = async (name: string, approvers?: Input[]): Promise<void> => {
  readAnswer(await cluster.call('POST', TASKS, task(name, approvers)), name)
}
/** Empty while nobody has said anything. */
const stateOf = async (name: string): Promise<string> => {
  const stored: { status?: { state?: string } } = JSON.parse(readAnswer(await cluster.call('GET', `${TASKS}/${name}`), name))
  return stored.status?.state ?? ''
}
const setState = (name: string, state: string, as: readonly string[]): Promise<KubectlResult> =>
  kubectl(['patch', 'approvaltask', name, '-n', NAMESPACE, '--subresource=status', '--type=merge', '-p', JSON.stringify({ status: { state } }), ...as])
const setWriters = (expression: string): Promise<KubectlResult> =>
  kubectl(['patch', 'validatingadmissionpolicy', APPROVAL_STATUS.name, '--type=json', '-p', JSON.stringify([{ op: 'replace', path: '/spec/variables/0/expression', value: expression }])])

await test('where there are no ApprovalTasks the policies are in nobody\'s way', async (suite) => {
  suite.match(await install(), { code: 0 })
  suite.match(await kubectl(['create', 'configmap', 'ordinary', '-n', NAMESPACE]), { code: 0 })
  suite.match(await kubectl(['get', 'approvaltasks', '-A']), { code: 1, stderr: 'the server doesn\'t have a resource type "approvaltasks"' })
})

await test('with the ApprovalTasks of another project in the cluster, the policies answer', async (suite) => {
  await applyApprovalProject(cluster)
  // What the approval project's own RBAC gives to every authenticated user.
  await cluster.kubectl(['create', 'clusterrole', 'everybody', '--verb=*', '--resource=approvaltasks.openshift-pipelines.org,approvaltasks.openshift-pipelines.org/status'])
  await cluster.kubectl(['create', 'clusterrolebinding', 'everybody', '--clusterrole=everybody', '--group=system:authenticated'])
  await untilTrue('everybody may write ApprovalTasks', async () => (await kubectl(['auth', 'can-i', 'patch', 'approvaltasks', '--subresource=status', ...MALLORY])).code === 0)
  await make('deploy')
  await untilTrue('the policies answer', async () => (await setState('deploy', 'approved', [...MALLORY, '--dry-run=server'])).stderr.includes(APPROVAL_STATUS.name))
  suite.equal(await stateOf('deploy'), '')
})

for (const [who, as] of Object.entries({ 'mallory': MALLORY, 'admin': ADMINISTRATOR }))
  await test(`I6 whatever rights ${who} has, the status of an ApprovalTask is not for ${who}`, async (suite) => {
    for (const [route, attempt] of Object.entries(statusRoutes(cluster, NAMESPACE, 'deploy', as))) {
      const { code, stderr } = await attempt()
      suite.equal(code, 1, route)
      suite.ok(stderr.includes(said(who)), `${route}: ${stderr}`)
    }
    for (const [route, attempt] of Object.entries(mainRoutes(cluster, NAMESPACE, 'deploy', as))) {
      await attempt()
      suite.equal(await stateOf('deploy'), '', route)
    }
    suite.equal(await stateOf('deploy-new'), '', 'a new task has no status, whatever it was made with')
    await kubectl(['delete', 'approvaltask', 'deploy-new', '-n', NAMESPACE])
  })

await test('I6 the account of the approval controller passes, also with a token of its own', async (suite) => {
  suite.match(await setState('deploy', 'pending', CONTROLLER), { code: 0 })
  const kubeconfig = await cluster.kubeconfigFor({ name: 'approval', token: await approvalControllerToken(cluster) })
  await cluster.kubectl(['patch', 'approvaltask', 'deploy', '-n', NAMESPACE, '--subresource=status', '--type=merge', '-p', '{"status":{"state":"approved"}}'], { kubeconfig })
  suite.equal(await stateOf('deploy'), 'approved')
})

await test('metadata is nobody\'s concern: labels, finalizers and deletion pass, whoever does it', async (suite) => {
  await make('leaving')
  suite.match(await setState('leaving', 'approved', CONTROLLER), { code: 0 })
  suite.match(await kubectl(['label', 'approvaltask', 'leaving', 'a=b', '-n', NAMESPACE, ...MALLORY]), { code: 0 })
  suite.match(await kubectl(['delete', 'approvaltask', 'leaving', '-n', NAMESPACE, '--wait=false', ...MALLORY]), { code: 0 })
  suite.match(await kubectl(['patch', 'approvaltask', 'leaving', '-n', NAMESPACE, '--type=merge', '-p', '{"metadata":{"finalizers":null}}', ...MALLORY]), { code: 0 })
  suite.match(await kubectl(['get', 'approvaltask', 'leaving', '-n', NAMESPACE]), { code: 1 })
})

await test('who the approval controller is can be changed, and an upgrade leaves it', async (suite) => {
  const other = 'system:serviceaccount:openshift-pipelines:manual-approval-gate-controller'
  suite.match(await setWriters(`['${other}', 'carol']`), { code: 0 })
  await untilTrue('the other account is followed', async () => (await setState('deploy', 'pending', [`--as=${other}`])).code === 0)
  suite.match(await setState('deploy', 'pending', ['--as=carol']), { code: 0 })
  suite.ok((await setState('deploy', 'approved', CONTROLLER)).stderr.includes(said(APPROVAL_CONTROLLER, `${other}, carol`)))

  const upgraded = await install()
  suite.equal(upgraded.code, 1)
  suite.ok(upgraded.stderr.includes('.spec.variables[name="writers"]'), upgraded.stderr)
  suite.match(await install('-l', 'connectors.alauda.io/install!=once'), { code: 0 })
  suite.match(await setState('deploy', 'pending', ['--as=carol']), { code: 0 }, 'an upgrade changed nothing')
})

await test('a list of nobody refuses everybody and says so; what is no list is not taken', async (suite) => {
  suite.match(await setWriters('[]'), { code: 0 })
  await untilTrue('nobody is followed', async () => (await setState('deploy', 'pending', ['--as=carol'])).stderr.includes(said('carol', 'nobody')))
  for (const bad of ['', '   ', 'system:serviceaccount:a:b', '"carol"', "['carol'"]) suite.match(await setWriters(bad), { code: 1 }, bad)
  suite.equal(await stateOf('deploy'), 'pending')
})

await test('removed and installed anew, the policies follow changes as before', async (suite) => {
  suite.match(await remove(), { code: 0 })
  await untilTrue('nothing is held', async () => (await setState('deploy', 'pending', ['--as=carol'])).code === 0)
  suite.match(await install(), { code: 0 })
  await untilTrue('it is held again', async () => (await setState('deploy', 'pending', ['--as=carol'])).stderr.includes(said('carol')))
  suite.match(await setState('deploy', 'pending', CONTROLLER), { code: 0 })
  suite.match(await setWriters("['carol']"), { code: 0 })
  await untilTrue('carol is followed', async () => (await setState('deploy', 'pending', ['--as=carol'])).code === 0)
  suite.match(await setState('deploy', 'approved', CONTROLLER), { code: 1 })
  suite.match(await install('--force-conflicts'), { code: 0 })
})

await test('I6 an input is given by the person whom it names', async (suite) => {
  const OPS = ['--as-group=ops', '--as-group=system:authenticated']
  const approvers = (alice: string, group = 'pending', members: Input[] = []): Input[] => [
    { name: 'alice', type: 'User', input: alice },
    { name: 'bob', type: 'User', input: 'pending' },
    { name: 'ops', type: 'Group', input: group, users: members },
  ]
  const put = (name: string, list: Input[], as: readonly string[]): Promise<KubectlResult> =>
    kubectl(['patch', 'approvaltask', name, '-n', NAMESPACE, '--type=merge', '-p', JSON.stringify({ spec: { approvers: list } }), ...as])
  const asAlice = ['--as=alice']
  const asDora = ['--as=dora', ...OPS]
  const outsider = ['--as=dora']
  const asBob = ['--as=bob']
  const pending = approvers('pending')
  const steps: Record<string, { before?: Input[]; by: readonly string[]; after: Input[]; passes: boolean }> = {
    'alice approves': { by: asAlice, after: approvers('approve'), passes: true },
    'alice rejects': { by: asAlice, after: approvers('reject'), passes: true },
    'alice changes her mind': { before: approvers('approve'), by: asAlice, after: approvers('reject'), passes: true },
    'bob approves in the name of alice': { by: asBob, after: approvers('approve'), passes: false },
    'the administrator approves in the name of alice': { by: ADMINISTRATOR, after: approvers('approve'), passes: false },
    'bob takes the rejection of alice back': { before: approvers('reject'), by: asBob, after: pending, passes: false },
    'bob takes alice with her rejection out': { before: approvers('reject'), by: asBob, after: pending.slice(1), passes: false },
    'alice approves, and adds carol who approves': { by: asAlice, after: [...approvers('approve'), { name: 'carol', type: 'User', input: 'approve' }], passes: false },
    'alice approves, and adds carol who is to be asked': { by: asAlice, after: [...approvers('approve'), { name: 'carol', input: 'pending' }], passes: true },
    'alice gives her approval the name of bob': { before: approvers('approve'), by: asAlice, after: [{ name: 'bob', input: 'approve' }], passes: false },
    'a member of the group approves': { by: asDora, after: approvers('pending', 'approve', dora('approve')), passes: true },
    'somebody outside approves as the group': { by: outsider, after: approvers('pending', 'approve'), passes: false },
    'somebody outside joins the list of the group': { by: outsider, after: approvers('pending', 'pending', dora('approve')), passes: false },
    'somebody outside was listed in the group': { before: approvers('pending', 'pending', dora('pending')), by: outsider, after: approvers('pending', 'pending', dora('approve')), passes: false },
    'a member approves for another member': { by: ['--as=emma', ...OPS], after: approvers('pending', 'approve', dora('approve')), passes: false },
    'a member takes the rejection of another back': { before: approvers('pending', 'pending', dora('reject')), by: ['--as=emma', ...OPS], after: approvers('pending', 'approve', dora('approve')), passes: false },
    'a user named like the group is no member': { by: ['--as=ops'], after: approvers('pending', 'approve'), passes: false },
    'what is no list of approvers is not understood': { by: asAlice, after: [{ name: 'alice', input: 'pending', users: 'many' as unknown as Input[] }], passes: false },
  }
  let number = 0
  for (const [sentence, { before, by, after, passes }] of Object.entries(steps)) {
    const name = `inputs-${++number}`
    await make(name, pending)
    // Made as it was before by those who may: each of them gives the own input.
    const inputs = before ?? []
    if (inputs.some((entry) => entry.name === 'alice' && entry.input !== 'pending')) suite.match(await put(name, inputs, asAlice), { code: 0 }, `${sentence}: before`)
    else if (before !== undefined) suite.match(await put(name, inputs, asDora), { code: 0 }, `${sentence}: before`)
    const { code, stderr } = await put(name, after, by)
    suite.equal(code, passes ? 0 : 1, `${sentence}: ${stderr}`)
    if (!passes) suite.ok(stderr.includes(APPROVAL_INPUTS.name), `${sentence}: ${stderr}`)
  }
  const made = await kubectl(['create', '-f', '-', ...MALLORY], stringify(task('made-approved', approvers('approve'))))
  suite.match(made, { code: 1 })
  suite.ok(made.stderr.includes('spec.approvers: an input is given and changed by the user whom it names alone, and that of a group by its members alone'), made.stderr)
})

await test('I6 a definition without a status subresource opens no other way to the status', async (suite) => {
  await make('plain')
  const definition = (await readFile(join(import.meta.dirname, '../../hack/sandbox/approval-project.yaml'), 'utf8')).split('---\n')[0] ?? ''
  const without = definition.replace(/ {6}subresources:\n {8}status: \{\}\n/, '')
  suite.not(without, definition)
  await cluster.kubectl(['replace', '-f', '-'], { input: without })
  await untilTrue('there is no status subresource', async () => (await setState('plain', 'pending', CONTROLLER)).stderr.includes('(NotFound)'))
  for (const [route, attempt] of Object.entries(mainRoutes(cluster, NAMESPACE, 'plain', MALLORY))) {
    const { code, stderr } = await attempt()
    suite.equal(code, 1, route)
    suite.ok(stderr.includes(`'${APPROVAL_INPUTS.name}' denied request: status: is written through the status subresource alone`), `${route}: ${stderr}`)
  }
  suite.equal(await stateOf('plain'), '')
  suite.match(await kubectl(['label', 'approvaltask', 'plain', 'a=b', '-n', NAMESPACE, ...MALLORY]), { code: 0 }, 'metadata passes')
})
