import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'tap'
import { parse, stringify } from 'yaml'
import { APPROVAL_CONTROLLER } from '../../hack/sandbox/approval-project.ts'
import { applySamples } from '../../hack/sandbox/manifests.ts'
import type { AccessRequest } from '../../src/api/access-request.ts'
import { ANNOTATION, API_VERSION, CLEANUP_FINALIZER } from '../../src/api/names.ts'
import { testControlPlane } from '../support/control-plane.ts'
import { eventually } from '../support/eventually.ts'
import { readingOf } from '../support/request-reading.ts'

// Everything here is done as a person does it: with kubectl and the shipped examples, in the namespaces that they name.
const cluster = testControlPlane()
await applySamples(cluster)
const seedFile = join(import.meta.dirname, '../fixtures/seed-access-request.yaml')
const example = (name: string): string => join(import.meta.dirname, '../../docs/examples', name)
const seed: AccessRequest = parse(await readFile(seedFile, 'utf8'))
const { name } = seed.metadata
const SHARED = ['-n', 'connectors-shared']
/** As kubectl tells it: 119s, then 2m and 2m5s. */
const AGE = /^(?:\d+m)?(?:\d+s)?$/
const BUILD_POD = 'connectors.cpaas.io/contextObjectName=build-pod-7x9k2'

const get = async (request = name): Promise<AccessRequest> => parse((await cluster.kubectl(['get', 'accessrequest', request, ...SHARED, '-o', 'yaml'])).stdout)
const wait = (condition: string, value: string, field = 'reason', which: string[] = [`accessrequest/${name}`]) =>
  cluster.kubectl(['wait', ...which, ...SHARED, `--for=jsonpath={.status.conditions[?(@.type=="${condition}")].${field}}=${value}`, '--timeout=60s'])
const mayUse = async (): Promise<string> => {
  const args = ['auth', 'can-i', '*', 'connectors.connectors.alauda.io/prod-harbor', '--subresource=proxy/v1/pod/cicd/build-pod-7x9k2', ...SHARED]
  return (await cluster.kubectl([...args, '--as=system:serviceaccount:cicd:builder'], { allowFailure: true })).stdout.trim()
}
const untilMayUse = (answer: string): Promise<true> =>
  eventually(`can-i answers ${answer}`, async () => ((await mayUse()) === answer ? true : undefined))
const setState = (state: string) =>
  cluster.kubectl(['patch', 'approvaltask', 'deploy-prod', '-n', 'cicd', '--subresource=status', '--type=merge', '-p', JSON.stringify({ status: { state } }), `--as=${APPROVAL_CONTROLLER}`])

await test("the seed's example applies as it is written, and is stored as it is written", async (subtest) => {
  const applied = await cluster.kubectl(['apply', '-f', seedFile])
  subtest.match(applied, { stdout: `accessrequest.connectors.alauda.io/${name} created\n`, stderr: '' })
  const { spec, metadata } = await get()
  subtest.strictSame(spec, seed.spec)
  subtest.strictSame(metadata.finalizers, [CLEANUP_FINALIZER])
  subtest.equal(metadata.annotations?.[ANNOTATION.requestedBy], 'admin')
  subtest.match(await cluster.kubectl(['apply', '-f', seedFile]), { stdout: `accessrequest.connectors.alauda.io/${name} unchanged\n` })
  subtest.equal(await readFile(example('access-request.yaml'), 'utf8'), await readFile(seedFile, 'utf8'), 'the example of the docs is the same')
})

await test('ContextObjectValid: whether the bound Pod still exists and is still active', async (subtest) => {
  await wait('ContextObjectValid', 'False', 'status')
  subtest.match(readingOf(await get()), { ContextObjectValid: 'False/NotFound', Ready: 'False/NotFound' })
  subtest.equal(await mayUse(), 'no')
  await cluster.kubectl(['apply', '-f', example('pod.yaml')])
  await wait('ContextObjectValid', 'True', 'status')
  subtest.match(readingOf(await get()), { ContextObjectValid: 'True/Active' })
})

await test('approval is still waiting: AccessCheckReady is Unknown with reason Pending', async (subtest) => {
  await cluster.kubectl(['apply', '-f', example('approval-task.yaml')])
  await setState('pending')
  await wait('AccessCheckReady', 'waiting for ApprovalTask cicd/deploy-prod', 'message')
  subtest.strictSame(readingOf(await get()), {
    ContextObjectValid: 'True/Active',
    ConnectorResolved: 'True/Resolved',
    AccessPolicyMatched: 'True/Matched',
    AccessCheckReady: 'Unknown/Pending',
    AccessPermissionSync: 'Unknown/Pending',
    Ready: 'Unknown/Pending',
  })
  subtest.equal(await mayUse(), 'no')
})

const rows = async (...args: string[]): Promise<string[][]> =>
  (await cluster.kubectl(['get', ...args])).stdout
    .trim()
    .split('\n')
    .map((line) => line.split(/\s{2,}/))

await test('access is granted and usable: Ready is True and AccessPermissionSync True with reason Synced', async (subtest) => {
  await setState('approved')
  await cluster.kubectl(['wait', `accessrequest/${name}`, ...SHARED, '--for=condition=Ready', '--timeout=60s'])
  const request = await get()
  subtest.strictSame(readingOf(request), {
    ContextObjectValid: 'True/Active',
    ConnectorResolved: 'True/Resolved',
    AccessPolicyMatched: 'True/Matched',
    AccessCheckReady: 'True/Passed',
    AccessPermissionSync: 'True/Synced',
    Ready: 'True/Synced',
  })
  await untilMayUse('yes')
  const policy: object = parse((await cluster.kubectl(['get', 'accesspolicy', 'approved-builds', ...SHARED, '-o', 'yaml'])).stdout)
  subtest.match(policy, { spec: request.status?.policies?.[0]?.policySpec }, 'the policy is recorded as it was')
  subtest.match(request.status?.policies, [
    {
      name: 'approved-builds',
      matchedChecks: [{ name: 'approval', ref: { apiVersion: 'openshift-pipelines.org/v1alpha1', kind: 'ApprovalTask', namespace: 'cicd', name: 'deploy-prod' }, condition: { status: 'True' } }],
      permissionSync: { status: 'True', reason: 'Synced' },
    },
  ])
})

await test('the columns of kubectl get', async (subtest) => {
  subtest.match(await rows('areq', name, ...SHARED), [
    ['NAME', 'CONNECTOR', 'SUBJECT', 'CONTEXTVALID', 'PERMISSION', 'READY', 'AGE'],
    [name, 'prod-harbor', 'builder', 'True', 'Synced', 'True', AGE],
  ])
  const [header, row] = await rows('areq', name, ...SHARED, '-o', 'wide')
  subtest.strictSame(header, ['NAME', 'CONNECTOR', 'SUBJECT', 'CONTEXTVALID', 'PERMISSION', 'READY', 'AGE', 'POD', 'POD NAMESPACE', 'MESSAGE'])
  subtest.match(row, [name, 'prod-harbor', 'builder', 'True', 'Synced', 'True', AGE, 'build-pod-7x9k2', 'cicd', /Role and RoleBinding .* are in place/])
  subtest.match((await rows('apol', ...SHARED))[1], ['approved-builds'])
  subtest.match((await rows('access-gate', ...SHARED)).flat(), new RegExp(`accessrequest.connectors.alauda.io/${name}|${name}`))
  const byPod = await cluster.kubectl(['get', 'areq', ...SHARED, '-l', BUILD_POD, '-o', 'name'])
  subtest.equal(byPod.stdout.trim().split('\n').length, 2, 'the one of the example and the one of the hook')
})

await test('the request of the hook was granted beside the one of the example, and both end with the Pod', async (subtest) => {
  await cluster.kubectl(['wait', 'accessrequest', '-l', BUILD_POD, ...SHARED, '--for=condition=Ready', '--timeout=60s'])
  await cluster.kubectl(['delete', '-f', example('pod.yaml')])
  await wait('AccessPermissionSync', 'PermissionCleanUp', 'reason', ['accessrequest', '-l', BUILD_POD])
  await untilMayUse('no')
  subtest.equal((await cluster.kubectl(['get', 'roles,rolebindings', ...SHARED, '-l', 'connectors.alauda.io/accessRequest', '-o', 'name'])).stdout, '')
})

await test('permission was cleaned up after runtime ended: AccessPermissionSync is True with reason PermissionCleanUp', async (subtest) => {
  subtest.strictSame(readingOf(await get()), {
    ContextObjectValid: 'False/NotFound',
    ConnectorResolved: 'True/Resolved',
    AccessPolicyMatched: 'True/Matched',
    AccessCheckReady: 'True/Passed',
    AccessPermissionSync: 'True/PermissionCleanUp',
    Ready: 'False/NotFound',
  })
})

/** The example again, with another name and this changed. */
const another = (other: string, change: (request: AccessRequest) => void): string => {
  const request: AccessRequest = { apiVersion: API_VERSION, kind: 'AccessRequest', metadata: { ...seed.metadata, name: other }, spec: structuredClone(seed.spec) }
  change(request)
  return stringify(request)
}

await test('access is rejected: AccessCheckReady is False with reason Rejected', async (subtest) => {
  await setState('rejected')
  const pod = await readFile(example('pod.yaml'), 'utf8')
  await cluster.kubectl(['apply', '-f', '-'], { input: pod })
  await cluster.kubectl(['apply', '-f', '-'], { input: another('refused', () => undefined) })
  await wait('AccessCheckReady', 'Rejected', 'reason', ['accessrequest/refused'])
  subtest.match(readingOf(await get('refused')), { AccessCheckReady: 'False/Rejected', Ready: 'False/Rejected' })
  subtest.equal(await mayUse(), 'no')
})

await test('ConnectorResolved and AccessPolicyMatched: whether the Connector exists, and a policy matched', async (subtest) => {
  const pod = (await readFile(example('pod.yaml'), 'utf8')).replace('name: build-pod-7x9k2', 'name: other-pod').replace('connectors-shared/prod-harbor', 'connectors-shared/free-harbor')
  const request = another('free', ({ spec }) => {
    spec.connectorRef.name = 'free-harbor'
    spec.context.objectRef.name = 'other-pod'
  })
  const created = await cluster.kubectl(['apply', '-f', '-'], { input: pod })
  subtest.match(created.stderr, 'Connector connectors-shared/free-harbor does not exist')
  await cluster.kubectl(['apply', '-f', '-'], { input: request })
  await wait('ConnectorResolved', 'NotFound', 'reason', ['accessrequest/free'])
  subtest.match(readingOf(await get('free')), { ContextObjectValid: 'True/Active', ConnectorResolved: 'False/NotFound', Ready: 'False/NotFound' })
  await cluster.kubectl(['apply', '-f', '-'], {
    input: stringify({ apiVersion: API_VERSION, kind: 'Connector', metadata: { name: 'free-harbor', namespace: 'connectors-shared' }, spec: { connectorClassName: 'harbor', address: 'https://free.example' } }),
  })
  await wait('AccessPolicyMatched', 'NoMatched', 'reason', ['accessrequest/free'])
  subtest.match(readingOf(await get('free')), { ConnectorResolved: 'True/Resolved', AccessPolicyMatched: 'False/NoMatched', Ready: 'False/NoMatched' })
})

const explained: Record<string, string[]> = {
  'accessrequest': ['KIND: AccessRequest', 'VERSION: v1alpha1'],
  'accessrequest.spec': ['subject <Object> -required-', 'connectorRef <Object> -required-', 'context <Object> -required-'],
  'accessrequest.spec.context.objectRef': ['uid <string>', 'Left out, the first live Pod of that name is meant.'],
  'accessrequest.status': ['conditions <[]Object>', 'policies <[]Object>', 'Written by the controller alone.'],
  'accesspolicy.spec': ['connector <Object>', 'checkGrantedPermission <Object>', 'defaultPermission <Object>'],
  'accesspolicy.spec.checkGrantedPermission.spec.checks.spec.state.cel': ['CEL over object (the check object) and context (the Pod)'],
  'connector.spec': ['address <string> -required-'],
}
for (const [path, words] of Object.entries(explained))
  await test(`kubectl explain ${path} reads well`, async (subtest) => {
    const text = (await cluster.kubectl(['explain', path])).stdout.replaceAll(/\s+/g, ' ')
    for (const word of words) subtest.ok(text.includes(word), word)
    subtest.notMatch(text, /<no description>|DESCRIPTION: <empty>/)
  })
