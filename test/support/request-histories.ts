/** What may happen around one request, at random, for property tests. */
import fc from 'fast-check'
import type { CheckRule } from '../../src/api/access-policy.ts'
import { FLAGS_CONFIG_MAP } from '../../src/api/names.ts'
import type { CheckObject } from '../../src/core/check.ts'
import {
  after,
  CHECK_SPEC,
  configMapOf,
  connectorOf,
  grantOf,
  IN_POD_RULES,
  inlineCheck,
  podOf,
  policyOf,
  policySpecOf,
  requestOf,
  taskOf,
  UNBOUND_RULES,
} from './request-facts.ts'
import { flagsOf, type World } from './request-world.ts'

export type Event = (world: World) => void
export interface Named {
  name: string
  event: Event
}

const GATE = { apiVersion: 'gates.example.org/v1', kind: 'Gate' } as const
const gateCheck: CheckRule = {
  name: 'gate',
  spec: {
    selector: { objectRef: { ...GATE, name: 'x' } },
    state: { cel: "object.status.state == 'approved' ? 'passed' : object.status.state == 'rejected' ? 'rejected' : 'pending'" },
  },
}
const templateCheck: CheckRule = { name: 'template', ref: { configMap: { name: 'run-approval' } } }
const brokenCheck: CheckRule = { name: 'broken', spec: { selector: { objectRef: { ...GATE, name: 'x' } }, state: { cel: 'object.nothing.there' } } }
export const approverCheck: CheckRule = inlineCheck('by-alice', { params: [{ name: 'approvers', value: ['alice'] }] })

const CHECKS: readonly (readonly CheckRule[])[] = [
  [inlineCheck()],
  [templateCheck],
  [gateCheck],
  [inlineCheck(), gateCheck],
  [templateCheck, gateCheck, inlineCheck()],
  [approverCheck],
  [brokenCheck],
  [inlineCheck(), { ...gateCheck, name: 'approval' }],
  [],
]
const ROLE_TEMPLATES = ['in-pod', 'in-pod', 'in-pod', 'whole-account', 'gone']

const IN_POD_CONTENTS: readonly (string | undefined)[] = [
  IN_POD_RULES,
  IN_POD_RULES,
  UNBOUND_RULES,
  '- { apiGroups: [""], resources: [secrets], verbs: ["*"] }',
  '- { apiGroups: [connectors.alauda.io], resources: [connectors/proxy/v1/pod/other/pod], verbs: ["*"] }',
  '- { apiGroups: [connectors.alauda.io], resources: ["connectors/proxy/v1/pod/{.object.metadata.namespace}/{.object.metadata.name}"], resourceNames: [], verbs: [get] }',
  'nonsense',
  undefined,
]
const CHECK_CONTENTS: readonly (string | undefined)[] = [
  CHECK_SPEC,
  CHECK_SPEC,
  CHECK_SPEC.replace('run:', 'other:'),
  'selector: { objectRef: { apiVersion: v1, kind: Secret, name: x } }',
  undefined,
]

/** What differs from world to world: uids are never used twice. */
let serial = 0
const newUid = (what: string): string => `${what}-${++serial}`

const objectOf = (kind: string, name: string, state: string, labelled: boolean, uid: string): CheckObject => {
  const responses = state === 'approved' && labelled ? [{ name: 'alice', type: 'User', response: 'approved' }] : []
  const task = taskOf(name, state, { uid, labels: labelled ? { run: 'run-1', other: 'run-1' } : {}, status: { approversResponse: responses } })
  return kind === 'Gate' ? { ...task, ...GATE } : task
}

const pick = <T>(...items: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...items)
const named = (name: string, event: Event): Named => ({ name, event })

const podEvents: fc.Arbitrary<Named> = pick(
  named('a Pod of the uid is there', ({ live }) => {
    live.pod ??= podOf()
  }),
  named('the Pod is terminating', ({ live }) => {
    if (live.pod !== undefined) live.pod = { ...live.pod, metadata: { ...live.pod.metadata, deletionTimestamp: after(0) } }
  }),
  named('the Pod finishes', ({ live }) => {
    if (live.pod !== undefined) live.pod = { ...live.pod, status: { phase: 'Succeeded' } }
  }),
  named('the Pod is gone', ({ live }) => {
    live.pod = undefined
  }),
  named('another Pod has the name', ({ live }) => {
    live.pod = podOf({ metadata: { uid: newUid('pod') } })
  }),
  named('another Pod of another account has the name', ({ live }) => {
    live.pod = podOf({ metadata: { uid: newUid('pod') }, serviceAccountName: 'other' })
  }),
)

const connectorEvents: fc.Arbitrary<Named> = pick(
  named('the Connector is gone', ({ live }) => {
    live.connector = undefined
  }),
  named('the Connector is being deleted', ({ live }) => {
    if (live.connector !== undefined) live.connector = { ...live.connector, metadata: { ...live.connector.metadata, deletionTimestamp: after(0) } }
  }),
  named('another Connector has the name', ({ live }) => {
    live.connector = connectorOf({ uid: newUid('connector') })
  }),
)

const policyEvents: fc.Arbitrary<Named> = fc.oneof(
  fc.tuple(pick('ask', 'also'), pick(...CHECKS), pick(...ROLE_TEMPLATES)).map(([name, checks, template]) =>
    named(`policy ${name} has checks ${checks.map((check) => check.name).join('+')} and template ${template}`, ({ live }) => {
      live.policies.set(name, policyOf(name, policySpecOf(checks, template)))
    }),
  ),
  pick('ask', 'also').map((name) => named(`policy ${name} is gone`, ({ live }) => void live.policies.delete(name))),
  pick('ask', 'also').map((name) =>
    named(`policy ${name} selects nothing`, ({ live }) => void live.policies.set(name, policyOf(name, { ...policySpecOf(), connector: { names: ['other'] } }))),
  ),
)

const templateEvents: fc.Arbitrary<Named> = fc.oneof(
  pick(...IN_POD_CONTENTS).map((rules) =>
    named(
      `template in-pod is ${rules ?? 'gone'}`,
      ({ live }) => void (rules === undefined ? live.configMaps.delete('in-pod') : live.configMaps.set('in-pod', configMapOf('in-pod', { rules }))),
    ),
  ),
  pick(...CHECK_CONTENTS).map((spec) =>
    named(
      `template run-approval is ${spec ?? 'gone'}`,
      ({ live }) =>
        void (spec === undefined ? live.configMaps.delete('run-approval') : live.configMaps.set('run-approval', configMapOf('run-approval', { spec }))),
    ),
  ),
  pick('true', 'false', 'maybe').map((value) => named(`the flags are ${value}`, ({ live }) => void live.configMaps.set(FLAGS_CONFIG_MAP, flagsOf(value)))),
  pick(named('the flags are gone', ({ live }) => void live.configMaps.delete(FLAGS_CONFIG_MAP))),
)

const objectEvents: fc.Arbitrary<Named> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc
      .tuple(pick('ApprovalTask', 'Gate'), pick('x', 'y'), pick('approved', 'approved', 'approved', 'pending', 'rejected', ''), fc.nat(5))
      .map(([kind, name, state, label]) =>
        named(`${kind} ${name} is ${state}${label > 0 ? '' : ' and unlabelled'}`, ({ live }) => {
          const key = `${kind}/${name}`
          live.objects.set(key, objectOf(kind, name, state, label > 0, live.objects.get(key)?.metadata.uid ?? newUid('object')))
        }),
      ),
  },
  fc
    .tuple(pick('ApprovalTask', 'Gate'), pick('x', 'y'))
    .map(([kind, name]) => named(`${kind} ${name} is gone`, ({ live }) => void live.objects.delete(`${kind}/${name}`))),
  fc
    .tuple(pick('ApprovalTask', 'Gate'), pick('readable', 'waiting', 'failed'))
    .map(([kind, state]) =>
      named(
        `${kind} is ${state}`,
        ({ live }) =>
          void (state === 'readable'
            ? live.unreadable.delete(kind)
            : live.unreadable.set(kind, { unreadable: `${kind} ${state}`, failed: state === 'failed' })),
      ),
    ),
)

const first = <K>(keys: Iterable<K>): K | undefined => [...keys][0]
/** A Role that says it belongs to the request, and is none of ours. */
export const STRAY = 'stray'

const grantEvents: fc.Arbitrary<Named> = pick(
  named('somebody removes a Role', ({ live }) => {
    const name = first(live.roles.keys())
    if (name !== undefined) live.roles.delete(name)
  }),
  named('somebody removes a RoleBinding', ({ live }) => {
    const name = first(live.bindings.keys())
    if (name !== undefined) live.bindings.delete(name)
  }),
  named('somebody widens a Role', ({ live }) => {
    for (const [name, role] of live.roles) live.roles.set(name, { ...role, rules: [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }] })
  }),
  named('somebody binds a Role to others', ({ live }) => {
    for (const [name, binding] of live.bindings)
      live.bindings.set(name, { ...binding, subjects: [...(binding.subjects ?? []), { kind: 'User', name: 'mallory' }] })
  }),
  named('somebody makes a Role that says it belongs to the request', ({ live, request }) => {
    if (request === undefined) return
    const { role } = grantOf('made-up')
    live.roles.set(STRAY, { ...role, metadata: { ...role.metadata, name: STRAY } })
  }),
  named('RBAC writes fail', (world) => {
    world.grantsFail = true
  }),
  named('RBAC writes work', (world) => {
    world.grantsFail = false
  }),
)

/** Without it most histories would break something before anything passes. */
const inOrder = named('all that can be is in order and approved', ({ live }) => {
  live.pod ??= podOf()
  live.connector ??= connectorOf({ uid: newUid('connector') })
  live.configMaps
    .set(FLAGS_CONFIG_MAP, flagsOf('true'))
    .set('in-pod', configMapOf('in-pod', { rules: IN_POD_RULES }))
    .set('run-approval', configMapOf('run-approval', { spec: CHECK_SPEC }))
  if (live.policies.size === 0) live.policies.set('ask', policyOf())
  live.unreadable.clear()
  for (const kind of ['ApprovalTask', 'Gate'])
    for (const name of ['x', 'y']) {
      const key = `${kind}/${name}`
      live.objects.set(key, objectOf(kind, name, 'approved', true, live.objects.get(key)?.metadata.uid ?? newUid('object')))
    }
})

const otherEvents: fc.Arbitrary<Named> = fc.oneof(
  { weight: 3, arbitrary: pick(1_000, 61_000, 25 * 3_600_000).map((ms) => named(`${ms} ms pass`, (world) => void (world.now += ms))) },
  { weight: 1, arbitrary: pick(named('somebody deletes the request', (world) => world.deleteRequest())) },
)

const event = fc.oneof(
  { weight: 4, arbitrary: podEvents },
  { weight: 2, arbitrary: connectorEvents },
  { weight: 4, arbitrary: policyEvents },
  { weight: 4, arbitrary: templateEvents },
  { weight: 12, arbitrary: objectEvents },
  { weight: 4, arbitrary: grantEvents },
  { weight: 1, arbitrary: otherEvents },
  { weight: 4, arbitrary: pick(inOrder) },
)

/** What the controller does after an event. Cut off: something happens after a write of its run, or the process dies there (null). */
export type Then = { do: 'nothing' | 'settle' | 'reconcile' | 'catch up' } | { do: 'cut off'; afterWrite: number; by: Named | null }

const then: fc.Arbitrary<Then> = fc.oneof(
  { weight: 3, arbitrary: pick<Then>({ do: 'settle' }) },
  { weight: 3, arbitrary: pick<Then>({ do: 'nothing' }, { do: 'reconcile' }, { do: 'catch up' }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('cut off' as const), afterWrite: fc.integer({ min: 1, max: 4 }), by: fc.option(event) }) },
)

const describeMove = (move: Then): string => (move.do === 'cut off' ? `after write ${move.afterWrite} of a run: ${move.by?.name ?? 'crash'}` : move.do)
/** Checks that can pass come often, so that there is something to revoke. */
const checksAtFirst = fc.oneof({ weight: 3, arbitrary: pick(...CHECKS.slice(0, 6)) }, { weight: 1, arbitrary: pick(...CHECKS) })
export const history = fc.record({
  policies: fc.array(checksAtFirst, { minLength: 1, maxLength: 2 }),
  podUid: pick<string | null>('pod-1', 'pod-1', null),
  finalizers: pick<string[]>(requestOf().metadata.finalizers ?? [], []),
  moves: fc.array(fc.tuple(event, then), { maxLength: 30, size: 'max' }),
})
export type History = typeof history extends fc.Arbitrary<infer T> ? T : never

/** A history as a person reads it. */
export const describeHistory = ({ policies, podUid, finalizers, moves }: History): string =>
  [
    `uid ${podUid}, finalizers ${finalizers.length}, checks ${policies.map((checks) => checks.map(({ name }) => name).join('+')).join(' and ')}`,
    ...moves.map(([{ name }, move]) => `${name}; ${describeMove(move)}`),
  ].join('\n')
