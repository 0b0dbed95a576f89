/**
 * What may be answered to an AdmissionReview, worked out again from the specification and by nothing of the program: who wants to
 * know whether something wrong was let in must not ask the code that let it in.
 */
import jsonPatch from 'fast-json-patch'
import type { Json } from './mutated-json.ts'

type Fields = Record<string, unknown>

export const fieldsOf = (value: unknown): Fields | undefined => (typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : undefined)

/** What is at a path of own properties; undefined when it leads nowhere. */
export const at = (value: unknown, ...path: string[]): unknown => {
  const [key, ...rest] = path
  if (key === undefined) return value
  const fields = fieldsOf(value)
  return fields !== undefined && Object.hasOwn(fields, key) ? at(fields[key], ...rest) : undefined
}

/** By text: other ways of copying end at some depth. */
const copyOf = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

/** One text for one value, whatever the order of keys. */
export const canonical = (value: unknown): string => {
  const fields = fieldsOf(value)
  if (fields !== undefined)
    return `{${Object.keys(fields)
      .toSorted()
      .map((key) => `${JSON.stringify(key)}:${canonical(fields[key])}`)
      .join(',')}}`
  return Array.isArray(value) ? `[${value.map(canonical).join(',')}]` : (JSON.stringify(value) ?? 'nothing')
}

const isLabel = (value: unknown): boolean => typeof value === 'string' && value.length <= 63 && /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/.test(value)
const isSubdomain = (value: unknown): boolean =>
  typeof value === 'string' && value.length <= 253 && value.split('.').every((part) => /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/.test(part))

/** The namespace that the API server will store it in. */
const namespaceOf = (object: unknown, asked: unknown): unknown => {
  const metadata = fieldsOf(at(object, 'metadata'))
  if (metadata === undefined) return undefined
  return Object.hasOwn(metadata, 'namespace') ? metadata['namespace'] : at(asked, 'namespace')
}

/** A request that may be created: a ServiceAccount, of the Pod's namespace, for one Pod and a Connector beside the request. */
const isGoodRequest = (object: unknown, asked: unknown): boolean => {
  const subject = at(object, 'spec', 'subject')
  const connector = at(object, 'spec', 'connectorRef')
  const ref = at(object, 'spec', 'context', 'objectRef')
  const uid = at(ref, 'uid')
  const group = at(subject, 'apiGroup')
  const connectorNamespace = at(connector, 'namespace')
  return (
    at(subject, 'kind') === 'ServiceAccount' &&
    isSubdomain(at(subject, 'name')) &&
    isLabel(at(subject, 'namespace')) &&
    at(subject, 'namespace') === at(ref, 'namespace') &&
    (group === undefined || group === '') &&
    isSubdomain(at(connector, 'name')) &&
    (connectorNamespace === undefined || connectorNamespace === namespaceOf(object, asked)) &&
    at(ref, 'apiVersion') === 'v1' &&
    at(ref, 'kind') === 'Pod' &&
    isSubdomain(at(ref, 'name')) &&
    isLabel(at(ref, 'namespace')) &&
    (uid === undefined || (typeof uid === 'string' && uid !== '' && uid.length <= 253 && !/\s/.test(uid))) &&
    at(ref, 'fieldPath') === undefined &&
    at(ref, 'resourceVersion') === undefined
  )
}

const isTextList = (value: unknown): boolean => value === undefined || (Array.isArray(value) && value.every((item) => typeof item === 'string'))
const isFilled = (value: unknown): boolean => (Array.isArray(value) ? value.length : Object.keys(fieldsOf(value) ?? {}).length) > 0

/** One check: its name, and either a template or its own rules, which name a kind that the controller may read and no Secret. */
const isPossibleCheck = (check: unknown): boolean => {
  const own = fieldsOf(check)
  if (own === undefined || typeof own['name'] !== 'string' || own['name'].trim() === '') return false
  if (Object.hasOwn(own, 'ref') === Object.hasOwn(own, 'spec')) return false
  if (Object.hasOwn(own, 'ref')) return isSubdomain(at(check, 'ref', 'configMap', 'name'))
  const selector = at(check, 'spec', 'selector')
  const kind = at(selector, 'objectRef', 'kind')
  const version = at(selector, 'objectRef', 'apiVersion')
  const selects = at(selector, 'objectRef', 'name') !== undefined || isFilled(at(selector, 'matchLabels')) || isFilled(at(selector, 'matchExpressions'))
  return (
    typeof kind === 'string' &&
    kind !== '' &&
    typeof version === 'string' &&
    version !== '' &&
    !(version === 'v1' && kind.toLowerCase() === 'secret') &&
    selects &&
    at(check, 'spec', 'state', 'rego') === undefined
  )
}

/** Not all rules of a policy, but those without which it could grant what it should not. */
const isPossiblePolicy = (object: unknown): boolean => {
  const spec = fieldsOf(at(object, 'spec'))
  if (spec === undefined) return false
  const connector = spec['connector']
  const names = at(connector, 'names')
  if (connector !== undefined && fieldsOf(connector) === undefined) return false
  if (!isTextList(names) || (isFilled(names) && (isFilled(at(connector, 'matchLabels')) || isFilled(at(connector, 'matchExpressions'))))) return false
  if (!Object.hasOwn(spec, 'checkGrantedPermission')) return true
  const granted = at(spec, 'checkGrantedPermission', 'spec')
  const checks = at(granted, 'checks')
  if (!Array.isArray(checks) || checks.length === 0 || !checks.every(isPossibleCheck)) return false
  const checkNames = checks.map((check) => at(check, 'name'))
  return new Set(checkNames).size === checkNames.length && isSubdomain(at(granted, 'roleTemplate', 'ref', 'configMap', 'name'))
}

const specOf = (object: unknown): string => canonical(at(object, 'spec'))

/** `must` is answered, `may` leaves the refusal open. */
export type Verdict = 'must allow' | 'must refuse' | 'may allow'

const CONTROLLER = 'system:serviceaccount:connectors-system:access-gate-controller'

/** @param asked the `request` of a review whose envelope is in order */
export const verdictOn = (path: string, asked: Json): Verdict => {
  const [operation, object, oldObject] = [at(asked, 'operation'), at(asked, 'object'), at(asked, 'oldObject')]
  const writes = operation === 'CREATE' || operation === 'UPDATE'
  const kept = operation === 'UPDATE' && specOf(object) === specOf(oldObject)
  switch (path) {
    case '/validate/access-request':
      if (!writes || kept) return 'must allow'
      return operation === 'CREATE' && isGoodRequest(object, asked) ? 'must allow' : 'must refuse'
    case '/validate/access-request-status':
      return at(asked, 'userInfo', 'username') === CONTROLLER ? 'must allow' : 'must refuse'
    case '/validate/access-policy':
      if (!writes || kept) return 'must allow'
      return isPossiblePolicy(object) ? 'may allow' : 'must refuse'
    default:
      return 'must allow'
  }
}

const GATED = 'connectors.alauda.io/gated'
const REQUESTED_BY = 'connectors.alauda.io/requested-by'
const SPEAKS_FOR_OTHERS = ['access-gate-webhook', 'access-gate-csi'].map((name) => `system:serviceaccount:connectors-system:${name}`)

/** The only changes of a spec: the kind of a Pod that goes without saying, and a group that people write by habit. */
const withDefaults = (spec: unknown): unknown => {
  const copy = spec === undefined ? undefined : copyOf(spec)
  const subject = fieldsOf(at(copy, 'subject'))
  if (subject !== undefined && subject['kind'] === 'ServiceAccount' && subject['apiGroup'] === 'rbac.authorization.k8s.io') delete subject['apiGroup']
  const ref = fieldsOf(at(copy, 'context', 'objectRef'))
  if (ref !== undefined) {
    ref['apiVersion'] ??= 'v1'
    ref['kind'] ??= 'Pod'
  }
  return copy
}

const isGated = (pod: unknown): boolean => {
  const volumes = at(pod, 'spec', 'volumes')
  return Array.isArray(volumes) && volumes.some((volume) => at(volume, 'csi', 'driver') === 'connectors-csi')
}

const wrongInRequest = (asked: unknown, before: unknown, after: unknown): string | undefined => {
  const created = at(asked, 'operation') === 'CREATE'
  const spec = created ? withDefaults(at(before, 'spec')) : at(before, 'spec')
  if (canonical(at(after, 'spec')) !== canonical(spec)) return 'the spec was changed'
  if (fieldsOf(at(before, 'metadata')) === undefined) return undefined
  const user = at(asked, 'userInfo', 'username')
  const said = at(after, 'metadata', 'annotations', REQUESTED_BY)
  if (created && !SPEAKS_FOR_OTHERS.includes(String(user)) && said !== user) return `requested by ${canonical(said)}`
  const stored = at(asked, 'oldObject', 'metadata', 'annotations', REQUESTED_BY)
  if (!created && typeof stored === 'string' && stored !== '' && said !== stored) return `who asked was changed to ${canonical(said)}`
  if (!created && typeof stored !== 'string' && said !== undefined) return `${canonical(said)} was made the one who asked`
  return undefined
}

/** What is wrong with a patch of a mutating hook; undefined when nothing is. */
export const wrongInPatch = (path: string, asked: Json, patch: jsonPatch.Operation[]): string | undefined => {
  const before = at(asked, 'object')
  if (fieldsOf(before) === undefined) return patch.length === 0 ? undefined : 'a patch for no object'
  const after: unknown = jsonPatch.applyPatch(copyOf(before), patch).newDocument
  if (path === '/mutate/access-request') return wrongInRequest(asked, before, after)
  const elsewhere = patch.find((operation) => !operation.path.startsWith('/metadata/labels'))
  if (elsewhere !== undefined) return `a patch of ${elsewhere.path}`
  const concerned = at(asked, 'operation') === 'CREATE' && isGated(before) && fieldsOf(at(before, 'metadata')) !== undefined
  if (!concerned) return patch.length === 0 ? undefined : 'a Pod that does not concern us was patched'
  return at(after, 'metadata', 'labels', GATED) === 'true' ? undefined : 'a Pod of ours was not labelled'
}
