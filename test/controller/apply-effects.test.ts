import { test } from 'tap'
import type { AccessRequest } from '../../src/api/access-request.ts'
import { CLEANUP_FINALIZER } from '../../src/api/names.ts'
import { applyEffects, type ApplyPorts, type Outcome } from '../../src/controller/apply-effects.ts'
import { createCaches } from '../../src/controller/caches.ts'
import { OwnWrites } from '../../src/controller/own-writes.ts'
import type { Effect, Notice } from '../../src/core/effects.ts'
import { CodedError, isCoded } from '../../src/errors.ts'
import { ACCESS_REQUESTS, ROLE_BINDINGS, ROLES } from '../../src/kube/resources.ts'
import { logLines } from '../support/log-lines.ts'
import { memoryKube, type MemoryKube } from '../support/memory-kube.ts'
import { grantOf, NOW, requestOf, snapshotOf, statusOf, type RequestOptions } from '../support/request-facts.ts'

const NAMESPACE = 'connectors-shared'
const GRANT = grantOf()
const NAME = GRANT.role.metadata.name

interface Ground {
  kube: MemoryKube
  ports: ApplyPorts
  request: AccessRequest
  apply: (...effects: Effect[]) => Promise<Outcome>
  /** Writes as `verb resource/name {body of a removal}`. */
  writes: () => string[]
  /** Every call, and where it was waited for the notices, as `verb resource`. */
  order: () => string[]
  readonly notices: Notice[]
}

/** The request is matched by the policy `ask`, and both the API server and the cache have it. */
const ground = (options: RequestOptions = {}, written: ReadonlySet<string> = new Set()): Ground => {
  const kube = memoryKube({ now: () => NOW })
  const caches = createCaches(logLines().log)
  const request = kube.put(ACCESS_REQUESTS, requestOf({ status: statusOf({}, [snapshotOf()]), ...options }))
  caches.requests.put(request)
  const ports: ApplyPorts = { reader: kube, writer: kube, caches, own: new OwnWrites(() => undefined) }
  const notices: Notice[] = []
  const told = async (): Promise<void> => {
    await Promise.resolve()
    kube.calls.push({ verb: 'emit', resource: 'told' })
  }
  return {
    kube,
    ports,
    request,
    notices,
    apply: (...effects) => applyEffects(ports, request, effects, { notify: (notice) => notices.push(notice), told, written }),
    order: () => kube.calls.map(({ verb, resource }) => `${verb} ${resource}`),
    writes: () => kube.writes().map(({ verb, resource, name, body }) => `${verb} ${resource}/${name ?? ''}${verb === 'remove' ? ` ${JSON.stringify(body)}` : ''}`),
  }
}
const outcome = (more: Partial<Outcome>): Outcome => ({ confirm: false, deleted: [], applied: [], grantErrors: new Map(), over: false, ...more })
const applyGrant: Effect = { type: 'apply-grant', grant: GRANT }
const codeOf = async (run: Promise<unknown>): Promise<string> => {
  try {
    await run
    return 'no error'
  } catch (error) {
    return isCoded(error) ? error.code : String(error)
  }
}

await test('a grant: the Role first, then the RoleBinding, both in the cache at once', async (t) => {
  const { apply, writes, ports, kube } = ground()
  t.strictSame(await apply(applyGrant), outcome({ applied: [NAME] }))
  t.strictSame(writes(), [`create roles/${NAME}`, `create rolebindings/${NAME}`])
  t.strictSame(ports.caches.roles.get(NAMESPACE, NAME), kube.all(ROLES)[0])
  t.strictSame(ports.caches.bindings.get(NAMESPACE, NAME), kube.all(ROLE_BINDINGS)[0])
  t.match(kube.all(ROLES)[0], GRANT.role)
  t.match(kube.all(ROLE_BINDINGS)[0], GRANT.binding)
})

await test('a Role that somebody else made under the name is taken over as a whole', async (t) => {
  const { apply, writes, kube } = ground()
  kube.put(ROLES, { metadata: { name: NAME, namespace: NAMESPACE, labels: { theirs: 'yes' } }, rules: [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }] })
  t.strictSame(await apply(applyGrant), outcome({ applied: [NAME] }))
  t.strictSame(writes(), [`create roles/${NAME}`, `replace roles/${NAME}`, `create rolebindings/${NAME}`])
  const [role] = kube.all(ROLES)
  t.strictSame([role?.metadata.labels, role?.metadata.ownerReferences, role?.rules], [GRANT.role.metadata.labels, GRANT.role.metadata.ownerReferences, GRANT.role.rules])
})

await test('a RoleBinding that refers to another Role is replaced, since its roleRef cannot be changed', async (t) => {
  const { apply, writes, kube } = ground()
  kube.put(ROLE_BINDINGS, { ...GRANT.binding, metadata: { ...GRANT.binding.metadata, uid: 'theirs' }, roleRef: { ...GRANT.binding.roleRef, name: 'admin' } })
  await apply(applyGrant)
  t.strictSame(writes(), [`create roles/${NAME}`, `create rolebindings/${NAME}`, `remove rolebindings/${NAME} {"uid":"theirs"}`, `create rolebindings/${NAME}`])
  t.strictSame(kube.all(ROLE_BINDINGS)[0]?.roleRef, GRANT.binding.roleRef)
})

await test('a RoleBinding with other subjects is corrected in place', async (t) => {
  const { apply, writes, kube } = ground()
  kube.put(ROLE_BINDINGS, { ...GRANT.binding, subjects: [{ kind: 'User', name: 'eve' }] })
  await apply(applyGrant)
  t.strictSame(writes(), [`create roles/${NAME}`, `create rolebindings/${NAME}`, `replace rolebindings/${NAME}`])
  t.strictSame(kube.all(ROLE_BINDINGS)[0]?.subjects, GRANT.binding.subjects)
})

const REFUSALS: Record<string, { before: (kube: MemoryKube) => void; error: string; writes: string[] }> = {
  'the Role is refused': {
    before: (kube) => kube.fail('create', ROLES, new CodedError('KUBE_FORBIDDEN', 'roles is forbidden: attempting to grant RBAC permissions not currently held')),
    error: 'roles is forbidden: attempting to grant RBAC permissions not currently held',
    writes: [`create roles/${NAME}`],
  },
  'the RoleBinding is refused': {
    before: (kube) => kube.fail('create', ROLE_BINDINGS, new CodedError('KUBE_UNAVAILABLE', 'no answer')),
    error: 'no answer',
    writes: [`create roles/${NAME}`, `create rolebindings/${NAME}`],
  },
  'a Role of the name comes and goes meanwhile': {
    before: (kube) => kube.fail('create', ROLES, new CodedError('KUBE_CONFLICT', 'exists')),
    error: `Role connectors-shared/${NAME} came and went while it was written`,
    writes: [`create roles/${NAME}`],
  },
}
for (const [name, { before, error, writes: expected }] of Object.entries(REFUSALS)) {
  await test(`a grant that cannot be written is an outcome, not a failure: ${name}`, async (t) => {
    const { apply, writes, kube } = ground()
    before(kube)
    t.strictSame(await apply(applyGrant), outcome({ grantErrors: new Map([['ask', error]]) }))
    t.strictSame(writes(), expected)
  })
}

await test('a grant that this reconcile has written before, and that is not as it was written, is an outcome', async (t) => {
  const { apply, writes } = ground({}, new Set([NAME]))
  t.strictSame(await apply(applyGrant), outcome({ grantErrors: new Map([['ask', `Role and RoleBinding ${NAME} do not stay as they are written: something changes them at once`]]) }))
  t.strictSame(writes(), [])
})

await test('a lost lease is no outcome: nothing else is tried', async (t) => {
  const { apply, writes, kube, notices } = ground()
  kube.fail('create', ROLES, new CodedError('NOT_LEADER', 'not leading'))
  t.equal(await codeOf(apply(applyGrant, { type: 'notice', notice: { type: 'Normal', reason: 'R', action: 'A', note: 'n' } })), 'NOT_LEADER')
  t.strictSame([writes(), notices], [[`create roles/${NAME}`], []])
})

await test('the grants of a policy are deleted by name, the RoleBinding first, whether a cache shows them or not', async (t) => {
  const { apply, writes } = ground()
  t.strictSame(await apply({ type: 'delete-grants', names: [NAME] }), outcome({ deleted: [NAME] }))
  t.strictSame(writes(), [`remove rolebindings/${NAME} {}`, `remove roles/${NAME} {}`])
})

await test('a finalizer that somebody put on a grant is taken off, whatever its version, and no object is made anew', async (t) => {
  const { apply, writes, kube, ports } = ground()
  const held = { finalizers: ['theirs'] }
  ports.caches.roles.put(kube.put(ROLES, { ...GRANT.role, metadata: { ...GRANT.role.metadata, ...held } }))
  ports.caches.bindings.put(kube.put(ROLE_BINDINGS, { ...GRANT.binding, metadata: { ...GRANT.binding.metadata, ...held } }))
  await apply({ type: 'delete-grants', names: [NAME] })
  t.strictSame(writes(), [`remove rolebindings/${NAME} {}`, `replace rolebindings/${NAME}`, `remove roles/${NAME} {}`, `replace roles/${NAME}`])
  const sent = kube.writes().filter(({ verb }) => verb === 'replace').map(({ body }) => body)
  t.match(sent, [{ metadata: { uid: String, finalizers: [] } }, { metadata: { uid: String, finalizers: [] } }])
  t.notMatch(sent, [{ metadata: { resourceVersion: String } }])
  t.strictSame([kube.all(ROLES), kube.all(ROLE_BINDINGS)], [[], []])
  // The caches still show them.
  await apply({ type: 'delete-grants', names: [NAME] })
  t.strictSame(writes().slice(4), [`remove rolebindings/${NAME} {}`, `remove roles/${NAME} {}`])
})

await test('under any other name goes what says that it belongs to the request, and no namesake of it', async (t) => {
  const { apply, writes, kube, ports } = ground()
  const { ownerReferences } = GRANT.role.metadata
  const stray = kube.put(ROLES, { metadata: { name: 'team', namespace: NAMESPACE, uid: 'stray', ...(ownerReferences === undefined ? {} : { ownerReferences }) }, rules: [] })
  kube.put(ROLE_BINDINGS, { ...GRANT.binding, metadata: { name: 'team', namespace: NAMESPACE } })
  ports.caches.roles.put(stray)
  for (const binding of kube.all(ROLE_BINDINGS)) ports.caches.bindings.put(binding)
  t.strictSame(await apply({ type: 'delete-grants', names: ['team'] }), outcome({ deleted: ['team'] }))
  t.strictSame(writes(), ['remove roles/team {"uid":"stray"}'])
  t.strictSame([kube.all(ROLES).length, kube.all(ROLE_BINDINGS).length], [0, 1])
})

await test('a status is written on the version that was decided on, and is in the cache at once', async (t) => {
  const { apply, request, kube, ports } = ground()
  const status = statusOf({ check: 'True/Passed ok' }, [snapshotOf()])
  t.strictSame(await apply({ type: 'write-status', status }), outcome({}))
  t.match(kube.writes(), [{ verb: 'replaceStatus', body: { metadata: { resourceVersion: request.metadata.resourceVersion }, status } }])
  t.strictSame(ports.caches.requests.get(NAMESPACE, 'prod-harbor-build-pod'), kube.all(ACCESS_REQUESTS)[0])
  t.strictSame(kube.all(ACCESS_REQUESTS)[0]?.status, status)
})

await test('a status of a request that changed meanwhile is refused, and nothing after it is done', async (t) => {
  const { apply, request, writes, kube, notices } = ground()
  kube.put(ACCESS_REQUESTS, { ...request, metadata: { ...request.metadata, labels: { a: 'b' } } })
  const notice: Notice = { type: 'Normal', reason: 'AccessGranted', action: 'Grant', note: 'before' }
  const run = apply({ type: 'notice', notice }, { type: 'write-status', status: {} }, applyGrant, { type: 'notice', notice: { ...notice, note: 'after' } })
  t.equal(await codeOf(run), 'KUBE_CONFLICT')
  t.strictSame([writes(), notices], [['replaceStatus accessrequests/prod-harbor-build-pod'], [notice]])
})

await test('the finalizer is added beside others, on the version that was decided on', async (t) => {
  const { apply, request, kube, ports } = ground({ metadata: { finalizers: ['theirs'] } })
  t.strictSame(await apply({ type: 'add-finalizer' }), outcome({}))
  t.match(kube.writes(), [{ verb: 'mergePatch', body: { metadata: { resourceVersion: request.metadata.resourceVersion, finalizers: ['theirs', CLEANUP_FINALIZER] } } }])
  t.strictSame(ports.caches.requests.get(NAMESPACE, 'prod-harbor-build-pod')?.metadata.finalizers, ['theirs', CLEANUP_FINALIZER])
})

await test('the finalizer is removed, others stay, and the request is done with', async (t) => {
  const { apply, kube } = ground({ metadata: { finalizers: ['theirs', CLEANUP_FINALIZER], deletionTimestamp: '2026-01-01T00:00:00Z' } })
  t.strictSame(await apply({ type: 'remove-finalizer' }), outcome({ over: true }))
  t.strictSame(kube.all(ACCESS_REQUESTS)[0]?.metadata.finalizers, ['theirs'])
})

await test('a request is deleted only as the one that was decided on', async (t) => {
  const { apply, request, kube, writes } = ground({ metadata: { finalizers: [] } })
  const { uid = '', resourceVersion = '' } = request.metadata
  t.strictSame(await apply({ type: 'delete-request' }), outcome({ over: true }))
  t.strictSame(writes(), [`remove accessrequests/prod-harbor-build-pod ${JSON.stringify({ uid, resourceVersion })}`])
  t.strictSame(kube.all(ACCESS_REQUESTS), [])
  const changed = ground({ metadata: { finalizers: [] } })
  changed.kube.put(ACCESS_REQUESTS, { ...changed.request, metadata: { ...changed.request.metadata, labels: { a: 'b' } } })
  t.equal(await codeOf(changed.apply({ type: 'delete-request' })), 'KUBE_CONFLICT')
  t.equal(changed.kube.all(ACCESS_REQUESTS).length, 1)
})

for (const [type, write] of [
  ['write-status', 'replaceStatus accessrequests'],
  ['remove-finalizer', 'mergePatch accessrequests'],
  ['delete-request', 'remove accessrequests'],
] as const) {
  await test(`notices are sent before what nobody decides again after it: ${type}`, async (t) => {
    const { apply, order } = ground()
    await apply(applyGrant, { type: 'notice', notice: { type: 'Normal', reason: 'R', action: 'A', note: 'n' } }, type === 'write-status' ? { type, status: {} } : { type })
    t.strictSame(order(), ['create roles', 'create rolebindings', 'emit told', write])
  })
}

await test('a revoke does not wait for its notice', async (t) => {
  const { apply, order } = ground()
  await apply({ type: 'notice', notice: { type: 'Normal', reason: 'R', action: 'A', note: 'n' } }, { type: 'delete-grants', names: [NAME] })
  t.strictSame(order(), ['remove rolebindings', 'remove roles'])
})

await test('confirm asks for facts and writes nothing', async (t) => {
  const { apply, kube } = ground()
  t.strictSame(await apply({ type: 'confirm' }), outcome({ confirm: true }))
  t.strictSame(kube.calls, [])
})
