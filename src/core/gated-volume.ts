import { CSI_DRIVER } from '../api/names.ts'
import type { Pod, Volume } from '../api/pod.ts'
import { parseGoDuration } from './go-duration.ts'
import { isRecord, shown } from './json-shape.ts'
import { namespaceProblem, subdomainProblem } from './name-rules.ts'
import type { ConnectorKey } from './request-identity.ts'

/** The Connectors that a Pod's volumes name, and what the mount will say about volumes that are not well formed. */
export interface GatedVolumes {
  /** Unique, in the order of the volumes, at most 32; only of well-formed volumes. */
  connectors: ConnectorKey[]
  /** Sentences for the user; each names the volume. At most 20. */
  problems: string[]
}

const MAX_CONNECTORS = 32
const MAX_PROBLEMS = 20
const MAX_LIST_ITEMS = 100
/** Kubernetes issues no token for less. */
const MIN_TOKEN_MINUTES = 10
/** A token outlives its use only as long as it is valid; a day is enough for the longest job. */
const MAX_TOKEN_HOURS = 24

const ATTRIBUTE = {
  connectors: 'connectors',
  connectorName: 'connector.name',
  connectorNamespace: 'connector.namespace',
  configurationNames: 'configuration.names',
  configurationParams: 'configuration.params',
  tokenExpiration: 'token.expiration',
} as const
const KNOWN: readonly string[] = Object.values(ATTRIBUTE)
/** kubelet's own attributes: the Pod that mounts. Written by a user they would name another Pod. */
const KUBELET_PREFIX = 'csi.storage.k8s.io/'

/** Attributes of one volume; names are those of the table above. Own properties only. */
type Attributes = ReadonlyMap<string, string>

interface Reading {
  connectors: ConnectorKey[]
  problems: string[]
}

const problem = (text: string): Reading => ({ connectors: [], problems: [text] })
const listOf = (text: string): string[] => text.split(',').map((item) => item.trim())

/** `name`, in the namespace of the Pod, or `namespace/name`. */
const readConnector = (item: string, podNamespace: string): Reading => {
  if (item === '') return problem(`${ATTRIBUTE.connectors} has an empty item; write namespace/name or name, separated by commas`)
  const slash = item.indexOf('/')
  const namespace = slash < 0 ? podNamespace : item.slice(0, slash)
  const name = item.slice(slash + 1)
  const wrong = (slash < 0 ? undefined : namespaceProblem(namespace)) ?? subdomainProblem(name)
  return wrong === undefined ? { connectors: [{ namespace, name }], problems: [] } : problem(`${ATTRIBUTE.connectors} must name Connectors as namespace/name or name; ${shown(item)} is neither`)
}

const readDeprecatedForm = (name: string, namespace: string | undefined, podNamespace: string): Reading => {
  const connector = { namespace: namespace === undefined || namespace === '' ? podNamespace : namespace, name }
  const wrongName = subdomainProblem(name)
  if (wrongName !== undefined) return problem(`${ATTRIBUTE.connectorName} ${wrongName}`)
  const wrongNamespace = connector.namespace === podNamespace ? undefined : namespaceProblem(connector.namespace)
  return wrongNamespace === undefined ? { connectors: [connector], problems: [] } : problem(`${ATTRIBUTE.connectorNamespace} ${wrongNamespace}`)
}

const readConnectors = (attributes: Attributes, podNamespace: string): Reading => {
  const list = attributes.get(ATTRIBUTE.connectors)
  const name = attributes.get(ATTRIBUTE.connectorName)
  const namespace = attributes.get(ATTRIBUTE.connectorNamespace)
  if (list !== undefined && (name !== undefined || namespace !== undefined)) {
    return problem(`${ATTRIBUTE.connectors} and the older ${ATTRIBUTE.connectorName} and ${ATTRIBUTE.connectorNamespace} must not be used together; keep ${ATTRIBUTE.connectors}`)
  }
  if (name !== undefined && name !== '') return readDeprecatedForm(name, namespace, podNamespace)
  if (list === undefined || list.trim() === '') return problem('connectors or connector.name is required')
  const items = listOf(list)
  if (items.length > MAX_LIST_ITEMS) return problem(`${ATTRIBUTE.connectors} must have at most ${MAX_LIST_ITEMS} items; got ${items.length}`)
  const readings = items.map((item) => readConnector(item, podNamespace))
  return { connectors: readings.flatMap(({ connectors }) => connectors), problems: readings.flatMap(({ problems }) => problems) }
}

/** `name` includes a configuration, `!file` leaves a file out. */
const configurationNamesProblem = (text: string): string | undefined => {
  const items = listOf(text)
  if (items.length > MAX_LIST_ITEMS) return `${ATTRIBUTE.configurationNames} must have at most ${MAX_LIST_ITEMS} items; got ${items.length}`
  const isEmpty = items.some((item) => item === '' || item === '!')
  return isEmpty ? `${ATTRIBUTE.configurationNames} has an empty item; write names, or "!" and a file to leave out, separated by commas` : undefined
}

const isTextMap = (value: unknown): boolean => isRecord(value) && Object.values(value).every((item) => typeof item === 'string')

const configurationParamsProblem = (text: string): string | undefined => {
  const rule = `${ATTRIBUTE.configurationParams} must be JSON of the form {"configuration": {"param": "value"}}`
  try {
    const value: unknown = JSON.parse(text)
    return isRecord(value) && Object.values(value).every(isTextMap) ? undefined : rule
  } catch {
    // The parser's own message quotes the text, which may hold something private.
    return `${rule}; it is not JSON`
  }
}

const tokenExpirationProblem = (text: string): string | undefined => {
  const rule = `${ATTRIBUTE.tokenExpiration} must be a duration from ${MIN_TOKEN_MINUTES}m to ${MAX_TOKEN_HOURS}h, for example 30m; got ${shown(text)}`
  const milliseconds = parseGoDuration(text)
  if (milliseconds === undefined) return rule
  return milliseconds >= MIN_TOKEN_MINUTES * 60_000 && milliseconds <= MAX_TOKEN_HOURS * 3_600_000 ? undefined : rule
}

const OPTIONAL_RULES: readonly [string, (text: string) => string | undefined][] = [
  [ATTRIBUTE.configurationNames, configurationNamesProblem],
  [ATTRIBUTE.configurationParams, configurationParamsProblem],
  [ATTRIBUTE.tokenExpiration, tokenExpirationProblem],
]

const keyProblem = (key: string): string[] => {
  if (KNOWN.includes(key)) return []
  if (key.startsWith(KUBELET_PREFIX)) return [`the attribute ${shown(key)} is for kubelet to set; remove it`]
  return [`there is no attribute ${shown(key)}; there are ${KNOWN.join(', ')}`]
}

const readVolume = (volume: Volume, podNamespace: string): Reading => {
  const csi = volume.csi
  const given: unknown = csi?.volumeAttributes ?? {}
  if (!isRecord(given)) return problem('volumeAttributes must be a map of text')
  const texts = Object.entries(given).filter((entry): entry is [string, string] => typeof entry[1] === 'string')
  const attributes = new Map(texts)
  const { connectors, problems } = readConnectors(attributes, podNamespace)
  const others = OPTIONAL_RULES.flatMap(([key, rule]) => {
    const text = attributes.get(key)
    return (text === undefined ? undefined : rule(text)) ?? []
  })
  const all = [
    ...(csi?.readOnly === true ? [] : ['readOnly: true is required']),
    ...(texts.length === Object.keys(given).length ? [] : ['volumeAttributes must be a map of text']),
    ...problems,
    ...others,
    ...Object.keys(given).flatMap(keyProblem),
  ]
  return all.length === 0 ? { connectors, problems: [] } : { connectors: [], problems: all }
}

const ourVolumes = (pod: Pod): Volume[] => {
  const volumes: unknown = pod.spec?.volumes
  return Array.isArray(volumes) ? volumes.filter((volume: Volume | null) => volume?.csi?.driver === CSI_DRIVER) : []
}

const isSame = (left: ConnectorKey, right: ConnectorKey): boolean => left.namespace === right.namespace && left.name === right.name

const uniqueConnectors = (connectors: readonly ConnectorKey[]): ConnectorKey[] => [
  ...new Map(connectors.map((connector) => [`${connector.namespace}/${connector.name}`, connector])).values(),
]

/**
 * Reads the volumes of our driver. A volume with a problem names no Connector: its mount is refused, so nothing is
 * asked for on its behalf. Several Connectors in one volume are no problem here; whether they are allowed is the mount's question.
 * @param podNamespace the namespace of the Pod, which a bare Connector name is in
 */
export const gatedVolumes = (pod: Pod, podNamespace: string): GatedVolumes => {
  const volumes = ourVolumes(pod).map((volume) => ({ label: `volume ${shown(volume.name)}`, ...readVolume(volume, podNamespace) }))
  const problems = volumes.flatMap(({ label, problems: found }) => found.map((text) => `${label}: ${text}`))
  const unique = uniqueConnectors(volumes.flatMap(({ connectors }) => connectors))
  const surplus = unique.slice(MAX_CONNECTORS)
  const crowded = surplus.flatMap((extra) => volumes.find(({ connectors }) => connectors.some((connector) => isSame(connector, extra))) ?? []).at(0)
  if (crowded !== undefined) problems.push(`${crowded.label}: a Pod may name at most ${MAX_CONNECTORS} Connectors; ${surplus.length} more are ignored`)
  return { connectors: unique.slice(0, MAX_CONNECTORS), problems: problems.slice(0, MAX_PROBLEMS) }
}

/** Whether some well-formed volume of ours in the Pod names the Connector. */
export const namesConnector = (pod: Pod, podNamespace: string, connector: ConnectorKey): boolean =>
  gatedVolumes(pod, podNamespace).connectors.some((named) => isSame(named, connector))
