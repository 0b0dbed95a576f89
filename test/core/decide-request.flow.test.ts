/** Whole stories, start to end, and the same with a crash after each write. */
import { test } from 'tap'
import type { Scene } from '../support/request-world.ts'
import { flagsOf, World } from '../support/request-world.ts'
import {
  CONNECTOR_TEXT,
  configMapOf,
  connectorOf,
  grantOf,
  IN_POD_RULES,
  inlineCheck,
  linesOf,
  matchedOf,
  podOf,
  policyOf,
  policySpecOf,
  POD_TEXT,
  taskOf,
  type Lines,
  type RequestOptions,
} from '../support/request-facts.ts'

const hour = 3_600_000

type Step = (world: World) => void
interface Story {
  request?: RequestOptions
  steps: Record<string, Step>
}

const podAppears: Step = ({ live }) => {
  live.pod = podOf()
}
const podFinishes: Step = ({ live }) => {
  live.pod = podOf({ phase: 'Succeeded' })
}
const policyIs =
  (...policies: ReturnType<typeof policyOf>[]): Step =>
  ({ live }) => {
    live.policies = new Map(policies.map((policy) => [policy.metadata.name, policy]))
  }
const taskIs =
  (state: string, name = 'deploy', more: Parameters<typeof taskOf>[2] = {}): Step =>
  ({ live }) => {
    live.objects.set(`ApprovalTask/${name}`, taskOf(name, state, more))
  }
const timePasses =
  (ms: number): Step =>
  (world) => {
    world.now += ms
  }
const byAlice = { status: { approversResponse: [{ name: 'alice', type: 'User', response: 'approved' }] } }

const STORIES: Record<string, Story> = {
  'the seed: asked, approved, used, ended, forgotten': {
    steps: {
      'the request is there before its Pod': policyIs(policyOf()),
      'the Pod appears': podAppears,
      'the approval is asked for': taskIs('pending'),
      'it is approved': taskIs('approved', 'deploy', byAlice),
      'the Pod finishes': podFinishes,
      'a late change of the approval': taskIs('pending'),
      'a day passes': timePasses(25 * hour),
    },
  },
  rejected: {
    steps: {
      'the Pod appears': (world) => {
        podAppears(world)
        policyIs(policyOf())(world)
      },
      'the approval is asked for': taskIs('pending'),
      'it is rejected': taskIs('rejected'),
      'it is approved after all': taskIs('approved'),
      'a day passes': timePasses(25 * hour),
    },
  },
  'two policies, one with a template that comes late, and a revocation': {
    steps: {
      'the Pod appears': (world) => {
        podAppears(world)
        policyIs(
          policyOf('ask', policySpecOf([{ name: 'approval', ref: { configMap: { name: 'late' } } }])),
          policyOf('scan', policySpecOf([inlineCheck('scan')], 'rules-late')),
        )(world)
      },
      'both are approved': (world) => {
        taskIs('approved')(world)
        taskIs('approved', 'scan')(world)
      },
      'the check template comes': ({ live }) =>
        live.configMaps.set(
          'late',
          configMapOf('late', { spec: 'selector: { objectRef: { apiVersion: openshift-pipelines.org/v1alpha1, kind: ApprovalTask, name: deploy } }' }),
        ),
      'the role template comes': ({ live }) => live.configMaps.set('rules-late', configMapOf('rules-late', { rules: IN_POD_RULES })),
      'somebody removes a Role': ({ live }) => live.roles.delete(grantOf('ask').role.metadata.name),
      'one of them is rejected': taskIs('rejected', 'scan'),
    },
  },
  'flags off in between, and a Connector that goes': {
    steps: {
      'the Pod appears, with approval off': (world) => {
        podAppears(world)
        policyIs(policyOf())(world)
        taskIs('approved')(world)
        world.live.configMaps.set('connectors-config', flagsOf('false'))
      },
      'approval is on': ({ live }) => live.configMaps.set('connectors-config', flagsOf('true')),
      'approval is off': ({ live }) => live.configMaps.set('connectors-config', flagsOf('false')),
      'the Connector is being deleted': ({ live }) => {
        live.connector = connectorOf({ deletionTimestamp: '2026-01-01T00:00:00Z' })
      },
      'another Connector of the name': ({ live }) => {
        live.connector = connectorOf({ uid: 'connector-2' })
      },
    },
  },
  'a request without uid and finalizer, made by a person': {
    request: { podUid: null, metadata: { finalizers: [] } },
    steps: {
      'there is no Pod': policyIs(policyOf()),
      'a Pod appears, and it is approved': (world) => {
        podAppears(world)
        taskIs('approved')(world)
      },
      'a successor appears': ({ live }) => {
        live.pod = podOf({ metadata: { uid: 'pod-2' } })
      },
    },
  },
  'a request that is deleted while granted': {
    steps: {
      'all is in order': (world) => {
        podAppears(world)
        policyIs(policyOf())(world)
        taskIs('approved')(world)
      },
      'somebody deletes it': (world) => world.deleteRequest(),
    },
  },
  'a request whose Pod never comes': { steps: { 'nothing happens': () => undefined, 'a minute passes': timePasses(61_000) } },
}

/** What is there for others to see. */
const seen = ({ request, live }: World) => ({
  status: request?.status,
  deleted: request === undefined,
  finalizers: request?.metadata.finalizers,
  roles: [...live.roles.keys()].toSorted(),
  bindings: [...live.bindings.keys()].toSorted(),
})

/** The state after each step; the run is cut off after so many writes. */
const tell = ({ request, steps }: Story, crashAfter: number) => {
  const world = new World(request)
  let writes = 0
  world.onWrite = () => {
    writes += 1
    if (writes === crashAfter) world.crash()
  }
  const states = Object.entries(steps).map(([name, step]) => {
    step(world)
    world.settle()
    return { name, ...seen(world) }
  })
  return { states, writes, notices: new Set(world.notices.map(({ note }) => note)) }
}

for (const [name, story] of Object.entries(STORIES)) {
  const whole = tell(story, 0)
  for (let crashAfter = 1; crashAfter <= whole.writes; crashAfter++) {
    await test(`${name}: a crash after write ${crashAfter} of ${whole.writes} changes nothing in the end`, async (t) => {
      const { states, notices } = tell(story, crashAfter)
      t.strictSame(states, whole.states)
      t.strictSame(notices, whole.notices)
    })
  }
}

await test('the seed, seen from outside', async (t) => {
  const world = new World()
  const steps = Object.values(STORIES['the seed: asked, approved, used, ended, forgotten']?.steps ?? {})
  const views = steps.map((step): [Partial<Lines> | undefined, Scene['roles']['size'], number] => {
    step(world)
    world.settle()
    const { check, sync, ready } = linesOf(world.request?.status)
    return [world.request === undefined ? undefined : { check, sync, ready }, world.live.roles.size, world.live.bindings.size]
  })
  const none = 'Unknown/Pending not looked at yet'
  const missing = 'Unknown/Pending there is no ApprovalTask in namespace cicd with run=run-1 yet'
  const synced = `True/Synced Role and RoleBinding ${grantOf().role.metadata.name} are in place` as const
  const passed = 'True/Passed ApprovalTask cicd/deploy was approved by alice'
  const ended = {
    check: passed,
    sync: `True/PermissionCleanUp the temporary permission was removed: ${POD_TEXT} has finished (Succeeded)`,
    ready: `False/Completed ${POD_TEXT} has finished (Succeeded)`,
  } as const
  t.strictSame(views, [
    [{ check: none, sync: none, ready: none }, 0, 0],
    [{ check: missing, sync: 'Unknown/Pending waiting for the checks', ready: missing }, 0, 0],
    [
      {
        check: 'Unknown/Pending waiting for ApprovalTask cicd/deploy',
        sync: 'Unknown/Pending waiting for the checks',
        ready: 'Unknown/Pending waiting for ApprovalTask cicd/deploy',
      },
      0,
      0,
    ],
    [{ check: passed, sync: synced, ready: synced }, 1, 1],
    [ended, 0, 0],
    [ended, 0, 0],
    [undefined, 0, 0],
  ])
  t.strictSame(
    world.notices.map(({ reason, note }) => [reason, note]),
    [
      ['AccessGranted', `${POD_TEXT} may use ${CONNECTOR_TEXT} (AccessPolicy ask; approved by alice)`],
      ['AccessRevoked', `Access of ${POD_TEXT} to ${CONNECTOR_TEXT} was revoked: ${POD_TEXT} has finished (Succeeded)`],
    ],
  )
})

await test('times tell when a condition changed', async (t) => {
  const world = new World()
  world.live.policies.set('ask', policyOf())
  world.live.pod = podOf()
  world.settle()
  world.now += 5_000
  taskIs('approved')(world)
  world.settle()
  world.now += 5_000
  podFinishes(world)
  world.settle()
  t.strictSame(
    world.request?.status?.conditions?.map(({ type, lastTransitionTime }) => [type, lastTransitionTime]),
    [
      ['ContextObjectValid', '2026-01-01T00:00:10Z'],
      ['ConnectorResolved', '2026-01-01T00:00:00Z'],
      ['AccessPolicyMatched', '2026-01-01T00:00:00Z'],
      ['AccessCheckReady', '2026-01-01T00:00:05Z'],
      ['AccessPermissionSync', '2026-01-01T00:00:10Z'],
      ['Ready', '2026-01-01T00:00:10Z'],
    ],
  )
  t.strictSame(world.request?.status?.policies?.[0]?.matchedChecks, [
    matchedOf(taskOf('deploy', 'approved'), 'True/Passed ApprovalTask cicd/deploy was approved', { time: '2026-01-01T00:00:05Z' }),
  ])
})

await test('a grant that cannot be written is written once it can', async (t) => {
  const world = new World()
  world.live.policies.set('ask', policyOf())
  world.live.pod = podOf()
  taskIs('approved')(world)
  world.grantsFail = true
  world.settle()
  t.equal(linesOf(world.request?.status).ready, 'False/SyncFailed AccessPolicy ask: roles are forbidden')
  world.grantsFail = false
  world.settle()
  t.match(linesOf(world.request?.status), { ready: /^True\/Synced / })
})
