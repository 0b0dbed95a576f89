import { t, test } from 'tap'
import type { AccessRequest } from '../../src/api/access-request.ts'
import { ACCESS_REQUESTS } from '../../src/kube/resources.ts'
import { testControlPlane } from '../support/control-plane.ts'
import { checkedPolicy, gatedWorld, grantedPod, untilGone } from '../support/gated-world.ts'
import { watchGrants } from '../support/grant-log.ts'
import { READS, readingOf, untilReads, type Reading } from '../support/request-reading.ts'

const cluster = testControlPlane()
const world = await gatedWorld(t, cluster)
const { kube, shared, work } = world

const at = ({ metadata }: AccessRequest): { namespace: string; name: string } => ({ namespace: shared, name: metadata.name })

/** Each has a Connector, a Pod and a task of its own name. @returns the request, in the state in which it must stay */
const ends: Record<string, (name: string) => Promise<{ request: AccessRequest; reads: Reading }>> = {
  'rejected': async (name) => {
    const pod = await world.pod(name, [name])
    await world.task(name, 'rejected')
    return { request: await world.requestOf(pod), reads: { AccessCheckReady: 'False/Rejected', AccessPermissionSync: 'True/PermissionCleanUp', Ready: 'False/Rejected' } }
  },
  'revoked because its check turned to rejected': async (name) => {
    const { request } = await grantedPod(world, name, name)
    await world.setState(name, 'rejected')
    return { request, reads: { AccessCheckReady: 'False/Rejected', AccessPermissionSync: 'True/PermissionCleanUp', Ready: 'False/Rejected' } }
  },
  'cleaned up because its Pod finished': async (name) => {
    const { pod, request } = await grantedPod(world, name, name)
    await world.setPhase(pod, 'Succeeded')
    return { request, reads: { ContextObjectValid: 'False/Completed', AccessPermissionSync: 'True/PermissionCleanUp', Ready: 'False/Completed' } }
  },
  'cleaned up because its Pod was deleted': async (name) => {
    const { request } = await grantedPod(world, name, name)
    await world.deletePod(name)
    return { request, reads: { ContextObjectValid: 'False/NotFound', AccessPermissionSync: 'True/PermissionCleanUp', Ready: 'False/NotFound' } }
  },
  'cleaned up because its Pod ended before the approval': async (name) => {
    const pod = await world.pod(name, [name])
    await world.task(name, 'pending')
    const request = await world.requestOf(pod)
    await untilReads(kube, at(request), { reads: READS.waiting, says: { AccessCheckReady: `waiting for ApprovalTask ${work}/${name}` } })
    await world.setPhase(pod, 'Failed')
    return { request, reads: { ContextObjectValid: 'False/Completed', AccessCheckReady: 'Unknown/Pending', AccessPermissionSync: 'True/PermissionCleanUp', Ready: 'False/Completed' } }
  },
  'cleaned up because its Connector went': async (name) => {
    const { request } = await grantedPod(world, name, name)
    await cluster.kubectl(['delete', 'connectors', name, '-n', shared])
    return { request, reads: { ConnectorResolved: 'False/NotFound', AccessPermissionSync: 'True/PermissionCleanUp', Ready: 'False/NotFound' } }
  },
}

/** Everything that a person might try, and that events may bring. */
const tryToRevive = async (name: string, request: AccessRequest): Promise<void> => {
  for (const state of ['pending', 'approved']) await world.setState(name, state)
  await cluster.kubectl(['delete', 'approvaltask', name, '-n', work])
  await world.task(name, 'approved')
  await world.kubectl(['delete', 'connectors', name, '-n', shared, '--ignore-not-found'])
  await world.connector(name, 'none')
  await cluster.kubectl(['delete', 'accesspolicy', name, '-n', shared])
  await world.policy(name, checkedPolicy([name]))
  await cluster.kubectl(['label', 'accessrequest', request.metadata.name, '-n', shared, 'look=again'])
}

t.jobs = 3
await Promise.all(
  Object.entries(ends).map(([title, end], index) =>
    test(`I3 nothing revives a request that was ${title}`, async (subtest) => {
      const name = `end-${index}`
      await world.connector(name)
      const { request, reads } = await end(name)
      const final = await untilReads(kube, at(request), { reads })
      await untilGone(world, request, 5_000)
      const grants = await watchGrants(kube, shared)

      await tryToRevive(name, request)
      // Another Pod that is granted after all this shows that the controller has seen it.
      const witness = await grantedPod(world, `${name}-witness`, name)
      const after = await kube.get(ACCESS_REQUESTS, shared, request.metadata.name)
      subtest.strictSame(after?.status, final.status)
      subtest.match(readingOf(final), reads)
      const granted = (await grants.end()).map((event) => event.request)
      subtest.ok(granted.includes(witness.request.metadata.name))
      subtest.notOk(granted.includes(request.metadata.name))
    }),
  ),
)
