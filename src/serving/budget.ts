/** How much of something may be in hand at once; what does not fit is refused, since whoever waits would hold it all the same. */
export interface Budget {
  /** @returns gives it back, however often it is called; undefined when there is no room */
  take(amount: number): (() => void) | undefined
}

export const createBudget = (limit: number): Budget => {
  let taken = 0
  return {
    take: (amount) => {
      if (taken + amount > limit) return undefined
      taken += amount
      let isTaken = true
      return () => {
        if (isTaken) taken -= amount
        isTaken = false
      }
    },
  }
}
