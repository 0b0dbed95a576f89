import fc from 'fast-check'
import { test } from 'tap'
import type { AccessRequest } from '../../src/api/access-request.ts'
import { problemText } from '../../src/core/problem.ts'
import { buildRequest } from '../../src/core/request-identity.ts'
import {
  defaultRequest,
  foreignNamespaceMessage,
  IMMUTABLE_MESSAGE,
  requestProblems,
  requestUpdateProblems,
  STATUS_WRITER_MESSAGE,
  type Caller,
} from '../../src/core/request-rules.ts'

const alice: Caller = { user: 'alice', isOurs: false }
const hook: Caller = { user: 'system:serviceaccount:connectors-system:access-gate-webhook', isOurs: true }

/** The example of the seed, as a person writes it. */
const written: AccessRequest = {
  apiVersion: 'connectors.alauda.io/v1alpha1',
  kind: 'AccessRequest',
  metadata: { name: 'prod-harbor-build-pod-7x9k2', namespace: 'connectors-shared' },
  spec: {
    subject: { kind: 'ServiceAccount', name: 'builder', namespace: 'cicd' },
    connectorRef: { name: 'prod-harbor' },
    context: { objectRef: { apiVersion: 'v1', kind: 'Pod', name: 'build-pod-7x9k2', namespace: 'cicd' } },
  },
}
const labels = {
  'connectors.cpaas.io/contextObjectKind': 'Pod',
  'connectors.cpaas.io/contextObjectName': 'build-pod-7x9k2',
  'connectors.cpaas.io/contextObjectNamespace': 'cicd',
  'connectors.cpaas.io/connector': 'prod-harbor',
}
const REQUESTED_BY = 'connectors.alauda.io/requested-by'
const FINALIZER = 'connectors.alauda.io/access-cleanup'
const stored: AccessRequest = {
  ...written,
  metadata: { ...written.metadata, labels, annotations: { [REQUESTED_BY]: 'alice' }, finalizers: [FINALIZER] },
}

type Loose = Record<string, unknown>
/** A request whose spec is changed at one place; values of any type, as a caller may send them. */
const changed = (change: { subject?: Loose; connectorRef?: Loose; objectRef?: Loose; metadata?: Loose; spec?: unknown }): AccessRequest =>
  ({
    ...written,
    metadata: { ...written.metadata, ...change.metadata },
    spec:
      'spec' in change
        ? change.spec
        : {
            subject: { ...written.spec.subject, ...change.subject },
            connectorRef: { ...written.spec.connectorRef, ...change.connectorRef },
            context: { objectRef: { ...written.spec.context.objectRef, ...change.objectRef } },
          },
  }) as AccessRequest

const CREATED: Record<string, { given: AccessRequest; caller: Caller; result: AccessRequest }> = {
  'the example gets labels, the finalizer and who asked': { given: written, caller: alice, result: stored },
  'apiVersion and kind of the Pod are filled in': {
    given: changed({ spec: { ...written.spec, context: { objectRef: { name: 'build-pod-7x9k2', namespace: 'cicd' } } } }),
    caller: alice,
    result: stored,
  },
  'the RBAC group of a ServiceAccount is dropped': { given: changed({ subject: { apiGroup: 'rbac.authorization.k8s.io' } }), caller: alice, result: stored },
  'an empty group stays': {
    given: changed({ subject: { apiGroup: '' } }),
    caller: alice,
    result: { ...stored, spec: changed({ subject: { apiGroup: '' } }).spec },
  },
  'another group stays, to be refused': {
    given: changed({ subject: { apiGroup: 'apps' } }),
    caller: alice,
    result: { ...stored, spec: changed({ subject: { apiGroup: 'apps' } }).spec },
  },
  'the RBAC group of a user stays, to be refused': {
    given: changed({ subject: { kind: 'User', apiGroup: 'rbac.authorization.k8s.io' } }),
    caller: alice,
    result: { ...stored, spec: changed({ subject: { kind: 'User', apiGroup: 'rbac.authorization.k8s.io' } }).spec },
  },
  'nobody says who asked but the caller': {
    given: changed({ metadata: { annotations: { [REQUESTED_BY]: 'mallory', note: 'x' } } }),
    caller: alice,
    result: { ...stored, metadata: { ...stored.metadata, annotations: { note: 'x', [REQUESTED_BY]: 'alice' } } },
  },
  'our own service account says for whom it asks': {
    given: changed({ metadata: { annotations: { [REQUESTED_BY]: 'bob' } } }),
    caller: hook,
    result: { ...stored, metadata: { ...stored.metadata, annotations: { [REQUESTED_BY]: 'bob' } } },
  },
  'our own service account asks for itself': {
    given: written,
    caller: hook,
    result: { ...stored, metadata: { ...stored.metadata, annotations: { [REQUESTED_BY]: hook.user } } },
  },
  'labels that lie are put right, others stay': {
    given: changed({ metadata: { labels: { ...labels, 'connectors.cpaas.io/connector': 'other', mine: 'x' } } }),
    caller: alice,
    result: { ...stored, metadata: { ...stored.metadata, labels: { ...labels, mine: 'x' } } },
  },
  'finalizers of others stay': {
    given: changed({ metadata: { finalizers: ['other/one'] } }),
    caller: alice,
    result: { ...stored, metadata: { ...stored.metadata, finalizers: ['other/one', FINALIZER] } },
  },
}

for (const [name, { given, caller, result }] of Object.entries(CREATED)) {
  await test(`on create: ${name}`, async (t) => {
    const before = structuredClone(given)
    t.strictSame(defaultRequest(given, caller), result)
    t.strictSame(given, before)
  })
}

await test('a request that we build needs no defaults', async (t) => {
  const identity = { connector: { namespace: 'shared', name: 'c' }, pod: { namespace: 'cicd', name: 'p', uid: 'u' }, serviceAccount: 'builder' }
  const request = buildRequest(identity, 'alice')
  t.strictSame(defaultRequest(request, hook), request)
  t.strictSame(requestProblems(request), [])
})

const UPDATED: Record<string, { next: AccessRequest; caller: Caller; result: AccessRequest }> = {
  'nothing to put back': { next: stored, caller: alice, result: stored },
  'labels and who asked are put back': {
    next: { ...stored, metadata: { ...stored.metadata, labels: { 'connectors.cpaas.io/connector': 'other', mine: 'x' }, annotations: { [REQUESTED_BY]: 'mallory' } } },
    caller: hook,
    result: { ...stored, metadata: { ...stored.metadata, labels: { ...labels, mine: 'x' } } },
  },
  'who asked is put back when all annotations are gone': {
    next: { ...stored, metadata: { ...written.metadata, labels, finalizers: [FINALIZER] } },
    caller: alice,
    result: stored,
  },
  'the finalizer can be removed': {
    next: { ...stored, metadata: { ...stored.metadata, finalizers: [] } },
    caller: alice,
    result: { ...stored, metadata: { ...stored.metadata, finalizers: [] } },
  },
  'a changed spec stays, to be refused, and the labels are those of the stored one': {
    next: { ...stored, spec: changed({ subject: { apiGroup: 'rbac.authorization.k8s.io' }, connectorRef: { name: 'other' } }).spec },
    caller: alice,
    result: { ...stored, spec: changed({ subject: { apiGroup: 'rbac.authorization.k8s.io' }, connectorRef: { name: 'other' } }).spec },
  },
}

for (const [name, { next, caller, result }] of Object.entries(UPDATED)) {
  await test(`on update: ${name}`, async (t) => {
    t.strictSame(defaultRequest(next, caller, stored), result)
  })
}

await test('on update nobody adds who asked to a request that has none', async (t) => {
  const old = { ...stored, metadata: { ...written.metadata, labels } }
  t.strictSame(defaultRequest({ ...stored, metadata: { ...old.metadata, annotations: { [REQUESTED_BY]: 'mallory' } } }, hook, old).metadata.annotations, {})
})

const NAME_RULE = 'must be lower case letters, digits, "-" and ".", beginning and ending with a letter or digit'
const NAMESPACE_RULE = 'must be lower case letters, digits and "-", beginning and ending with a letter or digit'

const PROBLEMS: Record<string, { request: AccessRequest; problems: string[] }> = {
  'a good request': { request: stored, problems: [] },
  'the example without defaults is good too': { request: written, problems: [] },
  'its own namespace and a uid': { request: changed({ connectorRef: { namespace: 'connectors-shared' }, objectRef: { uid: 'f0e1' } }), problems: [] },
  'a user': { request: changed({ subject: { kind: 'User' } }), problems: ['spec.subject.kind: must be "ServiceAccount"; got "User"'] },
  'no kind': { request: changed({ subject: { kind: undefined } }), problems: ['spec.subject.kind: must be "ServiceAccount"; got nothing'] },
  'an empty name': { request: changed({ subject: { name: '' } }), problems: ['spec.subject.name: must not be empty'] },
  'a name that cannot be': { request: changed({ subject: { name: 'Builder' } }), problems: [`spec.subject.name: ${NAME_RULE}; got "Builder"`] },
  'a name that is a number': { request: changed({ subject: { name: 7 } }), problems: ['spec.subject.name: must be text; got 7'] },
  'a name that is too long': { request: changed({ subject: { name: 'a'.repeat(254) } }), problems: ['spec.subject.name: must be at most 253 characters long; got 254'] },
  'no namespace of the subject': { request: changed({ subject: { namespace: undefined } }), problems: ['spec.subject.namespace: is required'] },
  'a subject of another namespace than the Pod': {
    request: changed({ subject: { namespace: 'other' } }),
    problems: ['spec.subject.namespace: must be "cicd", the namespace of the Pod in spec.context.objectRef; got "other"'],
  },
  'a group': { request: changed({ subject: { apiGroup: 'apps' } }), problems: ['spec.subject.apiGroup: must be empty for a ServiceAccount; got "apps"'] },
  'no Connector': { request: changed({ connectorRef: { name: '' } }), problems: ['spec.connectorRef.name: must not be empty'] },
  'a foreign Connector': {
    request: changed({ metadata: { namespace: 'shared' }, connectorRef: { namespace: 'other' } }),
    problems: ['spec.connectorRef.namespace: must be "shared", the request\'s own namespace; got "other"'],
  },
  'an empty namespace of the Connector': {
    request: changed({ connectorRef: { namespace: '' } }),
    problems: ['spec.connectorRef.namespace: must be "connectors-shared", the request\'s own namespace; got ""'],
  },
  'a namespace of the Connector that is a list': { request: changed({ connectorRef: { namespace: [] } }), problems: ['spec.connectorRef.namespace: must be text; got a list'] },
  'another kind of object': {
    request: changed({ objectRef: { apiVersion: 'apps/v1', kind: 'Deployment' } }),
    problems: ['spec.context.objectRef.apiVersion: must be "v1"; got "apps/v1"', 'spec.context.objectRef.kind: must be "Pod"; got "Deployment"'],
  },
  'a Pod namespace that cannot be': {
    request: changed({ subject: { namespace: 'a.b' }, objectRef: { namespace: 'a.b' } }),
    problems: [`spec.subject.namespace: ${NAMESPACE_RULE}; got "a.b"`, `spec.context.objectRef.namespace: ${NAMESPACE_RULE}; got "a.b"`],
  },
  'an empty uid': { request: changed({ objectRef: { uid: '' } }), problems: ['spec.context.objectRef.uid: must not be empty; leave it out to mean the first live Pod of that name'] },
  'a uid with a space': {
    request: changed({ objectRef: { uid: 'a b' } }),
    problems: ['spec.context.objectRef.uid: must be the uid of a Pod: at most 253 characters without spaces; got "a b"'],
  },
  'a uid that is a number': { request: changed({ objectRef: { uid: 1 } }), problems: ['spec.context.objectRef.uid: must be text; got 1'] },
  'fieldPath and resourceVersion': {
    request: changed({ objectRef: { fieldPath: 'spec.containers[0]', resourceVersion: '' } }),
    problems: [
      'spec.context.objectRef.fieldPath: must be left out: a request is for a whole Pod',
      'spec.context.objectRef.resourceVersion: must be left out: a request is for a Pod, not for a version of it',
    ],
  },
  'no spec': { request: changed({ spec: undefined }), problems: ['spec: is required'] },
  'a spec that is a list': { request: changed({ spec: [] }), problems: ['spec: must be an object; got a list'] },
  'an empty spec': {
    request: changed({ spec: {} }),
    problems: ['spec.subject: is required', 'spec.connectorRef: is required', 'spec.context: is required'],
  },
  'parts of other types': {
    request: changed({ spec: { subject: 'builder', connectorRef: null, context: { objectRef: 3 } } }),
    problems: ['spec.subject: must be an object; got "builder"', 'spec.connectorRef: is required', 'spec.context.objectRef: must be an object; got 3'],
  },
  'everything at once, in the order of the fields': {
    request: changed({ subject: { kind: 'Group', name: '', namespace: 'other', apiGroup: 'x' }, connectorRef: { name: 'A', namespace: 'other' }, objectRef: { kind: 'Job', name: '' } }),
    problems: [
      'spec.subject.kind: must be "ServiceAccount"; got "Group"',
      'spec.subject.name: must not be empty',
      'spec.subject.namespace: must be "cicd", the namespace of the Pod in spec.context.objectRef; got "other"',
      'spec.subject.apiGroup: must be empty for a ServiceAccount; got "x"',
      `spec.connectorRef.name: ${NAME_RULE}; got "A"`,
      'spec.connectorRef.namespace: must be "connectors-shared", the request\'s own namespace; got "other"',
      'spec.context.objectRef.kind: must be "Pod"; got "Job"',
      'spec.context.objectRef.name: must not be empty',
    ],
  },
}

for (const [name, { request, problems }] of Object.entries(PROBLEMS)) {
  await test(`problems: ${name}`, async (t) => {
    t.strictSame(requestProblems(request).map(problemText), problems)
  })
}

await test('the sentences that other admission checks carry too', async (t) => {
  t.equal(foreignNamespaceMessage('shared', 'other'), 'must be "shared", the request\'s own namespace; got "other"')
  t.equal(IMMUTABLE_MESSAGE, 'is immutable; delete this request, and another subject, Connector or Pod gets a request of its own')
  t.equal(STATUS_WRITER_MESSAGE, 'is written by the access-gate controller alone; approve the check object that the request waits for instead')
})

const IMMUTABLE = [{ path: 'spec', message: IMMUTABLE_MESSAGE }]
const UPDATES: Record<string, { next: AccessRequest; problems: object[] }> = {
  'the same spec': { next: structuredClone(stored), problems: [] },
  'the same spec in another order': {
    next: { ...stored, spec: { context: stored.spec.context, connectorRef: stored.spec.connectorRef, subject: { namespace: 'cicd', name: 'builder', kind: 'ServiceAccount' } } },
    problems: [],
  },
  'other metadata': { next: { ...stored, metadata: { ...stored.metadata, labels: {} } }, problems: [] },
  'another Connector': { next: changed({ connectorRef: { name: 'other' } }), problems: IMMUTABLE },
  'an empty field that was not there': { next: changed({ subject: { apiGroup: '' } }), problems: IMMUTABLE },
  'a uid that was not there': { next: changed({ objectRef: { uid: 'u' } }), problems: IMMUTABLE },
  'no spec': { next: changed({ spec: undefined }), problems: IMMUTABLE },
}

for (const [name, { next, problems }] of Object.entries(UPDATES)) {
  await test(`update: ${name}`, async (t) => {
    t.strictSame(requestUpdateProblems(stored, next), problems)
  })
}

/** Any JSON in place of any part of a request. */
const anyRequest: fc.Arbitrary<AccessRequest> = fc
  .oneof(
    fc.jsonValue(),
    fc.record(
      {
        metadata: fc.oneof(fc.jsonValue(), fc.record({ namespace: fc.jsonValue(), labels: fc.jsonValue(), annotations: fc.jsonValue(), finalizers: fc.jsonValue() }, { requiredKeys: [] })),
        spec: fc.oneof(
          fc.jsonValue(),
          fc.record(
            {
              subject: fc.oneof(fc.jsonValue(), fc.record({ kind: fc.constant('ServiceAccount'), apiGroup: fc.constant('rbac.authorization.k8s.io') })),
              connectorRef: fc.oneof(fc.jsonValue(), fc.record({ name: fc.jsonValue() })),
              context: fc.oneof(fc.jsonValue(), fc.record({ objectRef: fc.oneof(fc.jsonValue(), fc.record({ name: fc.jsonValue(), namespace: fc.jsonValue() })) })),
            },
            { requiredKeys: [] },
          ),
        ),
      },
      { requiredKeys: [] },
    ),
  )
  .filter((value) => typeof value === 'object' && value !== null && !Array.isArray(value))
  .map((value) => JSON.parse(JSON.stringify(value)) as AccessRequest)

await test('problems never throw and are never empty for what is no request', async (t) => {
  fc.assert(fc.property(anyRequest, (request) => requestProblems(request).length > 0))
  t.pass('held')
})

await test('defaults are idempotent and never change their input', async (t) => {
  fc.assert(
    fc.property(anyRequest, fc.constantFrom(alice, hook), (request, caller) => {
      const before = structuredClone(request)
      const once = defaultRequest(request, caller)
      t.strictSame(defaultRequest(once, caller), once)
      t.strictSame(request, before)
    }),
    { numRuns: 200 },
  )
})

await test('defaults never touch the spec or the finalizers on update', async (t) => {
  fc.assert(
    fc.property(anyRequest, (next) => {
      const result = defaultRequest(next, alice, stored)
      t.strictSame(result.spec, next.spec)
      t.strictSame(result.metadata?.finalizers, next.metadata?.finalizers)
    }),
    { numRuns: 200 },
  )
})
