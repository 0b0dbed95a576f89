/** Does something for each of many, so many at a time, in their order. @returns the results in that order. @throws the first failure */
export const inTurns = async <T, R>(items: readonly T[], width: number, work: (item: T) => Promise<R>): Promise<R[]> => {
  const results = new Map<number, R>()
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < items.length) {
      const index = next++
      const item = items[index]
      if (item !== undefined) results.set(index, await work(item))
    }
  }
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, lane))
  return [...results].toSorted(([a], [b]) => a - b).map(([, result]) => result)
}
