/**
 * The wire: a parsed body to an AdmissionRequest, an Answer to the text of an AdmissionReview. Hand-written, because it runs
 * for every admission in the cluster that concerns us.
 */
import { ADMISSION_API_VERSION, ADMISSION_KIND, type AdmissionRequest, type GroupVersionResource, type Operation } from '../src/api/admission-review.ts'
import { isRecord, shown } from '../src/core/json-shape.ts'
import type { Answer } from './answer.ts'

export type Decoded = { ok: true; request: AdmissionRequest } | { ok: false; message: string }

/** What a hook takes: `accessrequests` of `connectors.alauda.io`. */
export interface HookResource {
  group: string
  resource: string
}

const refuse = (message: string): Decoded => ({ ok: false, message })

const OPERATIONS: ReadonlySet<unknown> = new Set<Operation>(['CREATE', 'UPDATE', 'DELETE', 'CONNECT'])
const isOperation = (value: unknown): value is Operation => OPERATIONS.has(value)
const isText = (value: unknown): value is string => typeof value === 'string' && value !== ''
const isOptionalText = (value: unknown): value is string | undefined => value === undefined || typeof value === 'string'

const isResource = (value: unknown): value is GroupVersionResource =>
  isRecord(value) && typeof value['group'] === 'string' && typeof value['version'] === 'string' && typeof value['resource'] === 'string'

/**
 * Reads the question. What is not there or not of its type is refused here, so that a hook never guesses;
 * the objects inside are only known to be objects.
 * @param expected the resource of the hook that was called: a question about another one is a wrong configuration
 */
export const decodeReview = (body: unknown, expected: HookResource): Decoded => {
  if (!isRecord(body)) return refuse(`the body must be an ${ADMISSION_KIND}; got ${shown(body)}`)
  if (body['apiVersion'] !== ADMISSION_API_VERSION || body['kind'] !== ADMISSION_KIND)
    return refuse(`the body must be an ${ADMISSION_KIND} of ${ADMISSION_API_VERSION}; got kind ${shown(body['kind'])} of ${shown(body['apiVersion'])}`)
  const asked = body['request']
  if (!isRecord(asked)) return refuse(`request must be an object; got ${shown(asked)}`)
  const { uid, operation, resource, name, namespace, userInfo, object, oldObject, dryRun } = asked
  if (!isText(uid)) return refuse(`request.uid must be a text that is not empty; got ${shown(uid)}`)
  if (!isOperation(operation)) return refuse(`request.operation must be CREATE, UPDATE, DELETE or CONNECT; got ${shown(operation)}`)
  if (!isRecord(userInfo) || typeof userInfo['username'] !== 'string') return refuse('request.userInfo.username must be a text')
  if (!isOptionalText(name)) return refuse(`request.name must be a text; got ${shown(name)}`)
  if (!isOptionalText(namespace)) return refuse(`request.namespace must be a text; got ${shown(namespace)}`)
  if (dryRun !== undefined && dryRun !== null && typeof dryRun !== 'boolean') return refuse(`request.dryRun must be true or false; got ${shown(dryRun)}`)
  const request: AdmissionRequest = { uid, operation, userInfo: { username: userInfo['username'] }, dryRun: dryRun === true }
  if (resource !== undefined) {
    if (!isResource(resource)) return refuse('request.resource must have group, version and resource')
    if (resource.resource !== expected.resource || resource.group !== expected.group)
      return refuse(`this hook is for ${nameOf(expected)}; it was asked about ${nameOf(resource)}: correct the webhook configuration`)
    request.resource = resource
  }
  if (name !== undefined) request.name = name
  if (namespace !== undefined) request.namespace = namespace
  if (operation === 'CREATE' || operation === 'UPDATE') {
    if (!isRecord(object)) return refuse(`request.object must be an object on ${operation}; got ${shown(object)}`)
    request.object = object
  }
  if (operation === 'UPDATE') {
    if (!isRecord(oldObject)) return refuse(`request.oldObject must be an object on UPDATE; got ${shown(oldObject)}`)
    request.oldObject = oldObject
  }
  return { ok: true, request }
}

const nameOf = ({ group, resource }: HookResource): string => (group === '' ? resource : `${resource}.${group}`)

const HEAD = `{"apiVersion":"${ADMISSION_API_VERSION}","kind":"${ADMISSION_KIND}","response":{"uid":`

/** Of more warnings than these the rest is counted: the API server cuts all of them together at 4096 characters. */
const MAX_WARNINGS = 20

/** A warning travels in an HTTP header: the API server drops one that holds a control character. */
const headerText = (text: string): string => text.replaceAll(/\p{Cc}+/gu, ' ')

const warningsField = (warnings: readonly string[]): string => {
  if (warnings.length === 0) return ''
  const shownWarnings = warnings.slice(0, MAX_WARNINGS).map(headerText)
  const rest = warnings.length - shownWarnings.length
  if (rest > 0) shownWarnings.push(`and ${rest} more warnings`)
  return `,"warnings":${JSON.stringify(shownWarnings)}`
}

/** The body of the reply. The uid is that of the question; a plain yes is two constants around it. */
export const encodeReview = (uid: string, answer: Answer): string => {
  const start = HEAD + JSON.stringify(uid)
  switch (answer.kind) {
    case 'allowed':
      return `${start},"allowed":true${warningsField(answer.warnings)}}}`
    case 'patched': {
      const patch = Buffer.from(JSON.stringify(answer.patch)).toString('base64')
      return `${start},"allowed":true,"patchType":"JSONPatch","patch":"${patch}"}}`
    }
    case 'denied':
      return `${start},"allowed":false,"status":${JSON.stringify(answer.status)}${warningsField(answer.warnings)}}}`
  }
}
