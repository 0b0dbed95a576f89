/** Gathers what core needs to know about a Pod at its admission: one parallel round of reads, a second one in a rare case. */
import { FLAGS_CONFIG_MAP, SYSTEM_NAMESPACE } from '../src/api/names.ts'
import { readFlags, type Flags } from '../src/core/feature-flags.ts'
import { isPredecessor, mayStillHoldGrant, permissionQuestions, podIdentity, type ConnectorFact } from '../src/core/gate.ts'
import type { ConnectorKey, PodKey } from '../src/core/request-identity.ts'
import type { Clock, Permission, Reader } from '../src/kube/ports.ts'
import { ACCESS_REQUESTS, CONFIG_MAPS, CONNECTORS } from '../src/kube/resources.ts'
import type { RecentAnswers } from './recent-answers.ts'

export interface PodFactDeps {
  reader: Reader
  permission: Permission
  clock: Clock
  recent: RecentAnswers
  /** Told of each read that failed. */
  unread: (what: string, error: unknown) => void
}

/** Flags that cannot be read are unknown, which grants nothing and asks for nothing. */
export const readFlagsNow = async ({ reader, unread }: PodFactDeps): Promise<Flags> => {
  try {
    return readFlags(await reader.get(CONFIG_MAPS, SYSTEM_NAMESPACE, FLAGS_CONFIG_MAP))
  } catch (error) {
    unread(`ConfigMap ${SYSTEM_NAMESPACE}/${FLAGS_CONFIG_MAP}`, error)
    return readFlags(undefined)
  }
}

/** A Connector that is being deleted is as good as gone. @throws CodedError KUBE_* */
const readConnector = async ({ reader }: PodFactDeps, { namespace, name }: ConnectorKey): Promise<boolean> => {
  const connector = await reader.get(CONNECTORS, namespace, name)
  return connector !== undefined && connector.metadata.deletionTimestamp === undefined
}

/** @throws CodedError KUBE_* */
export const connectorFact = async (deps: PodFactDeps, connector: ConnectorKey, pod: PodKey, serviceAccount: string): Promise<ConnectorFact> => {
  const identity = podIdentity(pod.namespace, serviceAccount)
  const { get, proxy, podPath } = permissionQuestions(connector, pod)
  const { permission, recent } = deps
  const about = `${connector.namespace}/${connector.name}`
  const asker = `${about} ${identity.user}`
  const [exists, mayGet, mayProxy, mayPodPath] = await Promise.all([
    recent.answer(`exists ${about}`, true, () => readConnector(deps, connector)),
    recent.answer(`get ${asker}`, true, () => permission.allows(identity, get)),
    recent.answer(`proxy ${asker}`, false, () => permission.allows(identity, proxy)),
    // Of this Pod alone.
    permission.allows(identity, podPath),
  ])
  let predecessorMayHold = false
  if (exists && mayGet && mayPodPath && !mayProxy) {
    const { items } = await deps.reader.list(ACCESS_REQUESTS, { namespace: connector.namespace })
    const now = deps.clock.now()
    predecessorMayHold = items.some((request) => isPredecessor(request, connector, pod) && mayStillHoldGrant(request, now))
  }
  return { connector, exists, mayGet, mayProxy, mayPodPath, predecessorMayHold }
}
