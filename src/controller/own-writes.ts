import type { KubeObject } from '../api/meta.ts'

/**
 * Tells what a reconcile writes itself from what others change, where caches and watches tell of both. A reconcile goes on from
 * its own writes anyway; being woken by them too would undo the backoff of a request that keeps failing.
 */
export class OwnWrites {
  readonly #onOthers: (key: string) => void
  /** For each request that is being written: the versions that watches told of meanwhile. The answer says which of them is ours. */
  readonly #heard = new Map<string, Set<string | undefined>>()
  #isPlacing = false

  /** @param onOthers called with the key of a request that others changed while it was written */
  constructor(onOthers: (key: string) => void) {
    this.#onOthers = onOthers
  }

  /**
   * Makes one write for a request, and places the answer in a cache.
   * @param key of the request; one write of it at a time
   */
  async write<T extends KubeObject>(key: string, write: () => Promise<T>, place: (answer: T) => void): Promise<T> {
    const heard = new Set<string | undefined>()
    this.#heard.set(key, heard)
    try {
      const answer = await write()
      heard.delete(answer.metadata.resourceVersion)
      this.place(() => place(answer))
      return answer
    } finally {
      this.#heard.delete(key)
      if (heard.size > 0) this.#onOthers(key)
    }
  }

  /** Changes that are told during `put` are our own. */
  place(put: () => void): void {
    this.#isPlacing = true
    try {
      put()
    } finally {
      this.#isPlacing = false
    }
  }

  /** Whether a change that is told now, of the request or of its grants, is our own, or is judged as soon as a write under way has its answer. */
  covers(key: string, version: string | undefined): boolean {
    if (this.#isPlacing) return true
    const heard = this.#heard.get(key)
    heard?.add(version)
    return heard !== undefined
  }
}
