/** Names that are part of the product's contract: groups, kinds, labels, annotations, accounts. No logic. */

export const GROUP = 'connectors.alauda.io'
export const VERSION = 'v1alpha1'
export const API_VERSION = `${GROUP}/${VERSION}`

/** The CSI driver that a gated Pod names in a volume. */
export const CSI_DRIVER = 'connectors-csi'

/** Whom the tokens of kubelet are for, by the CSIDriver's tokenRequests: the proxies of Connectors that name no audience of their own. */
export const PROXY_AUDIENCE = 'connectors-proxy'

export const SYSTEM_NAMESPACE = 'connectors-system'

export const SERVICE_ACCOUNT = {
  webhook: 'access-gate-webhook',
  controller: 'access-gate-controller',
  csi: 'access-gate-csi',
  extension: 'access-gate-extension',
  auth: 'access-gate-auth',
  rotateKeys: 'access-gate-rotate-keys',
} as const

export const LABEL = {
  /** On Pods: set at admission, so that the controller watches only the Pods it is here for. */
  gated: 'connectors.alauda.io/gated',
  /** On requests; values longer than 63 characters are cut with a hash. Never trusted for authorization. */
  contextKind: 'connectors.cpaas.io/contextObjectKind',
  contextName: 'connectors.cpaas.io/contextObjectName',
  contextNamespace: 'connectors.cpaas.io/contextObjectNamespace',
  connector: 'connectors.cpaas.io/connector',
  /** On Roles and RoleBindings of a grant. */
  accessRequest: 'connectors.alauda.io/accessRequest',
  accessPolicy: 'connectors.alauda.io/accessPolicy',
  /** On ConfigMaps that hold a check template. */
  templateType: 'connectors.cpaas.io/templateType',
} as const

export const ANNOTATION = {
  /** On requests: the user whose call led to the request. */
  requestedBy: 'connectors.alauda.io/requested-by',
  /** On role template ConfigMaps: "true" lets the template grant connectors/proxy to the whole ServiceAccount. */
  unbound: 'connectors.alauda.io/unbound',
  /** On Roles and RoleBindings of a grant: the uid of the one Pod they are for. */
  podUid: 'connectors.alauda.io/pod-uid',
  /** On Roles and RoleBindings of a grant: name and uid of their request, should somebody take the owner reference off. */
  request: 'connectors.alauda.io/access-request',
  requestUid: 'connectors.alauda.io/access-request-uid',
} as const

/**
 * How the names of all Roles and RoleBindings of grants begin. Reserved: an admission policy lets the controller alone make
 * objects of such a name, or bindings to one, so that nobody's binding lies in wait for a Role that comes later.
 */
export const GRANT_PREFIX = 'access-gate-grant-'

/** Keeps a request until its Role and RoleBinding are gone, without a garbage collector. */
export const CLEANUP_FINALIZER = 'connectors.alauda.io/access-cleanup'

export const FLAGS_CONFIG_MAP = 'connectors-config'
export const FLAG = {
  approval: 'enable-connectors-approval',
  proxyPermissions: 'enable-connector-proxy-permissions',
  /** Several Connectors in one volume. */
  multiConnector: 'enable-multi-connector',
} as const

/** `system:serviceaccount:<namespace>:<name>`, as the API server names a ServiceAccount's user. */
export const serviceAccountUser = (namespace: string, name: string): string => `system:serviceaccount:${namespace}:${name}`
