export interface TurnsOptions {
  /** How much work may be under way at once. */
  atOnce: number
  /** How much more may wait for its turn. */
  waiting: number
}

/** Work of which only so much is under way at once; what comes then waits in a line that has an end. */
export interface Turns {
  /** Whether there is a turn or a place in the line; ask before `run`. */
  readonly hasRoom: boolean
  /** Nothing waits. */
  readonly isCalm: boolean
  /** Begins the work when its turn comes, first come first served. @throws whatever the work throws */
  run<T>(work: () => Promise<T>): Promise<T>
}

export const createTurns = ({ atOnce, waiting }: TurnsOptions): Turns => {
  const line: (() => void)[] = []
  let underWay = 0

  /** A turn that ends goes to the one who waits longest. */
  const passOn = (): void => {
    const next = line.shift()
    if (next === undefined) underWay -= 1
    else next()
  }

  return {
    get hasRoom() {
      return underWay < atOnce || line.length < waiting
    },
    get isCalm() {
      return line.length === 0
    },
    run: async (work) => {
      if (underWay < atOnce) underWay += 1
      else await new Promise<void>((begin) => line.push(begin))
      try {
        return await work()
      } finally {
        passOn()
      }
    },
  }
}
