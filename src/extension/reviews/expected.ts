/**
 * Questions that were answered with yes when they were last asked. It decides nothing: what is likely to be needed next can be read
 * meanwhile, and nothing is read for whoever was refused last time, or never asked.
 */
export interface Expected {
  has(key: string): boolean
  note(key: string, isYes: boolean): void
}

/** @param capacity how many are kept; those noted first go first */
export const createExpected = (capacity: number): Expected => {
  const keys = new Set<string>()

  return {
    has: (key) => keys.has(key),
    note: (key, isYes) => {
      if (keys.has(key) === isYes) return
      keys.delete(key)
      if (!isYes) return
      const [oldest] = keys
      if (keys.size >= capacity && oldest !== undefined) keys.delete(oldest)
      keys.add(key)
    },
  }
}
