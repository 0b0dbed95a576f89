import type { Logger } from 'pino'
import type { AccessPolicy } from '../api/access-policy.ts'
import type { AccessRequest } from '../api/access-request.ts'
import type { ConfigMap } from '../api/config-map.ts'
import type { Connector } from '../api/connector.ts'
import type { KubeObject, ObjectMeta } from '../api/meta.ts'
import { ANNOTATION, API_VERSION, CSI_DRIVER } from '../api/names.ts'
import type { Pod } from '../api/pod.ts'
import type { Role, RoleBinding } from '../api/rbac.ts'
import { isFinal } from '../core/conditions.ts'
import { bareMetadata } from '../kube/bare-metadata.ts'
import { createStore, storeKey, type Store } from '../kube/store.ts'
import { requestCheckKeys, requestKinds } from './check-index.ts'

/** The requests that a Role or RoleBinding says it belongs to: by its owner references, or by annotation where those were taken off. */
const ownersOf = ({ metadata }: KubeObject): { name: string; uid: string }[] => {
  const owners = (metadata.ownerReferences ?? []).filter(({ kind, apiVersion }) => kind === 'AccessRequest' && apiVersion === API_VERSION)
  if (owners.length > 0) return owners
  const { [ANNOTATION.request]: name, [ANNOTATION.requestUid]: uid } = metadata.annotations ?? {}
  return name === undefined || uid === undefined ? [] : [{ name, uid }]
}

/** Keys of those requests. */
export const ownerKeys = (object: KubeObject): string[] => ownersOf(object).map(({ name }) => storeKey(object.metadata.namespace, name))

export const isOwnedBy = (object: KubeObject, uid: string | undefined): boolean => uid !== undefined && ownersOf(object).some((owner) => owner.uid === uid)

const inNamespace = (object: KubeObject): string[] => [object.metadata.namespace ?? '']

/** Names of the template ConfigMaps that a request still waits for. */
const awaitedTemplates = (request: AccessRequest): string[] => {
  if (isFinal(request.status)) return []
  return (request.status?.policies ?? []).flatMap((policy) => {
    const spec = policy.policySpec.checkGrantedPermission?.spec
    if (spec === undefined) return []
    const open = spec.checks.filter(({ name }) => !(policy.checks ?? []).some((check) => check.name === name))
    return [
      ...open.flatMap(({ ref }) => (ref === undefined ? [] : [ref.configMap.name])),
      ...(policy.rules === undefined ? [spec.roleTemplate.ref.configMap.name] : []),
    ]
  })
}

const requestIndexes = {
  /** `<namespace>/<name>` of the Pod; final requests do not care for it any more. */
  pod: ({ spec, status }: AccessRequest): string[] =>
    isFinal(status) ? [] : [`${spec.context.objectRef.namespace}/${spec.context.objectRef.name}`],
  /** `<namespace>/<name>` of the Connector. */
  connector: ({ metadata, spec, status }: AccessRequest): string[] => (isFinal(status) ? [] : [`${metadata.namespace ?? ''}/${spec.connectorRef.name}`]),
  /** All that are not final. */
  open: ({ status }: AccessRequest): string[] => (isFinal(status) ? [] : ['open']),
  /** Namespace of those that no policy has matched yet. */
  unmatched: ({ metadata, status }: AccessRequest): string[] =>
    isFinal(status) || (status?.policies ?? []).length > 0 ? [] : [metadata.namespace ?? ''],
  template: awaitedTemplates,
  check: requestCheckKeys,
  kind: requestKinds,
}

/** What the controller keeps in memory: what belongs to gated Pods, their requests, Connectors and policies. */
export interface Caches {
  requests: Store<AccessRequest, keyof typeof requestIndexes>
  policies: Store<AccessPolicy, 'namespace'>
  connectors: Store<Connector, 'namespace'>
  pods: Store<Pod>
  /** ConfigMaps of the system namespace. */
  configMaps: Store<ConfigMap>
  roles: Store<Role, 'owner'>
  bindings: Store<RoleBinding, 'owner'>
}

const withLabels = (metadata: ObjectMeta): ObjectMeta => ({ ...bareMetadata(metadata), ...(metadata.labels === undefined ? {} : { labels: metadata.labels }) })

/**
 * A Pod without what no decision reads. Templates may name any field of a Pod, so they are always filled in from
 * a Pod that was read whole, never from the cache.
 */
export const trimPod = ({ metadata, spec, status }: Pod): Pod => ({
  metadata: withLabels(metadata),
  spec: {
    ...(spec?.serviceAccountName === undefined ? {} : { serviceAccountName: spec.serviceAccountName }),
    volumes: (spec?.volumes ?? []).filter(({ csi }) => csi?.driver === CSI_DRIVER),
  },
  ...(status?.phase === undefined ? {} : { status: { phase: status.phase } }),
})

/** A Connector without what no decision reads. */
export const trimConnector = ({ metadata }: Connector): Connector => ({
  metadata: withLabels(metadata),
})

export const createCaches = (log: Pick<Logger, 'error'>): Caches => ({
  requests: createStore<AccessRequest, keyof typeof requestIndexes>({ indexes: requestIndexes, log }),
  policies: createStore<AccessPolicy, 'namespace'>({ indexes: { namespace: inNamespace }, log }),
  connectors: createStore<Connector, 'namespace'>({ indexes: { namespace: inNamespace }, trim: trimConnector, log }),
  pods: createStore<Pod>({ trim: trimPod, log }),
  configMaps: createStore<ConfigMap>({ log }),
  roles: createStore<Role, 'owner'>({ indexes: { owner: ownerKeys }, log }),
  bindings: createStore<RoleBinding, 'owner'>({ indexes: { owner: ownerKeys }, log }),
})
