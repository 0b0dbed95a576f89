import fc from 'fast-check'
import { test } from 'tap'
import type { AccessPolicy, CheckRule } from '../../src/api/access-policy.ts'
import type { AccessRequest, AccessRequestStatus } from '../../src/api/access-request.ts'
import type { ConfigMap } from '../../src/api/config-map.ts'
import type { Connector } from '../../src/api/connector.ts'
import type { AskedPolicy, ConnectorAccessReviewStatus } from '../../src/api/connector-access-review.ts'
import type { Condition } from '../../src/api/meta.ts'
import type { Pod } from '../../src/api/pod.ts'
import {
  createPodsQuestion,
  creatorIdentity,
  decideConnectorAccess,
  isOpenQuestion,
  liveUid,
  templateNames,
  type ConnectorAccessFacts,
} from '../../src/core/connector-access-review.ts'
import type { Flags } from '../../src/core/feature-flags.ts'
import { decideAtAdmission, isAllowed } from '../../src/core/gate.ts'
import { buildRequest, requestName } from '../../src/core/request-identity.ts'

const NOW = Date.parse('2026-01-01T12:00:00Z')
const harbor = { namespace: 'shared', name: 'harbor' }
const UID = 'f0e1'
const identity = (uid: string, serviceAccount = 'builder'): Parameters<typeof buildRequest>[0] => ({ connector: harbor, pod: { namespace: 'cicd', name: 'build-1', uid }, serviceAccount })

const connector: Connector = {
  metadata: { ...harbor },
  spec: { connectorClassName: 'oci', address: 'https://harbor.example.com' },
  status: { proxy: { httpAddress: { url: 'http://c-harbor.shared.svc' } } },
}

const condition = (type: string, status: Condition['status'], reason: string, message = ''): Condition => ({ type, status, reason, message, lastTransitionTime: '2026-01-01T11:00:00Z' })
const PENDING = [condition('AccessCheckReady', 'Unknown', 'Pending'), condition('Ready', 'Unknown', 'Pending', 'waiting for ApprovalTask cicd/task')]
const GRANTED = [condition('AccessCheckReady', 'True', 'Passed'), condition('AccessPermissionSync', 'True', 'Synced'), condition('Ready', 'True', 'Synced')]
const ENDED = [condition('AccessCheckReady', 'True', 'Passed'), condition('AccessPermissionSync', 'True', 'PermissionCleanUp', 'Pod cicd/build-1 is gone')]
const REJECTED = [condition('AccessCheckReady', 'False', 'Rejected', 'ApprovalTask cicd/task was rejected')]

const request = (conditions: Condition[], uid = UID, more: Partial<AccessRequestStatus> = {}): AccessRequest => ({ ...buildRequest(identity(uid), 'alice'), status: { conditions, ...more } })
const OWN = `shared/${requestName(identity(UID))}`

const policyOf = (name: string, checks: CheckRule[], more: Partial<AccessPolicy['spec']> = {}): AccessPolicy => ({
  metadata: { name, namespace: 'shared' },
  spec: { ...more, checkGrantedPermission: { spec: { checks, roleTemplate: { ref: { configMap: { name: 'role' } } } } } },
})
const inPlace: CheckRule = {
  name: 'task',
  spec: { selector: { objectRef: { apiVersion: 'openshift-pipelines.org/v1alpha1', kind: 'ApprovalTask' }, matchLabels: { run: "{.object.metadata.labels['run']}" } } },
  params: [
    { name: 'approvers', value: ['alice', 'group:leads'] },
    { name: 'numberOfApprovalsRequired', value: '2' },
  ],
}
const byName: CheckRule = { name: 'template', ref: { configMap: { name: 'check' } } }
const missing: CheckRule = { name: 'missing', ref: { configMap: { name: 'nothing' } } }
const template: ConfigMap = {
  metadata: { name: 'check', namespace: 'connectors-system' },
  data: { spec: 'selector:\n  objectRef: {apiVersion: v1, kind: ConfigMap, name: "ok-{.object.metadata.name}"}\n  matchExpressions: [{key: run, operator: Exists}]\n' },
}
const POLICY = policyOf('prod', [inPlace, byName, missing])
const ASKED: AskedPolicy = {
  name: 'prod',
  checks: [
    {
      name: 'task',
      apiVersion: 'openshift-pipelines.org/v1alpha1',
      kind: 'ApprovalTask',
      matchLabels: { run: "{.object.metadata.labels['run']}" },
      approvers: ['alice', 'group:leads'],
      approvalsRequired: 2,
    },
    { name: 'template', apiVersion: 'v1', kind: 'ConfigMap', objectName: 'ok-{.object.metadata.name}', matchExpressions: [{ key: 'run', operator: 'Exists' }] },
    { name: 'missing', problem: 'ConfigMap connectors-system/nothing is missing' },
  ],
}

const on: Flags = { state: 'on' }
const off: Flags = { state: 'off', message: 'approval is off', proxyPermissions: true }
const allOff: Flags = { state: 'off', message: 'approval is off', proxyPermissions: false }
const unknown: Flags = { state: 'unknown', message: 'ConfigMap connectors-system/connectors-config is missing' }

const facts = (given: Partial<ConnectorAccessFacts>): ConnectorAccessFacts => ({
  connector: harbor,
  found: connector,
  serviceAccount: { namespace: 'cicd', name: 'builder' },
  pod: { name: 'build-1', uid: UID },
  flags: on,
  mayGet: true,
  mayProxy: false,
  mayPodPath: false,
  requests: [],
  policies: [POLICY],
  templates: (name) => (name === 'check' ? template : undefined),
  creator: undefined,
  now: NOW,
  ...given,
})

const WHO = 'system:serviceaccount:cicd:builder'
const no = (reason: string, more: Partial<ConnectorAccessReviewStatus> = {}): ConnectorAccessReviewStatus => ({ allowed: false, notFound: false, wouldRequest: false, policies: [], reason, ...more })
const yes = (reason: string): ConnectorAccessReviewStatus => ({ ...no(reason), allowed: true })
const wouldAsk = (reason: string): ConnectorAccessReviewStatus => no(reason, { wouldRequest: true, policies: [ASKED] })
const NOBODY = { name: 'build-1', uid: undefined }
const MAY_NOT_GET = `${WHO} may not get Connector shared/harbor; give it a Role with the verb get on connectors "harbor" in namespace shared`
const LACKING = `${WHO} may use neither connectors/proxy nor connectors/proxy/v1/pod/cicd/build-1 (verb "*") of Connector shared/harbor`
const EARLIER = `${WHO} may not use Connector shared/harbor yet: the permission that is there may be that of an earlier Pod of the same name; Pod cicd/build-1 that mounts it gets an AccessRequest, decided by AccessPolicy prod`

const CASES: Record<string, { given: Partial<ConnectorAccessFacts>; status: ConnectorAccessReviewStatus }> = {
  'no Connector': { given: { found: undefined }, status: no('Connector shared/harbor does not exist', { notFound: true }) },
  'a Connector that is being deleted': {
    given: { found: { ...connector, metadata: { ...harbor, deletionTimestamp: '2026-01-01T00:00:00Z' } }, mayProxy: true },
    status: no('Connector shared/harbor does not exist', { notFound: true }),
  },
  'no Connector, and flags that nobody knows': { given: { found: undefined, flags: unknown }, status: no('Connector shared/harbor does not exist', { notFound: true }) },
  'flags that nobody knows': { given: { flags: unknown, mayProxy: true, mayPodPath: true }, status: no('ConfigMap connectors-system/connectors-config is missing') },
  'it may not even be got': { given: { mayGet: false, mayProxy: true, mayPodPath: true }, status: no(MAY_NOT_GET) },
  'allowed for all Pods': { given: { mayProxy: true }, status: yes(`${WHO} may use Connector shared/harbor from any of its Pods`) },
  'allowed for all Pods, no Pod in particular': { given: { mayProxy: true, pod: undefined }, status: yes(`${WHO} may use Connector shared/harbor from any of its Pods`) },
  'granted to this Pod': { given: { mayPodPath: true, requests: [request(GRANTED)] }, status: yes(`${WHO} may use Connector shared/harbor from Pod cicd/build-1`) },
  'permitted on the path of the Pod by hand': { given: { mayPodPath: true }, status: yes(`${WHO} may use Connector shared/harbor from Pod cicd/build-1`) },
  'permitted by hand on the path of a Pod to come': { given: { mayPodPath: true, pod: NOBODY }, status: yes(`${WHO} may use Connector shared/harbor from Pod cicd/build-1`) },
  'granted to an earlier Pod of the name': { given: { mayPodPath: true, requests: [request(GRANTED, 'old')] }, status: wouldAsk(EARLIER) },
  'granted to a Pod that is gone': { given: { mayPodPath: true, pod: NOBODY, requests: [request(GRANTED)] }, status: wouldAsk(EARLIER) },
  'granted to a Pod that is gone, cleaned up just now': {
    given: { mayPodPath: true, pod: NOBODY, requests: [request(ENDED)], now: Date.parse('2026-01-01T11:00:10Z') },
    status: wouldAsk(EARLIER),
  },
  'granted to a Pod that is gone, cleaned up long ago': { given: { mayPodPath: true, pod: NOBODY, requests: [request(ENDED)] }, status: yes(`${WHO} may use Connector shared/harbor from Pod cicd/build-1`) },
  'a new Pod would ask': { given: { pod: undefined }, status: wouldAsk(`${WHO} may not use Connector shared/harbor yet; a new Pod that mounts it gets an AccessRequest, decided by AccessPolicy prod`) },
  'a Pod of this name would ask': { given: { pod: NOBODY }, status: wouldAsk(`${WHO} may not use Connector shared/harbor yet; Pod cicd/build-1 that mounts it gets an AccessRequest, decided by AccessPolicy prod`) },
  'nobody is asked': {
    given: { pod: undefined, policies: [policyOf('else', [inPlace], { connector: { names: ['git'] } })] },
    status: no(
      `${WHO} may not use Connector shared/harbor yet; a new Pod that mounts it gets an AccessRequest, which nobody can approve: no AccessPolicy in namespace shared asks for checks for this Connector`,
      { wouldRequest: true },
    ),
  },
  'it is asked already, and what for is on record': {
    given: {
      requests: [
        request(PENDING, UID, {
          policies: [{ name: 'then', policySpec: POLICY.spec, checks: [{ name: 'task', apiVersion: 'v1', kind: 'Task', matchLabels: { run: 'r-1' }, cel: '"passed"', approvers: ['alice'] }] }],
        }),
      ],
    },
    status: no(`Connector shared/harbor, AccessRequest ${OWN}: waiting for ApprovalTask cicd/task`, {
      policies: [{ name: 'then', checks: [{ name: 'task', apiVersion: 'v1', kind: 'Task', matchLabels: { run: 'r-1' }, approvers: ['alice'] }] }],
    }),
  },
  'it is asked already, and was not looked at yet': {
    given: { requests: [{ ...buildRequest(identity(UID), 'alice') }] },
    status: no(`Connector shared/harbor, AccessRequest ${OWN}: waiting for the controller, which has not looked at it yet`, { policies: [ASKED] }),
  },
  'it was rejected': { given: { requests: [request(REJECTED)] }, status: no('Pod cicd/build-1 may not use Connector shared/harbor, it was rejected: ApprovalTask cicd/task was rejected') },
  'it was rejected, and the API server still says yes': {
    given: { mayPodPath: true, requests: [request(REJECTED)] },
    status: no('Pod cicd/build-1 may not use Connector shared/harbor, it was rejected: ApprovalTask cicd/task was rejected'),
  },
  'an earlier Pod was rejected': { given: { requests: [request(REJECTED, 'old')] }, status: wouldAsk(`${WHO} may not use Connector shared/harbor yet; Pod cicd/build-1 that mounts it gets an AccessRequest, decided by AccessPolicy prod`) },
  'it is over': { given: { requests: [request(ENDED)] }, status: no(`Connector shared/harbor, AccessRequest ${OWN} has ended (Pod cicd/build-1 is gone); a new Pod gets a new one`) },
  'all off': { given: { flags: allOff }, status: yes(`${WHO} may use Connector shared/harbor: it may get it, and no more is needed while approval is off`) },
  'all off, and it may not be got': { given: { flags: allOff, mayGet: false }, status: no(MAY_NOT_GET) },
  'approval off, allowed': { given: { flags: off, mayProxy: true }, status: yes(`${WHO} may use Connector shared/harbor from any of its Pods`) },
  'approval off, not allowed': { given: { flags: off }, status: no(`${LACKING}; approval is off, so nothing but a permission that is there already counts`) },
  'approval off, not allowed, no Pod in particular': {
    given: { flags: off, pod: undefined },
    status: no(`${WHO} may not use connectors/proxy (verb "*") of Connector shared/harbor; approval is off, so nothing but a permission that is there already counts`),
  },
  'approval off, granted to an earlier Pod': {
    given: { flags: off, mayPodPath: true, requests: [request(GRANTED, 'old')] },
    status: no('Connector shared/harbor: waiting for the removal of the permission of an earlier Pod of the same name'),
  },
  'no proxy yet': {
    given: { mayProxy: true, found: { ...connector, status: {} } },
    status: yes(
      `${WHO} may use Connector shared/harbor from any of its Pods; it cannot be mounted as it is: Connector shared/harbor has no proxy address (status.proxy.httpAddress.url): its ConnectorClass needs a proxy that is ready`,
    ),
  },
  'someone who may create the Pod': {
    given: { mayProxy: true, creator: { user: 'alice', mayCreatePods: true, groupsAreKnown: false } },
    status: yes(`${WHO} may use Connector shared/harbor from any of its Pods`),
  },
  'someone who may not create the Pod': {
    given: { mayProxy: true, creator: { user: 'alice', mayCreatePods: false, groupsAreKnown: true } },
    status: no(`alice may not create Pods in namespace cicd; ${WHO} may use Connector shared/harbor from any of its Pods`),
  },
  'someone who may not create the Pod, as far as is known': {
    given: { pod: undefined, policies: [], creator: { user: 'alice', mayCreatePods: false, groupsAreKnown: false } },
    status: no(
      `alice may not create Pods in namespace cicd, as far as is known without the groups of that user; ${WHO} may not use Connector shared/harbor yet; a new Pod that mounts it gets an AccessRequest, which nobody can approve: no AccessPolicy in namespace shared asks for checks for this Connector`,
    ),
  },
}
for (const [name, { given, status }] of Object.entries(CASES)) {
  await test(`access to a Connector: ${name}`, async (t) => t.strictSame(decideConnectorAccess(facts(given)), status))
}

await test('of many policies the first are shown and named, in their order', async (t) => {
  const policies = Array.from({ length: 60 }, (_, index) => policyOf(`p-${index.toString().padStart(2, '0')}`, [])).toReversed()
  const status = decideConnectorAccess(facts({ policies, pod: undefined }))
  t.strictSame(status.policies.map(({ name }) => name), Array.from({ length: 50 }, (_, index) => `p-${index.toString().padStart(2, '0')}`))
  t.match(status.reason, 'decided by AccessPolicy p-00, p-01, p-02, p-03, p-04 and 55 more')
})

await test('the templates that policies name, each once', async (t) => {
  t.strictSame(templateNames([policyOf('a', [byName, inPlace, missing]), policyOf('b', [byName])]), ['check', 'nothing'])
})

await test('which Pod is meant', async (t) => {
  const pod = (serviceAccountName: string | undefined, phase = 'Running'): Pod => ({
    metadata: { name: 'build-1', namespace: 'cicd', uid: UID },
    spec: serviceAccountName === undefined ? {} : { serviceAccountName },
    status: { phase },
  })
  t.equal(liveUid(undefined, 'builder'), undefined)
  t.equal(liveUid(pod('builder'), 'builder'), UID)
  t.equal(liveUid(pod('builder', 'Pending'), 'builder'), UID)
  t.equal(liveUid(pod('builder', 'Succeeded'), 'builder'), undefined)
  t.equal(liveUid(pod('other'), 'builder'), undefined)
  t.equal(liveUid(pod(undefined), 'default'), UID)
})

await test('who would create the Pod', async (t) => {
  const caller = { user: 'alice', uid: 'u-1', groups: ['leads'], extra: { 'a/b': ['c'] } }
  t.strictSame(creatorIdentity('alice', caller), { identity: caller, groupsAreKnown: true })
  t.strictSame(creatorIdentity('bob', caller), { identity: { user: 'bob', groups: ['system:authenticated'] }, groupsAreKnown: false })
  t.strictSame(creatorIdentity('system:serviceaccount:cicd:ci', caller), {
    identity: { user: 'system:serviceaccount:cicd:ci', groups: ['system:serviceaccounts', 'system:serviceaccounts:cicd', 'system:authenticated'] },
    groupsAreKnown: true,
  })
  t.strictSame(createPodsQuestion('cicd'), { group: '', resource: 'pods', verb: 'create', namespace: 'cicd' })
})

const conditions = fc.constantFrom(PENDING, GRANTED, ENDED, REJECTED)
const anyRequest = fc.tuple(conditions, fc.constantFrom(UID, 'old', 'older')).map(([given, uid]) => request(given, uid))
const anyFacts = fc
  .record({
    found: fc.constantFrom(connector, undefined),
    pod: fc.constantFrom({ name: 'build-1', uid: UID }, NOBODY, undefined),
    flags: fc.constantFrom<Flags>(on, on, off, allOff, unknown),
    mayGet: fc.boolean(),
    mayProxy: fc.boolean(),
    mayPodPath: fc.boolean(),
    requests: fc.array(anyRequest, { maxLength: 3 }),
    policies: fc.constantFrom([POLICY], []),
    creator: fc.constantFrom(undefined, { user: 'alice', mayCreatePods: true, groupsAreKnown: true }, { user: 'alice', mayCreatePods: false, groupsAreKnown: true }),
  })
  .map(facts)

await test('whatever the facts: a yes needs the Connector, the permission to get it and one that counts', async (t) => {
  let allowed = 0
  fc.assert(
    fc.property(anyFacts, (given) => {
      const status = decideConnectorAccess(given)
      if (status.wouldRequest && (status.allowed || status.notFound || given.flags.state !== 'on' || !given.mayGet)) return false
      if (!status.allowed) return true
      allowed += 1
      const permitted = given.mayProxy || (given.mayPodPath && given.pod !== undefined) || (given.flags.state === 'off' && !given.flags.proxyPermissions)
      return !status.notFound && given.found !== undefined && given.mayGet && permitted && given.flags.state !== 'unknown' && given.creator?.mayCreatePods !== false && status.policies.length === 0
    }),
    { numRuns: 3000 },
  )
  t.ok(allowed > 100, `${allowed} were allowed`)
})

await test('a Pod that is not there yet: a request is made exactly where the hook would make one', async (t) => {
  fc.assert(
    fc.property(anyFacts, (given) => {
      const flags = given.flags
      const { connector: key, found, mayGet, mayProxy, serviceAccount } = given
      const status = decideConnectorAccess({ ...given, pod: NOBODY, creator: undefined })
      const mayHold = given.requests.some(({ status: state }) => state?.conditions === GRANTED)
      const fact = { connector: key, exists: found !== undefined, mayGet, mayProxy, mayPodPath: given.mayPodPath, predecessorMayHold: mayHold }
      const hook = decideAtAdmission({ flags, pod: { namespace: 'cicd', name: 'build-1', uid: 'new' }, serviceAccount: serviceAccount.name, requestedBy: 'alice', connectors: [fact], problems: [], unseenRequests: 0 })
      const asks = hook.create.length > 0
      return status.wouldRequest === asks && (flags.state !== 'on' || status.allowed === (fact.exists && mayGet && isAllowed(fact)))
    }),
    { numRuns: 3000 },
  )
  t.pass()
})

await test('what is left to read is read only where it decides', async (t) => {
  const open = { flags: on, found: connector, mayGet: true, mayProxy: false }
  t.ok(isOpenQuestion(open))
  t.ok(isOpenQuestion({ ...open, flags: off }))
  t.notOk(isOpenQuestion({ ...open, flags: allOff }))
  t.notOk(isOpenQuestion({ ...open, flags: unknown }))
  t.notOk(isOpenQuestion({ ...open, found: undefined }))
  t.notOk(isOpenQuestion({ ...open, mayGet: false }))
  t.notOk(isOpenQuestion({ ...open, mayProxy: true }))
})
