import { t, test } from 'tap'
import type { ConnectorAccessReviewStatus } from '../../src/api/connector-access-review.ts'
import { FLAG, FLAGS_CONFIG_MAP, GROUP, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { ACCESS_REQUESTS, ROLES, ROLE_BINDINGS } from '../../src/kube/resources.ts'
import { untilTrue } from '../support/eventually.ts'
import { CONNECTOR_API, extensionWorld, type Answered, type Person } from '../support/extension-world.ts'
import { BUILDER, checkedPolicy, gatedWorld, grantedPod, RUN, taskCheck } from '../support/gated-world.ts'
import { privateSandbox } from '../support/private-sandbox.ts'

const sandbox = await privateSandbox(t)
const { cluster } = sandbox
const gated = await gatedWorld(t, cluster)
const { kube, shared, work } = gated
const { through } = await extensionWorld(t, { cluster })

await gated.connector('harbor')
await gated.connector('unasked', 'none')
await gated.connector('two-checks', checkedPolicy(['two-checks'], [taskCheck('release', 'release-7', { params: [{ name: 'approvers', value: ['alice', 'group:leads'] }, { name: 'numberOfApprovalsRequired', value: '2' }] }), taskCheck('audit', 'audit-7')]))

/** May ask in the namespace of the Connectors, and is nobody where the Pods are. */
const dora: Person = { user: 'dora' }
const TRUSTED = 'trusted'
await cluster.kubectl(['create', 'rolebinding', 'dora-asks', '-n', shared, '--clusterrole=access-gate-extension-edit', '--user=dora'])
await cluster.kubectl(['create', 'rolebinding', 'pat-edits', '-n', work, '--clusterrole=edit', '--user=pat'])
await gated.create(ROLES, { metadata: { name: 'use-proxy', namespace: shared }, rules: [{ apiGroups: [GROUP], resources: ['connectors', 'connectors/proxy'], verbs: ['*'] }] })
await gated.create(ROLE_BINDINGS, {
  metadata: { name: 'trusted-uses-proxy', namespace: shared },
  roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'use-proxy' },
  subjects: [{ kind: 'ServiceAccount', name: TRUSTED, namespace: work }],
})

interface Question {
  connectorName?: string
  serviceAccount?: string
  podName?: string
  user?: string
}
const ask = (question: Question, person: Person = dora): Promise<Answered> => {
  const { connectorName = 'harbor', serviceAccount = BUILDER, ...more } = question
  const spec = { connectorName, subject: { kind: 'ServiceAccount', name: serviceAccount, namespace: work }, ...more }
  return through(person, { path: `${CONNECTOR_API}/namespaces/${shared}/connectoraccessreviews`, body: { spec } })
}
const statusOf = async (question: Question, person?: Person): Promise<ConnectorAccessReviewStatus> => {
  const { code, text, body } = await ask(question, person)
  if (code !== 201) throw new Error(text)
  return (body as { status: ConnectorAccessReviewStatus }).status
}
await untilTrue('everybody has his rights', async () => (await ask({})).code === 201 && (await statusOf({ serviceAccount: TRUSTED })).allowed && !(await statusOf({ user: 'pat' })).reason.startsWith('pat may not'))

const WHO = `system:serviceaccount:${work}:${BUILDER}`
const HARBOR = `Connector ${shared}/harbor`
/** Of every Connector here: no proxy runs. */
const UNREADY = /; it cannot be mounted as it is: .+$/
const ASKED_HARBOR = [
  { name: 'harbor', checks: [{ name: 'approval', apiVersion: 'openshift-pipelines.org/v1alpha1', kind: 'ApprovalTask', matchLabels: { [RUN]: `{.object.metadata.labels['${RUN.replace('.', '\\.')}']}` } }] },
]
const no = { allowed: false, notFound: false, wouldRequest: false, policies: [] }

const without = ({ reason, ...rest }: ConnectorAccessReviewStatus): object => ({ ...rest, reason: reason.replace(UNREADY, '') })

const ANSWERS: Record<string, { question: Question; status: object }> = {
  'no grant, and a policy that asks for a check': {
    question: {},
    status: { ...no, wouldRequest: true, policies: ASKED_HARBOR, reason: `${WHO} may not use ${HARBOR} yet; a new Pod that mounts it gets an AccessRequest, decided by AccessPolicy harbor` },
  },
  'a Pod that is not there yet': {
    question: { podName: 'later' },
    status: { ...no, wouldRequest: true, policies: ASKED_HARBOR, reason: `${WHO} may not use ${HARBOR} yet; Pod ${work}/later that mounts it gets an AccessRequest, decided by AccessPolicy harbor` },
  },
  'a policy with several checks, and who decides them': {
    question: { connectorName: 'two-checks' },
    status: {
      ...no,
      wouldRequest: true,
      policies: [
        {
          name: 'two-checks',
          checks: [
            { name: 'release', apiVersion: 'openshift-pipelines.org/v1alpha1', kind: 'ApprovalTask', objectName: 'release-7', approvers: ['alice', 'group:leads'], approvalsRequired: 2 },
            { name: 'audit', apiVersion: 'openshift-pipelines.org/v1alpha1', kind: 'ApprovalTask', objectName: 'audit-7' },
          ],
        },
      ],
      reason: `${WHO} may not use Connector ${shared}/two-checks yet; a new Pod that mounts it gets an AccessRequest, decided by AccessPolicy two-checks`,
    },
  },
  'a Connector that no policy is about': {
    question: { connectorName: 'unasked' },
    status: {
      ...no,
      wouldRequest: true,
      reason: `${WHO} may not use Connector ${shared}/unasked yet; a new Pod that mounts it gets an AccessRequest, which nobody can approve: no AccessPolicy in namespace ${shared} asks for checks for this Connector`,
    },
  },
  'no such Connector': { question: { connectorName: 'gone' }, status: { ...no, notFound: true, reason: `Connector ${shared}/gone does not exist` } },
  'a ServiceAccount that may not see it': {
    question: { serviceAccount: 'stranger' },
    status: { ...no, reason: `system:serviceaccount:${work}:stranger may not get ${HARBOR}; give it a Role with the verb get on connectors "harbor" in namespace ${shared}` },
  },
  'a ServiceAccount that may use its proxy anyway': {
    question: { serviceAccount: TRUSTED },
    status: { ...no, allowed: true, reason: `system:serviceaccount:${work}:${TRUSTED} may use ${HARBOR} from any of its Pods` },
  },
  'a person who may not create the Pod': {
    question: { serviceAccount: TRUSTED, user: 'dora' },
    status: { ...no, reason: `dora may not create Pods in namespace ${work}; system:serviceaccount:${work}:${TRUSTED} may use ${HARBOR} from any of its Pods` },
  },
  'a person whose groups nobody knows': {
    question: { serviceAccount: TRUSTED, user: 'eve' },
    status: { ...no, reason: `eve may not create Pods in namespace ${work}, as far as is known without the groups of that user; system:serviceaccount:${work}:${TRUSTED} may use ${HARBOR} from any of its Pods` },
  },
  'a person who may create it': {
    question: { serviceAccount: TRUSTED, user: 'pat' },
    status: { ...no, allowed: true, reason: `system:serviceaccount:${work}:${TRUSTED} may use ${HARBOR} from any of its Pods` },
  },
}

for (const [sentence, { question, status }] of Object.entries(ANSWERS)) {
  await test(`ConnectorAccessReview: ${sentence}`, async (subtest) => {
    subtest.strictSame(without(await statusOf(question)), status)
  })
}

await test('who may not ask is refused, and so is what is no question', async (subtest) => {
  subtest.match(await ask({}, { user: 'eve' }), {
    code: 403,
    body: { message: `connectoraccessreviews.access.connectors.alauda.io is forbidden: User "eve" cannot create resource "connectoraccessreviews" in API group "access.connectors.alauda.io" in the namespace "${shared}"` },
  })
  const path = `${CONNECTOR_API}/namespaces/${shared}/connectoraccessreviews`
  const empty = await through(dora, { path, body: { spec: {} } })
  subtest.match(empty, { code: 422, body: { reason: 'Invalid', details: { causes: ['connectorName', 'subject.kind', 'subject.name', 'subject.namespace'].map((field) => ({ reason: 'FieldValueRequired', message: 'Required value', field: `spec.${field}` })) } } })
  const user = await through(dora, { path, body: { spec: { connectorName: 'harbor', subject: { kind: 'User', name: 'a', namespace: 'b' } } } })
  subtest.match(user, { code: 422, body: { details: { causes: [{ reason: 'FieldValueNotSupported', field: 'spec.subject.kind', message: 'Unsupported value: "User": supported values: "ServiceAccount"' }] } } })
})

await test('a grant counts for its Pod, and for no other one and no other account', async (subtest) => {
  await grantedPod(gated, 'granted', 'harbor')
  subtest.strictSame(without(await statusOf({ podName: 'granted' })), { ...no, allowed: true, reason: `${WHO} may use ${HARBOR} from Pod ${work}/granted` })
  subtest.match(await statusOf({}), { allowed: false, wouldRequest: true })
  subtest.match(await statusOf({ podName: 'another' }), { allowed: false, wouldRequest: true })
  subtest.match(await statusOf({ podName: 'granted', serviceAccount: 'default' }), { allowed: false, wouldRequest: false })
})

await test('a request that is there is told of, and none is made by asking', async (subtest) => {
  const pod = await gated.pod('waiting', ['harbor'])
  const { metadata } = await gated.requestOf(pod)
  const names = async (): Promise<string[]> => (await kube.list(ACCESS_REQUESTS, { namespace: shared })).items.map(({ metadata: { name, resourceVersion } }) => `${name} ${resourceVersion}`)
  await untilTrue('the controller has looked at it', async () => (await statusOf({ podName: 'waiting' })).policies[0]?.checks[0]?.matchLabels?.[RUN] === 'waiting')
  const before = await names()
  const status = await statusOf({ podName: 'waiting' })
  subtest.match(status, { allowed: false, notFound: false, wouldRequest: false, policies: [{ name: 'harbor', checks: [{ name: 'approval', matchLabels: { [RUN]: 'waiting' } }] }] })
  subtest.match(status.reason, `AccessRequest ${shared}/${metadata.name}`)
  subtest.strictSame(await names(), before)
})

const flags = ['configmap', FLAGS_CONFIG_MAP, '-n', SYSTEM_NAMESPACE]
const setFlags = (approval: string, proxyPermissions: string): Promise<unknown> =>
  cluster.kubectl(['patch', ...flags, '--type=merge', '-p', JSON.stringify({ data: { [FLAG.approval]: approval, [FLAG.proxyPermissions]: proxyPermissions } })])
const WHERE = `ConfigMap ${SYSTEM_NAMESPACE}/${FLAGS_CONFIG_MAP}`

const FLAGS: Record<string, { turn: () => Promise<unknown>; status: object }> = {
  'approval is off': {
    turn: () => setFlags('false', 'true'),
    status: {
      ...no,
      reason: `${WHO} may not use connectors/proxy (verb "*") of ${HARBOR}; approval is off: ${WHERE} says ${FLAG.approval}: "false", so nothing but a permission that is there already counts`,
    },
  },
  'the permissions of the proxy are off': {
    turn: () => setFlags('true', 'false'),
    status: { ...no, allowed: true, reason: `${WHO} may use ${HARBOR}: it may get it, and no more is needed while approval is off: ${WHERE} says ${FLAG.proxyPermissions}: "false"` },
  },
  'a flag has a value that nobody knows': { turn: () => setFlags('maybe', 'true'), status: { ...no, reason: `${WHERE} says ${FLAG.approval}: "maybe"; write "true" or "false"` } },
  'the flags are gone': { turn: () => cluster.kubectl(['delete', ...flags]), status: { ...no, reason: `${WHERE} is missing or cannot be read, so nobody knows whether approval is on` } },
}

await test('what the flags say counts at once, and unknown ones allow nothing, not even what there is a grant for', async (subtest) => {
  for (const [sentence, { turn, status }] of Object.entries(FLAGS)) {
    await turn()
    subtest.strictSame(without(await statusOf({})), status, sentence)
  }
  subtest.match(await statusOf({ podName: 'granted' }), { allowed: false })
  subtest.match(await statusOf({ serviceAccount: TRUSTED }), { allowed: false })
  await cluster.kubectl(['create', ...flags, `--from-literal=${FLAG.approval}=true`, `--from-literal=${FLAG.proxyPermissions}=true`])
  subtest.match(await statusOf({ podName: 'granted' }), { allowed: true })
})

await test('the grant of an earlier Pod of the same name does not count', async (subtest) => {
  await sandbox.stopControllers()
  await cluster.kubectl(['delete', 'pod', 'granted', '-n', work, '--grace-period=0', '--force'])
  subtest.ok(await gated.mayUse('granted', 'harbor'), 'the API server still says yes')
  const gone = await statusOf({ podName: 'granted' })
  subtest.match(gone, { allowed: false, wouldRequest: true, reason: `${WHO} may not use ${HARBOR} yet: the permission that is there may be that of an earlier Pod of the same name` })
  await gated.pod('granted', ['harbor'])
  subtest.match(await statusOf({ podName: 'granted' }), { allowed: false, wouldRequest: false })
})
