/**
 * One request's whole life, from its match to its removal, over and over: each time the controller dies at another one of its writes,
 * and a new process goes on. The lease of the dead one is removed, so that nobody waits for it to run out: taking over a lease that is
 * held has tests of its own.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { t, test } from 'tap'
import { SERVICE_ACCOUNT } from '../../src/api/names.ts'
import { ACCESS_REQUESTS, EVENTS } from '../../src/kube/resources.ts'
import { apiProxy, type Fate } from '../support/api-proxy.ts'
import type { ProxiedCall } from '../support/api-call.ts'
import { controllerFleet, type Replica } from '../support/controller-fleet.ts'
import { report, seconds } from '../support/counts.ts'
import { untilTrue } from '../support/eventually.ts'
import { grantedTwice } from '../support/grant-judge.ts'
import { watchGrantHistory } from '../support/grant-history.ts'
import { untilGone } from '../support/gated-world.ts'
import { READS, untilReads } from '../support/request-reading.ts'

const CONNECTOR = 'harbor'
/** A step of a life, with a new process in its midst. */
const STEP_MS = 60_000
/** After its answer was passed on, a process that asks for nothing more is killed all the same. */
const QUIET_MS = 150
/** More writes than any life has; reaching it is a defect of the controller. */
const MOST_WRITES = 40

/** When the process dies: right before it learns that its write was done, or right after. */
type Moment = 'before the answer' | 'after the answer'

const fleet = await controllerFleet(t)
const { world, auditLog } = fleet
const { kube, shared } = world
await world.connector(CONNECTOR)
const proxy = await apiProxy(t, fleet.cluster)
const kubeconfig = await proxy.kubeconfigFor({ name: SERVICE_ACCOUNT.controller, token: await fleet.token() })
const history = await watchGrantHistory(kube, shared)

/** Everything that a request's life is made of: not the lease, nor what is written about policies. */
const isOfALife = ({ isWrite, resource }: ProxiedCall): boolean => isWrite && resource !== 'leases' && resource !== 'accesspolicies'
const inShort = ({ method, resource, subresource }: ProxiedCall): string => `${method} ${resource}${subresource === '' ? '' : `/${subresource}`}`

let controller: Replica = await fleet.start(kubeconfig)

/** Kills the controller at its write of this number, once, and lets another go on. Nothing of the dead one comes through afterwards. */
const killAt = (number: number, moment: Moment): { writes: string[]; replaced: Promise<void>; end: () => void } => {
  const writes: string[] = []
  const replaced = Promise.withResolvers<void>()
  let isDying = false
  const never = new Promise<Fate>(() => undefined)
  const replace = async (): Promise<void> => {
    await controller.signal('SIGKILL')
    isDying = false
    await fleet.dropLease()
    controller = await fleet.start(kubeconfig)
    replaced.resolve()
  }
  const die = (): void => void replace().catch(replaced.reject)
  proxy.rule((call): Fate | Promise<Fate> => {
    if (isDying) return never
    if (!isOfALife(call)) return 'pass'
    writes.push(inShort(call))
    if (writes.length !== number) return 'pass'
    return {
      answered: async () => {
        isDying = true
        if (moment === 'after the answer') {
          void delay(QUIET_MS).then(die)
          return 'pass'
        }
        die()
        return 'cut'
      },
    }
  })
  return {
    writes,
    replaced: replaced.promise,
    end: () => {
      proxy.rule()
      replaced.resolve()
    },
  }
}

const live = async (name: string, howItEnds: 'deleted' | 'finished'): Promise<void> => {
  const { pod, request } = await fleet.pod(name, CONNECTOR)
  const at = { namespace: shared, name: request.metadata.name }
  await untilReads(kube, at, { reads: READS.waiting }, STEP_MS)
  await fleet.approve(name)
  await untilReads(kube, at, { reads: READS.usable }, STEP_MS)
  await untilTrue(`${name} may use ${CONNECTOR}`, () => world.mayUse(name, CONNECTOR), STEP_MS)
  if (howItEnds === 'deleted') await world.deletePod(name)
  else await world.setPhase(pod, 'Succeeded')
  await untilGone(world, request, STEP_MS)
  await untilReads(kube, at, { reads: { AccessPermissionSync: 'True/PermissionCleanUp' } }, STEP_MS)
  await kube.remove(ACCESS_REQUESTS, shared, request.metadata.name)
  await untilTrue(`${request.metadata.name} is gone`, async () => (await kube.get(ACCESS_REQUESTS, shared, request.metadata.name)) === undefined, STEP_MS)
}

let lives = 0
let kills = 0

for (const moment of ['before the answer', 'after the answer'] as const)
  await test(`the controller is killed at each of its writes in turn, ${moment} reached it, and every life comes to its end`, async (subtest) => {
    const began = performance.now()
    const before = kills
    let whole: string[] | undefined
    for (let number = 1; whole === undefined && number <= MOST_WRITES; number++) {
      const killing = killAt(number, moment)
      await live(`${moment.slice(0, 1)}-${number}`, number % 2 === 0 ? 'finished' : 'deleted')
      lives += 1
      if (killing.writes.length < number) whole = killing.writes
      else {
        await killing.replaced
        kills += 1
      }
      killing.end()
    }
    report(subtest, { lives, kills: kills - before, 'writes of an undisturbed life': whole?.length ?? 'unknown', took: seconds(performance.now() - began) })
    subtest.ok(whole !== undefined, `a life has fewer than ${MOST_WRITES} writes`)
    for (const write of ['PUT accessrequests/status', 'POST roles', 'POST rolebindings', 'POST events', 'DELETE roles', 'DELETE rolebindings', 'PATCH accessrequests'])
      subtest.ok(whole?.includes(write), `the controller was killed at ${write}`)
  })

await test('over all lives: no Role without the recorded pass at any moment, none left, nothing granted twice, each grant and revoke told once', async (subtest) => {
  const { versions, grants, ...wrong } = await history.end()
  const { items: events } = await kube.list(EVENTS, { namespace: shared })
  const told = (reason: string): string[] => events.filter((event) => event.reason === reason).map(({ regarding }) => regarding.uid)
  report(subtest, { lives, kills, 'versions of requests': versions, 'roles and bindings': grants })
  subtest.strictSame(wrong, { unchecked: [], twice: [], left: [] })
  subtest.equal(grants, 2 * lives)
  subtest.strictSame(await grantedTwice(auditLog, shared), [])
  for (const reason of ['AccessGranted', 'AccessRevoked']) {
    const uids = told(reason)
    subtest.equal(uids.length, lives, `${reason}: one Event a life`)
    subtest.equal(new Set(uids).size, lives, `${reason}: none told twice`)
  }
  subtest.strictSame(fleet.replicas.flatMap(({ lines }) => lines.filter(({ level }) => level === 'error')), [])
})
