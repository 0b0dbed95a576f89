import { test } from 'tap'
import { CLEANUP_FINALIZER, SERVICE_ACCOUNT, serviceAccountUser, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { IMMUTABLE_MESSAGE, STATUS_WRITER_MESSAGE } from '../../src/core/request-rules.ts'
import { applied, changed, harness, UID } from './harness.ts'

const MUTATE = '/mutate/access-request'
const VALIDATE = '/validate/access-request'
const STATUS = '/validate/access-request-status'
const OURS = serviceAccountUser(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.webhook)
const CSI = serviceAccountUser(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.csi)
const CONTROLLER = serviceAccountUser(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.controller)

const { ask, kube } = harness()

const request = {
  apiVersion: 'connectors.alauda.io/v1alpha1',
  kind: 'AccessRequest',
  metadata: { name: 'harbor-build', namespace: 'shared' },
  spec: {
    subject: { kind: 'ServiceAccount', name: 'builder', namespace: 'cicd' },
    connectorRef: { name: 'harbor' },
    context: { objectRef: { apiVersion: 'v1', kind: 'Pod', name: 'build', namespace: 'cicd' } },
  },
}

const LABELS = {
  'connectors.cpaas.io/contextObjectKind': 'Pod',
  'connectors.cpaas.io/contextObjectName': 'build',
  'connectors.cpaas.io/contextObjectNamespace': 'cicd',
  'connectors.cpaas.io/connector': 'harbor',
}
const REQUESTED_BY = 'connectors.alauda.io/requested-by'
const complete = {
  ...request,
  metadata: { ...request.metadata, labels: LABELS, annotations: { [REQUESTED_BY]: 'alice' }, finalizers: [CLEANUP_FINALIZER] },
}

const DEFAULTED: Record<string, { object: object; user?: string; result: object }> = {
  'a bare one gets labels, the finalizer and who asked': { object: request, result: complete },
  'the Pod may be named without its kind': {
    object: changed(changed(request, 'spec.context.objectRef.kind', undefined), 'spec.context.objectRef.apiVersion', undefined),
    result: complete,
  },
  'the group that people write for a ServiceAccount is taken out': {
    object: changed(request, 'spec.subject.apiGroup', 'rbac.authorization.k8s.io'),
    result: complete,
  },
  'labels, annotations and finalizers of others stay': {
    object: { ...request, metadata: { ...request.metadata, labels: { team: 'a' }, annotations: { note: 'b/~' }, finalizers: ['example.com/x'] } },
    result: {
      ...request,
      metadata: {
        ...request.metadata,
        labels: { team: 'a', ...LABELS },
        annotations: { note: 'b/~', [REQUESTED_BY]: 'alice' },
        finalizers: ['example.com/x', CLEANUP_FINALIZER],
      },
    },
  },
  'nobody speaks for another user': {
    object: { ...complete, metadata: { ...complete.metadata, annotations: { [REQUESTED_BY]: 'the boss' } } },
    result: complete,
  },
  'our webhook does': { object: complete, user: OURS, result: complete },
  'our CSI plugin does': { object: complete, user: CSI, result: complete },
  'without a word for whom, they speak for themselves': {
    object: request,
    user: CSI,
    result: { ...complete, metadata: { ...complete.metadata, annotations: { [REQUESTED_BY]: CSI } } },
  },
  'a name that is still to be generated': {
    object: { ...request, metadata: { generateName: 'harbor-', namespace: 'shared' } },
    result: { ...complete, metadata: { ...changed(complete.metadata, 'name', undefined), generateName: 'harbor-' } },
  },
  'a wrong spec is completed as far as it goes': {
    object: { ...request, spec: { connectorRef: { name: 'harbor' } } },
    result: {
      ...complete,
      spec: { connectorRef: { name: 'harbor' } },
      metadata: { ...complete.metadata, labels: { 'connectors.cpaas.io/contextObjectKind': 'Pod', 'connectors.cpaas.io/connector': 'harbor' } },
    },
  },
}

for (const [name, { object, user = 'alice', result }] of Object.entries(DEFAULTED)) {
  await test(`defaults on CREATE: ${name}`, async (t) => {
    const answer = await ask(MUTATE, { object, userInfo: { username: user } })
    t.equal(answer.allowed, true)
    t.same(applied(object, answer), result)
  })
}

await test('a patch is made of what differs, and no difference is no patch', async (t) => {
  t.strictSame(await ask(MUTATE, { object: changed(complete, 'spec.subject.apiGroup', 'rbac.authorization.k8s.io') }), {
    uid: UID,
    allowed: true,
    patchType: 'JSONPatch',
    patch: [{ op: 'remove', path: '/spec/subject/apiGroup' }],
  })
  t.strictSame(await ask(MUTATE, { object: complete }), { uid: UID, allowed: true })
})

await test('an update puts labels and who asked back, and never the finalizer', async (t) => {
  const bare = { ...complete, metadata: { ...request.metadata, annotations: { [REQUESTED_BY]: 'mallory' } } }
  const answer = await ask(MUTATE, { operation: 'UPDATE', object: bare, oldObject: complete })
  t.same(applied(bare, answer), { ...complete, metadata: changed(complete.metadata, 'finalizers', undefined) })
  const unchanged = { ...complete, metadata: changed(complete.metadata, 'finalizers', undefined) }
  t.strictSame(await ask(MUTATE, { operation: 'UPDATE', object: unchanged, oldObject: complete }), { uid: UID, allowed: true })
})

await test('DELETE is nobody here', async (t) => {
  for (const path of [MUTATE, VALIDATE]) t.strictSame(await ask(path, { operation: 'DELETE', oldObject: complete }), { uid: UID, allowed: true })
})

const WRONG: Record<string, { object: object; problems: string[] }> = {
  'a Connector elsewhere': {
    object: changed(complete, 'spec.connectorRef.namespace', 'other'),
    problems: [`spec.connectorRef.namespace: must be "shared", the request's own namespace; got "other"`],
  },
  'a subject that is no ServiceAccount': {
    object: changed(complete, 'spec.subject.kind', 'User'),
    problems: ['spec.subject.kind: must be "ServiceAccount"; got "User"'],
  },
  'a ServiceAccount that is not of the Pod': {
    object: changed(complete, 'spec.subject.namespace', 'shared'),
    problems: ['spec.subject.namespace: must be "cicd", the namespace of the Pod in spec.context.objectRef; got "shared"'],
  },
  'a context that is no Pod': {
    object: changed(complete, 'spec.context.objectRef.kind', 'Deployment'),
    problems: ['spec.context.objectRef.kind: must be "Pod"; got "Deployment"'],
  },
  'no spec': { object: changed(complete, 'spec', undefined), problems: ['spec: is required'] },
  'a spec that is a text': { object: changed(complete, 'spec', 'x'), problems: ['spec: must be an object; got "x"'] },
  'several at once, in the order of the fields': {
    object: {
      ...complete,
      spec: {
        subject: { kind: 'Group', name: 'builder', namespace: 'cicd' },
        connectorRef: { name: '' },
        context: { objectRef: { ...request.spec.context.objectRef, fieldPath: 'x' } },
      },
    },
    problems: [
      'spec.subject.kind: must be "ServiceAccount"; got "Group"',
      'spec.connectorRef.name: must not be empty',
      'spec.context.objectRef.fieldPath: must be left out: a request is for a whole Pod',
    ],
  },
}

for (const [name, { object, problems }] of Object.entries(WRONG)) {
  await test(`refused on CREATE: ${name}`, async (t) => {
    const answer = await ask(VALIDATE, { name: 'harbor-build', object })
    t.strictSame(answer, {
      uid: UID,
      allowed: false,
      status: {
        status: 'Failure',
        code: 422,
        reason: 'Invalid',
        message: problems.join('; '),
        details: {
          group: 'connectors.alauda.io',
          kind: 'AccessRequest',
          name: 'harbor-build',
          causes: problems.map((problem) => {
            const [field = '', ...message] = problem.split(': ')
            return { reason: 'FieldValueInvalid', message: message.join(': '), field }
          }),
        },
      },
    })
  })
}

await test('a good one passes, also where its namespace is known by the call alone', async (t) => {
  t.strictSame(await ask(VALIDATE, { object: complete }), { uid: UID, allowed: true })
  const homeless = changed(changed(complete, 'metadata.namespace', undefined), 'spec.connectorRef.namespace', 'shared')
  t.strictSame(await ask(VALIDATE, { object: homeless }), { uid: UID, allowed: true })
  t.strictSame(
    (await ask(VALIDATE, { object: homeless, namespace: 'other' })).status?.message,
    `spec.connectorRef.namespace: must be "other", the request's own namespace; got "shared"`,
  )
})

const UPDATES: Record<string, { object: object; oldObject?: object; message?: string }> = {
  'metadata may change': { object: { ...complete, metadata: { ...request.metadata } } },
  'a request that an older rule let in can lose its finalizer': {
    oldObject: changed(complete, 'spec.subject.kind', 'User'),
    object: { ...changed(complete, 'spec.subject.kind', 'User'), metadata: request.metadata },
  },
  'another subject': { object: changed(complete, 'spec.subject.name', 'root'), message: `spec: ${IMMUTABLE_MESSAGE}` },
  'a field more': { object: changed(complete, 'spec.context.objectRef.uid', 'u'), message: `spec: ${IMMUTABLE_MESSAGE}` },
  'a field less': {
    object: changed(complete, 'spec.subject.namespace', undefined),
    message: `spec: ${IMMUTABLE_MESSAGE}; spec.subject.namespace: is required`,
  },
  'a spec that was removed': { object: changed(complete, 'spec', undefined), message: `spec: ${IMMUTABLE_MESSAGE}; spec: is required` },
}

for (const [name, { object, oldObject = complete, message }] of Object.entries(UPDATES)) {
  await test(`UPDATE: ${name}`, async (t) => {
    const answer = await ask(VALIDATE, { operation: 'UPDATE', object, oldObject })
    t.equal(answer.allowed, message === undefined)
    t.equal(answer.status?.message, message)
  })
}

await test('status is the word of the controller alone', async (t) => {
  const update = {
    operation: 'UPDATE',
    object: complete,
    oldObject: complete,
    resource: { group: 'connectors.alauda.io', version: 'v1alpha1', resource: 'accessrequests' },
    subResource: 'status',
  }
  t.strictSame(await ask(STATUS, { ...update, userInfo: { username: CONTROLLER } }), { uid: UID, allowed: true })
  for (const username of [OURS, CSI, 'alice', 'kubernetes-admin', '', serviceAccountUser('other', SERVICE_ACCOUNT.controller), `${CONTROLLER} `]) {
    t.strictSame(await ask(STATUS, { ...update, userInfo: { username } }), {
      uid: UID,
      allowed: false,
      status: { status: 'Failure', code: 403, reason: 'Forbidden', message: `status: ${STATUS_WRITER_MESSAGE}` },
    })
  }
})

await test('none of this reads or writes anything', async (t) => {
  t.strictSame(kube.calls, [])
})
