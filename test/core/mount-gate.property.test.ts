/** Whatever the facts are: who is never let in, who is never refused, and what is never made. */
import fc from 'fast-check'
import { test } from 'tap'
import type { AccessRequest, AccessRequestStatus } from '../../src/api/access-request.ts'
import type { Flags } from '../../src/core/feature-flags.ts'
import { decideMount, decideRemount, type ConnectorGateFacts, type GateFacts } from '../../src/core/mount-gate.ts'
import type { ConnectorKey, PodKey } from '../../src/core/request-identity.ts'
import { connectorFactsOf, GIT, gateFactsOf, HARBOR, MOUNT_POD, MOUNT_TIME, requestFor, STAGE, syncedAt } from '../support/mount-facts.ts'
import { after, statusOf } from '../support/request-facts.ts'

const RUNS = { numRuns: 3000 }

const stages: fc.Arbitrary<AccessRequestStatus | undefined> = fc.oneof(
  { arbitrary: fc.constantFrom(...Object.values(STAGE)), weight: 3 },
  // Of no controller of ours: any condition with any other.
  {
    arbitrary: fc
      .record({
        check: fc.constantFrom('True/Passed x', 'False/Rejected x', 'False/Failed x', 'Unknown/Pending x'),
        sync: fc.constantFrom('True/Synced x', 'True/PermissionCleanUp x', 'True/NoPermissionRequired x', 'False/SyncFailed x', 'Unknown/Pending x'),
        ready: fc.constantFrom('True/Synced x', 'False/NoMatched x', 'Unknown/Pending x'),
      })
      .map((lines) => statusOf(lines as Parameters<typeof statusOf>[0])),
    weight: 1,
  },
)
const times = fc.constantFrom(after(0), after(29), after(31), after(59), after(90))
const statuses = fc.tuple(stages, times).map(([status, time]) => (status === undefined ? undefined : syncedAt(status, time)))

/** Own ones, earlier ones, without a uid and bound or not, of another ServiceAccount, of another Pod; some are being deleted. */
const requestsFor = (connector: ConnectorKey): fc.Arbitrary<AccessRequest> =>
  fc
    .record({
      status: statuses,
      pod: fc.oneof({ arbitrary: fc.constant(MOUNT_POD), weight: 3 }, { arbitrary: fc.constantFrom<PodKey>({ ...MOUNT_POD, uid: 'uid-0' }, { ...MOUNT_POD, name: 'build-2' }), weight: 2 }),
      isDeleting: fc.integer({ min: 0, max: 9 }).map((one) => one === 0),
      uidIn: fc.constantFrom('spec', 'spec', 'status', 'nowhere'),
      serviceAccount: fc.constantFrom('builder', 'builder', 'builder', 'other'),
      name: fc.constantFrom(undefined, undefined, 'by-hand', 'a'),
    })
    .map(({ status, pod, isDeleting, uidIn, serviceAccount, name }) => {
      const { metadata, spec } = requestFor(connector, undefined, pod)
      const { uid: _uid, ...objectRef } = spec.context.objectRef
      const { contextUID: _bound, ...unbound } = status ?? {}
      const written = status === undefined ? undefined : uidIn === 'nowhere' ? unbound : { ...unbound, contextUID: pod.uid }
      return {
        metadata: { ...metadata, ...(name === undefined ? {} : { name }), ...(isDeleting ? { deletionTimestamp: after(0) } : {}) },
        spec: { ...spec, subject: { ...spec.subject, name: serviceAccount }, context: { objectRef: uidIn === 'spec' ? spec.context.objectRef : objectRef } },
        ...(written === undefined ? {} : { status: written }),
      }
    })

const often = fc.integer({ min: 0, max: 9 }).map((one) => one > 0)
const factsOf = (connector: ConnectorKey): fc.Arbitrary<ConnectorGateFacts> =>
  fc
    .record({ found: fc.integer({ min: 0, max: 19 }), mayGet: often, mayProxy: often.map((one) => !one), mayPodPath: fc.boolean(), wasAsked: often.map((one) => !one), requests: fc.array(requestsFor(connector), { maxLength: 4 }) })
    .map(({ found, ...more }) => {
      const metadata = { ...connector, ...(found === 1 ? { deletionTimestamp: after(0) } : {}) }
      return connectorFactsOf({ connector, ...more, found: found === 0 ? undefined : { metadata } })
    })

const ON: Flags = { state: 'on' }
const GET_ONLY: Flags = { state: 'off', message: 'off', proxyPermissions: false }
const PROXY_ONLY: Flags = { state: 'off', message: 'off', proxyPermissions: true }
const UNKNOWN: Flags = { state: 'unknown', message: 'unknown' }
const anyFlags = fc.constantFrom(ON, ON, ON, PROXY_ONLY, GET_ONLY, UNKNOWN)
const anyFacts: fc.Arbitrary<GateFacts> = fc
  .record({ flags: anyFlags, multiConnector: often, harbor: factsOf(HARBOR), git: fc.option(factsOf(GIT)) })
  .map(({ flags, multiConnector, harbor, git }) => gateFactsOf(git === null ? [harbor] : [harbor, git], { flags, multiConnector }))

// What follows says the rules again in other words, so that it does not repeat what it tests.

const is = (request: AccessRequest, type: string, ...reasons: string[]): boolean =>
  (request.status?.conditions ?? []).some((condition) => condition.type === type && reasons.includes(condition.reason))
const uidOf = ({ spec, status }: AccessRequest): string | undefined => spec.context.objectRef.uid ?? status?.contextUID
const ofThisName = ({ requests }: ConnectorGateFacts): AccessRequest[] => requests.filter(({ spec }) => spec.context.objectRef.name === 'build-1')
const own = (fact: ConnectorGateFacts): AccessRequest[] => ofThisName(fact).filter((request) => uidOf(request) === 'uid-1' && request.spec.subject.name === 'builder')
const isRejected = (request: AccessRequest): boolean => request.metadata.deletionTimestamp === undefined && is(request, 'AccessCheckReady', 'Rejected')
const isSynced = (request: AccessRequest): boolean => is(request, 'AccessPermissionSync', 'Synced') && is(request, 'Ready', 'Synced') && !is(request, 'AccessCheckReady', 'Rejected') && request.metadata.deletionTimestamp === undefined
const cleanedUp = (request: AccessRequest): number | undefined => {
  const condition = (request.status?.conditions ?? []).find(({ type, reason }) => type === 'AccessPermissionSync' && reason === 'PermissionCleanUp')
  return condition === undefined ? undefined : Date.parse(condition.lastTransitionTime)
}

/** An earlier Pod of this name may be behind a yes on the path. */
const isShadowed = (fact: ConnectorGateFacts): boolean =>
  ofThisName(fact).some((request) => {
    if (uidOf(request) === 'uid-1') return false
    const ended = cleanedUp(request)
    if (ended !== undefined) return MOUNT_TIME - ended < 30_000 && !own(fact).some(isSynced)
    return is(request, 'AccessCheckReady', 'Passed') || is(request, 'AccessPermissionSync', 'Synced', 'NoPermissionRequired')
  })

const counts = (fact: ConnectorGateFacts): boolean => {
  if (!fact.mayPodPath || isShadowed(fact)) return false
  const mine = own(fact)
  const live = mine.filter((request) => request.metadata.deletionTimestamp === undefined)
  const isOver = live.some((request) => isRejected(request) || cleanedUp(request) !== undefined) || (live.length === 0 && (fact.wasAsked || mine.length > 0))
  return !isOver
}
const isThere = ({ found }: ConnectorGateFacts): boolean => found !== undefined && found.metadata.deletionTimestamp === undefined
const mayMount = (fact: ConnectorGateFacts): boolean => isThere(fact) && fact.mayGet && (fact.mayProxy || counts(fact))

/** How often each verdict came up: a property over facts that never get that far says nothing. */
const seen = new Map<string, number>()
const verdictOf = (facts: GateFacts): ReturnType<typeof decideMount> => {
  const verdict = decideMount(facts)
  seen.set(verdict.verdict, (seen.get(verdict.verdict) ?? 0) + 1)
  return verdict
}

await test('mounted if and only if every Connector may be got and used, with flags that are known', async (t) => {
  fc.assert(
    fc.property(anyFacts, (facts) => {
      const { flags, connectors, multiConnector } = facts
      const isAllowed = flags.state === 'off' && !flags.proxyPermissions ? connectors.every((fact) => isThere(fact) && fact.mayGet) : connectors.every(mayMount)
      const expected = flags.state !== 'unknown' && (connectors.length === 1 || multiConnector) && isAllowed
      return (verdictOf(facts).verdict === 'mount') === expected
    }),
    RUNS,
  )
  for (const verdict of ['mount', 'refuse', 'wait', 'fail']) t.ok((seen.get(verdict) ?? 0) > 50, `${verdict}: ${seen.get(verdict)} of ${RUNS.numRuns}`)
})

await test('the grant of an earlier Pod alone never mounts, and never puts files back', async (t) => {
  const earlier = fc.tuple(fc.constantFrom('passed', 'synced', 'sync failed'), times).map(([stage, time]) => requestFor(HARBOR, syncedAt(STAGE[stage as 'passed'], time), { ...MOUNT_POD, uid: 'uid-0' }))
  fc.assert(
    fc.property(anyFacts, earlier, fc.constantFrom(ON, PROXY_ONLY), (facts, request, flags) => {
      const connectors = facts.connectors.map((fact) => (fact.connector === HARBOR ? { ...fact, mayProxy: false, requests: [...fact.requests, request] } : fact))
      const shadowed = { ...facts, connectors, flags }
      return decideMount(shadowed).verdict !== 'mount' && !('files' in decideRemount(shadowed))
    }),
    RUNS,
  )
  t.pass('held')
})

await test('unknown flags wait, make nothing and change nothing', async (t) => {
  fc.assert(
    fc.property(anyFacts, (given) => {
      const facts = { ...given, flags: UNKNOWN }
      const verdict = decideMount(facts)
      return verdict.verdict === 'wait' && verdict.create.length === 0 && verdict.code === 'UNAVAILABLE' && 'keep' in decideRemount(facts) && !('refusals' in decideRemount(facts))
    }),
  )
  t.pass('held')
})

await test('refused only with approval on and a rejected request of this very Pod, and nothing is missing', async (t) => {
  fc.assert(
    fc.property(anyFacts, (facts) => {
      const verdict = decideMount(facts)
      if (verdict.verdict !== 'refuse') return true
      return (
        facts.flags.state === 'on' &&
        verdict.refusals.length > 0 &&
        facts.connectors.every((fact) => isThere(fact) && fact.mayGet) &&
        verdict.refusals.every(({ connector, request, reason }) =>
          facts.connectors.some((fact) => fact.connector === connector && !fact.mayProxy && own(fact).some((one) => isRejected(one) && `${one.metadata.namespace ?? ''}/${one.metadata.name}` === request)) && reason === 'AccessRejected',
        )
      )
    }),
    RUNS,
  )
  t.pass('held')
})

await test('files are taken away only with a clear no, and put there only where a mount would be', async (t) => {
  fc.assert(
    fc.property(anyFacts, (facts) => {
      const outcome = decideRemount(facts)
      if ('files' in outcome) return decideMount({ ...facts, multiConnector: true }).verdict === 'mount'
      if (outcome.keep) return decideMount({ ...facts, multiConnector: true }).verdict !== 'mount'
      return (
        outcome.refusals.length > 0 &&
        outcome.refusals.every(({ connector, reason }) => {
          const fact = facts.connectors.find((one) => one.connector === connector)
          if (fact === undefined || reason !== 'AccessRevoked') return false
          const isOver = fact.mayPodPath && !counts(fact) && (fact.wasAsked || own(fact).length > 0)
          return !isThere(fact) || !fact.mayGet || (!fact.mayProxy && (!fact.mayPodPath || isOver))
        })
      )
    }),
    RUNS,
  )
  t.pass('held')
})

await test('a request is made only for a Connector that is there and may be got, of which this Pod never had one, when nothing failed', async (t) => {
  let made = 0
  fc.assert(
    fc.property(anyFacts, (facts) => {
      const verdict = decideMount(facts)
      if (verdict.verdict !== 'wait') return true
      made += verdict.create.length
      return verdict.create.every((request) => {
        const fact = facts.connectors.find(({ connector }) => connector.namespace === request.metadata.namespace && connector.name === request.spec.connectorRef.name)
        if (fact === undefined || facts.flags.state !== 'on' || request.status !== undefined) return false
        return facts.connectors.every((one) => isThere(one) && one.mayGet) && own(fact).length === 0 && !fact.wasAsked && !fact.mayProxy && request.spec.context.objectRef.uid === 'uid-1'
      })
    }),
    RUNS,
  )
  t.ok(made > 50, `${made} requests were made`)
})

await test('the same facts give the same verdict, in whatever order the requests come', async (t) => {
  fc.assert(
    fc.property(anyFacts, (facts) => {
      const turned = { ...facts, connectors: facts.connectors.map((fact) => ({ ...fact, requests: fact.requests.toReversed() })) }
      // Names are unique within a namespace: two requests of one name are no list that there is.
      const isPossible = facts.connectors.every(({ requests }) => new Set(requests.map(({ metadata }) => metadata.name)).size === requests.length)
      fc.pre(isPossible)
      return JSON.stringify([decideMount(facts), decideRemount(facts)]) === JSON.stringify([decideMount(turned), decideRemount(turned)])
    }),
  )
  t.pass('held')
})

await test('a wait says what for, and a failure why, in at most 1024 characters', async (t) => {
  fc.assert(
    fc.property(anyFacts, (facts) => {
      const verdict = decideMount(facts)
      const message = verdict.verdict === 'wait' ? verdict.message : verdict.verdict === 'fail' ? verdict.failure.message : 'none'
      return message.length > 0 && message.length <= 1024 && !/[\p{Cc}\p{Cf}]/u.test(message)
    }),
  )
  t.pass('held')
})
