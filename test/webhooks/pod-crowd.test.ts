/** More Pods at once than can be looked at: all are admitted, and the work for them stays within its bounds. */
import { test } from 'tap'
import { CONNECTORS } from '../../src/kube/resources.ts'
import { untilTrue } from '../support/eventually.ts'
import { fakeTime, settle } from '../support/fake-time.ts'
import { harness, NOW, turnFlags, UID, type Answered, type Harness, type HarnessOptions } from './harness.ts'

const PATH = '/validate/pod'
const CROWDED = 'too many Pods that mount Connectors are being created at once; the request will be made at the mount'
const LATE = 'the access requests of this Pod could not be made within 2500 ms; the request will be made at the mount'
const AT_ONCE = 2
const WAITING = 3

const world = (more: HarnessOptions = {}): Harness => {
  const made = harness({ options: { podsAtOnce: AT_ONCE, podsWaiting: WAITING }, ...more })
  turnFlags(made.kube)
  made.kube.put(CONNECTORS, { metadata: { name: 'harbor', namespace: 'shared' } })
  made.kube.allowIf((_identity, { verb }) => verb === 'get')
  return made
}

const create = ({ ask }: Harness, index: number, connectors = 'shared/harbor'): Promise<Answered> =>
  ask(PATH, {
    namespace: 'cicd',
    object: {
      metadata: { name: `p${index}`, namespace: 'cicd', uid: `u${index}` },
      spec: { volumes: [{ name: 'v', csi: { driver: 'connectors-csi', readOnly: true, volumeAttributes: { connectors } } }] },
    },
  })

/** The flags are read once for each Pod that is looked at. */
const lookedAt = ({ kube }: Harness): number => kube.calls.filter(({ verb, resource }) => verb === 'get' && resource === 'configmaps').length
const crowded = ({ count }: Harness): Promise<number> => count('access_gate_hook_failures_total', { hook: 'validate-pod', reason: 'crowded' })

await test('while the API server does not answer, only so many Pods are looked at; the ones beyond the line are admitted at once with a warning', async (t) => {
  const made = world()
  const release = made.kube.hold('allows')
  const patient = Array.from({ length: AT_ONCE + WAITING }, (_, index) => create(made, index))
  await untilTrue('the first ones are looked at', () => lookedAt(made) === AT_ONCE)
  for (const index of [10, 11, 12]) t.strictSame(await create(made, index), { uid: UID, allowed: true, warnings: [CROWDED] })
  t.strictSame(await create(made, 13, ''), { uid: UID, allowed: true, warnings: ['volume "v": connectors or connector.name is required', CROWDED] })
  t.equal(lookedAt(made), AT_ONCE)
  t.equal(await crowded(made), 4)
  t.strictSame(
    made.lines.messages(),
    [`warn ${CROWDED}, for others as well`],
    'told once',
  )
  release()
  t.strictSame(await Promise.all(patient), Array.from(patient, () => ({ uid: UID, allowed: true })))
  t.equal(lookedAt(made), AT_ONCE + WAITING)
  t.equal(made.kube.writes().length, AT_ONCE + WAITING)
  t.strictSame(await create(made, 20), { uid: UID, allowed: true })
})

await test('a Pod whose turn comes too late was admitted in time, and is not looked at any more', async (t) => {
  const time = fakeTime(NOW)
  const made = world({ timers: time.timers, clock: time.clock })
  const release = made.kube.hold('allows')
  const asking = Array.from({ length: AT_ONCE + WAITING }, (_, index) => create(made, index))
  while (lookedAt(made) < AT_ONCE) await settle()
  await time.advance(2_500)
  t.strictSame(await Promise.all(asking), Array.from(asking, () => ({ uid: UID, allowed: true, warnings: [LATE] })))
  t.strictSame(await create(made, 10), { uid: UID, allowed: true, warnings: [CROWDED] }, 'what hangs still has its turn')
  release()
  await settle()
  t.equal(lookedAt(made), AT_ONCE)
  t.strictSame(made.kube.writes(), [])
  t.strictSame(await create(made, 11), { uid: UID, allowed: true })
  t.equal(time.pendingTimers, 0)
})
