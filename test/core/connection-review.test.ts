import fc from 'fast-check'
import { test } from 'tap'
import { CREATED_BY, type Workspace } from '../../src/api/workspace.ts'
import { connectionQuestion, decideConnection, isOwner, isPublic, reviewedGroups, type ConnectionFacts } from '../../src/core/connection-review.ts'

const workspace = (spec: Workspace['spec'], owner?: string): Workspace => ({
  metadata: { name: 'alice-workspace', namespace: 'team-alice', ...(owner === undefined ? {} : { annotations: { [CREATED_BY]: owner } }) },
  ...(spec === undefined ? {} : { spec }),
})

await test('the permission is asked for in the words of the roles of the cluster', async (t) => {
  const asked = { group: 'workspace.jupyter.org', verb: 'create', namespace: 'team-alice' }
  t.strictSame(connectionQuestion({ reviewGroup: 'workspace.jupyter.org', reviewResource: 'workspaces/connection' }, 'team-alice'), { ...asked, resource: 'workspaces', subresource: 'connection' })
  t.strictSame(connectionQuestion({ reviewGroup: 'connection.workspace.jupyter.org', reviewResource: 'workspaceconnections' }, 'team-alice'), {
    ...asked,
    group: 'connection.workspace.jupyter.org',
    resource: 'workspaceconnections',
  })
})

await test('groups are asked about as they were sent, unless everybody counts as signed in', async (t) => {
  t.strictSame(reviewedGroups(['b', 'a', 'b'], false), ['b', 'a', 'b'])
  t.strictSame(reviewedGroups(['b', 'a', 'b'], true), ['b', 'a', 'b', 'system:authenticated'])
  t.strictSame(reviewedGroups(['system:authenticated', 'a'], true), ['system:authenticated', 'a'])
})

const ACCESS: Record<string, { spec: Workspace['spec']; isPublic: boolean }> = {
  'Public': { spec: { accessType: 'Public' }, isPublic: true },
  'OwnerOnly': { spec: { accessType: 'OwnerOnly' }, isPublic: false },
  'Private, which no schema allows': { spec: { accessType: 'Private' }, isPublic: false },
  'a word of another case': { spec: { accessType: 'public' }, isPublic: false },
  'anything else': { spec: { accessType: 'constructor' }, isPublic: false },
  'left out, and no ownership': { spec: {}, isPublic: true },
  'no spec at all': { spec: undefined, isPublic: true },
  'left out, owned by one': { spec: { ownershipType: 'OwnerOnly' }, isPublic: false },
  'left out, owned by all': { spec: { ownershipType: 'Public' }, isPublic: true },
  'empty, owned by one': { spec: { accessType: '', ownershipType: 'OwnerOnly' }, isPublic: false },
  'both empty': { spec: { accessType: '', ownershipType: '' }, isPublic: true },
  'public, owned by one': { spec: { accessType: 'Public', ownershipType: 'OwnerOnly' }, isPublic: true },
  'private, owned by all': { spec: { accessType: 'OwnerOnly', ownershipType: 'Public' }, isPublic: false },
  'left out, owned in an unknown way': { spec: { ownershipType: 'Team' }, isPublic: false },
}
for (const [name, { spec, isPublic: expected }] of Object.entries(ACCESS)) {
  await test(`access type: ${name}`, async (t) => t.equal(isPublic(workspace(spec)), expected))
}

const OWNERS: Record<string, { owner: string | undefined; user: string; owns: boolean }> = {
  'the same name': { owner: 'alice', user: 'alice', owns: true },
  'another name': { owner: 'alice', user: 'bob', owns: false },
  'another case': { owner: 'alice', user: 'Alice', owns: false },
  'a part of it': { owner: 'alice', user: 'alic', owns: false },
  'no owner': { owner: undefined, user: 'alice', owns: false },
  'an empty owner': { owner: '', user: 'alice', owns: false },
  'no user and no owner': { owner: undefined, user: '', owns: false },
  'no user and an empty owner': { owner: '', user: '', owns: false },
  'no user': { owner: 'alice', user: '', owns: false },
  'a name that is escaped in the annotation': { owner: 'a\\u0026b', user: 'a&b', owns: true },
  'a name that is not escaped in the annotation': { owner: 'a&b', user: 'a&b', owns: true },
  'brackets, escaped': { owner: '\\u003ca\\u003e', user: '<a>', owns: true },
  'a backslash, escaped': { owner: 'corp\\\\alice', user: 'corp\\alice', owns: true },
  'a quote, escaped': { owner: '\\"alice\\"', user: '"alice"', owns: true },
  'a line separator, escaped': { owner: 'a\\u2028b', user: 'a\u2028b', owns: true },
  'an escape that stands for another name': { owner: 'a\\u0026b', user: 'a\\u0026c', owns: false },
}
for (const [name, { owner, user, owns }] of Object.entries(OWNERS)) {
  await test(`owner: ${name}`, async (t) => t.equal(isOwner(workspace({}, owner), user), owns))
}

const found = (spec: Workspace['spec'], owner?: string): Pick<ConnectionFacts, 'workspace'> => ({ workspace: workspace(spec, owner) })
const OWNER_ONLY = { accessType: 'OwnerOnly' }
const CASES: Record<string, { facts: ConnectionFacts; outcome: string; allowed: boolean; notFound: boolean; reason: string }> = {
  'no permission': { facts: { hasPermission: false, workspace: undefined, user: 'alice' }, outcome: 'denied', allowed: false, notFound: false, reason: 'RBAC permission denied' },
  'no permission, though the Workspace is public': { facts: { hasPermission: false, ...found({ accessType: 'Public' }), user: 'alice' }, outcome: 'denied', allowed: false, notFound: false, reason: 'RBAC permission denied' },
  'no permission, though it is hers': { facts: { hasPermission: false, ...found(OWNER_ONLY, 'alice'), user: 'alice' }, outcome: 'denied', allowed: false, notFound: false, reason: 'RBAC permission denied' },
  'no Workspace': { facts: { hasPermission: true, workspace: undefined, user: 'alice' }, outcome: 'not found', allowed: false, notFound: true, reason: 'Workspace not found' },
  'private, of somebody else': { facts: { hasPermission: true, ...found(OWNER_ONLY, 'bob'), user: 'alice' }, outcome: 'not owner', allowed: false, notFound: false, reason: 'User is not the owner of the private Workspace' },
  'private, of nobody': { facts: { hasPermission: true, ...found(OWNER_ONLY), user: 'alice' }, outcome: 'not owner', allowed: false, notFound: false, reason: 'User is not the owner of the private Workspace' },
  'private, of nobody, asked for a group': { facts: { hasPermission: true, ...found(OWNER_ONLY), user: '' }, outcome: 'not owner', allowed: false, notFound: false, reason: 'User is not the owner of the private Workspace' },
  'private, hers': { facts: { hasPermission: true, ...found(OWNER_ONLY, 'alice'), user: 'alice' }, outcome: 'allowed', allowed: true, notFound: false, reason: 'Valid RBAC and user is the owner of the private Workspace' },
  'public': { facts: { hasPermission: true, ...found({ accessType: 'Public' }, 'bob'), user: 'alice' }, outcome: 'allowed', allowed: true, notFound: false, reason: 'Valid RBAC and the subject Workspace is public' },
  'public, of nobody, asked for a group': { facts: { hasPermission: true, ...found({ accessType: 'Public' }), user: '' }, outcome: 'allowed', allowed: true, notFound: false, reason: 'Valid RBAC and the subject Workspace is public' },
}
for (const [name, { facts, outcome, ...status }] of Object.entries(CASES)) {
  await test(`may connect: ${name}`, async (t) => {
    const { allowed, notFound, reason } = status
    const answer = { outcome, status: { allowed, notFound, reason } }
    t.strictSame(decideConnection(facts), allowed ? { ...answer, workspace: facts.workspace } : answer)
  })
}

const texts = fc.constantFrom('', 'alice', 'bob', 'a&b', 'a\\u0026b', '<', '\\', '"', '__proto__')
const types = fc.option(fc.constantFrom('', 'Public', 'OwnerOnly', 'Private', 'toString'), { nil: undefined })
const anyFacts = fc.record({
  hasPermission: fc.boolean(),
  user: texts,
  workspace: fc.option(
    fc.record({ owner: fc.option(texts, { nil: undefined }), accessType: types, ownershipType: types }).map(({ owner, accessType, ownershipType }) => {
      const spec = { ...(accessType === undefined ? {} : { accessType }), ...(ownershipType === undefined ? {} : { ownershipType }) }
      return workspace(spec, owner)
    }),
    { nil: undefined },
  ),
})

await test('whatever the facts: a yes needs the permission and a Workspace, and a private one an owner with a name', async (t) => {
  fc.assert(
    fc.property(anyFacts, (facts) => {
      const { status, outcome } = decideConnection(facts)
      if (status.allowed !== (outcome === 'allowed')) return false
      if (status.notFound && (status.allowed || !facts.hasPermission)) return false
      if (!status.allowed) return true
      if (!facts.hasPermission || facts.workspace === undefined) return false
      const owner = facts.workspace.metadata.annotations?.[CREATED_BY] ?? ''
      return isPublic(facts.workspace) || (facts.user !== '' && owner !== '')
    }),
    { numRuns: 2000 },
  )
  t.pass()
})
