/** Gathers what core needs to know about a mount: for each Connector one parallel round of reads. */
import type { AccessRequest } from '../api/access-request.ts'
import { permissionQuestions, podIdentity } from '../core/gate.ts'
import type { ConnectorGateFacts, GateFacts } from '../core/mount-gate.ts'
import type { Mount } from '../core/mount-call.ts'
import { connectorName, isForIdentity, requestName, type ConnectorKey, type RequestIdentity } from '../core/request-identity.ts'
import type { Clock, Permission, Reader } from '../kube/ports.ts'
import { ACCESS_REQUESTS, CONNECTORS } from '../kube/resources.ts'
import type { FlagsNow } from './flags-watch.ts'
import { requestSelector } from './request-watch.ts'
import type { VolumeRecords } from './volume-records.ts'

export interface GateFactDeps {
  reader: Pick<Reader, 'get' | 'list'>
  permission: Permission
  records: Pick<VolumeRecords, 'asked' | 'addAsked'>
  clock: Clock
  /** The user that requests are made by: the plugin's own. */
  requestedBy: string
}

export const requestIdentity = ({ pod, serviceAccount }: Pick<Mount, 'pod' | 'serviceAccount'>, connector: ConnectorKey): RequestIdentity => ({
  connector,
  pod,
  serviceAccount,
})

/** By its spec, because labels prove nothing. */
const speaksOf = ({ metadata, spec }: AccessRequest, { namespace, name }: ConnectorKey, { pod }: Mount): boolean => {
  const { objectRef } = spec.context
  return metadata.namespace === namespace && spec.connectorRef.name === name && objectRef.namespace === pod.namespace && objectRef.name === pod.name
}

/** In the namespaces of the Connectors alone: a request is always beside its Connector. */
const listBeside = async (reader: Pick<Reader, 'list'>, { attributes }: Mount, selection: { labelSelector?: string }): Promise<AccessRequest[]> => {
  const namespaces = [...new Set(attributes.connectors.map(({ namespace }) => namespace))]
  const lists = await Promise.all(namespaces.map((namespace) => reader.list(ACCESS_REQUESTS, { namespace, ...selection })))
  return lists.flatMap(({ items }) => items)
}

/** The requests that are labelled with the Pod's name, read now. @throws CodedError KUBE_* */
export const listRequests = (reader: Pick<Reader, 'list'>, mount: Mount): Promise<AccessRequest[]> => listBeside(reader, mount, { labelSelector: requestSelector(mount.pod) })

/** All requests that may speak of the Pod's name, whatever their labels, read now. @throws CodedError KUBE_* */
export const listAllRequests = (reader: Pick<Reader, 'list'>, mount: Mount): Promise<AccessRequest[]> => listBeside(reader, mount, {})

/** A request of this Pod was asked for, and the selector does not find it: only its name can tell that it is not there. @throws CodedError KUBE_* */
const readByName = async ({ reader }: GateFactDeps, identity: RequestIdentity): Promise<AccessRequest[]> => {
  const request = await reader.get(ACCESS_REQUESTS, identity.connector.namespace, requestName(identity))
  return request !== undefined && isForIdentity(request, identity) ? [request] : []
}

/** @throws CodedError KUBE_* */
const connectorFacts = async (
  deps: GateFactDeps,
  mount: Mount,
  connector: ConnectorKey,
  given: Promise<readonly AccessRequest[]>,
  asked: Promise<ReadonlySet<string>>,
): Promise<ConnectorGateFacts> => {
  const who = podIdentity(mount.pod.namespace, mount.serviceAccount)
  const identity = requestIdentity(mount, connector)
  const { get, proxy, podPath } = permissionQuestions(connector, mount.pod)
  const requestsNow = async (): Promise<{ requests: AccessRequest[]; wasAsked: boolean }> => {
    const requests = (await given).filter((request) => speaksOf(request, connector, mount))
    const isSeen = requests.some((request) => isForIdentity(request, identity))
    const wasAsked = (await asked).has(connectorName(connector))
    if (isSeen && !wasAsked) await deps.records.addAsked(mount.pod.uid, connectorName(connector))
    return { requests: !isSeen && wasAsked ? [...requests, ...(await readByName(deps, identity))] : requests, wasAsked: wasAsked || isSeen }
  }
  const [found, mayGet, mayProxy, mayPodPath, { requests, wasAsked }] = await Promise.all([
    deps.reader.get(CONNECTORS, connector.namespace, connector.name),
    deps.permission.allows(who, get),
    deps.permission.allows(who, proxy),
    deps.permission.allows(who, podPath),
    requestsNow(),
  ])
  return { connector, found, mayGet, mayProxy, mayPodPath, requests, wasAsked }
}

/**
 * Looks at everything. Each request of this very Pod that is seen is remembered as asked for.
 * @param requests all that may speak of this Pod's name
 * @throws CodedError KUBE_* when something could not be read: then nothing is known
 */
export const gatherFacts = async (
  deps: GateFactDeps,
  mount: Mount,
  { flags, multiConnector }: FlagsNow,
  requests: Promise<readonly AccessRequest[]>,
): Promise<GateFacts> => {
  const asked = deps.records.asked(mount.pod.uid)
  const connectors = await Promise.all(mount.attributes.connectors.map((connector) => connectorFacts(deps, mount, connector, requests, asked)))
  return { mount, flags, multiConnector, connectors, now: deps.clock.now(), requestedBy: deps.requestedBy }
}
