import { GRANT_PREFIX, GROUP, SERVICE_ACCOUNT, serviceAccountUser, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import { foreignNamespaceMessage, STATUS_WRITER_MESSAGE } from '../../src/core/request-rules.ts'

interface Named {
  name: string
  expression: string
}

interface Validation {
  expression: string
  message: string
  messageExpression?: string
  reason: 'Invalid' | 'Forbidden'
}

/** A ValidatingAdmissionPolicy that refuses, with its binding. The names are one and the same. */
export interface Guard {
  name: string
  group: string
  resources: string[]
  operations: string[]
  matchCondition?: Named
  variables?: Named[]
  /** The first one that fails is what the user reads. */
  validations: [Validation, ...Validation[]]
}

const OWN = 'own-namespace-goes-here'
const GOT = 'other-namespace-goes-here'

const celString = (text: string): string => JSON.stringify(text)

/**
 * The CEL expression that yields what `sentence(own, got)` says, with CEL expressions in the two places.
 * @throws Error when the sentence does not hold each of the two as it is
 */
export const celSentence = (sentence: (own: string, got: string) => string, own: string, got: string): string => {
  const expressions: Record<string, string> = { [OWN]: own, [GOT]: got }
  const parts = sentence(OWN, GOT).split(new RegExp(`(${OWN}|${GOT})`))
  for (const place of [OWN, GOT]) {
    if (!parts.includes(place)) throw new Error(`the sentence does not name its value as it is: ${sentence('own', 'got')}`)
  }
  return parts
    .filter((part) => part !== '')
    .map((part) => expressions[part] ?? celString(part))
    .join(' + ')
}

export const CREATED_OR_SPEC_CHANGED = {
  name: 'created-or-spec-changed',
  expression: "request.operation == 'CREATE' || has(object.spec) != has(oldObject.spec) || (has(object.spec) && object.spec != oldObject.spec)",
}

const FOREIGN_PATH = 'spec.connectorRef.namespace'

export const REQUEST_NAMESPACE: Guard = {
  name: 'access-gate-request-namespace',
  group: GROUP,
  resources: ['accessrequests'],
  operations: ['CREATE', 'UPDATE'],
  matchCondition: CREATED_OR_SPEC_CHANGED,
  validations: [
    {
      expression:
        '!has(object.spec) || !has(object.spec.connectorRef) || !has(object.spec.connectorRef.namespace) || object.spec.connectorRef.namespace == request.namespace',
      // Said only if the expression below fails.
      message: `${FOREIGN_PATH}: must be the request's own namespace`,
      messageExpression: celSentence((own, got) => `${FOREIGN_PATH}: ${foreignNamespaceMessage(own, got)}`, 'request.namespace', 'object.spec.connectorRef.namespace'),
      reason: 'Invalid',
    },
  ],
}

const IS_CONTROLLER = `request.userInfo.username == '${serviceAccountUser(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.controller)}'`

/** Every entry of the list was in it before. */
const nothingAdded = (list: string): string => `(!has(object.${list}) || object.${list}.all(entry, has(oldObject.${list}) && entry in oldObject.${list}))`

export const GRANT_NAMES: Guard = {
  name: 'access-gate-grant-names',
  group: 'rbac.authorization.k8s.io',
  resources: ['roles', 'rolebindings'],
  operations: ['CREATE', 'UPDATE'],
  matchCondition: {
    name: 'named-like-a-grant',
    expression: `object.metadata.name.startsWith('${GRANT_PREFIX}') || (has(object.roleRef) && object.roleRef.name.startsWith('${GRANT_PREFIX}'))`,
  },
  validations: [
    {
      expression: `request.operation == 'UPDATE' || ${IS_CONTROLLER}`,
      message: `metadata.name: names that begin with "${GRANT_PREFIX}" are for the access-gate controller alone, and so are bindings to a Role of such a name`,
      reason: 'Forbidden',
    },
    {
      expression: `request.operation == 'CREATE' || ${IS_CONTROLLER} || ${nothingAdded('subjects')}`,
      message: 'subjects: nobody but the access-gate controller adds one to a grant',
      reason: 'Forbidden',
    },
    {
      expression: `request.operation == 'CREATE' || ${nothingAdded('metadata.finalizers')}`,
      message: 'metadata.finalizers: a grant must go as soon as it is deleted; leave them out',
      reason: 'Forbidden',
    },
  ],
}

export const REQUEST_STATUS: Guard = {
  name: 'access-gate-request-status',
  group: GROUP,
  resources: ['accessrequests/status'],
  operations: ['UPDATE'],
  validations: [
    {
      expression: IS_CONTROLLER,
      message: `status: ${STATUS_WRITER_MESSAGE}`,
      reason: 'Forbidden',
    },
  ],
}

/** The policy and its binding, ready to be applied. */
export const admissionPolicy = (guard: Guard): [policy: object, binding: object] => [
  {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'ValidatingAdmissionPolicy',
    metadata: { name: guard.name },
    spec: {
      failurePolicy: 'Fail',
      matchConstraints: {
        resourceRules: [{ apiGroups: [guard.group], apiVersions: ['*'], operations: guard.operations, resources: guard.resources, scope: 'Namespaced' }],
      },
      ...(guard.matchCondition === undefined ? {} : { matchConditions: [guard.matchCondition] }),
      ...(guard.variables === undefined ? {} : { variables: guard.variables }),
      validations: guard.validations,
    },
  },
  {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'ValidatingAdmissionPolicyBinding',
    metadata: { name: guard.name },
    spec: { policyName: guard.name, validationActions: ['Deny'] },
  },
]
