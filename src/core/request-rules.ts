import type { AccessRequest } from '../api/access-request.ts'
import type { ObjectMeta } from '../api/meta.ts'
import { ANNOTATION, CLEANUP_FINALIZER, LABEL } from '../api/names.ts'
import { isRecord, own, shown } from './json-shape.ts'
import { sameJson } from './json.ts'
import { namespaceProblem, subdomainProblem } from './name-rules.ts'
import { problemAt, type Problem } from './problem.ts'
import { labelValue } from './request-identity.ts'

/** Who sends an admission request. */
export interface Caller {
  user: string
  /** The service account of our webhook or CSI plugin: it writes requests on behalf of someone else. */
  isOurs: boolean
}

/** The group that people write for a ServiceAccount by habit; a RoleBinding with it would be refused. */
const RBAC_GROUP = 'rbac.authorization.k8s.io'
const MAX_UID = 253

/** For `spec`; the CRD's own rule carries the same sentence. */
export const IMMUTABLE_MESSAGE = 'is immutable; delete this request, and another subject, Connector or Pod gets a request of its own'

/** For `status`, when anyone but the controller writes it. */
export const STATUS_WRITER_MESSAGE = 'is written by the access-gate controller alone; approve the check object that the request waits for instead'

/** For `spec.connectorRef.namespace`. @param ownNamespace that of the request */
export const foreignNamespaceMessage = (ownNamespace: string, got: string): string =>
  `must be "${ownNamespace}", the request's own namespace; got "${got}"`

type Spec = AccessRequest['spec']

// The types below say what a good request looks like; the guards are for everything else that a caller may send.

const defaultSubject = (subject: Spec['subject']): Spec['subject'] => {
  if (!isRecord(subject) || subject.kind !== 'ServiceAccount' || subject.apiGroup !== RBAC_GROUP) return subject
  const { apiGroup: _dropped, ...rest } = subject
  return rest
}

const defaultContext = (context: Spec['context']): Spec['context'] => {
  if (!isRecord(context) || !isRecord(context.objectRef)) return context
  const { objectRef } = context
  return { ...context, objectRef: { ...objectRef, apiVersion: objectRef.apiVersion ?? 'v1', kind: objectRef.kind ?? 'Pod' } }
}

const defaultSpec = (spec: Spec): Spec => {
  if (!isRecord(spec)) return spec
  return {
    ...spec,
    ...('subject' in spec ? { subject: defaultSubject(spec.subject) } : {}),
    ...('context' in spec ? { context: defaultContext(spec.context) } : {}),
  }
}

/** The labels that a spec of any shape asks for; a field that is no text gets no label. */
const labelsOf = (spec: unknown): Record<string, string> => {
  const objectRef = own(own(spec, 'context'), 'objectRef')
  const wanted: [string, unknown][] = [
    [LABEL.contextKind, own(objectRef, 'kind') ?? 'Pod'],
    [LABEL.contextName, own(objectRef, 'name')],
    [LABEL.contextNamespace, own(objectRef, 'namespace')],
    [LABEL.connector, own(own(spec, 'connectorRef'), 'name')],
  ]
  return Object.fromEntries(wanted.flatMap(([key, value]) => (typeof value === 'string' ? [[key, labelValue(value)]] : [])))
}

/** On create the caller, unless one of ours says for whom; on update what was there. */
const requesterOf = (annotations: unknown, caller: Caller, old: AccessRequest | undefined): string | undefined => {
  const given = own(old === undefined ? annotations : own(old.metadata, 'annotations'), ANNOTATION.requestedBy)
  const text = typeof given === 'string' && given !== '' ? given : undefined
  return old === undefined && !(caller.isOurs && text !== undefined) ? caller.user : text
}

const withRequester = (annotations: ObjectMeta['annotations'], requester: string | undefined): ObjectMeta['annotations'] => {
  const { [ANNOTATION.requestedBy]: _replaced, ...rest } = isRecord(annotations) ? annotations : {}
  if (requester !== undefined) return { ...rest, [ANNOTATION.requestedBy]: requester }
  return isRecord(annotations) ? rest : annotations
}

const withFinalizer = (finalizers: string[] | null | undefined): string[] => {
  if (finalizers === undefined || finalizers === null) return [CLEANUP_FINALIZER]
  return Array.isArray(finalizers) && !finalizers.includes(CLEANUP_FINALIZER) ? [...finalizers, CLEANUP_FINALIZER] : finalizers
}

const defaultMetadata = (metadata: ObjectMeta, spec: Spec, caller: Caller, old: AccessRequest | undefined): ObjectMeta => {
  if (!isRecord(metadata)) return metadata
  // The spec never changes, so the labels of an update are those of the stored spec.
  const labels = labelsOf(old?.spec ?? spec)
  const annotations = withRequester(metadata.annotations, requesterOf(metadata.annotations, caller, old))
  return {
    ...metadata,
    ...(Object.keys(labels).length > 0 ? { labels: { ...(isRecord(metadata.labels) ? metadata.labels : {}), ...labels } } : {}),
    ...(annotations === undefined ? {} : { annotations }),
    // Never added again: removing it is how the controller lets a request go.
    ...(old === undefined ? { finalizers: withFinalizer(metadata.finalizers) } : {}),
  }
}

/**
 * What the mutating webhook makes of a request, as a new object; idempotent, and tolerant of any shape because no
 * schema has looked at it yet.
 * Create: apiVersion and kind of the Pod, a ServiceAccount without group, labels, the finalizer, who asked.
 * Update: labels and who asked are put back as they were; nothing else is touched.
 */
export const defaultRequest = (request: AccessRequest, caller: Caller, old?: AccessRequest): AccessRequest => {
  const spec = old === undefined ? defaultSpec(request.spec) : request.spec
  return {
    ...request,
    ...('spec' in request ? { spec } : {}),
    ...('metadata' in request ? { metadata: defaultMetadata(request.metadata, spec, caller, old) } : {}),
  }
}

const exactly = (value: unknown, wanted: string): string | undefined => (value === wanted ? undefined : `must be ${JSON.stringify(wanted)}; got ${shown(value)}`)

const notAnObject = (path: string, value: unknown): Problem[] => [
  { path, message: value === undefined || value === null ? 'is required' : `must be an object; got ${shown(value)}` },
]

const subjectNamespaceProblem = (namespace: unknown, podNamespace: unknown): string | undefined =>
  namespaceProblem(namespace) ??
  (podNamespace === undefined || namespace === podNamespace
    ? undefined
    : `must be ${shown(podNamespace)}, the namespace of the Pod in spec.context.objectRef; got ${shown(namespace)}`)

const subjectProblems = (subject: unknown, podNamespace: unknown): Problem[] => {
  const path = 'spec.subject'
  if (!isRecord(subject)) return notAnObject(path, subject)
  const { kind, name, namespace, apiGroup } = subject
  return [
    ...problemAt(`${path}.kind`, exactly(kind, 'ServiceAccount')),
    ...problemAt(`${path}.name`, subdomainProblem(name)),
    ...problemAt(`${path}.namespace`, subjectNamespaceProblem(namespace, podNamespace)),
    ...problemAt(`${path}.apiGroup`, apiGroup === undefined || apiGroup === '' ? undefined : `must be empty for a ServiceAccount; got ${shown(apiGroup)}`),
  ]
}

const connectorNamespaceProblem = (namespace: unknown, requestNamespace: unknown): string | undefined => {
  if (namespace === undefined || namespace === requestNamespace) return undefined
  if (typeof namespace !== 'string') return `must be text; got ${shown(namespace)}`
  return foreignNamespaceMessage(typeof requestNamespace === 'string' ? requestNamespace : '', namespace)
}

const connectorProblems = (connector: unknown, requestNamespace: unknown): Problem[] => {
  const path = 'spec.connectorRef'
  if (!isRecord(connector)) return notAnObject(path, connector)
  return [
    ...problemAt(`${path}.name`, subdomainProblem(connector['name'])),
    ...problemAt(`${path}.namespace`, connectorNamespaceProblem(connector['namespace'], requestNamespace)),
  ]
}

const uidProblem = (uid: unknown): string | undefined => {
  if (uid === undefined) return undefined
  if (typeof uid !== 'string') return `must be text; got ${shown(uid)}`
  if (uid === '') return 'must not be empty; leave it out to mean the first live Pod of that name'
  return uid.length > MAX_UID || /\s/.test(uid) ? `must be the uid of a Pod: at most ${MAX_UID} characters without spaces; got ${shown(uid)}` : undefined
}

const objectRefProblems = (objectRef: unknown): Problem[] => {
  const path = 'spec.context.objectRef'
  if (!isRecord(objectRef)) return notAnObject(path, objectRef)
  const { apiVersion, kind, name, namespace, uid, fieldPath, resourceVersion } = objectRef
  return [
    ...problemAt(`${path}.apiVersion`, exactly(apiVersion, 'v1')),
    ...problemAt(`${path}.kind`, exactly(kind, 'Pod')),
    ...problemAt(`${path}.name`, subdomainProblem(name)),
    ...problemAt(`${path}.namespace`, namespaceProblem(namespace)),
    ...problemAt(`${path}.uid`, uidProblem(uid)),
    ...problemAt(`${path}.fieldPath`, fieldPath === undefined ? undefined : 'must be left out: a request is for a whole Pod'),
    ...problemAt(`${path}.resourceVersion`, resourceVersion === undefined ? undefined : 'must be left out: a request is for a Pod, not for a version of it'),
  ]
}

/** Everything that is wrong with a request, in the order of the fields; empty for a good one. Never throws, whatever the shape. */
export const requestProblems = (request: AccessRequest): Problem[] => {
  const { spec, metadata }: { spec: unknown; metadata: unknown } = request
  if (!isRecord(spec)) return notAnObject('spec', spec)
  const context = spec['context']
  const objectRef = own(context, 'objectRef')
  return [
    ...subjectProblems(spec['subject'], own(objectRef, 'namespace')),
    ...connectorProblems(spec['connectorRef'], own(metadata, 'namespace')),
    ...(isRecord(context) ? objectRefProblems(objectRef) : notAnObject('spec.context', context)),
  ]
}

/** Any difference in the spec, also between a field that is empty and one that is not there. */
export const requestUpdateProblems = (old: AccessRequest, next: AccessRequest): Problem[] =>
  sameJson(old.spec, next.spec) ? [] : [{ path: 'spec', message: IMMUTABLE_MESSAGE }]
