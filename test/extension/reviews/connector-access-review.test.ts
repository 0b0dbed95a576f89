import { test } from 'tap'
import type { AccessPolicy } from '../../../src/api/access-policy.ts'
import type { Condition } from '../../../src/api/meta.ts'
import { buildRequest, requestName } from '../../../src/core/request-identity.ts'
import { CodedError } from '../../../src/errors.ts'
import { ACCESS_POLICIES, ACCESS_REQUESTS, CONFIG_MAPS, CONNECTORS, PODS } from '../../../src/kube/resources.ts'
import { settle } from '../../support/fake-time.ts'
import { reviewBench, type Bench } from './harness.ts'

const KIND = 'ConnectorAccessReview'
const AT = { namespace: 'shared' }
const subject = { kind: 'ServiceAccount', name: 'builder', namespace: 'cicd' }
const spec = { connectorName: 'harbor', subject }
const harbor = { namespace: 'shared', name: 'harbor' }
const POD_PATH = 'proxy/v1/pod/cicd/build-1'
const WHO = 'system:serviceaccount:cicd:builder'
const POLICY: AccessPolicy = {
  metadata: { name: 'prod', namespace: 'shared' },
  spec: { checkGrantedPermission: { spec: { checks: [{ name: 'task', ref: { configMap: { name: 'check' } } }], roleTemplate: { ref: { configMap: { name: 'role' } } } } } },
}
const ASKED = [{ name: 'prod', checks: [{ name: 'task', apiVersion: 'v1', kind: 'Task', matchLabels: { run: "{.object.metadata.labels['run']}" } }] }]

/** @param may the subresources of connectors that the ServiceAccount may use, "get" to get it, and "pods" for whoever would create the Pod */
const filled = (...may: string[]): Bench => {
  const bench = reviewBench()
  const { kube } = bench
  kube.put(CONFIG_MAPS, { metadata: { name: 'connectors-config', namespace: 'connectors-system' }, data: { 'enable-connectors-approval': 'true', 'enable-connector-proxy-permissions': 'true' } })
  kube.put(CONFIG_MAPS, { metadata: { name: 'check', namespace: 'connectors-system' }, data: { spec: "selector:\n  objectRef: {apiVersion: v1, kind: Task}\n  matchLabels: {run: \"{.object.metadata.labels['run']}\"}\n" } })
  kube.put(CONNECTORS, { metadata: harbor, status: { proxy: { httpAddress: { url: 'http://c-harbor.shared.svc' } } } })
  kube.put(ACCESS_POLICIES, POLICY)
  kube.allowIf((_, { verb, resource, subresource }) => may.includes(resource === 'pods' ? resource : (subresource ?? verb)))
  return bench
}
const outcome = (status: object, verdict: string): object => ({
  ok: true,
  status: { allowed: false, notFound: false, wouldRequest: false, policies: [], ...status },
  verdict,
  subject: 'cicd/builder',
  object: 'shared/harbor',
})
const FIRST = ['get configmaps connectors-system connectors-config', 'get connectors shared harbor', 'allows', 'allows']

const condition = (type: string, status: Condition['status'], reason: string): Condition => ({ type, status, reason, message: '', lastTransitionTime: '2026-01-01T11:00:00Z' })
const GRANTED = [condition('AccessCheckReady', 'True', 'Passed'), condition('AccessPermissionSync', 'True', 'Synced'), condition('Ready', 'True', 'Synced')]
const identity = (uid: string): Parameters<typeof buildRequest>[0] => ({ connector: harbor, pod: { namespace: 'cicd', name: 'build-1', uid }, serviceAccount: 'builder' })
const withPod = (bench: Bench, uid: string): Bench => {
  bench.kube.put(PODS, { metadata: { name: 'build-1', namespace: 'cicd', uid }, spec: { serviceAccountName: 'builder' }, status: { phase: 'Running' } })
  return bench
}
const withRequest = (bench: Bench, uid: string, conditions: Condition[], labels?: Record<string, string>): Bench => {
  const request = buildRequest(identity(uid), 'alice')
  bench.kube.put(ACCESS_REQUESTS, { ...request, metadata: { ...request.metadata, ...(labels === undefined ? {} : { labels }) }, status: { conditions } })
  return bench
}

await test('what a permission allows needs no more than the permissions', async (t) => {
  const bench = filled('get', 'proxy')
  t.strictSame(await bench.review(KIND, spec, AT), outcome({ allowed: true, reason: `${WHO} may use Connector shared/harbor from any of its Pods` }, 'allowed'))
  t.strictSame(bench.asked().toSorted(), FIRST.toSorted())
  t.strictSame(
    bench.kube.calls.filter(({ verb }) => verb === 'allows').map(({ body }) => body),
    [
      { verb: 'get' },
      { verb: '*', subresource: 'proxy' },
    ].map((question) => ({
      identity: { user: WHO, groups: ['system:serviceaccounts', 'system:serviceaccounts:cicd', 'system:authenticated'] },
      question: { group: 'connectors.alauda.io', resource: 'connectors', namespace: 'shared', name: 'harbor', ...question },
    })),
  )
})

await test('a Pod to come would ask, and what for is told', async (t) => {
  const bench = filled('get')
  const reason = `${WHO} may not use Connector shared/harbor yet; a new Pod that mounts it gets an AccessRequest, decided by AccessPolicy prod`
  t.strictSame(await bench.review(KIND, spec, AT), outcome({ wouldRequest: true, policies: ASKED, reason }, 'would request'))
  t.strictSame(bench.asked().toSorted(), [...FIRST, 'list accesspolicies shared', 'get configmaps connectors-system check'].toSorted())
  t.strictSame(bench.kube.writes(), [], 'and nothing is made')
})

await test('no Connector, no permission to get it, no flags', async (t) => {
  t.strictSame(await filled('get', 'proxy').review(KIND, { ...spec, connectorName: 'git' }, AT), {
    ...outcome({ notFound: true, reason: 'Connector shared/git does not exist' }, 'not found'),
    object: 'shared/git',
  })
  const reason = `${WHO} may not get Connector shared/harbor; give it a Role with the verb get on connectors "harbor" in namespace shared`
  t.strictSame(await filled('proxy').review(KIND, spec, AT), outcome({ reason }, 'denied'))
  const bench = filled('get', 'proxy')
  bench.kube.drop(CONFIG_MAPS, 'connectors-system', 'connectors-config')
  const unknown = 'ConfigMap connectors-system/connectors-config is missing or cannot be read, so nobody knows whether approval is on'
  t.strictSame(await bench.review(KIND, spec, AT), outcome({ reason: unknown }, 'denied'))
})

await test('the grant of a Pod counts for that Pod', async (t) => {
  const allowed = outcome({ allowed: true, reason: `${WHO} may use Connector shared/harbor from Pod cicd/build-1` }, 'allowed')
  const own = withRequest(withPod(filled('get', POD_PATH), 'uid-1'), 'uid-1', GRANTED)
  t.strictSame(await own.review(KIND, { ...spec, podName: 'build-1' }, AT), allowed)

  const reason = `${WHO} may not use Connector shared/harbor yet: the permission that is there may be that of an earlier Pod of the same name; Pod cicd/build-1 that mounts it gets an AccessRequest, decided by AccessPolicy prod`
  const would = outcome({ wouldRequest: true, policies: ASKED, reason }, 'would request')
  t.strictSame(await withRequest(withPod(filled('get', POD_PATH), 'uid-2'), 'uid-1', GRANTED).review(KIND, { ...spec, podName: 'build-1' }, AT), would, 'not for its successor')
  t.strictSame(await withRequest(filled('get', POD_PATH), 'uid-1', GRANTED).review(KIND, { ...spec, podName: 'build-1' }, AT), would, 'not when it is gone')
  t.strictSame(await withRequest(filled('get', POD_PATH), 'uid-1', GRANTED, {}).review(KIND, { ...spec, podName: 'build-1' }, AT), would, 'whatever the labels of its request')
  const other = filled('get', POD_PATH)
  other.kube.put(PODS, { metadata: { name: 'build-1', namespace: 'cicd', uid: 'uid-1' }, spec: { serviceAccountName: 'other' }, status: { phase: 'Running' } })
  t.strictSame(await withRequest(other, 'uid-1', GRANTED).review(KIND, { ...spec, podName: 'build-1' }, AT), would, 'not for a Pod of another ServiceAccount')
  t.strictSame(await withPod(filled('get', POD_PATH), 'uid-1').review(KIND, { ...spec, podName: 'build-1' }, AT), allowed, 'a permission by hand')
})

await test('how far the request of a Pod is', async (t) => {
  const bench = withRequest(withPod(filled('get'), 'uid-1'), 'uid-1', [])
  const name = requestName(identity('uid-1'))
  const reason = `Connector shared/harbor, AccessRequest shared/${name}: waiting for the controller, which has not looked at it yet`
  t.strictSame(await bench.review(KIND, { ...spec, podName: 'build-1' }, AT), outcome({ reason, policies: ASKED }, 'denied'))
  const [list] = bench.kube.calls.filter(({ verb, resource }) => verb === 'list' && resource === 'accessrequests')
  t.strictSame(list?.body, { namespace: 'shared', labelSelector: 'connectors.cpaas.io/contextObjectName=build-1,connectors.cpaas.io/contextObjectNamespace=cicd' }, 'only those of the Pod are read')
})

await test('whoever would create the Pod is asked about as well', async (t) => {
  const bench = filled('get', 'proxy')
  const may = `${WHO} may use Connector shared/harbor from any of its Pods`
  const known = outcome({ reason: `alice may not create Pods in namespace cicd; ${may}` }, 'denied')
  t.strictSame(await bench.review(KIND, { ...spec, user: 'alice' }, AT), known)
  const guessed = outcome({ reason: `bob may not create Pods in namespace cicd, as far as is known without the groups of that user; ${may}` }, 'denied')
  t.strictSame(await bench.review(KIND, { ...spec, user: 'bob' }, AT), guessed)
  t.strictSame(await filled('get', 'proxy', 'pods').review(KIND, { ...spec, user: 'bob' }, AT), outcome({ allowed: true, reason: may }, 'allowed'))
  t.strictSame(
    bench.kube.calls.filter(({ verb }) => verb === 'allows').map(({ body }) => body).filter((body) => JSON.stringify(body).includes('"pods"')),
    [
      { user: 'alice', uid: 'u-1', groups: ['team', 'system:authenticated'], extra: { 'example.com/role': ['a', 'b'] } },
      { user: 'bob', groups: ['system:authenticated'] },
    ].map((identityOf) => ({ identity: identityOf, question: { group: '', resource: 'pods', verb: 'create', namespace: 'cicd' } })),
  )
})

await test('the same question at the same moment is asked once', async (t) => {
  const bench = filled('get', 'proxy')
  const release = bench.kube.hold('allows')
  const asked = [spec, spec, { ...spec, podName: '' }, { ...spec, podName: 'build-1' }, { ...spec, user: 'alice' }].map((given) => bench.review(KIND, given, AT))
  await settle()
  release()
  await Promise.all(asked)
  // Twice for the first three, with a third question for each of the others.
  t.equal(bench.kube.calls.filter(({ verb }) => verb === 'allows').length, 2 + 3 + 3)
})

await test('an answer for whom groups are known is not shared with one for whom they are guessed', async (t) => {
  const bench = filled('get', 'proxy')
  const release = bench.kube.hold('allows')
  const plain = { user: 'alice', groups: ['system:authenticated'], extra: {} }
  const asked = [{ ...plain, user: 'bob' }, plain].map((caller) => bench.review(KIND, { ...spec, user: 'alice' }, { ...AT, caller }))
  await settle()
  release()
  const [guessed, known] = await Promise.all(asked)
  t.match(guessed, { status: { reason: /without the groups of that user/ } })
  t.match(known, { status: { reason: /^alice may not create Pods in namespace cicd; / } })
})

await test('what could not be read is no answer', async (t) => {
  for (const [verb, resource] of [['allows', undefined], ['get', CONFIG_MAPS], ['get', CONNECTORS], ['get', PODS], ['list', ACCESS_REQUESTS], ['list', ACCESS_POLICIES]] as const) {
    const bench = filled('get')
    bench.kube.fail(verb, resource, new CodedError('KUBE_FORBIDDEN', 'forbidden'))
    const failure = { code: 500, reason: 'InternalError', message: 'Failed to read what the answer depends on' }
    t.strictSame(await bench.review(KIND, { ...spec, podName: 'build-1' }, AT), { ok: false, failure, verdict: 'error' }, `${verb} ${resource?.plural ?? ''}`)
  }
})

await test('of very many templates not all are read', async (t) => {
  const bench = filled('get')
  const checks = Array.from({ length: 64 }, (_, index) => ({ name: `c${index}`, ref: { configMap: { name: `check-${index}` } } }))
  for (const half of ['a', 'b']) {
    const renamed = checks.map(({ name }, index) => ({ name, ref: { configMap: { name: `check-${half}-${index}` } } }))
    bench.kube.put(ACCESS_POLICIES, { metadata: { name: half, namespace: 'shared' }, spec: { checkGrantedPermission: { spec: { checks: renamed, roleTemplate: { ref: { configMap: { name: 'role' } } } } } } })
  }
  bench.kube.drop(ACCESS_POLICIES, 'shared', 'prod')
  const answer = await bench.review(KIND, spec, AT)
  t.equal(bench.kube.calls.filter(({ verb, name }) => verb === 'get' && (name ?? '').startsWith('check-')).length, 100)
  t.match(answer, { status: { policies: [{ name: 'a' }, { name: 'b' }] } })
  t.match(JSON.stringify(answer), 'ConfigMap connectors-system/check-b-63 was not read: the policies name more than 100')
})

const invalid = (field: string, value: string, why: string): object => ({ type: 'FieldValueInvalid', field, message: `Invalid value: ${JSON.stringify(value)}: ${why}` })
const required = (field: string): object => ({ type: 'FieldValueRequired', field, message: 'Required value' })
const SUBDOMAIN = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character"
const LABEL = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', must be no more than 63 characters, and must start and end with an alphanumeric character"
const PROBLEMS: Record<string, { spec: object; problems: object[] }> = {
  'nothing wrong': { spec: { ...spec, podName: 'build-1', user: 'alice' }, problems: [] },
  'empty where it may be': { spec: { ...spec, podName: '', user: '' }, problems: [] },
  'nothing given': {
    spec: { connectorName: '', subject: { kind: '', name: '', namespace: '' } },
    problems: ['spec.connectorName', 'spec.subject.kind', 'spec.subject.name', 'spec.subject.namespace'].map(required),
  },
  'a person': { spec: { ...spec, subject: { ...subject, kind: 'User' } }, problems: [{ type: 'FieldValueNotSupported', field: 'spec.subject.kind', message: 'Unsupported value: "User": supported values: "ServiceAccount"' }] },
  'names that are none': {
    spec: { connectorName: '../x', subject: { kind: 'ServiceAccount', name: 'A:b', namespace: 'a.b' }, podName: 'x/y' },
    problems: [
      invalid('spec.connectorName', '../x', "may not contain '/'"),
      invalid('spec.subject.name', 'A:b', SUBDOMAIN),
      invalid('spec.subject.namespace', 'a.b', LABEL),
      invalid('spec.podName', 'x/y', SUBDOMAIN),
    ],
  },
}
for (const [name, { spec: given, problems }] of Object.entries(PROBLEMS)) {
  await test(`fields: ${name}`, async (t) => {
    t.strictSame(reviewBench().problems(KIND, given), problems)
    t.strictSame(reviewBench().echo(KIND, given), given)
  })
}
