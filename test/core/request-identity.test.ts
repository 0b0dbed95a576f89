import fc from 'fast-check'
import { test } from 'tap'
import type { AccessRequest } from '../../src/api/access-request.ts'
import { isLabelValue, subdomainProblem } from '../../src/core/name-rules.ts'
import { buildRequest, contentHash, cutWithHash, isForIdentity, labelValue, requestLabels, requestName, type RequestIdentity } from '../../src/core/request-identity.ts'

const identity: RequestIdentity = {
  connector: { namespace: 'connectors-shared', name: 'prod-harbor' },
  pod: { namespace: 'cicd', name: 'build-pod-7x9k2', uid: 'f0e1d2c3' },
  serviceAccount: 'builder',
}
const withPod = (pod: Partial<RequestIdentity['pod']>): RequestIdentity => ({ ...identity, pod: { ...identity.pod, ...pod } })
const named = (connector: string, pod: string): string => requestName({ ...identity, connector: { namespace: 'shared', name: connector }, pod: { namespace: 'cicd', name: pod, uid: 'u' } })
const readable = (name: string): string => name.replace(/-[0-9a-f]{10}$/, '')

await test('a name is made of Connector, Pod and a hash, the same at any time', async (t) => {
  t.equal(requestName(identity), 'prod-harbor-build-pod-7x9k2-74d7c715ce')
  t.equal(requestName(structuredClone(identity)), requestName(identity))
})

const READABLE: Record<string, { connector: string; pod: string; name: string }> = {
  'dots stay': { connector: 'a.b', pod: 'c.d', name: 'a.b-c.d' },
  'a dash beside a dot would be no name': { connector: 'a.-b', pod: 'c-.d', name: 'a.b-c.d' },
  'capitals and other characters': { connector: 'Ä_B', pod: 'C d', name: 'b-c-d' },
  'a dot at the end of the Connector': { connector: 'a.', pod: 'b', name: 'a.b' },
  'long names are cut': { connector: 'c'.repeat(200), pod: 'p'.repeat(200), name: `${'c'.repeat(200)}-${'p'.repeat(41)}` },
  'a cut leaves no dash or dot at the end': { connector: 'c'.repeat(241), pod: 'pod', name: 'c'.repeat(241) },
}

for (const [name, { connector, pod, name: expected }] of Object.entries(READABLE)) {
  await test(`readable part of a name: ${name}`, async (t) => {
    t.equal(readable(named(connector, pod)), expected)
    t.equal(subdomainProblem(named(connector, pod)), undefined)
  })
}

const part = fc.oneof(fc.string({ unit: 'binary', maxLength: 300 }), fc.array(fc.constantFrom('a', '-', '.', 'b.-c', '/', 'Z'), { maxLength: 120 }).map((pieces) => pieces.join('')))
const identities: fc.Arbitrary<RequestIdentity> = fc.record({
  connector: fc.record({ namespace: part, name: part }),
  pod: fc.record({ namespace: part, name: part, uid: part }),
  serviceAccount: part,
})

await test('every name is a valid object name of at most 253 characters', async (t) => {
  fc.assert(fc.property(identities, (id) => subdomainProblem(requestName(id)) === undefined))
  t.pass('held')
})

const different = (left: RequestIdentity, right: RequestIdentity): boolean => JSON.stringify(left) !== JSON.stringify(right)

await test('two different identities never share a name', async (t) => {
  const few = fc.constantFrom('a', 'b', 'a-b', 'a.b', '')
  const close: fc.Arbitrary<RequestIdentity> = fc.record({
    connector: fc.record({ namespace: few, name: few }),
    pod: fc.record({ namespace: few, name: few, uid: few }),
    serviceAccount: few,
  })
  fc.assert(fc.property(close, close, (left, right) => different(left, right) === (requestName(left) !== requestName(right))), { numRuns: 1000 })
  fc.assert(fc.property(identities, identities, (left, right) => different(left, right) === (requestName(left) !== requestName(right))))
  t.pass('held')
})

await test('the hash keeps its parts apart', async (t) => {
  t.not(contentHash(['a', 'b']), contentHash(['ab', '']))
  t.not(contentHash(['a","b']), contentHash(['a', 'b']))
  t.match(contentHash([]), /^[0-9a-f]{64}$/)
})

await test('text that fits is not cut, longer text ends in a hash of all of it', async (t) => {
  t.equal(cutWithHash('short', 5), 'short')
  t.equal(cutWithHash('a'.repeat(64), 63), `${'a'.repeat(52)}-${contentHash(['a'.repeat(64)]).slice(0, 10)}`)
  t.equal(cutWithHash(`${'a'.repeat(50)}-.${'b'.repeat(50)}`, 63), `${'a'.repeat(50)}-${contentHash([`${'a'.repeat(50)}-.${'b'.repeat(50)}`]).slice(0, 10)}`)
})

await test('a label value is valid for any text, and a good one stays as it is', async (t) => {
  t.equal(labelValue('build-pod'), 'build-pod')
  t.equal(labelValue(''), '')
  t.equal(labelValue('system:admin'), `system-admin-${contentHash(['system:admin']).slice(0, 10)}`)
  t.equal(labelValue('::'), contentHash(['::']).slice(0, 10))
  fc.assert(fc.property(fc.oneof(part, fc.string({ unit: 'binary' })), (text) => isLabelValue(labelValue(text)) && (labelValue(text) === text) === isLabelValue(text)))
})

const built: AccessRequest = {
  apiVersion: 'connectors.alauda.io/v1alpha1',
  kind: 'AccessRequest',
  metadata: {
    name: requestName(identity),
    namespace: 'connectors-shared',
    labels: {
      'connectors.cpaas.io/contextObjectKind': 'Pod',
      'connectors.cpaas.io/contextObjectName': 'build-pod-7x9k2',
      'connectors.cpaas.io/contextObjectNamespace': 'cicd',
      'connectors.cpaas.io/connector': 'prod-harbor',
    },
    annotations: { 'connectors.alauda.io/requested-by': 'alice' },
    finalizers: ['connectors.alauda.io/access-cleanup'],
  },
  spec: {
    subject: { kind: 'ServiceAccount', name: 'builder', namespace: 'cicd' },
    connectorRef: { name: 'prod-harbor' },
    context: { objectRef: { apiVersion: 'v1', kind: 'Pod', name: 'build-pod-7x9k2', namespace: 'cicd', uid: 'f0e1d2c3' } },
  },
}

await test('a request that we build is complete', async (t) => {
  t.strictSame(buildRequest(identity, 'alice'), built)
})

await test('long names are cut in the labels', async (t) => {
  const labels = requestLabels(buildRequest(withPod({ name: 'p'.repeat(100) }), 'alice').spec)
  t.equal(labels['connectors.cpaas.io/contextObjectName'], `${'p'.repeat(52)}-${contentHash(['p'.repeat(100)]).slice(0, 10)}`)
})

const OTHERS: Record<string, { request: AccessRequest; is: boolean }> = {
  'the request that we build': { request: built, is: true },
  'one of another name and maker': { request: { ...built, metadata: { name: 'mine', namespace: 'connectors-shared' } }, is: true },
  'one in another namespace': { request: { ...built, metadata: { ...built.metadata, namespace: 'other' } }, is: false },
  'one for another Connector': { request: { ...built, spec: { ...built.spec, connectorRef: { name: 'other' } } }, is: false },
  'one for another ServiceAccount': { request: { ...built, spec: { ...built.spec, subject: { ...built.spec.subject, name: 'other' } } }, is: false },
  'one for a ServiceAccount of another namespace': { request: { ...built, spec: { ...built.spec, subject: { ...built.spec.subject, namespace: 'other' } } }, is: false },
  'one for a user': { request: { ...built, spec: { ...built.spec, subject: { ...built.spec.subject, kind: 'User' } } }, is: false },
  'one for a predecessor of the same name': { request: buildRequest(withPod({ uid: 'before' }), 'alice'), is: false },
  'one for a Pod of another namespace': { request: buildRequest(withPod({ namespace: 'other' }), 'alice'), is: false },
  'one for another kind': {
    request: { ...built, spec: { ...built.spec, context: { objectRef: { ...built.spec.context.objectRef, kind: 'Job' } } } },
    is: false,
  },
  'one without uid that is bound to nothing': { request: { ...built, spec: { ...built.spec, context: { objectRef: { name: 'build-pod-7x9k2', namespace: 'cicd' } } } }, is: false },
  'one without uid that was bound to this Pod': {
    request: { ...built, spec: { ...built.spec, context: { objectRef: { name: 'build-pod-7x9k2', namespace: 'cicd' } } }, status: { contextUID: 'f0e1d2c3' } },
    is: true,
  },
  'one with another uid, whatever the status says': { request: { ...buildRequest(withPod({ uid: 'before' }), 'alice'), status: { contextUID: 'f0e1d2c3' } }, is: false },
}

for (const [name, { request, is }] of Object.entries(OTHERS)) {
  await test(`for this identity or not: ${name}`, async (t) => {
    t.equal(isForIdentity(request, identity), is)
  })
}
