import { t, test } from 'tap'
import { ANNOTATION, CLEANUP_FINALIZER } from '../../src/api/names.ts'
import type { Pod } from '../../src/api/pod.ts'
import { ACCESS_REQUESTS, PODS } from '../../src/kube/resources.ts'
import { testControlPlane } from '../support/control-plane.ts'
import { BUILDER, gatedWorld, grantedPod, untilGone } from '../support/gated-world.ts'
import { READS, readingOf, untilReads } from '../support/request-reading.ts'

/** How long a grant may outlive its Pod while a controller leads, milliseconds. */
const GONE_WITHIN_MS = 5_000
/** The same where no watch tells of the Pod and it is asked for every 4 s: of 5 s a busy machine may need more than the one that is left. */
const GONE_UNWATCHED_MS = 8_000
const TEST_FINALIZER = 'access-gate.test/hold'

const cluster = testControlPlane()
const world = await gatedWorld(t, cluster)
const { kube, shared, work } = world
await world.connector('harbor')

const at = ({ metadata }: { metadata: { name: string } }): { namespace: string; name: string } => ({ namespace: shared, name: metadata.name })

await test('I2 a grant names one Connector and the path of one Pod, and carries its uid', async (subtest) => {
  const { pod, request } = await grantedPod(world, 'named', 'harbor')
  const { roles, bindings } = await world.grantsOf(request)
  subtest.equal(roles.length, 1)
  subtest.strictSame(roles[0]?.rules, [{ apiGroups: ['connectors.alauda.io'], resourceNames: ['harbor'], resources: [`connectors/proxy/v1/pod/${work}/named`], verbs: ['*'] }])
  subtest.strictSame(bindings.map(({ subjects, roleRef }) => ({ subjects, roleRef })), [
    {
      subjects: [{ kind: 'ServiceAccount', name: BUILDER, namespace: work }],
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: roles[0]?.metadata.name },
    },
  ])
  for (const { metadata } of [...roles, ...bindings]) {
    subtest.equal(metadata.annotations?.[ANNOTATION.podUid], pod.metadata.uid)
    subtest.match(metadata.ownerReferences, [{ kind: 'AccessRequest', name: request.metadata.name, uid: request.metadata.uid }])
  }
  subtest.strictSame(request.metadata.finalizers, [CLEANUP_FINALIZER])
  subtest.strictSame(
    await Promise.all([world.mayUse('named', 'harbor'), world.mayUse('another', 'harbor'), world.mayUse('named', 'another'), world.mayUse('named', 'harbor', 'default')]),
    [true, false, false, false],
  )
})

const ends: Record<string, { end: (pod: Pod) => Promise<unknown>; reads: 'Completed' | 'NotFound' | 'Replaced' }> = {
  'succeeded': { end: (pod) => world.setPhase(pod, 'Succeeded'), reads: 'Completed' },
  'failed': { end: (pod) => world.setPhase(pod, 'Failed'), reads: 'Completed' },
  'was deleted': { end: ({ metadata }) => world.deletePod(metadata.name), reads: 'NotFound' },
  'was deleted as a person does it': { end: ({ metadata }) => cluster.kubectl(['delete', 'pod', metadata.name, '-n', work]), reads: 'NotFound' },
}

t.jobs = 2
await Promise.all(
  Object.entries(ends).map(([title, { end, reads }], index) =>
    test(`I2 the grant of a Pod that ${title} is gone within 5 s`, async (subtest) => {
      const { pod, request } = await grantedPod(world, `ended-${index}`, 'harbor')
      await end(pod)
      await untilGone(world, request, GONE_WITHIN_MS)
      const finished = await untilReads(kube, at(request), { reads: { AccessPermissionSync: 'True/PermissionCleanUp' } })
      subtest.strictSame(readingOf(finished), {
        ContextObjectValid: `False/${reads}`,
        ConnectorResolved: 'True/Resolved',
        AccessPolicyMatched: 'True/Matched',
        AccessCheckReady: 'True/Passed',
        AccessPermissionSync: 'True/PermissionCleanUp',
        Ready: `False/${reads}`,
      })
    }),
  ),
)

await test('I2 a Pod of the same name gets a request of its own, and the grant of its predecessor is gone within 5 s', async (subtest) => {
  const { pod, request } = await grantedPod(world, 'again', 'harbor')
  // At once: the predecessor's grant may stand when the hook asks.
  await world.deletePod('again')
  const successor = await world.pod('again', ['harbor'], { run: 'again-2' })
  const own = await world.requestOf(successor)
  await untilGone(world, request, GONE_WITHIN_MS)
  subtest.not(successor.metadata.uid, pod.metadata.uid)
  subtest.not(own.metadata.name, request.metadata.name)
  subtest.equal(own.spec.context.objectRef.uid, successor.metadata.uid)
  await untilReads(kube, at(request), { reads: { AccessPermissionSync: 'True/PermissionCleanUp' } })
  await untilReads(kube, at(own), { reads: READS.waiting, says: { AccessCheckReady: 'tekton.dev/pipelineRun=again-2' } })
  subtest.notOk(await world.mayUse('again', 'harbor'))

  await world.task('again-2', 'approved')
  const granted = await untilReads(kube, at(own), { reads: READS.usable })
  const { roles } = await world.grantsOf(granted)
  subtest.strictSame(roles.map(({ metadata }) => metadata.annotations?.[ANNOTATION.podUid]), [successor.metadata.uid])
})

await test('I2 a terminating Pod keeps its grant until it is gone, and none is started for it', async (subtest) => {
  const hold = { metadata: { finalizers: [TEST_FINALIZER] } }
  const { request } = await grantedPod(world, 'leaving', 'harbor')
  const late = await world.pod('leaving-unapproved', ['harbor'])
  const waiting = await world.requestOf(late)
  for (const name of ['leaving', 'leaving-unapproved']) {
    await kube.mergePatch(PODS, work, name, hold)
    await cluster.kubectl(['delete', 'pod', name, '-n', work, '--wait=false'])
  }
  await untilReads(kube, at(request), { reads: READS.usable, says: { ContextObjectValid: 'is terminating' } })
  await world.task('leaving-unapproved', 'approved')
  await untilReads(kube, at(waiting), { reads: READS.waiting, says: { AccessCheckReady: 'no grant is started for a terminating Pod' } })
  subtest.ok(await world.mayUse('leaving', 'harbor'))
  subtest.notOk(await world.mayUse('leaving-unapproved', 'harbor'))

  for (const name of ['leaving', 'leaving-unapproved']) await kube.mergePatch(PODS, work, name, { metadata: { finalizers: null } })
  await untilGone(world, request, GONE_WITHIN_MS)
  await untilReads(kube, at(request), { reads: { ContextObjectValid: 'False/NotFound', AccessPermissionSync: 'True/PermissionCleanUp' } })
  await untilReads(kube, at(waiting), { reads: { ContextObjectValid: 'False/NotFound', AccessPermissionSync: 'True/PermissionCleanUp' } })
})

await test('I2 a live Pod that loses its label keeps its grant, and still loses it when it ends', async (subtest) => {
  const { pod, request } = await grantedPod(world, 'unlabelled', 'harbor')
  await cluster.kubectl(['label', 'pod', 'unlabelled', '-n', work, 'connectors.alauda.io/gated-'])
  // A second Pod that is granted afterwards shows that the controller has gone on from there.
  await grantedPod(world, 'unlabelled-witness', 'harbor')
  const { status } = (await kube.get(ACCESS_REQUESTS, shared, request.metadata.name)) ?? {}
  subtest.strictSame(status, request.status)
  subtest.ok(await world.mayUse('unlabelled', 'harbor'))
  await world.setPhase(pod, 'Succeeded')
  await untilGone(world, request, GONE_UNWATCHED_MS)
})

await test('I2 a request that was deleted takes its grant along', async (subtest) => {
  const { request } = await grantedPod(world, 'revoked', 'harbor')
  await cluster.kubectl(['delete', 'accessrequest', request.metadata.name, '-n', shared, '--timeout=60s'])
  await untilGone(world, request, GONE_WITHIN_MS)
  subtest.equal(await kube.get(ACCESS_REQUESTS, shared, request.metadata.name), undefined)
})

await test('I2 a Connector that goes takes the grants for it along', async () => {
  await world.connector('short-lived')
  const { request } = await grantedPod(world, 'connector-gone', 'short-lived')
  await cluster.kubectl(['delete', 'connectors', 'short-lived', '-n', shared])
  await untilGone(world, request, GONE_WITHIN_MS)
  await untilReads(kube, at(request), { reads: { ConnectorResolved: 'False/NotFound', AccessPermissionSync: 'True/PermissionCleanUp', Ready: 'False/NotFound' } })
})
