/** What measurements over time tell. Pure. */

export interface Sample {
  /** Minutes since the beginning. */
  minute: number
  /** Megabytes (10^6 bytes). */
  megabytes: number
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length

/** The slope of the line that fits best by least squares, in megabytes per minute; 0 for fewer than two moments. */
export const slopeOf = (samples: readonly Sample[]): number => {
  const minutes = mean(samples.map(({ minute }) => minute))
  const megabytes = mean(samples.map((sample) => sample.megabytes))
  const spread = samples.reduce((sum, { minute }) => sum + (minute - minutes) ** 2, 0)
  if (samples.length < 2 || spread === 0) return 0
  return samples.reduce((sum, sample) => sum + (sample.minute - minutes) * (sample.megabytes - megabytes), 0) / spread
}

/** After half of the time the program is warm: code is compiled, caches and pools have their size. */
export const secondHalf = (samples: readonly Sample[], minutes: number): Sample[] => samples.filter(({ minute }) => minute >= minutes / 2)

/**
 * The steepest slopes that are no leak, in megabytes per minute. Over a short time noise alone looks steep; over 15 minutes the live heap
 * may grow by less than 1 KB for each of 120 Pods a minute. In the first minutes memory still grows in steps, of up to 20 MB, and on a
 * machine that falls behind there are more and more live Pods: over one minute only what leaks by tens of KB a Pod can be told from that.
 * @param minutes how long was measured
 */
export const limits = (minutes: number): { heap: number; resident: number } => ({
  heap: Math.max(0.1, 1.5 / minutes, 4 / minutes ** 2),
  resident: Math.max(0.3, 8 / minutes, 35 / minutes ** 2),
})
