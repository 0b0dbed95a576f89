/**
 * Judges a run from outside: grants only for what was approved, each made once, none left. It looks at the cluster all the time, and in
 * the end at the API server's audit log, which tells also of what came and went between two looks.
 */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import type { AccessRequest } from '../../src/api/access-request.ts'
import { LABEL, SERVICE_ACCOUNT, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import type { Role } from '../../src/api/rbac.ts'
import { isFinal } from '../../src/core/conditions.ts'
import { grantName } from '../../src/core/grant.ts'
import type { Reader } from '../../src/kube/ports.ts'
import { ACCESS_REQUESTS, EVENTS, ROLE_BINDINGS, ROLES } from '../../src/kube/resources.ts'

export interface Verdict {
  /** Requests that were there in the end. */
  requests: number
  /** Those of them that are neither final nor gone. */
  open: string[]
  /** Roles and RoleBindings of grants that are left. */
  left: string[]
  /** Names of grants that were made, by the audit log. */
  granted: number
  /** Roles or RoleBindings that were made more than once. */
  grantedTwice: string[]
  /** Grants for a Pod that nobody had begun to approve. */
  unapproved: string[]
  /** Requests with more than one AccessGranted Event. */
  toldTwice: string[]
  /** Requests whose grant was made, with no AccessGranted Event. */
  untold: string[]
  /** How often the cluster was looked at meanwhile. */
  looks: number
}

export interface GrantJudge {
  /** From now on a grant for this Pod is right. To be called before the approval is sent. */
  approving: (pod: string) => void
  /** Ends looking. */
  verdict: () => Promise<Verdict>
}

interface AuditLine {
  verb: string
  stage: string
  requestReceivedTimestamp: string
  user: { username: string }
  objectRef?: { resource?: string; namespace?: string; name?: string; subresource?: string }
  responseStatus?: { code?: number }
}

const CONTROLLER = `system:serviceaccount:${SYSTEM_NAMESPACE}:${SERVICE_ACCOUNT.controller}`

/** What the controller made, with the time when it asked for it. The last line of a killed API server may be half a line. */
const readCreations = async (auditLog: string, namespace: string): Promise<{ kind: string; name: string; at: number }[]> => {
  const creations: { kind: string; name: string; at: number }[] = []
  for await (const text of createInterface({ input: createReadStream(auditLog) })) {
    if (!text.includes('"verb":"create"') || !text.includes(CONTROLLER) || !text.endsWith('}')) continue
    const { stage, verb, user, objectRef, responseStatus, requestReceivedTimestamp }: AuditLine = JSON.parse(text)
    const { resource = '', name = '' } = objectRef ?? {}
    const isGrant = (resource === 'roles' || resource === 'rolebindings') && objectRef?.namespace === namespace && objectRef.subresource === undefined
    if (stage === 'ResponseComplete' && verb === 'create' && isGrant && user.username === CONTROLLER && responseStatus?.code === 201)
      creations.push({ kind: resource, name, at: Date.parse(requestReceivedTimestamp) })
  }
  return creations
}

const podOfRole = ({ rules }: Role): string => rules?.[0]?.resources?.[0]?.split('/').at(-1) ?? ''
const podOfRequest = ({ spec }: AccessRequest): string => spec.context.objectRef.name

const repeated = (names: readonly string[]): string[] => [...new Set(names.filter((name, index) => names.indexOf(name) !== index))]

/** Roles and RoleBindings that the controller made more than once, by the audit log. */
export const grantedTwice = async (auditLog: string, namespace: string): Promise<string[]> =>
  repeated((await readCreations(auditLog, namespace)).map(({ kind, name }) => `${kind}/${name}`))

export interface JudgeOptions {
  namespace: string
  /** Names of the AccessPolicies of the namespace. */
  policies: readonly string[]
  /** Left out: what comes and goes between two looks is not judged. */
  auditLog?: string
  /** Milliseconds between two looks. Default 100. */
  lookMs?: number
}

export const judgeGrants = (kube: Reader, { namespace, policies, auditLog, lookMs = 100 }: JudgeOptions): GrantJudge => {
  const approvedAt = new Map<string, number>()
  const unapproved = new Set<string>()
  const ending = new AbortController()
  let looks = 0

  const look = async (): Promise<void> => {
    const { items } = await kube.list(ROLES, { namespace, labelSelector: LABEL.accessRequest })
    looks += 1
    for (const role of items) if (!approvedAt.has(podOfRole(role))) unapproved.add(role.metadata.name)
  }
  const keepLooking = async (): Promise<void> => {
    while (!ending.signal.aborted) {
      // An API server that is away shows nothing; the audit log closes the gap.
      await look().catch(() => undefined)
      await delay(lookMs)
    }
  }
  const looking = keepLooking()

  return {
    approving: (pod) => {
      if (!approvedAt.has(pod)) approvedAt.set(pod, Date.now())
    },
    verdict: async () => {
      ending.abort()
      await looking
      const labelSelector = LABEL.accessRequest
      const [{ items: requests }, { items: roles }, { items: bindings }, { items: events }, creations] = await Promise.all([
        kube.list(ACCESS_REQUESTS, { namespace }),
        kube.list(ROLES, { namespace, labelSelector }),
        kube.list(ROLE_BINDINGS, { namespace, labelSelector }),
        kube.list(EVENTS, { namespace }),
        auditLog === undefined ? [] : readCreations(auditLog, namespace),
      ])
      const requestOf = new Map(requests.flatMap((request) => policies.map((policy) => [grantName(request, policy), request] as const)))
      for (const { name, at } of creations) {
        const request = requestOf.get(name)
        const approval = request === undefined ? undefined : approvedAt.get(podOfRequest(request))
        if (approval === undefined || at < approval) unapproved.add(name)
      }
      const told = events.filter(({ reason }) => reason === 'AccessGranted').map(({ regarding }) => regarding.uid)
      const granted = [...new Set(creations.map(({ name }) => name))]
      const grantedUids = new Set(creations.filter(({ kind }) => kind === 'rolebindings').map(({ name }) => requestOf.get(name)?.metadata.uid ?? ''))
      return {
        requests: requests.length,
        open: requests.filter(({ status }) => !isFinal(status)).map(({ metadata }) => metadata.name),
        left: [...roles, ...bindings].map(({ metadata }) => metadata.name),
        granted: granted.length,
        grantedTwice: repeated(creations.map(({ kind, name }) => `${kind}/${name}`)),
        unapproved: [...unapproved],
        toldTwice: repeated(told),
        untold: [...grantedUids].filter((uid) => !told.includes(uid)),
        looks,
      }
    },
  }
}
