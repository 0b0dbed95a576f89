import type { AccessRequest, ResolvedCheck } from '../api/access-request.ts'
import type { KubeObject } from '../api/meta.ts'
import { isFinal } from '../core/conditions.ts'

/** A kind of check objects, as a key. */
export const kindKey = (apiVersion: string, kind: string): string => `${apiVersion}/${kind}`

const scope = (apiVersion: string, kind: string, namespace: string): string => `${kindKey(apiVersion, kind)}|${namespace}`

/** One thing that a check's selector requires, so that an object leads to its requests, and a check to its objects, without asking all of them. */
const selectorKey = (check: ResolvedCheck, namespace: string): string => {
  const prefix = scope(check.apiVersion, check.kind, namespace)
  if (check.objectName !== undefined) return `${prefix}|name=${check.objectName}`
  const [label] = Object.entries(check.matchLabels ?? {})
  return label === undefined ? `${prefix}|any` : `${prefix}|label:${label[0]}=${label[1]}`
}

const uidKey = (uid: string): string => `uid|${uid}`

/** The keys under which the objects of a check are found, among others: what it selects, and what is recorded for it. */
export const checkKeys = (check: ResolvedCheck, namespace: string, recorded: readonly { uid: string }[]): string[] => [
  selectorKey(check, namespace),
  ...recorded.map(({ uid }) => uidKey(uid)),
]

/** The checks that a request still cares for. */
export const openChecks = ({ status }: AccessRequest): ResolvedCheck[] =>
  isFinal(status) ? [] : (status?.policies ?? []).flatMap(({ checks }) => checks ?? [])

/** Under which keys a request is found when a check object changes: its selectors, and the objects it has recorded. */
export const requestCheckKeys = (request: AccessRequest): string[] => {
  if (isFinal(request.status)) return []
  const { namespace } = request.spec.context.objectRef
  const recorded = (request.status?.policies ?? []).flatMap(({ matchedChecks }) => matchedChecks ?? [])
  return [...openChecks(request).map((check) => selectorKey(check, namespace)), ...recorded.map(({ ref }) => uidKey(ref.uid))]
}

/** The keys under which requests that care for a check object are found. */
export const objectCheckKeys = (apiVersion: string, kind: string, object: KubeObject): string[] => {
  const prefix = scope(apiVersion, kind, object.metadata.namespace ?? '')
  return [
    `${prefix}|any`,
    `${prefix}|name=${object.metadata.name}`,
    ...Object.entries(object.metadata.labels ?? {}).map(([key, value]) => `${prefix}|label:${key}=${value}`),
    ...(object.metadata.uid === undefined ? [] : [uidKey(object.metadata.uid)]),
  ]
}

/** The kinds that a request needs to be watched. */
export const requestKinds = (request: AccessRequest): string[] => [...new Set(openChecks(request).map(({ apiVersion, kind }) => kindKey(apiVersion, kind)))]
