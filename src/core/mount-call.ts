import { CSI_DRIVER } from '../api/names.ts'
import type { Pod } from '../api/pod.ts'
import { plainMessage } from './conditions.ts'
import { MAX_CONNECTORS, namesConnector } from './gated-volume.ts'
import { isRecord, own, shown } from './json-shape.ts'
import { sameJson } from './json.ts'
import type { GateFailure } from './mount-gate.ts'
import { namespaceProblem, subdomainProblem } from './name-rules.ts'
import { isFinished } from './pod-context.ts'
import type { PodKey } from './request-identity.ts'
import { parseTime } from './time.ts'
import { KUBELET_PREFIX, readVolumeAttributes, type VolumeAttributes } from './volume-attributes.ts'

/** One NodePublishVolume as it came over the socket; what was not sent is empty. Nothing in it is trusted. */
export interface MountCall {
  volumeId: string
  targetPath: string
  /** The access mode is not judged: kubelet sends "single node writer" for every inline volume. */
  readOnly: boolean
  /** volume_context */
  context: ReadonlyMap<string, string>
  secrets: ReadonlyMap<string, string>
  /** publish_context */
  publishContext: ReadonlyMap<string, string>
  /** volume_capability.mount is there; false without a capability and for a block volume. */
  isMountVolume: boolean
  volumeMountGroup: string
}

/** A token of the Pod's ServiceAccount for one audience. */
export interface MountToken {
  token: string
  /** RFC 3339 */
  expirationTimestamp: string
}

/** What a call asks for. Well formed, but only as true as the live Pod bears out. */
export interface Mount {
  volumeId: string
  /** Absolute path of the folder to fill. */
  target: string
  volumeName: string
  pod: PodKey
  /** Name, in the namespace of the Pod. */
  serviceAccount: string
  attributes: VolumeAttributes
  /** Of the files; undefined: nobody's in particular. */
  group: number | undefined
  /** By audience; empty when the call has none. */
  tokens: ReadonlyMap<string, MountToken>
}

/** What kubelet adds to the attributes of a volume. */
const CONTEXT = {
  podName: `${KUBELET_PREFIX}pod.name`,
  podNamespace: `${KUBELET_PREFIX}pod.namespace`,
  podUid: `${KUBELET_PREFIX}pod.uid`,
  serviceAccount: `${KUBELET_PREFIX}serviceAccount.name`,
  ephemeral: `${KUBELET_PREFIX}ephemeral`,
  tokens: `${KUBELET_PREFIX}serviceAccount.tokens`,
} as const

const DEFAULT_ACCOUNT = 'default'
/** Of the identifiers of CSI. */
const MAX_VOLUME_ID = 128
const VOLUME_ID = /^[-A-Za-z0-9_.]+$/
/** A uuid, or the hash that kubelet takes for the uid of a static Pod; no path and no dots. */
const UID = /^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?$/
const MAX_UID = 63
const GROUP_ID = /^(?:0|[1-9][0-9]{0,9})$/
/** As Kubernetes limits fsGroup. */
const MAX_GROUP_ID = 2_147_483_647

/** Of a path in a message (characters): the end of it is what differs. */
const MAX_SHOWN_PATH = 256

type Reading<T> = { ok: true; value: T } | { ok: false; problems: string[] }
const bad = (problem: string): Reading<never> => ({ ok: false, problems: [problem] })
/** It depends on the Pod, and what is wrong with that is told already. */
const NOT_JUDGED: Reading<never> = { ok: false, problems: [] }

/** What kubelet says of the Pod; who forged the call may say it as well, so it is compared with the live Pod later. */
const readPod = (context: MountCall['context']): Reading<{ pod: PodKey; serviceAccount: string }> => {
  const pod = { namespace: context.get(CONTEXT.podNamespace) ?? '', name: context.get(CONTEXT.podName) ?? '', uid: context.get(CONTEXT.podUid) ?? '' }
  const given = context.get(CONTEXT.serviceAccount)
  const serviceAccount = given === '' ? DEFAULT_ACCOUNT : given
  const isUid = UID.test(pod.uid) && pod.uid.length <= MAX_UID
  const wrong: [string, string | undefined][] = [
    [CONTEXT.podNamespace, namespaceProblem(pod.namespace)],
    [CONTEXT.podName, subdomainProblem(pod.name)],
    [CONTEXT.podUid, isUid ? undefined : `must be the uid of a Pod; got ${shown(pod.uid)}`],
    [CONTEXT.serviceAccount, subdomainProblem(serviceAccount)],
    [CONTEXT.ephemeral, context.get(CONTEXT.ephemeral) === 'true' ? undefined : 'must be "true": Connectors are mounted as inline volumes of Pods alone'],
  ]
  const problems = wrong.flatMap(([key, problem]) => (problem === undefined ? [] : [`the attribute ${key}, which kubelet sets, ${problem}`]))
  return problems.length > 0 || serviceAccount === undefined ? { ok: false, problems } : { ok: true, value: { pod, serviceAccount } }
}

/** Only the folder that kubelet has for this volume of this Pod; its name is that of the volume. */
const readTarget = (target: string, kubeletDir: string, podUid: string | undefined): Reading<string> => {
  if (target === '') return bad('target_path is required')
  if (podUid === undefined) return NOT_JUDGED
  const before = `${kubeletDir.replace(/\/+$/, '')}/pods/${podUid}/volumes/kubernetes.io~csi/`
  const after = '/mount'
  const name = target.slice(before.length, -after.length)
  const isThere = target === `${before}${name}${after}` && namespaceProblem(name) === undefined
  return isThere ? { ok: true, value: name } : bad(`target_path must be ${before}<name of the volume>${after}; got ${JSON.stringify(target.slice(0, MAX_SHOWN_PATH))}`)
}

const readAttributes = (context: MountCall['context'], podNamespace: string | undefined): Reading<VolumeAttributes> => {
  if (podNamespace === undefined) return NOT_JUDGED
  // What kubelet adds is read elsewhere, or is of a kubelet to come; that the Pod itself has none of it, podProblem sees.
  const given = [...context].filter(([key]) => !key.startsWith(KUBELET_PREFIX))
  const reading = readVolumeAttributes(Object.fromEntries(given), podNamespace)
  return reading.ok ? { ok: true, value: reading.attributes } : reading
}

const readGroup = (text: string): Reading<number | undefined> => {
  if (text === '') return { ok: true, value: undefined }
  const isGroup = GROUP_ID.test(text) && Number(text) <= MAX_GROUP_ID
  return isGroup ? { ok: true, value: Number(text) } : bad(`volume_mount_group must be a group number from 0 to ${MAX_GROUP_ID}; got ${shown(text)}`)
}

const readToken = (audience: string, value: unknown): [string, MountToken][] => {
  const token = own(value, 'token')
  const expirationTimestamp = own(value, 'expirationTimestamp')
  const isToken = typeof token === 'string' && token !== '' && typeof expirationTimestamp === 'string' && parseTime(expirationTimestamp) !== undefined
  return isToken ? [[audience, { token, expirationTimestamp }]] : []
}

/** As a secret or, from older kubelets, in the context. No message quotes any of it: what is malformed may still hold a token. */
const readTokens = ({ context, secrets }: MountCall): Reading<ReadonlyMap<string, MountToken>> => {
  const text = secrets.get(CONTEXT.tokens) ?? context.get(CONTEXT.tokens)
  if (text === undefined) return { ok: true, value: new Map() }
  const rule = `${CONTEXT.tokens}, which kubelet sets, must be JSON of the form {"audience": {"token": "...", "expirationTimestamp": "..."}}`
  try {
    const value: unknown = JSON.parse(text)
    if (!isRecord(value)) return bad(rule)
    const tokens = new Map(Object.entries(value).flatMap(([audience, token]) => readToken(audience, token)))
    return tokens.size === Object.keys(value).length ? { ok: true, value: tokens } : bad(rule)
  } catch {
    // The parser's own message quotes the text.
    return bad(`${rule}; it is not JSON`)
  }
}

const isVolumeId = (text: string): boolean => text.length <= MAX_VOLUME_ID && VOLUME_ID.test(text)

/** What the call itself says, apart from its context. */
const shapeProblems = ({ volumeId, readOnly, publishContext, isMountVolume }: MountCall): string[] => [
  ...(volumeId === '' ? ['volume_id is required'] : []),
  ...(volumeId === '' || isVolumeId(volumeId) ? [] : [`volume_id must be at most ${MAX_VOLUME_ID} letters, digits, "-", "_" and "."; got ${shown(volumeId)}`]),
  ...(isMountVolume ? [] : ['volume_capability must be there and ask for a mounted volume: Connectors are no block devices']),
  ...(readOnly ? [] : ['readOnly: true is required']),
  ...(publishContext.size === 0 ? [] : ['publish_context must be empty: there is nothing to attach']),
]

/**
 * Reads a call to publish a volume. The failure tells all that is wrong, and never quotes a token.
 * @param kubeletDir absolute path of kubelet's own folder, as the call names it
 */
export const readMountCall = (call: MountCall, kubeletDir: string): { ok: true; mount: Mount } | { ok: false; failure: GateFailure } => {
  const identity = readPod(call.context)
  const pod = identity.ok ? identity.value.pod : undefined
  const volumeName = readTarget(call.targetPath, kubeletDir, pod?.uid)
  const attributes = readAttributes(call.context, pod?.namespace)
  const group = readGroup(call.volumeMountGroup)
  const tokens = readTokens(call)
  const problems = [...shapeProblems(call), ...[identity, volumeName, attributes, group, tokens].flatMap((reading) => (reading.ok ? [] : reading.problems))]
  if (problems.length > 0 || !identity.ok || !volumeName.ok || !attributes.ok || !group.ok || !tokens.ok)
    return { ok: false, failure: { code: 'INVALID_ARGUMENT', message: plainMessage(problems.join('; ')) } }
  const mount: Mount = {
    volumeId: call.volumeId,
    target: call.targetPath,
    volumeName: volumeName.value,
    ...identity.value,
    attributes: attributes.value,
    group: group.value,
    tokens: tokens.value,
  }
  return { ok: true, mount }
}

/** Attributes as plain JSON, to be compared. */
const plain = ({ connectors, configurationNames: { include, exclude }, configurationParams, tokenExpirationMs }: VolumeAttributes): object => ({
  connectors,
  include,
  exclude,
  params: Object.fromEntries([...configurationParams].map(([name, params]) => [name, Object.fromEntries(params)])),
  tokenExpirationMs,
})

/** What the live Pod does not bear out of a call. */
const mismatch = ({ pod: key, serviceAccount, volumeName, attributes }: Mount, pod: Pod, nodeName: string): string | undefined => {
  if (pod.metadata.uid !== key.uid) return `has uid ${shown(pod.metadata.uid)}; the call is for uid ${shown(key.uid)}`
  if (pod.spec?.nodeName !== nodeName) return `runs on node ${shown(pod.spec?.nodeName)}; this is node ${shown(nodeName)}`
  const account = pod.spec.serviceAccountName === undefined || pod.spec.serviceAccountName === '' ? DEFAULT_ACCOUNT : pod.spec.serviceAccountName
  if (account !== serviceAccount) return `runs as ServiceAccount ${shown(account)}; the call is for ${shown(serviceAccount)}`
  const csi = (pod.spec.volumes ?? []).find(({ name }) => name === volumeName)?.csi
  if (csi?.driver !== CSI_DRIVER) return `has no ${CSI_DRIVER} volume ${shown(volumeName)}`
  if (csi.readOnly !== true) return `has a volume ${shown(volumeName)} that is not readOnly: true`
  const reading = readVolumeAttributes(csi.volumeAttributes ?? {}, key.namespace)
  if (!reading.ok) return `has a volume ${shown(volumeName)} that no mount can be for: ${reading.problems.join('; ')}`
  return sameJson(plain(reading.attributes), plain(attributes)) ? undefined : `has a volume ${shown(volumeName)} with other attributes than the call`
}

/**
 * Why the live Pod gets no new mount; undefined when nothing speaks against it.
 * @param pod what the API server has under the Pod's name; undefined only when it answered that there is none
 */
export const podProblem = (mount: Mount, pod: Pod | undefined, nodeName: string): GateFailure | undefined => {
  const text = `Pod ${mount.pod.namespace}/${mount.pod.name}`
  if (pod === undefined) return { code: 'NOT_FOUND', message: `${text} not found` }
  const wrong = mismatch(mount, pod, nodeName)
  if (wrong !== undefined) return { code: 'FAILED_PRECONDITION', message: plainMessage(`${text} ${wrong}`) }
  if (pod.metadata.deletionTimestamp !== undefined) return { code: 'FAILED_PRECONDITION', message: `${text} is terminating; it gets no new mount` }
  if (isFinished(pod)) return { code: 'FAILED_PRECONDITION', message: `${text} has finished; it gets no new mount` }
  const surplus = mount.attributes.connectors.find((connector) => !namesConnector(pod, mount.pod.namespace, connector))
  if (surplus === undefined) return undefined
  return { code: 'INVALID_ARGUMENT', message: `${text} names more than ${MAX_CONNECTORS} Connectors, and ${surplus.namespace}/${surplus.name} is one too many; spread them over several Pods` }
}
