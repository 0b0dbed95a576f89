/** One open watch of memory-kube: events in, an async iterator out. */
import type { KubeObject } from '../../src/api/meta.ts'
import type { WatchEvent } from '../../src/kube/ports.ts'

export interface WatchChannel<T extends KubeObject> {
  push(event: WatchEvent<T>): void
  /** What was pushed before is still read. */
  end(error?: Error): void
  readonly ended: boolean
  readonly iterator: AsyncIterator<WatchEvent<T>>
}

export const watchChannel = <T extends KubeObject>(onClose: () => void): WatchChannel<T> => {
  const queue: WatchEvent<T>[] = []
  const state: { ended: boolean; error?: Error } = { ended: false }
  let wake: (() => void) | undefined
  return {
    push: (event) => {
      if (!state.ended) queue.push(event)
      wake?.()
    },
    end: (error) => {
      if (!state.ended && error !== undefined) state.error = error
      state.ended = true
      wake?.()
    },
    get ended() {
      return state.ended
    },
    iterator: {
      next: async () => {
        while (queue.length === 0 && !state.ended) {
          await new Promise<void>((resolve) => {
            wake = resolve
          })
        }
        const value = queue.shift()
        if (value !== undefined) return { done: false, value }
        onClose()
        const { error } = state
        delete state.error
        if (error !== undefined) throw error
        return { done: true, value: undefined }
      },
      return: async () => {
        state.ended = true
        queue.length = 0
        onClose()
        return { done: true, value: undefined }
      },
    },
  }
}
