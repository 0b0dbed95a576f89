import type { MountCall } from '../core/mount-call.ts'
import type { CallContext, Handlers } from './calls.ts'
import { CsiError } from './grpc-status.ts'
import { NODE_RPC, readPublishRequest, readUnpublishRequest } from './wire/messages.ts'

/** What the Node service asks for a volume. Errors that kubelet shall read are CsiErrors or coded ones. */
export interface VolumePublisher {
  /** Returns when a Pod may start on the volume. Never longer than the deadline or the signal let it. */
  publish(call: MountCall, context: CallContext): Promise<void>
  /** Returns when nothing of the volume is left, also when nothing of it was ever there. */
  unpublish(volumeId: string, targetPath: string, context: CallContext): Promise<void>
}

/** kubelet's have 68 characters. A longer one than this would only fill the log. */
const MAX_ID = 1_024
/** What Linux takes as a path. */
const MAX_PATH = 4_096

/** @throws CsiError INVALID_ARGUMENT */
const checkNames = (volumeId: string, targetPath: string): void => {
  if (volumeId === '') throw new CsiError('INVALID_ARGUMENT', 'the call names no volume: volume_id is empty')
  if (volumeId.length > MAX_ID) throw new CsiError('INVALID_ARGUMENT', `volume_id is longer than ${MAX_ID} characters`)
  if (targetPath === '') throw new CsiError('INVALID_ARGUMENT', 'the call names no folder: target_path is empty')
  if (targetPath.length > MAX_PATH) throw new CsiError('INVALID_ARGUMENT', `target_path is longer than ${MAX_PATH} characters`)
}

/**
 * CSI's Node service, of which grpc-js answers UNIMPLEMENTED to what is not here. Not declared, because there is nothing to them here:
 * staging, statistics, expansion, topology, a limit of volumes, and modes for several writers, as nobody writes to these volumes.
 */
export const nodeHandlers = (nodeName: string, publisher: VolumePublisher): Handlers<'csi.v1.Node'> => ({
  NodeGetInfo: () => ({ nodeId: nodeName }),
  // kubelet hands the Pod's fsGroup to the plugin instead of changing the owner of files itself.
  NodeGetCapabilities: () => ({ capabilities: [{ rpc: { type: NODE_RPC.VOLUME_MOUNT_GROUP } }] }),
  async NodePublishVolume(message, context) {
    const { capability, ...request } = readPublishRequest(message)
    checkNames(request.volumeId, request.targetPath)
    if (capability === undefined) throw new CsiError('INVALID_ARGUMENT', 'the call does not say what is mounted: volume_capability is missing')
    const { isMount: isMountVolume, volumeMountGroup } = capability
    await publisher.publish({ ...request, isMountVolume, volumeMountGroup }, context)
    return {}
  },
  async NodeUnpublishVolume(message, context) {
    const { volumeId, targetPath } = readUnpublishRequest(message)
    checkNames(volumeId, targetPath)
    await publisher.unpublish(volumeId, targetPath, context)
    return {}
  },
})
