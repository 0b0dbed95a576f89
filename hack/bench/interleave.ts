/** The order in which contestants are measured. */

/**
 * Everyone once a round, each round begun by another one: what the machine does meanwhile hits all of them alike.
 * @returns what was measured, by contestant, in the order of the rounds
 */
export const interleave = async <C, R>(contestants: readonly C[], rounds: number, measure: (contestant: C, round: number) => Promise<R>): Promise<Map<C, R[]>> => {
  const results = new Map<C, R[]>(contestants.map((contestant) => [contestant, []]))
  for (let round = 0; round < rounds; round += 1) {
    const first = round % contestants.length
    for (const contestant of [...contestants.slice(first), ...contestants.slice(0, first)]) results.get(contestant)?.push(await measure(contestant, round))
  }
  return results
}

/** Round by round, so that a slow moment of the machine is in both numbers of a ratio. @throws Error when one has more rounds than the other */
export const ratiosOf = (ours: readonly number[], theirs: readonly number[]): number[] => {
  if (ours.length !== theirs.length) throw new Error(`${ours.length} rounds cannot be compared with ${theirs.length}`)
  return ours.map((value, round) => value / (theirs[round] ?? Number.NaN))
}
