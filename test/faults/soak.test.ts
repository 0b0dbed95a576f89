/** Two minutes of what `npm run soak` does for half an hour. */
import { test } from 'tap'
import { describeRole, soak } from '../soak/soak.ts'
import { report } from '../support/counts.ts'

const MINUTES = 2

await test(`gated Pods come and go for ${MINUTES} minutes: nothing is granted wrongly, nothing is left, memory and files stay`, async (t) => {
  const ending = new AbortController()
  t.teardown(() => ending.abort())
  const { counts, roles, problems, seed } = await soak({ minutes: MINUTES, everyMs: 500, seed: 1, print: (line) => t.comment(line), signal: ending.signal })
  report(t, { seed, ...counts })
  for (const role of roles) report(t, { [role.role]: describeRole(role) })
  t.strictSame(problems, [])
  t.ok((counts['requests final'] ?? 0) > 0)
})
