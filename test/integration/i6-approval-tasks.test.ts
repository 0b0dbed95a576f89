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

/** As the documentation says to upgrade without a word about settings. */
const WITHOUT_SETTINGS = ['-l', 'connectors.alauda.io/install!=once']

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
/** With names as long as the API server has room for in one object. */
const groups = (count: number, each: number, input = 'pending'): Input[] =>
  Array.from({ length: count }, (_, i) => ({
    name: `group-${i}`,
    type: 'Group',
    input: 'pending',
    users: Array.from({ length: each }, (__, j) => ({ name: `${i}-${j}-`.padEnd(60, 'x'), input })),
  }))
const setSpec = (name: string, change: object, as: readonly string[]): Promise<KubectlResult> =>
  kubectl(['patch', 'approvaltask', name, '-n', NAMESPACE, '--type=merge', '-p', JSON.stringify({ spec: change }), ...as])
const setWriters = (expression: string): Promise<KubectlResult> =>
  kubectl(['patch', 'validatingadmissionpolicy', APPROVAL_STATUS.name, '--type=json', '-p', JSON.stringify([{ op: 'replace', path: '/spec/variables/0/expression', value: expression }])])

const tryToCreate = (approvers: unknown): Promise<KubectlResult> =>
  kubectl(['create', '--dry-run=server', '-f', '-', ...MALLORY], JSON.stringify({ ...task('large'), spec: { approvers, numberOfApprovalsRequired: 1 } }))

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

await test('annotations, finalizers and deletion are nobody\'s concern, whoever does it; labels are, once there is a state', async (suite) => {
  await make('leaving')
  const label = (value: string, as: readonly string[]): Promise<KubectlResult> => kubectl(['label', 'approvaltask', 'leaving', `tekton.dev/pipelineRun=${value}`, '--overwrite', '-n', NAMESPACE, ...as])
  suite.match(await label('mine', MALLORY), { code: 0 })
  suite.match(await setState('leaving', 'approved', CONTROLLER), { code: 0 })
  for (const as of [MALLORY, ADMINISTRATOR]) {
    const { code, stderr } = await label('other', as)
    suite.equal(code, 1)
    suite.ok(stderr.includes('metadata.labels: say what is approved, and do not change once the task has a state; make another task instead'), stderr)
  }
  suite.match(await kubectl(['annotate', 'approvaltask', 'leaving', 'a=b', '-n', NAMESPACE, ...MALLORY]), { code: 0 })
  suite.match(await kubectl(['delete', 'approvaltask', 'leaving', '-n', NAMESPACE, '--wait=false', ...MALLORY]), { code: 0 })
  suite.match(await kubectl(['patch', 'approvaltask', 'leaving', '-n', NAMESPACE, '--type=merge', '-p', '{"metadata":{"finalizers":null}}', ...MALLORY]), { code: 0 })
  suite.match(await kubectl(['get', 'approvaltask', 'leaving', '-n', NAMESPACE]), { code: 1 })
})

await test('who the approval controller is can be changed; an upgrade leaves it, and says so', async (suite) => {
  const other = 'system:serviceaccount:openshift-pipelines:manual-approval-gate-controller'
  suite.match(await setWriters(`['${other}', 'carol']`), { code: 0 })
  await untilTrue('the other account is followed', async () => (await setState('deploy', 'pending', [`--as=${other}`])).code === 0)
  suite.match(await setState('deploy', 'pending', ['--as=carol']), { code: 0 })
  suite.ok((await setState('deploy', 'approved', CONTROLLER)).stderr.includes(said(APPROVAL_CONTROLLER, `${other}, carol`)))

  for (const options of [[], WITHOUT_SETTINGS]) {
    const upgraded = await install(...options)
    suite.equal(upgraded.code, 1)
    suite.ok(upgraded.stderr.includes('.spec.variables[name="writers"]'), upgraded.stderr)
  }
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

await test('an upgrade from a version without these policies brings them whole, also without what is installed once', async (suite) => {
  suite.match(await remove(), { code: 0 })
  await untilTrue('nothing is held', async () => (await setState('deploy', 'pending', ['--as=carol'])).code === 0)
  // Each policy is let go of in its own time.
  await untilTrue('no input is held', async () => (await cluster.call('POST', TASKS, task('from-before', groups(100, 100, 'reject')))).status === 201)
  suite.match(await install(...WITHOUT_SETTINGS), { code: 0 })
  await untilTrue('it is held', async () => (await setState('deploy', 'pending', ['--as=carol'])).stderr.includes(said('carol')))
  // And taken up in its own time.
  await untilTrue('inputs are held', async () => (await tryToCreate(groups(1, 1, 'reject'))).stderr.includes(APPROVAL_INPUTS.name))
  suite.match(await setState('deploy', 'pending', CONTROLLER), { code: 0 })
})

await test('I6 one approver of several does not approve alone', async (suite) => {
  const pending = [{ name: 'alice', type: 'User', input: 'pending' }, { name: 'bob', type: 'User', input: 'pending' }]
  const approved = [{ name: 'alice', type: 'User', input: 'approve' }, ...pending.slice(1)]
  const two = { approvers: pending, numberOfApprovalsRequired: 2 }
  await cluster.kubectl(['create', '-f', '-'], { input: stringify({ ...task('two'), spec: two }) })
  const NUMBER = 'spec.numberOfApprovalsRequired: does not change; make another task instead'
  const ASKED = 'spec.approvers: who is asked does not change, nor the order; make another task instead'
  const attempts: Record<string, [change: object, refusal: string]> = {
    'approves, and one is to be enough': [{ approvers: approved, numberOfApprovalsRequired: 1 }, NUMBER],
    'approves, and the number is gone': [{ approvers: approved, numberOfApprovalsRequired: null }, NUMBER],
    'changes the number alone': [{ numberOfApprovalsRequired: 1 }, NUMBER],
    'makes the number a text': [{ numberOfApprovalsRequired: '2' }, NUMBER],
    'approves, and adds an account of hers': [{ approvers: [...approved, { name: 'alice-2', input: 'pending' }] }, ASKED],
    'approves, and puts an account of hers in the place of bob': [{ approvers: [...approved.slice(0, 1), { name: 'alice-2', input: 'pending' }] }, ASKED],
    'approves, and takes bob out': [{ approvers: approved.slice(0, 1) }, ASKED],
    'takes everybody out': [{ approvers: null }, ASKED],
  }
  for (const [sentence, [change, refusal]] of Object.entries(attempts)) {
    const { code, stderr } = await setSpec('two', change, ['--as=alice'])
    suite.equal(code, 1, `alice ${sentence}`)
    suite.ok(stderr.includes(refusal), `alice ${sentence}: ${stderr}`)
  }
  suite.match(await setSpec('two', { approvers: approved }, ['--as=alice']), { code: 0 }, 'her own input alone')
  suite.match(await setSpec('two', { approvers: approved.map((entry) => ({ ...entry, input: 'approve' })) }, ['--as=bob']), { code: 0 }, 'and then that of bob')
})

await test('a task as large as can be is judged, a larger one or another shape is refused in words', async (suite) => {
  suite.match(await tryToCreate(groups(100, 100)), { code: 0 })
  const changed = await setSpec('from-before', { numberOfApprovalsRequired: 2 }, MALLORY)
  suite.ok(changed.stderr.includes('spec.numberOfApprovalsRequired: does not change'), `everybody in it has given an input: ${changed.stderr.slice(0, 1000)}`)
  const OTHERS = 'an input is given and changed by the user whom it names alone'
  const SHAPE = 'spec.approvers: must be a list of at most 100 approvers, each with a name and at most 100 users who have one'
  const refused: Record<string, [approvers: unknown, refusal: string]> = {
    'every user has rejected': [groups(100, 100, 'reject'), OTHERS],
    'too many approvers': [groups(101, 0), SHAPE],
    'too many users': [groups(1, 101), SHAPE],
    'very many of both': [groups(1000, 10), SHAPE],
    'a text': ['alice', SHAPE],
    'no name': [[{ input: 'approve' }], SHAPE],
    'an input that is null': [[{ name: 'mallory', input: null }], SHAPE],
    'users that are a text': [[{ name: 'mallory', input: 'pending', users: 'many' }], SHAPE],
    'an approver that is null': [[null], SHAPE],
  }
  for (const [sentence, [approvers, refusal]] of Object.entries(refused)) {
    const { code, stderr } = await tryToCreate(approvers)
    suite.equal(code, 1, sentence)
    suite.ok(stderr.includes(refusal), `${sentence}: ${stderr.slice(0, 1000)}`)
  }
})

await test('I6 an input is given by the person whom it names', async (suite) => {
  const OPS = ['--as-group=ops', '--as-group=system:authenticated']
  const approvers = (alice: string, group = 'pending', members: Input[] = []): Input[] => [
    { name: 'alice', type: 'User', input: alice },
    { name: 'bob', type: 'User', input: 'pending' },
    { name: 'ops', type: 'Group', input: group, users: members },
  ]
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
    'alice approves, and adds carol who is to be asked': { by: asAlice, after: [...approvers('approve'), { name: 'carol', input: 'pending' }], passes: false },
    'alice gives her approval the name of bob': { before: approvers('approve'), by: asAlice, after: [{ name: 'bob', input: 'approve' }], passes: false },
    'a member of the group approves': { by: asDora, after: approvers('pending', 'approve', dora('approve')), passes: true },
    'somebody outside approves as the group': { by: outsider, after: approvers('pending', 'approve'), passes: false },
    'somebody outside joins the list of the group': { by: outsider, after: approvers('pending', 'pending', dora('approve')), passes: false },
    'somebody outside was listed in the group': { before: approvers('pending', 'pending', dora('pending')), by: outsider, after: approvers('pending', 'pending', dora('approve')), passes: false },
    'a member approves for another member': { by: ['--as=emma', ...OPS], after: approvers('pending', 'approve', dora('approve')), passes: false },
    'a member takes the rejection of another back': { before: approvers('pending', 'pending', dora('reject')), by: ['--as=emma', ...OPS], after: approvers('pending', 'approve', dora('approve')), passes: false },
    'a member overrules the rejection of another, beside which the group has one': {
      before: approvers('pending', 'reject', dora('reject')),
      by: ['--as=emma', ...OPS],
      after: approvers('pending', 'approve', [...dora('reject'), { name: 'emma', input: 'approve' }]),
      passes: false,
    },
    'the member who rejected takes that back': { before: approvers('pending', 'reject', dora('reject')), by: asDora, after: approvers('pending', 'approve', dora('approve')), passes: true },
    'a user named like the group is no member': { by: ['--as=ops'], after: approvers('pending', 'approve'), passes: false },
    'what is no list of approvers is not understood': { by: asAlice, after: [{ name: 'alice', input: 'pending', users: 'many' as unknown as Input[] }], passes: false },
  }
  let number = 0
  for (const [sentence, { before, by, after, passes }] of Object.entries(steps)) {
    const name = `inputs-${++number}`
    await make(name, pending)
    // Made as it was before by those who may: each of them gives the own input.
    const inputs = before ?? []
    if (inputs.some((entry) => entry.name === 'alice' && entry.input !== 'pending')) suite.match(await setSpec(name, { approvers: inputs }, asAlice), { code: 0 }, `${sentence}: before`)
    else if (before !== undefined) suite.match(await setSpec(name, { approvers: inputs }, asDora), { code: 0 }, `${sentence}: before`)
    const { code, stderr } = await setSpec(name, { approvers: after }, by)
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
