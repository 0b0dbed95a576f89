/**
 * Two namespaces of a test's own on a control plane where access-gate runs: `shared` holds Connectors, policies and requests,
 * `work` holds Pods, their ServiceAccount and the check objects. There is no kubelet: a Pod stays Pending until a test says otherwise.
 */
import type { Test } from 'tap'
import { callApi, readAnswer } from '../../hack/control-plane/api-call.ts'
import type { ClusterAccess } from '../../hack/control-plane/cluster-access.ts'
import { applyApprovalProject, approvalControllerToken } from '../../hack/sandbox/approval-project.ts'
import type { AccessPolicy, AccessPolicySpec, CheckRule } from '../../src/api/access-policy.ts'
import type { AccessRequest } from '../../src/api/access-request.ts'
import type { KubeObject, ObjectMeta } from '../../src/api/meta.ts'
import { CSI_DRIVER, GROUP } from '../../src/api/names.ts'
import type { Pod, Volume } from '../../src/api/pod.ts'
import type { Role, RoleBinding } from '../../src/api/rbac.ts'
import { createClient, type KubeClient } from '../../src/kube/client.ts'
import type { Resource } from '../../src/kube/ports.ts'
import { ACCESS_POLICIES, ACCESS_REQUESTS, CONNECTORS, PODS, ROLE_BINDINGS, ROLES } from '../../src/kube/resources.ts'
import { eventually, untilTrue } from './eventually.ts'
import { READS, untilReads } from './request-reading.ts'

export const BUILDER = 'builder'
/** The label that connects a Pod with its approval, as the shipped check template reads it. */
export const RUN = 'tekton.dev/pipelineRun'
export const IN_POD_TEMPLATE = 'connectors-use-connectors-proxy-in-pod'

interface ApprovalTask extends KubeObject {
  spec?: object
  status?: object
}
export const APPROVAL_TASKS: Resource<ApprovalTask> = { apiVersion: 'openshift-pipelines.org/v1alpha1', kind: 'ApprovalTask', plural: 'approvaltasks', namespaced: true }
export const SERVICE_ACCOUNTS: Resource = { apiVersion: 'v1', kind: 'ServiceAccount', plural: 'serviceaccounts', namespaced: true }

/** The ApprovalTasks of the Pod's pipeline run, by the shipped template. */
export const PIPELINE_CHECK: CheckRule = { name: 'approval', ref: { configMap: { name: 'connectors-approvals-in-pipeline' } } }

/** One ApprovalTask by its name. */
export const taskCheck = (name: string, task: string, more: Partial<CheckRule> & { cel?: string } = {}): CheckRule => {
  const { cel, ...rest } = more
  const objectRef = { apiVersion: APPROVAL_TASKS.apiVersion, kind: APPROVAL_TASKS.kind, name: task }
  return { name, spec: { selector: { objectRef }, ...(cel === undefined ? {} : { state: { cel } }) }, ...rest }
}

/** @param roleTemplate a ConfigMap of the system namespace */
export const checkedPolicy = (connectors: string[], checks: CheckRule[] = [PIPELINE_CHECK], roleTemplate = IN_POD_TEMPLATE): AccessPolicySpec => ({
  connector: { names: connectors },
  checkGrantedPermission: { spec: { checks, roleTemplate: { ref: { configMap: { name: roleTemplate } } } } },
})

export const gatedVolume = (volumeAttributes: Record<string, string>, name = 'connectors'): Volume => ({ name, csi: { driver: CSI_DRIVER, readOnly: true, volumeAttributes } })

export interface PodOptions {
  /** Default: the name of the Pod. */
  run?: string
  serviceAccountName?: string
  volumes?: Volume[]
  metadata?: Partial<Omit<ObjectMeta, 'name' | 'namespace'>>
}

/** A whole Pod that mounts the Connectors, each given as `name` or `namespace/name`. */
export const podManifest = (namespace: string, name: string, connectors: string[], { run = name, serviceAccountName = BUILDER, volumes, metadata }: PodOptions = {}): Pod => {
  const spec = {
    serviceAccountName,
    containers: [{ name: 'build', image: 'registry.example/build:1' }],
    volumes: volumes ?? [gatedVolume({ connectors: connectors.join(',') })],
  }
  return { apiVersion: 'v1', kind: 'Pod', metadata: { ...metadata, name, namespace, labels: { [RUN]: run, ...metadata?.labels } }, spec }
}

const MERGE = 'application/merge-patch+json'

export interface GatedWorld {
  cluster: ClusterAccess
  /** As the administrator. */
  kube: KubeClient
  shared: string
  work: string
  /** kubectl as the administrator; a failure is a result. */
  kubectl: ClusterAccess['kubectl']
  create<T extends KubeObject>(resource: Resource<T>, object: Omit<T, 'apiVersion' | 'kind'>): Promise<T>
  /** A Connector that builder may see, with a policy of the same name that takes an approval of the Pod's run unless told otherwise. */
  connector(name: string, policy?: AccessPolicySpec | 'none'): Promise<void>
  policy(name: string, spec: AccessPolicySpec): Promise<AccessPolicy>
  pod(name: string, connectors: string[], options?: PodOptions): Promise<Pod>
  /** What a kubelet would say. */
  setPhase(pod: Pod, phase: string): Promise<void>
  deletePod(name: string): Promise<void>
  /** An ApprovalTask; its state is that of the run whose label it carries (default: its own name). */
  task(name: string, state: string, run?: string): Promise<void>
  /** As the approval controller, which alone may write it. */
  setState(task: string, state: string, more?: object): Promise<void>
  /** The requests of a Pod, by its uid. */
  requestsOf(pod: Pod): Promise<AccessRequest[]>
  /** The one request of a Pod, which is there as soon as the Pod is. @throws Error when there is none, or more than one */
  requestOf(pod: Pod): Promise<AccessRequest>
  /** Whether the ServiceAccount may use the Connector by the path of this Pod, as the API server answers. */
  mayUse(pod: string, connector: string, serviceAccount?: string): Promise<boolean>
  /** The grants of a request, as they are now. */
  grantsOf(request: AccessRequest): Promise<{ roles: Role[]; bindings: RoleBinding[] }>
}

const isOwnedBy = ({ metadata }: KubeObject, request: AccessRequest): boolean => (metadata.ownerReferences ?? []).some(({ uid }) => uid === request.metadata.uid)

const groupsOf = (namespace: string): string[] => ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated']

type Cluster = ClusterAccess & { adminKubeconfig: string; server: string; caPem: string }

export const gatedWorld = async (t: Pick<Test, 'teardown'>, cluster: Cluster): Promise<GatedWorld> => {
  const kube = await createClient({ kubeconfig: cluster.adminKubeconfig, userAgent: 'access-gate-test' })
  t.teardown(() => kube.close())
  const [shared, work] = await Promise.all([cluster.namespace('shared'), cluster.namespace('work'), applyApprovalProject(cluster)])
  const approvalController = { server: cluster.server, caPem: cluster.caPem, token: await approvalControllerToken(cluster) }

  const create: GatedWorld['create'] = async <T extends KubeObject>(resource: Resource<T>, object: Omit<T, 'apiVersion' | 'kind'>) =>
    kube.create(resource, { ...object, apiVersion: resource.apiVersion, kind: resource.kind } as T)

  const may = (verb: string, connector: string, serviceAccount: string, subresource?: string): Promise<boolean> =>
    kube.allows(
      { user: `system:serviceaccount:${work}:${serviceAccount}`, groups: groupsOf(work) },
      { group: GROUP, resource: 'connectors', namespace: shared, name: connector, verb, ...(subresource === undefined ? {} : { subresource }) },
    )

  const world: GatedWorld = {
    cluster,
    kube,
    shared,
    work,
    create,
    kubectl: (args, options) => cluster.kubectl(args, { allowFailure: true, ...options }),
    connector: async (name, policy = checkedPolicy([name])) => {
      const spec = { connectorClassName: 'harbor', address: 'https://harbor.example.com' }
      await create(CONNECTORS, { metadata: { name, namespace: shared }, spec })
      if (policy !== 'none') await world.policy(name, policy)
    },
    policy: (name, spec) => create(ACCESS_POLICIES, { metadata: { name, namespace: shared }, spec }),
    pod: (name, connectors, options) =>
      kube.create(PODS, podManifest(work, name, connectors.map((connector) => (connector.includes('/') ? connector : `${shared}/${connector}`)), options)),
    setPhase: async ({ metadata }, phase) => {
      readAnswer(await cluster.call('PATCH', `/api/v1/namespaces/${work}/pods/${metadata.name}/status`, { status: { phase } }, MERGE), `phase of ${metadata.name}`)
    },
    deletePod: async (name) => {
      await kube.remove(PODS, work, name)
    },
    task: async (name, state, run = name) => {
      await create(APPROVAL_TASKS, { metadata: { name, namespace: work, labels: { [RUN]: run } }, spec: { description: 'May it be used?' } })
      await world.setState(name, state)
    },
    setState: async (task, state, more = {}) => {
      const path = `/apis/${APPROVAL_TASKS.apiVersion}/namespaces/${work}/approvaltasks/${task}/status`
      readAnswer(await callApi(approvalController, 'PATCH', path, { status: { state, ...more } }, MERGE), `state of ${task}`)
    },
    requestsOf: async ({ metadata }) => {
      const { items } = await kube.list(ACCESS_REQUESTS, { namespace: shared })
      return items.filter(({ spec }) => spec.context.objectRef.uid === metadata.uid)
    },
    requestOf: async (pod) => {
      const [request, ...others] = await world.requestsOf(pod)
      if (request === undefined || others.length > 0) throw new Error(`Pod ${pod.metadata.name} has ${others.length + (request === undefined ? 0 : 1)} requests`)
      return request
    },
    mayUse: (pod, connector, serviceAccount = BUILDER) => may('*', connector, serviceAccount, `proxy/v1/pod/${work}/${pod}`),
    grantsOf: async (request) => {
      const [roles, bindings] = await Promise.all([kube.list(ROLES, { namespace: shared }), kube.list(ROLE_BINDINGS, { namespace: shared })])
      return { roles: roles.items.filter((role) => isOwnedBy(role, request)), bindings: bindings.items.filter((binding) => isOwnedBy(binding, request)) }
    },
  }

  await Promise.all([
    create(SERVICE_ACCOUNTS, { metadata: { name: BUILDER, namespace: work } }),
    create(ROLES, { metadata: { name: 'see-connectors', namespace: shared }, rules: [{ apiGroups: [GROUP], resources: ['connectors'], verbs: ['get'] }] }),
    create(ROLE_BINDINGS, {
      metadata: { name: 'builder-sees-connectors', namespace: shared },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'see-connectors' },
      subjects: [{ kind: 'ServiceAccount', name: BUILDER, namespace: work }],
    }),
  ])
  // The API server's authorizer takes a moment to follow.
  await untilTrue(`${BUILDER} may see Connectors of ${shared}`, () => may('get', 'any', BUILDER))
  return world
}

/** A Pod whose approval was given and whose grant is in place: run and ApprovalTask have its name unless told otherwise. */
export const grantedPod = async (world: GatedWorld, name: string, connector: string, options: PodOptions = {}): Promise<{ pod: Pod; request: AccessRequest }> => {
  const pod = await world.pod(name, [connector], options)
  const { metadata } = await world.requestOf(pod)
  await world.task(name, 'approved', options.run ?? name)
  const request = await untilReads(world.kube, { namespace: world.shared, name: metadata.name }, { reads: READS.usable })
  await untilTrue(`${name} may use ${connector}`, () => world.mayUse(name, connector))
  return { pod, request }
}

/** Waits until neither a Role nor a RoleBinding of the request is left, and the API server answers no. */
export const untilGone = (world: GatedWorld, request: AccessRequest, boundMs: number): Promise<unknown> => {
  const { connectorRef, context } = request.spec
  return eventually(
    `the grant of ${request.metadata.name} is gone`,
    async () => {
      const { roles, bindings } = await world.grantsOf(request)
      const gone = roles.length + bindings.length === 0 && !(await world.mayUse(context.objectRef.name, connectorRef.name))
      return gone ? true : undefined
    },
    boundMs,
  )
}
