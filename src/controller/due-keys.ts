/** Keys with a time each, the earliest first: a binary heap, so that ten thousand waiting keys are cheap. */

interface Due {
  key: string
  at: number
}

export class DueKeys {
  /** The time that counts for each key. */
  readonly #times = new Map<string, number>()
  /** May hold outdated entries of a key that got an earlier time; they are dropped when they come to the top. */
  #heap: Due[] = []

  get size(): number {
    return this.#times.size
  }

  /** Of several times of a key the earliest counts. */
  add(key: string, at: number): void {
    const known = this.#times.get(key)
    if (known !== undefined && known <= at) return
    this.#times.set(key, at)
    this.#push({ key, at })
  }

  get earliest(): number | undefined {
    return this.#top()?.at
  }

  /** Takes out every key whose time has come, in order of their times. */
  takeUntil(now: number): string[] {
    const keys: string[] = []
    for (let top = this.#top(); top !== undefined && top.at <= now; top = this.#top()) {
      this.#pop()
      this.#times.delete(top.key)
      keys.push(top.key)
    }
    return keys
  }

  clear(): void {
    this.#times.clear()
    this.#heap = []
  }

  #top(): Due | undefined {
    for (let top = this.#heap[0]; top !== undefined; top = this.#heap[0]) {
      if (this.#times.get(top.key) === top.at) return top
      this.#pop()
    }
    return undefined
  }

  #push(due: Due): void {
    let index = this.#heap.push(due) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (!this.#swapIfLater(parent, index)) return
      index = parent
    }
  }

  #pop(): void {
    const last = this.#heap.pop()
    if (last === undefined || this.#heap.length === 0) return
    this.#heap[0] = last
    let index = 0
    for (;;) {
      const left = 2 * index + 1
      const right = left + 1
      const child = this.#at(right) < this.#at(left) ? right : left
      if (child >= this.#heap.length || !this.#swapIfLater(index, child)) return
      index = child
    }
  }

  #at(index: number): number {
    return this.#heap[index]?.at ?? Number.POSITIVE_INFINITY
  }

  /** Puts a parent that is later than its child below it. */
  #swapIfLater(parent: number, child: number): boolean {
    const [upper, lower] = [this.#heap[parent], this.#heap[child]]
    if (upper === undefined || lower === undefined || upper.at <= lower.at) return false
    this.#heap[parent] = lower
    this.#heap[child] = upper
    return true
  }
}
