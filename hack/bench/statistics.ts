/** What a few numbers of one measurement say. Pure. */

export interface Spread {
  median: number
  least: number
  most: number
}

/** @throws Error when there is no number, or one of them is none */
const sorted = (values: readonly number[]): number[] => {
  if (values.length === 0) throw new Error('nothing was measured')
  if (!values.every(Number.isFinite)) throw new Error(`a measured value is no number: ${values.join(', ')}`)
  return values.toSorted((a, b) => a - b)
}

const at = (ordered: readonly number[], index: number): number => {
  const value = ordered[index]
  if (value === undefined) throw new Error(`there is no value ${index} of ${ordered.length}`)
  return value
}

/** The middle one; of an even count the mean of both in the middle. */
export const median = (values: readonly number[]): number => {
  const ordered = sorted(values)
  const middle = ordered.length >> 1
  return ordered.length % 2 === 1 ? at(ordered, middle) : (at(ordered, middle - 1) + at(ordered, middle)) / 2
}

export const spreadOf = (values: readonly number[]): Spread => {
  const ordered = sorted(values)
  return { median: median(ordered), least: at(ordered, 0), most: at(ordered, ordered.length - 1) }
}

/** The least and the most, for the note of a figure, e.g. `4.1 to 6.0 in 5 rounds`. */
export const spreadNote = (values: readonly number[], digits: number, times = 'rounds'): string => {
  const { least, most } = spreadOf(values)
  return `${least.toFixed(digits)} to ${most.toFixed(digits)} in ${values.length} ${times}`
}

/** The probability of at most `hits` heads in `tosses` tosses of a fair coin. */
const atMostHeads = (hits: number, tosses: number): number => {
  let ways = 1
  let sum = 0
  for (let heads = 0; heads <= hits; heads += 1) {
    sum += ways
    ways = (ways * (tosses - heads)) / (heads + 1)
  }
  return sum / 2 ** tosses
}

/**
 * Where the true median lies with a probability of at least 95 %, whatever the distribution: between two of the ordered
 * values, because each value is as likely above the true median as below it. Of fewer than six values there is no such
 * pair, and the answer is all there is: from the least to the most.
 */
export const medianInterval = (values: readonly number[]): { low: number; high: number } => {
  const ordered = sorted(values)
  let cut = 0
  while (2 * atMostHeads(cut, ordered.length) <= 0.05) cut += 1
  const index = Math.max(0, cut - 1)
  return { low: at(ordered, index), high: at(ordered, ordered.length - 1 - index) }
}
