/** The API server and etcd die and come back while requests wait, are approved and end; the controllers go on by themselves. */
import { setTimeout as delay } from 'node:timers/promises'
import { t, test } from 'tap'
import type { ServerProgram } from '../../hack/control-plane/programs.ts'
import { leads, type RoleProcess } from '../../hack/sandbox/role-processes.ts'
import type { Pod } from '../../src/api/pod.ts'
import { report, seconds } from '../support/counts.ts'
import { untilTrue } from '../support/eventually.ts'
import { faultWorld } from '../support/fault-world.ts'

/** Requests that run at once in each round. */
const RUNNING = 50
/** How long the API server or etcd stays away, milliseconds. */
const AWAY_MS = 3_000

/** Killed together, one such group after the other. */
const ROUNDS: Record<string, ServerProgram[][]> = {
  'kube-apiserver': [['kube-apiserver']],
  etcd: [['etcd']],
  'kube-apiserver and etcd': [['kube-apiserver', 'etcd']],
  'kube-apiserver, just back, and etcd': [['kube-apiserver'], ['kube-apiserver', 'etcd']],
}

/** Connections are made and closed all the time; a watch that is left open for each outage would be far more. */
const SPARE_FILES = 4

type Moment = 'before' | 'at' | 'down' | 'after'

/** What becomes of a Pod, and when around the kill. */
interface Fate {
  decision?: { state: 'approved' | 'rejected'; moment: Moment }
  end?: { how: 'deleted' | 'Succeeded' | 'Failed'; moment: Moment }
}

const FATES: Fate[] = [
  {},
  { decision: { state: 'approved', moment: 'before' } },
  { decision: { state: 'approved', moment: 'at' } },
  { decision: { state: 'approved', moment: 'down' } },
  { decision: { state: 'approved', moment: 'after' } },
  { decision: { state: 'approved', moment: 'before' }, end: { how: 'deleted', moment: 'at' } },
  { decision: { state: 'approved', moment: 'before' }, end: { how: 'Succeeded', moment: 'down' } },
  { decision: { state: 'approved', moment: 'before' }, end: { how: 'Failed', moment: 'after' } },
  { decision: { state: 'approved', moment: 'at' }, end: { how: 'deleted', moment: 'at' } },
  { decision: { state: 'approved', moment: 'at' }, end: { how: 'deleted', moment: 'down' } },
  { decision: { state: 'rejected', moment: 'at' } },
  { end: { how: 'deleted', moment: 'at' } },
  { decision: { state: 'approved', moment: 'after' }, end: { how: 'deleted', moment: 'down' } },
]

const fault = await faultWorld(t)
const { cluster, roles, judge, makePod, makeRequest, decide, endPod, untilUsable, untilOver } = fault
const both: RoleProcess[] = [roles.webhook, roles.controller]
/** After the first round: connections that a role keeps ready are among them. */
let filesBefore: (number | undefined)[] = []
const pids = both.map(({ pid }) => pid)

for (const [round, [what, kills]] of Object.entries(ROUNDS).entries())
  await test(`${what} killed and started again while ${RUNNING} requests run: each grant is made once, and none is left`, async (subtest) => {
    const plans = await Promise.all(
      Array.from({ length: RUNNING }, async (_, index) => {
        const name = `round-${round}-${index}`
        return { name, pod: await makeRequest(name), fate: FATES[index % FATES.length] ?? {} }
      }),
    )
    const actions: Promise<unknown>[] = []
    const act = (moment: Moment): void => {
      const begun = plans.flatMap(({ name, pod, fate: { decision, end } }) => [
        ...(decision?.moment === moment ? [decide(name, decision.state)] : []),
        ...(end?.moment === moment ? [endPod(pod, end.how)] : []),
      ])
      actions.push(...begun)
    }
    act('before')
    await Promise.all(actions)
    await untilUsable(plans.filter(({ fate }) => fate.decision?.moment === 'before').map(({ name }) => name))

    act('at')
    const killedAt = performance.now()
    const late: Promise<Pod>[] = []
    for (const programs of kills) {
      for (const program of programs) await cluster.kill(program)
      if (late.length === 0) {
        act('down')
        late.push(...[0, 1, 2].map((index) => makePod(`round-${round}-late-${index}`)))
      }
      await delay(AWAY_MS)
      for (const program of programs.toReversed()) await cluster.restart(program)
    }
    const backAt = performance.now()
    act('after')
    await Promise.all([...actions, ...late])

    const live = plans.filter(({ fate }) => fate.decision?.state === 'approved' && fate.end === undefined)
    await untilUsable(live.map(({ name }) => name))
    const usableAt = performance.now()
    await untilTrue('the controller leads', () => leads(roles.controller), 60_000)
    for (const { pod, fate } of plans) if (fate.end === undefined) await endPod(pod, 'deleted')
    for (const pod of await Promise.all(late)) await endPod(pod, 'deleted')
    await untilOver()
    const overAt = performance.now()

    subtest.strictSame(both.map(({ pid }) => pid), pids)
    subtest.strictSame(both.map((role) => role.ended()), [undefined, undefined], 'no process was restarted')
    if (round === 0) filesBefore = await Promise.all(both.map((role) => role.openFiles()))
    report(subtest, {
      requests: RUNNING + late.length,
      away: seconds(backAt - killedAt),
      'all usable after': seconds(usableAt - backAt),
      'none left after': seconds(overAt - usableAt),
    })
  })

await test('over all rounds: no grant without an approval, none twice, none left, one Event for each', async (subtest) => {
  const { requests, granted, looks, ...wrong } = await judge.verdict()
  report(subtest, { requests, granted, looks })
  subtest.strictSame(wrong, { open: [], left: [], grantedTwice: [], unapproved: [], toldTwice: [], untold: [] })
  subtest.ok(granted > 0)
})

await test('nothing leaks: the processes have no more open files than after the first round', async (subtest) => {
  for (const [index, role] of both.entries()) {
    const most = filesBefore[index]
    if (most === undefined) continue
    let files: number | undefined
    // Idle connections are closed after a minute.
    await untilTrue(`the ${role.role} has at most ${most} open files`, async () => ((files = await role.openFiles()) ?? 0) <= most + SPARE_FILES, 90_000)
    const { resources } = await role.inspector.look()
    report(subtest, { role: role.role, before: most, after: files ?? 0, resources: JSON.stringify(resources) })
  }
})
