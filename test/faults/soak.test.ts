/** Two minutes of what `npm run soak` does for half an hour. */
import { test } from 'tap'
import { soak } from '../soak/soak.ts'
import { describeRole } from '../soak/verdict.ts'
import { report } from '../support/counts.ts'

const MINUTES = 2

await test(`gated Pods come and go for ${MINUTES} minutes: nothing is granted wrongly, nothing is left, memory and files stay`, async (t) => {
  const ending = new AbortController()
  t.teardown(() => ending.abort())
  const { counts, roles, problems, seed } = await soak({ minutes: MINUTES, everyMs: 500, seed: 1, print: (line) => t.comment(line), signal: ending.signal })
  report(t, { seed, ...counts })
  for (const role of roles) report(t, { [role.role]: describeRole(role) })
  t.strictSame(problems, [])
  for (const what of ['requests final', 'requests usable', 'grants made']) t.ok((counts[what] ?? 0) > 0, what)
})
