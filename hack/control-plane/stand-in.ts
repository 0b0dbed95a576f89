/**
 * Does the two things of kube-controller-manager that nothing here works without, where that program cannot be had:
 * default ServiceAccounts, without which no Pod is admitted, and the rules of aggregated ClusterRoles.
 */
import { request } from 'node:https'
import { isDeepStrictEqual } from 'node:util'
import { setTimeout as delay } from 'node:timers/promises'
import { messageOf } from '../../src/errors.ts'
import { selectorMatches } from '../../src/core/label-selector.ts'
import type { LabelSelector, ObjectMeta } from '../../src/api/meta.ts'
import { callApi, readAnswer, type ApiTarget } from './api-call.ts'

/** What stays undone. */
export const MISSING_WITHOUT_CONTROLLER_MANAGER =
  'kube-controller-manager is not in this set of programs: nothing collects garbage (objects whose owner is gone stay), deleted namespaces stay Terminating, and no kube-root-ca.crt is published'

const RETRY_MS = 500
const WATCH_SECONDS = 300

/** A Namespace or a ClusterRole, as far as it is read here. */
interface Item {
  metadata: ObjectMeta
  rules?: object[] | null
  aggregationRule?: { clusterRoleSelectors?: LabelSelector[] }
}

/** The rules that an aggregated ClusterRole must have: those of the roles that its selectors match, without repetition. */
export const aggregatedRules = (role: Item, all: readonly Item[]): object[] => {
  const selectors = role.aggregationRule?.clusterRoleSelectors ?? []
  const sources = all
    .filter((other) => other.metadata.name !== role.metadata.name && selectors.some((selector) => selectorMatches(selector, other.metadata.labels)))
    .toSorted((left, right) => (left.metadata.name).localeCompare(right.metadata.name))
  const rules: object[] = []
  for (const rule of sources.flatMap((source) => source.rules ?? [])) if (!rules.some((known) => isDeepStrictEqual(known, rule))) rules.push(rule)
  return rules
}

/** Returns at the first event of the watch, or when the server ends it. */
const firstEvent = (target: ApiTarget, path: string, resourceVersion: string, signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const url = new URL(`${path}?watch=true&resourceVersion=${resourceVersion}&timeoutSeconds=${WATCH_SECONDS}`, target.server)
    const call = request(url, { ca: target.caPem, headers: { authorization: `Bearer ${target.token}` }, agent: false, signal }, (response) => {
      response.once('error', reject)
      response.once('end', resolve)
      response.once('data', () => {
        resolve()
        response.removeListener('error', reject)
        response.on('error', () => undefined).destroy()
      })
    })
    call.once('socket', (socket) => socket.unref())
    call.on('error', reject)
    call.end()
  })

const createDefaultServiceAccounts = (target: ApiTarget) => {
  const done = new Set<string>()
  return async (namespaces: readonly Item[]): Promise<void> => {
    for (const { metadata } of namespaces) {
      const { name, uid = '' } = metadata
      if (done.has(uid) || metadata.deletionTimestamp !== undefined) continue
      const body = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default' } }
      const answer = await callApi(target, 'POST', `/api/v1/namespaces/${name}/serviceaccounts`, body)
      // 409: it is there already.
      if (answer.status !== 409) readAnswer(answer, `default ServiceAccount of ${name}`)
      done.add(uid)
    }
  }
}

const aggregateClusterRoles =
  (target: ApiTarget) =>
  async (roles: readonly Item[]): Promise<void> => {
    for (const role of roles) {
      const rules = aggregatedRules(role, roles)
      if (role.aggregationRule === undefined || isDeepStrictEqual(role.rules ?? [], rules)) continue
      const path = `/apis/rbac.authorization.k8s.io/v1/clusterroles/${role.metadata.name}`
      const patch = { metadata: { resourceVersion: role.metadata.resourceVersion }, rules }
      readAnswer(await callApi(target, 'PATCH', path, patch, 'application/merge-patch+json'), `rules of ClusterRole ${role.metadata.name}`)
    }
  }

/** Lists, does what is to be done, waits for a change, and begins again, until the signal. */
const keepDoing = async (target: ApiTarget, path: string, work: (items: readonly Item[]) => Promise<void>, options: StandInOptions): Promise<void> => {
  const { signal, log } = options
  while (!signal.aborted) {
    try {
      const list: { items: Item[]; metadata: { resourceVersion: string } } = JSON.parse(readAnswer(await callApi(target, 'GET', path), `list of ${path}`))
      await work(list.items)
      await firstEvent(target, path, list.metadata.resourceVersion, signal)
    } catch (error) {
      if (signal.aborted) return
      log(`stand-in for kube-controller-manager: ${messageOf(error)}`)
      await delay(RETRY_MS, undefined, { ref: false })
    }
  }
}

interface StandInOptions {
  signal: AbortSignal
  log: (line: string) => void
}

/** @returns when the signal is aborted */
export const standInForControllerManager = async (target: ApiTarget, options: StandInOptions): Promise<void> => {
  await Promise.all([
    keepDoing(target, '/api/v1/namespaces', createDefaultServiceAccounts(target), options),
    keepDoing(target, '/apis/rbac.authorization.k8s.io/v1/clusterroles', aggregateClusterRoles(target), options),
  ])
}
