import type { AccessPolicy } from '../api/access-policy.ts'
import type { AccessRequest } from '../api/access-request.ts'
import type { ApiService } from '../api/api-service.ts'
import type { ConfigMap } from '../api/config-map.ts'
import type { Connector, ConnectorClass } from '../api/connector.ts'
import type { Event } from '../api/event.ts'
import type { Lease } from '../api/lease.ts'
import type { KubeObject } from '../api/meta.ts'
import { API_VERSION } from '../api/names.ts'
import type { Pod } from '../api/pod.ts'
import type { Role, RoleBinding } from '../api/rbac.ts'
import type { Secret } from '../api/secret.ts'
import type { WebhookConfiguration } from '../api/webhook-configuration.ts'
import { WORKSPACE_API_VERSION, type Workspace, type WorkspaceAccessStrategy } from '../api/workspace.ts'
import type { Resource } from './ports.ts'

const namespaced = <T extends KubeObject>(apiVersion: string, kind: string, plural: string): Resource<T> => ({
  apiVersion,
  kind,
  plural,
  namespaced: true,
})

export const ACCESS_REQUESTS = namespaced<AccessRequest>(API_VERSION, 'AccessRequest', 'accessrequests')
export const ACCESS_POLICIES = namespaced<AccessPolicy>(API_VERSION, 'AccessPolicy', 'accesspolicies')
export const CONNECTORS = namespaced<Connector>(API_VERSION, 'Connector', 'connectors')
export const PODS = namespaced<Pod>('v1', 'Pod', 'pods')
export const CONFIG_MAPS = namespaced<ConfigMap>('v1', 'ConfigMap', 'configmaps')
export const ROLES = namespaced<Role>('rbac.authorization.k8s.io/v1', 'Role', 'roles')
export const ROLE_BINDINGS = namespaced<RoleBinding>('rbac.authorization.k8s.io/v1', 'RoleBinding', 'rolebindings')
export const LEASES = namespaced<Lease>('coordination.k8s.io/v1', 'Lease', 'leases')
export const EVENTS = namespaced<Event>('events.k8s.io/v1', 'Event', 'events')
export const SECRETS = namespaced<Secret>('v1', 'Secret', 'secrets')

export const WORKSPACES = namespaced<Workspace>(WORKSPACE_API_VERSION, 'Workspace', 'workspaces')
export const WORKSPACE_ACCESS_STRATEGIES = namespaced<WorkspaceAccessStrategy>(WORKSPACE_API_VERSION, 'WorkspaceAccessStrategy', 'workspaceaccessstrategies')

export const CONNECTOR_CLASSES: Resource<ConnectorClass> = { apiVersion: API_VERSION, kind: 'ConnectorClass', plural: 'connectorclasses', namespaced: false }

const webhookConfigurations = (kind: string, plural: string): Resource<WebhookConfiguration> => ({
  apiVersion: 'admissionregistration.k8s.io/v1',
  kind,
  plural,
  namespaced: false,
})
export const MUTATING_WEBHOOK_CONFIGURATIONS = webhookConfigurations('MutatingWebhookConfiguration', 'mutatingwebhookconfigurations')
export const VALIDATING_WEBHOOK_CONFIGURATIONS = webhookConfigurations('ValidatingWebhookConfiguration', 'validatingwebhookconfigurations')

export const API_SERVICES: Resource<ApiService> = { apiVersion: 'apiregistration.k8s.io/v1', kind: 'APIService', plural: 'apiservices', namespaced: false }
