/** Reads what an answer about a Connector depends on, as the gate would: the permissions and objects at once, then what is still open. */
import type { AccessPolicy } from '../../api/access-policy.ts'
import type { AccessRequest } from '../../api/access-request.ts'
import type { Identity } from '../../api/access-review.ts'
import type { ConfigMap } from '../../api/config-map.ts'
import type { Connector } from '../../api/connector.ts'
import { FLAGS_CONFIG_MAP, LABEL, SYSTEM_NAMESPACE } from '../../api/names.ts'
import type { Pod } from '../../api/pod.ts'
import type { Templates } from '../../core/check.ts'
import {
  askedFirst,
  createPodsQuestion,
  creatorIdentity,
  isOpenQuestion,
  liveUid,
  templateNames,
  type ConnectorAccessFacts,
} from '../../core/connector-access-review.ts'
import { readFlags } from '../../core/feature-flags.ts'
import { permissionQuestions, podIdentity } from '../../core/gate.ts'
import { labelValue, type ConnectorKey } from '../../core/request-identity.ts'
import { CodedError } from '../../errors.ts'
import type { Clock, Permission, Reader } from '../../kube/ports.ts'
import { ACCESS_POLICIES, ACCESS_REQUESTS, CONFIG_MAPS, CONNECTORS, PODS } from '../../kube/resources.ts'

export interface ConnectorFactDeps {
  reader: Pick<Reader, 'get' | 'list'>
  permission: Permission
  clock: Clock
}

export interface ConnectorQuestion {
  connector: ConnectorKey
  serviceAccount: { namespace: string; name: string }
  podName: string | undefined
  /** The person who would create the Pod. */
  user: string | undefined
  caller: Identity
}

/** More templates than these are not read for one review. */
const MAX_TEMPLATES = 100

const speaksOf = ({ metadata, spec }: AccessRequest, connector: ConnectorKey, pod: { namespace: string; name: string }): boolean => {
  const { connectorRef, context } = spec
  return metadata.namespace === connector.namespace && connectorRef.name === connector.name && context.objectRef.namespace === pod.namespace && context.objectRef.name === pod.name
}

/**
 * The requests of the Pod's name. A yes on the path of the Pod has to be explained by every request that may be behind it, whatever its
 * labels; without one, a request only tells how far it is, and the labels find it.
 */
const readRequests = async (reader: ConnectorFactDeps['reader'], { connector, serviceAccount, podName }: ConnectorQuestion, mayPodPath: boolean): Promise<AccessRequest[]> => {
  if (podName === undefined) return []
  const pod = { namespace: serviceAccount.namespace, name: podName }
  const labelSelector = `${LABEL.contextName}=${labelValue(pod.name)},${LABEL.contextNamespace}=${labelValue(pod.namespace)}`
  const { items } = await reader.list(ACCESS_REQUESTS, { namespace: connector.namespace, ...(mayPodPath ? {} : { labelSelector }) })
  return items.filter((request) => speaksOf(request, connector, pod))
}

const readTemplates = async (reader: ConnectorFactDeps['reader'], names: readonly string[]): Promise<Templates> => {
  const read = names.slice(0, MAX_TEMPLATES)
  const found = new Map<string, ConfigMap | undefined>(
    await Promise.all(read.map(async (name): Promise<[string, ConfigMap | undefined]> => [name, await reader.get(CONFIG_MAPS, SYSTEM_NAMESPACE, name)])),
  )
  return (name) => {
    if (!found.has(name)) throw new CodedError('TEMPLATE_MISSING', `ConfigMap ${SYSTEM_NAMESPACE}/${name} was not read: the policies name more than ${MAX_TEMPLATES}`)
    return found.get(name)
  }
}

const NO_POLICIES: Pick<ConnectorAccessFacts, 'policies' | 'templates'> = { policies: [], templates: () => undefined }

/** What would be asked; the templates of what is shown of it alone. */
const readPolicies = async (reader: ConnectorFactDeps['reader'], { namespace }: ConnectorKey, found: Connector): Promise<typeof NO_POLICIES> => {
  const { items: policies }: { items: AccessPolicy[] } = await reader.list(ACCESS_POLICIES, { namespace })
  return { policies, templates: await readTemplates(reader, templateNames(askedFirst(policies, found))) }
}

const readCreator = async (permission: Permission, { user, caller, serviceAccount }: ConnectorQuestion): Promise<ConnectorAccessFacts['creator']> => {
  if (user === undefined) return undefined
  const { identity, groupsAreKnown } = creatorIdentity(user, caller)
  return { user, groupsAreKnown, mayCreatePods: await permission.allows(identity, createPodsQuestion(serviceAccount.namespace)) }
}

/** @throws CodedError KUBE_* when something could not be read: then nothing is known */
export const gatherConnectorFacts = async ({ reader, permission, clock }: ConnectorFactDeps, question: ConnectorQuestion): Promise<ConnectorAccessFacts> => {
  const { connector, serviceAccount, podName } = question
  const who = podIdentity(serviceAccount.namespace, serviceAccount.name)
  const { get, proxy, podPath } = permissionQuestions(connector, { namespace: serviceAccount.namespace, name: podName ?? '' })
  const readPod = async (): Promise<Pod | undefined> => (podName === undefined ? undefined : reader.get(PODS, serviceAccount.namespace, podName))
  const [flags, found, mayGet, mayProxy, mayPodPath, pod, creator] = await Promise.all([
    reader.get(CONFIG_MAPS, SYSTEM_NAMESPACE, FLAGS_CONFIG_MAP).then(readFlags),
    reader.get(CONNECTORS, connector.namespace, connector.name),
    permission.allows(who, get),
    permission.allows(who, proxy),
    podName === undefined ? false : permission.allows(who, podPath),
    readPod(),
    readCreator(permission, question),
  ])
  const isOpen = isOpenQuestion({ flags, found, mayGet, mayProxy })
  const [requests, asked] = await Promise.all([
    isOpen ? readRequests(reader, question, mayPodPath) : [],
    isOpen && found !== undefined && flags.state === 'on' ? readPolicies(reader, connector, found) : NO_POLICIES,
  ])
  return {
    connector,
    found,
    serviceAccount,
    pod: podName === undefined ? undefined : { name: podName, uid: liveUid(pod, serviceAccount.name) },
    flags,
    mayGet,
    mayProxy,
    mayPodPath,
    requests,
    ...asked,
    creator,
    now: clock.now(),
  }
}
