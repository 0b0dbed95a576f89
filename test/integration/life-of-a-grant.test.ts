import { t, test, type Test } from 'tap'
import type { AccessRequest } from '../../src/api/access-request.ts'
import { ACCESS_REQUESTS } from '../../src/kube/resources.ts'
import { testControlPlane } from '../support/control-plane.ts'
import { eventually, untilTrue } from '../support/eventually.ts'
import { checkedPolicy, gatedWorld, grantedPod, untilGone } from '../support/gated-world.ts'
import { READS, untilReads } from '../support/request-reading.ts'

const cluster = testControlPlane()
const world = await gatedWorld(t, cluster)
const { kube, shared, work } = world
await world.connector('harbor')

/** `type reason message` of the Events at a request, as a person reads them. */
const eventsOf = async ({ metadata }: AccessRequest): Promise<string[]> => {
  const { stdout } = await cluster.kubectl([
    'get', 'events', '-n', metadata.namespace ?? '', '--field-selector', `involvedObject.uid=${metadata.uid ?? ''}`,
    '-o', 'jsonpath={range .items[*]}{.type} {.reason} {.message}{"\\n"}{end}',
  ])
  return stdout.split('\n').filter((line) => line !== '').toSorted()
}

const withEvents = (request: AccessRequest, count: number): Promise<string[]> =>
  eventually(`${count} Events at ${request.metadata.name}`, async () => {
    const events = await eventsOf(request)
    return events.length >= count ? events : undefined
  })

const BY_THE_API_SERVER: ReadonlySet<string> = new Set(['uid', 'resourceVersion', 'creationTimestamp', 'managedFields'])
/** What is written in grants, without what the API server adds; by the uid of their owner they were found. */
const written = (objects: object[]): string => JSON.stringify(objects, (key, value: unknown) => (BY_THE_API_SERVER.has(key) ? undefined : value))

type Tamper = (name: string) => Promise<unknown>
const edit = (kind: string, patch: object): Tamper => (name) => cluster.kubectl(['patch', kind, name, '-n', shared, '--type=merge', '-p', JSON.stringify(patch)])
const remove = (kinds: string): Tamper => (name) => cluster.kubectl(['delete', kinds, name, '-n', shared])

const tampering: Record<string, { tamper: Tamper; said: 'changed' | 'removed' }> = {
  'a Role that was deleted': { tamper: remove('role'), said: 'removed' },
  'a RoleBinding that was deleted': { tamper: remove('rolebinding'), said: 'removed' },
  'both, deleted': { tamper: remove('role,rolebinding'), said: 'removed' },
  'a Role that was widened': { tamper: edit('role', { rules: [{ apiGroups: ['connectors.alauda.io'], resources: ['connectors'], verbs: ['*'] }] }), said: 'changed' },
  'a RoleBinding for nobody': { tamper: edit('rolebinding', { subjects: [] }), said: 'changed' },
  'the uid of another Pod': { tamper: edit('role', { metadata: { annotations: { 'connectors.alauda.io/pod-uid': 'another' } } }), said: 'changed' },
  'a RoleBinding that was made anew for another Role': {
    tamper: async (name) => {
      await cluster.kubectl(['delete', 'rolebinding', name, '-n', shared])
      await world.kubectl(['create', 'rolebinding', name, '-n', shared, '--clusterrole=view', '--user=mallory'])
    },
    said: 'removed',
  },
}

t.jobs = 4
const tests: Promise<unknown>[] = []
const later = (title: string, run: (subtest: Test) => Promise<void>): void => {
  tests.push(test(title, run))
}

for (const [index, [title, { tamper, said }]] of Object.entries(tampering).entries())
  later(`repaired: ${title}`, async (subtest) => {
    const { request } = await grantedPod(world, `tampered-${index}`, 'harbor')
    const before = await world.grantsOf(request)
    const name = before.roles[0]?.metadata.name ?? ''
    await tamper(name)
    const sentence = `Warning AccessRepaired Role and RoleBinding ${name} of AccessPolicy harbor were ${said} by someone else and are put back`
    await eventually(`the Event ${sentence}`, async () => ((await eventsOf(request)).includes(sentence) ? true : undefined))
    await untilTrue(`${name} is as it was`, async () => {
      const { roles, bindings } = await world.grantsOf(request)
      return written(roles) === written(before.roles) && written(bindings) === written(before.bindings)
    })
    await untilTrue('it may be used', () => world.mayUse(`tampered-${index}`, 'harbor'))
    await untilReads(kube, { namespace: shared, name: request.metadata.name }, { reads: READS.usable })
    subtest.equal(before.roles.length, 1)
  })

later('Events tell of the grant, with who approved, and of its end', async (subtest) => {
  const pod = await world.pod('told', ['harbor'])
  const request = await world.requestOf(pod)
  await world.task('told', 'pending')
  await world.setState('told', 'approved', {
    approversResponse: [
      { name: 'bob', type: 'User', response: 'approved' },
      { name: 'release', type: 'Group', response: 'approved', groupMembers: [{ name: 'alice', response: 'approved' }] },
    ],
  })
  await untilReads(kube, { namespace: shared, name: request.metadata.name }, { reads: READS.usable })
  await cluster.kubectl(['delete', 'pod', 'told', '-n', work])
  subtest.strictSame(await withEvents(request, 2), [
    `Normal AccessGranted Pod ${work}/told may use Connector ${shared}/harbor (AccessPolicy harbor; approved by alice, bob)`,
    `Normal AccessRevoked Access of Pod ${work}/told to Connector ${shared}/harbor was revoked: Pod ${work}/told is gone`,
  ])
  const described = await cluster.kubectl(['describe', 'accessrequest', request.metadata.name, '-n', shared])
  subtest.match(described.stdout, /AccessGranted[\s\S]*AccessRevoked|AccessRevoked[\s\S]*AccessGranted/)
})

later('an Event tells of a refusal', async (subtest) => {
  const pod = await world.pod('refused', ['harbor'])
  const request = await world.requestOf(pod)
  await world.task('refused', 'rejected')
  subtest.strictSame(await withEvents(request, 1), [
    `Warning AccessRejected Pod ${work}/refused does not get Connector ${shared}/harbor: ApprovalTask ${work}/refused was rejected`,
  ])
})

later('Events tell of a revocation because a check turned, and because the request was deleted', async (subtest) => {
  const { request: turned } = await grantedPod(world, 'turned', 'harbor')
  await world.setState('turned', 'rejected')
  subtest.strictSame((await withEvents(turned, 3)).slice(1), [
    `Normal AccessRevoked Access of Pod ${work}/turned to Connector ${shared}/harbor was revoked: ApprovalTask ${work}/turned was rejected`,
    `Warning AccessRejected Pod ${work}/turned does not get Connector ${shared}/harbor: ApprovalTask ${work}/turned was rejected`,
  ])
  const { request: deleted } = await grantedPod(world, 'deleted', 'harbor')
  await cluster.kubectl(['delete', 'accessrequest', deleted.metadata.name, '-n', shared])
  subtest.strictSame((await withEvents(deleted, 2)).slice(1), [
    `Normal AccessRevoked Access of Pod ${work}/deleted to Connector ${shared}/harbor was revoked: the request was deleted`,
  ])
})

later('a grant that reaches beyond the Pod is told', async (subtest) => {
  await world.connector('open', checkedPolicy(['open'], undefined, 'connectors-use-connectors-proxy'))
  const pod = await world.pod('unbound', ['open'])
  const request = await world.requestOf(pod)
  await world.task('unbound', 'approved')
  const granted = await untilReads(kube, { namespace: shared, name: request.metadata.name }, { reads: READS.usable })
  const { roles } = await world.grantsOf(granted)
  subtest.strictSame(roles.map(({ rules }) => rules), [[{ apiGroups: ['connectors.alauda.io'], resourceNames: ['open'], resources: ['connectors/proxy'], verbs: ['*'] }]])
  subtest.match((await withEvents(request, 2))[1], /^Warning UnboundGrant .*every Pod of its ServiceAccount may use/)
})

later('what is edited later changes nothing for a request that is under way', async () => {
  await world.connector('snapshot')
  const pod = await world.pod('under-way', ['snapshot'])
  const request = await world.requestOf(pod)
  const at = { namespace: shared, name: request.metadata.name }
  await untilReads(kube, at, { reads: READS.waiting })
  // A second check that nobody will pass, and then no policy at all.
  const checks = [{ name: 'another', spec: { selector: { objectRef: { apiVersion: 'v1', kind: 'ConfigMap', name: 'none' } } } }]
  const patch = JSON.stringify({ spec: { checkGrantedPermission: { spec: { checks } } } })
  await cluster.kubectl(['patch', 'accesspolicy', 'snapshot', '-n', shared, '--type=merge', '-p', patch])
  await cluster.kubectl(['delete', 'accesspolicy', 'snapshot', '-n', shared])
  await world.task('under-way', 'approved')
  await untilReads(kube, at, { reads: READS.usable })
  // Deleting what has passed changes nothing; the witness shows that the controller has seen it.
  await cluster.kubectl(['delete', 'approvaltask', 'under-way', '-n', work])
  await grantedPod(world, 'under-way-witness', 'harbor')
  await untilReads(kube, at, { reads: READS.usable })
})

later('a namespace of Connectors with a live grant is deleted to the end', async (subtest) => {
  const doomed = await gatedWorld(subtest, cluster)
  await doomed.connector('harbor')
  const { request } = await grantedPod(doomed, 'build', 'harbor')
  await cluster.kubectl(['delete', 'namespace', doomed.shared, '--wait=false'])
  // Without a namespace controller nobody else deletes what is in it.
  if (!cluster.hasControllerManager) await cluster.kubectl(['delete', 'accessrequest,connector,accesspolicy', '--all', '-n', doomed.shared])
  await untilGone(doomed, request, 60_000)
  await untilTrue('no request is left', async () => (await kube.list(ACCESS_REQUESTS, { namespace: doomed.shared })).items.length === 0, 60_000)
  if (cluster.hasControllerManager)
    await untilTrue('the namespace is gone', async () => (await cluster.call('GET', `/api/v1/namespaces/${doomed.shared}`)).status === 404, 60_000)
})

later('a namespace of Pods with a live grant is deleted, and the grant is gone', async (subtest) => {
  const doomed = await gatedWorld(subtest, cluster)
  await doomed.connector('harbor')
  const { request } = await grantedPod(doomed, 'build', 'harbor')
  await cluster.kubectl(['delete', 'namespace', doomed.work, '--wait=false'])
  if (!cluster.hasControllerManager) await cluster.kubectl(['delete', 'pods', '--all', '-n', doomed.work])
  await untilGone(doomed, request, 60_000)
  await untilReads(kube, { namespace: doomed.shared, name: request.metadata.name }, { reads: { AccessPermissionSync: 'True/PermissionCleanUp' } })
})

await Promise.all(tests)
