/** Durations as Go writes them, `1h30m`, `90s`, `1.5h`; the units that make sense for a token. */
const WHOLE = /^(?:\d{1,9}(?:\.\d{1,9})?(?:ms|s|m|h))+$/
const PART = /(\d+(?:\.\d+)?)(ms|s|m|h)/g
const MILLISECONDS: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
])
const MAX_LENGTH = 64

/** Milliseconds; undefined for text that is no duration. */
export const parseGoDuration = (text: string): number | undefined => {
  if (text.length > MAX_LENGTH || !WHOLE.test(text)) return undefined
  return [...text.matchAll(PART)].reduce((sum, [, amount, unit = '']) => sum + Number(amount) * (MILLISECONDS.get(unit) ?? Number.NaN), 0)
}
