import { CsiError } from '../../src/csi/grpc-status.ts'
import type { VolumePublisher } from '../../src/csi/node.ts'
import type { VolumeFiles } from '../../src/csi/volume-files.ts'
import { createVolumeLocks } from '../../src/csi/volume-locks.ts'
import type { VolumeRecords } from '../../src/csi/volume-records.ts'

/** A publisher without a gate: every volume gets the files that are given. It knows no Pods, and so what it records names none. */
export const plainPublisher = (files: VolumeFiles, records: VolumeRecords, content: ReadonlyMap<string, string>): VolumePublisher => {
  const locks = createVolumeLocks()
  return {
    publish: (call, { signal }) =>
      locks.run(call.volumeId, signal, async () => {
        if (!call.isMountVolume) throw new CsiError('INVALID_ARGUMENT', 'the volume must be mounted: volume_capability.mount is missing')
        await files.write(call.targetPath, content, undefined)
        await records.put({ volumeId: call.volumeId, target: call.targetPath, volumeName: 'v', pod: { namespace: '', name: '', uid: '' }, kind: 'files', started: false })
      }),
    unpublish: (volumeId, targetPath, { signal }) =>
      locks.run(volumeId, signal, async () => {
        await records.remove(volumeId)
        await files.remove(targetPath)
      }),
  }
}
