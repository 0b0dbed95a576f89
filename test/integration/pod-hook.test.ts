import { t, test, type Test } from 'tap'
import { parse, stringify } from 'yaml'
import type { KubeObject } from '../../src/api/meta.ts'
import { ANNOTATION, GROUP, LABEL } from '../../src/api/names.ts'
import type { Pod, Volume } from '../../src/api/pod.ts'
import type { Resource } from '../../src/kube/ports.ts'
import { PODS, ROLE_BINDINGS, ROLES } from '../../src/kube/resources.ts'
import { testControlPlane } from '../support/control-plane.ts'
import { untilTrue } from '../support/eventually.ts'
import { BUILDER, gatedVolume, gatedWorld, podManifest, SERVICE_ACCOUNTS } from '../support/gated-world.ts'

const cluster = testControlPlane()
const world = await gatedWorld(t, cluster)
const { kube, shared, work } = world
await world.connector('harbor')
await world.connector('git')

/** `<namespace>/<connector>` of the requests of a Pod. */
const asked = async (pod: Pod): Promise<string[]> =>
  (await world.requestsOf(pod)).map(({ metadata, spec }) => `${metadata.namespace}/${spec.connectorRef.name}`).toSorted()

/** As a person does it: the Pod that was stored, and what kubectl said besides. */
const createPod = async (pod: Pod, ...options: string[]): Promise<{ pod: Pod; warnings: string }> => {
  const { stdout, stderr } = await cluster.kubectl(['create', '-o', 'yaml', ...options, '-f', '-'], { input: stringify(pod) })
  return { pod: parse(stdout), warnings: stderr }
}

t.jobs = 4
const tests: Promise<unknown>[] = []
const hook = (title: string, run: (subtest: Test) => Promise<void>): void => {
  tests.push(test(`Pod hook: ${title}`, run))
}

hook('a Pod with a generated name gets a request with its final name and uid', async (subtest) => {
  const { metadata, ...rest } = podManifest(work, 'dropped', [`${shared}/harbor`])
  const { name: _dropped, ...unnamed } = metadata
  const { pod } = await createPod({ ...rest, metadata: { ...unnamed, generateName: 'build-' } as Pod['metadata'] })
  const { spec } = await world.requestOf(pod)
  subtest.match(pod.metadata.name, /^build-\w{5}$/)
  subtest.strictSame(spec, {
    subject: { kind: 'ServiceAccount', name: BUILDER, namespace: work },
    connectorRef: { name: 'harbor' },
    context: { objectRef: { apiVersion: 'v1', kind: 'Pod', name: pod.metadata.name, namespace: work, uid: pod.metadata.uid } },
  })
})

const JOBS: Resource<KubeObject & { spec: object }> = { apiVersion: 'batch/v1', kind: 'Job', plural: 'jobs', namespaced: true }

hook('a Pod that the Job controller makes gets its request, in the name of that controller', async (subtest) => {
  const { metadata, spec } = podManifest(work, 'of-a-job', [`${shared}/harbor`])
  const job = await world.create(JOBS, { metadata: { name: 'nightly', namespace: work }, spec: { suspend: true, template: { spec: { ...spec, restartPolicy: 'Never' } } } })
  const ownerReferences = [{ apiVersion: JOBS.apiVersion, kind: JOBS.kind, name: 'nightly', uid: job.metadata.uid ?? '', controller: true }]
  const jobController = 'system:serviceaccount:kube-system:job-controller'
  const { pod } = await createPod({ apiVersion: 'v1', kind: 'Pod', metadata: { ...metadata, ownerReferences }, ...(spec === undefined ? {} : { spec }) }, '--as', jobController)
  const request = await world.requestOf(pod)
  subtest.equal(request.metadata.annotations?.[ANNOTATION.requestedBy], jobController)
})

interface Shape {
  volumes: Volume[]
  serviceAccountName?: string
  asks: string[]
  warns?: string
}

const shapes: Record<string, Shape> = {
  'two Connectors in one volume are two requests': { volumes: [gatedVolume({ connectors: `${shared}/harbor, ${shared}/git` })], asks: ['git', 'harbor'] },
  'two volumes with the same Connector are one request': { volumes: [gatedVolume({ connectors: `${shared}/git` }, 'a'), gatedVolume({ connectors: `${shared}/git` }, 'b')], asks: ['git'] },
  'the older pair of attributes still works': { volumes: [gatedVolume({ 'connector.name': 'harbor', 'connector.namespace': shared })], asks: ['harbor'] },
  'a Connector that does not exist is no request, and the others are': {
    volumes: [gatedVolume({ connectors: `${shared}/gone,${shared}/harbor` })],
    asks: ['harbor'],
    warns: `Warning: the volume will not be mounted: Connector ${shared}/gone does not exist`,
  },
  'a name without a namespace is a Connector beside the Pod': {
    volumes: [gatedVolume({ connectors: 'harbor' })],
    asks: [],
    warns: `Warning: the volume will not be mounted: Connector ${work}/harbor does not exist`,
  },
  'a ServiceAccount that may not see the Connector cannot ask for it': {
    volumes: [gatedVolume({ connectors: `${shared}/harbor` })],
    serviceAccountName: 'default',
    asks: [],
    warns: `Warning: the volume will not be mounted: system:serviceaccount:${work}:default may not get Connector ${shared}/harbor`,
  },
  'a malformed volume is told, and its Pod is admitted': { volumes: [gatedVolume({ connectors: `${shared}/harbor`, typo: 'a' })], asks: [], warns: 'there is no attribute "typo"' },
  'a volume that can be written to is told': {
    volumes: [{ name: 'a', csi: { driver: 'connectors-csi', volumeAttributes: { connectors: `${shared}/harbor` } } }],
    asks: [],
    warns: 'readOnly: true is required',
  },
}

for (const [index, [title, { volumes, serviceAccountName = BUILDER, asks, warns }]] of Object.entries(shapes).entries())
  hook(title, async (subtest) => {
    const { pod, warnings } = await createPod(podManifest(work, `shape-${index}`, [], { serviceAccountName, volumes }))
    subtest.equal(pod.metadata.labels?.[LABEL.gated], 'true')
    subtest.strictSame(await asked(pod), asks.map((name) => `${shared}/${name}`))
    if (warns === undefined) subtest.equal(warnings, '')
    else subtest.match(warnings, warns)
  })

/** A ServiceAccount that may see Connectors and holds these resources of the Connector harbor besides. */
const trusted = async (name: string, resources: string[]): Promise<void> => {
  const metadata = { name, namespace: shared }
  await world.create(SERVICE_ACCOUNTS, { metadata: { name, namespace: work } })
  await world.create(ROLES, {
    metadata,
    rules: [
      { apiGroups: [GROUP], resources: ['connectors'], verbs: ['get'] },
      { apiGroups: [GROUP], resources, resourceNames: ['harbor'], verbs: ['*'] },
    ],
  })
  await world.create(ROLE_BINDINGS, {
    metadata,
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name },
    subjects: [{ kind: 'ServiceAccount', name, namespace: work }],
  })
  const of = ['auth', 'can-i', '*', 'connectors.connectors.alauda.io/harbor', `--subresource=${resources[0]?.replace('connectors/', '') ?? ''}`, '-n', shared]
  await untilTrue(`${name} may use harbor`, async () => (await world.kubectl([...of, `--as=system:serviceaccount:${work}:${name}`])).code === 0)
}

hook('who may use the Connector anyway needs no request', async (subtest) => {
  await Promise.all([trusted('everywhere', ['connectors/proxy']), trusted('on-its-path', [`connectors/proxy/v1/pod/${work}/on-its-path`])])
  for (const account of ['everywhere', 'on-its-path']) {
    const { pod, warnings } = await createPod(podManifest(work, account, [`${shared}/harbor`, `${shared}/git`], { serviceAccountName: account }))
    subtest.strictSame(await asked(pod), [`${shared}/git`], account)
    subtest.equal(warnings, '')
  }
  const { pod } = await createPod(podManifest(work, 'on-another-path', [`${shared}/harbor`], { serviceAccountName: 'on-its-path' }))
  subtest.strictSame(await asked(pod), [`${shared}/harbor`])
})

hook('a Pod without our volume stays as it is', async (subtest) => {
  const { pod, warnings } = await createPod(podManifest(work, 'plain', [], { volumes: [{ name: 'a', csi: { driver: 'another-csi', volumeAttributes: { connectors: `${shared}/harbor` } } }] }))
  subtest.notOk(pod.metadata.labels?.[LABEL.gated])
  subtest.strictSame(await asked(pod), [])
  subtest.equal(warnings, '')
})

hook('the namespaces that a cluster boots from are left alone', async (subtest) => {
  for (const namespace of ['connectors-system', 'kube-system', 'kube-node-lease']) {
    await world.create(ROLE_BINDINGS, {
      metadata: { name: `default-of-${namespace}`, namespace: shared },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'see-connectors' },
      subjects: [{ kind: 'ServiceAccount', name: 'default', namespace }],
    })
    const { pod, warnings } = await createPod(podManifest(namespace, `boots-${work}`, [`${shared}/harbor`], { serviceAccountName: 'default' }))
    await kube.remove(PODS, namespace, pod.metadata.name)
    subtest.notOk(pod.metadata.labels?.[LABEL.gated], namespace)
    subtest.strictSame(await asked(pod), [], namespace)
    subtest.equal(warnings, '', namespace)
  }
})

await Promise.all(tests)
