/** What a volume holds: rendered, written, recorded, in this order, so that what is on record was there whole. */
import type { Connector, ConnectorClass } from '../api/connector.ts'
import { renderFiles } from '../core/mount-files.ts'
import type { Mount } from '../core/mount-call.ts'
import type { GateFailure } from '../core/mount-gate.ts'
import { refusalJson, type Refusal } from '../core/refusal-status.ts'
import type { Reader } from '../kube/ports.ts'
import { CONNECTOR_CLASSES } from '../kube/resources.ts'
import { CsiError } from './grpc-status.ts'
import type { Tokens } from './tokens.ts'
import type { VolumeFiles } from './volume-files.ts'
import type { VolumeRecord, VolumeRecords } from './volume-records.ts'

/** The one file of a volume whose Connectors the Pod may not use. */
export const REFUSAL_FILE = '.error.json'

export type VolumeContent = { kind: VolumeRecord['kind']; files: ReadonlyMap<string, string> }

export interface VolumeWriter {
  /** @throws CsiError when the files cannot be rendered as things are; CodedError KUBE_* when something could not be read */
  render(mount: Mount, connectors: readonly Connector[]): Promise<VolumeContent>
  /** What a refused Pod finds. */
  refusal(refusals: readonly Refusal[]): VolumeContent
  /** Puts it there and on record; what was there and does not belong is removed. @throws whatever the disk says */
  write(mount: Mount, content: VolumeContent): Promise<void>
  /** Leaves nothing, of files and record. @throws whatever the disk says */
  clear(volumeId: string, target: string): Promise<void>
}

export interface VolumeWriterDeps {
  reader: Pick<Reader, 'get'>
  tokens: Pick<Tokens, 'tokenFor'>
  files: VolumeFiles
  records: Pick<VolumeRecords, 'get' | 'put' | 'remove'>
}

const failed = ({ code, message }: GateFailure): CsiError => new CsiError(code, message)

/** Those that there are, where the volume names configurations; which of them matter, the rendering knows. @throws CodedError KUBE_* */
const readClasses = async (reader: Pick<Reader, 'get'>, { attributes }: Mount, connectors: readonly Connector[]): Promise<Map<string, ConnectorClass>> => {
  if (attributes.configurationNames.include === undefined && attributes.configurationParams.size === 0) return new Map()
  const names = [...new Set(connectors.flatMap(({ spec }) => spec?.connectorClassName ?? []))].filter((name) => name !== '')
  const found = await Promise.all(names.map(async (name) => ({ name, found: await reader.get(CONNECTOR_CLASSES, undefined, name) })))
  return new Map(found.flatMap(({ name, found: one }) => (one === undefined ? [] : [[name, one]])))
}

export const createVolumeWriter = ({ reader, tokens, files, records }: VolumeWriterDeps): VolumeWriter => ({
  render: async (mount, connectors) => {
    const [classes, token] = await Promise.all([readClasses(reader, mount, connectors), tokens.tokenFor(mount, connectors)])
    if (!token.ok) throw failed(token.failure)
    const rendered = renderFiles({ mount, connectors, classes, token: token.token })
    if (!rendered.ok) throw failed(rendered.failure)
    return { kind: 'files', files: rendered.files }
  },
  refusal: (refusals) => ({ kind: 'refused', files: new Map([[REFUSAL_FILE, refusalJson(refusals)]]) }),
  write: async ({ volumeId, target, volumeName, pod, group }, { kind, files: content }) => {
    await files.write(target, content, group)
    const known = await records.get(volumeId)
    if (known?.kind === kind && known.target === target && known.pod.uid === pod.uid) return
    await records.put({ volumeId, target, volumeName, pod, kind, started: known?.pod.uid === pod.uid && known.started })
  },
  clear: async (volumeId, target) => {
    // The record first: what is not on record is never taken for mounted. The files go, whatever becomes of it: one of them is a token.
    try {
      await records.remove(volumeId)
    } finally {
      await files.remove(target)
    }
  },
})
