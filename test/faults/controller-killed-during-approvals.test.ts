/** Two replicas, 200 approvals one after another, and leaders that die or stand still in the midst of them. */
import { setTimeout as delay } from 'node:timers/promises'
import { t, test } from 'tap'
import type { AccessRequest } from '../../src/api/access-request.ts'
import { isFinal } from '../../src/core/conditions.ts'
import { EVENTS } from '../../src/kube/resources.ts'
import { controllerFleet, type Replica } from '../support/controller-fleet.ts'
import { report, seconds } from '../support/counts.ts'
import { untilTrue } from '../support/eventually.ts'
import { persist } from '../support/persistent-world.ts'
import { watchGrantHistory } from '../support/grant-history.ts'
import { grantedTwice } from '../support/grant-judge.ts'
import { inTurns } from '../support/in-turns.ts'
import { readingOf, untilAllRequests } from '../support/request-reading.ts'

const REQUESTS = 200
/** One after another in so many milliseconds, so that leaders change in their midst. */
const APPROVAL_MS = 200
/** Longer than the lease, in milliseconds. */
const STOPPED_MS = 14_000
/** Of all requests together, on a busy machine, with a change of leader in between. */
const SETTLED_MS = 120_000
const CONNECTOR = 'harbor'

const fleet = await controllerFleet(t)
const { world, replicas } = fleet
const { kube, shared } = world
await world.connector(CONNECTOR)
const history = await watchGrantHistory(kube, shared)

const names = Array.from({ length: REQUESTS }, (_, index) => `pod-${index}`)
/** Replicas that are neither dead nor stopped. */
const alive = new Set<Replica>()
const takeovers: number[] = []
let kills = 0

const start = async (): Promise<void> => void alive.add(await fleet.start())
const leader = (): Promise<Replica> => fleet.leader([...alive])

/** But for requests of Pods that had to be made anew, which are over. */
const untilAll = (what: string, isSo: (request: AccessRequest) => boolean): Promise<void> =>
  untilAllRequests(kube, shared, what, (request) => isFinal(request.status) || isSo(request), SETTLED_MS)

/** Kills the leader; another one starts, as a Deployment would have it, and whoever is there takes over. */
const killLeader = async (): Promise<void> => {
  const victim = await leader()
  const killedAt = performance.now()
  alive.delete(victim)
  await victim.signal('SIGKILL')
  kills += 1
  await start()
  await leader()
  takeovers.push(performance.now() - killedAt)
}

/** The leader stands still for longer than its lease, wakes up in the belief that it leads, and must not write. */
const stopLeaderForAWhile = async (): Promise<void> => {
  const victim = await leader()
  const stoppedAt = performance.now()
  alive.delete(victim)
  await victim.signal('SIGSTOP')
  await leader()
  takeovers.push(performance.now() - stoppedAt)
  await delay(Math.max(0, STOPPED_MS - (performance.now() - stoppedAt)))
  await victim.signal('SIGCONT')
  await untilTrue('the one that stood still knows that it no longer leads', () => !victim.leads, 120_000)
  alive.add(victim)
}

await Promise.all([start(), start()])
await leader()

await test(`leaders are killed and stopped during ${REQUESTS} approvals, and each request gets its grant`, async (subtest) => {
  await inTurns(names, 8, (name) => fleet.pod(name, CONNECTOR))
  await untilAll('waiting', (request) => readingOf(request)['AccessCheckReady'] === 'Unknown/Pending' && readingOf(request)['AccessPolicyMatched'] === 'True/Matched')
  const began = performance.now()
  let approved = 0
  const approving = inTurns(names, 2, async (name) => {
    const due = began + names.indexOf(name) * APPROVAL_MS
    await delay(Math.max(0, due - performance.now()))
    await fleet.approve(name)
    approved += 1
  })
  await untilTrue('some are approved', () => approved >= 10, 60_000)
  await killLeader()
  await killLeader()
  await stopLeaderForAWhile()
  await approving
  await untilAll('usable', (request) => readingOf(request)['Ready'] === 'True/Synced')
  report(subtest, { requests: REQUESTS, kills, stops: 1, 'approved to all usable': seconds(performance.now() - began), takeovers: takeovers.map(seconds).join(' ') })
  await untilTrue('the watches tell of a Role and a RoleBinding for each', () => history.live === 2 * REQUESTS, 120_000)
})

await test(`a leader is killed while ${REQUESTS} Pods end, and no grant is left`, async (subtest) => {
  const began = performance.now()
  const ending = inTurns(names, 4, (name) => persist(`the end of ${name}`, () => world.deletePod(name)))
  await untilTrue('some have ended', () => history.live < 2 * REQUESTS - 20, 120_000)
  await killLeader()
  await ending
  await untilAll('final', ({ status }) => isFinal(status))
  await untilTrue('no grant is left', () => history.live === 0, 120_000)
  report(subtest, { requests: REQUESTS, kills: 1, takeover: seconds(takeovers.at(-1) ?? 0), 'last grant gone after': seconds(history.lastGone - began) })
  subtest.ok(replicas.every(({ lines }) => lines.every(({ level }) => level !== 'error')))
})

await test('over all: no Role without the recorded pass at any moment, none left, nothing granted twice, each grant told once', async (subtest) => {
  const { versions, grants, ...wrong } = await history.end()
  const { items: events } = await kube.list(EVENTS, { namespace: shared })
  const uidsOf = (reason: string): string[] => events.filter((event) => event.reason === reason).map(({ regarding }) => regarding.uid)
  const logged = replicas.flatMap(({ lines }) => lines.filter(({ reason }) => reason === 'AccessGranted')).length
  const [granted, revoked] = [uidsOf('AccessGranted'), uidsOf('AccessRevoked')]
  report(subtest, { requests: REQUESTS, kills, 'versions of requests': versions, 'roles and bindings': grants, 'Events of grants': granted.length, 'log lines of grants': logged })
  subtest.strictSame(wrong, { unchecked: [], twice: [], left: [] })
  subtest.strictSame(await grantedTwice(fleet.auditLog, shared), [])
  subtest.strictSame([granted.length, new Set(granted).size], [REQUESTS, REQUESTS])
  subtest.strictSame([revoked.length, new Set(revoked).size], [REQUESTS, REQUESTS])
  subtest.ok(logged >= REQUESTS, 'each grant is a log line of some replica')
})
