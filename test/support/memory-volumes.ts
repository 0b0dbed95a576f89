/** Volumes and records in memory, in place of a node's disk. A test keeps them over a restart of the plugin. */
import type { VolumeFiles } from '../../src/csi/volume-files.ts'
import type { VolumeRecord, VolumeRecords } from '../../src/csi/volume-records.ts'

export interface MemoryVolumes {
  files: VolumeFiles
  records: VolumeRecords
  /** What is there now, by target. */
  readonly targets: Map<string, Map<string, string>>
  /** Which files were written, in order: one that has the same content already is not. */
  readonly written: string[]
  readonly byVolume: Map<string, VolumeRecord>
  readonly askedOf: Map<string, Set<string>>
  /** Everything that was ever about to be made. */
  readonly makingOf: Map<string, Set<string>>
  /** The next calls of this method fail. */
  fail(method: 'write' | 'remove' | 'put' | 'asked', error: Error, times?: number): void
  /** Called within each write, when the files are there and nothing is on record yet. */
  onWritten: () => void | Promise<void>
}

export const memoryVolumes = (): MemoryVolumes => {
  const targets = new Map<string, Map<string, string>>()
  const written: string[] = []
  const byVolume = new Map<string, VolumeRecord>()
  const askedOf = new Map<string, Set<string>>()
  const makingOf = new Map<string, Set<string>>()
  const faults: { method: string; error: Error; left: number }[] = []

  const act = async <T>(method: string, effect: () => T): Promise<T> => {
    await Promise.resolve()
    const fault = faults.find((one) => one.method === method && one.left > 0)
    if (fault !== undefined) {
      fault.left -= 1
      throw fault.error
    }
    return effect()
  }

  const volumes: MemoryVolumes = {
    targets,
    written,
    byVolume,
    askedOf,
    makingOf,
    onWritten: () => undefined,
    fail: (method, error, times = 1) => void faults.push({ method, error, left: times }),
    files: {
      write: async (target, files) => {
        await act('write', () => {
          const before = targets.get(target)
          for (const [name, content] of files) if (before?.get(name) !== content) written.push(name)
          targets.set(target, new Map(files))
        })
        await volumes.onWritten()
      },
      look: (target) => act('look', () => targets.has(target) ? [...(targets.get(target)?.keys() ?? [])].toSorted() : undefined),
      remove: (target) => act('remove', () => void targets.delete(target)),
    },
    records: {
      get: (volumeId) => act('get', () => byVolume.get(volumeId)),
      put: (record) => act('put', () => void byVolume.set(record.volumeId, record)),
      remove: (volumeId) => act('forget', () => void byVolume.delete(volumeId)),
      all: () => act('all', () => [...byVolume.values()]),
      asked: (podUid) => act('asked', () => new Set(askedOf.get(podUid))),
      addAsked: (podUid, connector) => act('addAsked', () => void askedOf.set(podUid, new Set([...(askedOf.get(podUid) ?? []), connector]))),
      addMaking: (podUid, connector) => act('addMaking', () => void makingOf.set(podUid, new Set([...(makingOf.get(podUid) ?? []), connector]))),
      askedPods: () => act('askedPods', () => [...askedOf.keys()]),
      forgetPod: (podUid) => act('forgetPod', () => void askedOf.delete(podUid)),
    },
  }
  return volumes
}
