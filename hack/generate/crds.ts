import { AccessPolicySpecSchema, AccessPolicyStatusSchema } from '../../src/api/access-policy.ts'
import { AccessRequestSpecSchema, AccessRequestStatusSchema } from '../../src/api/access-request.ts'
import { ConnectorClassSpecSchema, ConnectorClassStatusSchema, ConnectorSpecSchema, ConnectorStatusSchema } from '../../src/api/connector.ts'
import { GROUP, VERSION } from '../../src/api/names.ts'
import {
  WORKSPACE_GROUP,
  WorkspaceAccessStrategySpecSchema,
  WorkspaceAccessStrategyStatusSchema,
  WorkspaceSpecSchema,
  WorkspaceStatusSchema,
} from '../../src/api/workspace.ts'
import { IMMUTABLE_MESSAGE } from '../../src/core/request-rules.ts'
import { toStructural } from '../../src/core/structural-schema.ts'

interface Column {
  name: string
  type: 'string' | 'date'
  description: string
  jsonPath: string
  /** 0 is always shown, 1 with -o wide. */
  priority?: 1
}

interface Validation {
  rule: string
  message: string
}

interface Kind {
  /** Left out: the group of this project. */
  group?: string
  kind: string
  plural: string
  scope: 'Namespaced' | 'Cluster'
  shortNames?: string[]
  /** What `kubectl get <category>` lists. */
  categories?: string[]
  description: string
  spec: object
  specRules?: Validation[]
  status: object
  columns: Column[]
}

const conditionColumn = (name: string, type: string, field: 'status' | 'reason' | 'message', description: string): Column => ({
  name,
  type: 'string',
  description,
  jsonPath: `.status.conditions[?(@.type=="${type}")].${field}`,
})

const wide = (column: Column): Column => ({ ...column, priority: 1 })

const AGE: Column = { name: 'Age', type: 'date', description: 'Time since creation.', jsonPath: '.metadata.creationTimestamp' }
const READY = conditionColumn('Ready', 'Ready', 'status', 'Whether everything is in place: True, False or Unknown.')
const REASON = conditionColumn('Reason', 'Ready', 'reason', 'One word: why Ready has this status.')
const MESSAGE = wide(conditionColumn('Message', 'Ready', 'message', 'One sentence: what is awaited, missing or done.'))

export const ACCESS_REQUEST: Kind = {
  kind: 'AccessRequest',
  plural: 'accessrequests',
  scope: 'Namespaced',
  shortNames: ['areq'],
  // Not "connectors": kubectl reads a word as a category first, and "get connectors" would list no Connector where theirs has another category.
  categories: ['access-gate'],
  description:
    'AccessRequest records that one workload wants to use one Connector from one Pod, and how far the approval is. It lives in the namespace of the Connector. ' +
    'It is made when such a Pod is created; people rarely make one.',
  spec: AccessRequestSpecSchema,
  // Compared with the old value, so it speaks on updates alone; taking the spec away is refused because it is required.
  specRules: [{ rule: 'self == oldSelf', message: IMMUTABLE_MESSAGE }],
  status: AccessRequestStatusSchema,
  columns: [
    { name: 'Connector', type: 'string', description: 'The Connector that is asked for.', jsonPath: '.spec.connectorRef.name' },
    { name: 'Subject', type: 'string', description: 'The ServiceAccount that asks.', jsonPath: '.spec.subject.name' },
    conditionColumn('ContextValid', 'ContextObjectValid', 'status', 'Whether the Pod is there and active.'),
    conditionColumn('Permission', 'AccessPermissionSync', 'reason', 'Where the permission stands: Pending, Synced, PermissionCleanUp.'),
    READY,
    AGE,
    wide({ name: 'Pod', type: 'string', description: 'The Pod that the access is for.', jsonPath: '.spec.context.objectRef.name' }),
    wide({ name: 'Pod Namespace', type: 'string', description: 'The namespace of the Pod.', jsonPath: '.spec.context.objectRef.namespace' }),
    MESSAGE,
  ],
}

export const ACCESS_POLICY: Kind = {
  kind: 'AccessPolicy',
  plural: 'accesspolicies',
  scope: 'Namespaced',
  shortNames: ['apol'],
  categories: ['access-gate'],
  description: 'AccessPolicy says which Connectors of its namespace need approval, which checks must pass, and which permission is then granted to the one Pod.',
  spec: AccessPolicySpecSchema,
  status: AccessPolicyStatusSchema,
  columns: [
    READY,
    AGE,
    wide({
      name: 'Role Template',
      type: 'string',
      description: 'The ConfigMap with the permission that is granted after the checks.',
      jsonPath: '.spec.checkGrantedPermission.spec.roleTemplate.ref.configMap.name',
    }),
    MESSAGE,
  ],
}

export const CONNECTOR: Kind = {
  kind: 'Connector',
  plural: 'connectors',
  scope: 'Namespaced',
  description: 'Connector is the credential-free way to one tool: a Git server, a registry, a cluster.',
  spec: ConnectorSpecSchema,
  status: ConnectorStatusSchema,
  columns: [
    { name: 'Class', type: 'string', description: 'The ConnectorClass.', jsonPath: '.spec.connectorClassName' },
    { name: 'Address', type: 'string', description: 'The address of the tool.', jsonPath: '.spec.address' },
    READY,
    REASON,
    AGE,
  ],
}

export const CONNECTOR_CLASS: Kind = {
  kind: 'ConnectorClass',
  plural: 'connectorclasses',
  scope: 'Cluster',
  description: 'ConnectorClass says how tools of one kind are reached, and which files a volume can hold for them.',
  spec: ConnectorClassSpecSchema,
  status: ConnectorClassStatusSchema,
  columns: [READY, REASON, AGE],
}

export const WORKSPACE: Kind = {
  group: WORKSPACE_GROUP,
  kind: 'Workspace',
  plural: 'workspaces',
  scope: 'Namespaced',
  description: 'Workspace is one development environment that people connect to, such as a notebook server.',
  spec: WorkspaceSpecSchema,
  status: WorkspaceStatusSchema,
  columns: [
    { name: 'Access', type: 'string', description: 'Who may connect: Public or OwnerOnly.', jsonPath: '.spec.accessType' },
    conditionColumn('Available', 'Available', 'status', 'Whether it can be connected to: True, False or Unknown.'),
    AGE,
    wide({ name: 'Owner', type: 'string', description: 'The user who made it.', jsonPath: '.metadata.annotations.workspace\\.jupyter\\.org/created-by' }),
    wide({ name: 'Strategy', type: 'string', description: 'The WorkspaceAccessStrategy.', jsonPath: '.spec.accessStrategy.name' }),
  ],
}

export const WORKSPACE_ACCESS_STRATEGY: Kind = {
  group: WORKSPACE_GROUP,
  kind: 'WorkspaceAccessStrategy',
  plural: 'workspaceaccessstrategies',
  scope: 'Namespaced',
  description: 'WorkspaceAccessStrategy says how Workspaces are connected to: by which address in a web browser, and by which plugin from elsewhere.',
  spec: WorkspaceAccessStrategySpecSchema,
  status: WorkspaceAccessStrategyStatusSchema,
  columns: [AGE],
}

const structuralRoot = (kind: Kind): object => ({
  type: 'object',
  description: kind.description,
  required: ['spec'],
  properties: {
    apiVersion: { type: 'string', description: `Version of the schema of this object: ${kind.group ?? GROUP}/${VERSION}.` },
    kind: { type: 'string', description: `Kind of this object: ${kind.kind}.` },
    // The API server allows no further words here; it adds its own.
    metadata: { type: 'object' },
    spec: {
      ...toStructural(kind.spec, `${kind.kind}.spec`),
      ...(kind.specRules === undefined ? {} : { 'x-kubernetes-validations': kind.specRules }),
    },
    status: toStructural(kind.status, `${kind.kind}.status`),
  },
})

/** The CustomResourceDefinition of a kind, ready to be applied. */
export const customResourceDefinition = (kind: Kind): object => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: `${kind.plural}.${kind.group ?? GROUP}`, labels: { group: kind.group ?? GROUP } },
  spec: {
    group: kind.group ?? GROUP,
    scope: kind.scope,
    names: {
      kind: kind.kind,
      listKind: `${kind.kind}List`,
      plural: kind.plural,
      singular: kind.kind.toLowerCase(),
      ...(kind.shortNames === undefined ? {} : { shortNames: kind.shortNames }),
      ...(kind.categories === undefined ? {} : { categories: kind.categories }),
    },
    versions: [
      {
        name: VERSION,
        served: true,
        storage: true,
        subresources: { status: {} },
        additionalPrinterColumns: kind.columns,
        schema: { openAPIV3Schema: structuralRoot(kind) },
      },
    ],
  },
})
