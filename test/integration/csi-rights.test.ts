import { test } from 'tap'
import { callApi } from '../../hack/control-plane/api-call.ts'
import { waitFor } from '../../hack/control-plane/cluster-access.ts'
import type { AccessRequest } from '../../src/api/access-request.ts'
import { CSI_DRIVER, FLAGS_CONFIG_MAP, SERVICE_ACCOUNT, serviceAccountUser, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import type { PolicyRule } from '../../src/api/rbac.ts'
import { buildRequest } from '../../src/core/request-identity.ts'
import { testControlPlane } from '../support/control-plane.ts'
import { readManifests } from '../support/manifests.ts'
import { applyShippedGround, yamlOf } from '../support/shipped-ground.ts'

const cluster = testControlPlane()
await applyShippedGround(cluster)
const connectors = await cluster.namespace('shared')
const pods = await cluster.namespace('work')

const CSI = serviceAccountUser(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.csi)
const OURS = '/apis/connectors.alauda.io/v1alpha1'
const RBAC = '/apis/rbac.authorization.k8s.io/v1'

const { server, caPem } = cluster
const token = await cluster.serviceAccountToken(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.csi)
/** A call with the plugin's own token. */
const ask = (method: string, path: string, body?: object, contentType?: string) => callApi({ server, caPem, token }, method, path, body, contentType)
const status = async (method: string, path: string, body?: object, contentType?: string): Promise<number> => (await ask(method, path, body, contentType)).status

const CONNECTOR = { apiVersion: 'connectors.alauda.io/v1alpha1', kind: 'Connector', metadata: { name: 'harbor', namespace: connectors }, spec: { connectorClassName: 'harbor', address: 'https://harbor.example.com' } }
const POD = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'build-1', namespace: pods }, spec: { nodeName: 'node-1', containers: [{ name: 'build', image: 'registry.example/build:1' }] } }
const { stdout: uid } = await cluster.kubectl(['create', '-f', '-', '-o', 'jsonpath={.metadata.uid}'], { input: yamlOf([POD]) })
await cluster.kubectl(['create', '-f', '-'], { input: yamlOf([CONNECTOR]) })

const request = buildRequest({ connector: CONNECTOR.metadata, pod: { ...POD.metadata, uid }, serviceAccount: 'default' }, CSI)
const requests = `${OURS}/namespaces/${connectors}/accessrequests`
const own = `${requests}/${request.metadata.name}`

await waitFor('the rights of the plugin', 90_000, async () => (await status('GET', requests)) === 200)

interface Rule extends PolicyRule {
  nonResourceURLs?: string[]
}

/** What the API server would let the owner of a token do in a namespace. */
const rulesOf = async (bearer: string, namespace: string): Promise<Rule[]> => {
  const body = { apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectRulesReview', spec: { namespace } }
  const { text } = await callApi({ server, caPem, token: bearer }, 'POST', '/apis/authorization.k8s.io/v1/selfsubjectrulesreviews', body)
  const { status: answer }: { status: { resourceRules: Rule[]; nonResourceRules: Rule[] } } = JSON.parse(text)
  return [...answer.resourceRules, ...answer.nonResourceRules]
}

const asText = ({ apiGroups, resources, resourceNames, nonResourceURLs, verbs }: Rule): string => JSON.stringify({ apiGroups, resources, resourceNames, nonResourceURLs, verbs })

/** Beyond what every ServiceAccount of the namespace may do. */
const moreThanAnybody = async (namespace: string): Promise<string[]> => {
  const anybody = new Set((await rulesOf(await cluster.serviceAccountToken(SYSTEM_NAMESPACE, 'default'), namespace)).map(asText))
  return (await rulesOf(token, namespace)).map(asText).filter((rule) => !anybody.has(rule)).toSorted()
}

const shipped = async (kind: string): Promise<string[]> => {
  const roles = (await readManifests('base')).filter((manifest) => manifest.kind === kind && manifest.metadata.name === SERVICE_ACCOUNT.csi)
  return roles.flatMap(({ rules }) => (rules as Rule[]).map(asText))
}

await test('the API server gives the account the rights of the manifests and no others', async (t) => {
  t.strictSame(await moreThanAnybody(pods), (await shipped('ClusterRole')).toSorted())
  t.strictSame(await moreThanAnybody(SYSTEM_NAMESPACE), [...(await shipped('ClusterRole')), ...(await shipped('Role'))].toSorted())
})

const flags = `/api/v1/namespaces/${SYSTEM_NAMESPACE}/configmaps`
const onlyFlags = `fieldSelector=metadata.name%3D${FLAGS_CONFIG_MAP}`
const onNode = 'fieldSelector=spec.nodeName%3Dnode-1'
const watching = 'watch=true&timeoutSeconds=1'
const MERGE = 'application/merge-patch+json'
const review = { apiVersion: 'authorization.k8s.io/v1', kind: 'SubjectAccessReview', spec: { user: 'ann', resourceAttributes: { verb: 'get', resource: 'connectors', group: 'connectors.alauda.io' } } }
const event = {
  apiVersion: 'events.k8s.io/v1',
  kind: 'Event',
  metadata: { name: 'waiting', namespace: pods },
  eventTime: '2026-01-02T03:04:05.000000Z',
  reportingController: CSI_DRIVER,
  reportingInstance: 'node-1',
  action: 'Mount',
  reason: 'WaitingForApproval',
  type: 'Normal',
  note: 'waiting',
  regarding: { apiVersion: 'v1', kind: 'Pod', name: POD.metadata.name, namespace: pods, uid },
}

await test('everything that the plugin does is allowed', async (t) => {
  t.equal(await status('GET', `${OURS}/namespaces/${connectors}/connectors/harbor`), 200)
  t.equal(await status('GET', `${OURS}/connectorclasses/none`), 404, 'asked, not refused')
  t.equal(await status('POST', requests, request), 201, 'with its finalizer, past every policy')
  t.equal(await status('GET', own), 200)
  t.equal(await status('GET', `${OURS}/accessrequests`), 200, 'in all namespaces')
  t.equal(await status('GET', `${OURS}/accessrequests?${watching}`), 200)
  t.equal(await status('GET', `/api/v1/namespaces/${pods}/pods/build-1`), 200)
  t.equal(await status('GET', `/api/v1/pods?${onNode}`), 200)
  t.equal(await status('GET', `/api/v1/pods?${onNode}&${watching}`), 200)
  t.equal(await status('GET', `${flags}/${FLAGS_CONFIG_MAP}`), 200)
  t.equal(await status('GET', `${flags}?${onlyFlags}`), 200, 'a list of the one name')
  t.equal(await status('GET', `${flags}?${onlyFlags}&${watching}`), 200, 'a watch of the one name')
  t.equal(await status('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', review), 201)
  t.equal(await status('POST', `/apis/events.k8s.io/v1/namespaces/${pods}/events`, event), 201)
})

const tokenRequest = (spec: object): object => ({ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec })
const role = { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role', metadata: { name: 'mine' }, rules: [] }
const tokens = `/api/v1/namespaces/${pods}/serviceaccounts/default/token`

/** Each is refused by the API server's authorizer: 403, before anything is looked at. */
const forbidden: Record<string, [method: string, path: string, body?: object, contentType?: string]> = {
  'change a request': ['PATCH', own, { metadata: { labels: { a: 'b' } } }, MERGE],
  'take off its finalizer': ['PATCH', own, { metadata: { finalizers: null } }, MERGE],
  'delete it': ['DELETE', own],
  'delete all of them': ['DELETE', requests],
  'write its status': ['PATCH', `${own}/status`, { status: {} }, MERGE],
  'read policies': ['GET', `${OURS}/accesspolicies`],
  'write a policy': ['POST', `${OURS}/namespaces/${connectors}/accesspolicies`, {}],
  'list Connectors': ['GET', `${OURS}/connectors`],
  'change a Connector': ['PATCH', `${OURS}/namespaces/${connectors}/connectors/harbor`, {}, MERGE],
  'set the address of a proxy': ['PATCH', `${OURS}/namespaces/${connectors}/connectors/harbor/status`, {}, MERGE],
  'use a Connector': ['GET', `${OURS}/namespaces/${connectors}/connectors/harbor/proxy`],
  'list classes': ['GET', `${OURS}/connectorclasses`],
  'read Secrets': ['GET', '/api/v1/secrets'],
  'read Secrets beside it': ['GET', `/api/v1/namespaces/${SYSTEM_NAMESPACE}/secrets`],
  'read the Secret of the webhook': ['GET', `/api/v1/namespaces/${SYSTEM_NAMESPACE}/secrets/access-gate-webhook-tls`],
  'make a token': ['POST', tokens, tokenRequest({ audiences: ['connectors-proxy'] })],
  'make a Role': ['POST', `${RBAC}/namespaces/${connectors}/roles`, role],
  'read Roles': ['GET', `${RBAC}/namespaces/${connectors}/roles`],
  'bind one': ['POST', `${RBAC}/namespaces/${connectors}/rolebindings`, {}],
  'change a Pod': ['PATCH', `/api/v1/namespaces/${pods}/pods/build-1`, {}, MERGE],
  'say how a Pod is': ['PATCH', `/api/v1/namespaces/${pods}/pods/build-1/status`, {}, MERGE],
  'make a Pod': ['POST', `/api/v1/namespaces/${pods}/pods`, POD],
  'delete a Pod': ['DELETE', `/api/v1/namespaces/${pods}/pods/build-1`],
  'run something in a Pod': ['POST', `/api/v1/namespaces/${pods}/pods/build-1/exec?command=id`],
  'read the log of a Pod': ['GET', `/api/v1/namespaces/${pods}/pods/build-1/log`],
  'read its node': ['GET', '/api/v1/nodes/node-1'],
  'list every ConfigMap beside the flags': ['GET', flags],
  'watch every ConfigMap beside the flags': ['GET', `${flags}?${watching}`],
  'read a template': ['GET', `${flags}/connectors-approvals-in-pipeline`],
  'turn a flag': ['PATCH', `${flags}/${FLAGS_CONFIG_MAP}`, {}, MERGE],
  'read ConfigMaps elsewhere': ['GET', `/api/v1/namespaces/${pods}/configmaps/${FLAGS_CONFIG_MAP}`],
  'change an Event': ['PATCH', `/apis/events.k8s.io/v1/namespaces/${pods}/events/waiting`, {}, MERGE],
  'read Events': ['GET', `/apis/events.k8s.io/v1/namespaces/${pods}/events`],
  'take the lease of the controller': ['PATCH', `/apis/coordination.k8s.io/v1/namespaces/${SYSTEM_NAMESPACE}/leases/access-gate-controller`, {}, MERGE],
  'change the driver': ['PATCH', `/apis/storage.k8s.io/v1/csidrivers/${CSI_DRIVER}`, {}, MERGE],
  'change a webhook': ['PATCH', '/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/access-gate', {}, MERGE],
  'change an admission policy': ['PATCH', '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/access-gate-request-status', {}, MERGE],
  'list namespaces': ['GET', '/api/v1/namespaces'],
}

for (const [what, call] of Object.entries(forbidden)) {
  await test(`it may not ${what}`, async (t) => {
    t.equal(await status(...call), 403)
  })
}

await test('a request that it makes reaches no Connector elsewhere', async (t) => {
  const spec = { ...request.spec, connectorRef: { name: 'harbor', namespace: 'elsewhere' } }
  const { status: code, text } = await ask('POST', requests, { ...request, metadata: { ...request.metadata, name: 'foreign' }, spec })
  t.equal(code, 422)
  t.match(text, /access-gate-request-namespace/)
})

await test('a status that it makes a request with is dropped', async (t) => {
  const granted = { conditions: [{ type: 'Ready', status: 'True', reason: 'Synced', message: '', lastTransitionTime: '2026-01-02T03:04:05Z' }] }
  const { status: code, text } = await ask('POST', `${requests}?dryRun=All`, { ...request, metadata: { ...request.metadata, name: 'granted' }, status: granted })
  t.equal(code, 201)
  const made: AccessRequest = JSON.parse(text)
  t.equal(made.status, undefined)
})

await test('with the component for tokens it makes those for a proxy and a Pod alone', async (t) => {
  // By the same right, given to another account: everybody else's tests share this control plane, and the plugin's account.
  const namespace = await cluster.namespace('tokens')
  const name = 'access-gate-csi'
  const account = serviceAccountUser(namespace, name)
  const component = (await readManifests('csi-token-api')).filter(({ kind }) => kind !== 'ClusterRoleBinding')
  const here = JSON.stringify(component).replaceAll(CSI, account).replaceAll('access-gate-csi-tokens', `csi-tokens-${namespace}`).replaceAll('access-gate-csi-token-api', `csi-token-api-${namespace}`)
  const objects: object[] = JSON.parse(here)
  t.teardown(async () => {
    await cluster.kubectl(['delete', '-f', '-'], { input: yamlOf(objects) })
    await cluster.kubectl(['delete', 'namespace', namespace, '--wait=false'])
    await cluster.kubectl(['delete', 'clusterrolebinding', `csi-token-api-${namespace}`])
  })
  await cluster.kubectl(['create', 'serviceaccount', name, '-n', namespace])
  await cluster.kubectl(['create', '-f', '-'], { input: yamlOf(objects) })
  await cluster.kubectl(['create', 'clusterrolebinding', `csi-token-api-${namespace}`, '--clusterrole', `csi-token-api-${namespace}`, '--serviceaccount', `${namespace}:${name}`])

  const bearer = await cluster.serviceAccountToken(namespace, name)
  const make = (spec: object) => callApi({ server, caPem, token: bearer }, 'POST', tokens, tokenRequest(spec))
  const boundObjectRef = { apiVersion: 'v1', kind: 'Pod', name: POD.metadata.name, uid }
  const good = { audiences: ['connectors-proxy'], expirationSeconds: 600, boundObjectRef }
  await waitFor('the right, and the policy on it', 90_000, async () => (await make({ ...good, audiences: ['other'] })).text.includes(`csi-tokens-${namespace}`))

  const made = await make(good)
  t.equal(made.status, 201, made.text)
  const refused = async (spec: object): Promise<string> => {
    const { status: code, text } = await make(spec)
    const { message }: { message: string } = JSON.parse(text)
    return `${code} ${message.slice(message.indexOf('spec.'))}`
  }
  const audiences = `403 spec.audiences: the CSI plugin makes tokens for connectors-proxy alone, by the variable "audiences" of the policy csi-tokens-${namespace}`
  t.equal(await refused({ ...good, audiences: undefined }), audiences, 'the API server itself')
  t.equal(await refused({ ...good, audiences: [] }), audiences)
  t.equal(await refused({ ...good, audiences: ['connectors-proxy', 'https://kubernetes.default.svc'] }), audiences)
  const bound = '403 spec.boundObjectRef: the CSI plugin makes tokens that are bound to a Pod and its uid alone'
  t.equal(await refused({ ...good, boundObjectRef: undefined }), bound)
  t.equal(await refused({ ...good, boundObjectRef: { ...boundObjectRef, uid: undefined } }), bound)
  t.equal(await refused({ ...good, boundObjectRef: { apiVersion: 'v1', kind: 'Secret', name: 'a', uid } }), bound)
  t.equal(await refused({ ...good, expirationSeconds: 86_401 }), '403 spec.expirationSeconds: the CSI plugin makes tokens for a day at most')
  t.equal((await callApi({ server, caPem, token: cluster.adminToken }, 'POST', tokens, tokenRequest({}))).status, 201, 'everybody else makes what they may')
})
