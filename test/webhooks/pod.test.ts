import { test } from 'tap'
import type { AccessRequest } from '../../src/api/access-request.ts'
import type { AccessQuestion } from '../../src/api/access-review.ts'
import { FLAG } from '../../src/api/names.ts'
import { formatTime } from '../../src/core/time.ts'
import { buildRequest, requestName, type RequestIdentity } from '../../src/core/request-identity.ts'
import { CodedError } from '../../src/errors.ts'
import { ACCESS_REQUESTS, CONFIG_MAPS, CONNECTORS } from '../../src/kube/resources.ts'
import { fakeTime, settle } from '../support/fake-time.ts'
import { applied, changed, harness, NOW, turnFlags, UID, type Harness, type HarnessOptions } from './harness.ts'

const MUTATE = '/mutate/pod'
const VALIDATE = '/validate/pod'
const AT_THE_MOUNT = 'the request will be made at the mount'
const GATED = 'connectors.alauda.io/gated'

const volume = (connectors: string, name = 'use'): object => ({ name, csi: { driver: 'connectors-csi', readOnly: true, volumeAttributes: { connectors } } })
const pod = (volumes: object[]): Record<string, unknown> => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'build-7x9k2', generateName: 'build-', namespace: 'cicd', uid: 'pod-1', labels: { app: 'build' } },
  spec: { serviceAccountName: 'builder', containers: [{ name: 'main', image: 'x' }], volumes },
})
const plain = pod([{ name: 'data', emptyDir: {} }])
const gated = pod([{ name: 'data', emptyDir: {} }, volume('shared/harbor')])
const asked = (object: object, more: Record<string, unknown> = {}): Record<string, unknown> => ({ namespace: 'cicd', object, ...more })

const MUTATED: Record<string, { object: Record<string, unknown>; patch?: object[] }> = {
  'a Pod without our volume': { object: plain },
  'a Pod without volumes': { object: changed(plain, 'spec.volumes', undefined) },
  'a Pod of another driver': { object: pod([{ name: 'a', csi: { driver: 'connectors-csi-2' } }]) },
  'a Pod that names a Connector': { object: gated, patch: [{ op: 'add', path: '/metadata/labels/connectors.alauda.io~1gated', value: 'true' }] },
  'one without labels': { object: changed(gated, 'metadata.labels', undefined), patch: [{ op: 'add', path: '/metadata/labels', value: { [GATED]: 'true' } }] },
  'one that says it is not gated': {
    object: changed(gated, 'metadata.labels', { [GATED]: 'false', a: 'b' }),
    patch: [{ op: 'replace', path: '/metadata/labels/connectors.alauda.io~1gated', value: 'true' }],
  },
  'one that has the label': { object: changed(gated, 'metadata.labels', { [GATED]: 'true' }) },
  'one whose volume is malformed': {
    object: pod([{ name: 'use', csi: { driver: 'connectors-csi' } }]),
    patch: [{ op: 'add', path: '/metadata/labels/connectors.alauda.io~1gated', value: 'true' }],
  },
  'one whose name is still to be generated': {
    object: changed(changed(gated, 'metadata.name', undefined), 'metadata.uid', undefined),
    patch: [{ op: 'add', path: '/metadata/labels/connectors.alauda.io~1gated', value: 'true' }],
  },
}

for (const [name, { object, patch }] of Object.entries(MUTATED)) {
  await test(`the label: ${name}`, async (t) => {
    const { ask, kube } = harness()
    const answer = await ask(MUTATE, asked(object))
    t.strictSame(answer, { uid: UID, allowed: true, ...(patch === undefined ? {} : { patchType: 'JSONPatch', patch }) })
    if (patch !== undefined) t.match(applied(object, answer), { metadata: { labels: { [GATED]: 'true' } } })
    t.strictSame(kube.calls, [])
  })
}

type Right = 'get' | 'proxy' | 'podPath'
const rightOf = ({ verb, subresource }: AccessQuestion): Right => (verb === 'get' ? 'get' : subresource === 'proxy' ? 'proxy' : 'podPath')

/** Flags on, Connectors there, and these rights for each. */
const cluster = (rights: Right[] = ['get'], options: HarnessOptions = {}, connectors: string[] = ['harbor', 'git']): Harness => {
  const made = harness(options)
  turnFlags(made.kube)
  for (const name of connectors) made.kube.put(CONNECTORS, { metadata: { name, namespace: 'shared' } })
  made.kube.allowIf((_identity, question) => rights.includes(rightOf(question)))
  return made
}

const identity = (connector = 'harbor', uid = 'pod-1'): RequestIdentity => ({
  connector: { namespace: 'shared', name: connector },
  pod: { namespace: 'cicd', name: 'build-7x9k2', uid },
  serviceAccount: 'builder',
})
const wanted = (connector = 'harbor'): AccessRequest => buildRequest(identity(connector), 'alice')
const sent = ({ kube }: Harness): unknown[] => kube.writes().map(({ verb, body }) => [verb, body])

const passed = (request: AccessRequest, cleanedUp?: number): AccessRequest => ({
  ...request,
  metadata: { ...request.metadata, labels: {} },
  status: {
    conditions: [
      { type: 'AccessCheckReady', status: 'True', reason: 'Passed', message: '', lastTransitionTime: '2026-01-01T00:00:00Z' },
      {
        type: 'AccessPermissionSync',
        status: 'True',
        reason: cleanedUp === undefined ? 'Synced' : 'PermissionCleanUp',
        message: '',
        lastTransitionTime: formatTime(cleanedUp ?? NOW),
      },
    ],
  },
})

interface Row {
  object?: Record<string, unknown>
  rights?: Right[]
  given?: (made: Harness) => void
  request?: Record<string, unknown>
  creates?: AccessRequest[]
  warnings?: (string | RegExp)[]
}

const ROWS: Record<string, Row> = {
  'lacking: a request is made': { creates: [wanted()] },
  'two Connectors lacking: a request for each': {
    object: pod([volume('shared/harbor,shared/git'), volume('shared/git', 'again')]),
    creates: [wanted(), wanted('git')],
  },
  'no ServiceAccount named: the default one': {
    object: changed(gated, 'spec.serviceAccountName', undefined),
    creates: [buildRequest({ ...identity(), serviceAccount: 'default' }, 'alice')],
  },
  'a Pod that a controller makes: the controller is who asked': {
    request: { userInfo: { username: 'system:serviceaccount:kube-system:job-controller' } },
    creates: [buildRequest(identity(), 'system:serviceaccount:kube-system:job-controller')],
  },
  'allowed for the whole Connector': { rights: ['get', 'proxy'] },
  'allowed for this Pod': { rights: ['get', 'podPath'] },
  'allowed by the grant of a predecessor of the same name: that is not its own': {
    rights: ['get', 'podPath'],
    given: ({ kube }) => kube.put(ACCESS_REQUESTS, passed(buildRequest(identity('harbor', 'pod-0'), 'alice'))),
    creates: [wanted()],
  },
  'a predecessor without uid may be this Pod or not: not its own either': {
    rights: ['get', 'podPath'],
    given: ({ kube }) =>
      kube.put(
        ACCESS_REQUESTS,
        passed({
          ...wanted(),
          metadata: { name: 'by-hand', namespace: 'shared' },
          spec: { ...wanted().spec, context: { objectRef: { kind: 'Pod', name: 'build-7x9k2', namespace: 'cicd' } } },
        }),
      ),
    creates: [wanted()],
  },
  'a predecessor that was cleaned up holds nothing': {
    rights: ['get', 'podPath'],
    given: ({ kube }) => kube.put(ACCESS_REQUESTS, passed(buildRequest(identity('harbor', 'pod-0'), 'alice'), NOW - 60_000)),
  },
  'a predecessor that was cleaned up moments ago: the API server may not know that its Role is gone': {
    rights: ['get', 'podPath'],
    given: ({ kube }) => kube.put(ACCESS_REQUESTS, passed(buildRequest(identity('harbor', 'pod-0'), 'alice'), NOW - 1_000)),
    creates: [wanted()],
  },
  'a predecessor for another Connector holds nothing of this one': {
    rights: ['get', 'podPath'],
    given: ({ kube }) => kube.put(ACCESS_REQUESTS, passed(buildRequest(identity('git', 'pod-0'), 'alice'))),
  },
  'its own request of an earlier try is no predecessor': { rights: ['get', 'podPath'], given: ({ kube }) => kube.put(ACCESS_REQUESTS, passed(wanted())) },
  'allowed for the whole Connector, whatever a predecessor holds': {
    rights: ['get', 'proxy', 'podPath'],
    given: ({ kube }) => kube.put(ACCESS_REQUESTS, passed(buildRequest(identity('harbor', 'pod-0'), 'alice'))),
  },
  'may not get the Connector': {
    rights: ['proxy', 'podPath'],
    warnings: ['the volume will not be mounted: system:serviceaccount:cicd:builder may not get Connector shared/harbor'],
  },
  'no such Connector': {
    given: ({ kube }) => kube.drop(CONNECTORS, 'shared', 'harbor'),
    warnings: ['the volume will not be mounted: Connector shared/harbor does not exist'],
  },
  'a Connector that is being deleted': {
    given: ({ kube }) => kube.put(CONNECTORS, { metadata: { name: 'harbor', namespace: 'shared', deletionTimestamp: '2026-01-01T00:00:00Z' } }),
    warnings: ['the volume will not be mounted: Connector shared/harbor does not exist'],
  },
  'a flag off': { given: ({ kube }) => turnFlags(kube, { [FLAG.approval]: 'false', [FLAG.proxyPermissions]: 'true' }) },
  'no flags': {
    given: ({ kube }) => kube.drop(CONFIG_MAPS, 'connectors-system', 'connectors-config'),
    warnings: [/^the Pod will wait at the mount of its Connectors: ConfigMap .* is missing/],
  },
  'a flag that says nothing': {
    given: ({ kube }) => turnFlags(kube, { [FLAG.approval]: 'yes', [FLAG.proxyPermissions]: 'true' }),
    warnings: [/^the Pod will wait at the mount/],
  },
  'a dry run': { request: { dryRun: true } },
  'a dry run says what the real one would': {
    given: ({ kube }) => kube.drop(CONNECTORS, 'shared', 'harbor'),
    request: { dryRun: true },
    warnings: ['the volume will not be mounted: Connector shared/harbor does not exist'],
  },
  'a malformed volume beside a good one': {
    object: pod([volume(''), volume('shared/harbor', 'good')]),
    creates: [wanted()],
    warnings: ['volume "use": connectors or connector.name is required'],
  },
  'only a malformed volume': {
    object: pod([{ name: 'use', csi: { driver: 'connectors-csi', volumeAttributes: { connectors: 'a' } } }]),
    warnings: ['volume "use": readOnly: true is required'],
  },
  'no uid yet, which no API server sends': {
    object: changed(gated, 'metadata.uid', undefined),
    warnings: ['the name or uid of the Pod is not known yet; the access requests will be made at the mount'],
  },
  'an update is not a creation': { request: { operation: 'UPDATE', oldObject: gated } },
  'the flags cannot be read': {
    given: ({ kube }) => kube.fail('get', CONFIG_MAPS, new CodedError('KUBE_UNAVAILABLE', 'away')),
    warnings: [/^the Pod will wait at the mount of its Connectors/],
  },
  'one Connector cannot be looked at: the other has its request': {
    object: pod([volume('shared/harbor,shared/git')]),
    given: ({ kube }) => kube.fail('get', CONNECTORS, new CodedError('KUBE_UNAVAILABLE', 'away')),
    creates: [wanted('git')],
    warnings: [`Connector shared/harbor could not be looked at now; ${AT_THE_MOUNT}`],
  },
  'the permission question has no answer': {
    given: ({ kube }) => kube.fail('allows', undefined, new CodedError('KUBE_UNAVAILABLE', 'away')),
    warnings: [`Connector shared/harbor could not be looked at now; ${AT_THE_MOUNT}`],
  },
  'predecessors cannot be listed': {
    rights: ['get', 'podPath'],
    given: ({ kube }) => kube.fail('list', ACCESS_REQUESTS, new CodedError('KUBE_FORBIDDEN', 'may not list')),
    warnings: [`Connector shared/harbor could not be looked at now; ${AT_THE_MOUNT}`],
  },
}

for (const [name, { object = gated, rights, given, request, creates = [], warnings = [] }] of Object.entries(ROWS)) {
  await test(name, async (t) => {
    const made = cluster(rights)
    given?.(made)
    const answer = await made.ask(VALIDATE, asked(object, request))
    t.equal(answer.allowed, true)
    t.match(answer.warnings ?? [], warnings)
    t.equal(answer.warnings?.length ?? 0, warnings.length)
    t.strictSame(
      sent(made),
      creates.map((one) => ['create', one]),
    )
    t.equal(await made.count('access_gate_requests_made_total', { result: 'created' }), creates.length)
  })
}

await test('a Pod without our volume costs nothing', async (t) => {
  const made = cluster()
  t.strictSame(await made.ask(VALIDATE, asked(plain)), { uid: UID, allowed: true })
  t.strictSame(made.kube.calls, [])
})

await test('one round of reads and one create, and a log line with the Pod, the Connector and who asked', async (t) => {
  const made = cluster()
  const release = made.kube.hold('create')
  const asking = made.ask(VALIDATE, asked(gated))
  while (made.kube.writes().length === 0) await settle()
  t.strictSame(
    made.kube.calls.map(({ verb, resource, name }) => [verb, resource, name]),
    [
      ['get', 'configmaps', 'connectors-config'],
      ['get', 'connectors', 'harbor'],
      ['allows', '', undefined],
      ['allows', '', undefined],
      ['allows', '', undefined],
      ['create', 'accessrequests', requestName(identity())],
    ],
  )
  const first = made.kube.calls.filter(({ verb }) => verb === 'allows').map(({ body }) => body)
  const subject = { user: 'system:serviceaccount:cicd:builder', groups: ['system:serviceaccounts', 'system:serviceaccounts:cicd', 'system:authenticated'] }
  const question = { group: 'connectors.alauda.io', resource: 'connectors', namespace: 'shared', name: 'harbor' }
  t.strictSame(first, [
    { identity: subject, question: { ...question, verb: 'get' } },
    { identity: subject, question: { ...question, verb: '*', subresource: 'proxy' } },
    { identity: subject, question: { ...question, verb: '*', subresource: 'proxy/v1/pod/cicd/build-7x9k2' } },
  ])
  release()
  await asking
  t.match(made.lines.lines, [
    {
      level: 'info',
      msg: 'access request made',
      accessRequest: `shared/${requestName(identity())}`,
      connector: 'shared/harbor',
      pod: { namespace: 'cicd', name: 'build-7x9k2', uid: 'pod-1' },
      requestedBy: 'alice',
    },
  ])
})

await test('all reads are asked at once, also for several Connectors', async (t) => {
  const made = cluster()
  const releases = [made.kube.hold('get'), made.kube.hold('allows')]
  const asking = made.ask(VALIDATE, asked(pod([volume('shared/harbor,shared/git')])))
  while (made.kube.calls.length < 9) await settle()
  t.equal(made.kube.calls.length, 9)
  for (const release of releases) release()
  await asking
  t.equal(made.kube.writes().length, 2)
})

await test('a request that exists is used as it is', async (t) => {
  const made = cluster()
  const stored = made.kube.put(ACCESS_REQUESTS, wanted())
  t.strictSame(await made.ask(VALIDATE, asked(gated)), { uid: UID, allowed: true })
  t.strictSame(made.kube.all(ACCESS_REQUESTS), [stored])
  t.equal(await made.count('access_gate_requests_made_total', { result: 'reused' }), 1)
  t.strictSame(made.lines.messages(), ['info access request exists already'])
})

await test('a request of the same name that speaks of another ServiceAccount is not taken for ours', async (t) => {
  const made = cluster()
  const ours = wanted()
  made.kube.put(ACCESS_REQUESTS, { ...ours, spec: { ...ours.spec, subject: { ...ours.spec.subject, name: 'somebody-else' } } })
  const answer = await made.ask(VALIDATE, asked(gated))
  t.strictSame(answer, { uid: UID, allowed: true, warnings: [`the access request for Connector shared/harbor could not be made now; ${AT_THE_MOUNT}`] })
  t.equal(await made.count('access_gate_requests_made_total', { result: 'reused' }), 0)
})

await test('a request that cannot be made leaves the others alone', async (t) => {
  const made = cluster()
  made.kube.fail('create', ACCESS_REQUESTS, new CodedError('KUBE_UNAVAILABLE', 'away'))
  const answer = await made.ask(VALIDATE, asked(pod([volume('shared/harbor,shared/git')])))
  t.strictSame(answer, { uid: UID, allowed: true, warnings: [`the access request for Connector shared/harbor could not be made now; ${AT_THE_MOUNT}`] })
  t.strictSame(
    made.kube.all(ACCESS_REQUESTS).map(({ spec }) => spec.connectorRef.name),
    ['git'],
  )
  t.equal(await made.count('access_gate_hook_failures_total', { hook: 'validate-pod', reason: 'error' }), 1)
})

const slow = (): { made: Harness; advance: (ms: number) => Promise<void>; pending: () => number } => {
  const time = fakeTime(NOW)
  return { made: cluster(['get'], { timers: time.timers, clock: time.clock }), advance: (ms) => time.advance(ms), pending: () => time.pendingTimers }
}
const LATE = `the access requests of this Pod could not be made within 2500 ms; ${AT_THE_MOUNT}`

await test('reads that hang: the Pod is admitted in time, and nothing is written afterwards', async (t) => {
  const { made, advance, pending } = slow()
  const release = made.kube.hold('allows')
  const asking = made.ask(VALIDATE, asked(pod([volume(''), volume('shared/harbor', 'good')])))
  while (made.kube.calls.length < 5) await settle()
  await advance(2_500)
  t.strictSame(await asking, { uid: UID, allowed: true, warnings: ['volume "use": connectors or connector.name is required', LATE] })
  t.equal(await made.count('access_gate_hook_failures_total', { hook: 'validate-pod', reason: 'late' }), 1)
  release()
  await settle()
  t.strictSame(made.kube.writes(), [])
  t.equal(pending(), 0)
})

await test('a write that hangs: the Pod is admitted in time, and what becomes of the write is logged', async (t) => {
  for (const error of [undefined, new CodedError('KUBE_UNAVAILABLE', 'the connection was cut')]) {
    const { made, advance } = slow()
    const release = made.kube.hold('create')
    if (error !== undefined) made.kube.fail('create', ACCESS_REQUESTS, error)
    const asking = made.ask(VALIDATE, asked(gated))
    while (made.kube.writes().length === 0) await settle()
    await advance(2_500)
    t.strictSame(await asking, { uid: UID, allowed: true, warnings: [LATE] })
    release()
    await settle()
    t.equal(made.lines.lines.length, 2)
    t.match(made.lines.messages()[1], error === undefined ? 'info access request made' : /^warn the access request .* could not be made/)
  }
})

await test('a fault of our own admits the Pod as well', async (t) => {
  const made = cluster()
  made.kube.put(ACCESS_REQUESTS, wanted())
  made.kube.fail('create', ACCESS_REQUESTS, new TypeError('a bug'))
  made.kube.drop(ACCESS_REQUESTS, 'shared', requestName(identity()))
  const answer = await made.ask(VALIDATE, asked(gated))
  t.strictSame(answer, { uid: UID, allowed: true, warnings: [`the access request for Connector shared/harbor could not be made now; ${AT_THE_MOUNT}`] })
})

const unseen = (made: Harness, count: number, namespace = 'cicd'): void => {
  for (let index = 0; index < count; index += 1) {
    made.kube.put(
      ACCESS_REQUESTS,
      buildRequest(
        { connector: { namespace: 'shared', name: 'harbor' }, pod: { namespace, name: `p${index}`, uid: `u${index}` }, serviceAccount: 'builder' },
        'bob',
      ),
    )
  }
}
const another = (index: number): Record<string, unknown> => changed(changed(gated, 'metadata.uid', `new-${index}`), 'metadata.name', `new-${index}`)
const lists = ({ kube }: Harness): number => kube.calls.filter(({ verb }) => verb === 'list').length
const admitAll = async (made: Harness, from: number, to: number): Promise<(string[] | undefined)[]> => {
  const warnings = []
  for (let index = from; index < to; index += 1) warnings.push((await made.ask(VALIDATE, asked(another(index)))).warnings)
  return warnings
}

await test('a namespace with many unseen requests gets no more of them at admission', async (t) => {
  const time = fakeTime(NOW)
  const made = cluster(['get'], { clock: time.clock })
  unseen(made, 72)
  unseen(made, 50, 'elsewhere')
  made.kube.put(ACCESS_REQUESTS, { ...wanted(), status: { contextUID: 'pod-1' } })
  await admitAll(made, 0, 25)
  t.equal(lists(made), 0, 'few requests of late: nothing is listed')
  const more = await admitAll(made, 25, 30)
  t.equal(lists(made), 1, 'one list serves for a second')
  const full = /^no request yet for Connector shared\/harbor: 100 requests of namespace cicd still wait for their Pods/
  t.match(more, [undefined, undefined, undefined, [full], [full]])
  t.equal(made.kube.writes().length, 28)
  t.match(made.kube.calls.find(({ verb }) => verb === 'list')?.body, { labelSelector: 'connectors.cpaas.io/contextObjectNamespace=cicd' })
  await time.advance(1_000)
  made.kube.put(ACCESS_REQUESTS, { ...made.kube.all(ACCESS_REQUESTS)[0]!, status: { contextUID: 'seen' } })
  t.match(await admitAll(made, 30, 32), [undefined, [full]], 'a Pod that was seen makes room for one')
  t.equal(lists(made), 2)
  await time.advance(60_000)
  t.match(await admitAll(made, 32, 33), [undefined])
  t.equal(lists(made), 2, 'after a quiet minute nothing is listed')
})

await test('Pods that are created all at once do not get past the limit either', async (t) => {
  const made = cluster()
  const answers = await Promise.all(Array.from({ length: 150 }, (_, index) => made.ask(VALIDATE, asked(another(index)))))
  t.equal(answers.filter(({ warnings }) => warnings === undefined).length, 100)
  t.equal(made.kube.all(ACCESS_REQUESTS).length, 100)
})

await test('a dry run counts for nothing, and other namespaces have a count of their own', async (t) => {
  const made = cluster()
  for (let index = 0; index < 40; index += 1) await made.ask(VALIDATE, asked(another(index), { dryRun: true }))
  for (let index = 0; index < 24; index += 1) await made.ask(VALIDATE, { namespace: `ns-${index % 2}`, object: another(index) })
  t.equal(lists(made), 0)
})

await test('a count that cannot be read leaves the request to the mount', async (t) => {
  const made = cluster()
  await admitAll(made, 0, 25)
  made.kube.fail('list', ACCESS_REQUESTS, new CodedError('KUBE_UNAVAILABLE', 'away'))
  t.match(await admitAll(made, 25, 27), [[`the access requests of this Pod could not be made; ${AT_THE_MOUNT}`], undefined])
})
