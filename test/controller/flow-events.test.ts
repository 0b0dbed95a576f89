/** Every grant, refusal, revoke and repair is an Event and a line in the log (invariant I10), and nothing secret is in either (I8). */
import { test } from 'tap'
import type { Connector } from '../../src/api/connector.ts'
import type { Event } from '../../src/api/event.ts'
import { KubeError } from '../../src/kube/kube-error.ts'
import { ACCESS_REQUESTS, CONNECTORS, EVENTS, PODS, ROLES } from '../../src/kube/resources.ts'
import { approvedBy, controllerBench, gatedPod, putScene, TASKS, type Bench } from '../support/controller-bench.ts'
import { settle } from '../support/fake-time.ts'
import { CONNECTOR_TEXT, connectorOf, grantOf, linesOf, POD_TEXT, requestOf, taskOf } from '../support/request-facts.ts'

const NAME = grantOf().role.metadata.name
const approve = ({ kube }: Bench): void => {
  kube.put(TASKS, taskOf('deploy', 'approved', { status: approvedBy('bob', 'alice') }))
}
/** What every line in the log says of the request. */
const ABOUT = {
  accessRequest: 'connectors-shared/prod-harbor-build-pod',
  connector: 'connectors-shared/prod-harbor',
  pod: 'cicd/build-pod',
  podUid: 'pod-1',
  serviceAccount: 'cicd/builder',
  policies: ['ask'],
}

interface Notice {
  type: 'Normal' | 'Warning'
  reason: string
  action: string
  note: string
}
interface Happening {
  /** false: nothing was approved before. */
  granted?: boolean
  does: (bench: Bench) => void | Promise<void>
  notices: Notice[]
  approvedBy: string[]
}
const revoked = (why: string): Notice => ({ type: 'Normal', reason: 'AccessRevoked', action: 'Revoke', note: `Access of ${POD_TEXT} to ${CONNECTOR_TEXT} was revoked: ${why}` })
const rejected: Notice = { type: 'Warning', reason: 'AccessRejected', action: 'Refuse', note: `${POD_TEXT} does not get ${CONNECTOR_TEXT}: ApprovalTask cicd/deploy was rejected` }

const HAPPENINGS: Record<string, Happening> = {
  'a grant': {
    granted: false,
    does: approve,
    notices: [{ type: 'Normal', reason: 'AccessGranted', action: 'Grant', note: `${POD_TEXT} may use ${CONNECTOR_TEXT} (AccessPolicy ask; approved by alice, bob)` }],
    approvedBy: ['alice', 'bob'],
  },
  'a refusal': {
    granted: false,
    does: ({ kube }) => {
      kube.put(TASKS, taskOf('deploy', 'rejected'))
    },
    notices: [rejected],
    approvedBy: [],
  },
  'a revoke, since the Pod is gone': { does: ({ kube }) => kube.drop(PODS, 'cicd', 'build-pod'), notices: [revoked(`${POD_TEXT} is gone`)], approvedBy: ['alice', 'bob'] },
  'a revoke, since the Pod has finished': {
    does: ({ kube }) => {
      kube.put(PODS, gatedPod({ phase: 'Succeeded' }))
    },
    notices: [revoked(`${POD_TEXT} has finished (Succeeded)`)],
    approvedBy: ['alice', 'bob'],
  },
  'a revoke, since the Pod was replaced': {
    does: ({ kube }) => {
      kube.put(PODS, gatedPod({ metadata: { uid: 'pod-2' } }))
    },
    notices: [revoked(`${POD_TEXT} was replaced by another of the same name (uid pod-2)`)],
    approvedBy: ['alice', 'bob'],
  },
  'a revoke, since the Connector is gone': { does: ({ kube }) => kube.drop(CONNECTORS, 'connectors-shared', 'prod-harbor'), notices: [revoked(`${CONNECTOR_TEXT} is gone`)], approvedBy: ['alice', 'bob'] },
  'a revoke, since the approval was taken back': {
    does: ({ kube }) => {
      kube.put(TASKS, taskOf('deploy', 'rejected'))
    },
    notices: [rejected, revoked('ApprovalTask cicd/deploy was rejected')],
    approvedBy: ['alice', 'bob'],
  },
  'a revoke, since the request was deleted': {
    does: async ({ kube }) => {
      await kube.remove(ACCESS_REQUESTS, 'connectors-shared', 'prod-harbor-build-pod')
    },
    notices: [revoked('the request was deleted')],
    approvedBy: ['alice', 'bob'],
  },
  'a repair': {
    does: ({ kube }) => kube.drop(ROLES, 'connectors-shared', NAME),
    notices: [{ type: 'Warning', reason: 'AccessRepaired', action: 'Repair', note: `Role and RoleBinding ${NAME} of AccessPolicy ask were removed by someone else and are put back` }],
    approvedBy: ['alice', 'bob'],
  },
}

const shownEvent = ({ type, reason, action, note, regarding }: Event): object => ({ type, reason, action, note, regarding })
for (const [name, { granted = true, does, notices, approvedBy: approvers }] of Object.entries(HAPPENINGS)) {
  await test(`${name} is one Event and one line in the log, with who, what and who approved`, async (t) => {
    const bench = controllerBench(t)
    putScene(bench)
    if (granted) approve(bench)
    const { logs, controller } = await bench.start()
    const before = { events: bench.kube.all(EVENTS).length, lines: logs.lines.length }
    await does(bench)
    await settle()
    await bench.time.advance(30_000)
    const regarding = { apiVersion: 'connectors.alauda.io/v1alpha1', kind: 'AccessRequest', namespace: 'connectors-shared', name: 'prod-harbor-build-pod', uid: 'request-1' }
    t.strictSame(bench.kube.all(EVENTS).slice(before.events).map(shownEvent), notices.map((notice) => ({ ...notice, regarding })))
    const told = logs.lines.slice(before.lines).filter(({ accessRequest }) => accessRequest !== undefined)
    t.strictSame(
      told.map(({ time: _time, ...line }) => line),
      notices.map(({ type, reason, note }) => ({ level: type === 'Normal' ? 'info' : 'warn', ...ABOUT, approvedBy: approvers, reason, msg: note })),
    )
    const metrics = await (await fetch(`http://127.0.0.1:${controller.metricsPort}/metrics`)).text()
    for (const { reason } of notices) t.match(metrics, `access_gate_decisions_total{reason="${reason}"} 1`)
  })
}

await test('an Event that is on its way when the process dies is sent again by the next one', async (t) => {
  const bench = controllerBench(t)
  putScene(bench)
  approve(bench)
  const { process } = await bench.start('one')
  const release = bench.kube.hold('create', EVENTS)
  bench.kube.fail('create', EVENTS, new KubeError('KUBE_UNAVAILABLE', 'connection reset'))
  bench.kube.drop(PODS, 'cicd', 'build-pod')
  await settle()
  t.strictSame([bench.roles(), linesOf(bench.request()?.status).sync.split(' ')[0]], [[], 'True/Synced'], 'the access is gone; the status waits for the Event')
  process.die()
  release()
  await bench.start('two')
  await bench.time.advance(20_000)
  t.strictSame([bench.kube.all(EVENTS).map(({ reason }) => reason), linesOf(bench.request()?.status).sync.split(' ')[0]], [['AccessGranted', 'AccessRevoked'], 'True/PermissionCleanUp'])
})

/** The same object for another Pod, run, task and request. */
const numbered = <T extends object>(object: T, index: number): T => JSON.parse(JSON.stringify(object).replaceAll(/build-pod|pod-1|run-1|deploy|request-1/g, (word) => `${word}-${index}`))

await test('30 Pods end while the API server takes no Event: no revoke waits for one, and the end of the controller for all of them only a moment', async (t) => {
  const bench = controllerBench(t)
  const { kube, time } = bench
  putScene(bench, { without: ['pod', 'request', 'task'] })
  const indexes = Array.from({ length: 30 }, (_, index) => index)
  for (const index of indexes) {
    kube.put(PODS, numbered(gatedPod(), index))
    kube.put(TASKS, numbered(taskOf('deploy', 'approved'), index))
    kube.put(ACCESS_REQUESTS, numbered(requestOf(), index))
  }
  const { controller, logs } = await bench.start()
  await time.advance(2_000)
  t.equal(bench.roles().length, 30)
  const told = kube.all(EVENTS).length
  kube.fail('create', EVENTS, new KubeError('KUBE_UNAVAILABLE', 'busy'), { times: Number.POSITIVE_INFINITY })
  for (const index of indexes) kube.drop(PODS, 'cicd', `build-pod-${index}`)
  await time.advance(0)
  await settle()
  t.strictSame([bench.roles(), bench.bindings(), kube.all(EVENTS).length - told], [[], [], 0])
  t.equal(logs.lines.filter(({ reason, accessRequest }) => reason === 'AccessRevoked' && accessRequest !== undefined).length, 30)
  const over = new AbortController()
  const stop = async (): Promise<void> => {
    await controller.stop()
    over.abort()
  }
  const stopped = stop()
  for (let tenths = 0; tenths < 50 && !over.signal.aborted; tenths += 1) await time.advance(100)
  t.ok(over.signal.aborted)
  await stopped
  t.equal(logs.lines.filter(({ msg, reason }) => msg === 'an Event could not be recorded' && reason === 'AccessRevoked').length, 30)
})

await test('nothing secret that lies about the request is in a log line, an Event or a status', async (t) => {
  const secret = 'c4nn0t-be-seen'
  const bench = controllerBench(t)
  putScene(bench, { without: ['connector', 'pod', 'task'] })
  const connector: Connector = { ...connectorOf({ annotations: { token: secret } }), spec: { connectorClassName: 'harbor', address: `https://user:${secret}@harbor.example.com` } }
  bench.kube.put(CONNECTORS, connector)
  const pod = gatedPod({ metadata: { annotations: { password: secret } } })
  const spec = { ...pod.spec, containers: [{ name: 'main', env: [{ name: 'PASSWORD', value: secret }] }] }
  bench.kube.put(PODS, { ...pod, spec })
  bench.kube.put(TASKS, taskOf('deploy', 'pending', { status: { token: secret, message: secret } }))
  const { logs } = await bench.start()
  bench.kube.put(TASKS, taskOf('deploy', 'approved', { status: { ...approvedBy('alice'), token: secret, message: secret } }))
  await settle()
  bench.kube.drop(PODS, 'cicd', 'build-pod')
  await settle()
  const seen = JSON.stringify([logs.lines, bench.kube.all(EVENTS), bench.kube.all(ACCESS_REQUESTS)])
  t.match(seen, 'AccessRevoked')
  t.notMatch(seen, secret)
})
