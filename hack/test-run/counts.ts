/** What a test says that it counted, on its way from the test to the report of the run: one comment. */
const MARK = 'counts: '

/** A number is shown as it is; give its unit in the name or as text. */
export type Measured = Record<string, number | string>

/** For `t.comment`. */
export const countsComment = (measured: Measured): string =>
  `${MARK}${Object.entries(measured)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ')}`

/** @param comment as TAP has it, with its `#` @returns what was counted; undefined for any other comment */
export const countsIn = (comment: string): string | undefined => {
  const text = comment.replace(/^\s*#\s*/, '').trimEnd()
  return text.startsWith(MARK) ? text.slice(MARK.length) : undefined
}
