import { CsiError } from './grpc-status.ts'

/** One thing at a time for each volume, in the order in which it was asked for. */
export interface VolumeLocks {
  /**
   * Runs the work when nothing else runs for this volume.
   * @param signal ends the waiting, not the work
   * @throws CsiError ABORTED when the signal came first
   */
  run<T>(volumeId: string, signal: AbortSignal, work: () => Promise<T>): Promise<T>
  /** How many volumes something runs for. */
  readonly size: number
}

export const createVolumeLocks = (): VolumeLocks => {
  /** Of each volume that something runs for: who waits. */
  const waiting = new Map<string, (() => void)[]>()

  const take = (volumeId: string, signal: AbortSignal): Promise<void> => {
    const aborted = (): CsiError => new CsiError('ABORTED', 'another call for this volume is still running; kubelet asks again', { cause: signal.reason })
    if (signal.aborted) return Promise.reject(aborted())
    const queue = waiting.get(volumeId)
    if (queue === undefined) {
      waiting.set(volumeId, [])
      return Promise.resolve()
    }
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        queue.splice(queue.indexOf(turn), 1)
        reject(aborted())
      }
      const turn = (): void => {
        signal.removeEventListener('abort', leave)
        resolve()
      }
      signal.addEventListener('abort', leave, { once: true })
      queue.push(turn)
    })
  }

  const release = (volumeId: string): void => {
    const next = waiting.get(volumeId)?.shift()
    if (next === undefined) waiting.delete(volumeId)
    else next()
  }

  return {
    async run(volumeId, signal, work) {
      await take(volumeId, signal)
      try {
        return await work()
      } finally {
        release(volumeId)
      }
    },
    get size() {
      return waiting.size
    },
  }
}
