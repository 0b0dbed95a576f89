import fc from 'fast-check'
import { test } from 'tap'
import type { AccessRequest } from '../../src/api/access-request.ts'
import type { Condition } from '../../src/api/meta.ts'
import type { Flags } from '../../src/core/feature-flags.ts'
import { decideAtAdmission, mayStillHoldGrant, permissionQuestions, podIdentity, type AdmissionFacts, type ConnectorFact } from '../../src/core/gate.ts'
import { buildRequest } from '../../src/core/request-identity.ts'

const pod = { namespace: 'cicd', name: 'build-1', uid: 'f0e1' }
const harbor = { namespace: 'shared', name: 'harbor' }
const git = { namespace: 'cicd', name: 'git' }
const on: Flags = { state: 'on' }

await test('a ServiceAccount is asked for with its groups', async (t) => {
  t.strictSame(podIdentity('cicd', 'builder'), {
    user: 'system:serviceaccount:cicd:builder',
    groups: ['system:serviceaccounts', 'system:serviceaccounts:cicd', 'system:authenticated'],
  })
})

await test('the questions about a Connector', async (t) => {
  const resource = { group: 'connectors.alauda.io', resource: 'connectors', namespace: 'shared', name: 'harbor' }
  t.strictSame(permissionQuestions(harbor, pod), {
    get: { ...resource, verb: 'get' },
    proxy: { ...resource, verb: '*', subresource: 'proxy' },
    podPath: { ...resource, verb: '*', subresource: 'proxy/v1/pod/cicd/build-1' },
  })
})

const NOW = Date.parse('2026-01-01T12:00:00Z')
const condition = (type: string, status: Condition['status'], reason: string, lastTransitionTime = '2026-01-01T00:00:00Z'): Condition => ({ type, status, reason, message: '', lastTransitionTime })
const passed = condition('AccessCheckReady', 'True', 'Passed')

const HOLDING: Record<string, { conditions: Condition[] | undefined; holds: boolean }> = {
  'no status yet': { conditions: undefined, holds: false },
  'checks pending': { conditions: [condition('AccessCheckReady', 'Unknown', 'Pending')], holds: false },
  'checks rejected': { conditions: [condition('AccessCheckReady', 'False', 'Rejected')], holds: false },
  'checks passed, nothing synced yet': { conditions: [passed], holds: true },
  'synced': { conditions: [passed, condition('AccessPermissionSync', 'True', 'Synced')], holds: true },
  'sync failed half way': { conditions: [passed, condition('AccessPermissionSync', 'False', 'SyncFailed')], holds: true },
  'rejected after it was granted, the grant not gone yet': { conditions: [condition('AccessCheckReady', 'False', 'Rejected'), condition('AccessPermissionSync', 'True', 'Synced')], holds: true },
  'cleaned up': { conditions: [passed, condition('AccessPermissionSync', 'True', 'PermissionCleanUp')], holds: false },
  'cleaned up 30 s ago': { conditions: [passed, condition('AccessPermissionSync', 'True', 'PermissionCleanUp', '2026-01-01T11:59:30Z')], holds: false },
  'cleaned up just now: the API server may not know it yet': { conditions: [passed, condition('AccessPermissionSync', 'True', 'PermissionCleanUp', '2026-01-01T11:59:31Z')], holds: true },
  'rejected and cleaned up just now': {
    conditions: [condition('AccessCheckReady', 'False', 'Rejected'), condition('AccessPermissionSync', 'True', 'PermissionCleanUp', '2026-01-01T11:59:59Z')],
    holds: true,
  },
  'cleaned up, by a clock that is ahead': { conditions: [passed, condition('AccessPermissionSync', 'True', 'PermissionCleanUp', '2026-01-01T12:05:00Z')], holds: true },
  'cleaned up nobody knows when': { conditions: [passed, condition('AccessPermissionSync', 'True', 'PermissionCleanUp', 'yesterday')], holds: true },
}

for (const [name, { conditions, holds }] of Object.entries(HOLDING)) {
  await test(`a request may still hold a grant: ${name}`, async (t) => {
    const request: AccessRequest = buildRequest({ connector: harbor, pod, serviceAccount: 'builder' }, 'alice')
    t.equal(mayStillHoldGrant(conditions === undefined ? request : { ...request, status: { conditions } }, NOW), holds)
  })
}

const fact = (given: Partial<ConnectorFact>): ConnectorFact => ({ connector: harbor, exists: true, mayGet: true, mayProxy: false, mayPodPath: false, predecessorMayHold: false, ...given })
const facts = (given: Partial<AdmissionFacts>): AdmissionFacts => ({
  flags: on,
  pod,
  serviceAccount: 'builder',
  requestedBy: 'alice',
  connectors: [fact({})],
  problems: [],
  unseenRequests: 0,
  ...given,
})
const requestFor = (connector: typeof harbor): AccessRequest => buildRequest({ connector, pod, serviceAccount: 'builder' }, 'alice')

const CASES: Record<string, { given: Partial<AdmissionFacts>; create: AccessRequest[]; warnings: string[] }> = {
  'one Connector without permission': { given: {}, create: [requestFor(harbor)], warnings: [] },
  'no Connector': { given: { connectors: [] }, create: [], warnings: [] },
  'several Connectors, in their order': { given: { connectors: [fact({ connector: git }), fact({})] }, create: [requestFor(git), requestFor(harbor)], warnings: [] },
  'allowed to proxy': { given: { connectors: [fact({ mayProxy: true })] }, create: [], warnings: [] },
  'allowed to proxy, whoever came before': { given: { connectors: [fact({ mayProxy: true, predecessorMayHold: true })] }, create: [], warnings: [] },
  'allowed on the Pod path': { given: { connectors: [fact({ mayPodPath: true })] }, create: [], warnings: [] },
  'the yes on the Pod path may be the grant of a predecessor': { given: { connectors: [fact({ mayPodPath: true, predecessorMayHold: true })] }, create: [requestFor(harbor)], warnings: [] },
  'a Connector that does not exist': {
    given: { connectors: [fact({ exists: false }), fact({ connector: git })] },
    create: [requestFor(git)],
    warnings: ['the volume will not be mounted: Connector shared/harbor does not exist'],
  },
  'a Connector that the ServiceAccount may not get': {
    given: { connectors: [fact({ mayGet: false })] },
    create: [],
    warnings: ['the volume will not be mounted: system:serviceaccount:cicd:builder may not get Connector shared/harbor'],
  },
  'may proxy and yet not get': {
    given: { connectors: [fact({ mayGet: false, mayProxy: true })] },
    create: [],
    warnings: ['the volume will not be mounted: system:serviceaccount:cicd:builder may not get Connector shared/harbor'],
  },
  'problems of volumes': { given: { problems: ['volume "a": readOnly: true is required'] }, create: [requestFor(harbor)], warnings: ['volume "a": readOnly: true is required'] },
  'flags off': { given: { flags: { state: 'off', message: 'approval is off', proxyPermissions: true }, problems: ['volume "a": x'] }, create: [], warnings: ['volume "a": x'] },
  'flags unknown': {
    given: { flags: { state: 'unknown', message: 'ConfigMap x is missing' } },
    create: [],
    warnings: ['the Pod will wait at the mount of its Connectors: ConfigMap x is missing'],
  },
  'room for one': {
    given: { unseenRequests: 99, connectors: [fact({ connector: git }), fact({})] },
    create: [requestFor(git)],
    warnings: ['no request yet for Connector shared/harbor: 100 requests of namespace cicd still wait for their Pods; the mount will make it'],
  },
  'no room': {
    given: { unseenRequests: 130 },
    create: [],
    warnings: ['no request yet for Connector shared/harbor: 100 requests of namespace cicd still wait for their Pods; the mount will make it'],
  },
  'no room needed': { given: { unseenRequests: 130, connectors: [fact({ mayProxy: true })] }, create: [], warnings: [] },
  'a number of requests that nobody knows': {
    given: { unseenRequests: Number.NaN },
    create: [],
    warnings: ['no request yet for Connector shared/harbor: 100 requests of namespace cicd still wait for their Pods; the mount will make it'],
  },
}

for (const [name, { given, create, warnings }] of Object.entries(CASES)) {
  await test(`at admission: ${name}`, async (t) => {
    t.strictSame(decideAtAdmission(facts(given)), { create, warnings })
  })
}

await test('warnings are short, and not more than the API server passes on', async (t) => {
  const problems = Array.from({ length: 30 }, (_, index) => `volume "v${index}": ${'x'.repeat(300)}`)
  const { warnings } = decideAtAdmission(facts({ problems }))
  t.equal(warnings.length, 12)
  t.equal(warnings[0], `volume "v0": ${'x'.repeat(242)}…`)
  t.equal(warnings.at(-1), '19 more warnings are not shown')
  t.ok(warnings.join('').length < 4096)
})

const name = fc.constantFrom('a', 'b', 'c')
const anyFact: fc.Arbitrary<ConnectorFact> = fc.record({
  connector: fc.record({ namespace: name, name }),
  exists: fc.boolean(),
  mayGet: fc.boolean(),
  mayProxy: fc.boolean(),
  mayPodPath: fc.boolean(),
  predecessorMayHold: fc.boolean(),
})
const anyFlags: fc.Arbitrary<Flags> = fc.constantFrom(on, { state: 'off' as const, message: 'm', proxyPermissions: false }, { state: 'unknown' as const, message: 'm' })
const anyFacts: fc.Arbitrary<AdmissionFacts> = fc.record({
  flags: anyFlags,
  pod: fc.constant(pod),
  serviceAccount: fc.constant('builder'),
  requestedBy: fc.string(),
  connectors: fc.uniqueArray(anyFact, { selector: ({ connector }) => `${connector.namespace}/${connector.name}` }),
  problems: fc.array(fc.string()),
  unseenRequests: fc.nat(120),
})

await test('a request is created only with flags on, for a Connector that exists, that may be got and is not allowed yet', async (t) => {
  fc.assert(
    fc.property(anyFacts, (given) => {
      const { create } = decideAtAdmission(given)
      return create.every((request) => {
        const about = given.connectors.find(({ connector }) => connector.namespace === request.metadata.namespace && connector.name === request.spec.connectorRef.name)
        if (about === undefined || given.flags.state !== 'on') return false
        return about.exists && about.mayGet && !about.mayProxy && (!about.mayPodPath || about.predecessorMayHold)
      })
    }),
  )
  t.pass('held')
})

await test('no namespace gets more than a hundred requests that wait for their Pods', async (t) => {
  fc.assert(fc.property(anyFacts, (given) => Math.min(given.unseenRequests, 100) + decideAtAdmission(given).create.length <= 100))
  t.pass('held')
})
