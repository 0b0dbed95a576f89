import jsonPatch from 'fast-json-patch'
import type { AccessRequest } from '../src/api/access-request.ts'
import { GROUP, SERVICE_ACCOUNT, serviceAccountUser, SYSTEM_NAMESPACE } from '../src/api/names.ts'
import { isRecord } from '../src/core/json-shape.ts'
import type { Problem } from '../src/core/problem.ts'
import { defaultRequest, requestProblems, requestUpdateProblems } from '../src/core/request-rules.ts'
import { ALLOWED, invalid, patched } from './answer.ts'
import { REQUEST_RESOURCE, type Hook } from './hook.ts'

/** There on CREATE and UPDATE alone, an object as the wire made sure; core's rules take everything inside for what it is, or refuse it by name. */
const isRequest = (object: unknown): object is AccessRequest => isRecord(object)

/** The request as the API server will store it: in the namespace that was called, also where the object leaves it out. */
const inNamespace = (object: AccessRequest, namespace: string | undefined): AccessRequest => {
  const { metadata }: { metadata: unknown } = object
  if (namespace === undefined || !isRecord(metadata) || metadata['namespace'] !== undefined) return object
  return { ...object, metadata: { ...object.metadata, namespace } }
}

/** Who makes requests for others. */
const OURS: ReadonlySet<string> = new Set([SERVICE_ACCOUNT.webhook, SERVICE_ACCOUNT.csi].map((name) => serviceAccountUser(SYSTEM_NAMESPACE, name)))

/** Defaults on CREATE and UPDATE. What has the wrong shape is left as it is: the schema and the validating hook come next and name the field. */
export const mutateAccessRequest: Hook = {
  path: '/mutate/access-request',
  name: 'mutate-access-request',
  resource: REQUEST_RESOURCE,
  answer: ({ object, oldObject, userInfo, namespace }) => {
    if (!isRequest(object)) return ALLOWED
    const sent = inNamespace(object, namespace)
    const caller = { user: userInfo.username, isOurs: OURS.has(userInfo.username) }
    const defaulted = isRequest(oldObject) ? defaultRequest(sent, caller, oldObject) : defaultRequest(sent, caller)
    return patched(jsonPatch.compare(sent, defaulted))
  },
}

/** An update that leaves the spec alone is never in anyone's way; one that does not is judged whole. */
const updateProblems = (old: AccessRequest, next: AccessRequest): Problem[] => {
  const problems = requestUpdateProblems(old, next)
  return problems.length === 0 ? problems : [...problems, ...requestProblems(next)]
}

/** Every rule on CREATE; on UPDATE that the spec stays as it is. Everything else may pass. */
export const validateAccessRequest: Hook = {
  path: '/validate/access-request',
  name: 'validate-access-request',
  resource: REQUEST_RESOURCE,
  answer: ({ name, namespace, object, oldObject }) => {
    if (!isRequest(object)) return ALLOWED
    const next = inNamespace(object, namespace)
    const problems = isRequest(oldObject) ? updateProblems(oldObject, next) : requestProblems(next)
    return problems.length === 0 ? ALLOWED : invalid({ group: GROUP, kind: 'AccessRequest', name }, problems)
  },
}
