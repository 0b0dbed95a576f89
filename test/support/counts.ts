/** Where a test says what it has counted and measured; the runner shows it as it comes. */
import type { Test } from 'tap'
import { countsComment, type Measured } from '../../hack/test-run/counts.ts'

/** One line: `report(t, { requests: 200, kills: 3, 'slowest takeover': '9.7 s' })`. */
export const report = (t: Pick<Test, 'comment'>, measured: Measured): void => t.comment(countsComment(measured))

/** Milliseconds as seconds, for a report. */
export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`

/** Lets every test of the file say at once that it has begun: tap tells of a test only when it says something. */
export const announceTests = (t: Pick<Test, 'beforeEach'>): void => {
  t.beforeEach((one) => {
    one.comment('begins')
  })
}
