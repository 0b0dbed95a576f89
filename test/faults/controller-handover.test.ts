/** How one replica follows another, with real processes. How long nobody leads is told, not asserted: it depends on the machine. */
import { t, test } from 'tap'
import { SERVICE_ACCOUNT } from '../../src/api/names.ts'
import { apiProxy, type Fate } from '../support/api-proxy.ts'
import { controllerFleet, type Replica } from '../support/controller-fleet.ts'
import { report, seconds } from '../support/counts.ts'
import { untilTrue } from '../support/eventually.ts'
import { READS, untilReads } from '../support/request-reading.ts'

const TIMES = 5

const fleet = await controllerFleet(t)
const alive: Replica[] = [await fleet.start(), await fleet.start()]

/** Ends the leader, and says how long it took until the follower led (milliseconds). A new follower is there at the end. */
const handOver = async (signal: 'SIGTERM' | 'SIGKILL'): Promise<number> => {
  const leader = await fleet.leader(alive)
  alive.splice(alive.indexOf(leader), 1)
  const began = performance.now()
  const ended = leader.signal(signal)
  await fleet.leader(alive)
  const took = performance.now() - began
  await ended
  alive.push(await fleet.start())
  return took
}

const ENDS: Record<string, { signal: 'SIGTERM' | 'SIGKILL'; goal: string }> = {
  'an orderly stop': { signal: 'SIGTERM', goal: 'under 2 s' },
  'a crash': { signal: 'SIGKILL', goal: 'under 15 s' },
}

for (const [what, { signal, goal }] of Object.entries(ENDS))
  await test(`another replica leads after ${what} of the leader, ${TIMES} times`, async (subtest) => {
    const took: number[] = []
    for (let time = 0; time < TIMES; time++) took.push(await handOver(signal))
    const sorted = took.toSorted((a, b) => a - b)
    report(subtest, { handovers: took.length, goal, fastest: seconds(sorted[0] ?? 0), median: seconds(sorted[Math.floor(TIMES / 2)] ?? 0), slowest: seconds(sorted.at(-1) ?? 0) })
    subtest.equal(alive.filter(({ leads }) => leads).length, 1)
    subtest.strictSame(fleet.replicas.flatMap(({ lines }) => lines.filter(({ level }) => level === 'error')), [])
  })

await test('a write that is under way when the lease ends is given up by then, and does not land afterwards', async (subtest) => {
  const { world } = fleet
  const { kube, shared } = world
  await world.connector('harbor')
  const proxy = await apiProxy(subtest, fleet.cluster)
  const kubeconfig = await proxy.kubeconfigFor({ name: SERVICE_ACCOUNT.controller, token: await fleet.token() })
  await Promise.all(alive.splice(0).map((replica) => replica.signal('SIGTERM')))
  const leader = await fleet.start(kubeconfig)
  await fleet.leader([leader])
  const follower = await fleet.start()
  const { request } = await fleet.pod('late', 'harbor')
  const at = { namespace: shared, name: request.metadata.name }
  await untilReads(kube, at, { reads: READS.waiting }, 60_000)

  const gate = Promise.withResolvers<Fate>()
  const landed: number[] = []
  let heldAt: number | undefined
  let isGivenUp = false
  proxy.rule(({ isWrite, resource }, { gone }) => {
    if (!isWrite) return 'pass'
    if (resource === 'leases') return heldAt === undefined ? 'pass' : 'cut-before'
    if (heldAt === undefined) {
      heldAt = performance.now()
      const watchCaller = async (): Promise<void> => {
        await gone
        isGivenUp = true
      }
      void watchCaller()
    }
    return gate.promise
  })
  await fleet.approve('late')
  await untilTrue('a write is under way', () => heldAt !== undefined, 60_000)
  await untilTrue('it no longer leads', () => !leader.leads, 60_000)
  const lostAt = performance.now()
  await untilTrue('the write is given up', () => isGivenUp, 60_000)
  gate.resolve({ answered: (status) => (landed.push(status), 'pass') })
  await fleet.leader([follower])
  await untilReads(kube, at, { reads: READS.usable }, 60_000)
  report(subtest, { 'lease lost after': seconds(lostAt - (heldAt ?? 0)), 'writes that landed late': landed.length })
  subtest.strictSame(landed, [])
})
