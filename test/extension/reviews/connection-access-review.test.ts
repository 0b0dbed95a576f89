import { test } from 'tap'
import { CREATED_BY, type Workspace } from '../../../src/api/workspace.ts'
import { CodedError } from '../../../src/errors.ts'
import { KubeError } from '../../../src/kube/kube-error.ts'
import { CONFIG_MAPS, WORKSPACES } from '../../../src/kube/resources.ts'
import { settle } from '../../support/fake-time.ts'
import { reviewBench, type Bench } from './harness.ts'

const CAR = 'ConnectionAccessReview'
const spec = { workspaceName: 'app', user: 'alice', groups: ['team'] }
const workspace = (name: string, given: Workspace['spec'], owner?: string): Workspace => ({
  metadata: { name, namespace: 'team', ...(owner === undefined ? {} : { annotations: { [CREATED_BY]: owner } }) },
  ...(given === undefined ? {} : { spec: given }),
})

const filled = (more?: Parameters<typeof reviewBench>[0]): Bench => {
  const bench = reviewBench(more)
  bench.kube.put(WORKSPACES, workspace('app', { accessType: 'Public' }, 'bob'))
  bench.kube.put(WORKSPACES, workspace('mine', { accessType: 'OwnerOnly' }, 'alice'))
  bench.kube.put(WORKSPACES, workspace('his', { accessType: 'OwnerOnly' }, 'bob'))
  bench.kube.put(WORKSPACES, workspace('nobodys', { accessType: 'OwnerOnly' }))
  bench.kube.put(WORKSPACES, { metadata: { name: 'elsewhere', namespace: 'other' }, spec: { accessType: 'Public' } })
  bench.kube.allowIf((_, question) => question.namespace === 'team')
  return bench
}
const READ = ['allows', 'get workspaces team app']

const ROWS: Record<string, { spec: object; status: object; verdict: string; asked?: string[] }> = {
  'a public Workspace': { spec, status: { allowed: true, notFound: false, reason: 'Valid RBAC and the subject Workspace is public' }, verdict: 'allowed' },
  'her own': { spec: { ...spec, workspaceName: 'mine' }, status: { allowed: true, notFound: false, reason: 'Valid RBAC and user is the owner of the private Workspace' }, verdict: 'allowed', asked: ['allows', 'get workspaces team mine'] },
  'his': { spec: { ...spec, workspaceName: 'his' }, status: { allowed: false, notFound: false, reason: 'User is not the owner of the private Workspace' }, verdict: 'not owner', asked: ['allows', 'get workspaces team his'] },
  'one of nobody, for a group': { spec: { workspaceName: 'nobodys', groups: ['team'] }, status: { allowed: false, notFound: false, reason: 'User is not the owner of the private Workspace' }, verdict: 'not owner', asked: ['allows', 'get workspaces team nobodys'] },
  'none': { spec: { ...spec, workspaceName: 'none' }, status: { allowed: false, notFound: true, reason: 'Workspace not found' }, verdict: 'not found', asked: ['allows', 'get workspaces team none'] },
  'one of another namespace': { spec: { ...spec, workspaceName: 'elsewhere' }, status: { allowed: false, notFound: true, reason: 'Workspace not found' }, verdict: 'not found', asked: ['allows', 'get workspaces team elsewhere'] },
}
for (const [name, { spec: given, status, verdict, asked = READ }] of Object.entries(ROWS)) {
  await test(`may a user connect: ${name}`, async (t) => {
    const bench = filled()
    const subject = 'user' in given ? { subject: 'alice' } : {}
    t.strictSame(await bench.review(CAR, given), { ok: true, status, verdict, object: `team/${Reflect.get(given, 'workspaceName')}`, ...subject })
    t.strictSame(bench.asked(), asked)
  })
}

await test('without the permission the Workspace is not looked at', async (t) => {
  const bench = filled()
  bench.kube.allowIf(() => false)
  t.strictSame(await bench.review(CAR, spec), {
    ok: true,
    status: { allowed: false, notFound: false, reason: 'RBAC permission denied' },
    verdict: 'denied',
    subject: 'alice',
    object: 'team/app',
  })
  t.strictSame(bench.asked(), ['allows'])
})

await test('RBAC is asked about the subject as it was sent, and about the permission of the namespace', async (t) => {
  const bench = filled()
  const extra = { 'eks.amazonaws.com/arn': ['arn:1', 'arn:2'], 'a/b': [] }
  await bench.review(CAR, { ...spec, groups: ['b', 'a', 'b'], uid: 'u-7', extra })
  t.strictSame(bench.kube.calls[0]?.body, {
    identity: { user: 'alice', groups: ['b', 'a', 'b'], uid: 'u-7', extra },
    question: { group: 'workspace.jupyter.org', resource: 'workspaces', subresource: 'connection', verb: 'create', namespace: 'team' },
  })
})

await test('what is asked of RBAC can be set', async (t) => {
  const bench = filled({ options: { reviewGroup: 'connection.workspace.jupyter.org', reviewResource: 'workspaceconnections', reviewAuthenticatedGroup: true } })
  await bench.review(CAR, { workspaceName: 'app', user: 'alice' })
  t.strictSame(bench.kube.calls[0]?.body, {
    identity: { user: 'alice', groups: ['system:authenticated'] },
    question: { group: 'connection.workspace.jupyter.org', resource: 'workspaceconnections', verb: 'create', namespace: 'team' },
  })
})

const FAILURES: Record<string, { error: Error; failure: object }> = {
  'the API server is away': {
    error: new KubeError('KUBE_UNAVAILABLE', 'no answer from 10.0.0.1', { status: 503, retryAfterMs: 2_500 }),
    failure: { code: 503, reason: 'ServiceUnavailable', message: 'Failed to verify access permission', details: { retryAfterSeconds: 3 }, retryAfterSeconds: 3 },
  },
  'it may not be read': { error: new CodedError('KUBE_FORBIDDEN', 'workspaces is forbidden'), failure: { code: 500, reason: 'InternalError', message: 'Failed to verify access permission' } },
  'the kind is not served': { error: new CodedError('KUBE_NOT_FOUND', 'no such kind'), failure: { code: 500, reason: 'InternalError', message: 'Failed to verify access permission' } },
}
for (const [name, { error, failure }] of Object.entries(FAILURES)) {
  await test(`no answer: ${name}`, async (t) => {
    for (const [verb, resource] of [['allows', undefined], ['get', WORKSPACES]] as const) {
      const bench = filled()
      bench.kube.fail(verb, resource, error)
      t.strictSame(await bench.review(CAR, spec), { ok: false, failure, verdict: 'error' })
      t.strictSame(bench.log.messages(), ['warn a review could not be answered: what it depends on could not be read'])
    }
  })
}

await test('a fault of our own is not taken for an answer', async (t) => {
  const bench = filled()
  bench.kube.fail('allows', undefined, new TypeError('a mistake'))
  await t.rejects(bench.review(CAR, spec), { message: 'a mistake' })
})

await test('the same question at the same moment is asked once, another one is not mistaken for it, and nothing is kept', async (t) => {
  const bench = filled()
  const release = bench.kube.hold('allows')
  const same = [bench.review(CAR, spec), bench.review(CAR, { groups: ['team'], user: 'alice', workspaceName: 'app' }), bench.review(CAR, { ...spec, extra: {} })]
  const others = [
    bench.review(CAR, { ...spec, user: 'bob' }),
    bench.review(CAR, { ...spec, groups: ['team,x'] }),
    bench.review(CAR, { ...spec, groups: ['team', 'x'] }),
    bench.review(CAR, { ...spec, uid: 'u-1' }),
    bench.review(CAR, { ...spec, extra: { a: ['b'] } }),
    bench.review(CAR, { ...spec, workspaceName: 'mine' }),
    bench.review(CAR, spec, { namespace: 'other' }),
  ]
  await settle()
  release()
  const [first, second, third] = await Promise.all(same)
  await Promise.all(others)
  t.strictSame(second, first)
  t.strictSame(third, first)
  t.equal(bench.kube.calls.filter(({ verb }) => verb === 'allows').length, 1 + others.length)
  await bench.review(CAR, spec)
  t.equal(bench.kube.calls.filter(({ verb }) => verb === 'allows').length, 2 + others.length)
})

await test('a question that is under way for long is asked anew: its answer would be as old as it is', async (t) => {
  const bench = filled()
  const release = bench.kube.hold('allows')
  const first = bench.review(CAR, spec)
  bench.time.freeze(100)
  const second = bench.review(CAR, spec)
  bench.time.stepWallClock(-3_600_000)
  const third = bench.review(CAR, spec)
  await settle()
  release()
  await Promise.all([first, second, third])
  t.equal(bench.kube.calls.filter(({ verb }) => verb === 'allows').length, 3)
})

await test('a failure is told to all who asked, and asked again by whoever comes next', async (t) => {
  const bench = filled()
  bench.kube.fail('allows', undefined, new CodedError('KUBE_UNAVAILABLE', 'away'))
  const [first, second] = await Promise.all([bench.review(CAR, spec), bench.review(CAR, spec)])
  t.equal(first.ok, false)
  t.equal(second.ok, false)
  t.equal((await bench.review(CAR, spec)).ok, true)
})

const required = (field: string): object => ({ type: 'FieldValueRequired', field, message: 'Required value' })
const invalid = (field: string, message: string): object => ({ type: 'FieldValueInvalid', field, message: `Invalid value: ${message}` })
const NO_SUBJECT = invalid('spec.user', '"": at least one of user or group must be specified')
const LONG = 'x'.repeat(2000)
const CUT = `"${'x'.repeat(80)}…"`

const PROBLEMS: Record<string, { spec: object; problems: object[] }> = {
  'nothing wrong': { spec, problems: [] },
  'a user alone': { spec: { workspaceName: 'app', user: 'alice' }, problems: [] },
  'groups alone': { spec: { workspaceName: 'app', groups: ['team'] }, problems: [] },
  'no name': { spec: { ...spec, workspaceName: '' }, problems: [required('spec.workspaceName')] },
  'neither user nor group': { spec: { workspaceName: 'app', user: '' }, problems: [NO_SUBJECT] },
  'neither user nor group, by an empty list': { spec: { workspaceName: 'app', groups: [] }, problems: [NO_SUBJECT] },
  'nothing at all': { spec: { workspaceName: '' }, problems: [required('spec.workspaceName'), NO_SUBJECT] },
  'a name that no object can have': { spec: { ...spec, workspaceName: 'A B' }, problems: [] },
  'a name that is a path': { spec: { ...spec, workspaceName: 'a/b' }, problems: [invalid('spec.workspaceName', '"a/b": may not contain \'/\'')] },
  'a name that is encoded': { spec: { ...spec, workspaceName: 'a%2fb' }, problems: [invalid('spec.workspaceName', '"a%2fb": may not contain \'%\'')] },
  'a name that leads up': { spec: { ...spec, workspaceName: '..' }, problems: [invalid('spec.workspaceName', '"..": may not be \'..\'')] },
  'a name with a line end': { spec: { ...spec, workspaceName: 'a\nb' }, problems: [invalid('spec.workspaceName', '"a\\nb": may not contain control characters')] },
  'a long name': { spec: { ...spec, workspaceName: LONG }, problems: [invalid('spec.workspaceName', `${CUT}: must be no more than 253 characters`)] },
  'a long user': { spec: { ...spec, user: LONG }, problems: [invalid('spec.user', `${CUT}: must be no more than 1024 characters`)] },
  'a long uid': { spec: { ...spec, uid: LONG }, problems: [invalid('spec.uid', `${CUT}: must be no more than 1024 characters`)] },
  'a long group': { spec: { ...spec, groups: ['a', LONG, LONG] }, problems: [invalid('spec.groups[1]', `${CUT}: must be no more than 1024 characters`)] },
  'many groups': { spec: { ...spec, groups: Array.from({ length: 2001 }, () => 'a') }, problems: [invalid('spec.groups', '2001: must have no more than 2000 items')] },
  'many keys': { spec: { ...spec, extra: Object.fromEntries(Array.from({ length: 101 }, (_, index) => [`k${index}`, []])) }, problems: [invalid('spec.extra', '101: must have no more than 100 keys')] },
  'a long key': { spec: { ...spec, extra: { [LONG]: [] } }, problems: [invalid('spec.extra', `${CUT}: must be no more than 1024 characters`)] },
  'many values': { spec: { ...spec, extra: { k: Array.from({ length: 101 }, () => 'a') } }, problems: [invalid('spec.extra["k"]', '101: must have no more than 100 items')] },
  'a long value': { spec: { ...spec, extra: { a: ['b'], k: ['a', 'x'.repeat(8193)] } }, problems: [invalid('spec.extra["k"][1]', `${CUT}: must be no more than 8192 characters`)] },
}
for (const [name, { spec: given, problems }] of Object.entries(PROBLEMS)) {
  await test(`fields: ${name}`, async (t) => t.strictSame(reviewBench().problems(CAR, given), problems))
}

await test('the spec is answered as it was sent, with a list of groups', async (t) => {
  const bench = reviewBench()
  t.strictSame(bench.echo(CAR, spec), spec)
  t.strictSame(bench.echo(CAR, { workspaceName: 'app', user: 'alice', uid: 'u', extra: { a: ['b'] } }), { workspaceName: 'app', user: 'alice', uid: 'u', extra: { a: ['b'] }, groups: [] })
})

await test('only the Workspace is read, and nothing is written', async (t) => {
  const bench = filled()
  bench.kube.put(CONFIG_MAPS, { metadata: { name: 'connectors-config', namespace: 'connectors-system' } })
  await bench.review(CAR, spec, { dryRun: true })
  t.strictSame(bench.asked(), READ)
})

await test('for whoever was permitted when last asked, the Workspace is read while the permission is asked for again', async (t) => {
  const bench = filled()
  await bench.review(CAR, spec)
  t.strictSame(bench.asked(), READ)
  const release = bench.kube.hold('allows')
  const again = bench.review(CAR, { ...spec, workspaceName: 'mine' })
  await settle()
  t.strictSame(bench.asked().slice(READ.length).toSorted(), ['allows', 'get workspaces team mine'])
  release()
  t.match(await again, { status: { allowed: true, reason: 'Valid RBAC and user is the owner of the private Workspace' } })
  t.equal(bench.asked().length, 2 * READ.length, 'and once')

  const others = [{ ...spec, user: 'bob' }, { ...spec, groups: ['other'] }, { ...spec, uid: 'u-1' }, { ...spec, extra: { a: ['b'] } }]
  for (const other of others) {
    const before = bench.asked().length
    const releaseOther = bench.kube.hold('allows')
    const first = bench.review(CAR, other)
    await settle()
    t.strictSame(bench.asked().slice(before), ['allows'], `${JSON.stringify(other)} was not asked about yet`)
    releaseOther()
    await first
  }
})

await test('a permission that was taken away counts at once, whatever becomes of the Workspace, which is then no longer read', async (t) => {
  const DENIED = { ok: true, status: { allowed: false, notFound: false, reason: 'RBAC permission denied' } }
  for (const fault of [undefined, new KubeError('KUBE_UNAVAILABLE', 'no answer from 10.0.0.1')]) {
    const bench = filled()
    await bench.review(CAR, spec)
    bench.kube.allowIf(() => false)
    const release = bench.kube.hold('get', WORKSPACES)
    if (fault !== undefined) bench.kube.fail('get', WORKSPACES, fault)
    t.match(await bench.review(CAR, spec), DENIED, 'the answer does not wait for the Workspace')
    release()
    await settle()
    const before = bench.asked().length
    t.match(await bench.review(CAR, spec), DENIED)
    t.strictSame(bench.asked().slice(before), ['allows'])
  }
})

await test('a Workspace that was read ahead and could not be is no answer to who has the permission', async (t) => {
  const bench = filled()
  await bench.review(CAR, spec)
  bench.kube.fail('get', WORKSPACES, new KubeError('KUBE_UNAVAILABLE', 'no answer from 10.0.0.1'))
  t.match(await bench.review(CAR, spec), { ok: false, verdict: 'error' })
  t.match(await bench.review(CAR, spec), { ok: true, status: { allowed: true } })
})
