import { parseGoDuration } from './go-duration.ts'
import { isRecord, shown } from './json-shape.ts'
import { namespaceProblem, subdomainProblem } from './name-rules.ts'
import type { ConnectorKey } from './request-identity.ts'

/** What the attributes of one volume ask for. */
export interface VolumeAttributes {
  /** At least one, each once. The order matters where files say different things: the last one wins. */
  connectors: ConnectorKey[]
  /** `include` is undefined when no configuration is named: the built-in files alone. `exclude` names files. */
  configurationNames: { include: readonly string[] | undefined; exclude: readonly string[] }
  /** Configuration to parameter to value. */
  configurationParams: ReadonlyMap<string, ReadonlyMap<string, string>>
  /** How long the token shall be valid; undefined: the default of the driver. */
  tokenExpirationMs: number | undefined
}

export type AttributesReading = { ok: true; attributes: VolumeAttributes } | { ok: false; problems: string[] }

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
export const KUBELET_PREFIX = 'csi.storage.k8s.io/'

/** Attributes of one volume; names are those of the table above. Own properties only. */
type Attributes = ReadonlyMap<string, string>

/** The value of one attribute, or sentences about it. */
type Reading<T> = { ok: true; value: T } | { ok: false; problems: string[] }

const good = <T>(value: T): Reading<T> => ({ ok: true, value })
const bad = (...problems: string[]): { ok: false; problems: string[] } => ({ ok: false, problems })
const problemsOf = (reading: Reading<unknown>): string[] => (reading.ok ? [] : reading.problems)
const listOf = (text: string): string[] => text.split(',').map((item) => item.trim())

/** `name`, in the namespace of the Pod, or `namespace/name`. */
const readConnector = (item: string, podNamespace: string): Reading<ConnectorKey> => {
  if (item === '') return bad(`${ATTRIBUTE.connectors} has an empty item; write namespace/name or name, separated by commas`)
  const slash = item.indexOf('/')
  const namespace = slash < 0 ? podNamespace : item.slice(0, slash)
  const name = item.slice(slash + 1)
  const wrong = (slash < 0 ? undefined : namespaceProblem(namespace)) ?? subdomainProblem(name)
  return wrong === undefined ? good({ namespace, name }) : bad(`${ATTRIBUTE.connectors} must name Connectors as namespace/name or name; ${shown(item)} is neither`)
}

const readDeprecatedForm = (name: string, namespace: string | undefined, podNamespace: string): Reading<ConnectorKey[]> => {
  const connector = { namespace: namespace === undefined || namespace === '' ? podNamespace : namespace, name }
  const wrongName = subdomainProblem(name)
  if (wrongName !== undefined) return bad(`${ATTRIBUTE.connectorName} ${wrongName}`)
  const wrongNamespace = connector.namespace === podNamespace ? undefined : namespaceProblem(connector.namespace)
  return wrongNamespace === undefined ? good([connector]) : bad(`${ATTRIBUTE.connectorNamespace} ${wrongNamespace}`)
}

/** Of a Connector that is named twice the last place counts, since the last one wins. */
const uniqueInOrder = (connectors: readonly ConnectorKey[]): ConnectorKey[] =>
  [...new Map(connectors.toReversed().map((connector) => [`${connector.namespace}/${connector.name}`, connector])).values()].toReversed()

const readConnectors = (attributes: Attributes, podNamespace: string): Reading<ConnectorKey[]> => {
  const list = attributes.get(ATTRIBUTE.connectors)
  const name = attributes.get(ATTRIBUTE.connectorName)
  const namespace = attributes.get(ATTRIBUTE.connectorNamespace)
  if (list !== undefined && (name !== undefined || namespace !== undefined)) {
    return bad(`${ATTRIBUTE.connectors} and the older ${ATTRIBUTE.connectorName} and ${ATTRIBUTE.connectorNamespace} must not be used together; keep ${ATTRIBUTE.connectors}`)
  }
  if (name !== undefined && name !== '') return readDeprecatedForm(name, namespace, podNamespace)
  if (list === undefined || list.trim() === '') return bad('connectors or connector.name is required')
  const items = listOf(list)
  if (items.length > MAX_LIST_ITEMS) return bad(`${ATTRIBUTE.connectors} must have at most ${MAX_LIST_ITEMS} items; got ${items.length}`)
  const readings = items.map((item) => readConnector(item, podNamespace))
  const problems = readings.flatMap(problemsOf)
  return problems.length > 0 ? bad(...problems) : good(uniqueInOrder(readings.flatMap((reading) => (reading.ok ? [reading.value] : []))))
}

/** `name` includes a configuration, `!file` leaves a file out. */
const readConfigurationNames = (text: string | undefined): Reading<VolumeAttributes['configurationNames']> => {
  if (text === undefined) return good({ include: undefined, exclude: [] })
  const items = listOf(text)
  if (items.length > MAX_LIST_ITEMS) return bad(`${ATTRIBUTE.configurationNames} must have at most ${MAX_LIST_ITEMS} items; got ${items.length}`)
  const include = items.filter((item) => !item.startsWith('!'))
  const exclude = items.filter((item) => item.startsWith('!')).map((item) => item.slice(1).trim())
  const isEmpty = [...include, ...exclude].includes('')
  if (isEmpty) return bad(`${ATTRIBUTE.configurationNames} has an empty item; write names, or "!" and a file to leave out, separated by commas`)
  return good({ include: include.length === 0 ? undefined : include, exclude })
}

const isText = (entry: [string, unknown]): entry is [string, string] => typeof entry[1] === 'string'

/** undefined for anything but a map of text. */
const textMap = (value: unknown): ReadonlyMap<string, string> | undefined => {
  if (!isRecord(value)) return undefined
  const entries = Object.entries(value)
  const texts = entries.filter(isText)
  return texts.length === entries.length ? new Map(texts) : undefined
}

const readConfigurationParams = (text: string | undefined): Reading<VolumeAttributes['configurationParams']> => {
  if (text === undefined) return good(new Map())
  const rule = `${ATTRIBUTE.configurationParams} must be JSON of the form {"configuration": {"param": "value"}}`
  try {
    const value: unknown = JSON.parse(text)
    if (!isRecord(value)) return bad(rule)
    const entries = Object.entries(value)
    const maps = entries.flatMap(([key, params]): [string, ReadonlyMap<string, string>][] => {
      const map = textMap(params)
      return map === undefined ? [] : [[key, map]]
    })
    return maps.length === entries.length ? good(new Map(maps)) : bad(rule)
  } catch {
    // The parser's own message quotes the text, which may hold something private.
    return bad(`${rule}; it is not JSON`)
  }
}

const readTokenExpiration = (text: string | undefined): Reading<number | undefined> => {
  if (text === undefined) return good(undefined)
  const milliseconds = parseGoDuration(text)
  const isInRange = milliseconds !== undefined && milliseconds >= MIN_TOKEN_MINUTES * 60_000 && milliseconds <= MAX_TOKEN_HOURS * 3_600_000
  return isInRange
    ? good(milliseconds)
    : bad(`${ATTRIBUTE.tokenExpiration} must be a duration from ${MIN_TOKEN_MINUTES}m to ${MAX_TOKEN_HOURS}h, for example 30m; got ${shown(text)}`)
}

const keyProblem = (key: string): string[] => {
  if (KNOWN.includes(key)) return []
  if (key.startsWith(KUBELET_PREFIX)) return [`the attribute ${shown(key)} is for kubelet to set; remove it`]
  return [`there is no attribute ${shown(key)}; there are ${KNOWN.join(', ')}`]
}

/**
 * Reads the `volumeAttributes` of one volume, whatever their shape.
 * Several Connectors are no problem here; whether they are allowed is the mount's question.
 * @param podNamespace the namespace of the Pod, which a bare Connector name is in
 */
export const readVolumeAttributes = (given: unknown, podNamespace: string): AttributesReading => {
  if (!isRecord(given)) return bad('volumeAttributes must be a map of text')
  const entries = Object.entries(given)
  const attributes = new Map(entries.filter(isText))
  const connectors = readConnectors(attributes, podNamespace)
  const names = readConfigurationNames(attributes.get(ATTRIBUTE.configurationNames))
  const params = readConfigurationParams(attributes.get(ATTRIBUTE.configurationParams))
  const expiration = readTokenExpiration(attributes.get(ATTRIBUTE.tokenExpiration))
  const problems = [
    ...(attributes.size === entries.length ? [] : ['volumeAttributes must be a map of text']),
    ...[connectors, names, params, expiration].flatMap(problemsOf),
    ...entries.flatMap(([key]) => keyProblem(key)),
  ]
  // Each of them is good when there are no problems; said once more for the compiler.
  if (problems.length > 0 || !connectors.ok || !names.ok || !params.ok || !expiration.ok) return { ok: false, problems }
  return {
    ok: true,
    attributes: { connectors: connectors.value, configurationNames: names.value, configurationParams: params.value, tokenExpirationMs: expiration.value },
  }
}
