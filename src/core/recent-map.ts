/**
 * What was set or asked for of late, and no more than so much of it. Two tables take turns: a full one is kept for reading, until the next
 * is full. Nothing is deleted one by one to make room, since a Map passes over all that was deleted to find its oldest entry (7 us of 10,000),
 * and chains the tables that it outgrew.
 */
export interface RecentMap<V> {
  get(key: string): V | undefined
  set(key: string, value: V): void
  delete(key: string): void
  clear(): void
}

const one = (): number => 1

/**
 * @param capacity at most so many, 2 or more; the half of them that was used last is always there
 * @param weigh what an entry counts for, where that is not one: the same for all values of a key, and no more than half of the capacity
 */
export const createRecentMap = <V>(capacity: number, weigh: (value: V) => number = one): RecentMap<V> => {
  const half = Math.max(1, Math.floor(capacity / 2))
  let recent = new Map<string, V>()
  let before = new Map<string, V>()
  /** Of all in `recent`. */
  let weight = 0

  const set = (key: string, value: V): void => {
    if (!recent.has(key)) {
      const added = weigh(value)
      if (weight + added > half) {
        before = recent
        recent = new Map()
        weight = 0
      }
      weight += added
    }
    recent.set(key, value)
  }

  return {
    get: (key) => {
      const known = recent.get(key)
      if (known !== undefined) return known
      const older = before.get(key)
      if (older !== undefined) set(key, older)
      return older
    },
    set,
    delete: (key) => {
      const known = recent.get(key)
      if (known !== undefined) weight -= weigh(known)
      recent.delete(key)
      before.delete(key)
    },
    clear: () => {
      recent = new Map()
      before = new Map()
      weight = 0
    },
  }
}
