import type { AccessRequest, PolicySnapshot, RenderedRule } from '../api/access-request.ts'
import type { KubeObject } from '../api/meta.ts'
import { API_VERSION, ANNOTATION, GRANT_PREFIX, GROUP, LABEL, SYSTEM_NAMESPACE } from '../api/names.ts'
import type { Pod } from '../api/pod.ts'
import type { PolicyRule, Role, RoleBinding } from '../api/rbac.ts'
import { CodedError } from '../errors.ts'
import { templateNamed, type Templates } from './check.ts'
import { sameJson } from './json.ts'
import { parsePathTemplate, renderPathTemplate } from './path-template.ts'
import { contentHash, cutWithHash, labelValue } from './request-identity.ts'
import { readRoleTemplate } from './role-template.ts'

export interface RenderedRules {
  rules: RenderedRule[]
  /** The rules reach beyond the Pod, as the template is annotated to allow. */
  unbound: boolean
}

const refuse = (configMap: string, why: string): never => {
  throw new CodedError('GRANT_REFUSED', `the role template ${SYSTEM_NAMESPACE}/${configMap} is refused: ${why}`)
}

const renderRule = (configMap: string, rule: PolicyRule, unbound: boolean, pod: Pod): RenderedRule => {
  const path = `connectors/proxy/v1/pod/${pod.metadata.namespace ?? ''}/${pod.metadata.name}`
  if ((rule.nonResourceURLs ?? []).length > 0) refuse(configMap, 'it names nonResourceURLs')
  if (rule.resourceNames !== undefined) refuse(configMap, 'it sets resourceNames; the controller sets them')
  const apiGroups = rule.apiGroups ?? []
  const [group] = apiGroups
  if (apiGroups.length !== 1 || group !== GROUP) refuse(configMap, `its apiGroups are ${JSON.stringify(apiGroups)}; only ["${GROUP}"] is granted`)
  const resources = (rule.resources ?? []).map((resource) => renderPathTemplate(parsePathTemplate(resource), { object: pod }))
  if (resources.length === 0) refuse(configMap, 'a rule names no resource')
  for (const resource of resources) {
    if (resource === path || (unbound && resource === 'connectors/proxy')) continue
    refuse(
      configMap,
      resource === 'connectors/proxy'
        ? `it grants connectors/proxy to the whole ServiceAccount without the annotation ${ANNOTATION.unbound}: "true"`
        : `it grants ${JSON.stringify(resource)}; only ${path} is granted`,
    )
  }
  if (rule.verbs.length === 0) refuse(configMap, 'a rule names no verb')
  return { apiGroups, resources, verbs: rule.verbs }
}

/**
 * The rules of a policy's role template for this Pod: exactly this Pod's path, or connectors/proxy where the template
 * is annotated for it; resource names are never taken from the template.
 * @throws CodedError TEMPLATE_MISSING, TEMPLATE_SYNTAX, TEMPLATE_VALUE; GRANT_REFUSED for a rule that reaches further
 */
export const renderRules = (configMapName: string, templates: Templates, pod: Pod): RenderedRules => {
  const template = readRoleTemplate(templateNamed(templates, configMapName))
  const rules = template.rules.map((rule) => renderRule(configMapName, rule, template.unbound, pod))
  return { rules, unbound: rules.some(({ resources }) => resources.includes('connectors/proxy')) }
}

/** The Role and RoleBinding of one policy for one request; both have the same name. */
export interface Grant {
  policy: string
  role: Role
  binding: RoleBinding
}

/** Name of a grant's Role and RoleBinding: another request of the same name has other grants. */
export const grantName = (request: AccessRequest, policy: string): string =>
  `${GRANT_PREFIX}${cutWithHash(request.metadata.name, 200)}-${contentHash([request.metadata.uid ?? '', policy]).slice(0, 10)}`

/** @param uid of the Pod, written on both objects: the grant is for that Pod and no successor of its name */
export const buildGrant = (request: AccessRequest, policy: string, rules: readonly RenderedRule[], uid: string): Grant => {
  const name = grantName(request, policy)
  const namespace = request.metadata.namespace ?? ''
  const metadata = {
    name,
    namespace,
    labels: { [LABEL.accessRequest]: labelValue(request.metadata.name), [LABEL.accessPolicy]: labelValue(policy) },
    annotations: { [ANNOTATION.podUid]: uid, [ANNOTATION.request]: request.metadata.name, [ANNOTATION.requestUid]: request.metadata.uid ?? '' },
    ownerReferences: [
      { apiVersion: API_VERSION, kind: 'AccessRequest', name: request.metadata.name, uid: request.metadata.uid ?? '', controller: true },
    ],
  }
  const { subject, connectorRef } = request.spec
  return {
    policy,
    role: {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'Role',
      metadata,
      rules: rules.map((rule) => ({ ...rule, resourceNames: [connectorRef.name] })),
    },
    binding: {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'RoleBinding',
      metadata,
      subjects: [{ kind: 'ServiceAccount', name: subject.name, namespace: subject.namespace ?? '' }],
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name },
    },
  }
}

/** The Roles and RoleBindings in the cluster that say they belong to a request. */
export interface ObservedGrants {
  roles: Role[]
  bindings: RoleBinding[]
}

const carries = (observed: KubeObject, wanted: KubeObject): boolean =>
  observed.metadata.deletionTimestamp === undefined &&
  Object.entries(wanted.metadata.labels ?? {}).every(([key, value]) => observed.metadata.labels?.[key] === value) &&
  Object.entries(wanted.metadata.annotations ?? {}).every(([key, value]) => observed.metadata.annotations?.[key] === value) &&
  (observed.metadata.ownerReferences ?? []).some(({ uid }) => uid === wanted.metadata.ownerReferences?.[0]?.uid)

const plainSubjects = (binding: RoleBinding): unknown => (binding.subjects ?? []).map(({ kind, name, namespace }) => ({ kind, name, namespace }))

/** What is wrong with a grant in the cluster: nothing, a part is missing, or a part was changed. */
export const grantState = (grant: Grant, observed: ObservedGrants): 'in-place' | 'missing' | 'changed' => {
  const role = observed.roles.find(({ metadata }) => metadata.name === grant.role.metadata.name)
  const binding = observed.bindings.find(({ metadata }) => metadata.name === grant.binding.metadata.name)
  if (role === undefined || binding === undefined) return 'missing'
  const same =
    carries(role, grant.role) &&
    carries(binding, grant.binding) &&
    sameJson(role.rules, grant.role.rules) &&
    sameJson(plainSubjects(binding), plainSubjects(grant.binding)) &&
    sameJson(binding.roleRef, grant.binding.roleRef)
  return same ? 'in-place' : 'changed'
}

/** The names under which a request may have grants: those of its policies, and whatever was observed besides. */
export const grantNames = (request: AccessRequest, policies: readonly PolicySnapshot[], observed: ObservedGrants): string[] => [
  ...new Set([
    ...policies.map(({ name }) => grantName(request, name)),
    ...[...observed.roles, ...observed.bindings].map(({ metadata }) => metadata.name),
  ]),
]

/** Names of observed grants that belong to none of the wanted ones. */
export const strayNames = (wanted: readonly Grant[], observed: ObservedGrants): string[] => {
  const names = new Set(wanted.map(({ role }) => role.metadata.name))
  return [...new Set([...observed.roles, ...observed.bindings].map(({ metadata }) => metadata.name))].filter((name) => !names.has(name))
}
