import { t, test, type Test } from 'tap'
import type { AccessPolicySpec } from '../../src/api/access-policy.ts'
import { testControlPlane } from '../support/control-plane.ts'
import { checkedPolicy, gatedWorld, PIPELINE_CHECK, taskCheck } from '../support/gated-world.ts'
import { watchGrants } from '../support/grant-log.ts'
import { READS, untilReads, type Expected } from '../support/request-reading.ts'

const cluster = testControlPlane()
const world = await gatedWorld(t, cluster)
const { kube, shared, work } = world
const grants = await watchGrants(kube, shared)

/** Each case has a Connector, a Pod and a run of its own name; `<name>-a` and `<name>-b` are ApprovalTasks that policies name. */
interface Case {
  policies: AccessPolicySpec[]
  tasks: Record<string, string>
  expected: Expected
}

const UNMATCHED = { AccessPolicyMatched: 'False/NoMatched', AccessCheckReady: 'Unknown/Pending', AccessPermissionSync: 'Unknown/Pending', Ready: 'False/NoMatched' } as const
const FAILED = { AccessCheckReady: 'False/Failed', AccessPermissionSync: 'Unknown/Pending', Ready: 'False/Failed' } as const
const REJECTED = { AccessCheckReady: 'False/Rejected', AccessPermissionSync: 'True/PermissionCleanUp', Ready: 'False/Rejected' } as const

const cases: Record<string, (name: string) => Case> = {
  'no policy selects the Connector': (name) => ({
    policies: [],
    tasks: { [name]: 'approved' },
    expected: { reads: UNMATCHED, says: { AccessPolicyMatched: `no AccessPolicy in namespace ${shared}` } },
  }),
  'the task is missing': (name) => ({
    policies: [checkedPolicy([name])],
    tasks: {},
    expected: { reads: READS.waiting, says: { AccessCheckReady: `there is no ApprovalTask in namespace ${work} with tekton.dev/pipelineRun=${name} yet` } },
  }),
  'the task is pending': (name) => ({
    policies: [checkedPolicy([name])],
    tasks: { [name]: 'pending' },
    expected: { reads: READS.waiting, says: { AccessCheckReady: `waiting for ApprovalTask ${work}/${name}` } },
  }),
  'the task says a word that nobody knows': (name) => ({
    policies: [checkedPolicy([name])],
    tasks: { [name]: 'Approved!' },
    expected: { reads: READS.waiting, says: { AccessCheckReady: `waiting for ApprovalTask ${work}/${name}` } },
  }),
  'the task was rejected': (name) => ({
    policies: [checkedPolicy([name])],
    tasks: { [name]: 'rejected' },
    expected: { reads: REJECTED, says: { Ready: `ApprovalTask ${work}/${name} was rejected` } },
  }),
  'somebody else approved': (name) => ({
    policies: [checkedPolicy([name], [{ ...PIPELINE_CHECK, params: [{ name: 'approvers', value: ['alice'] }] }])],
    tasks: { [name]: 'approved' },
    expected: { reads: REJECTED, says: { Ready: 'of alice are required' } },
  }),
  'the kind of the check is not installed': (name) => ({
    policies: [checkedPolicy([name], [{ name: 'review', spec: { selector: { objectRef: { apiVersion: 'reviews.example.com/v1', kind: 'Review', name } } } }])],
    tasks: { [name]: 'approved' },
    expected: { reads: READS.waiting, says: { AccessCheckReady: 'the cluster does not serve Review (reviews.example.com/v1) yet' } },
  }),
  'the controller may not read the kind of the check': (name) => ({
    policies: [checkedPolicy([name], [{ name: 'lease', spec: { selector: { objectRef: { apiVersion: 'apps/v1', kind: 'Deployment', name } } } }])],
    tasks: { [name]: 'approved' },
    expected: { reads: FAILED, says: { AccessCheckReady: 'connectors.alauda.io/aggregate-to-checks' } },
  }),
  'the template of the check is missing': (name) => ({
    policies: [checkedPolicy([name], [{ name: 'approval', ref: { configMap: { name } } }])],
    tasks: { [name]: 'approved' },
    expected: { reads: FAILED, says: { AccessCheckReady: `ConfigMap connectors-system/${name} is missing` } },
  }),
  'the Pod lacks the label that the check asks for': (name) => ({
    policies: [checkedPolicy([name], [{ name: 'ticket', spec: { selector: { objectRef: { apiVersion: 'openshift-pipelines.org/v1alpha1', kind: 'ApprovalTask' }, matchLabels: { ticket: '{.object.metadata.labels.ticket}' } } } }])],
    tasks: { [name]: 'approved' },
    expected: { reads: FAILED, says: { AccessCheckReady: 'labels.ticket' } },
  }),
  'the expression fails': (name) => ({
    policies: [checkedPolicy([name], [taskCheck('approval', `${name}-a`, { cel: 'object.status.decision == "yes" ? "passed" : "pending"' })])],
    tasks: { [`${name}-a`]: 'approved' },
    expected: { reads: FAILED, says: { AccessCheckReady: `ApprovalTask ${work}/${name}-a cannot be evaluated` } },
  }),
  'the expression yields something else than a state': (name) => ({
    policies: [checkedPolicy([name], [taskCheck('approval', `${name}-a`, { cel: 'object.status.state' })])],
    tasks: { [`${name}-a`]: 'approved' },
    expected: { reads: FAILED, says: { AccessCheckReady: 'must yield "passed", "rejected" or "pending"' } },
  }),
  'one of two checks waits': (name) => ({
    policies: [checkedPolicy([name], [taskCheck('first', `${name}-a`), taskCheck('second', `${name}-b`)])],
    tasks: { [`${name}-a`]: 'approved', [`${name}-b`]: 'pending' },
    expected: { reads: READS.waiting, says: { AccessCheckReady: `waiting for ApprovalTask ${work}/${name}-b` } },
  }),
  'one of two objects of a check waits': (name) => ({
    policies: [checkedPolicy([name])],
    // The one that waits comes first: the approved one alone would be all that there is, and pass.
    tasks: { [`${name}-b`]: 'pending', [name]: 'approved' },
    expected: { reads: READS.waiting, says: { AccessCheckReady: `waiting for ApprovalTask ${work}/${name}-b` } },
  }),
  'one of two policies waits': (name) => ({
    policies: [checkedPolicy([name], [taskCheck('first', `${name}-a`)]), checkedPolicy([name], [taskCheck('second', `${name}-b`)])],
    tasks: { [`${name}-a`]: 'approved', [`${name}-b`]: 'pending' },
    expected: { reads: READS.waiting, says: { AccessCheckReady: `waiting for ApprovalTask ${work}/${name}-b` } },
  }),
  'one of two policies rejects': (name) => ({
    policies: [checkedPolicy([name], [taskCheck('first', `${name}-a`)]), checkedPolicy([name], [taskCheck('second', `${name}-b`)])],
    tasks: { [`${name}-a`]: 'approved', [`${name}-b`]: 'denied' },
    expected: { reads: REJECTED, says: { Ready: `ApprovalTask ${work}/${name}-b was rejected` } },
  }),
}

/** Tasks come first, or after the request waits: both ways lead to the same. */
const play = async (subtest: Test, { pod: name, tasksFirst }: { pod: string; tasksFirst: boolean }, { policies, tasks, expected }: Case): Promise<void> => {
  await world.connector(name, 'none')
  for (const [index, spec] of policies.entries()) await world.policy(`${name}-${index}`, spec)
  // The label of a run leads to the tasks of a case, also to those that a policy names.
  const makeTasks = async (): Promise<void> => {
    for (const [task, state] of Object.entries(tasks)) await world.task(task, state, name)
  }
  if (tasksFirst) await makeTasks()
  const pod = await world.pod(name, [name])
  const { metadata } = await world.requestOf(pod)
  const at = { namespace: shared, name: metadata.name }
  if (!tasksFirst) {
    await untilReads(kube, at, { reads: { ContextObjectValid: 'True/Active', ConnectorResolved: 'True/Resolved' } })
    await makeTasks()
  }
  const request = await untilReads(kube, at, expected)
  const { roles, bindings } = await world.grantsOf(request)
  subtest.strictSame([roles, bindings], [[], []])
  subtest.notOk(await world.mayUse(name, name))
}

t.jobs = 4
const played = Object.entries(cases).map(([title, caseOf], index) =>
  test(`I1 no grant while ${title}`, async (subtest) => {
    await play(subtest, { pod: `case-${index}`, tasksFirst: index % 2 === 0 }, caseOf(`case-${index}`))
  }),
)
await Promise.all(played)

await test('I1 a grant comes after the last check has passed, and in all this time no other one was made', async (subtest) => {
  const name = 'case-passed'
  await world.connector(name, checkedPolicy([name], [taskCheck('first', `${name}-a`), taskCheck('second', `${name}-b`)]))
  const pod = await world.pod(name, [name])
  const { metadata } = await world.requestOf(pod)
  const at = { namespace: shared, name: metadata.name }
  await world.task(`${name}-a`, 'approved')
  await untilReads(kube, at, { reads: READS.waiting, says: { AccessCheckReady: `there is no ApprovalTask ${work}/${name}-b yet` } })
  await world.task(`${name}-b`, 'approved')
  await untilReads(kube, at, { reads: READS.usable })
  const events = await grants.end()
  subtest.strictSame(
    events.map(({ type, kind, request }) => ({ type, kind, request })),
    [
      { type: 'ADDED', kind: 'Role', request: metadata.name },
      { type: 'ADDED', kind: 'RoleBinding', request: metadata.name },
    ],
  )
})
