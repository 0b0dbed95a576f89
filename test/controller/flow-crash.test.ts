/** The process dies behind each write in turn, and another goes on: the end is the same, and no Role is ever there without the recorded pass. */
import { test, type Test } from 'tap'
import type { AccessRequestStatus } from '../../src/api/access-request.ts'
import type { Condition } from '../../src/api/meta.ts'
import { ACCESS_POLICIES, ACCESS_REQUESTS, EVENTS, PODS, ROLES } from '../../src/kube/resources.ts'
import { approvedBy, controllerBench, gatedPod, putScene, TASKS, type Bench } from '../support/controller-bench.ts'
import { settle } from '../support/fake-time.ts'
import { policyOf, policySpecOf, taskOf } from '../support/request-facts.ts'

interface Story {
  /** What is there, and done by a controller that does not die. */
  before: (bench: Bench) => void
  /** What happens while the controller that dies is at work. */
  happens: (bench: Bench) => void | Promise<void>
}

const approve = ({ kube }: Bench): void => {
  kube.put(TASKS, taskOf('deploy', 'approved', { status: approvedBy('alice') }))
}
const secondPolicy = ({ kube }: Bench): void => {
  kube.put(ACCESS_POLICIES, policyOf('scan', policySpecOf(undefined, 'whole-account')))
}

const STORIES: Record<string, Story> = {
  'a grant from nothing': {
    before: () => undefined,
    happens: (bench) => {
      putScene(bench, { request: { metadata: { finalizers: [] } } })
      approve(bench)
    },
  },
  'a grant of two policies': {
    before: (bench) => {
      putScene(bench)
      secondPolicy(bench)
    },
    happens: approve,
  },
  'the Pod ends': {
    before: (bench) => {
      putScene(bench)
      secondPolicy(bench)
      approve(bench)
    },
    happens: ({ kube }) => kube.drop(PODS, 'cicd', 'build-pod'),
  },
  'the approval is taken back': {
    before: (bench) => {
      putScene(bench)
      approve(bench)
    },
    happens: ({ kube }) => {
      kube.put(TASKS, taskOf('deploy', 'rejected'))
    },
  },
  'rejected before anything was granted': {
    before: putScene,
    happens: ({ kube }) => {
      kube.put(TASKS, taskOf('deploy', 'rejected'))
    },
  },
  'the request is deleted': {
    before: (bench) => {
      putScene(bench)
      approve(bench)
    },
    happens: async ({ kube }) => {
      await kube.remove(ACCESS_REQUESTS, 'connectors-shared', 'prod-harbor-build-pod')
    },
  },
  'a Role is removed by hand': {
    before: (bench) => {
      putScene(bench)
      approve(bench)
    },
    happens: ({ kube, roles }) => {
      for (const { metadata } of roles()) kube.drop(ROLES, metadata.namespace, metadata.name)
    },
  },
  'the Pod is replaced while its approval comes': {
    before: putScene,
    happens: (bench) => {
      bench.kube.put(PODS, gatedPod({ metadata: { uid: 'pod-2' } }))
      approve(bench)
    },
  },
  'the Pod never comes': {
    before: (bench) => putScene(bench, { without: ['pod'] }),
    happens: ({ time }) => time.advance(60_000),
  },
}

const untimed = (condition: Condition | undefined): object => ({ ...condition, lastTransitionTime: undefined })
const untimedStatus = (status: AccessRequestStatus | undefined): object => ({
  ...status,
  conditions: status?.conditions?.map(untimed),
  policies: status?.policies?.map((policy) => ({
    ...policy,
    permissionSync: untimed(policy.permissionSync),
    matchedChecks: policy.matchedChecks?.map((matched) => ({ ...matched, condition: untimed(matched.condition) })),
  })),
})
/** What is there for others to see, but for times, versions and uids that the API server gives. */
const seen = (bench: Bench): object => ({
  request: bench.kube.all(ACCESS_REQUESTS).map(({ metadata, status }) => ({ finalizers: metadata.finalizers, status: untimedStatus(status) })),
  roles: bench.roles().map(({ metadata, rules }) => ({ name: metadata.name, annotations: metadata.annotations, rules })),
  bindings: bench.bindings().map(({ metadata, subjects, roleRef }) => ({ name: metadata.name, subjects, roleRef })),
  events: bench.kube.all(EVENTS).map(({ type, reason, note }) => `${type ?? ''} ${reason ?? ''} ${note ?? ''}`).toSorted(),
})

/** Plays a story; the process dies behind so many writes. */
const play = async (t: Test, { before, happens }: Story, crashAfter: number | undefined): Promise<{ writes: number; seen: object; breaches: readonly string[]; sound: boolean }> => {
  const bench = controllerBench(t)
  before(bench)
  const sound = await bench.start('before')
  await bench.time.advance(2_000)
  await sound.controller.stop()
  const process = bench.process()
  const { controller } = await bench.start('mortal', process)
  await bench.time.advance(2_000)
  const idle = process.writes
  if (crashAfter !== undefined) process.dieAfter(crashAfter)
  await happens(bench)
  await settle()
  const writes = process.writes - idle
  if (crashAfter === undefined) return { writes, seen: seen(bench), breaches: bench.breaches, sound: idle === 0 }
  process.die()
  await controller.stop()
  await bench.start('heir')
  await bench.time.advance(20_000)
  const end = seen(bench)
  await bench.time.advance(60_000)
  t.strictSame(seen(bench), end, 'and stays as it is')
  return { writes, seen: end, breaches: bench.breaches, sound: true }
}

for (const [name, story] of Object.entries(STORIES)) {
  await test(`${name}: a crash behind any write changes nothing in the end, within 20 s`, async (t) => {
    const whole = await play(t, story, undefined)
    t.strictSame([whole.breaches, whole.sound], [[], true])
    t.ok(whole.writes >= 1, `there are ${whole.writes} writes`)
    for (let crashAfter = 0; crashAfter <= whole.writes; crashAfter++) {
      const { seen: end, breaches } = await play(t, story, crashAfter)
      t.strictSame(end, whole.seen, `behind write ${crashAfter} of ${whole.writes}`)
      t.strictSame(breaches, [])
    }
  })
}
