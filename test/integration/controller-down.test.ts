import { t, test } from 'tap'
import { stringify } from 'yaml'
import { FLAG, FLAGS_CONFIG_MAP, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import type { AccessRequest } from '../../src/api/access-request.ts'
import { ACCESS_REQUESTS } from '../../src/kube/resources.ts'
import { gatedWorld, grantedPod, podManifest, untilGone } from '../support/gated-world.ts'
import { watchGrants } from '../support/grant-log.ts'
import { privateSandbox } from '../support/private-sandbox.ts'
import { kill } from '../support/processes.ts'
import { READS, untilReads } from '../support/request-reading.ts'

/** How long a grant may outlive its Pod across a crash of the controller, milliseconds. */
const GONE_ACROSS_A_CRASH_MS = 20_000

const sandbox = await privateSandbox(t)
const { cluster } = sandbox
const world = await gatedWorld(t, cluster)
const { kube, shared, work } = world
await world.connector('harbor')

const at = ({ metadata }: AccessRequest): { namespace: string; name: string } => ({ namespace: shared, name: metadata.name })
const statusOf = async (request: AccessRequest): Promise<unknown> => (await kube.get(ACCESS_REQUESTS, shared, request.metadata.name))?.status

const flagsConfigMap = ['configmap', FLAGS_CONFIG_MAP, '-n', SYSTEM_NAMESPACE]
const setFlag = (flag: string, value: string) => cluster.kubectl(['patch', ...flagsConfigMap, '--type=merge', '-p', JSON.stringify({ data: { [flag]: value } })])
const createPod = (name: string) => world.kubectl(['create', '-f', '-'], { input: stringify(podManifest(work, name, [`${shared}/harbor`])) })
const requestsFor = async (pod: string): Promise<string[]> =>
  (await kube.list(ACCESS_REQUESTS, { namespace: shared })).items.filter(({ spec }) => spec.context.objectRef.name === pod).map(({ metadata }) => metadata.name)

const unclear: Record<string, { turn: () => Promise<unknown>; back: () => Promise<unknown>; says: string; warns?: string }> = {
  'approval is turned off': {
    turn: () => setFlag(FLAG.approval, 'false'),
    back: () => setFlag(FLAG.approval, 'true'),
    says: `approval is off: ConfigMap connectors-system/connectors-config says ${FLAG.approval}: "false"`,
  },
  'the permissions of the proxy are turned off': {
    turn: () => setFlag(FLAG.proxyPermissions, 'false'),
    back: () => setFlag(FLAG.proxyPermissions, 'true'),
    says: `approval is off: ConfigMap connectors-system/connectors-config says ${FLAG.proxyPermissions}: "false"`,
  },
  'a flag has a value that nobody knows': {
    turn: () => setFlag(FLAG.approval, 'no'),
    back: () => setFlag(FLAG.approval, 'true'),
    says: `connectors-config says ${FLAG.approval}: "no"; write "true" or "false"`,
    warns: 'Warning: the Pod will wait at the mount of its Connectors',
  },
  'the flags are gone': {
    turn: () => cluster.kubectl(['delete', ...flagsConfigMap]),
    back: () => cluster.kubectl(['create', ...flagsConfigMap, `--from-literal=${FLAG.approval}=true`, `--from-literal=${FLAG.proxyPermissions}=true`]),
    says: 'ConfigMap connectors-system/connectors-config is missing',
    warns: 'Warning: the Pod will wait at the mount of its Connectors',
  },
}

for (const [index, [title, { turn, back, says, warns }]] of Object.entries(unclear).entries())
  await test(`I1 no request and no grant while ${title}, and live grants still end`, async (subtest) => {
    const name = `flags-${index}`
    const { request: granted } = await grantedPod(world, `${name}-granted`, 'harbor')
    const waiting = await world.requestOf(await world.pod(`${name}-waiting`, ['harbor']))
    await untilReads(kube, at(waiting), { reads: READS.waiting })
    const grants = await watchGrants(kube, shared)
    await turn()
    await untilReads(kube, at(waiting), { reads: { AccessCheckReady: 'Unknown/Pending', AccessPermissionSync: 'Unknown/Pending' }, says: { AccessCheckReady: says } })
    await world.task(`${name}-waiting`, 'approved')
    const late = await createPod(`${name}-late`)
    subtest.equal(late.code, 0)
    if (warns === undefined) subtest.equal(late.stderr, '')
    else subtest.match(late.stderr, warns)
    subtest.strictSame(await requestsFor(`${name}-late`), [])

    subtest.ok(await world.mayUse(`${name}-granted`, 'harbor'), 'a grant of before stays')
    await world.deletePod(`${name}-granted`)
    await untilGone(world, granted, 5_000)
    await untilReads(kube, at(waiting), { reads: { AccessCheckReady: 'Unknown/Pending' }, says: { AccessCheckReady: says } })
    subtest.strictSame((await grants.end()).filter(({ type }) => type === 'ADDED'), [])
    await back()
    await untilReads(kube, at(waiting), { reads: READS.usable })
  })

await test('the controller is stopped and started again', async (controller) => {
  const { request: predecessor } = await grantedPod(world, 'again', 'harbor')
  const { request: finished } = await grantedPod(world, 'finished', 'harbor')
  await world.deletePod('finished')
  const rejected = await world.requestOf(await world.pod('rejected', ['harbor']))
  await world.task('rejected', 'rejected')
  for (const request of [finished, rejected]) await untilReads(kube, at(request), { reads: { AccessPermissionSync: 'True/PermissionCleanUp' } })
  const final = await Promise.all([statusOf(finished), statusOf(rejected)])
  await sandbox.stopControllers()
  const grants = await watchGrants(kube, shared)

  await world.deletePod('again')
  const successor = await world.pod('again', ['harbor'], { run: 'again-2' })

  await controller.test('I2 while no controller runs the grant of a predecessor does not count, and its successor gets a request of its own', async (subtest) => {
    subtest.ok(await world.mayUse('again', 'harbor'), 'the grant of the predecessor stands')
    const own = await world.requestOf(successor)
    subtest.not(own.metadata.name, predecessor.metadata.name)
    subtest.equal(own.spec.context.objectRef.uid, successor.metadata.uid)
  })

  // Nobody looks at approvals now; whoever starts next finds them.
  for (const task of ['rejected', 'finished']) await world.setState(task, 'approved')
  await sandbox.startController()

  await controller.test('I2 a controller that starts removes what outlived its Pod within 20 s', async () => {
    await untilGone(world, predecessor, GONE_ACROSS_A_CRASH_MS)
    await untilReads(kube, at(predecessor), { reads: { ContextObjectValid: 'False/Replaced', AccessPermissionSync: 'True/PermissionCleanUp' } })
    const own = await world.requestOf(successor)
    await untilReads(kube, at(own), { reads: READS.waiting, says: { AccessCheckReady: 'tekton.dev/pipelineRun=again-2' } })
  })

  await controller.test('I3 a controller that starts revives nothing', async (subtest) => {
    const { request: witness } = await grantedPod(world, 'witness', 'harbor')
    subtest.strictSame(await Promise.all([statusOf(finished), statusOf(rejected)]), final)
    const made = (await grants.end()).filter(({ type, kind }) => type === 'ADDED' && kind === 'Role')
    subtest.strictSame(made.map(({ request }) => request), [witness.metadata.name])
  })
})

await test('I2 the grant of a Pod that ends right after the leader has crashed is gone within 20 s', async (subtest) => {
  const { request } = await grantedPod(world, 'crash', 'harbor')
  const leader = await sandbox.leadByProcess()
  const follower = await sandbox.startController()
  await kill(leader, 'SIGKILL')
  await world.deletePod('crash')
  subtest.notOk(follower.leading())
  await untilGone(world, request, GONE_ACROSS_A_CRASH_MS)
  subtest.ok(follower.leading())
})
