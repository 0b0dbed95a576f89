import { CSI_DRIVER } from '../api/names.ts'
import type { Pod, Volume } from '../api/pod.ts'
import { shown } from './json-shape.ts'
import type { ConnectorKey } from './request-identity.ts'
import { readVolumeAttributes } from './volume-attributes.ts'

/** The Connectors that a Pod's volumes name, and what the mount will say about volumes that are not well formed. */
export interface GatedVolumes {
  /** Unique, in the order of the volumes, at most 32; only of well-formed volumes. */
  connectors: ConnectorKey[]
  /** Sentences for the user; each names the volume. At most 20. */
  problems: string[]
}

/** Of one Pod; what it names beyond that gets no request and no grant. */
export const MAX_CONNECTORS = 32
const MAX_PROBLEMS = 20

const readVolume = (volume: Volume, podNamespace: string): { connectors: ConnectorKey[]; problems: string[] } => {
  const reading = readVolumeAttributes(volume.csi?.volumeAttributes ?? {}, podNamespace)
  const problems = [...(volume.csi?.readOnly === true ? [] : ['readOnly: true is required']), ...(reading.ok ? [] : reading.problems)]
  return reading.ok && problems.length === 0 ? { connectors: reading.attributes.connectors, problems } : { connectors: [], problems }
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
