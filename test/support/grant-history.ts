/**
 * Every version of the requests and grants of a namespace, by real watches past all proxies, and what was wrong with them. Versions of
 * all kinds are revisions of one store, so what the status said when a Role came is known exactly, not only nearly.
 */
import type { AccessRequest } from '../../src/api/access-request.ts'
import type { KubeObject } from '../../src/api/meta.ts'
import { LABEL } from '../../src/api/names.ts'
import type { Role, RoleBinding } from '../../src/api/rbac.ts'
import { everyCheckRecordedAsPassed } from '../../src/core/conditions.ts'
import type { Reader, Resource, Watcher } from '../../src/kube/ports.ts'
import { ACCESS_REQUESTS, ROLE_BINDINGS, ROLES } from '../../src/kube/resources.ts'
import { untilTrue } from './eventually.ts'

export interface GrantVerdict {
  /** Versions of requests that were seen. */
  versions: number
  /** Roles and RoleBindings that were ever there. */
  grants: number
  /** Where one was there while its request did not say that all checks have passed. */
  unchecked: string[]
  /** Those that came more than once. */
  twice: string[]
  /** Those that are still there. */
  left: string[]
}

export interface GrantHistory {
  /** When the last grant that is gone went, on the clock of performance.now(); -Infinity when none has. */
  readonly lastGone: number
  /** How many Roles and RoleBindings are there now. */
  readonly live: number
  /** Waits for the watches to tell everything, and ends them. @throws Error when one of them broke */
  end(): Promise<GrantVerdict>
}

/** Longer than any test. */
const WATCH_SECONDS = 3_600

interface GrantLife {
  label: string
  /** The uid of the request it says it belongs to. */
  owner: string
  from: number
  /** Infinity while it is there. */
  to: number
}

interface Followed {
  /** Waits until the watch has told what a list shows. */
  complete: () => Promise<void>
  watching: Promise<void>
}

const revision = ({ metadata }: KubeObject): number => Number(metadata.resourceVersion)

export const watchGrantHistory = async (kube: Reader & Watcher, namespace: string): Promise<GrantHistory> => {
  const stop = new AbortController()
  /** By the uid of the request, in order; a request that is gone has not passed. */
  const versions = new Map<string, { at: number; passed: boolean }[]>()
  const lives: GrantLife[] = []
  /** The newest revision of what is there, by kind and name. */
  const current = new Map<string, number>()
  let lastGone = Number.NEGATIVE_INFINITY

  const seeRequest = (request: AccessRequest, isGone: boolean): void => {
    const uid = request.metadata.uid ?? ''
    const known = versions.get(uid) ?? []
    known.push({ at: revision(request), passed: !isGone && everyCheckRecordedAsPassed(request.status) })
    versions.set(uid, known)
  }
  const seeGrant = (object: Role | RoleBinding, isGone: boolean): void => {
    const { name, labels, ownerReferences, uid } = object.metadata
    if (labels?.[LABEL.accessRequest] === undefined) return
    const label = `${object.kind ?? ''} ${name} (${uid ?? ''})`
    const open = lives.find((life) => life.label === label && life.to === Number.POSITIVE_INFINITY)
    if (open === undefined) lives.push({ label, owner: ownerReferences?.[0]?.uid ?? '', from: revision(object), to: isGone ? revision(object) : Number.POSITIVE_INFINITY })
    else if (isGone) open.to = revision(object)
    if (isGone) lastGone = performance.now()
  }

  const follow = async <T extends KubeObject>(resource: Resource<T>, see: (object: T, isGone: boolean) => void): Promise<Followed> => {
    const keyOf = ({ metadata }: KubeObject): string => `${resource.plural}/${metadata.name}`
    const take = (object: T, isGone: boolean): void => {
      if (isGone) current.delete(keyOf(object))
      else current.set(keyOf(object), revision(object))
      see({ ...object, kind: resource.kind }, isGone)
    }
    const { items, resourceVersion } = await kube.list(resource, { namespace })
    for (const item of items) take(item, false)
    let broken: unknown
    const watching = (async () => {
      for await (const event of kube.watch(resource, { namespace, resourceVersion, timeoutSeconds: WATCH_SECONDS, signal: stop.signal }))
        if (event.type !== 'BOOKMARK') take(event.object, event.type === 'DELETED')
      if (!stop.signal.aborted) throw new Error(`the watch of ${resource.plural} ended before the test`)
    })().catch((error: unknown) => {
      broken = error
    })
    const complete = async (): Promise<void> => {
      const isComplete = async (): Promise<boolean> => {
        if (broken !== undefined) throw broken
        const now = await kube.list(resource, { namespace })
        const seen = [...current.keys()].filter((key) => key.startsWith(`${resource.plural}/`))
        return seen.length === now.items.length && now.items.every((item) => current.get(keyOf(item)) === revision(item))
      }
      await untilTrue(`the watch of ${resource.plural} has told everything`, isComplete, 120_000)
    }
    return { complete, watching }
  }

  const followed = [await follow(ACCESS_REQUESTS, seeRequest), await follow(ROLES, seeGrant), await follow(ROLE_BINDINGS, seeGrant)]

  /** The first moment at which the grant was there and its request did not say that all checks have passed. */
  const breachOf = ({ label, owner, from, to }: GrantLife): string[] => {
    const known = versions.get(owner) ?? []
    const before = known.findLast(({ at }) => at < from)
    if (before?.passed !== true) return [`${label} came at ${from} before the pass was on record`]
    const turned = known.find(({ at, passed }) => at > from && at < to && !passed)
    return turned === undefined ? [] : [`${label} was still there at ${turned.at} when the request no longer said that it passed`]
  }

  return {
    get lastGone() {
      return lastGone
    },
    get live() {
      return lives.filter(({ to }) => to === Number.POSITIVE_INFINITY).length
    },
    end: async () => {
      for (const { complete } of followed) await complete()
      stop.abort()
      await Promise.all(followed.map(({ watching }) => watching))
      const names = lives.map(({ label }) => label.slice(0, label.indexOf(' (')))
      return {
        versions: [...versions.values()].flat().length,
        grants: lives.length,
        unchecked: lives.flatMap(breachOf),
        twice: [...new Set(names.filter((name, index) => names.indexOf(name) !== index))],
        left: lives.filter(({ to }) => to === Number.POSITIVE_INFINITY).map(({ label }) => label),
      }
    },
  }
}
