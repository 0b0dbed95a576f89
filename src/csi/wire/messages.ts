/** Reads what came over the wire: any field may be missing. */
import { own } from '../../core/json-shape.ts'
import { DESCRIPTORS } from './descriptors.ts'
import type { Message } from './services.ts'

/** The numbers of what a node service can do. */
export const NODE_RPC = DESCRIPTORS.nested.csi.nested.v1.nested.NodeServiceCapability.nested.RPC.nested.Type.values

export interface PublishRequest {
  volumeId: string
  targetPath: string
  readOnly: boolean
  context: ReadonlyMap<string, string>
  publishContext: ReadonlyMap<string, string>
  secrets: ReadonlyMap<string, string>
  /** undefined: none was sent. */
  capability: VolumeCapability | undefined
}

export interface VolumeCapability {
  isMount: boolean
  volumeMountGroup: string
}

const textOf = (message: unknown, field: string): string => {
  const value = own(message, field)
  return typeof value === 'string' ? value : ''
}

const textsOf = (message: unknown, field: string): ReadonlyMap<string, string> => {
  const value = own(message, field)
  const entries = typeof value === 'object' && value !== null ? Object.entries(value) : []
  return new Map(entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'))
}

const isTrue = (message: unknown, field: string): boolean => own(message, field) === true

const isSent = (message: unknown, field: string): boolean => {
  const value = own(message, field)
  return typeof value === 'object' && value !== null
}

const capabilityOf = (message: unknown): VolumeCapability => ({
  isMount: isSent(message, 'mount') && !isSent(message, 'block'),
  volumeMountGroup: textOf(own(message, 'mount'), 'volumeMountGroup'),
})

export const readPublishRequest = (message: Message): PublishRequest => ({
  volumeId: textOf(message, 'volumeId'),
  targetPath: textOf(message, 'targetPath'),
  readOnly: isTrue(message, 'readonly'),
  context: textsOf(message, 'volumeContext'),
  publishContext: textsOf(message, 'publishContext'),
  secrets: textsOf(message, 'secrets'),
  capability: isSent(message, 'volumeCapability') ? capabilityOf(own(message, 'volumeCapability')) : undefined,
})

export const readUnpublishRequest = (message: Message): { volumeId: string; targetPath: string } => ({
  volumeId: textOf(message, 'volumeId'),
  targetPath: textOf(message, 'targetPath'),
})

export const readRegistrationStatus = (message: Message): { registered: boolean; error: string } => ({
  registered: isTrue(message, 'pluginRegistered'),
  error: textOf(message, 'error'),
})
