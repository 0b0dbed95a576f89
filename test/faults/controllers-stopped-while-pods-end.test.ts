/** No controller runs for a minute while granted Pods end; nothing that outlived its Pod can be used by its successor, and all of it goes soon after the start. */
import { setTimeout as delay } from 'node:timers/promises'
import { t, test } from 'tap'
import type { AccessRequest } from '../../src/api/access-request.ts'
import type { Pod } from '../../src/api/pod.ts'
import { isFinal } from '../../src/core/conditions.ts'
import { decideAtAdmission, mayStillHoldGrant } from '../../src/core/gate.ts'
import { ACCESS_REQUESTS, EVENTS, PODS } from '../../src/kube/resources.ts'
import { controllerFleet } from '../support/controller-fleet.ts'
import { report, seconds } from '../support/counts.ts'
import { untilTrue } from '../support/eventually.ts'
import { BUILDER, untilGone } from '../support/gated-world.ts'
import { watchGrantHistory } from '../support/grant-history.ts'
import { grantedTwice } from '../support/grant-judge.ts'
import { inTurns } from '../support/in-turns.ts'
import { READS, readingOf, untilAllRequests, untilReads } from '../support/request-reading.ts'

const STOPPED_MS = 60_000
/** Of each kind of end. */
const PODS_EACH = 20
/** Of all requests together, on a busy machine. */
const SETTLED_MS = 120_000
const CONNECTOR = 'harbor'

const fleet = await controllerFleet(t)
const { world, auditLog } = fleet
const { kube, shared } = world
await world.connector(CONNECTOR)
const history = await watchGrantHistory(kube, shared)

const namesOf = (kind: string): string[] => Array.from({ length: PODS_EACH }, (_, index) => `${kind}-${index}`)
const [deleted, finished, replaced, staying] = [namesOf('deleted'), namesOf('finished'), namesOf('replaced'), namesOf('staying')]
const all = [...deleted, ...finished, ...replaced, ...staying]

const requests = async (): Promise<AccessRequest[]> => (await kube.list(ACCESS_REQUESTS, { namespace: shared })).items
/** Or over: a Pod that had to be made anew left a request. */
const isUsableOrOver = (request: AccessRequest): boolean => readingOf(request)['Ready'] === 'True/Synced' || isFinal(request.status)

/** The gate's question, as the hook asks it and the mount will: may this very Pod use the Connector without a request of its own? */
const gateAllows = async ({ metadata }: Pod): Promise<boolean> => {
  const connector = { namespace: shared, name: CONNECTOR }
  const { namespace = '', name, uid = '' } = metadata
  const ofSameName = (await requests()).filter(({ spec }) => spec.context.objectRef.name === name && spec.context.objectRef.uid !== uid)
  const predecessorMayHold = ofSameName.some((request) => mayStillHoldGrant(request, Date.now()))
  const mayPodPath = await world.mayUse(name, CONNECTOR)
  const { create } = decideAtAdmission({
    flags: { state: 'on' },
    pod: { namespace, name, uid },
    serviceAccount: BUILDER,
    requestedBy: 'test',
    connectors: [{ connector, exists: true, mayGet: true, mayProxy: false, mayPodPath, predecessorMayHold }],
    problems: [],
    unseenRequests: 0,
  })
  return create.length === 0
}

await test(`both replicas are stopped for ${STOPPED_MS / 1000} s while ${3 * PODS_EACH} of ${4 * PODS_EACH} Pods end, and after the start everything is gone`, async (subtest) => {
  const replicas = await Promise.all([fleet.start(), fleet.start()])
  await fleet.leader(replicas)
  const pods = new Map<string, Pod>()
  await inTurns(all, 8, async (name) => void pods.set(name, (await fleet.pod(name, CONNECTOR)).pod))
  await inTurns(all, 4, (name) => fleet.approve(name))
  await untilAllRequests(kube, shared, 'usable', isUsableOrOver, SETTLED_MS)

  await Promise.all(replicas.map((replica) => replica.signal('SIGTERM')))
  const stoppedAt = performance.now()
  for (const name of [...deleted, ...replaced]) await world.deletePod(name)
  for (const name of finished) {
    const pod = pods.get(name)
    if (pod !== undefined) await world.setPhase(pod, 'Succeeded')
  }
  const successors = await inTurns(replaced, 4, async (name) => (await fleet.pod(name, CONNECTOR, { run: `${name}-again` })).pod)

  let asked = 0
  const allowed: string[] = []
  let standing = 0
  const ask = async (): Promise<void> => {
    for (const pod of successors) {
      if (await world.mayUse(pod.metadata.name, CONNECTOR)) standing += 1
      if (await gateAllows(pod)) allowed.push(pod.metadata.name)
      asked += 1
    }
  }
  while (performance.now() - stoppedAt < STOPPED_MS) {
    await ask()
    await delay(1_000)
  }
  subtest.ok(standing > 0, 'the grants of the predecessors stood, so that the question meant something')
  subtest.equal(history.live, 2 * all.length, 'nothing was revoked while no controller ran')

  const startedAt = performance.now()
  const next = await Promise.all([fleet.start(), fleet.start()])
  const leader = fleet.leader(next).then(() => performance.now())
  while (history.live > 2 * staying.length && performance.now() - startedAt < SETTLED_MS) await ask()
  await untilTrue('only the grants of live Pods are left', () => history.live === 2 * staying.length, SETTLED_MS)
  const goneAt = history.lastGone
  const leadingAt = await leader
  subtest.strictSame(allowed, [], 'no successor was ever allowed by the grant of its predecessor')
  report(subtest, {
    pods: all.length,
    ended: 3 * PODS_EACH,
    stopped: seconds(startedAt - stoppedAt),
    'questions of the gate': asked,
    'allowed by the old grant': allowed.length,
    'leading after the start': seconds(leadingAt - startedAt),
    'last Role gone after the start': seconds(goneAt - startedAt),
    'and after leading': seconds(goneAt - leadingAt),
  })

  const [successor] = successors
  if (successor === undefined) throw new Error('there is no successor')
  const own = await world.requestOf(successor)
  await untilReads(kube, { namespace: shared, name: own.metadata.name }, { reads: READS.waiting })
  await fleet.approve(`${successor.metadata.name}-again`)
  await untilReads(kube, { namespace: shared, name: own.metadata.name }, { reads: READS.usable })
  // Not at once: a clean-up moments ago leaves the hook in doubt whose grant it is that the API server honours.
  await untilTrue('with a grant of its own a successor is allowed', () => gateAllows(successor), SETTLED_MS)
  for (const name of staying) subtest.ok(await world.mayUse(name, CONNECTOR), `${name} kept its grant`)

  for (const { metadata } of (await kube.list(PODS, { namespace: world.work })).items) await world.deletePod(metadata.name)
  await untilGone(world, own, 60_000)
  await untilAllRequests(kube, shared, 'final', ({ status }) => isFinal(status), SETTLED_MS)
})

await test('over all: no Role without the recorded pass at any moment, none left, nothing granted twice, each grant and revoke told once', async (subtest) => {
  const { versions, grants, ...wrong } = await history.end()
  const { items: events } = await kube.list(EVENTS, { namespace: shared })
  const uidsOf = (reason: string): string[] => events.filter((event) => event.reason === reason).map(({ regarding }) => regarding.uid)
  report(subtest, { requests: (await requests()).length, 'versions of requests': versions, 'roles and bindings': grants })
  subtest.strictSame(wrong, { unchecked: [], twice: [], left: [] })
  subtest.strictSame(await grantedTwice(auditLog, shared), [])
  for (const reason of ['AccessGranted', 'AccessRevoked']) {
    const uids = uidsOf(reason)
    subtest.strictSame([uids.length, new Set(uids).size], [all.length + 1, all.length + 1], reason)
  }
})
