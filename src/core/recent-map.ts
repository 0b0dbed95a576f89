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

/** @param capacity at most so many, 2 or more; the half of them that was used last is always there */
export const createRecentMap = <V>(capacity: number): RecentMap<V> => {
  const half = Math.max(1, Math.floor(capacity / 2))
  let recent = new Map<string, V>()
  let before = new Map<string, V>()

  const set = (key: string, value: V): void => {
    if (recent.size >= half && !recent.has(key)) {
      before = recent
      recent = new Map()
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
      recent.delete(key)
      before.delete(key)
    },
    clear: () => {
      recent = new Map()
      before = new Map()
    },
  }
}
