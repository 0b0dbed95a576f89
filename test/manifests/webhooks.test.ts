import { evaluate } from '@marcbachmann/cel-js'
import { test } from 'tap'
import { CREATED_OR_SPEC_CHANGED } from '../../hack/generate/admission-policies.ts'
import { ANNOTATION, CSI_DRIVER, GROUP, LABEL, SERVICE_ACCOUNT, serviceAccountUser, SYSTEM_NAMESPACE, VERSION } from '../../src/api/names.ts'
import { manifestOf, readManifests } from '../support/manifests.ts'

const base = await readManifests('base')
const mutating = manifestOf(base, 'MutatingWebhookConfiguration', 'access-gate')['webhooks']
const validating = manifestOf(base, 'ValidatingWebhookConfiguration', 'access-gate')['webhooks']

const clientConfig = (path: string): object => ({ service: { name: 'access-gate-webhook', namespace: SYSTEM_NAMESPACE, port: 443, path } })
const rule = (apiGroups: string, apiVersions: string, operations: string[], resources: string): object[] => [
  { apiGroups: [apiGroups], apiVersions: [apiVersions], operations, resources: [resources], scope: 'Namespaced' },
]

const MOUNTS = `has(object.spec.volumes) && object.spec.volumes.exists(v, has(v.csi) && v.csi.driver == '${CSI_DRIVER}')`
const NOT_THE_CONTROLLER = `request.userInfo.username != '${serviceAccountUser(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.controller)}'`

const REQUESTER = `metadata.?annotations[?'${ANNOTATION.requestedBy}']`
const OWN_LABELS = [LABEL.contextKind, LABEL.contextName, LABEL.contextNamespace, LABEL.connector].map((label) => `'${label}'`).join(', ')
const OWN_LABELS_CHANGED = `[${OWN_LABELS}].exists(label, object.metadata.?labels[?label] != oldObject.metadata.?labels[?label])`
const CREATED_OR_SPEC_OR_OWN_METADATA_CHANGED = {
  name: 'created-or-spec-or-requester-or-own-labels-changed',
  expression: `${CREATED_OR_SPEC_CHANGED.expression} || object.${REQUESTER} != oldObject.${REQUESTER} || ${OWN_LABELS_CHANGED}`,
}

const always = { matchPolicy: 'Equivalent', admissionReviewVersions: ['v1'] }
const guards = { ...always, failurePolicy: 'Fail', timeoutSeconds: 5, sideEffects: 'None' }
const requests = { ...guards, rules: rule(GROUP, VERSION, ['CREATE', 'UPDATE'], 'accessrequests'), matchConditions: [CREATED_OR_SPEC_CHANGED] }
const pods = {
  ...always,
  failurePolicy: 'Ignore',
  timeoutSeconds: 3,
  rules: rule('', 'v1', ['CREATE'], 'pods'),
  matchConditions: [{ name: 'mounts-a-connector', expression: MOUNTS }],
  namespaceSelector: { matchExpressions: [{ key: 'kubernetes.io/metadata.name', operator: 'NotIn', values: ['kube-system', 'kube-node-lease', SYSTEM_NAMESPACE] }] },
}

await test('the mutating hooks', async (t) => {
  t.strictSame(mutating, [
    {
      ...requests,
      name: 'access-request.connectors.alauda.io',
      clientConfig: clientConfig('/mutate/access-request'),
      matchConditions: [CREATED_OR_SPEC_OR_OWN_METADATA_CHANGED],
      reinvocationPolicy: 'IfNeeded',
    },
    { ...pods, name: 'pod.connectors.alauda.io', clientConfig: clientConfig('/mutate/pod'), sideEffects: 'None', reinvocationPolicy: 'IfNeeded' },
  ])
})

await test('the validating hooks', async (t) => {
  t.strictSame(validating, [
    { ...requests, name: 'access-request.connectors.alauda.io', clientConfig: clientConfig('/validate/access-request') },
    {
      ...guards,
      name: 'access-request-status.connectors.alauda.io',
      clientConfig: clientConfig('/validate/access-request-status'),
      rules: rule(GROUP, VERSION, ['UPDATE'], 'accessrequests/status'),
      matchConditions: [{ name: 'not-the-controller', expression: NOT_THE_CONTROLLER }],
    },
    {
      ...requests,
      name: 'access-policy.connectors.alauda.io',
      clientConfig: clientConfig('/validate/access-policy'),
      rules: rule(GROUP, VERSION, ['CREATE', 'UPDATE'], 'accesspolicies'),
    },
    { ...pods, name: 'pod.connectors.alauda.io', clientConfig: clientConfig('/validate/pod'), sideEffects: 'NoneOnDryRun' },
  ])
})

const podSpecs: Record<string, { spec: object; asks: boolean }> = {
  'a Pod without volumes is none of ours': { spec: {}, asks: false },
  'nor is one with other volumes': { spec: { volumes: [{ name: 'a', emptyDir: {} }, { name: 'b', csi: { driver: 'other' } }] }, asks: false },
  'nor is one whose driver only begins like ours': { spec: { volumes: [{ name: 'b', csi: { driver: `${CSI_DRIVER}-2` } }] }, asks: false },
  'a Pod that mounts a Connector is': { spec: { volumes: [{ name: 'a', emptyDir: {} }, { name: 'b', csi: { driver: CSI_DRIVER } }] }, asks: true },
}

for (const [sentence, { spec, asks }] of Object.entries(podSpecs)) {
  await test(sentence, async (t) => {
    t.equal(evaluate(MOUNTS, { object: { spec } }), asks)
  })
}

const asks = (username: string): unknown => evaluate(NOT_THE_CONTROLLER, { request: { userInfo: { username } } })

await test('a status write of the controller never waits for the webhook, everyone else is judged', async (t) => {
  t.equal(asks('system:serviceaccount:connectors-system:access-gate-controller'), false)
  t.equal(asks('system:serviceaccount:connectors-system:access-gate-webhook'), true)
  t.equal(asks('alice'), true)
})
