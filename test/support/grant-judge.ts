/**
 * Judges a run from outside: grants only for what was approved, each made once, none left. It looks at the cluster all the time, and in
 * the end at the API server's audit log, which tells also of what came and went between two looks.
 */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import type { AccessRequest } from '../../src/api/access-request.ts'
import { ANNOTATION, LABEL, SERVICE_ACCOUNT, SYSTEM_NAMESPACE } from '../../src/api/names.ts'
import type { Pod } from '../../src/api/pod.ts'
import { isFinal } from '../../src/core/conditions.ts'
import { grantName } from '../../src/core/grant.ts'
import type { Reader } from '../../src/kube/ports.ts'
import { ACCESS_REQUESTS, EVENTS, ROLE_BINDINGS, ROLES } from '../../src/kube/resources.ts'
import { RUN } from './gated-world.ts'

export interface Verdict {
  /** Requests that were there in the end, and those that were remembered. */
  requests: number
  /** Those that are there and not final. */
  open: string[]
  /** Roles and RoleBindings of grants that are left. */
  left: string[]
  /** Names of grants that were made, by the audit log. */
  granted: number
  /** Roles or RoleBindings that were made more than once. */
  grantedTwice: string[]
  /** Grants for a Pod whose run nobody had begun to approve, or for a Pod or request that nobody told of. */
  unapproved: string[]
  /** Requests with more than one AccessGranted Event. */
  toldTwice: string[]
  /** Requests whose grant was made, with no AccessGranted Event. */
  untold: string[]
  /** How often the cluster was looked at meanwhile. */
  looks: number
}

export interface GrantJudge {
  /** A Pod came. Its run says which approval is its own: a successor of its name with another run needs another one. */
  admitted: (pod: Pod) => void
  /** From now on a grant for the Pods of this run is right. To be called before the approval is sent. */
  approving: (run: string) => void
  /** To be called before somebody deletes a request: its grants are known by it. */
  remember: (requests: readonly AccessRequest[]) => void
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

const podOfRequest = ({ spec }: AccessRequest): string => spec.context.objectRef.uid ?? ''

const repeated = (names: readonly string[]): string[] => [...new Set(names.filter((name, index) => names.indexOf(name) !== index))]

/** Roles and RoleBindings that the controller made more than once, by the audit log. */
export const grantedTwice = async (auditLog: string, namespace: string): Promise<string[]> =>
  repeated((await readCreations(auditLog, namespace)).map(({ kind, name }) => `${kind}/${name}`))

export interface JudgeOptions {
  /** In it the policy of each Connector has the Connector's name. */
  namespace: string
  /** Left out: what comes and goes between two looks is not judged. */
  auditLog?: string
  /** Milliseconds between two looks. Default 100. */
  lookMs?: number
}

/** The API server forgets Events after an hour. */
const EVENTS_KEPT_MS = 50 * 60_000

export const judgeGrants = (kube: Reader, { namespace, auditLog, lookMs = 100 }: JudgeOptions): GrantJudge => {
  /** By run. */
  const approvedAt = new Map<string, number>()
  /** By the uid of the Pod. */
  const runOf = new Map<string, string>()
  /** By uid. */
  const remembered = new Map<string, AccessRequest>()
  /** Roles by their names, as they were seen first. */
  const sightings = new Map<string, { pod: string; at: number }>()
  const ending = new AbortController()
  let looks = 0

  const look = async (): Promise<void> => {
    const { items } = await kube.list(ROLES, { namespace, labelSelector: LABEL.accessRequest })
    looks += 1
    for (const { metadata } of items)
      if (!sightings.has(metadata.name)) sightings.set(metadata.name, { pod: metadata.annotations?.[ANNOTATION.podUid] ?? '', at: Date.now() })
  }
  const keepLooking = async (): Promise<void> => {
    while (!ending.signal.aborted) {
      // An API server that is away shows nothing; the audit log closes the gap.
      await look().catch(() => undefined)
      await delay(lookMs)
    }
  }
  const looking = keepLooking()
  const isApproved = (pod: string, at: number): boolean => at >= (approvedAt.get(runOf.get(pod) ?? '') ?? Number.POSITIVE_INFINITY)

  return {
    admitted: ({ metadata }) => void runOf.set(metadata.uid ?? '', metadata.labels?.[RUN] ?? ''),
    approving: (run) => {
      if (!approvedAt.has(run)) approvedAt.set(run, Date.now())
    },
    remember: (requests) => {
      for (const request of requests) remembered.set(request.metadata.uid ?? '', request)
    },
    verdict: async () => {
      ending.abort()
      await looking
      const labelSelector = LABEL.accessRequest
      const [{ items: live }, { items: roles }, { items: bindings }, { items: events }, creations] = await Promise.all([
        kube.list(ACCESS_REQUESTS, { namespace }),
        kube.list(ROLES, { namespace, labelSelector }),
        kube.list(ROLE_BINDINGS, { namespace, labelSelector }),
        kube.list(EVENTS, { namespace }),
        auditLog === undefined ? [] : readCreations(auditLog, namespace),
      ])
      const requests = [...new Map([...remembered, ...live.map((request) => [request.metadata.uid ?? '', request] as const)]).values()]
      const requestOf = new Map(requests.map((request) => [grantName(request, request.spec.connectorRef.name), request]))
      const made = creations.map(({ name, at }) => {
        const request = requestOf.get(name)
        return { name, at, pod: request === undefined ? '' : podOfRequest(request) }
      })
      const seen = [...sightings].map(([name, sighting]) => ({ name, ...sighting }))
      const unapproved = new Set([...seen, ...made].filter(({ pod, at }) => !isApproved(pod, at)).map(({ name }) => name))
      const told = events.filter(({ reason }) => reason === 'AccessGranted').map(({ regarding }) => regarding.uid)
      const granted = [...new Set(creations.map(({ name }) => name))]
      const eventsSince = Date.now() - EVENTS_KEPT_MS
      const grantedUids = new Set(creations.filter(({ kind, at }) => kind === 'rolebindings' && at > eventsSince).map(({ name }) => requestOf.get(name)?.metadata.uid ?? ''))
      return {
        requests: requests.length,
        open: live.filter(({ status }) => !isFinal(status)).map(({ metadata }) => metadata.name),
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
