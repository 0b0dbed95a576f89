const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null
const entriesOf = (value: object): [string, unknown][] => Object.entries(value).filter(([, item]) => item !== undefined)

/** The parts of two objects that must be the same as well; undefined when the objects differ by themselves. */
const partsOf = (a: object, b: object): [unknown, unknown][] | undefined => {
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return undefined
    return a.map((item: unknown, index): [unknown, unknown] => [item, b[index]])
  }
  const left = entriesOf(a)
  const right = new Map(entriesOf(b))
  if (left.length !== right.size || !left.every(([key]) => right.has(key))) return undefined
  return left.map(([key, item]) => [item, right.get(key)])
}

/** Whether two JSON values say the same: the order of keys does not matter, a key that is undefined is not there. */
export const sameJson = (a: unknown, b: unknown): boolean => {
  // Not by recursion: JSON from the API server may be nested deeper than the stack is.
  const pairs: [unknown, unknown][] = [[a, b]]
  for (let pair = pairs.pop(); pair !== undefined; pair = pairs.pop()) {
    const [left, right] = pair
    if (left === right) continue
    const parts = isObject(left) && isObject(right) ? partsOf(left, right) : undefined
    if (parts === undefined) return false
    for (const part of parts) pairs.push(part)
  }
  return true
}
