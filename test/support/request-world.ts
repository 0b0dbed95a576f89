/**
 * A world for one request: what the API server has, what the caches show of it, and a run that gathers, decides and applies
 * as the controller does. Writes are single steps, so that a test can look, interfere or crash after each.
 */
import type { AccessPolicy } from '../../src/api/access-policy.ts'
import type { AccessRequest, PolicySnapshot, ResolvedCheck } from '../../src/api/access-request.ts'
import type { ConfigMap } from '../../src/api/config-map.ts'
import type { Connector } from '../../src/api/connector.ts'
import { CLEANUP_FINALIZER, FLAG, FLAGS_CONFIG_MAP } from '../../src/api/names.ts'
import type { Pod } from '../../src/api/pod.ts'
import type { Role, RoleBinding } from '../../src/api/rbac.ts'
import type { CheckFact, CheckObject } from '../../src/core/check.ts'
import { decideAccessRequest } from '../../src/core/decide-request.ts'
import type { Effect, Notice } from '../../src/core/effects.ts'
import { readFlags } from '../../src/core/feature-flags.ts'
import { selectorMatches } from '../../src/core/label-selector.ts'
import { plannedPolicies } from '../../src/core/run-checks.ts'
import { boundUid, podFact } from '../../src/core/pod-context.ts'
import type { RequestFacts } from '../../src/core/request-pass.ts'
import { after, configMapOf, connectorOf, NOW, requestOf, TEMPLATES, type RequestOptions } from './request-facts.ts'

/** Everything around the request. */
export interface Scene {
  pod: Pod | undefined
  connector: Connector | undefined
  policies: Map<string, AccessPolicy>
  configMaps: Map<string, ConfigMap>
  /** Check objects by `<kind>/<name>`, all in the namespace of the Pod. */
  objects: Map<string, CheckObject>
  /** Kinds that cannot be read, and why. */
  unreadable: Map<string, { unreadable: string; failed: boolean }>
  roles: Map<string, Role>
  bindings: Map<string, RoleBinding>
}

/** One step of an effect, after it was done. */
export interface Write {
  effect: Effect
  /** What the effect was decided from. */
  facts: RequestFacts
  /** The stored request before it. */
  before: AccessRequest
}

/** What was read from the API server itself, for the checks that were on record then. */
interface Confirmed {
  scene: Scene
  for: string
}

/** What a confirmation is for: it says nothing of checks that became known after it. */
const snapshotKey = ({ status }: AccessRequest): string =>
  JSON.stringify([status?.connectorUID, (status?.policies ?? []).map(({ name, checks }) => [name, checks])])

/** Decisions that one run may take before it must have nothing left to do. */
const MAX_STEPS = 20

class Crash extends Error {}
class Conflict extends Error {}

const freeze = <T>(value: T): T => {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const item of Object.values(value)) freeze(item)
  }
  return value
}

const isDeleted = (connector: Connector | undefined): boolean => connector?.metadata.deletionTimestamp !== undefined

export const flagsOf = (approval: string, proxyPermissions = approval): ConfigMap =>
  configMapOf(FLAGS_CONFIG_MAP, { [FLAG.approval]: approval, [FLAG.proxyPermissions]: proxyPermissions })

export class World {
  /** Milliseconds since the epoch. */
  now = NOW
  request: AccessRequest | undefined
  readonly live: Scene
  cached: Scene
  /** RBAC writes are refused. */
  grantsFail = false
  readonly notices: Notice[] = []
  /** Called after each write; may change the world, or call crash. */
  onWrite: (write: Write) => void = () => undefined
  #version = 1

  /** The request, its Connector, flags on and the templates; no Pod, policy or check object yet. */
  constructor(options: RequestOptions = {}) {
    this.request = requestOf(options)
    this.live = {
      pod: undefined,
      connector: connectorOf(),
      policies: new Map(),
      configMaps: new Map([flagsOf('true'), ...TEMPLATES].map((configMap) => [configMap.metadata.name, configMap])),
      objects: new Map(),
      unreadable: new Map(),
      roles: new Map(),
      bindings: new Map(),
    }
    this.cached = structuredClone(this.live)
  }

  /** Ends the run at this point, as when the process dies. */
  crash(): never {
    throw new Crash()
  }

  /** The caches see everything. */
  catchUp(): void {
    this.cached = structuredClone(this.live)
  }

  /** Someone deletes the request. */
  deleteRequest(): void {
    if (this.request === undefined) return
    const { metadata } = this.request
    if ((metadata.finalizers ?? []).length === 0) this.request = undefined
    else if (metadata.deletionTimestamp === undefined)
      this.#put({ ...this.request, metadata: { ...metadata, deletionTimestamp: after((this.now - NOW) / 1000) } })
  }

  /**
   * One reconcile: decides and applies until nothing is left to do, or the run is cut off by a crash or a conflict.
   * @returns whether it came to rest
   * @throws Error when it does not come to rest
   */
  reconcile(): boolean {
    try {
      this.#run()
      return true
    } catch (error) {
      if (error instanceof Crash || error instanceof Conflict) return false
      throw error
    }
  }

  /** The caches see everything and the controller has done all it wants to do. */
  settle(): void {
    for (let round = 0; round < MAX_STEPS; round++) {
      this.catchUp()
      if (this.reconcile()) return
    }
    throw new Error('the request does not settle')
  }

  #run(): void {
    let confirmed: Confirmed | undefined
    let grantErrors = new Map<string, string>()
    const deleted = new Set<string>()
    for (let step = 0; step < MAX_STEPS; step++) {
      const { request } = this
      if (request === undefined) return
      if (confirmed !== undefined && confirmed.for !== snapshotKey(request)) confirmed = undefined
      const facts = this.#facts(request, confirmed, grantErrors, deleted)
      const { effects } = decideAccessRequest(facts, this.now)
      if (effects.length === 0) return
      // Kept until the next attempt, so that telling of a failure is not followed by another attempt at once.
      if (effects.some(({ type }) => type === 'apply-grant')) grantErrors = new Map()
      for (const effect of effects) {
        if (effect.type === 'confirm') {
          if (this.request !== request) throw new Conflict()
          confirmed = { scene: structuredClone(this.live), for: snapshotKey(request) }
        } else this.#apply(effect, facts, request, grantErrors, deleted)
      }
    }
    throw new Error(`no rest after ${MAX_STEPS} steps: ${JSON.stringify(this.request?.status?.conditions)}`)
  }

  #apply(effect: Effect, facts: RequestFacts, decidedOn: AccessRequest, grantErrors: Map<string, string>, deleted: Set<string>): void {
    const done = (): void => this.onWrite({ effect, facts, before: decidedOn })
    const guarded = (): AccessRequest => {
      if (this.request !== decidedOn) throw new Conflict()
      return decidedOn
    }
    const { live, cached } = this
    switch (effect.type) {
      case 'confirm':
        return
      case 'notice':
        this.notices.push(effect.notice)
        return
      case 'delete-grants':
        for (const name of effect.names) {
          if (live.bindings.delete(name)) done()
          if (live.roles.delete(name)) done()
          deleted.add(name)
        }
        return
      case 'apply-grant': {
        const { policy, role, binding } = effect.grant
        if (this.grantsFail) {
          grantErrors.set(policy, 'roles are forbidden')
          return
        }
        live.roles.set(role.metadata.name, role)
        cached.roles.set(role.metadata.name, role)
        deleted.delete(role.metadata.name)
        done()
        live.bindings.set(binding.metadata.name, binding)
        cached.bindings.set(binding.metadata.name, binding)
        done()
        return
      }
      case 'write-status':
        this.#put({ ...guarded(), status: effect.status })
        return done()
      case 'add-finalizer': {
        const request = guarded()
        this.#put({ ...request, metadata: { ...request.metadata, finalizers: [...(request.metadata.finalizers ?? []), CLEANUP_FINALIZER] } })
        return done()
      }
      case 'remove-finalizer': {
        const request = guarded()
        const finalizers = (request.metadata.finalizers ?? []).filter((finalizer) => finalizer !== CLEANUP_FINALIZER)
        if (finalizers.length === 0 && request.metadata.deletionTimestamp !== undefined) this.request = undefined
        else this.#put({ ...request, metadata: { ...request.metadata, finalizers } })
        return done()
      }
      case 'delete-request':
        guarded()
        this.deleteRequest()
        return done()
      default:
        return effect satisfies never
    }
  }

  #put(request: AccessRequest): void {
    this.#version += 1
    this.request = freeze(structuredClone({ ...request, metadata: { ...request.metadata, resourceVersion: `${this.#version}` } }))
  }

  #facts(request: AccessRequest, confirmed: Confirmed | undefined, grantErrors: ReadonlyMap<string, string>, deleted: ReadonlySet<string>): RequestFacts {
    const scene = confirmed?.scene ?? this.cached
    const bound = boundUid(request)
    const cachedPod = this.cached.pod
    const known = cachedPod !== undefined && (bound === undefined || cachedPod.metadata.uid === bound)
    const pod = confirmed === undefined ? (known ? cachedPod : this.live.pod) : scene.pod
    const matchedUid = request.status?.connectorUID
    const isConnectorKnown = scene.connector !== undefined && (matchedUid === undefined || scene.connector.metadata.uid === matchedUid)
    const connector = confirmed !== undefined || isConnectorKnown ? scene.connector : this.live.connector
    const policies = request.status?.policies ?? []
    const ofRequest = <T extends Role | RoleBinding>(objects: ReadonlyMap<string, T>): T[] =>
      [...objects.values()].filter(({ metadata }) => !deleted.has(metadata.name))
    const surroundings: Parameters<typeof plannedPolicies>[0] = {
      request,
      flags: readFlags(scene.configMaps.get(FLAGS_CONFIG_MAP)),
      pod: podFact(request, structuredClone(pod)),
      connector: isDeleted(connector) ? undefined : structuredClone(connector),
      // A confirmation reads the policies only where they are still to be matched.
      policies: confirmed !== undefined && policies.length > 0 ? [] : [...structuredClone(scene.policies).values()],
      templates: (name) => scene.configMaps.get(name),
    }
    return freeze<RequestFacts>({
      ...surroundings,
      checks: (policyName, checkName) => {
        const find = (among: readonly PolicySnapshot[]) => {
          const policy = among.find(({ name }) => name === policyName)
          const check = policy?.checks?.find(({ name }) => name === checkName)
          return policy === undefined || check === undefined ? undefined : { policy, check }
        }
        const recorded = find(policies)
        if (recorded !== undefined) return checkFact(scene, recorded.policy, recorded.check)
        const planned = find(plannedPolicies(surroundings))
        return planned === undefined ? { unreadable: `${checkName} was not looked for yet`, failed: false } : checkFact(this.cached, planned.policy, planned.check)
      },
      grants: { roles: ofRequest(this.cached.roles), bindings: ofRequest(this.cached.bindings) },
      grantErrors: new Map(grantErrors),
      confirmed: confirmed !== undefined,
      podWatched: true,
    })
  }
}

const checkFact = (scene: Scene, policy: PolicySnapshot, check: ResolvedCheck): CheckFact => {
  const unreadable = scene.unreadable.get(check.kind)
  if (unreadable !== undefined) return unreadable
  const { matchLabels, matchExpressions } = check
  const selector = { ...(matchLabels === undefined ? {} : { matchLabels }), ...(matchExpressions === undefined ? {} : { matchExpressions }) }
  const all = [...scene.objects].flatMap(([key, object]) => (key.startsWith(`${check.kind}/`) ? [structuredClone(object)] : []))
  const uids = new Set((policy.matchedChecks ?? []).filter(({ name }) => name === check.name).map(({ ref }) => ref.uid))
  return {
    objects: all.filter(({ metadata }) => (check.objectName === undefined || metadata.name === check.objectName) && selectorMatches(selector, metadata.labels)),
    recorded: all.filter(({ metadata }) => uids.has(metadata.uid ?? '')),
  }
}
