import { test } from 'tap'
import { API_VERSION } from '../../src/api/names.ts'
import type { Role, RoleBinding } from '../../src/api/rbac.ts'
import { createCaches } from '../../src/controller/caches.ts'
import { sweepOrphans } from '../../src/controller/orphans.ts'
import { KubeError } from '../../src/kube/kube-error.ts'
import { ACCESS_REQUESTS, ROLE_BINDINGS, ROLES } from '../../src/kube/resources.ts'
import { logLines } from '../support/log-lines.ts'
import { memoryKube, type MemoryKube } from '../support/memory-kube.ts'
import { grantOf, requestOf } from '../support/request-facts.ts'

const NAMESPACE = 'connectors-shared'
const REQUEST = 'prod-harbor-build-pod'

const ownedBy = (...uids: string[]): { ownerReferences: NonNullable<Role['metadata']['ownerReferences']> } => ({
  ownerReferences: uids.map((uid) => ({ apiVersion: API_VERSION, kind: 'AccessRequest', name: REQUEST, uid })),
})
const roleOf = (name: string, ...uids: string[]): Role => ({ ...grantOf().role, metadata: { ...grantOf().role.metadata, name, ...ownedBy(...uids) } })
const bindingOf = (name: string, ...uids: string[]): RoleBinding => ({ ...grantOf().binding, metadata: { ...grantOf().binding.metadata, name, ...ownedBy(...uids) } })

interface Ground {
  kube: MemoryKube
  /** Calls as `verb resource/name`. */
  calls: () => string[]
  readonly counted: string[]
  sweep: (uid: string | undefined) => Promise<void>
}

const ground = (roles: readonly Role[], bindings: readonly RoleBinding[], live?: string): Ground => {
  const kube = memoryKube()
  const { log } = logLines()
  const caches = createCaches(log)
  for (const role of roles) caches.roles.put(kube.put(ROLES, role))
  for (const binding of bindings) caches.bindings.put(kube.put(ROLE_BINDINGS, binding))
  if (live !== undefined) kube.put(ACCESS_REQUESTS, requestOf({ metadata: { uid: live } }))
  const counted: string[] = []
  const ports = { reader: kube, writer: kube, events: kube, caches, logger: log, onNotice: (reason: string) => counted.push(reason) }
  return {
    kube,
    counted,
    calls: () => kube.calls.map(({ verb, resource, name }) => `${verb} ${resource}/${name ?? ''}`),
    sweep: (uid) => sweepOrphans(ports, NAMESPACE, REQUEST, uid),
  }
}

const SWEEPS: Record<string, { roles: Role[]; bindings: RoleBinding[]; cached?: string; live?: string; calls: string[] }> = {
  'nothing is there': { roles: [], bindings: [], cached: 'request-1', live: 'request-1', calls: [] },
  'all belongs to the request': { roles: [roleOf('a', 'request-1')], bindings: [bindingOf('a', 'request-1')], cached: 'request-1', live: 'request-1', calls: [] },
  'the request is gone: the RoleBinding goes first': {
    roles: [roleOf('a', 'request-1')],
    bindings: [bindingOf('a', 'request-1')],
    calls: ['get accessrequests/prod-harbor-build-pod', 'remove rolebindings/a', 'remove roles/a', 'emit /AccessRevoked'],
  },
  'the cache does not know the request yet': { roles: [roleOf('a', 'request-1')], bindings: [], live: 'request-1', calls: ['get accessrequests/prod-harbor-build-pod'] },
  'the cache knows a predecessor of the request': { roles: [roleOf('a', 'request-2')], bindings: [], cached: 'request-1', live: 'request-2', calls: ['get accessrequests/prod-harbor-build-pod'] },
  'some belongs to a predecessor': {
    roles: [roleOf('a', 'request-2'), roleOf('b', 'request-1')],
    bindings: [bindingOf('c', 'request-1')],
    cached: 'request-2',
    live: 'request-2',
    calls: ['get accessrequests/prod-harbor-build-pod', 'remove rolebindings/c', 'remove roles/b', 'emit /AccessRevoked', 'emit /AccessRevoked'],
  },
  'an object of two owners, one of them there, stays': { roles: [roleOf('a', 'request-1', 'request-2')], bindings: [], cached: 'request-2', live: 'request-2', calls: [] },
}
for (const [name, { roles, bindings, cached, live, calls }] of Object.entries(SWEEPS)) {
  await test(`the sweep of a request's name: ${name}`, async (t) => {
    const g = ground(roles, bindings, live)
    await g.sweep(cached)
    t.strictSame(g.calls(), calls)
    t.equal(g.counted.length, g.kube.events.length)
  })
}

await test('only the object that was seen is deleted, not one that has its name since', async (t) => {
  const g = ground([{ ...roleOf('a', 'gone'), metadata: { ...roleOf('a', 'gone').metadata, uid: 'seen' } }], [])
  g.kube.put(ROLES, { ...roleOf('a', 'request-1'), metadata: { ...roleOf('a', 'request-1').metadata, uid: 'newer' } })
  await t.rejects(g.sweep(undefined), { code: 'KUBE_CONFLICT' })
  t.equal(g.kube.all(ROLES).length, 1)
})

await test('nothing is deleted while the API server does not say that the request is gone', async (t) => {
  const g = ground([roleOf('a', 'gone')], [])
  g.kube.fail('get', ACCESS_REQUESTS, new KubeError('KUBE_UNAVAILABLE', 'no answer'))
  await t.rejects(g.sweep(undefined), { code: 'KUBE_UNAVAILABLE' })
  t.strictSame([g.kube.all(ROLES).length, g.counted], [1, []])
})

await test('what was deleted is told also when a later deletion fails', async (t) => {
  const g = ground([roleOf('b', 'gone')], [bindingOf('a', 'gone')])
  g.kube.fail('remove', ROLES, new KubeError('KUBE_UNAVAILABLE', 'no answer'))
  await t.rejects(g.sweep(undefined), { code: 'KUBE_UNAVAILABLE' })
  t.strictSame(g.kube.events.map(({ regarding }) => `${regarding.kind} ${regarding.name}`), ['RoleBinding a'])
})
