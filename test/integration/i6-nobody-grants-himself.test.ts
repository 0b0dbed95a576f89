import { t, test } from 'tap'
import { stringify } from 'yaml'
import type { AccessRequest } from '../../src/api/access-request.ts'
import { ANNOTATION, API_VERSION, GRANT_PREFIX, GROUP, LABEL, SERVICE_ACCOUNT, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import type { PolicyRule } from '../../src/api/rbac.ts'
import { grantName } from '../../src/core/grant.ts'
import { STATUS_WRITER_MESSAGE } from '../../src/core/request-rules.ts'
import { ACCESS_REQUESTS, CONFIG_MAPS, ROLES } from '../../src/kube/resources.ts'
import { testControlPlane } from '../support/control-plane.ts'
import { untilTrue } from '../support/eventually.ts'
import { BUILDER, checkedPolicy, gatedVolume, gatedWorld, grantedPod, SERVICE_ACCOUNTS } from '../support/gated-world.ts'
import { watchGrants } from '../support/grant-log.ts'
import { READS, untilReads } from '../support/request-reading.ts'

const cluster = testControlPlane()
const world = await gatedWorld(t, cluster)
const { kube, shared, work } = world
await world.connector('harbor')
const grants = await watchGrants(kube, shared)

/** Holds every right on requests and their status in all of the cluster, and none besides. */
const MALLORY = `mallory-${shared}`
const asMallory = ['--as', MALLORY, '-n', shared]
await cluster.kubectl(['apply', '-f', '-'], {
  input: [
    {
      kind: 'ClusterRole',
      metadata: { name: MALLORY },
      rules: [{ apiGroups: [GROUP], resources: ['accessrequests', 'accessrequests/status', 'accessrequests/finalizers'], verbs: ['*'] }],
    },
    {
      kind: 'ClusterRoleBinding',
      metadata: { name: MALLORY },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: MALLORY },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: MALLORY }],
    },
  ]
    .map((object) => stringify({ apiVersion: 'rbac.authorization.k8s.io/v1', ...object }))
    .join('---\n'),
})
t.teardown(() => cluster.kubectl(['delete', 'clusterrole,clusterrolebinding', MALLORY]))
await untilTrue(`${MALLORY} has her rights`, async () => (await world.kubectl(['auth', 'can-i', 'update', 'accessrequests', '--subresource=status', ...asMallory])).code === 0)

const passed = { type: 'AccessCheckReady', status: 'True', reason: 'Passed', message: 'forged', lastTransitionTime: '2026-01-01T00:00:00Z' }
const at = (name: string): { namespace: string; name: string } => ({ namespace: shared, name })

const request = (name: string, pod: string, more: { metadata?: object; subject?: object; connector?: string } = {}): string =>
  stringify({
    apiVersion: API_VERSION,
    kind: 'AccessRequest',
    metadata: { name, ...more.metadata },
    spec: {
      subject: { kind: 'ServiceAccount', name: BUILDER, namespace: work, ...more.subject },
      connectorRef: { name: more.connector ?? 'harbor' },
      context: { objectRef: { name: pod, namespace: work } },
    },
  })

await test('I6 nobody but the controller writes a status, whatever rights he has', async (subtest) => {
  const pod = await world.pod('victim', ['harbor'])
  const { metadata } = await world.requestOf(pod)
  await untilReads(kube, at(metadata.name), { reads: READS.waiting })
  const patch = ['patch', 'accessrequest', metadata.name, '--subresource=status']
  const forged = JSON.stringify({ status: { conditions: [passed] } })
  const whole = stringify({ apiVersion: API_VERSION, kind: 'AccessRequest', metadata: { name: metadata.name, namespace: shared }, status: { conditions: [passed] } })
  const { resourceVersion: _whatever, ...live } = (await kube.get(ACCESS_REQUESTS, shared, metadata.name))?.metadata ?? metadata
  const current = stringify({ ...(await kube.get(ACCESS_REQUESTS, shared, metadata.name)), metadata: live, status: { conditions: [passed] } })
  const ways: Record<string, Promise<{ code: number; stderr: string }>> = {
    'merge patch': world.kubectl([...patch, '--type=merge', '-p', forged, ...asMallory]),
    'JSON patch': world.kubectl([...patch, '--type=json', '-p', JSON.stringify([{ op: 'replace', path: '/status', value: { conditions: [passed] } }]), ...asMallory]),
    'replace': world.kubectl(['replace', '--subresource=status', '-f', '-', ...asMallory], { input: current }),
    'server-side apply': world.kubectl(['apply', '--server-side', '--force-conflicts', '--subresource=status', '-f', '-', ...asMallory], { input: whole }),
    'the administrator': world.kubectl([...patch, '--type=merge', '-p', forged, '-n', shared]),
    'the webhook': world.kubectl([...patch, '--type=merge', '-p', forged, '-n', shared, `--as=system:serviceaccount:${SYSTEM_NAMESPACE}:${SERVICE_ACCOUNT.webhook}`]),
  }
  for (const [way, attempt] of Object.entries(ways)) {
    const { code, stderr } = await attempt
    subtest.equal(code, 1, way)
    // RBAC answers the webhook's account before anyone else does.
    subtest.match(stderr, way === 'the webhook' ? 'resource "accessrequests/status" in API group' : `status: ${STATUS_WRITER_MESSAGE}`, way)
  }
  // By way of the object itself a status is dropped.
  subtest.equal((await world.kubectl(['replace', '-f', '-', ...asMallory], { input: current })).code, 0)
  subtest.notMatch(JSON.stringify((await kube.get(ACCESS_REQUESTS, shared, metadata.name))?.status), /forged/)
})

/** A good rule of a template, but for what is different. */
const rule = (more: Partial<PolicyRule> = {}): PolicyRule => ({
  apiGroups: [GROUP],
  resources: ['connectors/proxy/v1/pod/{.object.metadata.namespace}/{.object.metadata.name}'],
  verbs: ['*'],
  ...more,
})

await test('I6 a template that grants anything else than the path of the Pod is refused, and no Role is made', async (subtest) => {
  const templates: Record<string, { rules: PolicyRule[]; why: string }> = {
    'secrets': { rules: [rule({ apiGroups: [''], resources: ['secrets'] })], why: 'apiGroups' },
    'a good rule and a bad one': { rules: [rule(), rule({ resources: ['connectors'] })], why: 'connectors' },
    'everything': { rules: [rule({ resources: ['*'] })], why: '"*"' },
    'the whole proxy, without the annotation that allows it': { rules: [rule({ resources: ['connectors/proxy'] })], why: ANNOTATION.unbound },
    'another Pod': { rules: [rule({ resources: [`connectors/proxy/v1/pod/${work}/another`] })], why: 'another' },
    'a path that the Pod itself writes': { rules: [rule({ resources: ['connectors/proxy/v1/pod/{.object.metadata.annotations.path}'] })], why: 'elsewhere/another' },
    'a Connector of its own choice': { rules: [rule({ resourceNames: ['another'] })], why: 'resourceNames' },
    'paths that are no resources': { rules: [{ nonResourceURLs: ['/*'], verbs: ['get'] }], why: 'nonResourceURLs' },
  }
  await Promise.all(
    Object.entries(templates).map(async ([title, { rules, why }], index) => {
      const name = `${shared}-rules-${index}`
      await world.create(CONFIG_MAPS, { metadata: { name, namespace: SYSTEM_NAMESPACE }, data: { rules: stringify(rules) } })
      await world.connector(name, checkedPolicy([name], undefined, name))
      await world.task(name, 'approved')
      const pod = await world.pod(name, [name], { metadata: { annotations: { path: 'elsewhere/another' } } })
      const { metadata } = await world.requestOf(pod)
      const reads = { AccessCheckReady: 'True/Passed', AccessPermissionSync: 'False/SyncFailed', Ready: 'False/SyncFailed' } as const
      const refused = await untilReads(kube, at(metadata.name), { reads, says: { AccessPermissionSync: why } })
      const { roles, bindings } = await world.grantsOf(refused)
      subtest.strictSame([roles, bindings], [[], []], title)
      await world.deletePod(name)
      await kube.remove(CONFIG_MAPS, SYSTEM_NAMESPACE, name)
    }),
  )
})

await test('I6 a template outside the system namespace has no effect', async (subtest) => {
  await world.create(CONFIG_MAPS, {
    metadata: { name: 'home-made', namespace: shared },
    data: { rules: stringify([rule()]) },
  })
  await world.connector('home', checkedPolicy(['home'], undefined, 'home-made'))
  await world.task('home', 'approved')
  const { metadata } = await world.requestOf(await world.pod('home', ['home']))
  const reads = { AccessCheckReady: 'True/Passed', AccessPermissionSync: 'False/SyncFailed' } as const
  const refused = await untilReads(kube, at(metadata.name), { reads, says: { AccessPermissionSync: `ConfigMap ${SYSTEM_NAMESPACE}/home-made is missing` } })
  subtest.strictSame(await world.grantsOf(refused), { roles: [], bindings: [] })
  await world.deletePod('home')
})

await test('I6 a request that a person makes is judged by its live Pod', async (subtest) => {
  await world.create(SERVICE_ACCOUNTS, { metadata: { name: 'other', namespace: work } })
  await world.task('by-hand', 'approved')
  await world.pod('of-another-account', ['harbor'], { run: 'by-hand', serviceAccountName: 'other' })
  await world.pod('without-volume', [], { run: 'by-hand', volumes: [] })
  await world.connector('another', 'none')
  await world.pod('of-another-connector', ['another'], { run: 'by-hand' })
  await world.pod('of-another-driver', ['harbor'], { run: 'by-hand', volumes: [{ name: 'a', csi: { driver: 'another-csi', volumeAttributes: { connectors: `${shared}/harbor` } } }] })
  await world.pod('malformed', ['harbor'], { run: 'by-hand', volumes: [{ name: 'a', csi: { driver: 'connectors-csi', volumeAttributes: { connectors: `${shared}/harbor` } } }] })
  const expected: Record<string, string> = {
    'of-another-account': `runs as ServiceAccount "other"; the request is for ServiceAccount "${work}/${BUILDER}"`,
    'without-volume': `has no connectors-csi volume that names Connector ${shared}/harbor`,
    'of-another-connector': `has no connectors-csi volume that names Connector ${shared}/harbor`,
    'of-another-driver': `has no connectors-csi volume that names Connector ${shared}/harbor`,
    'malformed': `has no connectors-csi volume that names Connector ${shared}/harbor`,
    'nobody': 'there is no live Pod',
  }
  for (const [pod, why] of Object.entries(expected)) {
    await cluster.kubectl(['create', '-f', '-', ...asMallory], { input: request(`by-hand-${pod}`, pod) })
    const found = await untilReads(kube, at(`by-hand-${pod}`), { reads: { ContextObjectValid: 'False/NotFound', Ready: 'False/NotFound' }, says: { ContextObjectValid: why } })
    subtest.strictSame(await world.grantsOf(found), { roles: [], bindings: [] }, pod)
  }
})

await test('I6 what a person asks for by hand is granted after the same approval as everything else', async (subtest) => {
  const { request: own } = await grantedPod(world, 'asked-twice', 'harbor')
  await cluster.kubectl(['create', '-f', '-', ...asMallory], { input: request('asked-by-hand', 'asked-twice') })
  const { status } = await untilReads(kube, at('asked-by-hand'), { reads: { Ready: 'True/Synced' } })
  subtest.equal(status?.contextUID, own.spec.context.objectRef.uid)
})

const requester = async (name: string): Promise<string | undefined> => (await kube.get(ACCESS_REQUESTS, shared, name))?.metadata.annotations?.[ANNOTATION.requestedBy]

await test('I6 who asked cannot be forged, neither at first nor later', async (subtest) => {
  const alice = { annotations: { [ANNOTATION.requestedBy]: 'alice' } }
  await cluster.kubectl(['create', '-f', '-', ...asMallory], { input: request('forged', 'nobody', { metadata: alice }) })
  subtest.equal(await requester('forged'), MALLORY)
  await world.kubectl(['annotate', '--overwrite', 'accessrequest', 'forged', `${ANNOTATION.requestedBy}=alice`, ...asMallory])
  subtest.equal(await requester('forged'), MALLORY)
  await world.kubectl(['annotate', 'accessrequest', 'forged', `${ANNOTATION.requestedBy}-`, ...asMallory])
  subtest.equal(await requester('forged'), MALLORY)
})

const labels = async (): Promise<object | undefined> => (await kube.get(ACCESS_REQUESTS, shared, 'labelled'))?.metadata.labels

await test('I6 the labels by which requests are found say what the spec says, whoever changes them by hand', async (subtest) => {
  const kubectl = (...args: string[]) => world.kubectl([...args, ...asMallory])
  await cluster.kubectl(['create', '-f', '-', ...asMallory], { input: request('labelled', 'nobody') })
  const own = { [LABEL.contextKind]: 'Pod', [LABEL.contextName]: 'nobody', [LABEL.contextNamespace]: work, [LABEL.connector]: 'harbor' }
  subtest.strictSame(await labels(), own)
  await kubectl('label', '--overwrite', 'accessrequest', 'labelled', ...Object.keys(own).map((label) => `${label}=other`))
  subtest.strictSame(await labels(), own, 'changed')
  await kubectl('label', 'accessrequest', 'labelled', ...Object.keys(own).map((label) => `${label}-`))
  subtest.strictSame(await labels(), own, 'removed')
  await kubectl('label', 'accessrequest', 'labelled', 'team=a')
  subtest.strictSame(await labels(), { ...own, team: 'a' }, 'others are anybody’s')
})

await test('I6 the request of the hook names who created the Pod', async (subtest) => {
  const carol = `carol-${work}`
  await cluster.kubectl(['create', 'rolebinding', 'carol', '--clusterrole=edit', `--user=${carol}`, '-n', work])
  await untilTrue('carol may create Pods', async () => (await world.kubectl(['auth', 'can-i', 'create', 'pods', '-n', work, '--as', carol])).code === 0)
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'of-carol', namespace: work, annotations: { [ANNOTATION.requestedBy]: 'alice' } }, spec: { serviceAccountName: BUILDER, containers: [{ name: 'a', image: 'a.example/a:1' }], volumes: [gatedVolume({ connectors: `${shared}/harbor` })] } }
  await cluster.kubectl(['create', '-f', '-', '--as', carol], { input: stringify(pod) })
  const { items } = await kube.list(ACCESS_REQUESTS, { namespace: shared })
  const made = items.find(({ spec }) => spec.context.objectRef.name === 'of-carol')
  subtest.equal(made?.metadata.annotations?.[ANNOTATION.requestedBy], carol)
})

const roleManifest = (granted: PolicyRule): string => stringify({ apiVersion: ROLES.apiVersion, kind: 'Role', metadata: { name: 'made-by-the-controller' }, rules: [granted] })

await test('I6 the API server lets the controller grant nothing but paths of the proxy', async (subtest) => {
  const kubeconfig = await cluster.kubeconfigFor({ name: 'controller', token: await cluster.serviceAccountToken(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.controller) })
  const asController = (args: string[], input?: string) => world.kubectl([...args, '-n', shared], { kubeconfig, ...(input === undefined ? {} : { input }) })
  const held = /attempting to grant RBAC permissions not currently held/
  const beyond: PolicyRule[] = [
    { apiGroups: [''], resources: ['secrets'], verbs: ['get'] },
    { apiGroups: ['*'], resources: ['*'], verbs: ['*'] },
    { apiGroups: ['rbac.authorization.k8s.io'], resources: ['roles'], verbs: ['escalate'] },
    { apiGroups: [''], resources: ['pods/exec'], verbs: ['create'] },
  ]
  for (const one of beyond) subtest.match(await asController(['create', '-f', '-'], roleManifest(one)), { code: 1, stderr: held }, JSON.stringify(one))
  subtest.match(await asController(['create', 'rolebinding', 'made-by-the-controller', '--clusterrole=cluster-admin', `--serviceaccount=${work}:${BUILDER}`]), { code: 1, stderr: held })
  subtest.match(await asController(['create', 'clusterrole', 'made-by-the-controller', '--verb=get', '--resource=secrets']), { code: 1, stderr: /cannot create resource "clusterroles"/ })
  const path = { apiGroups: [GROUP], resources: [`connectors/proxy/v1/pod/${work}/some`], resourceNames: ['harbor'], verbs: ['*'] }
  subtest.match(await asController(['create', '-f', '-'], roleManifest(path)), { code: 0 }, 'the path itself')
})

await test('I6 in all of this the one approval was granted, twice, and nothing else', async (subtest) => {
  const events = await grants.end()
  const owners: AccessRequest['metadata']['name'][] = events.filter(({ kind, type }) => kind === 'Role' && type === 'ADDED').map(({ request: owner }) => owner ?? 'nobody')
  subtest.match(owners, [/^harbor-asked-twice-/, 'asked-by-hand'])
  subtest.equal(owners.length, 2)
})

await test('I6 nobody lays a binding in wait for the Role of a grant', async (subtest) => {
  const owner = `owner-${shared}`
  await world.kubectl(['create', 'rolebinding', owner, '--clusterrole=admin', `--user=${owner}`, '-n', shared])
  const asOwner = ['--as', owner, '-n', shared]
  await untilTrue(`${owner} may make bindings`, async () => (await world.kubectl(['auth', 'can-i', 'create', 'rolebindings', ...asOwner])).code === 0)
  const name = `${GRANT_PREFIX}of-somebody-0123456789`
  const refused = { code: 1, stderr: /metadata\.name: names that begin with "access-gate-grant-" are for the access-gate controller alone/ }
  const empty = stringify({ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role', metadata: { name }, rules: [] })
  subtest.match(await world.kubectl(['create', '-f', '-', ...asOwner], { input: empty }), refused, 'a Role of such a name')
  // The Role must be there for the API server to take a binding to it: the one of a real grant is.
  const granted = await grantedPod(world, 'bound', 'harbor')
  const [policy] = granted.request.status?.policies ?? []
  const role = grantName(granted.request, policy?.name ?? '')
  const binding = (roleName: string): string[] => ['create', 'rolebinding', `mine-${shared}`, `--role=${roleName}`, `--user=${owner}`, ...asOwner]
  subtest.match(await world.kubectl(binding(role)), { code: 1 }, 'a binding to the Role of a grant')
  subtest.match(await world.kubectl(['create', 'rolebinding', `mine-${shared}`, `--role=${role}`, `--user=${owner}`, '-n', shared]), refused, 'also for the administrator')
  subtest.match(await world.kubectl(['create', 'role', 'ordinary', '--verb=get', '--resource=pods', ...asOwner]), { code: 0 }, 'other names are free')
})

await test('I6 nobody adds himself to a grant, nor keeps it by a finalizer', async (subtest) => {
  const owner = `keeper-${shared}`
  await world.kubectl(['create', 'rolebinding', owner, '--clusterrole=admin', `--user=${owner}`, '-n', shared])
  const asOwner = ['--as', owner, '-n', shared]
  await untilTrue(`${owner} may change bindings`, async () => (await world.kubectl(['auth', 'can-i', 'patch', 'rolebindings', ...asOwner])).code === 0)
  const kept = await grantedPod(world, 'kept', 'harbor')
  const before = await world.grantsOf(kept.request)
  const name = before.roles[0]?.metadata.name ?? ''
  const patch = (kind: string, change: object, as = asOwner) => world.kubectl(['patch', kind, name, ...as, '--type=merge', '-p', JSON.stringify(change)])
  const held = { metadata: { finalizers: ['example.com/stay'] } }
  for (const kind of ['role', 'rolebinding']) subtest.match(await patch(kind, held), { code: 1, stderr: /a grant must go as soon as it is deleted/ }, kind)
  const guest = { subjects: [...(before.bindings[0]?.subjects ?? []), { kind: 'User', apiGroup: 'rbac.authorization.k8s.io', name: owner }] }
  const refused = { code: 1, stderr: /nobody but the access-gate controller adds one to a grant/ }
  subtest.match(await patch('rolebinding', guest, ['-n', shared]), refused, 'also for the administrator of the cluster')
  // While the Role has no rules, the API server itself lets anybody change a binding to it who may change bindings.
  subtest.match(await patch('role', { rules: [] }), { code: 0 })
  subtest.match(await patch('rolebinding', guest), { code: 1 })
  await untilTrue('the Role is as it was', async () => JSON.stringify((await world.grantsOf(kept.request)).roles[0]?.rules) === JSON.stringify(before.roles[0]?.rules))
})
