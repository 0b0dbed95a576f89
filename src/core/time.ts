/** Times as the API server writes them. The only place in core that touches Date; the current time is always passed in. */

/** RFC 3339 in UTC with whole seconds, as metav1.Time is written. @param ms milliseconds since the epoch */
export const formatTime = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`

/** Milliseconds since the epoch; undefined for text that is no time. */
export const parseTime = (text: string | undefined): number | undefined => {
  if (text === undefined) return undefined
  const ms = Date.parse(text)
  return Number.isNaN(ms) ? undefined : ms
}
