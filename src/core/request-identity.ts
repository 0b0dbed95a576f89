import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'
import type { AccessRequest, AccessRequestSpec } from '../api/access-request.ts'
import { ANNOTATION, API_VERSION, CLEANUP_FINALIZER, LABEL } from '../api/names.ts'
import { isLabelValue } from './name-rules.ts'

export interface PodKey {
  namespace: string
  name: string
  uid: string
}

export interface ConnectorKey {
  namespace: string
  name: string
}

/** As people and records write it. */
export const connectorName = ({ namespace, name }: ConnectorKey): string => `${namespace}/${name}`

/** What makes two requests the same one: the Connector, the one Pod and its ServiceAccount. */
export interface RequestIdentity {
  connector: ConnectorKey
  pod: PodKey
  /** Name of the ServiceAccount, in the namespace of the Pod. */
  serviceAccount: string
}

const MAX_NAME = 253
const MAX_LABEL_VALUE = 63
/** 40 bits: names with the same readable part differ by it alone. */
const HASH_LENGTH = 10

/** Hex SHA-256 over a list of texts; the parts are kept apart whatever characters they hold. */
export const contentHash = (parts: readonly string[]): string => bytesToHex(sha256(utf8ToBytes(JSON.stringify(parts))))

const shortHash = (...parts: string[]): string => contentHash(parts).slice(0, HASH_LENGTH)

/** A prefix that ends in a letter or digit, so that "-" and a hash may follow it. */
const prefixOf = (text: string, max: number): string => text.slice(0, Math.max(0, max)).replace(/[^A-Za-z0-9]+$/, '')

const withHash = (readable: string, hash: string, max: number): string => {
  const prefix = prefixOf(readable, max - hash.length - 1)
  return prefix === '' ? hash.slice(0, max) : `${prefix}-${hash}`
}

/** The text itself when it fits; else a prefix, "-" and a hash of the whole text. A valid name or label value stays one. */
export const cutWithHash = (text: string, max: number): string => (text.length <= max ? text : withHash(text, shortHash(text), max))

/** A valid label value for any text; text that is none, or is too long, ends in a hash of the whole text. */
export const labelValue = (text: string): string => {
  if (isLabelValue(text)) return text
  const readable = text.replaceAll(/[^-A-Za-z0-9_.]+/g, '-').replace(/^[^A-Za-z0-9]+/, '')
  return withHash(readable, shortHash(text), MAX_LABEL_VALUE)
}

/** Lower case letters, digits, single dots and dashes, with no dash beside a dot: what a DNS subdomain may hold. */
const subdomainText = (text: string): string =>
  text
    .toLowerCase()
    .replaceAll(/[^-a-z0-9.]+/g, '-')
    .replaceAll(/-*\.[-.]*/g, '.')
    .replace(/^[-.]+/, '')

/**
 * `<connector>-<pod>-<hash over the whole identity>`, cut to a valid object name. The hash alone tells
 * requests apart: equal Pod names in two namespaces, a successor of the same name, another ServiceAccount.
 */
export const requestName = ({ connector, pod, serviceAccount }: RequestIdentity): string => {
  const hash = shortHash(connector.namespace, connector.name, pod.namespace, pod.name, pod.uid, serviceAccount)
  return withHash(subdomainText(`${connector.name}-${pod.name}`), hash, MAX_NAME)
}

/** Labels to find requests by; a long name is cut with a hash, so they prove nothing. */
export const requestLabels = ({ connectorRef, context: { objectRef } }: AccessRequestSpec): Record<string, string> => ({
  [LABEL.contextKind]: labelValue(objectRef.kind ?? 'Pod'),
  [LABEL.contextName]: labelValue(objectRef.name),
  [LABEL.contextNamespace]: labelValue(objectRef.namespace),
  [LABEL.connector]: labelValue(connectorRef.name),
})

/** The whole request, as the defaults of our own webhook leave it. */
export const buildRequest = (identity: RequestIdentity, requestedBy: string): AccessRequest => {
  const { connector, pod, serviceAccount } = identity
  const spec: AccessRequestSpec = {
    subject: { kind: 'ServiceAccount', name: serviceAccount, namespace: pod.namespace },
    connectorRef: { name: connector.name },
    context: { objectRef: { apiVersion: 'v1', kind: 'Pod', name: pod.name, namespace: pod.namespace, uid: pod.uid } },
  }
  return {
    apiVersion: API_VERSION,
    kind: 'AccessRequest',
    metadata: {
      name: requestName(identity),
      namespace: connector.namespace,
      labels: requestLabels(spec),
      annotations: { [ANNOTATION.requestedBy]: requestedBy },
      finalizers: [CLEANUP_FINALIZER],
    },
    spec,
  }
}

/**
 * Whether a request speaks of this very identity, whoever made it and whatever it is called. The Pod's uid counts:
 * the one in the spec, or the one that the controller bound a request without uid to.
 */
export const isForIdentity = (request: AccessRequest, { connector, pod, serviceAccount }: RequestIdentity): boolean => {
  const { subject, connectorRef, context } = request.spec
  const { objectRef } = context
  return (
    request.metadata.namespace === connector.namespace &&
    connectorRef.name === connector.name &&
    subject.kind === 'ServiceAccount' &&
    subject.name === serviceAccount &&
    subject.namespace === pod.namespace &&
    (objectRef.kind ?? 'Pod') === 'Pod' &&
    objectRef.name === pod.name &&
    objectRef.namespace === pod.namespace &&
    (objectRef.uid ?? request.status?.contextUID) === pod.uid
  )
}
